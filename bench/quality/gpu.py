"""A LoRA adapter of the default model's base, trained on a GPU from the rows that `dlm-model train --examples` wrote: the same draws, masks and weights, other hardware.

    python gpu.py pack --out base.npz [--dev DIR] [--mask DIR]    what the other machine needs: base weights as they are quantised, the mask's row (of the adapter in a folder), development tasks
    python gpu.py train --base base.npz --examples FILE[.xz] --out DIR [--seconds N] [--rate 1e-3] ...
    python gpu.py check --base base.npz --examples FILE --log FILE.csv --init models/dlm-135m

The arithmetic is that of src/train: W + alpha / rank B A on all seven projections of each layer, the mask token's row of the input embedding trained too, `context` attention, the
mask token left out of the softmax, sum(weight cross-entropy) / sum(weight) of a step, its gradient's norm clipped at 1, AdamW (0.9, 0.98, decay 0.01 of matrices). On a GPU matrices and
activations are bf16, residuals, factors and the optimiser f32. The rate grows over the first 2 % and then falls as a cosine to a fiftieth, by the share of --seconds that has passed
or of the steps. `check` runs the first steps in f32 on the CPU beside the losses that `dlm-model train --log` of the same options wrote, and fails where they differ.
"""
import argparse
import json
import lzma
import math
import pathlib
import queue
import sys
import threading
import time

import numpy as np
import torch
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models/dlm-135m"
LAYERS, HIDDEN, HEADS, GROUPS, WIDTH, THETA, EPS, VOCAB, MASK = 30, 576, 9, 3, 64, 1e5, 9.999999747378752e-06, 49152, 16
RANK, SCALE = 32, 2.0
# name in the GGUF file, in the adapter, rows, columns
MATRICES = {"q": ("attn_q", "self_attn.q_proj", 576, 576), "k": ("attn_k", "self_attn.k_proj", 192, 576), "v": ("attn_v", "self_attn.v_proj", 192, 576),
            "o": ("attn_output", "self_attn.o_proj", 576, 576), "gate": ("ffn_gate", "mlp.gate_proj", 1536, 576), "up": ("ffn_up", "mlp.up_proj", 1536, 576),
            "down": ("ffn_down", "mlp.down_proj", 576, 1536)}
SETTINGS = ("adapter_config.json", "config.json", "dlm.json", "tokenizer.json")         # what an adapter's folder has beside the factors
WARM, LAST = 0.02, 0.02


# ---------------------------------------------------------------------------------------------------------------------- pack

