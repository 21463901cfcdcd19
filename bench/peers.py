"""The engine beside ONNX Runtime, OpenVINO and PyTorch: same weights, same rows, same threads, in turn.

    python bench/peers.py [--quick] [--model NAME]... [--shape SHAPE]... [--name NAME] [--models FOLDER] [--threads 2] [--rounds N]
    python bench/peers.py --report NAME[,NAME...] [--best]

SHAPE: BxL rows of L tokens (1x64), "mixed" (lengths of the demo's messages), "denoise-B" (prompt of 32 tokens, canvas of 32, 10 steps, batch B),
"prefix" (the default model: rows that begin with one instruction, shared or not; the engine alone). Two positions are asked in each row. A row of the table
is one shape: rows a second of the engine in f32, then the ratio of the peers' time to the engine's (above 1 the engine is faster), f32 with f32 and int8
with int8, and the share of what the machine can do: the least time that the FMA peak or the memory bandwidth measured in the same run, whichever binds each part of
the work (layers, last layer, head), leaves for it, over the engine's time.

Every contender runs in turn, several rounds; a number is the median of its rounds. Results go to bench/results/NAME.json, which plot.py draws.
"""
import argparse
import json
import os
import random
import sys
import time

import numpy as np

import contenders
import machine
import models
import rows as rows_module
from denoise import peer_denoise

contenders.quiet()
SHAPES = ("1x16", "1x64", "1x256", "4x16", "16x16", "64x16", "64x64", "16x256")
OTHER = ("mixed", "denoise-1", "denoise-16", "prefix")
QUICK = ("1x16", "1x64", "64x16", "mixed", "denoise-1", "prefix")
PROMPT, CANVAS, STEPS = 32, 32, 10
PREFIX_ROWS, PREFIX, INPUT = 32, 48, 48
BATCHES = (64, 8)   # rows that a peer pads to the longest of them: it takes the faster one
REST = 0.25         # seconds before each turn: the threads of whoever ran last spin for a while
LONG = 0.3          # seconds of a run above which a turn is one run


def lengths_of(shape, name, quick):
    """Row lengths of a shape."""
    if shape != "mixed":
        batch, length = map(int, shape.split("x"))
        return [length] * batch
    return mixed_lengths(64 if quick else 256)


def mixed_lengths(n):
    """Token lengths of a table's rows: n of the demo's messages, in a fixed random order, each with the 16 tokens of a short question around it."""
    from tokenizers import Tokenizer
    tok = Tokenizer.from_file(str(models.ROOT / "models" / models.DEFAULT / "tokenizer.json"))
    bodies = [line.split("\t")[3] for line in open(models.ROOT / "examples/messages.tsv", encoding="utf-8")]
    random.Random(0).shuffle(bodies)
    return [16 + len(tok.encode(body, add_special_tokens=False).ids) for body in bodies[:n]]


def fastest_way(peer, ways):
    """A peer's run over the inputs, cut the way that its first run found fastest: the user would look for it too."""
    chosen = []

    def run(seconds):
        if not chosen:
            times = [contenders.seconds_of(lambda way=way: peer(way), 0)[1] for way in ways] if len(ways) > 1 else [0]
            chosen.append(ways[int(np.argmin(times))])
        return contenders.seconds_of(lambda: peer(chosen[0]), seconds)

    return run


class Case:
    """One shape of one model: what each contender runs."""

    def __init__(self, shape, name, rows, engines, peers, quick):
        self.shape, self.name = shape, name
        self.runs = {}
        if shape == "prefix":
            for kind, engine in engines.items():
                for shared in (0, 1):
                    words = (PREFIX_ROWS, PREFIX, INPUT, shared)
                    self.runs[f"{kind}{'' if shared else ' unshared'}"] = lambda s, e=engine, w=words: e.seconds("prefix", s, *w)
            self.lengths = [PREFIX + INPUT + 3] * PREFIX_ROWS
        elif shape.startswith("denoise"):
            self.set_denoise(int(shape.split("-")[1]), rows, engines, peers)
        else:
            self.lengths = lengths_of(shape, name, quick)
            ways = [rows_module.batches(rows, self.lengths, size) for size in BATCHES] if shape == "mixed" else [[rows.batch(self.lengths)]]
            for kind, engine in engines.items():
                self.runs[kind] = lambda s, e=engine: e.seconds("rows", s, *self.lengths)
            for kind, peer in peers.items():
                self.runs[kind] = fastest_way(peer, ways)
        self.times = {kind: [] for kind in self.runs}
        self.best = {}

    def set_denoise(self, batch, rows, engines, peers):
        self.lengths = [PROMPT + CANVAS] * batch
        for kind, engine in engines.items():
            self.runs[kind] = lambda s, e=engine: e.seconds("denoise", s, batch, PROMPT, CANVAS, STEPS)
        for kind, peer in peers.items():
            self.runs[kind] = lambda s, p=peer: contenders.seconds_of(lambda: peer_denoise(p, rows, batch, PROMPT, CANVAS, STEPS), s)

    def warm(self):
        """One run each that does not count: it says who takes long."""
        for kind, run in self.runs.items():
            self.best[kind] = run(0)[1]

    def turn(self, seconds):
        """Every contender once; what takes long is one run a turn, the rest is the median of `seconds`."""
        for kind, run in self.runs.items():
            time.sleep(REST)
            median, best = run(seconds if self.best[kind] < LONG else 0)
            self.times[kind].append(median)
            self.best[kind] = min(best, self.best[kind])

    def result(self):
        return {"lengths": len(self.lengths), "tokens": sum(self.lengths), "median": {k: float(np.median(t)) for k, t in self.times.items()},
                "best": self.best}


