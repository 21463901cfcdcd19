"""Rows of a task file, the random choice of some of them that `dlm-model eval --rows N --seed S` makes too, and its intervals.

The rows in a random order are those of the file sorted by philox(line, 0, 0, 0) under the key (S, 0x726f7773), of which the first two words count; the first N that
have a label are chosen and given in the file's order. Lines count from 0, blank ones too.
"""
import gzip
import json

ROWS_KEY = 0x726f7773


def philox(counter, key0, key1):
    """Philox 4x32-10 (Salmon et al. 2011): four words -> four words."""
    c0, c1, c2, c3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = p1 >> 32 ^ c1 ^ key0, p1 & 0xffffffff, p0 >> 32 ^ c3 ^ key1, p0 & 0xffffffff
        key0, key1 = key0 + 0x9E3779B9 & 0xffffffff, key1 + 0xBB67AE85 & 0xffffffff
    return c0, c1, c2, c3


def order(line, seed):
    return philox((line, 0, 0, 0), seed, ROWS_KEY)[:2] + (line,)


def open_text(path):
    return gzip.open(path, "rt", encoding="utf-8") if str(path).endswith(".gz") else open(path, encoding="utf-8")


def labelled(row):
    return bool(row.get("labels")) and row["target"] in row["labels"]


def read(path, n=0, seed=0, usable=labelled):
    """-> [(line, row)] in the file's order: all usable rows, or n of them chosen at random."""
    rows = [(i, json.loads(line)) for i, line in enumerate(open_text(path)) if line.strip()]
    rows = [(i, e) for i, e in rows if usable(e)]
    if n:
        rows = sorted(sorted(rows, key=lambda r: order(r[0], seed))[:n], key=lambda r: r[0])
    return rows


def baseline(rows):
    """rows: [row] -> the greater of the share of the most frequent target and the mean chance of a random label."""
    targets = [e["target"] for e in rows]
    return max(max(targets.count(t) for t in set(targets)), sum(1 / len(e["labels"]) for e in rows)) / len(rows)


def percentile(values, share):
    """Linear between the two nearest of the sorted values."""
    at = share * (len(values) - 1)
    i = int(at)
    return values[i] + (at - i) * (values[i + 1] - values[i])


def interval(tasks, seed=0):
    """tasks: [[number a row]] -> value, low, high: the mean over tasks of their means and its 95 % bootstrap interval, as dl_eval_bootstrap (model_loader/eval.h) has them."""
    means = []
    for r in range(1000):
        total = 0
        for t, task in enumerate(tasks):
            words = [w for k in range((len(task) + 3) // 4) for w in philox((r, t, k, 0), seed, 0x626f6f74)]
            total += sum(task[w * len(task) >> 32] for w in words[:len(task)]) / len(task)
        means.append(total / len(tasks))
    means.sort()
    return sum(sum(t) / len(t) for t in tasks) / len(tasks), percentile(means, 0.025), percentile(means, 0.975)


def signed(values, scale=100):
    """An interval of a difference, in points: 'value (low to high)'."""
    return f"{scale * values[0]:+.1f} ({scale * values[1]:+.1f} to {scale * values[2]:+.1f})"
