"""Files of rows with the factors that give each kind its share of the draws, for `dlm-model train`, which mixes files by the square root of their rows.

    python mix.py FOLDER:SHARE ...

Prints FILE:FACTOR for each .jsonl, .jsonl.gz and .txt.gz of the folders, a line each.
"""
import math
import pathlib
import sys

import rows


def count(path):
    with rows.open_text(path) as f:
        return sum(1 for line in f if line.strip())


def main():
    for argument in sys.argv[1:]:
        folder, share = argument.rsplit(":", 1)
        roots = {f: math.sqrt(count(f)) for f in sorted(pathlib.Path(folder).iterdir()) if f.name.endswith((".jsonl", ".gz"))}
        for f, root in roots.items():
            print(f"{f}:{100 * float(share) / sum(roots.values()):.6g}")


if __name__ == "__main__":
    main()
