"""Make examples/messages.tsv, the demo's table, from the project's evaluation sets.

    python3 examples/make_messages.py EVAL_FOLDER >examples/messages.tsv

Three kinds of rows, each with the right answer beside it: a request to label
with one of ten intents, a message whose city is to be filled in, a request
from which one detail is to be copied by a generated answer. Sources and
licences: examples/README.md.
"""
import gzip
import json
import pathlib
import sys

SETS = (("label", "heldout/clinc_intent_10way", 250), ("infill", "seen_gen/extract_city", 100), ("generate", "seen_gen/assistant_slot", 50))


def clean(text):
    return text.replace("\\", "\\\\").replace("\t", " ").replace("\n", "\\n")


def main():
    number = 0
    for kind, name, wanted in SETS:
        with gzip.open(pathlib.Path(sys.argv[1]) / (name + ".jsonl.gz"), "rt") as file:
            rows = [json.loads(line) for line in file][:wanted]
        for row in rows:
            number += 1
            print(number, kind, clean(row["instruction"]), clean(row["input"]), clean(row["target"]), sep="\t")


if __name__ == "__main__":
    main()
