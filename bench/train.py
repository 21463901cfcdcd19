"""A training step of the default model beside PyTorch: same weights, same batch, same threads, in turn.

    python bench/train.py [--quick] [--no-bf16] [--name NAME] [--models FOLDER] [--threads 1,2] [--rounds N] [--shape 16x128x20]... [--mode lora|full]... [--compile]

SHAPE is rows x tokens x asked positions of a row. A step is forward, loss, backward, clipping and AdamW. LoRA: rank 32 on all seven projections, the base frozen.
PyTorch is written as one would for speed: fused norms and attention, attention's mask made beforehand, logits at asked positions only, no gradient where none is
wanted, fused AdamW, no padding (all rows are equally long). Its second column computes in bf16 under autocast. --compile adds torch.compile, whose compilation is not counted.

Each contender does one step a turn; a number is the median over its turns, of the wall clock and of processor time. On a busy machine the latter, on one
thread, is the one to trust. The first steps' losses must agree. Prints markdown, writes bench/results/NAME.json.
"""
import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import machine
import models
import nets

SHAPES = ("16x128x20", "8x32x20", "4x512x20")
RANK, ALPHA, RATE = 32, 64.0, 1e-4
REST = 0.25         # seconds before each turn: the threads of whoever ran last spin for a while
SLOW_TURNS = 2      # of bf16, which takes several times as long on CPUs that have no instructions for it
PROJECTIONS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


class Lora(torch.nn.Module):
    """y = x W^T + alpha / rank (x A^T) B^T, W frozen; rank 0: a plain linear layer."""

    def __init__(self, weight, rank):
        super().__init__()
        n, k = weight.shape
        self.weight = torch.nn.Parameter(weight.clone(), requires_grad=rank == 0)       # nets of one process share no trained tensor
        self.scale = ALPHA / RANK
        self.a = torch.nn.Parameter(torch.empty(rank, k).uniform_(-k ** -0.5, k ** -0.5)) if rank else None
        self.b = torch.nn.Parameter(torch.zeros(n, rank)) if rank else None

    def forward(self, x):
        y = F.linear(x, self.weight)
        return y if self.a is None else torch.add(y, F.linear(F.linear(x, self.a), self.b), alpha=self.scale)


