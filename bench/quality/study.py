"""The figures of study.sh's runs, side by side.

    python study.py OUT [ARM...]

Of each arm and seed: accuracy of the development tasks by the four rules (mean over tasks), the best of them less that of the first arm given (paired over rows, 95 % interval),
exact match of gaps. Markdown.
"""
import json
import pathlib
import sys

import rows

RULES = ("mean", "mean+cf", "sum", "sum+cf")


def read(path):
    """task -> rule -> list of right (0, 1), and the same of gaps under the rule None."""
    found = {}
    for entry in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        right = entry.get("right")
        if right is not None:               # the lines of means have none
            found.setdefault(entry["task"], {})[entry.get("rule")] = [int(c) for c in right]
    return found


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def by_rule(tasks, rule):
    return [right[rule] for right in tasks.values() if rule in right]


def best_rule(tasks):
    return max(RULES, key=lambda r: mean(mean(x) for x in by_rule(tasks, r)))


def main():
    out = pathlib.Path(sys.argv[1])
    runs = [(path.stem, read(path)) for arm in sys.argv[2:] for path in sorted(out.glob(f"{arm}-*.json"))]
    first = runs[0][1]
    print("| run | " + " | ".join(RULES) + " | best rule, less " + runs[0][0] + "'s | gaps |\n|---|---|---|---|---|---|---|")
    for name, tasks in runs:
        ours, theirs = by_rule(tasks, best_rule(tasks)), by_rule(first, best_rule(first))
        low_mean, low, high = rows.interval([[a - b for a, b in zip(x, y)] for x, y in zip(ours, theirs)])
        gaps = rows.interval(by_rule(tasks, None))
        print(f"| {name} | " + " | ".join(f"{mean(mean(x) for x in by_rule(tasks, r)):.3f}" for r in RULES)
              + f" | {low_mean:+.3f} [{low:+.3f}, {high:+.3f}] | {gaps[0]:.3f} [{gaps[1]:.3f}, {gaps[2]:.3f}] |")


if __name__ == "__main__":
    main()
