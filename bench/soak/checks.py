"""What must hold when the soak is over."""
import collections
import glob
import re
import statistics

import calls
from samples import thirds

# private memory: what the last third may have more than the first
GROWTH_KB, GROWTH_SHARE = 2048, 0.05
# cancels, ended sessions, and errors that were asked for: bad arguments and files, what follows one in its transaction, a model that was just dropped
STATES = {"57014", "57P01", "22023", "42704", "54000", "58P01", "25P02", "3B001", "42710"}
# a parallel worker that starts when its leader has just been cancelled
TOO_LATE = re.compile("could not (attach to dynamic shared area|map dynamic shared memory segment)")
# the canceller's session had ended by then; pgbench goes on after a PREPARE of its own that was cancelled
OWN_RACE = re.compile(r"canceller WARNING:  PID \d+ is not a PostgreSQL (backend|server) process|pgbench ERROR:  prepared statement \"P_\d+\" does not exist")
LOG_LINE = re.compile(r"^([0-9A-Z]{5}) \d+ .*?(ERROR|FATAL|PANIC|WARNING):  (.*)")


class Checks:
    def __init__(self):
        self.passed, self.failed, self.lines = 0, 0, []

    def ok(self, good, what, detail=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
        self.lines.append(f"{'ok' if good else 'NOT OK'}: {what}" + (f" ({detail})" if detail != "" else ""))

    def zero(self, session, what, query):
        """Rows of a query that finds what is wrong."""
        found = session.must(query)
        self.ok(found == ["0"], what, "" if found == ["0"] else found)


def log_errors(path):
    """({SQLSTATE: count}, lines that may not be) of the server's log."""
    states, bad = collections.Counter(), []
    for line in open(path, errors="replace"):
        m = LOG_LINE.match(line)
        if m and (m.group(1) == "25P01" or OWN_RACE.search(line)):      # a writer's ROLLBACK after a COMMIT
            continue
        if m and m.group(2) != "WARNING":
            states[m.group(1)] += 1
            if m.group(1) not in STATES and not TOO_LATE.search(line):
                bad.append(line.strip())
        elif re.search(r"WARNING: .*(leak|still referenced)|terminated by signal|PANIC:|TRAP:|AddressSanitizer", line) or m:
            bad.append(line.strip())
    return states, bad


def at_rest(checks, session):
    checks.ok(session.must("SELECT compute_slots_used, computing_sessions FROM dlm_stats_info();") == ["0|0"], "all compute slots are back, nobody computes")
    checks.zero(session, "dlm_activity is empty", "SELECT count(*) FROM dlm_activity WHERE phase IS NOT NULL;")
    checks.zero(session, "no job runs", "SELECT count(*) FROM dlm_jobs WHERE state IN ('running', 'reading');")
    checks.zero(session, "no advisory lock is left", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';")
    checks.zero(session, "no open transaction is left",
                "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND xact_start IS NOT NULL;")


def tables(checks, session, number):
    """Rows and answers of one writer's tables against the ledger."""
    for table, rows in ((f"news_{number}", 200), (f"fill_{number}", 60)):
        checks.ok(session.must(f"SELECT count(*), min(id), max(id) FROM {table};") == [f"{rows}|1|{rows}"], f"{table}: every row is there")
        checks.zero(session, f"{table}: each answer is the ledger's last",
                    f"SELECT count(*) FROM {table} AS t LEFT JOIN (SELECT DISTINCT ON (id) id, after FROM ledger WHERE place = '{table}' ORDER BY id, seq DESC) AS l USING (id) "
                    "WHERE answer(to_jsonb(t)) IS DISTINCT FROM l.after;")
        checks.zero(session, f"{table}: each change begins where the one before ended",
                    f"SELECT count(*) FROM (SELECT before, lag(after) OVER (PARTITION BY id ORDER BY seq) AS last FROM ledger WHERE place = '{table}') AS l "
                    "WHERE before IS DISTINCT FROM last;")
    checks.zero(session, f"news_{number}: each label is one of the three",
                f"SELECT count(*) FROM ledger WHERE place = 'news_{number}' AND (after IN ('wet', 'dry', 'unknown')) IS NOT TRUE;")
    checks.zero(session, f"fill_{number}: each fill is legal",
                f"SELECT count(*) FROM ledger WHERE place = 'fill_{number}' AND after !~ '^(light|dark) [1-4]$';")


def counts(checks, session, writer):
    """What the server has acknowledged to a client that stays is there, and nothing else."""
    n = writer.number
    for what, query in (("label", f"SELECT count(*) FROM ledger WHERE place = 'news_{n}'"), ("row", f"SELECT count(*) FROM kept WHERE writer = {n}"),
                        ("pin", f"SELECT count(*) FROM pinned WHERE writer = {n}")):
        there = int(session.must(query + ";")[0])
        checks.ok(there == writer.done[what], f"writer {n}: {what}: rows acknowledged are the rows there", f"{writer.done[what]}, {there}")
    jobs = session.must("SELECT coalesce(sum((counts ->> 'written')::bigint), 0), count(*), coalesce(sum((counts ->> 'rows')::bigint), 0), coalesce(bool_and((counts ->> 'rows')::bigint = "
                        "(counts ->> 'written')::bigint + (counts ->> 'unsure')::bigint + (counts ->> 'skipped')::bigint + (counts ->> 'failed')::bigint), true) "
                        f"FROM dlm_jobs WHERE name = 'public.fill_{n}';")[0].split("|")
    filled = session.must(f"SELECT count(*) FROM ledger WHERE place = 'fill_{n}' AND after IS NOT NULL;")[0]
    checks.ok(jobs[0] == filled, f"writer {n}: rows that {jobs[1]} jobs say they wrote are the rows filled", f"{jobs[0]}, {filled}")
    checks.ok(jobs[3] == "t", f"writer {n}: the counts of each job add up to the rows seen", f"{jobs[2]} rows")


def bench_counts(checks, session, number):
    """The same of a session of pgbench: its deeds were noted in their own transactions."""
    labels = session.must(f"SELECT coalesce(sum(rows), 0), (SELECT count(*) FROM ledger WHERE place = 'news_{number}') FROM deed WHERE writer = {number} "
                          "AND kind = 'classify' AND state = '00000';")[0].split("|")
    kept = session.must(f"SELECT coalesce(sum(rows), 0), (SELECT count(*) FROM kept WHERE writer = {number}) FROM deed WHERE writer = {number} "
                        "AND kind = 'infill_row' AND state = '00000';")[0].split("|")
    checks.ok(labels[0] == labels[1] and kept[0] == kept[1], f"pgbench {number}: rows of its deeds are the rows there", f"{labels}, {kept}")


def memory(checks, sampler, bounded):
    for name, rows in sampler.rows.items():
        if name == "all" or not rows:
            continue
        # the least, since what a session holds between calls follows dlm.batch_mem and its like, which change all the time; a leak lifts it
        first, _, last = thirds(rows, 1, min)
        bound = max(GROWTH_KB, GROWTH_SHARE * first)
        if bounded:
            checks.ok(last - first <= bound, f"{name}: private memory does not grow", f"{first / 1024:.1f} to {last / 1024:.1f} MB")
        for what, column, slack in (("open files", 3, 4), ("mappings of models", 4, 2)):
            first, _, last = thirds(rows, column)
            checks.ok(last - first <= slack, f"{name}: {what} do not grow", f"{first:.0f} to {last:.0f}")


def answers(checks, session, known, when):
    parts = sorted({part for _, part, _ in known})
    now = calls.known_answers(session, parts)
    checks.ok(now == known, f"{len(known)} answers have the bits they had at the start, in {when}")


def reports(checks, home):
    found = glob.glob(f"{home}/asan*")
    checks.ok(not found, "no report of AddressSanitizer", [open(f, errors="replace").read(3000) for f in found[:2]] or "")


def memory_table(sampler):
    print("| process | private MB by thirds: least | median | shared MB by thirds | files | model mappings |", "|---|---|---|---|---|---|", sep="\n")
    for name, rows in sampler.rows.items():
        if rows:
            least, anon, shared = ([f"{x / 1024:.1f}" for x in thirds(rows, column, of)] for column, of in ((1, min), (1, statistics.median), (2, statistics.median)))
            print(f"| {name} | {' / '.join(least)} | {' / '.join(anon)} | {' / '.join(shared)} | {max(r[3] for r in rows)} | {max(r[4] for r in rows)} |")