class Norm(torch.nn.Module):
    def __init__(self, weight, eps, train):
        super().__init__()
        self.weight, self.eps = torch.nn.Parameter(weight.clone(), requires_grad=train), eps

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class Layer(torch.nn.Module):
    def __init__(self, config, weights, at, rank):
        super().__init__()
        self.heads, self.groups, self.width = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
        self.norms = torch.nn.ModuleList(Norm(weights[f"{at}{n}_norm.weight"], config["rms_norm_eps"], rank == 0) for n in ("attn", "ffn"))
        self.q, self.k, self.v, self.o, self.gate, self.up, self.down = (Lora(weights[f"{at}{p}.weight"], rank) for p in PROJECTIONS)

    def split(self, x, heads):
        return x.view(x.shape[0], x.shape[1], heads, self.width).transpose(1, 2)

    def forward(self, x, mask, cos, sin):
        def rotate(t):
            a, b = t.chunk(2, -1)
            return t * cos + torch.cat([-b, a], -1) * sin

        h = self.norms[0](x)
        q, k, v = rotate(self.split(self.q(h), self.heads)), rotate(self.split(self.k(h), self.groups)), self.split(self.v(h), self.groups)
        k, v = (t.repeat_interleave(self.heads // self.groups, 1) for t in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.o(y.transpose(1, 2).reshape(x.shape[0], x.shape[1], -1))
        h = self.norms[1](x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Net(torch.nn.Module):
    """The default model; the mask token's row of the input embedding is a parameter of its own and always trained."""

    def __init__(self, config, weights, mask, rank):
        super().__init__()
        self.mask = mask
        self.embedding = torch.nn.Parameter(weights["token_embd.weight"].clone(), requires_grad=rank == 0)
        self.mask_row = torch.nn.Parameter(weights["input"][mask].clone())
        self.layers = torch.nn.ModuleList(Layer(config, weights, f"blk.{i}.", rank) for i in range(config["num_hidden_layers"]))
        self.norm = Norm(weights["output_norm.weight"], config["rms_norm_eps"], rank == 0)
        width = config["head_dim"]
        angles = torch.outer(torch.arange(1024.0), config["rope_parameters"]["rope_theta"] ** -(torch.arange(0, width, 2) / width))
        self.register_buffer("cos", torch.cat([angles, angles], -1).cos())
        self.register_buffer("sin", torch.cat([angles, angles], -1).sin())

    def forward(self, ids, mask, asked, target):
        x = torch.where((ids == self.mask)[..., None], self.mask_row, F.embedding(ids, self.embedding))
        cos, sin = self.cos[:ids.shape[1]], self.sin[:ids.shape[1]]
        if torch.is_autocast_enabled("cpu"):
            x, mask, cos, sin = (t.to(torch.bfloat16) for t in (x, mask, cos, sin))
        for layer in self.layers:
            x = layer(x, mask, cos, sin)
        x = self.norm(x.flatten(0, 1)[asked])
        return F.cross_entropy(F.linear(x, self.embedding).float(), target)


def make_batch(config, mask, rows, tokens, asks):
    """What bench/train.c makes -> ids, additive mask of `context` attention, indices of the states that predict, targets."""
    shift = 1
    position, row = np.arange(tokens), np.arange(rows)
    ids = 5 + (position[None] * 7919 + row[:, None] * 31) % (config["vocab_size"] - 10)
    target = ids[:, tokens - asks:].copy()
    ids[:, tokens - asks:] = mask
    live = position >= tokens - asks - shift
    see = live[:, None] | ((position[None] <= position[:, None]) & ~live[None])
    additive = np.where(see, 0.0, -np.inf).astype(np.float32)
    asked = (row[:, None] * tokens + position[None, tokens - asks:] - shift).ravel()
    return (torch.from_numpy(ids), torch.from_numpy(np.repeat(additive[None, None], rows, 0)), torch.from_numpy(asked), torch.from_numpy(target.ravel()))


class Torch:
    def __init__(self, net, batch, bf16, compiled=False):
        self.net, self.batch, self.bf16 = net, batch, bf16
        self.run = torch.compile(net, dynamic=False) if compiled else net
        self.trained = [p for p in net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, RATE, (0.9, 0.98), weight_decay=0.01, fused=True)

    def step(self):
        start, processor = time.perf_counter(), time.process_time()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = self.run(*self.batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        return time.perf_counter() - start, time.process_time() - processor, loss.item()

    def close(self):
        pass


class Ours:
    def __init__(self, file, threads, rank, shape):
        words = [models.ROOT / "build/bench/train", file, threads, rank, *shape]
        self.process = subprocess.Popen([str(w) for w in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return tuple(float(v) for v in self.process.stdout.readline().split()[:3])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def contenders_of(mode, shape, threads, file, config, weights, mask, bf16, compiled):
    rank = RANK if mode == "lora" else 0
    torch.set_num_threads(threads)
    batch = make_batch(config, mask, *shape)
    out = {"ours": Ours(file, threads, rank, shape), "f32": Torch(Net(config, weights, mask, rank), batch, False)}
    if bf16:
        out["bf16"] = Torch(Net(config, weights, mask, rank), batch, True)
    if compiled:
        out["compiled"] = Torch(Net(config, weights, mask, rank), batch, False, True)
    return out


def compare(mode, shape, threads, rounds, *more):
    contenders = contenders_of(mode, shape, threads, *more)
    times, losses = {k: [] for k in contenders}, {}
    for turn in range(rounds + 1):                  # the first is not counted
        for name, contender in contenders.items():
            if name == "bf16" and len(times[name]) == SLOW_TURNS:
                continue
            time.sleep(REST)
            wall, processor, loss = contender.step()
            losses.setdefault(name, loss)
            if turn:
                times[name].append((wall, processor))
    for contender in contenders.values():
        contender.close()
    assert all(math.isclose(losses[k], losses["ours"], rel_tol=2e-2 if k == "bf16" else 1e-4) for k in losses), losses
    return {"mode": mode, "shape": shape, "threads": threads, "load": round(os.getloadavg()[0], 1), "losses": losses, "steps": times,
            "median": {k: np.median(np.array(t), 0).tolist() for k, t in times.items()}}


def line(case, names):
    tokens, clock = case["shape"][0] * case["shape"][1], 1 if case["threads"] == 1 else 0
    ours = case["median"]["ours"]
    ratios = " | ".join(f"{case['median'][n][clock] / ours[clock]:.2f} ({case['median'][n][1 - clock] / ours[1 - clock]:.2f})" for n in names)
    return f"| {case['mode']} | {'x'.join(map(str, case['shape']))} | {case['threads']} | {tokens / ours[clock]:.0f} | {ratios} | {case['load']} |"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--name", default="train")
    p.add_argument("--models", default=str(models.ROOT / "build/bench/models"))
    p.add_argument("--threads", default="1,2")
    p.add_argument("--rounds", type=int)
    p.add_argument("--shape", action="append")
    p.add_argument("--mode", action="append", choices=("lora", "full"))
    p.add_argument("--no-bf16", action="store_true")
    p.add_argument("--compile", action="store_true")
    args = p.parse_args()
    rounds = args.rounds or (3 if args.quick else 7)
    shapes = args.shape or (SHAPES[:2] if args.quick else SHAPES)
    config, mask = nets.config_of(models.DEFAULT), nets.mask_id(models.DEFAULT)
    weights = nets.default_weights(config)
    file = models.prepare(args.models, models.DEFAULT)["f32"]
    bf16 = not args.no_bf16
    names = ["f32"] + ["bf16"] * bf16 + ["compiled"] * args.compile
    results = {"machine": machine.describe(2), "peak": machine.peak(2), "cases": []}
    print("tokens/s and ratios: processor time on one thread, wall clock on two (the other clock in brackets); above 1 the trainer is faster\n")
    print("| trained | rows x tokens x asked | threads | tokens/s | " + " | ".join("against " + {"f32": "f32", "bf16": "bf16", "compiled": "torch.compile"}[n] for n in names) + " | load |")
    print("|---" * (5 + len(names)) + "|", flush=True)
    for mode in args.mode or ("lora", "full"):
        for threads in map(int, args.threads.split(",")):
            for shape in shapes:
                case = compare(mode, tuple(map(int, shape.split("x"))), threads, rounds, file, config, weights, mask, bf16, args.compile)
                results["cases"].append(case)
                print(line(case, names), flush=True)
    folder = models.ROOT / "bench/results"
    folder.mkdir(exist_ok=True)
    (folder / (args.name + ".json")).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
