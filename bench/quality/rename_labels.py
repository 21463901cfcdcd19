"""Label rows under other names, so that a model learns to read the label set instead of remembering it.

    python rename_labels.py --data DIR/instruct --out DIR

Of a third of the rows with 2 to 8 labels the labels become letters, numbers or words that mean nothing here, and the instruction ends with what each stands for:
"Write lamp for negative, river for positive." In the other rows, labels that the instruction lists one after another change places at random. Rows without labels are copied
as they are. The choice of a row is that of random.Random("SEED TASK ROW"). Writes OUT/TASK.jsonl.gz.
"""
import argparse
import gzip
import json
import pathlib
import random
import re
import string

import rows

WORDS = ("lamp river stone cloud table seven green paper north bottle window garden silver winter engine button castle forest island "
         "letter market needle orange pencil rabbit saddle tunnel valley walnut yellow").split()
NAMES = (list(string.ascii_uppercase), list(string.ascii_lowercase), [str(i) for i in range(1, 10)], WORDS)
SHARE, MOST_LABELS = 1 / 3, 8


def renamed(row, rng):
    """The row with labels that mean nothing; None where there are too many."""
    if not 2 <= len(row["labels"]) <= MOST_LABELS:
        return None
    kind, n = rng.choice(NAMES), len(row["labels"])
    names = kind[:n] if kind is not WORDS and rng.random() < 0.7 else rng.sample(kind, n)
    of = dict(zip(names, rng.sample(row["labels"], n)))
    new = {label: name for name, label in of.items()}
    meanings = ", ".join(f"{name} for {label}" for name, label in of.items())
    instruction = " ".join(filter(None, [(row.get("instruction") or "").strip(), f"Write {meanings}."]))
    return {**row, "instruction": instruction, "labels": names, "target": new[row["target"]]}


def shuffled(row, rng):
    """The row with the labels that its instruction lists in another order; the row itself where it lists none."""
    labels = sorted(map(re.escape, row["labels"]), key=len, reverse=True)
    one = "(?:" + "|".join(labels) + ")"
    listed = re.search(rf"(?<!\w){one}(?:(?:, or | or |, ){one})+(?!\w)", row.get("instruction") or "")
    if not listed:
        return row
    found = re.findall(rf"(?<!\w){one}(?!\w)", listed.group())
    places = iter(rng.sample(found, len(found)))
    text = re.sub(rf"(?<!\w){one}(?!\w)", lambda _: next(places), listed.group())
    return {**row, "instruction": row["instruction"][:listed.start()] + text + row["instruction"][listed.end():]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    counts = {"renamed": 0, "shuffled": 0, "rows": 0}
    for path in sorted(args.data.glob("*.jsonl.gz")):
        task = path.name.split(".jsonl")[0]
        with rows.open_text(path) as source, gzip.open(args.out / path.name, "wt", encoding="utf-8", compresslevel=1) as out:
            for i, line in enumerate(source):
                row = json.loads(line)
                if row.get("labels"):
                    rng = random.Random(f"{args.seed} {task} {i}")
                    new = renamed(row, rng) if rng.random() < SHARE else None
                    counts["renamed"] += new is not None
                    if new is None:
                        new = shuffled(row, rng)
                        counts["shuffled"] += new is not row
                    row = new
                counts["rows"] += 1
                print(json.dumps(row, ensure_ascii=False), file=out)
    print(counts)


if __name__ == "__main__":
    main()
