"""Which gaps of infill.py stand in instruction rows too, and does the model find more of those?

    python overlap.py --data DIR/instruct --gaps DIR [--answers results/infill.json]

The lines that gaps are made of are left out of the corpus rows, but some instruction tasks quote the same books, articles and films. A gap counts as seen where its word, with the four words on either side,
stands in a row whose split is train of a task that is trained on (development.txt names those that are not). --answers: of `dlm-model eval --json` over all gaps.
"""
import argparse
import json
import pathlib
import re

import prepare
import rows

BESIDE = 4


def words(text):
    return re.findall(r"[a-z0-9]+", text.lower())


def around(row):
    """The gap's word with four words on either side."""
    a, b = row["gap"]
    return " ".join(words(row["text"][:a])[-BESIDE:] + words(row["text"][a:b]) + words(row["text"][b:])[:BESIDE])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=pathlib.Path, required=True)
    p.add_argument("--gaps", type=pathlib.Path, required=True)
    p.add_argument("--answers", type=pathlib.Path)
    args = p.parse_args()
    left_out = set(prepare.tasks())
    gaps = {path.stem: [around(json.loads(line)) for line in open(path)] for path in sorted(args.gaps.glob("infill_*.jsonl"))}
    sizes = {len(g.split()) for some in gaps.values() for g in some}
    wanted = {g for some in gaps.values() for g in some}
    seen = set()
    for path in sorted(args.data.glob("*.jsonl.gz")):
        if path.name.split(".jsonl")[0] in left_out:
            continue
        for row in map(json.loads, rows.open_text(path)):
            if row["split"] == "train":
                w = words(" ".join(filter(None, (row.get("instruction"), row.get("input"), row["target"]))))
                seen.update(wanted.intersection(" ".join(w[i:i + n]) for n in sizes for i in range(len(w) - n + 1)))
    answers = {r["task"]: r["right"] for r in map(json.loads, open(args.answers)) if "right" in r} if args.answers else {}
    total = [0, 0, 0, 0]
    for name, some in gaps.items():
        right = [int(d) for d in answers.get(name, "0" * len(some))]
        of = [[r for g, r in zip(some, right) if (g in seen) == want] for want in (True, False)]
        total = [t + n for t, n in zip(total, (len(of[0]), sum(of[0]), len(of[1]), sum(of[1])))]
        print(f"{name}: {len(of[0])} of {len(some)} seen" + "".join(f"; {kind} {sum(x)} of {len(x)} right" for kind, x in zip(("seen", "unseen"), of) if answers))
    print(f"all: {total[0]} seen" + (f", {total[1]} right; {total[2]} unseen, {total[3]} right ({total[3] / total[2]:.3f})" if answers else ""))


if __name__ == "__main__":
    main()