def pack(args):
    """Raw blocks of the GGUF file, rows of q and k in the order of the two halves; questions of development tasks."""
    import gguf
    from safetensors.torch import load_file
    sys.path.insert(0, str(ROOT / "bench"))
    import nets
    import reference_model
    tensors = {t.name: t for t in gguf.GGUFReader(args.gguf).tensors}
    out = {"embedding": np.array(tensors["token_embd.weight"].data), "norm": np.array(tensors["output_norm.weight"].data)}
    for name in "attn_norm", "ffn_norm":
        out[name] = np.stack([tensors[f"blk.{i}.{name}.weight"].data for i in range(LAYERS)])
    for name, (gguf_name, _, n, _) in MATRICES.items():
        raw = [tensors[f"blk.{i}.{gguf_name}.weight"].data for i in range(LAYERS)]
        out[name] = np.stack([nets.unpermute(w, n // WIDTH) if name in "qk" else w for w in raw])
    out["mask"] = load_file(pathlib.Path(args.mask) / "adapter_model.safetensors")["mask_embedding"].float().numpy()
    out["settings"] = np.frombuffer(json.dumps({f: (FOLDER / f).read_text() for f in SETTINGS}).encode(), np.uint8)
    if args.dev:
        tok = reference_model.read_tokenizer(FOLDER)
        tasks = {}
        for path in sorted(pathlib.Path(args.dev).glob("*.jsonl")):
            rows = []
            for row in map(json.loads, open(path)):
                labels = [reference_model.encode(tok, x) for x in row["labels"]]
                rows.append([reference_model.chat(tok, row["instruction"], row["input"]), reference_model.chat(tok, row["instruction"], "N/A"), labels, row["labels"].index(row["target"])])
            tasks[path.stem] = rows
        out["dev"] = np.frombuffer(json.dumps(tasks).encode(), np.uint8)
    np.savez(args.out, **out)


# --------------------------------------------------------------------------------------------------------------------- model

def dequantise_q4_1(raw):
    """raw [..., 20 blocks]: scale and least of 32 values as f16, then their nibbles, the low ones first -> f32 [..., 32 blocks]"""
    blocks = raw.view(*raw.shape[:-1], -1, 20)
    scale, least = blocks[..., :4].contiguous().view(torch.float16).float().unbind(-1)
    q = torch.cat([blocks[..., 4:] & 15, blocks[..., 4:] >> 4], -1).float()
    return (q * scale[..., None] + least[..., None]).flatten(-2)


def dequantise_q8_0(raw):
    blocks = raw.view(*raw.shape[:-1], -1, 34)
    scale = blocks[..., :2].contiguous().view(torch.float16).float()
    return (blocks[..., 2:].contiguous().view(torch.int8).float() * scale).flatten(-2)


def rms_norm(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * w


def add_norm(x, y, w, like):
    """The residual and what is computed of it: x + y in f32, its norm in the matrices' type."""
    x = x + y.float()
    return x, rms_norm(x, w).to(like.dtype)


def turn(qkv, cos, sin):
    """[B, L, (9 + 3 + 3) 64] -> q, k, v [B, 9, L, 64], q and k turned by their positions"""
    b, l, _ = qkv.shape
    heads = qkv.view(b, l, HEADS + 2 * GROUPS, WIDTH).transpose(1, 2)
    t = heads[:, :HEADS + GROUPS].float()
    one, two = t.chunk(2, -1)
    t = (t * cos + torch.cat([-two, one], -1) * sin).to(qkv.dtype)
    times = HEADS // GROUPS
    return t[:, :HEADS], t[:, HEADS:].repeat_interleave(times, 1), heads[:, HEADS + GROUPS:].repeat_interleave(times, 1)


def swiglu(x):
    gate, up = x.chunk(2, -1)
    return F.silu(gate) * up


class Loss(torch.autograd.Function):
    """sum(weight cross-entropy) of states h [A, hidden] against the embedding [vocab, hidden], in pieces, with its gradient on the way: never a matrix [A, vocab] of all asks."""

    PIECE = 8192

    @staticmethod
    def forward(ctx, h, embedding, target, weight):
        grad = torch.empty_like(h)
        total, nats, right = (torch.zeros((), device=h.device) for _ in range(3))
        for a in range(0, h.shape[0], Loss.PIECE):
            z = (h[a:a + Loss.PIECE] @ embedding.T).float()
            z[:, MASK] = -torch.inf
            t, w = target[a:a + Loss.PIECE], weight[a:a + Loss.PIECE]
            log_sum = z.logsumexp(-1)
            loss = log_sum - z.gather(1, t[:, None])[:, 0]
            total, nats, right = total + (loss * w).sum(), nats + loss.sum(), right + (z.argmax(-1) == t).sum()
            z.sub_(log_sum[:, None]).exp_()
            z.scatter_add_(1, t[:, None], torch.full_like(z[:, :1], -1.0))
            grad[a:a + Loss.PIECE] = z.mul_(w[:, None]).to(h.dtype) @ embedding
        ctx.save_for_backward(grad)
        return total, nats, right

    @staticmethod
    def backward(ctx, total, *_):
        return ctx.saved_tensors[0] * total.to(ctx.saved_tensors[0].dtype), None, None, None


class Net:
    """Frozen weights, trained factors; everything stacked over the layers."""

    def __init__(self, path, device, dtype, seed=1, init=None):
        data = np.load(path)
        on = lambda name: torch.from_numpy(data[name]).to(device)
        self.device, self.dtype, self.dev = device, dtype, json.loads(bytes(data["dev"])) if "dev" in data else {}
        self.settings = json.loads(bytes(data["settings"]))
        self.w = {name: dequantise_q4_1(on(name)) for name in MATRICES}
        self.embedding = dequantise_q8_0(on("embedding"))
        self.head = self.embedding.to(dtype)
        self.norm, self.attn_norm, self.ffn_norm = on("norm"), on("attn_norm"), on("ffn_norm")
        generator = torch.Generator().manual_seed(seed)
        self.a, self.b = {}, {}
        for name, (_, _, n, k) in MATRICES.items():
            self.a[name] = ((torch.rand(LAYERS, RANK, k, generator=generator) * 2 - 1) * k ** -0.5).to(device).requires_grad_()
            self.b[name] = torch.zeros(LAYERS, n, RANK, device=device, requires_grad=True)
        self.mask = on("mask").clone().requires_grad_()
        if init:
            self.load(init)
        angles = torch.outer(torch.arange(1024.0), THETA ** -(torch.arange(0, WIDTH, 2) / WIDTH))
        self.cos, self.sin = (torch.cat([f(angles)] * 2, -1).to(device) for f in (torch.cos, torch.sin))
        self.add_norm, self.turn, self.swiglu = add_norm, turn, swiglu

    def compile(self):
        torch._dynamo.config.cache_size_limit = 64
        self.add_norm, self.turn, self.swiglu = (torch.compile(f, dynamic=True) for f in (add_norm, turn, swiglu))

    def factors(self):
        return list(self.a.values()) + list(self.b.values())

    def named(self):
        """name in a PEFT adapter -> tensor, a view of the stacked one"""
        for name, (_, peft, _, _) in MATRICES.items():
            for i in range(LAYERS):
                yield f"base_model.model.model.layers.{i}.{peft}.lora_A.weight", self.a[name].data[i]
                yield f"base_model.model.model.layers.{i}.{peft}.lora_B.weight", self.b[name].data[i]
        yield "mask_embedding", self.mask.data

    def load(self, folder):
        from safetensors.torch import load_file
        stored = load_file(pathlib.Path(folder) / "adapter_model.safetensors")
        for name, tensor in self.named():
            tensor.copy_(stored[name])

    def save(self, folder, dtype=torch.bfloat16):
        from safetensors.torch import save
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "adapter_model.safetensors").write_bytes(save({name: t.to(dtype).cpu().contiguous() for name, t in self.named()}))
        for name, text in self.settings.items():
            (folder / name).write_text(text)

    def matrices(self):
        """Per layer: q, k and v one under another, o, gate and up, down."""
        merged = {name: torch.baddbmm(self.w[name], self.b[name], self.a[name], alpha=SCALE).to(self.dtype) for name in MATRICES}
        stacks = torch.cat([merged["q"], merged["k"], merged["v"]], 1), merged["o"], torch.cat([merged["gate"], merged["up"]], 1), merged["down"]
        return list(zip(*(s.unbind(0) for s in stacks)))

    def states(self, matrices, ids, live, length):
        """ids, live [B, L], rows of `length` tokens -> states after the final norm [B, L, hidden]"""
        b, l = ids.shape
        place = torch.arange(l, device=self.device)
        see = (live[:, :, None] | ((place[None, :] <= place[:, None])[None] & ~live[:, None, :])) & (place < length[:, None])[:, None, :]
        see = see | torch.eye(l, dtype=torch.bool, device=self.device)
        bias = torch.zeros(b, 1, l, l, dtype=self.dtype, device=self.device).masked_fill_(~see[:, None], -torch.inf)
        cos, sin = self.cos[:l], self.sin[:l]
        x = torch.where((ids == MASK)[..., None], self.mask, F.embedding(ids, self.embedding))
        h = rms_norm(x, self.attn_norm[0]).to(self.dtype)
        for i, (qkv, o, gate_up, down) in enumerate(matrices):
            q, k, v = self.turn(F.linear(h, qkv), cos, sin)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(b, HEADS, l, l))
            x, h = self.add_norm(x, F.linear(y.transpose(1, 2).reshape(b, l, HIDDEN), o), self.ffn_norm[i], qkv)
            x, h = self.add_norm(x, F.linear(self.swiglu(F.linear(h, gate_up)), down), self.attn_norm[i + 1] if i + 1 < LAYERS else self.norm, qkv)
        return h

    def loss(self, batch):
        h = self.states(self.matrices(), batch["ids"], batch["live"], batch["length"])
        total, nats, right = Loss.apply(h.flatten(0, 1)[batch["asked"]], self.head, batch["target"], batch["weight"])
        return total / batch["weight"].sum(), nats / len(batch["target"]), right / len(batch["target"])

    @torch.no_grad()
    def judge(self, tokens=32768):
        """Accuracy on the development tasks, one pass, mean log-probability of a label's tokens: without and with the content-free score."""
        matrices, out = self.matrices(), {}
        for task, rows in self.dev.items():
            jobs = [(prompt, labels) for plain, free, labels, _ in rows for prompt in (plain, free)]
            scores = [None] * len(jobs)
            order = sorted(range(len(jobs)), key=lambda i: len(jobs[i][0]) + max(map(len, jobs[i][1])))
            at = 0
            while at < len(order):
                l = 8 * math.ceil((len(jobs[order[-1]][0]) + max(map(len, jobs[order[-1]][1])) + 1) / 8)
                some = order[at:at + max(1, tokens // l)]
                at += len(some)
                self.score(matrices, [jobs[i] for i in some], some, scores)
            right = [0, 0]
            for i, (_, _, _, answer) in enumerate(rows):
                plain, free = scores[2 * i], scores[2 * i + 1]
                right[0] += max(range(len(plain)), key=lambda j: plain[j]) == answer
                right[1] += max(range(len(plain)), key=lambda j: plain[j] - free[j]) == answer
            out[task] = [r / len(rows) for r in right]
        return out

    def score(self, matrices, jobs, numbers, scores):
        canvas = [max(map(len, labels)) + 1 for _, labels in jobs]
        l = 8 * math.ceil(max(len(p) + c for (p, _), c in zip(jobs, canvas)) / 8)
        ids, live = np.full((len(jobs), l), MASK), np.zeros((len(jobs), l), bool)
        for i, ((prompt, _), c) in enumerate(zip(jobs, canvas)):
            ids[i, :len(prompt)] = prompt
            live[i, len(prompt) - 1:len(prompt) + c] = True
        length = torch.tensor([len(p) + c for (p, _), c in zip(jobs, canvas)])
        h = self.states(matrices, *(torch.as_tensor(t).to(self.device) for t in (ids, live, length)))
        asks = [(i, len(p) - 1 + j) for i, ((p, _), c) in enumerate(zip(jobs, canvas)) for j in range(c - 1)]
        z = F.linear(h[[a for a, _ in asks], [b for _, b in asks]], self.head).float()
        z[:, MASK] = -torch.inf
        z = z.log_softmax(-1)
        first = np.concatenate([[0], np.cumsum([c - 1 for c in canvas])])
        places = [(first[i] + j, t) for i, (_, labels) in enumerate(jobs) for label in labels for j, t in enumerate(label)]
        values = iter(z[[p for p, _ in places], [t for _, t in places]].cpu().tolist())
        for number, (_, labels) in zip(numbers, jobs):
            scores[number] = [sum(next(values) for _ in label) / len(label) for label in labels]


# ------------------------------------------------------------------------------------------------------------------ examples

def steps_of(path):
    """Steps of a file of model_loader/train_examples.c, as padded arrays."""
    with (lzma.open(path) if str(path).endswith(".xz") else open(path, "rb")) as f:
        assert f.read(8) == b"DLMEXAMP"
        version, width, vocab, mask, steps, _ = np.frombuffer(f.read(24), np.uint32)
        assert (version, vocab, mask) == (1, VOCAB, MASK)
        number = {2: np.uint16, 4: np.uint32}[int(width)]
        for _ in range(steps):
            rows, tokens, asks = map(int, np.frombuffer(f.read(12), np.uint32))
            take = lambda n, dtype: np.frombuffer(f.read(n * np.dtype(dtype).itemsize), dtype)
            n, n_ask, ids, ask, target = (take(k, number).astype(np.int64) for k in (rows, rows, tokens, asks, asks))
            live, weight = take(tokens, np.uint8), take(asks, np.float32)
            l = 8 * math.ceil(int(n.max()) / 8)
            row = np.repeat(np.arange(rows), n)
            column = np.arange(tokens) - np.repeat(np.cumsum(n) - n, n)
            out = {"ids": np.zeros((rows, l), np.int64), "live": np.zeros((rows, l), bool), "length": n, "target": target, "weight": weight.copy(),
                   "asked": np.repeat(np.arange(rows), n_ask) * l + ask - 1}
            out["ids"][row, column] = ids
            out["live"][row, column] = live
            yield tokens, {k: torch.from_numpy(v) for k, v in out.items()}


def reader(path, device, rounds):
    """The same on the device, read ahead by a thread; the file as many times as asked."""
    ahead = queue.Queue(64)

    def run():
        try:
            for _ in range(rounds):
                for tokens, batch in steps_of(path):
                    ahead.put((tokens, {k: v.pin_memory() if device == "cuda" else v for k, v in batch.items()}))
            ahead.put(None)
        except Exception as e:      # the reader's end must not be waited for in vain
            ahead.put(e)

    threading.Thread(target=run, daemon=True).start()
    while (item := ahead.get()) is not None:
        if isinstance(item, Exception):
            raise item
        yield item[0], {k: v.to(device, non_blocking=True) for k, v in item[1].items()}


# --------------------------------------------------------------------------------------------------------------------- train

class Optimiser:
    def __init__(self, net, rate):
        self.trained = net.factors() + [net.mask]
        self.adamw = torch.optim.AdamW(self.trained, rate, (0.9, 0.98), 1e-8, weight_decay=0.01, fused=net.device == "cuda")

    def step(self, loss, rate):
        self.adamw.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        for group in self.adamw.param_groups:
            group["lr"] = rate
        self.adamw.step()
        return norm


def rate_at(peak, place):
    """place: the share of the run that is over"""
    if place < WARM:
        return peak * max(place, 1e-3) / WARM
    return peak * (LAST + (1 - LAST) * (1 + math.cos(math.pi * min(1, (place - WARM) / (1 - WARM)))) / 2)


def show_judgement(net, name):
    start = time.time()
    figures = net.judge()
    mean = np.mean(list(figures.values()), 0)
    print(f"{name}: development tasks {mean[0]:.4f} mean, {mean[1]:.4f} mean+cf ({time.time() - start:.1f} s) " +
          " ".join(f"{k} {a:.3f} {b:.3f};" for k, (a, b) in figures.items()), flush=True)


def train(args):
    begin = time.time()
    torch.backends.cuda.matmul.allow_tf32 = True
    net = Net(args.base, args.device, torch.bfloat16 if args.device == "cuda" else torch.float32, args.seed, args.init)
    if args.compile:
        net.compile()
    optimiser = Optimiser(net, args.rate)
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    log = open(out / "run.csv", "w")
    print("step,tokens,seconds,loss,right,rate,gradient", file=log)
    print(f"loaded in {time.time() - begin:.1f} s", flush=True)
    if args.judge:
        show_judgement(net, "before")
    start, tokens_seen, sums, step, halved = time.time(), 0, [], 0, 0
    begun = None                # the first steps, in which kernels are chosen and compiled, are not the run's time
    for tokens, batch in reader(args.examples, args.device, args.rounds):
        place = step / args.steps if args.steps else 0 if begun is None else (time.time() - begun) / args.seconds
        if place >= 1:
            break
        if step == 12:
            if args.device == "cuda":
                torch.cuda.synchronize()
            begun, before = time.time(), tokens_seen
        loss, nats, right = net.loss(batch)
        norm = optimiser.step(loss, rate_at(args.rate, place))
        step, tokens_seen = step + 1, tokens_seen + tokens
        sums.append(torch.stack([nats.detach(), right.detach(), norm.detach()]))
        if step % args.every == 0:
            nats, right, norm = torch.stack(sums).mean(0).tolist()
            sums = []
            passed = time.time() - (begun or start)
            speed = (tokens_seen - before) / passed if begun else 0
            print(f"{step},{tokens_seen},{passed:.1f},{nats:.4f},{right:.4f},{rate_at(args.rate, place):.3g},{norm:.3f}", file=log, flush=True)
            if step % (5 * args.every) == 0 or args.every < 10:
                print(f"step {step}, {tokens_seen / 1e6:.1f} M tokens, {speed:.0f} tokens/s, loss {nats:.3f}, right {right:.3f}, norm {norm:.2f}", flush=True)
            if not math.isfinite(nats):
                sys.exit("the loss is not finite")
        if args.keep and place >= args.keep > halved:
            halved = args.keep
            net.save(out / "half")
            if args.judge:
                show_judgement(net, f"step {step}")
    else:
        print("the examples ended before the run did: give --rounds, or fewer --seconds")
    print(f"{step} steps, {tokens_seen} tokens in {time.time() - start:.0f} s", flush=True)
    net.save(out / "end")
    if args.judge:
        show_judgement(net, "after")
    if args.device == "cuda":
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {torch.cuda.max_memory_allocated() / 2 ** 30:.1f} GiB", flush=True)


def check(args):
    """The first losses beside the C trainer's log; a log's loss is a running mean, 0.9 of the one before."""
    net = Net(args.base, "cpu", torch.float32, 1, args.init)
    optimiser = Optimiser(net, 1e-3)
    lines = [line.split(",") for line in open(args.log).read().splitlines()[1:]]
    mean, worst = None, 0
    assert lines, "an empty log"
    for (_, batch), line in zip(steps_of(args.examples), lines):
        loss, nats, _ = net.loss(batch)
        norm = optimiser.step(loss, float(line[5]))
        mean = nats.item() if mean is None else 0.9 * mean + 0.1 * nats.item()
        worst = max(worst, abs(mean / float(line[3]) - 1), abs(norm.item() / float(line[6]) - 1) / 10)
        print(f"step {line[0]}: loss {mean:.5f}, C {line[3]}; norm {norm.item():.5f}, C {line[6]}", flush=True)
    assert worst < 1e-3, worst


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="verb", required=True)
    s = sub.add_parser("pack")
    s.add_argument("--gguf", default=str(ROOT / "models/base/SmolLM2-135M-Instruct.Q4_1.gguf"))
    s.add_argument("--dev")
    s.add_argument("--mask", default=str(FOLDER))
    s.add_argument("--out", required=True)
    for verb in "train", "check":
        s = sub.add_parser(verb)
        s.add_argument("--base", required=True)
        s.add_argument("--examples", required=True)
        s.add_argument("--init", required=verb == "check")
    s.add_argument("--log", required=True)
    s = sub.choices["train"]
    s.add_argument("--rate", type=float, default=1e-3)
    s.add_argument("--out", required=True)
    s.add_argument("--device", default="cuda")
    s.add_argument("--seconds", type=float, default=300)
    s.add_argument("--steps", type=int)
    s.add_argument("--rounds", type=int, default=1)
    s.add_argument("--every", type=int, default=20)
    s.add_argument("--keep", type=float)
    s.add_argument("--seed", type=int, default=1)
    s.add_argument("--compile", action="store_true")
    s.add_argument("--judge", action="store_true")
    args = p.parse_args()
    {"pack": pack, "train": train, "check": check}[args.verb](args)


if __name__ == "__main__":
    main()