def check(net, rows, engines, peers, folder, threads):
    """Largest difference of each contender's logits from PyTorch's f32: the same computation, or the numbers mean nothing."""
    lengths = [16, 11, 40]
    inputs = rows.batch(lengths)
    want = contenders.Torch(net, threads)([inputs])[0]
    scale = float(np.abs(want).max())
    out = {}
    for kind, engine in engines.items():
        path = os.path.join(folder, "logits.bin")
        asked, vocab = map(int, engine.ask("logits", path, *lengths))
        out[kind] = float(np.abs(np.fromfile(path, np.float32).reshape(asked, vocab) - want).max()) / scale
        os.remove(path)
    for kind, peer in peers.items():
        out[kind] = float(np.abs(np.concatenate(peer([inputs])) - want).max()) / scale
    wrong = {k: v for k, v in out.items() if "f32" in k and v > 1e-3}
    if wrong:
        raise SystemExit(f"peers.py: logits differ from PyTorch's: {wrong}")
    return out


def measure(name, shapes, args, out, save):
    """All shapes of one model; out, its part of the results, grows and is saved shape by shape."""
    import nets
    files = models.prepare(args.models, name)
    net, rows = nets.load(args.models, name), rows_module.Rows(name)
    engines = {"dlm-" + weights: contenders.Engine(file, args.threads) for weights, file in files.items()}
    peers = contenders.load_peers(net, name, rows.batch([16, 12, 9]), args.models, args.threads)
    out.update(difference=check(net, rows, engines, peers, args.models, args.threads), cases={}, peaks=[])
    print(f"{name}: largest difference of logits from PyTorch f32, relative:", {k: f"{v:.1e}" for k, v in out["difference"].items()}, file=sys.stderr, flush=True)
    for shape in shapes:
        if shape == "prefix" and not rows.context:
            continue
        case = Case(shape, name, rows, engines, peers, args.quick)
        case.warm()
        for _ in range(args.rounds):
            out["peaks"].append(machine.peak(args.threads, 0.2))
            case.turn(args.seconds)
        out["cases"][shape] = case.result()
        save()
        print(name, shape, {k: f"{v * 1e3:.1f} ms" for k, v in out["cases"][shape]["median"].items()}, file=sys.stderr, flush=True)
    for engine in engines.values():
        engine.close()


# ---------------------------------------------------------------- the table

def share_of_machine(name, shape, seconds, lengths, peak, threads):
    """Share of the machine that f32 reached: the least time that the FMA peak or the bandwidth, whichever binds each part of the work, leaves, over ours; None where
    the work is not simply counted."""
    if shape == "prefix" or shape.startswith("denoise") or "fma" not in peak:
        return None
    fma, read = peak["fma"][str(threads)] * 1e9, peak["read"][str(threads)] * 1e9
    return sum(max(operations / fma, size / read) for operations, size in rows_module.work(name, lengths)) / seconds


def best_peer(times, kinds):
    """(seconds, name) of the fastest peer of some kinds; None: there is none."""
    found = [(t, k) for k, t in times.items() if not k.startswith("dlm-") and any(word in k for word in kinds)]
    return min(found) if found else None


