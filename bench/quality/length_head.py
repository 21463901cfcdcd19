"""Does a learned length head know more than how long targets are on average?

    python length_head.py --data DIR/instruct --model ../../build/dlm-135m.dlm --out DIR

Rows without labels of all training tasks: --rows of the split "train" of each, --validation of "dev". `dlm-model train --objective length` fits the head on the frozen model;
beside its loss on the validation rows stands that of the training rows' lengths alone (each class counted once more), which needs no model.
"""
import argparse
import collections
import csv
import json
import math
import pathlib
import subprocess

import prepare
import reference_model
import rows

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent


def sample(data, split, n):
    """n rows of the split of each task without labels that is no development task."""
    found = []
    for path in sorted(data.glob("*.jsonl.gz")):
        if path.name.split(".jsonl")[0] not in prepare.tasks():
            found += [e for _, e in rows.read(path, usable=lambda e: e["split"] == split and not e.get("labels"))[:n]]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--validation", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--classes", type=int, default=64)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    parts = {"train": sample(args.data, "train", args.rows), "validation": sample(args.data, "dev", args.validation)}
    for name, part in parts.items():
        (args.out / f"{name}.jsonl").write_text("".join(json.dumps(e, ensure_ascii=False) + "\n" for e in part), encoding="utf-8")
    subprocess.run([ROOT / "build/dlm-model", "train", args.model, args.out / "train.jsonl", "--objective", "length", "--validation", args.out / "validation.jsonl",
                    "--length-classes", str(args.classes), "--epochs", str(args.epochs), "--row-tokens", "192", "--skip-long", "--batch-tokens", "2048", "--patience", "0", "--seed", "1",
                    "--log", args.out / "log.csv", "--out", args.out / "head.dlm", "--quiet"], check=True)
    tok = reference_model.read_tokenizer(ROOT / "models/dlm-135m")
    length = {name: [min(args.classes, max(1, len(reference_model.encode(tok, e["target"])))) for e in part] for name, part in parts.items()}
    count = collections.Counter(length["train"])
    alone = {n: (count[n] + 1) / (len(length["train"]) + args.classes) for n in range(1, args.classes + 1)}
    likeliest = max(alone, key=alone.get)
    seen = [r for r in csv.DictReader(open(args.out / "log.csv")) if r["validation_loss"]]
    best = min(seen, key=lambda r: float(r["validation_loss"]))
    print(f"{len(parts['train'])} training rows, {len(parts['validation'])} validation rows, {args.classes} classes")
    print("| | nats a row | right |\n|---|---|---|")
    print(f"| lengths alone | {-sum(math.log(alone[n]) for n in length['validation']) / len(length['validation']):.2f} | {sum(n == likeliest for n in length['validation']) / len(length['validation']):.3f} |")
    print(f"| length head | {float(best['validation_loss']):.2f} | {float(best['validation_right']):.3f} |")


if __name__ == "__main__":
    main()
