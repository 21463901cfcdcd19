"""Files of the development tasks for `dlm-model eval`.

    python prepare.py --data DIR/instruct --out DIR

Rules, thresholds and checkpoints are chosen on these ten tasks, which the trainer leaves out (development.txt; the README says why these). Of each: the rows of the split
"dev", then rows of "train" in the random order of rows.py, up to --rows; rows with a label only, and none whose input another task has too, since the trainer sees that
one. Writes OUT/TASK.jsonl.
"""
import argparse
import json
import pathlib

import rows

HERE = pathlib.Path(__file__).parent


def tasks():
    return (HERE / "development.txt").read_text().split()


def key(row):
    return " ".join(row["input"].lower().split())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--rows", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data, out, names = pathlib.Path(args.data), pathlib.Path(args.out), set(tasks())
    out.mkdir(parents=True, exist_ok=True)
    trained = {key(e) for path in data.glob("*.jsonl.gz") if path.name.split(".jsonl")[0] not in names for e in map(json.loads, rows.open_text(path)) if e["input"]}
    for name in sorted(names):
        found = rows.read(data / f"{name}.jsonl.gz", usable=lambda e: rows.labelled(e) and e["split"] in ("dev", "train"))
        own = [(i, e) for i, e in found if key(e) not in trained]
        own.sort(key=lambda r: (r[1]["split"] != "dev", rows.order(r[0], args.seed)))
        chosen = [e for _, e in own[:args.rows]]
        with open(out / f"{name}.jsonl", "w", encoding="utf-8") as f:
            for e in chosen:
                print(json.dumps(e, ensure_ascii=False), file=f)
        print(f"{name:24s} {len(chosen):4d} rows, {sum(e['split'] == 'dev' for e in chosen)} of dev; {len(found) - len(own)} of {len(found)} are another task's too; "
              f"labels {len({tuple(sorted(e['labels'])) for e in chosen})} sets, baseline {rows.baseline(chosen):.3f}")


if __name__ == "__main__":
    main()
