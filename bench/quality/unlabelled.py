"""What dlm_calibrate is worth without labels: accuracy with and without what each label has in the mean over a task's rows.

    dlm-model eval FILES --model MODEL.dlm --answers answers.jsonl
    python unlabelled.py answers.jsonl FILES

For the tasks whose rows all have the same labels. A label's bias is the logarithm of its probability in the mean over the answered rows, as dlm_calibrate has it for a query without a
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
    """scores: {line: {label: score}} -> right without and with the biases, a number a row"""
    p = [softmax(s) for s in scores.values()]
    bias = {label: math.log(sum(q[label] for q in p) / len(p)) for label in p[0]}
    plain = [int(best(s) == targets[line]) for line, s in scores.items()]
    balanced = [int(best({label: v - bias[label] for label, v in s.items()}) == targets[line]) for line, s in scores.items()]
    return plain, balanced


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answers")
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    args = parser.parse_args()
    answers, pairs = read(args.answers), {}
    print("| task | rule | rows | without | with | points |\n|---|---|---|---|---|---|")
    for path in args.files:
        task = path.name.split(".jsonl")[0]
        targets = {i: e["target"] for i, e in rows.read(path)}
        for rule, scores in answers.get(task, {}).items():
            if len({frozenset(s) for s in scores.values()}) > 1:
                continue
            plain, balanced = judge(scores, targets)
            pairs.setdefault(rule, []).append((plain, balanced))
            print(line_of(task, rule, [plain], [balanced]))
    for rule, tasks in pairs.items():
        print(line_of(f"**mean of {len(tasks)}**", rule, [a for a, _ in tasks], [b for _, b in tasks]))


def line_of(name, rule, plain, balanced):
    mean = lambda tasks: sum(sum(t) / len(t) for t in tasks) / len(tasks)  # noqa: E731
    d, low, high = (100 * v for v in rows.interval([[y - x for x, y in zip(a, b)] for a, b in zip(plain, balanced)]))
    return f"| {name} | {rule} | {sum(map(len, plain))} | {mean(plain):.3f} | {mean(balanced):.3f} | {d:+.1f} ({low:+.1f} to {high:+.1f}) |"


if __name__ == "__main__":
    main()
