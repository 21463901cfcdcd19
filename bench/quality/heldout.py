"""Do the database's labels equal PyTorch's with the same weights?

    python heldout.py reference --folder models/dlm-135m --base FILE.gguf --data DIR --rows 60 --out reference.jsonl
    python heldout.py compare   --reference reference.jsonl --answers answers.jsonl

`reference` scores the rows of every task file of DIR (JSON lines with instruction, input, labels, target; gzip) with PyTorch in f32, one pass, with and without
the content-free score; it goes on where an earlier run of it stopped. `compare` reads the engine's answers, a line {"label": ..., "scores": {label: logprob}} for
each line of the reference in its order, and prints agreement and accuracy a task. heldout.sql makes such answers through SQL.
"""
import argparse
import collections
import gzip
import json
import pathlib
import random
import sys


def rows_of(path, n):
    rows = [e for e in map(json.loads, gzip.open(path, "rt", encoding="utf-8")) if e.get("labels") and e["target"] in e["labels"]]
    random.Random(0).shuffle(rows)
    return rows[:n]


def reference(args):
    import torch
    import reference_model
    torch.set_num_threads(args.threads)
    tok, model = reference_model.load(args.folder, args.base)
    out = pathlib.Path(args.out)
    done = sum(1 for _ in open(out, encoding="utf-8")) if out.exists() else 0
    rows = [e for path in sorted(pathlib.Path(args.data).glob("*.jsonl.gz")) for e in rows_of(path, args.rows)]
    null = {}
    with open(out, "a", encoding="utf-8") as file:
        for i, e in enumerate(rows[done:], done + 1):
            scores = reference_model.one_pass(tok, model, e["instruction"], e["input"], e["labels"])
            key = (e["instruction"], tuple(e["labels"]))
            if key not in null:
                null[key] = reference_model.one_pass(tok, model, e["instruction"], "N/A", e["labels"])
            line = {k: e[k] for k in ("task", "instruction", "input", "labels", "target")}
            for k, rule in enumerate(("mean", "sum")):
                line[rule] = [s[k] for s in scores]
                line["null_" + rule] = [s[k] for s in null[key]]
            print(json.dumps(line, ensure_ascii=False), file=file, flush=True)
            if i % 50 == 0:
                print(f"{i} of {len(rows)} rows", file=sys.stderr, flush=True)


def read(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def first_best(values):
    return max(range(len(values)), key=lambda i: values[i])


def compare(args):
    lines, answers = read(args.reference), read(args.answers)
    if len(lines) < len(answers) or not answers:
        sys.exit(f"{len(answers)} answers for {len(lines)} rows of the reference")
    tasks = collections.OrderedDict()
    worst, unequal = 0.0, []
    for line, answer in zip(lines, answers):
        wanted = [a - b for a, b in zip(line["mean"], line["null_mean"])]
        best = line["labels"][first_best(wanted)]
        task = tasks.setdefault(line["task"], collections.Counter())
        task["rows"] += 1
        task["same"] += answer["label"] == best
        task["right"] += answer["label"] == line["target"]
        task["reference_right"] += best == line["target"]
        if "scores" in answer:
            worst = max(worst, max(abs(answer["scores"][k] - v) for k, v in zip(line["labels"], wanted)))
        if answer["label"] != best:
            ordered = sorted(wanted, reverse=True)
            unequal.append((line["task"], answer["label"], best, ordered[0] - ordered[1]))
    total = collections.Counter()
    for name, task in tasks.items():
        total.update(task)
        print(f"{name:28s} {task['rows']:5d} rows  same label {task['same'] / task['rows']:.4f}  "
              f"right {task['right'] / task['rows']:.3f}  PyTorch right {task['reference_right'] / task['rows']:.3f}")
    print(f"{'all':28s} {total['rows']:5d} rows  same label {total['same'] / total['rows']:.4f}  "
          f"right {total['right'] / total['rows']:.3f}  PyTorch right {total['reference_right'] / total['rows']:.3f}  "
          f"largest difference of a score {worst:.2e}")
    for task, got, best, margin in unequal:
        print(f"  differs: {task}: {got!r}, PyTorch {best!r}, whose lead is {margin:.2e}")
    sys.exit(total["same"] < args.least * total["rows"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    ref = verbs.add_parser("reference")
    for name in ("--folder", "--base", "--data", "--out"):
        ref.add_argument(name, required=True)
    ref.add_argument("--rows", type=int, default=60)
    ref.add_argument("--threads", type=int, default=1)
    com = verbs.add_parser("compare")
    com.add_argument("--reference", required=True)
    com.add_argument("--answers", required=True)
    com.add_argument("--least", type=float, default=0.0, help="exit status 1 below this share of equal labels")
    args = parser.parse_args()
    {"reference": reference, "compare": compare}[args.verb](args)


if __name__ == "__main__":
    main()
