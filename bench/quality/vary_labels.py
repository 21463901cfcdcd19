"""Label rows in several forms, so that a model learns to read the label set and the question instead of remembering tasks.

    python vary_labels.py --data DIR/instruct --out DIR [--copies 3]

Of a task with labels: its rows as they are, and copies of them; in a copy, a third of the rows has labels that mean nothing (rename_labels.py: where there are 2 to 8), a sixth is asked as dlm_classify
asks without an instruction ("Which label fits the text best? Choose from: ..."; where there are at most 16 of one line), and in the others the labels that the instruction lists, if it does, change places. Of a task without labels
whose answers are short: its rows as they are, and as often a choice among two to six answers, the row's own and those of other rows.
Development tasks (development.txt) and rows whose split is not train are left out. The choice of a row is that of random.Random("SEED TASK COPY ROW"). Writes
OUT/labels/TASK.jsonl, OUT/others/TASK.jsonl and OUT/choices/TASK.jsonl.
"""
import argparse
import json
import multiprocessing
import pathlib
import random

import prepare
import rename_labels
import rows

DEFAULT_SHARE, DEFAULT_MOST, MOST_ANSWER, LEAST_ANSWERS = 1 / 6, 16, 40, 6
CHOOSE = ("Choose from: {}.", "Options: {}.", "Pick one: {}.", "Which of these: {}?", "The answer is one of: {}.")
KINDS = ("labels", "others", "choices")


def listed(labels, rng):
    return ", ".join(rng.sample(labels, len(labels)))


def varied(row, rng):
    """A label row in another form."""
    place = rng.random()
    if place < rename_labels.SHARE:
        return rename_labels.renamed(row, rng) or rename_labels.shuffled(row, rng)
    one_line = not any("\n" in label or len(label) > MOST_ANSWER for label in row["labels"])
    if place < rename_labels.SHARE + DEFAULT_SHARE and one_line and len(row["labels"]) <= DEFAULT_MOST and "Choices" not in (row.get("input") or ""):
        return {**row, "instruction": f"Which label fits the text best? Choose from: {listed(row['labels'], rng)}."}
    return rename_labels.shuffled(row, rng)


def choice(row, answers, rng):
    """A row without labels as a choice among answers of its task; None where its answer is long."""
    target = row["target"]
    if len(target) > MOST_ANSWER or "\n" in target:
        return None
    others = [a for a in rng.sample(answers, min(len(answers), 12)) if a.lower() != target.lower()][:rng.choice((1, 2, 3, 3, 4, 5))]
    labels = [target] + others
    rng.shuffle(labels)
    ask = rng.choice(CHOOSE).format(", ".join(labels))
    return {**row, "instruction": " ".join(filter(None, [(row.get("instruction") or "").strip(), ask])), "labels": labels}


def make(job):
    path, out, seed, copies = job
    task = path.name.split(".jsonl")[0]
    with rows.open_text(path) as f:
        lines = [row for row in map(json.loads, f) if row["split"] == "train"]
    has_labels = bool(lines and lines[0].get("labels"))
    files = {"labels" if has_labels else "others": list(lines)}
    if has_labels:
        for copy in range(1, copies):
            files["labels"] += [varied(row, random.Random(f"{seed} {task} {copy} {i}")) for i, row in enumerate(lines)]
    else:
        answers = sorted({row["target"] for row in lines if len(row["target"]) <= MOST_ANSWER and "\n" not in row["target"]})
        if len(answers) >= LEAST_ANSWERS:
            made = [choice(row, answers, random.Random(f"{seed} {task} 1 {i}")) for i, row in enumerate(lines)]
            files["choices"] = [row for row in made if row]
    for kind, some in files.items():
        if some:
            with open(out / kind / f"{task}.jsonl", "w", encoding="utf-8") as f:
                f.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in some)
    return {kind: len(some) for kind, some in files.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--copies", type=int, default=3)
    args = parser.parse_args()
    for kind in KINDS:
        (args.out / kind).mkdir(parents=True, exist_ok=True)
    left_out = set(prepare.tasks())
    jobs = [(path, args.out, args.seed, args.copies) for path in sorted(args.data.glob("*.jsonl.gz")) if path.name.split(".jsonl")[0] not in left_out]
    with multiprocessing.Pool() as pool:
        counts = pool.map(make, jobs)
    print("; ".join(f"{kind}: {sum(bool(c.get(kind)) for c in counts)} tasks, {sum(c.get(kind, 0) for c in counts)} rows" for kind in KINDS))


if __name__ == "__main__":
    main()
