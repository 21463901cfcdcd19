"""docs/tour.md against what examples/tour.sql prints.

    python3 test/docs/tour.py [--write] [--output FILE]

On the server and in the database that PG* name; some minutes, most of them training. Each statement of a block without a language has to be printed by
psql -e in the same order, followed by the same lines; numbers of jobs and times may differ. --write puts what came out into the document. --output keeps what psql
printed there, and takes it from there if the file exists. The last line is "N passed, N failed".
"""
import argparse
import pathlib
import re
import subprocess
import sys

import examples

TOUR = examples.ROOT / "docs" / "tour.md"
RESULT = re.compile(r"^(UPDATE|INSERT 0|DELETE|CREATE [A-Z]+|CALL)\b")


def output_end(printed, at):
    """Where the output of a statement ends that is echoed before printed[at:]: behind a command tag, or at the blank line behind a table."""
    while printed[at].startswith(("NOTICE:", "WARNING:")):
        at += 1
    if RESULT.match(printed[at]):
        return at + 1
    while printed[at]:
        at += 1
    return at


def statements(lines, first, last):
    """A block's statements as (first line, line behind the statement, line behind its output)."""
    at = first
    while at < last:
        end = at
        while not examples.ENDS.search(lines[end]):
            end += 1
        out = output_end(lines[:last] + [""], end + 1)
        yield at, end + 1, out
        at = out + 1 if out < last and not lines[out] else out


def plain_of(lines):
    """Without what differs from run to run: numbers of jobs, durations, and how wide a column is for them."""
    lines = [re.sub(r"-{3,}", "---", re.sub(r" {2,}", " ", re.sub(r"\d\d:\d\d:\d\d[.\d]*", "TIME", line))) for line in lines]
    return ["NUMBER" if i > 1 and lines[i - 2].strip() == "job_id" else line for i, line in enumerate(lines)]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--write", action="store_true")
    p.add_argument("--output", type=pathlib.Path)
    args = p.parse_args()
    if args.output and args.output.exists():
        text = args.output.read_text()
    else:
        text = subprocess.run(["psql", "-X", "-e", "-f", "examples/tour.sql"], cwd=examples.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        text = re.sub(r"^psql:[^ ]*: ", "", text, flags=re.M)
        if args.output:
            args.output.write_text(text)
    printed, at, passed, failed, new = [line.rstrip() for line in text.split("\n")], 0, 0, 0, []
    lines = TOUR.read_text().split("\n")
    for first, last in ((f, l) for language, f, l in examples.fences(lines) if language == ""):
        for start, end, out in statements(lines, first, last):
            sql = lines[start:end]
            at = next((i for i in range(at, len(printed)) if printed[i:i + len(sql)] == sql), None)
            if at is None:
                sys.exit("not printed, or not in this order: " + "\n".join(sql) + "\n" + "\n".join(printed[-3:]))
            at += len(sql)
            got = printed[at:output_end(printed, at)]
            same = plain_of(got) == plain_of(lines[end:out])
            passed, failed = passed + same, failed + (not same)
            if not same:
                print(f"FAILED tour.md, line {start + 1}: {sql[0]}\n  said:\n    " + "\n    ".join(lines[end:out]) + "\n  printed:\n    " + "\n    ".join(got))
            new.append((end, out, got))
    for end, out, got in reversed(new):
        lines[end:out] = got
    if args.write:
        TOUR.write_text("\n".join(lines))
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
