#!/usr/bin/env python3
"""One temperature for the labels of several tasks: what it does to the calibration error.

    dlm-model eval DIR/*.jsonl --model MODEL.dlm --rules mean --answers answers.jsonl
    python temperature.py answers.jsonl DIR [RULE]

A label's probability is softmax(score / T) over its row's labels. T has the least
mean log-loss over all rows, each task weighing the same. Leave-one-task-out: the T of
the other tasks. ECE: 15 bins of the winner's probability (Guo et al. 2017), the mean of
the tasks'. Accuracy is not touched by a T. Only the standard library.
"""
import math
import pathlib
import sys

import rows
import unlabelled

BINS = 15


def read(answers, folder, rule):
    """-> {task: [({label: score}, right label)]}"""
    tasks = {}
    for task, rules in unlabelled.read(answers).items():
        known = rows.read(pathlib.Path(folder) / f"{task}.jsonl")
        tasks[task] = [(rules[rule][i], e["target"]) for i, e in known if i in rules.get(rule, {})]
    return tasks


def probabilities(scores, t):
    return unlabelled.softmax({label: s / t for label, s in scores.items()})


def log_loss(tasks, t):
    return sum(sum(-math.log(max(probabilities(s, t)[right], 1e-300)) for s, right in judged) / len(judged) for judged in tasks.values()) / len(tasks)


def fit(tasks):
    """The T of the least log-loss, by golden section of log T in 0.1 .. 30."""
    a, b = math.log(0.1), math.log(30)
    g = (math.sqrt(5) - 1) / 2
    for _ in range(25):
        c, d = b - g * (b - a), a + g * (b - a)
        if log_loss(tasks, math.exp(c)) < log_loss(tasks, math.exp(d)):
            b = d
        else:
            a = c
    return math.exp((a + b) / 2)


def ece(judged, t):
    bins = [[0, 0.0] for _ in range(BINS)]
    for scores, right in judged:
        p = probabilities(scores, t)
        answer = unlabelled.best(p)
        b = bins[min(BINS - 1, max(0, math.ceil(p[answer] * BINS) - 1))]
        b[0] += answer == right
        b[1] += p[answer]
    return sum(abs(r - s) for r, s in bins) / len(judged)


def main():
    tasks = read(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "mean")
    whole = fit(tasks)
    sums = [0.0, 0.0, 0.0]
    for task, judged in sorted(tasks.items()):
        other = fit({k: v for k, v in tasks.items() if k != task})
        e = [ece(judged, t) for t in (1, whole, other)]
        sums = [s + x for s, x in zip(sums, e)]
        print("%-28s %4d rows  T 1: %.3f   T %.2f: %.3f   T of the others, %.2f: %.3f" % (task, len(judged), e[0], whole, e[1], other, e[2]))
    print("mean of %d tasks: %.3f at T 1, %.3f at T %.2f, %.3f with each task left out; log-loss %.3f to %.3f" % (
        len(tasks), sums[0] / len(tasks), sums[1] / len(tasks), whole, sums[2] / len(tasks), log_loss(tasks, 1), log_loss(tasks, whole)))


if __name__ == "__main__":
    sys.exit(main())
