"""The kernels alone against OpenBLAS (the one inside numpy) and against the peak measured in the same run.

    python bench/blas.py [--quick] [--name NAME] [--threads 2]

Prints GFLOP/s of y = x W^T in f32 and the ratio to numpy.matmul on the same shape and threads, for one thread and for all, then bf16 and int8, each with its
share of the FMA or int8 peak. Also measures the dense sweep over rows that plot.py draws. Results: bench/results/NAME.json. OpenBLAS reads its number of threads
once, so each number of threads is a process of its own, asked in turn with the engine's kernels.
"""
import argparse
import json
import os
import subprocess
import sys
import time

import machine
import models

SHAPES = ((576, 576), (1536, 576), (576, 1536), (3072, 768), (768, 3072))
ROWS = (1, 8, 16, 64, 128, 256, 512)
SWEEP = (*range(1, 33), *range(36, 129, 4), *range(144, 513, 16))
SWEEP_SHAPE = (1536, 576)


def child():
    """Answers "n k rows seconds" with the best GFLOP/s of numpy.matmul in that time, line by line. Clocks as in kernels.c."""
    import numpy as np
    now = time.process_time if os.environ["OPENBLAS_NUM_THREADS"] == "1" else time.perf_counter
    for line in sys.stdin:
        n, k, rows, seconds = line.split()
        n, k, rows = int(n), int(k), int(rows)
        x, w = np.full((rows, k), 0.5, np.float32), np.full((n, k), 0.25, np.float32)
        y, wt = np.empty((rows, n), np.float32), w.T
        operations, best, start = 2.0 * n * k * rows, 1e9, now()
        repeat = max(1, int(2e7 / operations))
        while now() - start < float(seconds):
            t0 = now()
            for _ in range(repeat):
                np.matmul(x, wt, out=y)
            best = min(best, (now() - t0) / repeat)
        print(operations / best * 1e-9, flush=True)


class Blas:
    def __init__(self, threads):
        env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
        env.update(OPENBLAS_NUM_THREADS=str(threads))
        self.process = subprocess.Popen([sys.executable, __file__, "--child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def gflops(self, n, k, rows, seconds):
        self.process.stdin.write(f"{n} {k} {rows} {seconds}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def kernels(threads, n, k, rows, seconds):
    """{(type, rows): Gop/s} of the engine's kernels."""
    done = subprocess.run([models.ROOT / "build/bench/kernels", "--sweep", *map(str, (seconds, threads, n, k, *rows))], capture_output=True, text=True, check=True)
    out = {}
    for line in done.stdout.splitlines():
        _, _, kind, _, _, m, value = line.split()
        out[kind, int(m)] = float(value)
    return out


def compare(threads, rounds, seconds):
    """Rounds of kernels and BLAS in turn -> [{n, k, rows, threads, f32, bf16, int8, blas}], the best of each: other work only slows a run."""
    blas, out = Blas(threads), []
    for n, k in SHAPES:
        best = {rows: {} for rows in ROWS}
        for _ in range(rounds):
            for (kind, rows), value in kernels(threads, n, k, ROWS, seconds).items():
                best[rows][kind] = max(value, best[rows].get(kind, 0))
            for rows in ROWS:
                best[rows]["blas"] = max(blas.gflops(n, k, rows, seconds), best[rows].get("blas", 0))
        out += [{"n": n, "k": k, "rows": rows, "threads": threads, **best[rows]} for rows in ROWS]
    blas.close()
    return out


def table(results):
    lines = ["| threads | n x k | rows | f32 GFLOP/s | of peak | against OpenBLAS | bf16 of peak | int8 Gop/s | of int8 peak |", "|---|---|---|---|---|---|---|---|---|"]
    for c in results["cases"]:
        fma, dot = (results["peak"].get(kind, {}).get(str(c["threads"]), 0) for kind in ("fma", "int8"))
        share = [f"{c[kind] / peak * 100:.0f} %" if peak else "" for kind, peak in (("f32", fma), ("bf16", fma), ("int8", dot))]
        lines.append(f"| {c['threads']} | {c['n']} x {c['k']} | {c['rows']} | {c['f32']:.0f} | {share[0]} | {c['f32'] / c['blas']:.2f} | {share[1]} | {c['int8']:.0f} | {share[2]} |")
    return lines


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--name", default="kernels")
    p.add_argument("--threads", type=int, default=2)
    args = p.parse_args()
    rounds, seconds = (1, 0.02) if args.quick else (3, 0.05)
    counts = sorted({1, args.threads})
    peaks = [machine.peak(args.threads)]
    results = {"machine": machine.describe(args.threads), "cases": [], "sweep": {}, "sweep_shape": SWEEP_SHAPE}
    for threads in counts:
        results["cases"] += compare(threads, rounds, seconds)
        peaks.append(machine.peak(args.threads))
    for threads in counts:
        for (kind, rows), value in kernels(threads, *SWEEP_SHAPE, SWEEP, seconds).items():
            results["sweep"].setdefault(f"{kind} {threads}", []).append([rows, value])
        peaks.append(machine.peak(args.threads))
    results["peak"] = machine.best_of(peaks)
    folder = models.ROOT / "bench/results"
    folder.mkdir(exist_ok=True)
    (folder / (args.name + ".json")).write_text(json.dumps(results, indent=1) + "\n")
    print(*table(results), sep="\n")


if __name__ == "__main__":
    child() if sys.argv[1:] == ["--child"] else main()
