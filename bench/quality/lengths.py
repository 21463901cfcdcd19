"""How long is a gap? The search with the model's length-bias curve against the search without, a fixed length and the right one.

    python lengths.py gaps --corpus DIR/corpus --out DIR
    dlm-model lengths MODEL.dlm DIR/corpus/*.txt.gz --part 0:0.95 --rows 15 --out CURVE.dlm
    python lengths.py run --data DIR --model MODEL.dlm --curve CURVE.dlm --out results/lengths.json
    python lengths.py table results/lengths.json

Gaps of one to four words, as many of each, from the last 5 % of three corpus files, which are no text rows in training and which the curve was not fitted on; the words are of
letters only, between a space and a space or a mark, with 20 to 30 words before and 10 to 20 behind. `run` asks `dlm-model eval` for each in these ways:

    right       as many tokens as the words have
    always N    N tokens, whatever stands there
    flat        [MASK:1-8], the model without a curve
    curve       [MASK:1-8], the same model with it
    ... first   the same with --length-beam 1: the length that the search likes best is decoded alone, as in rows of a table

An interrupted run goes on. Only the standard library; `dlm-model` is that of `make`.
"""
import argparse
import gzip
import hashlib
import json
import os
import pathlib
import random
import re
import subprocess
import tempfile

import rows

SOURCES = ("openstax", "wikipedia_films", "eltec_novels")
HELD_OUT = 0.05
WORDS = 4
RANGE = "1-8"
BEFORE, BEHIND = (20, 30), (10, 20)
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WAYS = {                # name: (gap or None for the right length, with the curve, more options)
    "right": (None, False, []),
    "always 2": ("2", False, []),
    "always 4": ("4", False, []),
    "flat, first": (RANGE, False, ["--length-beam", "1"]),
    "curve, first": (RANGE, True, ["--length-beam", "1"]),
    "flat": (RANGE, False, []),
    "curve": (RANGE, True, []),
}


# ------------------------------------------------------------------------ gaps

def held_out(path):
    """The last 5 % of a corpus file's lines."""
    with gzip.open(path, "rt", encoding="utf-8") as f:
        lines = f.read().splitlines()
    return lines[len(lines) - int(len(lines) * HELD_OUT):]


def cut(line, words, rng):
    """A gap of so many words in a part of the line -> the row, or None where there is none."""
    starts = [0] + [m.end() for m in re.finditer(" ", line)]
    form = re.compile(r"[A-Za-z]+(?: [A-Za-z]+){%d}(?=[ .,;:!?])" % (words - 1))
    places = [i for i in range(BEFORE[0], len(starts) - words - BEHIND[0] + 1) if form.match(line, starts[i])]
    if not places:
        return None
    place = rng.choice(places)
    begin = starts[max(0, place - rng.randint(*BEFORE))]
    behind = place + words + rng.randint(*BEHIND)
    text = line[begin:starts[behind] - 1 if behind < len(starts) else len(line)]
    gap = form.match(line, starts[place]).span()
    return {"text": text, "gap": [gap[0] - begin, gap[1] - begin], "words": words}


def make_gaps(args):
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        rng = random.Random(args.seed)
        lines = [s for s in held_out(pathlib.Path(args.corpus) / f"{source}.txt.gz") if "[" not in s and "  " not in s]
        rng.shuffle(lines)
        found = []
        for line in lines:
            row = cut(line, len(found) % WORDS + 1, rng) if len(found) < args.rows else None
            if row:
                found.append(row)
        with open(out / f"lengths_{source}.jsonl", "w", encoding="utf-8") as f:
            for row in found:
                print(json.dumps(row, ensure_ascii=False), file=f)
        print(f"lengths_{source}: {len(found)} gaps from {len(lines)} lines")


# ------------------------------------------------------------------------- run

def template(row, gap):
    """The row as `dlm-model eval` takes it: a gap of the right length, or this one."""
    if gap is None:
        return {"text": row["text"], "gap": row["gap"]}
    a, b = row["gap"]
    return {"template": f"{row['text'][:a]}[MASK:{gap}]{row['text'][b:]}", "answer": row["text"][a:b]}


def ask(tool, model, files, gap, more, folder):
    """-> the answers to all rows of the files, in their order."""
    names = []
    for name, file in files.items():
        names.append(folder / f"{name}.jsonl")
        names[-1].write_text("".join(json.dumps(template(row, gap)) + "\n" for row in file))
    answers = folder / "answers.jsonl"
    subprocess.run([tool, "eval", *names, "--model", model, "--answers", answers, *more], check=True)
    return [json.loads(line) for line in answers.read_text().splitlines()]


