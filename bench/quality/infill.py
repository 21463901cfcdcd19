"""Gaps of one word with text on both sides, and what the left-to-right base makes of them.

    python infill.py gaps --corpus DIR/corpus --folder ../../models/dlm-135m --out DIR
    dlm-model eval DIR/infill_*.jsonl --model MODEL.dlm --json infill.json
    python infill.py base --folder ../../models/dlm-135m --base FILE.gguf --data DIR --out infill_base.json

The last 5 % of each corpus file is no text row in training (instruction rows quote some of it: overlap.py): gaps are made of those lines alone, of textbooks, film articles and novels, 400 each. A gap is a whole word, letters
only, of at most four tokens, between a space and a space or a point; around it stand 60 to 80 tokens, at least 24 before and 14 behind it, cut at spaces. Its token count is
given.

`base` answers each gap with the base model in PyTorch (f32), right is the whole word:

    left        greedy, from the text before the gap
    two_sided   the 24 best sequences of so many tokens by the text before (a beam of 24), chosen by the likelihood of sequence and next 12 tokens together
    following   the same 24, chosen by the likelihood of the next 12 tokens alone

As in the engine, the first token of a gap begins with a space, none ends in white space or holds a line break. --rows N takes the rows of each file that `dlm-model eval --rows N` does;
rows that the output holds already are not computed again.
"""
import argparse
import gzip
import hashlib
import json
import os
import pathlib
import random
import re
import sys
import time

import torch
import torch.nn.functional as F

import base
import reference_model
import rows

SOURCES = ("openstax", "wikipedia_films", "eltec_novels")
HELD_OUT = 0.05
BEAM, FOLLOWING = 24, 12
LEAST_LEFT, LEAST_RIGHT, MOST_TOKENS = 24, 14, 4
WORD = re.compile(r"(?<= )[A-Za-z]+(?=[ .,;:!?])")


def held_out(path):
    """The last 5 % of a corpus file's lines."""
    with gzip.open(path, "rt", encoding="utf-8") as f:
        lines = f.read().splitlines()
    return lines[len(lines) - int(len(lines) * HELD_OUT):]


def cut(tok, line, word, rng):
    """60 to 80 tokens of a line around a match of WORD -> the row, or None where they cannot be had."""
    starts = [a for a, _ in tok.encode(line, add_special_tokens=False).offsets]
    spaces = [i for i, a in enumerate(starts) if line[a] == " " or i == 0]       # tokens that a piece may begin with
    first = next(i for i, a in enumerate(starts) if a >= word.start() - 1)
    n = len(reference_model.encode(tok, " " + word.group()))
    total = rng.randint(60, 80)
    left = rng.randint(LEAST_LEFT, total - LEAST_RIGHT)
    begin = [i for i in spaces if 0 <= first - i <= left]
    end = [i for i in spaces + [len(starts)] if i - first - n <= total - left]
    if not begin or not end or n > MOST_TOKENS or starts[first] != word.start() - 1:
        return None
    begin, end = begin[0], end[-1]
    if first - begin < LEAST_LEFT or end - first - n < LEAST_RIGHT or end - begin - n < 60:
        return None
    at = starts[begin] + (line[starts[begin]] == " ")
    text = line[at:starts[end] if end < len(starts) else len(line)]
    return {"text": text, "gap": [word.start() - at, word.end() - at], "tokens": n}


def make_gaps(args):
    tok = reference_model.read_tokenizer(args.folder)
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        rng = random.Random(args.seed)
        lines = [s for s in held_out(pathlib.Path(args.corpus) / f"{source}.txt.gz") if "[" not in s and len(s.split()) >= 45]
        rng.shuffle(lines)
        found, taken = [], set()
        for _ in range(20):                     # a line may give several gaps, after all lines had their turn
            for i, line in enumerate(lines):
                words = list(WORD.finditer(line))
                word = rng.choice(words) if words else None
                row = cut(tok, line, word, rng) if word and (i, word.start()) not in taken else None
                if row and len(found) < args.rows:
                    taken.add((i, word.start()))
                    found.append(row)
        with open(out / f"infill_{source}.jsonl", "w", encoding="utf-8") as f:
            for row in found:
                print(json.dumps(row, ensure_ascii=False), file=f)
        counts = [sum(r["tokens"] == n for r in found) for n in range(1, MOST_TOKENS + 1)]
        print(f"infill_{source}: {len(found)} gaps from {len(lines)} lines; of 1, 2, ... tokens: {counts}")


