"""SVG plots of the log of a training (dlm-model train --log).

    python bench/plot_training.py LOG.csv [LOG.csv ...] [--out FOLDER] [--x step|tokens|seconds]

loss.svg: nats a masked token, of the last steps and held out. right.svg: share of masked tokens, and of held-out rows whose target scores best of their
labels. rate.svg: learning rate. Several logs are several lines, called by their files' names.
"""
import argparse
import csv
import pathlib

import plot

MOST_POINTS = 400           # of a line: beyond, neighbours are averaged
PALETTE = ["#b3261e", "#1f5fa8", "#2e7d32", "#7a1fa2", "#e07b39", "#757575"]
LABELS = {"step": "optimiser's steps", "tokens": "tokens trained on", "seconds": "seconds"}


def read(path):
    """Rows of a log as numbers, None where a field is empty. A line that a full disk or a kill has cut is left out."""
    with open(path, newline="") as f:
        reader = csv.reader(f)
        names = next(reader, [])
        lines = [line for line in reader if len(line) == len(names)]
    return [{n: float(v) if v != "" else None for n, v in zip(names, line)} for line in lines]


def points(rows, x, y):
    """(x, y) of the rows that have y; a run that went on from a checkpoint may have a step twice: the later one holds."""
    found = {}
    for row in rows:
        if row.get(y) is not None:
            found[row[x]] = row[y]
    return sorted(found.items())


def thin(line):
    """At most MOST_POINTS, each the mean of its neighbours."""
    size = -(-len(line) // MOST_POINTS)
    groups = [line[i:i + size] for i in range(0, len(line), size)]
    return [(sum(p[0] for p in g) / len(g), sum(p[1] for p in g) / len(g)) for g in groups]


def draw(logs, x, kinds, title, label, file):
    """kinds: (column, what the legend adds to the log's name, dashed)."""
    lines = []
    for i, (name, rows) in enumerate(logs):
        for column, what, dashed in kinds:
            legend = " ".join(part for part in (name if len(logs) > 1 else "", what) if part)
            plot.COLORS[legend] = PALETTE[(i if len(logs) > 1 else len(lines)) % len(PALETTE)]
            lines.append((legend, thin(points(rows, x, column)), dashed))
    lines = [line for line in lines if line[1]]
    if lines and max(p[1] for _, line, _ in lines for p in line) > 0 and max(p[0] for _, line, _ in lines for p in line) > 0:
        file.write_text(plot.Plot(title, LABELS[x], label, lines, log_x=False, log_y=False).svg())
        print(file)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("logs", nargs="+")
    p.add_argument("--out", default=".")
    p.add_argument("--x", choices=sorted(LABELS), default="step")
    args = p.parse_args()
    logs = [(pathlib.Path(path).stem, read(path)) for path in args.logs]
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    many = len(logs) > 1
    draw(logs, args.x, [("loss", "training", many), ("validation_loss", "held out", False)], "Loss", "nats a masked token", out / "loss.svg")
    draw(logs, args.x, [("right", "masked tokens", many), ("validation_right", "labels", False)], "Right answers", "share", out / "right.svg")
    draw(logs, args.x, [("rate", "", False)], "Learning rate", "rate", out / "rate.svg")


if __name__ == "__main__":
    main()
