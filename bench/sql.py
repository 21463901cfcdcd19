"""SELECT dlm_classify(body, labels) over a table against the peers on rows that are already in Python; bench/sql.sh calls this with a server at hand.

    python bench/sql.py [--quick] [--rows N] [--threads 2] [--rounds N] [--name sql]

The peer's user does what the database does: the same prompt, tokenised by `tokenizers`; all labels scored from one pass over a canvas of masks (the mean over a
label's tokens, less the content-free score, which both sides have computed before the clock starts); rows sorted by length, in padded batches. Time for fetching the
rows and writing answers back is not counted against the peer. Printed: rows a second, the ratio, and how many answers agree.
"""
import argparse
import json
import os

import numpy as np

import contenders
import machine
import models
import nets
import rows as rows_module
from database import LABELS, classify, psql

contenders.quiet()
TABLE = "FROM (SELECT * FROM messages WHERE kind = 'label' ORDER BY id LIMIT {n}) q"
BATCH = 32


def run_sql(n, threads):
    """(seconds, answers) of one statement, after one row of warming up in the same session."""
    warm = classify("'warm'")
    lines = psql(f"SET dlm.max_threads = {threads};\nSELECT {warm};\nSELECT extract(epoch FROM clock_timestamp()) AS t0 \\gset\n"
                 f"SELECT {classify('body')} {TABLE.format(n=n)};\nSELECT extract(epoch FROM clock_timestamp()) - :t0;\n")
    return float(lines[-1]), lines[1:-1]


class Labeller:
    """The default model's `classify` row and its scores, in Python."""

    def __init__(self):
        from tokenizers import Tokenizer
        folder = models.ROOT / "models" / models.DEFAULT
        self.settings = json.loads((folder / "dlm.json").read_text())
        self.tok = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tok.encode_special_tokens = True       # "<|im_end|>" in a user's text is ordinary text
        self.rows = rows_module.Rows(models.DEFAULT)
        self.start, self.end = (self.tok.token_to_id(t) for t in ("<|im_start|>", "<|im_end|>"))
        self.labels = [self.encode(label) for label in LABELS]
        self.canvas = max(map(len, self.labels)) + 1
        self.instruction = self.settings["classify_instruction"].replace("{labels}", ", ".join(LABELS))

    def encode(self, text):
        return self.tok.encode(text, add_special_tokens=False).ids

    def row(self, text):
        user = self.encode("user\n" + self.instruction + "\n" + text)
        ids = [self.start] + user + [self.end] + self.encode("\n") + [self.start] + self.encode("assistant\n")
        return ids + [self.rows.mask_id] * self.canvas

    def scores(self, peer, texts):
        """[texts, labels] mean log-probability of each label's tokens."""
        import torch
        rows = [self.row(text) for text in texts]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        out = np.empty((len(rows), len(self.labels)))
        for first in range(0, len(order), BATCH):
            part = order[first:first + BATCH]
            ids = [rows[i] for i in part]
            inputs = self.rows.pack(ids, [range(len(row) - self.canvas, len(row)) for row in ids])
            logits = torch.cat([torch.from_numpy(x) for x in peer([inputs])])
            logits[:, self.rows.mask_id] = -torch.inf
            lp = torch.log_softmax(logits, -1).reshape(len(part), self.canvas, -1).numpy()
            for j, label in enumerate(self.labels):
                out[part, j] = lp[:, np.arange(len(label)), label].mean(1)
        return out

    def answers(self, peer, texts, free):
        return [LABELS[i] for i in np.argmax(self.scores(peer, texts) - free, 1)]


def measure(args):
    labeller = Labeller()
    texts = [json.loads(line) for line in psql(f"SELECT to_json(body) {TABLE.format(n=args.rows)};")]
    net = nets.load(args.models, models.DEFAULT)
    peers = contenders.load_peers(net, models.DEFAULT, labeller.rows.batch([16, 12, 9]), args.models, args.threads)
    free = {kind: labeller.scores(peer, [labeller.settings["content_free"]]) for kind, peer in peers.items()}
    times = {kind: [] for kind in ("sql", *peers)}
    answers = {}
    for _ in range(args.rounds):
        seconds, answers["sql"] = run_sql(args.rows, args.threads)
        times["sql"].append(seconds)
        for kind, peer in peers.items():
            def work(kind=kind, peer=peer):
                answers[kind] = labeller.answers(peer, texts, free[kind])
            times[kind].append(contenders.seconds_of(work, 0)[0])
    agree = {kind: sum(a == b for a, b in zip(got, answers["sql"])) for kind, got in answers.items()}
    return {"machine": machine.describe(args.threads), "rows": args.rows, "agree": agree, "median": {kind: float(np.median(t)) for kind, t in times.items()}}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--rows", type=int)
    p.add_argument("--rounds", type=int)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--models", default=str(models.ROOT / "build/bench/models"))
    p.add_argument("--name", default="sql")
    args = p.parse_args()
    args.rows = args.rows or (50 if args.quick else 250)
    args.rounds = args.rounds or (1 if args.quick else 3)
    results = measure(args)
    folder = models.ROOT / "bench/results"
    os.makedirs(folder, exist_ok=True)
    (folder / (args.name + ".json")).write_text(json.dumps(results, indent=1) + "\n")
    sql = results["median"]["sql"]
    print(f"| {args.rows} rows, {len(LABELS)} labels, {args.threads} threads | rows/s | SQL is faster by | same answer as SQL |", "|---|---|---|---|", sep="\n")
    for kind, seconds in results["median"].items():
        print(f"| {kind} | {args.rows / seconds:.1f} | {seconds / sql:.2f} | {results['agree'][kind]} of {args.rows} |")


if __name__ == "__main__":
    main()
