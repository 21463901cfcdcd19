"""The tables of a release from what release.sh left in a folder.

    python release.py DIR > table.md

DIR: heldout.json, heldout_before.json (the model of before), seen.json, heldout_gen.json, infill.json (`dlm-model eval --json`), base_heldout.json, infill_base.json (base.py, infill.py); a missing one is left out.
Differences to the base are paired row by row; intervals are of rows.py.
"""
import json
import pathlib
import sys

import rows

BAR_BASE, BAR_BASELINE, BAR_SEEN = 12, 10, 20       # points
BAR_LEFT, BAR_TWO_SIDED = 1.5, 0.85                 # times


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def document(path):
    return json.loads(path.read_text()) if path.exists() else None


def digits(right, own_lines, wanted):
    """Digits a row of the wanted lines."""
    by_line = dict(zip(own_lines, right))
    missing = [i for i in wanted if i not in by_line]
    if missing:
        sys.exit(f"release.py: the base has no answers to lines {missing[:5]}...: run base.py with the same --rows and --seed")
    return [int(by_line[i]) for i in wanted]


def of_kind(report, kind):
    return [e for e in report if e["kind"] == kind and e["task"] != "mean"]


def verdict(value, bar, form="{:.1f}"):
    return f"{form.format(value)}, bar {form.format(bar)}: {'reached' if value >= bar else 'missed'}"


def heldout(report, base):
    tasks = of_kind(report, "labels")
    if not tasks:
        return
    rule = base["best"] if base else None
    print(f"Accuracy on tasks held out of training, {tasks[0]['model']}, rule {tasks[0]['rule']}" + (f"; the base left to right by its best rule, {rule}" if base else "") +
          f"; {sum(e['rows'] for e in tasks)} rows; differences in points with 95 % intervals. Below baseline: *.\n")
    print("| task | model | base's best | baseline | model - base | model - baseline | ECE |\n|---|---|---|---|---|---|---|")
    pairs = []
    for e in tasks:
        mine = [int(d) for d in e["right"]]
        line = f"| {e['task']}{' *' if e['accuracy']['value'] < e['baseline'] else ''} | {e['accuracy']['value']:.3f} "
        if base and e["task"] in base["tasks"]:
            b = base["tasks"][e["task"]]
            theirs = digits(b["right"][rule], b["lines"], e["lines"])
            pairs.append([x - y for x, y in zip(mine, theirs)])
            line += f"| {sum(theirs) / len(theirs):.3f} | {e['baseline']:.3f} | {rows.signed(rows.interval(pairs[-1:]))} "
        else:
            line += f"| | {e['baseline']:.3f} | "
        print(line + f"| {rows.signed([e['accuracy'][k] - e['baseline'] for k in ('value', 'low', 'high')])} | {e['ece']:.3f} |")
    mean = sum(e["accuracy"]["value"] for e in tasks) / len(tasks)
    over = rows.interval([[int(d) - e["baseline"] for d in e["right"]] for e in tasks])
    whole = len(pairs) == len(tasks)
    difference = rows.interval(pairs) if whole else None
    print(f"| **mean** | **{mean:.3f}** | {f'{mean - difference[0]:.3f}' if whole else ''} | {mean - over[0]:.3f} | {rows.signed(difference) if whole else ''} | {rows.signed(over)} | "
          f"{sum(e['ece'] for e in tasks) / len(tasks):.3f} |\n")
    if whole:
        print("Over the base: " + verdict(100 * difference[0], BAR_BASE) + ".")
    elif base:
        print(f"The base's figures cover {len(pairs)} of {len(tasks)} tasks.")
    print("Over the baseline: " + verdict(100 * over[0], BAR_BASELINE) + ".\n")


