"""How far the columns of the benchmark's tables depend on each other, as counts alone see it.

    python3 depend.py --tables DIR

For each column: its most frequent value's share, and the share of rows whose value is the most frequent one among the other rows that agree in one other column, for the
column that does best. What is high on the right and low on the left can be filled from a neighbour; a column that is no better than its most frequent value depends on nothing
that counting can see (a model may know more: a capital is that of its country).
"""
import argparse
import collections
import csv
import json
import pathlib


def guess(found, by, column):
    """The share of rows, left out one at a time, whose value is the most frequent among those that agree in `by`."""
    groups = collections.defaultdict(collections.Counter)
    everything = collections.Counter(r[column] for r in found)
    for r in found:
        groups[r[by]][r[column]] += 1
    right = 0
    for r in found:
        counts = groups[r[by]]
        counts[r[column]] -= 1
        best = max(counts, key=lambda v: (counts[v], everything[v], v))
        right += counts[best] > 0 and best == r[column]
        counts[r[column]] += 1
    return right / len(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=pathlib.Path, required=True)
    args = parser.parse_args()
    print("| table | column | values | most frequent | by its best neighbour | which |\n|---|---|---|---|---|---|")
    for table, columns in json.loads((args.tables / "tables.json").read_text()).items():
        with open(args.tables / f"{table}.csv", newline="", encoding="utf-8") as f:
            everything = list(csv.DictReader(f))
        for c in list(columns)[1:]:
            found = [r for r in everything if r[c] != ""]
            alone = max(collections.Counter(r[c] for r in found).values()) / len(found)
            scores = {by: guess(found, by, c) for by in list(columns)[1:] if by != c}
            best = max(scores, key=scores.get)
            print(f"| {table} | {c} | {len({r[c] for r in found})} | {alone:.2f} | {scores[best]:.2f} | {best if scores[best] > alone else ''} |")


if __name__ == "__main__":
    main()