def facts(files):
    """What the results say of the rows: enough to know them again, and not the texts."""
    texts = "\n".join(json.dumps(row, sort_keys=True) for file in files.values() for row in file)
    return {"sha256": hashlib.sha256(texts.encode()).hexdigest(), "files": {name: len(file) for name, file in files.items()},
            "words": [row["words"] for file in files.values() for row in file]}


def run(args):
    files = {p.stem: [row for _, row in rows.read(p, args.rows, args.seed, usable=lambda e: True)] for p in sorted(pathlib.Path(args.data).glob("lengths_*.jsonl"))}
    out = pathlib.Path(args.out)
    result = json.loads(out.read_text()) if out.exists() else {**facts(files), "ways": {}}
    if result["sha256"] != facts(files)["sha256"]:
        raise SystemExit(f"lengths.py: {out} is of other rows")
    for way, (gap, curve, more) in WAYS.items():
        if way in result["ways"]:
            continue
        print(f"== {way}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            answers = ask(args.tool, args.curve if curve else args.model, files, gap, more + (["--threads", str(args.threads)] if args.threads else []), pathlib.Path(folder))
        result["ways"][way] = {"exact": "".join(str(a.get("exact", 0)) for a in answers), "chrf": [round(a.get("chrf", 0), 1) for a in answers],
                               "written": [len(a["gaps"][0].split()) if a.get("gaps") else 0 for a in answers]}
        part = out.with_suffix(".part")
        part.write_text(json.dumps(result).replace(', "', ',\n "') + "\n")
        os.replace(part, out)
    table(args)


# ----------------------------------------------------------------------- table

def by_file(result, numbers):
    """Numbers of the rows -> a list of them for each file."""
    numbers = iter(numbers)
    return [[next(numbers) for _ in range(n)] for n in result["files"].values()]


def table(args):
    result = json.loads(pathlib.Path(args.out).read_text())
    words, ways = result["words"], result["ways"]
    kinds = sorted(set(words))
    print(f"{len(words)} gaps of 1 to {kinds[-1]} words, {len(result['files'])} sources. Exact: the whole gap, in %, and by its words; chrF: mean of the gaps'; words: how many were written less how many "
          "stood there, and the mean of that without its sign; differences to `flat` of the same kind, rows paired, 95 % intervals.\n")
    print(f"| length | exact | {' | '.join(f'{n} word{chr(115) * (n > 1)}' for n in kinds)} | chrF | words | off by | exact less flat's | chrF less flat's |")
    print("|---" * (7 + len(kinds)) + "|")
    for way, answers in ways.items():
        exact, chrf = [int(d) for d in answers["exact"]], answers["chrf"]
        off = [n - m for n, m in zip(answers["written"], words)]
        line = f"| {way} | {100 * sum(exact) / len(exact):.1f} "
        for n in kinds:
            of = [e for e, m in zip(exact, words) if m == n]
            line += f"| {100 * sum(of) / len(of):.0f} "
        line += f"| {sum(chrf) / len(chrf):.1f} | {sum(off) / len(off):+.2f} | {sum(map(abs, off)) / len(off):.2f} "
        flat = "flat, first" if way.endswith("first") else "flat"
        if flat == way or flat not in ways:
            line += "| | "
        else:
            line += f"| {rows.signed(rows.interval(by_file(result, [x - int(f) for x, f in zip(exact, ways[flat]['exact'])])), 100)} "
            line += f"| {rows.signed(rows.interval(by_file(result, [x - f for x, f in zip(chrf, ways[flat]['chrf'])])), 1)} "
        print(line + "|")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    gaps = verbs.add_parser("gaps")
    gaps.add_argument("--corpus", required=True)
    gaps.add_argument("--out", required=True)
    gaps.add_argument("--rows", type=int, default=100, help="of each source")
    gaps.add_argument("--seed", type=int, default=0)
    go = verbs.add_parser("run")
    go.add_argument("--data", required=True)
    go.add_argument("--model", required=True)
    go.add_argument("--curve", required=True)
    go.add_argument("--tool", default=ROOT / "build/dlm-model")
    go.add_argument("--out", required=True)
    go.add_argument("--rows", type=int, default=0, help="of each file (0: all)")
    go.add_argument("--seed", type=int, default=0)
    go.add_argument("--threads", type=int, default=0)
    show = verbs.add_parser("table")
    show.add_argument("out")
    args = parser.parse_args()
    {"gaps": make_gaps, "run": run, "table": table}[args.verb](args)


if __name__ == "__main__":
    main()