class Base:
    def __init__(self, folder, path):
        self.tok, self.model = reference_model.load_base(folder, path)
        piece = [self.tok.decode([i], skip_special_tokens=False) for i in range(self.model.config.vocab_size)]
        never = torch.tensor([reference_model.MASK, reference_model.IM_START, reference_model.END_OF_TEXT, reference_model.IM_END])
        self.banned = torch.tensor([s != s.rstrip() or "\n" in s or not s for s in piece])
        self.banned[never] = True
        self.first_banned = self.banned | torch.tensor([not s.startswith(" ") for s in piece])

    @torch.no_grad()
    def next_logprobs(self, prefix, branches, first):
        """-> [branches, vocab]: what comes after each branch behind the prefix, banned tokens at -inf."""
        items = [(prefix, branches)] if branches != [[]] else []
        ids = prefix + [t for b in branches for t in b]
        n, p = len(ids), len(prefix)
        branch = torch.tensor([-1] * p + [i for i, b in enumerate(branches) for _ in b])
        see = torch.tril(torch.ones(n, n, dtype=torch.bool)) & ((branch[None] == -1) | (branch[None] == branch[:, None]))
        places = torch.tensor([list(range(p)) + [p + k for b in branches for k in range(len(b))]])
        h = self.model.model(input_ids=torch.tensor([ids]), attention_mask=torch.where(see, 0.0, -1e9)[None, None], position_ids=places, use_cache=False)[0][0]
        length = len(branches[0])
        last = torch.tensor([p - 1 + (i + 1) * length for i in range(len(branches))] if items else [p - 1])
        lp = F.log_softmax(F.linear(h[last], self.model.model.embed_tokens.weight).float(), -1)
        lp[:, self.first_banned if first else self.banned] = -torch.inf
        return lp

    def answers(self, row):
        """-> {"left": ids, "two_sided": ids, "following": ids} and the row's own ids"""
        a, b = row["gap"]
        prefix = [reference_model.END_OF_TEXT] + reference_model.encode(self.tok, row["text"][:a - 1])
        own = reference_model.encode(self.tok, row["text"][a - 1:b])
        following = reference_model.encode(self.tok, row["text"][b:])[:FOLLOWING]
        beam, scores, greedy = [[]], torch.zeros(1), []
        for step in range(len(own)):
            branches = beam if greedy in beam else beam + [greedy]
            lp = self.next_logprobs(prefix, branches, step == 0)
            greedy = greedy + [lp[branches.index(greedy)].argmax().item()]
            top = (scores[:, None] + lp[:len(beam)]).flatten().topk(BEAM)
            vocab = lp.shape[1]
            beam, scores = [beam[i // vocab] + [i % vocab] for i in top.indices.tolist()], top.values
        joint = torch.tensor([mean * len(c + following) for c, (mean, _) in zip(beam, base.score(self.model, [(prefix, [c + following for c in beam])])[0])])
        return {"left": greedy, "two_sided": beam[joint.argmax()], "following": beam[(joint - scores).argmax()]}, own


def run_base(args):
    torch.set_num_threads(args.threads)
    model = Base(args.folder, args.base)
    out = pathlib.Path(args.out)
    result = json.loads(out.read_text()) if out.exists() else {"model": "SmolLM2-135M-Instruct, left to right", "tasks": {}}
    for path in sorted(pathlib.Path(args.data).glob("infill_*.jsonl")):
        name, start = path.name.split(".jsonl")[0], time.time()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        task = result["tasks"].setdefault(name, {"sha256": digest, "lines": [], "right": {"left": "", "two_sided": "", "following": ""}})
        if task["sha256"] != digest:
            sys.exit(f"{out} is of another {path.name}")
        done = set(task["lines"])
        missing = [r for r in rows.read(path, args.rows, args.seed, usable=lambda e: True) if r[0] not in done]
        for k, (line, row) in enumerate(missing, 1):
            answers, own = model.answers(row)
            task["lines"].append(line)
            for kind, ids in answers.items():
                task["right"][kind] += str(int(model.tok.decode(ids).strip() == row["text"][slice(*row["gap"])]))
            if k % 20 == 0 or k == len(missing):
                out.with_suffix(".part").write_text(json.dumps(result).replace('{"sha256"', '\n{"sha256"').replace(": \n", ":\n") + "\n")
                os.replace(out.with_suffix(".part"), out)
        n = len(task["lines"])
        print(f"{name:24s} {n:5d} gaps  " + "  ".join(f"{k} {s.count('1') / n:.3f}" for k, s in task["right"].items()) + f"  {time.time() - start:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    gaps = verbs.add_parser("gaps")
    for name in ("--corpus", "--folder", "--out"):
        gaps.add_argument(name, required=True)
    gaps.add_argument("--rows", type=int, default=400, help="of each source")
    gaps.add_argument("--seed", type=int, default=0)
    ref = verbs.add_parser("base")
    for name in ("--folder", "--base", "--data", "--out"):
        ref.add_argument(name, required=True)
    ref.add_argument("--rows", type=int, default=0, help="of each file (0: all)")
    ref.add_argument("--seed", type=int, default=0)
    ref.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    {"gaps": make_gaps, "base": run_base}[args.verb](args)


if __name__ == "__main__":
    main()