def table(results, stat):
    peak, threads = results["peak"], results["machine"]["threads"]
    lines = ["| model | shape | rows/s f32 | bf16 | int8 | f32 against best f32 peer | int8 against best int8 or bf16 peer | share of the machine (f32) |", "|---|---|---|---|---|---|---|---|"]
    for name, model in results["models"].items():
        for shape, case in model["cases"].items():
            if shape == "prefix":
                continue
            t, n = case[stat], case["lengths"]
            cells = [name, shape] + [f"{n / t['dlm-' + w]:.1f}" for w in models.WEIGHTS]
            for ours, kinds in (("dlm-f32", ("f32",)), ("dlm-int8", ("int8", "bf16", "f16"))):
                peer = best_peer(t, kinds)
                cells.append(f"{peer[0] / t[ours]:.2f} ({peer[1]})" if peer else "")
            share = share_of_machine(name, shape, t["dlm-f32"], lengths_of(shape, name, results["quick"]) if "-" not in shape else None, peak, threads)
            cells.append(f"{share * 100:.0f} %" if share else "")
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def ratios(results, stat):
    """Every peer's time over ours, f32 by f32 and int8 by int8."""
    peers = sorted({k for m in results["models"].values() for c in m.get("cases", {}).values() for k in c["median"] if not k.startswith("dlm-")})
    lines = ["| model | shape | " + " | ".join(peers) + " |", "|---|---|" + "---|" * len(peers)]
    for name, model in results["models"].items():
        for shape, case in model["cases"].items():
            t = case[stat]
            cells = [f"{t[p] / t['dlm-int8' if 'int8' in p else 'dlm-f32']:.2f}" if p in t else "" for p in peers]
            if any(cells):
                lines.append(f"| {name} | {shape} | " + " | ".join(cells) + " |")
    return lines


def prefix_lines(results, stat):
    out = []
    for name, model in results["models"].items():
        case = model["cases"].get("prefix")
        if case:
            t = case[stat]
            out.append(f"{name}: {PREFIX_ROWS} rows of {PREFIX} + {INPUT} tokens, the first {PREFIX} shared, against the same rows unshared: " +
                       ", ".join(f"{k[4:]} {t[k + ' unshared'] / t[k]:.2f}x" for k in t if not k.endswith("unshared")))
    return out


def report(results, stat="median"):
    """The whole result as markdown, by the median of the rounds or by the best run of all (of a busy machine the more telling one)."""
    m = results["machine"]
    peak = "; ".join(f"{name} {values.get(str(m['threads']), 0):.0f} {unit}" for name, unit, values in
                     ((n, u, results["peak"].get(n, {})) for n, u in (("fma", "GFLOP/s"), ("int8", "Gop/s"), ("read", "GB/s"))))
    return "\n".join([f"{m['cpu']} ({', '.join(m['flags'])}), {m['threads']} of {m['cores']} cores, load {m['load']} at the start; " +
                      ", ".join(f"{k} {v}" for k, v in m["versions"].items()) + f"; dlm {m['commit']}", f"Peak measured between the rounds: {peak}." + (" Times are processor time of one thread." if results.get("cpu_time") else ""), "",
                      *table(results, stat), "", "Peer's time over the engine's (above 1: the engine is faster); int8 peers against int8, others against f32:", "",
                      *ratios(results, stat), "", *prefix_lines(results, stat)])


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--model", action="append", choices=models.NAMES)
    p.add_argument("--shape", action="append")
    p.add_argument("--name", default="peers")
    p.add_argument("--models", default=str(models.ROOT / "build/bench/models"))
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int)
    p.add_argument("--seconds", type=float, help="of a contender's turn")
    p.add_argument("--cpu", action="store_true", help="processor time of one thread instead of elapsed time: for a busy machine")
    p.add_argument("--report", help="measure nothing; print the tables of these results (NAME,NAME...)")
    p.add_argument("--best", action="store_true", help="with --report: by the best run, not the median")
    args = p.parse_args()
    if args.cpu:
        contenders.use_cpu_time()
        args.threads = 1
    args.rounds = args.rounds or (2 if args.quick else 5)
    args.seconds = args.seconds or (0.2 if args.quick else 0.5)
    return args


def main():
    args = parse()
    if args.report:
        files = [json.loads(open(models.ROOT / "bench/results" / (name + ".json")).read()) for name in args.report.split(",")]
        results = {**files[0], "models": {name: model for f in files for name, model in f["models"].items()}, "peak": machine.best_of([f["peak"] for f in files])}
        print(report(results, "best" if args.best else "median"))
        return
    shapes = args.shape or (QUICK if args.quick else SHAPES + OTHER)
    results = {"machine": machine.describe(args.threads), "quick": args.quick, "cpu_time": args.cpu, "models": {}}
    started = time.time()
    folder = models.ROOT / "bench/results"
    folder.mkdir(exist_ok=True)

    def save():
        results["peak"] = machine.best_of([p for m in results["models"].values() for p in m["peaks"]])
        results["seconds"] = round(time.time() - started)
        (folder / (args.name + ".json")).write_text(json.dumps(results, indent=1) + "\n")

    for name in args.model or models.NAMES:
        measure(name, shapes, args, results["models"].setdefault(name, {}), save)
    print(report(results))
    if results["machine"]["load"] > 0.5 and not args.cpu:
        print("\nThe machine was busy when this began: medians say little. By the best run of each:\n", report(results, "best"), sep="\n")


if __name__ == "__main__":
    main()
