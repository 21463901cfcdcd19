"""Do the labels of one set of weights equal those of another? Two files of `dlm-model eval --answers` over the same rows.

    dlm-model eval f32.dlm  FILE.jsonl.gz... --limit 60 --answers f32.jsonl
    dlm-model eval int8.dlm FILE.jsonl.gz... --limit 60 --answers int8.jsonl
    python agree.py f32.jsonl int8.jsonl

Prints the share of equal labels, the same among *clear* rows, where the first file's best label leads by at least 0.1 nats, and the median and 95th percentile of the
differences of scores.
"""
import json
import statistics
import sys

CLEAR = 0.1


def read(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def lead(scores):
    ordered = sorted(scores.values(), reverse=True)
    return ordered[0] - ordered[1]


def main():
    first, second = read(sys.argv[1]), read(sys.argv[2])
    if len(first) != len(second) or any(a["scores"].keys() != b["scores"].keys() for a, b in zip(first, second)):
        raise SystemExit("agree.py: the files are not answers to the same rows")
    equal = [a["label"] == b["label"] for a, b in zip(first, second)]
    clear = [e for a, e in zip(first, equal) if lead(a["scores"]) >= CLEAR]
    differences = sorted(abs(a["scores"][k] - b["scores"][k]) for a, b in zip(first, second) for k in a["scores"])
    print(f"{len(first)} rows, same label {sum(equal) / len(equal):.3f}; {len(clear)} clear rows, same label {sum(clear) / len(clear):.3f}; "
          f"difference of a score: median {statistics.median(differences):.4f}, 95th percentile {differences[int(0.95 * len(differences))]:.4f} nats")


if __name__ == "__main__":
    main()
