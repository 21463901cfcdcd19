"""Many sessions at once with cancels, ended sessions, model swaps and changed settings, and what must hold afterwards. bench/soak.sh calls this with a server.

Four writers (writer.py) stay for the whole time: they label rows, fill tables, read cursors half, err in subtransactions, and check each answer against those of before
the start. Three clients of pgbench run mixed.sql and plain.sql in all three protocols. A canceller and a swapper (trouble.py) disturb them. Every change of an answer is noted
in its transaction, so that the tables can be checked exactly (checks.py). Memory, files and mappings of the sessions that stay are sampled (samples.py).
"""
import argparse
import collections
import os
import shutil
import sys
import time

import calls
import checks as check
import machine
from samples import Sampler
from session import Lost, Session
from trouble import Bench, Canceller, Swapper
from writer import Writer

PARTS = (1, 6)
WRITERS, BENCHES = (1, 2, 3, 4), (5, 6, 7)
PROTOCOLS = ("simple", "extended", "prepared")


def prepare(session, models):
    """Models, and what needs one's digest; returns the answers to compare with, and the digest."""
    digest = session.must(f"SELECT dlm_load_model('first', '{models}/llama');")[0]
    session.must(f"SELECT dlm_load_model('second', '{models}/qwen2');")
    session.must(f"SELECT dlm_load_model('m', '{models}/llama');")
    session.must(f"SELECT dlm_load_model('passing', '{models}/bert');")
    session.must("CREATE TABLE pinned (writer int, body text NOT NULL, label text GENERATED ALWAYS AS "
                 f"(dlm_classify_pinned('{digest}', body, {calls.LABELS})) STORED);")
    return calls.known_answers(session, PARTS), digest


def run(args, home, models, known, digest):
    until = time.monotonic() + args.minutes * 60
    writers = [Writer(n, until, known, digest, models) for n in WRITERS]
    loops = [Canceller(until), Swapper(until, models)]
    benches = [Bench(n, until, PROTOCOLS[i]) for i, n in enumerate(BENCHES)]
    postmaster = int(open(f"{home}/data/postmaster.pid").readline())
    pids = {"postmaster": postmaster, **{w.session.name: w.session.pid for w in writers}}
    sampler = Sampler(until, postmaster, pids, Session("sampler"), f"{args.out}/samples.csv")
    threads = [*writers, *loops, *benches, sampler]
    for t in threads:
        t.start()
    for t in threads:
        t.join(args.minutes * 60 + 300)
    return writers, loops, benches, sampler, [t.name for t in threads if t.is_alive()]


def verify(session, known, writers, loops, benches, sampler, hung, args, home):
    checks = check.Checks()
    wrong = [w for t in (*writers, *loops, sampler) for w in t.wrong]
    checks.ok(not hung, "all clients came to an end", hung or "")
    checks.ok(not wrong, "each statement gave a legal answer or an expected error", wrong[:5] or "")
    check.at_rest(checks, session)
    for n in (*WRITERS, *BENCHES):
        check.tables(checks, session, n)
    for w in writers:
        check.counts(checks, session, w)
    for b in benches:
        check.bench_counts(checks, session, b.number)
    checks.zero(session, "each pinned label is the model's", f"SELECT count(*) FROM pinned WHERE label IS DISTINCT FROM dlm_classify(body, {calls.LABELS}, model => 'first');")
    check.answers(checks, session, known, "a new session")
    check.answers(checks, writers[0].session, known, "one that was there all the time")
    check.memory(checks, sampler, not args.asan)
    states, bad = check.log_errors(f"{home}/server.log")
    checks.ok(not bad, "the server's log has no crash, leak, warning or unexpected error", bad[:5] or "")
    if args.asan:
        check.reports(checks, home)
    return checks, states


def print_counts(title, counter):
    print(f"| {title} | {' | '.join(str(k) for k in counter)} |", "|---" * (len(counter) + 1) + "|", f"| | {' | '.join(str(v) for v in counter.values())} |", sep="\n")
    print()


def report(session, args, writers, loops, benches, sampler, states):
    canceller, swapper = loops
    about = machine.describe(2)
    print(f"{args.minutes:g} minutes{' under AddressSanitizer' if args.asan else ''}, {about['cpu']}, {about['cores']} CPUs, load {about['load']}, commit {about['commit']}\n")
    statements = collections.Counter()
    for w in (*writers, swapper):
        statements.update(w.session.statements)
    for line in session.must("SELECT 'pgbench ' || kind, state, count(*) FROM deed GROUP BY 1, 2;"):
        kind, state, n = line.split("|")
        statements[kind, state] += int(n)
    by_state = collections.Counter()
    for (_, state), n in statements.items():
        by_state[state] += n
    kinds = sorted({kind for kind, _ in statements})
    print("| statements | done | cancelled | other errors |", "|---|---|---|---|", sep="\n")
    for kind in kinds:
        of = {state: n for (k, state), n in statements.items() if k == kind}
        print(f"| {kind} | {of.get('00000', 0)} | {of.get('57014', 0)} | {sum(n for s, n in of.items() if s not in ('00000', '57014'))} |")
    print()
    calls_of = dict(line.split("|") for line in session.must("SELECT function, sum(calls) FROM dlm_stats GROUP BY 1 ORDER BY 1;"))
    print_counts("calls (`dlm_stats`)", calls_of)
    print_counts("statements by SQLSTATE", dict(sorted(by_state.items())))
    print_counts("server's log by SQLSTATE", dict(sorted(states.items())))
    hits = session.must("SELECT sum(cancelled) FROM dlm_stats;")[0]
    print(f"Cancels: {canceller.sent} of pg_cancel_backend; {by_state['57014']} statements ended in 57014, by it or by a random statement_timeout; {hits} batches were "
          f"cancelled inside a model (`dlm_stats`). {canceller.ended} sessions ended.")
    print(f"Models: {swapper.swaps} swaps under one name, {swapper.loads} loads of another that is dropped and loaded again; {swapper.settings} settings changed for all.")
    print(f"pgbench: {sum(b.transactions for b in benches)} transactions in {sum(b.begun for b in benches)} sessions. Most helper threads at one time: {sampler.most_slots}.")
    print(f"Rows: {session.must('SELECT count(*) FROM ledger;')[0]} changes of answers, {session.must('SELECT count(*) FROM kept;')[0]} rows filled, "
          f"{session.must('SELECT count(*) FROM pinned;')[0]} pinned labels, {session.must('SELECT count(*) FROM dlm_jobs;')[0]} jobs.\n")
    check.memory_table(sampler)
    print()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--minutes", type=float, default=30)
    p.add_argument("--home", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--asan", action="store_true")
    args = p.parse_args()
    session = Session("checks")
    models = f"{args.home}/models"
    known, digest = prepare(session, models)
    parts = run(args, args.home, models, known, digest)
    try:
        checks, states = verify(session, known, *parts, args, args.home)
        report(session, args, *parts[:4], states)
    except Lost as e:
        checks = check.Checks()
        checks.ok(False, "the server lived to the end", f"{e} was lost: {check.log_errors(f'{args.home}/server.log')[1][:5]}")
        check.reports(checks, args.home)
    finally:
        shutil.copy(f"{args.home}/server.log", args.out)
    with open(f"{args.out}/checks.txt", "w") as out:
        out.write("\n".join(checks.lines) + "\n")
    print("\n".join(line for line in checks.lines if not line.startswith("ok: ")) or f"All checks hold; {args.out}/checks.txt names them.")
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(checks.failed > 0)


if __name__ == "__main__":
    main()
