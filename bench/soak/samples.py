"""What processes of the server hold, every ten seconds (in a short run more often), from /proc; and what of it has grown."""
import csv
import os
import re
import statistics
import threading
import time

PERIOD = 10
# samples of a short run, so that a median is one
LEAST = 60
# a session's caches fill at first: this share of the time is not looked at
WARM_UP = 0.2
TABLES = re.compile("/data/(base|global|pg_[a-z]+)/")


def resident(pid):
    """(kB of private memory, kB of shared memory) that lies in RAM."""
    out = {}
    for line in open(f"/proc/{pid}/status"):
        key, _, value = line.partition(":")
        if key in ("RssAnon", "RssShmem"):
            out[key] = int(value.split()[0])
    return out["RssAnon"], out["RssShmem"]


def files(pid):
    """Open files but for those of tables and the log, of which PostgreSQL keeps up to a thousand open."""
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += not TABLES.search(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
    return count


def mappings(pid):
    """Lines of the process' map that name a model's file."""
    return sum(".dlm" in line for line in open(f"/proc/{pid}/maps"))


def children(postmaster):
    return [int(pid) for task in os.listdir(f"/proc/{postmaster}/task") for pid in open(f"/proc/{postmaster}/task/{task}/children").read().split()]


class Sampler(threading.Thread):
    """rows: {name: [(seconds, anon, shared, files, mappings)]} of the processes that stay, the server's totals under "all"."""

    def __init__(self, until, postmaster, pids, session, path):
        super().__init__(name="sampler")
        self.until, self.postmaster, self.pids, self.session = until, postmaster, pids, session
        self.rows = {name: [] for name in [*pids, "all"]}
        self.most_slots, self.wrong = 0, []
        self.out = csv.writer(open(path, "w", buffering=1))
        self.out.writerow(("second", "process", "rss_anon_kb", "rss_shmem_kb", "files", "model_mappings", "compute_slots_used", "computing_sessions",
                           "activity_rows", "cache_bytes", "cache_answers"))

    def note(self, second, name, values, server):
        self.rows[name].append((second, *values))
        self.out.writerow((second, name, *values, *server))

    def sample(self, second):
        server = self.session.must("SELECT i.compute_slots_used, i.computing_sessions, (SELECT count(*) FROM dlm_activity WHERE phase IS NOT NULL), c.bytes, c.answers "
                                   "FROM dlm_stats_info() AS i, dlm_cache_info() AS c;")[0].split("|")
        self.most_slots = max(self.most_slots, int(server[0]))
        for name, pid in self.pids.items():
            self.note(second, name, (*resident(pid), files(pid), mappings(pid)), server)
        anon = shared = count = maps = 0
        for pid in children(self.postmaster):
            try:
                a, s = resident(pid)
                anon, shared, count, maps = anon + a, shared + s, count + files(pid), maps + mappings(pid)
            except (OSError, KeyError):     # it has ended meanwhile
                continue
        self.note(second, "all", (anon, shared, count, maps), server)

    def run(self):
        begun = time.monotonic()
        period = min(PERIOD, (self.until - begun) / LEAST)
        try:
            while time.monotonic() < self.until:
                self.sample(round(time.monotonic() - begun))
                time.sleep(period)
        except Exception as e:          # a process that should stay is gone
            self.wrong.append(f"sampler: {e!r}")


def thirds(rows, column, of=statistics.median):
    """Medians (or least values: of=min) of the first, second and last third of what comes after the warm-up."""
    rows = rows[int(WARM_UP * len(rows)):]
    n = len(rows)
    cuts = [0, max(1, n // 3), max(2, 2 * n // 3), n]
    return [of([r[column] for r in rows[a:b] or rows[-1:]]) for a, b in zip(cuts, cuts[1:])]