def before(report, earlier):
    """The held-out tasks by the model of before and by this one, on the same rows."""
    old = {e["task"]: e for e in of_kind(earlier, "labels")}
    tasks = [e for e in report if e["task"] in old]
    if not tasks:
        return
    print("| task | before | now | now - before |\n|---|---|---|---|")
    pairs = []
    for e in tasks:
        theirs = digits(old[e["task"]]["right"], old[e["task"]]["lines"], e["lines"])
        pairs.append([int(d) - t for d, t in zip(e["right"], theirs)])
        print(f"| {e['task']} | {sum(theirs) / len(theirs):.3f} | {e['accuracy']['value']:.3f} | {rows.signed(rows.interval(pairs[-1:]))} |")
    now = sum(e["accuracy"]["value"] for e in tasks) / len(tasks)
    difference = rows.interval(pairs)
    print(f"| **mean** | {now - difference[0]:.3f} | **{now:.3f}** | {rows.signed(difference)} |\n")


def seen(report):
    tasks = of_kind(report, "labels")
    if not tasks:
        return
    over = rows.interval([[int(d) - e["baseline"] for d in e["right"]] for e in tasks])
    below = [e["task"] for e in tasks if e["accuracy"]["value"] < e["baseline"]]
    print(f"Test rows of {len(tasks)} training tasks ({sum(e['rows'] for e in tasks)} rows): accuracy {sum(e['accuracy']['value'] for e in tasks) / len(tasks):.3f}, "
          f"{rows.signed(over)} points over the baseline (bar {BAR_SEEN}: {'reached' if 100 * over[0] >= BAR_SEEN else 'missed'}); below it: {len(below)} ({', '.join(below)}).\n")


def generation(report):
    tasks = of_kind(report, "generation")
    if tasks:
        print("| generation, held out | rows | chrF | ROUGE-L | exact |\n|---|---|---|---|---|")
        for e in tasks:
            print(f"| {e['task']} | {e['rows']} | {e['chrf']['value']:.1f} ({e['chrf']['low']:.1f} to {e['chrf']['high']:.1f}) | {e['rouge_l']['value']:.3f} | {e['exact']['value']:.3f} |")
        print()


def infill(report, base):
    tasks = of_kind(report, "infill")
    if not tasks:
        return
    kinds = ("left", "two_sided", "following")
    print("| infill, one word | gaps | model | base, left only | base, two-sided | ... by what follows alone |\n|---|---|---|---|---|---|")
    every, theirs = [], {k: [] for k in kinds}
    for e in tasks:
        mine = [int(d) for d in e["right"]]
        every += mine
        line = f"| {e['task']} | {e['rows']} | {sum(mine) / len(mine):.3f} |"
        for k in kinds if base else ():
            b = base["tasks"][e["task"]]
            d = digits(b["right"][k], b["lines"], e["lines"])
            theirs[k] += d
            line += f" {sum(d) / len(d):.3f} |"
        print(line)
    if base:
        rate = {k: sum(theirs[k]) / len(every) for k in kinds}
        mine = sum(every) / len(every)
        best = max(rate["two_sided"], rate["following"])
        print(f"| **all** | {len(every)} | **{mine:.3f}** | " + " | ".join(f"{rate[k]:.3f}" for k in kinds) + " |\n")
        print("Times the left-only base: " + (verdict(mine / rate["left"], BAR_LEFT, "{:.2f}") if rate["left"] else "the base has none right") + ".")
        print("Share of the two-sided reference (the better of the two): " + (verdict(mine / best, BAR_TWO_SIDED, "{:.2f}") if best else "it has none right") + ".\n")


def main():
    folder = pathlib.Path(sys.argv[1])
    heldout(lines(folder / "heldout.json"), document(folder / "base_heldout.json"))
    before(lines(folder / "heldout.json"), lines(folder / "heldout_before.json"))
    seen(lines(folder / "seen.json"))
    generation(lines(folder / "heldout_gen.json"))
    infill(lines(folder / "infill.json"), document(folder / "infill_base.json"))


if __name__ == "__main__":
    main()
