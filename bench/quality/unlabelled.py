"""What dlm_calibrate is worth without labels: accuracy with and without what each label has in the mean over a task's rows.

    dlm-model eval FILES --model MODEL.dlm --answers answers.jsonl
    python unlabelled.py answers.jsonl FILES

For tasks whose rows all have the same labels; others count as they are. A label's bias is the logarithm of its probability in the mean over the answered rows, as dlm_calibrate has it for a query without a
column target (batch calibration, Zhou et al. 2023); targets are read to count what is right, never to fit. Differences in points are paired by row, 95 % intervals of rows.py.
"""
import argparse
import json
import math
import pathlib

import rows


def softmax(scores):
    top = max(scores.values())
    e = {label: math.exp(s - top) for label, s in scores.items()}
    return {label: v / sum(e.values()) for label, v in e.items()}


def best(scores):
    return max(scores, key=scores.get)


def read(path):
    """-> {task: {rule: {line: {label: score}}}}"""
    tasks = {}
    for line in open(path, encoding="utf-8"):
        a = json.loads(line)
        if "scores" in a:
            tasks.setdefault(a["task"], {}).setdefault(a.get("rule", ""), {})[a["line"]] = a["scores"]
    return tasks


def judge(scores, targets):
    """scores: {line: {label: score}} -> right without and with the biases, a number a row; rows with labels of their own have no common bias"""
    p = [softmax(s) for s in scores.values()]
    common = len({frozenset(q) for q in p}) == 1
    bias = {label: math.log(sum(q[label] for q in p) / len(p)) for label in p[0]} if common else {}
    plain = [int(best(s) == targets[line]) for line, s in scores.items()]
    balanced = [int(best({label: v - bias.get(label, 0) for label, v in s.items()}) == targets[line]) for line, s in scores.items()]
    return plain, balanced, common


def line_of(name, rule, tasks):
    """tasks: [(plain, balanced, baseline)]"""
    mean = lambda k: sum(sum(t[k]) / len(t[k]) for t in tasks) / len(tasks)  # noqa: E731
    gain = rows.signed(rows.interval([[y - x for x, y in zip(plain, balanced)] for plain, balanced, _ in tasks]))
    over = rows.signed(rows.interval([[y - baseline for y in balanced] for _, balanced, baseline in tasks]))
    return f"| {name} | {rule} | {sum(len(t[0]) for t in tasks)} | {mean(0):.3f} | {mean(1):.3f} | {gain} | {over} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answers")
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    args = parser.parse_args()
    answers, found = read(args.answers), {}
    print("| task | rule | rows | without | with | with - without | with - baseline |\n|---|---|---|---|---|---|---|")
    for path in args.files:
        task = path.name.split(".jsonl")[0]
        known = rows.read(path)
        for rule, scores in answers.get(task, {}).items():
            plain, balanced, common = judge(scores, {i: e["target"] for i, e in known})
            judged = (plain, balanced, rows.baseline([e for i, e in known if i in scores]))
            found.setdefault(rule, []).append((common, judged))
            print(line_of(task + ("" if common else " (as it is)"), rule, [judged]))
    for rule, tasks in found.items():
        common = [t for c, t in tasks if c]
        if common and len(common) < len(tasks):
            print(line_of(f"**{len(common)} with common labels**", rule, common))
        print(line_of(f"**all {len(tasks)}**", rule, [t for _, t in tasks]))


if __name__ == "__main__":
    main()
