"""Rows a second over clients 1 to 8 and over plans: nothing oversubscribes, and throughput does not fall as clients are added. bench/clients.sh calls this with a server.

    python bench/clients.py [--rows 256] [--clients 1,2,4,8] [--threads 2] [--name clients]

The rows are those of the demo, labelled by the default model. They are cut into as many tables as there are clients; every client works on its own, all begin at once,
and the clock stops when the last is done. Plans: `row by row` (dlm.enable_batching off), `batch` (SELECT through the batch node), `workers` (the same below Gather),
`update` (UPDATE through the batch node). Meanwhile dlm_activity is read ten times a second: the most compute threads at one time stand in the table.
"""
import argparse
import json
import os
import subprocess
import threading
import time

import machine
import models
from database import classify, psql

CALL = classify("body")
SELECT = f"SELECT count({CALL}) FROM work_{{}};"
NO_WORKERS = "SET max_parallel_workers_per_gather = 0;"
PLANS = {
    "row by row": ("SET dlm.enable_batching = off;" + NO_WORKERS, SELECT),
    "batch": (NO_WORKERS, SELECT),
    "workers": ("SET parallel_setup_cost = 0;", SELECT),
    "update": ("", f"UPDATE work_{{}} SET answer = {CALL};"),
}


def make_tables(clients, rows):
    """Tables of several pages, so that a scan can be shared out."""
    script = ""
    for i in range(clients):
        script += f"DROP TABLE IF EXISTS work_{i}; CREATE TABLE work_{i} WITH (fillfactor = 20) AS SELECT id, body, NULL::text AS answer FROM messages " \
                  f"WHERE kind = 'label' AND id % {clients} = {i} ORDER BY id LIMIT {rows // clients}; ANALYZE work_{i};"
    psql(script)
    return sum(int(psql(f"SELECT count(*) FROM work_{i};")[0]) for i in range(clients))


class Watch(threading.Thread):
    """The most threads that dlm_activity shows at one time."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.over = 0, False

    def run(self):
        watch = subprocess.Popen(["psql", "-qXAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while not self.over:
            watch.stdin.write("SELECT coalesce(sum(threads), 0) FROM dlm_activity WHERE phase = 'compute';\n")
            watch.stdin.flush()
            self.most = max(self.most, int(watch.stdout.readline()))
            time.sleep(0.1)
        watch.stdin.close()


def run(plan, clients, threads):
    """(seconds, most threads at one time) of all clients together; their sessions have mapped the model before."""
    settings, statement = PLANS[plan]
    start = threading.Barrier(clients + 1)

    def client(i):
        session = subprocess.Popen(["psql", "-qXAt", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        session.stdin.write(f"{settings}\nSELECT dlm_classify('warm', ARRAY['a', 'b']);\n")
        session.stdin.flush()
        session.stdout.readline()
        start.wait()
        session.communicate(statement.format(i) + "\n")
        if session.returncode:
            os._exit(1)

    workers = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    watch = Watch()
    for w in workers:
        w.start()
    watch.start()
    start.wait()
    begun = time.monotonic()
    for w in workers:
        w.join()
    seconds = time.monotonic() - begun
    watch.over = True
    watch.join()
    return seconds, watch.most


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rows", type=int, default=256)
    p.add_argument("--clients", default="1,2,4,8")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--name", default="clients")
    args = p.parse_args()
    psql(f"LOAD 'dlm'; ALTER SYSTEM SET dlm.max_threads = {args.threads}; ALTER DATABASE postgres SET client_min_messages = warning; SELECT pg_reload_conf();")
    results = {"machine": machine.describe(args.threads), "plans": {}}
    print(f"| plan, {args.threads} threads | clients | rows/s | most threads at once |", "|---|---|---|---|", sep="\n")
    for clients in map(int, args.clients.split(",")):
        rows = make_tables(clients, args.rows)
        for plan in PLANS:
            seconds, most = run(plan, clients, args.threads)
            results["plans"].setdefault(plan, []).append((clients, rows / seconds, most))
            print(f"| {plan} | {clients} | {rows / seconds:.1f} | {most} |", flush=True)
    folder = models.ROOT / "bench/results"
    os.makedirs(folder, exist_ok=True)
    (folder / (args.name + ".json")).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
