#!/usr/bin/env python3
"""How much do a few labelled rows teach?

For each held-out task and seed: half of its rows (in the random order of the
seed) train the model with `dlm-model train` and its defaults, the other half
is scored before (by the better of the two calibrations) and after. Prints a
line a run, then the mean gain of each task and of all, with a bootstrap
interval over runs. Only the standard library; needs a built dlm-model.

    python finetune.py --model ../../build/dlm-135m.dlm --data ../../../shared/data/eval/heldout --seeds 5 TASK ...
"""
import argparse, gzip, json, os, random, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))


def read_rows(path):
    with gzip.open(path, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def write_rows(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps(row) + "\n")


def accuracy(tool, model, rows, folder, *options):
    """Share of rows whose best label is the target, by the model's own rule unless options say otherwise."""
    answers = os.path.join(folder, "answers.jsonl")
    subprocess.run([tool, "eval", model, rows, "--answers", answers, *options], check=True, stdout=subprocess.DEVNULL)
    targets = [json.loads(line)["target"] for line in open(rows, encoding="utf-8")]
    labels = [json.loads(line)["label"] for line in open(answers, encoding="utf-8")]
    assert len(targets) == len(labels)
    return sum(t == l for t, l in zip(targets, labels)) / len(targets)


def one_run(args, task, seed, folder):
    rows = read_rows(os.path.join(args.data, task + ".jsonl.gz"))
    random.Random(seed).shuffle(rows)
    half = len(rows) // 2
    train, test, out = (os.path.join(folder, n) for n in ("train.jsonl", "test.jsonl", "out.dlm"))
    write_rows(train, rows[:half])
    write_rows(test, rows[half:])
    # the better of the two rules: the content-free score helps some tasks and hurts others
    before = max(accuracy(args.tool, args.model, test, folder, "--calibrate", c) for c in ("none", "content_free"))
    begin = time.monotonic()
    subprocess.run([args.tool, "train", args.model, train, "--validation-share", "0", "--seed", str(seed), "--out", out,
                    "--quiet"] + args.option, check=True)
    seconds = time.monotonic() - begin
    return {"task": task, "seed": seed, "before": before, "after": accuracy(args.tool, out, test, folder), "seconds": seconds}


def interval(values, seed=0, rounds=2000):
    """95 % of the bootstrap's means."""
    rng = random.Random(seed)
    means = sorted(sum(rng.choices(values, k=len(values))) / len(values) for _ in range(rounds))
    return means[int(0.025 * rounds)], means[int(0.975 * rounds)]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("tasks", nargs="+")
    p.add_argument("--model", required=True)
    p.add_argument("--data", required=True)
    p.add_argument("--tool", default=os.path.join(HERE, "..", "..", "build", "dlm-model"))
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--out", help="JSON lines, one a run; runs that stand there are not done again")
    p.add_argument("--option", action="append", default=[], help="of dlm-model train, e.g. --option=--epochs --option=6")
    args = p.parse_args()
    done = [json.loads(line) for line in open(args.out)] if args.out and os.path.exists(args.out) else []
    for seed in range(1, args.seeds + 1):
        for task in args.tasks:
            if any(r["task"] == task and r["seed"] == seed for r in done):
                continue
            with tempfile.TemporaryDirectory() as folder:
                r = one_run(args, task, seed, folder)
            done.append(r)
            print("%-26s seed %d  before %.3f  after %.3f  %4.0f s" % (task, seed, r["before"], r["after"], r["seconds"]), flush=True)
            if args.out:
                with open(args.out, "a") as f:
                    f.write(json.dumps(r) + "\n")
    for task in args.tasks:
        runs = [r for r in done if r["task"] == task]
        print("%-26s %d runs: %.3f -> %.3f" % (task, len(runs), sum(r["before"] for r in runs) / len(runs),
                                              sum(r["after"] for r in runs) / len(runs)))
    gains = [r["after"] - r["before"] for r in done if r["task"] in args.tasks]
    print("mean gain %.3f, 95 %% of bootstrapped means %.3f to %.3f, %d runs" % ((sum(gains) / len(gains),) + interval(gains) + (len(gains),)))


if __name__ == "__main__":
    sys.exit(main())
