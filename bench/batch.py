"""UPDATE, CREATE TABLE AS and SELECT of a table's labels through the batch node; bench/batch.sh calls this with a server at hand.

    python3 bench/batch.py [--quick] [--rows N] [--words N] [--threads 2] [--rounds N] [--name batch]

Beside each other, in turns of one run, on the same rows and threads: `dlm-model run`, which has the rows in its memory and nothing to write; the statements with batch
nodes; a SELECT whose plan has parallel workers of one thread each; and the same SELECT without batch nodes, which goes row by row. Then the rows that a table of 10
distinct texts computes, and the microseconds that the node adds to a row of a million when there is nothing to compute.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess

from database import LABELS, classify, psql

ROOT = pathlib.Path(__file__).resolve().parent.parent
CALL = classify("body")
STATEMENTS = {
    "UPDATE": "UPDATE rows SET label = {call}",
    "CREATE TABLE AS": "CREATE TABLE copied AS SELECT id, {call} AS label FROM rows",
    "SELECT": "SELECT id, {call} FROM rows",
    "SELECT, parallel plan": "SELECT id, {call} FROM rows",
    "SELECT, row by row": "SELECT id, {call} FROM rows",
}
SETTINGS = {
    "SELECT, parallel plan": "SET max_parallel_workers_per_gather = {workers}; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;",
    "SELECT, row by row": "SET dlm.enable_batching = off;",
}


def make_rows(n, words):
    """`rows`: n short texts that are all different, the demo's (their first words) with a number."""
    psql("DROP TABLE IF EXISTS rows; CREATE TABLE rows (id int PRIMARY KEY, body text, label text);"
         "INSERT INTO rows SELECT i, array_to_string((string_to_array(m.body, ' '))[:{1}], ' ') || ' (' || i || ')' FROM generate_series(1, {0}) AS i "
         "JOIN (SELECT body, row_number() OVER (ORDER BY id) AS n, count(*) OVER () AS all_n FROM messages WHERE kind = 'label') AS m ON m.n = 1 + i % m.all_n;"
         "VACUUM ANALYZE rows;".format(n, words))
    return json.loads("".join(psql("SELECT json_agg(body ORDER BY id) FROM rows;")))


def seconds_of(kind, threads):
    """One statement after one row of warming up in the same session; the time is the server's."""
    settings = f"SET dlm.max_threads = {threads}; SET max_parallel_workers_per_gather = 0;" + SETTINGS.get(kind, "").format(workers=threads - 1)
    lines = psql(f"{settings} SELECT {CALL} FROM (VALUES ('warm')) AS v(body);\nBEGIN;\nSELECT extract(epoch FROM clock_timestamp()) AS t0 \\gset\n"
                 f"{STATEMENTS[kind].format(call=CALL)};\nSELECT extract(epoch FROM clock_timestamp()) - :t0;\nROLLBACK;\n")
    return float(lines[-1])


def seconds_of_program(texts, threads):
    """The same rows through dlm-model run; its own time, without loading the model."""
    done = subprocess.run([ROOT / "build/dlm-model", "run", ROOT / "build/dlm-135m.dlm", "classify", "-", "--labels", ",".join(LABELS), "--threads", str(threads), "--time"],
                          input="\n".join(texts) + "\n", capture_output=True, text=True, check=True)
    return float(re.search(r"rows in ([0-9.]+) s", done.stderr + done.stdout).group(1))


def throughput(args):
    texts = make_rows(args.rows, args.words)
    times = {kind: [] for kind in ("dlm-model run", *STATEMENTS)}
    for _ in range(args.rounds):
        times["dlm-model run"].append(seconds_of_program(texts, args.threads))
        for kind in STATEMENTS:
            times[kind].append(seconds_of(kind, args.threads))
    return {kind: statistics.median(t) for kind, t in times.items()}


def computed(rows):
    """Rows that a table of 10 distinct texts puts through the model."""
    psql(f"DROP TABLE IF EXISTS few; CREATE TABLE few AS SELECT i AS id, 'text ' || i % 10 AS body FROM generate_series(1, {rows}) AS i; ANALYZE few;")
    plan = psql(f"SET max_parallel_workers_per_gather = 0; EXPLAIN (ANALYZE, COSTS OFF) SELECT id, {CALL} FROM few;")
    return int(next(line for line in plan if "Requests:" in line).split(":")[1])


def overhead(rows, rounds):
    """Microseconds that the node adds to a row whose answer is NULL, or known; the median of the differences of a turn."""
    psql(f"DROP TABLE IF EXISTS big; CREATE TABLE big AS SELECT i AS id, 'row ' || i % 50 AS body, NULL::text AS nothing FROM generate_series(1, {rows}) AS i; VACUUM ANALYZE big;")
    kinds = {"plain": "body", "NULL": "dlm_classify(nothing, ARRAY['a', 'b'], model => 'tiny')", "known": "dlm_classify(body, ARRAY['a', 'b'], model => 'tiny')"}
    times = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, expression in kinds.items():
            lines = psql("SET max_parallel_workers_per_gather = 0;\nSELECT extract(epoch FROM clock_timestamp()) AS t0 \\gset\n"
                         f"SELECT count(x) FROM (SELECT {expression} AS x FROM big OFFSET 0) AS q;\nSELECT extract(epoch FROM clock_timestamp()) - :t0;\n")
            times[kind].append(float(lines[-1]) * 1e6 / rows)
    return {kind: statistics.median(t - p for t, p in zip(times[kind], times["plain"])) for kind in ("NULL", "known")}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--rows", type=int)
    p.add_argument("--words", type=int, default=1000, help="of each text")
    p.add_argument("--rounds", type=int)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--name", default="batch")
    args = p.parse_args()
    args.rows = args.rows or (200 if args.quick else 2000)
    args.rounds = args.rounds or (1 if args.quick else 3)
    many = 100_000 if args.quick else 1_000_000
    load = os.getloadavg()[0]
    medians = throughput(args)
    results = {"rows": args.rows, "words": args.words, "threads": args.threads, "load": round(load, 1), "median": medians, "computed": computed(args.rows),
               "overhead_us": overhead(many, max(3, args.rounds))}
    folder = ROOT / "bench/results"
    os.makedirs(folder, exist_ok=True)
    (folder / (args.name + ".json")).write_text(json.dumps(results, indent=1) + "\n")
    program, scalar = medians["dlm-model run"], medians["SELECT, row by row"]
    print(f"| {args.rows} rows, {len(LABELS)} labels, {args.threads} threads, load {load:.1f} | rows/s | of dlm-model run | of row by row |", "|---|---|---|---|", sep="\n")
    for kind, seconds in medians.items():
        print(f"| {kind} | {args.rows / seconds:.1f} | {100 * program / seconds:.0f} % | {scalar / seconds:.2f}x |")
    print(f"\nA table of 10 distinct texts in {args.rows} rows computes {results['computed']} rows.")
    for kind, us in results["overhead_us"].items():
        print(f"Answers {kind}: the node adds {us:.2f} us a row to {many} rows.")


if __name__ == "__main__":
    main()
