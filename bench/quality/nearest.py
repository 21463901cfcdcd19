"""What are examples worth, and the nearest of them?

    python prepare.py --data DIR/instruct --out dev
    python nearest.py run --data dev --out results/nearest.json TASK...
    python nearest.py table results/nearest.json

On development tasks whose rows all have the same labels, through SQL, on the server of the PG* environment. Of each task --rows rows are asked and the others are
examples (200 of 250), in these ways:

    none            no examples
    some            K of the others, the same for every row
    nearest         the K nearest, the nearest last: dlm_nearest_examples
    nearest first   the same the other way round

An interrupted run goes on. Python's standard library and psql.
"""
import argparse
import json
import os
import pathlib
import subprocess

import rows

SHOWN = {               # the argument `examples` of a row
    "none": "NULL",
    "some": "(SELECT dlm_examples(input, target ORDER BY n) FROM (SELECT * FROM candidate ORDER BY n LIMIT {k}) AS s)",
    "nearest": "dlm_nearest_examples(input, (SELECT dlm_examples(input, target ORDER BY n) FROM candidate), {k})",
    "nearest first": "(SELECT jsonb_agg(e ORDER BY i DESC) FROM jsonb_array_elements("
                     "dlm_nearest_examples(input, (SELECT dlm_examples(input, target ORDER BY n) FROM candidate), {k})) WITH ORDINALITY AS s (e, i))",
}
QUERY = """
\\set content `cat '{path}'`
CREATE TEMP TABLE line AS SELECT n, l::jsonb AS j FROM regexp_split_to_table(:'content', E'\\n') WITH ORDINALITY AS t (l, n) WHERE l <> '';
CREATE TEMP TABLE candidate AS SELECT n, j ->> 'input' AS input, j ->> 'target' AS target FROM line WHERE n > {rows};
CREATE TEMP TABLE asked AS SELECT n, j ->> 'input' AS input, j ->> 'instruction' AS instruction, ARRAY(SELECT jsonb_array_elements_text(j -> 'labels')) AS labels FROM line WHERE n <= {rows};
SELECT json_agg(label ORDER BY n) FROM (SELECT n, dlm_classify(input, labels, instruction, examples => {examples}) AS label FROM asked OFFSET 0) AS s;
"""


def usable(path, n):
    """The rows, those that are asked first and in a random order; None where their labels differ."""
    found = rows.read(path)
    if len({tuple(sorted(e["labels"])) for _, e in found}) > 1 or len(found) < 2 * n:
        return None
    return [e for _, e in sorted(found, key=lambda r: rows.order(r[0], 0))]


def ask(task, way, args):
    path = pathlib.Path(args.out).with_suffix(".rows")
    path.write_text("".join(json.dumps({k: e[k] for k in ("input", "instruction", "labels", "target")}) + "\n" for e in task))
    query = QUERY.format(path=path.resolve(), rows=args.rows, examples=SHOWN[way].format(k=args.k))
    answer = subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1"], input=query, capture_output=True, text=True)
    path.unlink()
    if answer.returncode:
        raise SystemExit(answer.stderr)
    return json.loads(answer.stdout)


def run(args):
    out = pathlib.Path(args.out)
    result = json.loads(out.read_text()) if out.exists() else {"k": args.k, "rows": args.rows, "tasks": {}}
    if (result["k"], result["rows"]) != (args.k, args.rows):
        raise SystemExit(f"nearest.py: {out} is of other rows or another number of examples")
    for name in args.tasks:
        task = usable(pathlib.Path(args.data) / f"{name}.jsonl", args.rows)
        if task is None:
            raise SystemExit(f"nearest.py: rows of {name} have different labels, or are too few")
        ways = result["tasks"].setdefault(name, {})
        for way in SHOWN:
            if way in ways:
                continue
            ways[way] = "".join(str(int(a == e["target"])) for a, e in zip(ask(task, way, args), task))
            part = out.with_suffix(".part")
            part.write_text(json.dumps(result, indent=1) + "\n")
            os.replace(part, out)
            print(f"{name}: {way} {ways[way].count('1') / args.rows:.3f}", flush=True)
    table(args)


def table(args):
    result = json.loads(pathlib.Path(args.out).read_text())
    ways = list(SHOWN)
    print(f"Share of right labels of {result['rows']} rows a task, with {result['k']} examples.\n")
    print(f"| task | {' | '.join(ways)} |\n|---{'|---' * len(ways)}|")
    for name, right in result["tasks"].items():
        print(f"| {name} | " + " | ".join(f"{right[w].count('1') / len(right[w]):.3f}" for w in ways) + " |")
    digits = {w: [[int(d) for d in right[w]] for right in result["tasks"].values()] for w in ways}
    print("| **mean** | " + " | ".join("{:.3f}".format(rows.interval(digits[w])[0]) for w in ways) + " |\n")
    for one, other in (("some", "none"), ("nearest", "none"), ("nearest", "some"), ("nearest", "nearest first")):
        pairs = [[x - y for x, y in zip(a, b)] for a, b in zip(digits[one], digits[other])]
        print("{} less {}: {:+.1f} points ({:+.1f} to {:+.1f})".format(one, other, *(100 * v for v in rows.interval(pairs))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    go = verbs.add_parser("run")
    go.add_argument("--data", required=True)
    go.add_argument("--out", required=True)
    go.add_argument("--rows", type=int, default=50, help="of each task, asked")
    go.add_argument("--k", type=int, default=4)
    go.add_argument("tasks", nargs="+")
    show = verbs.add_parser("table")
    show.add_argument("out")
    args = parser.parse_args()
    {"run": run, "table": table}[args.verb](args)


if __name__ == "__main__":
    main()
