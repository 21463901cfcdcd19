"""Which int8 scheme keeps the default model's labels? A simulation in PyTorch: what the engine would compute, up to the rounding of f32 sums.

    python int8_schemes.py --folder models/dlm-135m --base FILE.gguf --data DIR --rows 20 --reference f32.json "" "act=64" "act=64 keep=head" "act=64 weight_bits=7"

The rows are heldout.py's (one pass, mean, less the content-free score). The f32 scores are computed once and kept in the file of --reference. Each further argument is a
scheme, words of `key=value`; the empty one is DESIGN 5: every matrix in 8 bits with a scale an output, activations in 8 bits with a scale a row.

    act=G             activations: a scale for every G consecutive inputs of a row (0: one a row; none: not quantised)
    act_bits=B        activations in [-(2^(B-1) - 1), 2^(B-1) - 1] (8); 13 bits are what 4096 inputs can be summed of in int32 with 8-bit weights
    weight=G          weights: a scale for every G consecutive inputs of an output (0: one an output; none: not quantised)
    weight_bits=B     as act_bits; 7 bits are what unsigned x signed pairs can hold exactly in 16 bits (2 * 255 * 63)
    clip=mse          the weights' scale is the one of least squared error instead of that of the largest element
    keep=a,b          matrices kept in bf16, with f32 activations: head (with the embedding), q, k, v, o, gate, up, down, a layer's number (0 to 29, or -1 for the
                      last), or both (down.0 for one matrix)
    exact=N           the first N tokens of a row are not quantised
    smooth=A          SmoothQuant: each input divided by max|x|^A / max|w|^(1-A), its weights multiplied by it; max|x| from the rows after those measured
    rotate=N          the inputs in blocks of N, a power of 2 (halved until it divides), multiplied by a Hadamard matrix, the weights likewise; not those of the head

Of each scheme: the share of rows with the label of f32, the same among rows where f32 leads by at least 0.1 nats, the median and the 95th percentile of |difference| of
the labels' scores, the share of right labels, and the share of the weights in int8.
"""
import argparse
import json
import pathlib
import sys
import time

import torch
import torch.nn.functional as F

import heldout
import reference_model

INPUT = {"q": "attention", "k": "attention", "v": "attention", "o": "o", "gate": "mlp", "up": "mlp", "down": "down", "head": "head"}


class Network:
    """The default model over packed tokens: what rows have in common is computed once, as fixed text sees only the text before it."""

    def __init__(self, model):
        c = model.config
        self.heads, self.kv_heads, self.eps, self.layers = c.num_attention_heads, c.num_key_value_heads, c.rms_norm_eps, c.num_hidden_layers
        self.size = c.hidden_size // self.heads
        self.weights, self.norms = {}, {}
        for i, layer in enumerate(model.model.layers):
            for name in "qkvo":
                self.weights[name, i] = getattr(layer.self_attn, name + "_proj").weight.data
            for name in ("gate", "up", "down"):
                self.weights[name, i] = getattr(layer.mlp, name + "_proj").weight.data
            self.norms[i] = layer.input_layernorm.weight.data, layer.post_attention_layernorm.weight.data
        self.weights["head", self.layers] = model.model.embed_tokens.weight.data.clone()
        self.weights["head", self.layers][reference_model.MASK] = model.mask_embedding      # never scored, so the head may have it too
        self.final_norm = model.model.norm.weight.data
        self.frequencies = 1.0 / c.rope_parameters["rope_theta"] ** (torch.arange(0, self.size, 2).float() / self.size)

    def norm(self, x, weight):
        return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))

    def logprobs(self, scheme, rows):
        """rows: [(ids, first canvas position)] -> for each, [canvas, vocab] log-probabilities."""
        ids, places, index, known = [], [], [], {}
        for row, start in rows:
            at, node = [], ()
            for p, token in enumerate(row):
                node = known.setdefault((node, token), len(ids)) if p < start - 1 else None
                if node is None or node == len(ids):
                    at.append(len(ids))
                    ids.append(token)
                    places.append(p)
                else:
                    at.append(node)
            index.append(at)
        ids, places = torch.tensor(ids), torch.tensor(places)
        longest = max(map(len, index))
        see = torch.zeros(len(rows), 1, longest, longest, dtype=torch.bool) | torch.eye(longest, dtype=torch.bool)
        for i, (row, start) in enumerate(rows):
            see[i, 0, :len(row), :len(row)] = reference_model.visible(len(row), range(start, len(row)))
        gather = torch.tensor([at + [0] * (longest - len(at)) for at in index])
        real = torch.tensor([[True] * len(at) + [False] * (longest - len(at)) for at in index])
        angle = torch.outer(places.float(), self.frequencies).repeat(1, 2)[:, None]
        cos, sin = angle.cos(), angle.sin()

        def rope(x):
            a, b = x.chunk(2, -1)
            return x * cos + torch.cat((-b, a), -1) * sin

        def heads(x, n):
            return x.view(len(ids), n, self.size)

        x = F.embedding(ids, scheme.table)
        for i in range(self.layers):
            before, after = self.norms[i]
            q, k, v = scheme.products(self.norm(x, before), "qkv", i, places)
            q, k, v = rope(heads(q, self.heads)), rope(heads(k, self.kv_heads)), heads(v, self.kv_heads)
            q, k, v = (t[gather].transpose(1, 2) for t in (q, k, v))
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=see, enable_gqa=True).transpose(1, 2).flatten(2)
            mixed = torch.empty(len(ids), a.shape[-1])
            mixed[gather[real]] = a[real]
            x = x + scheme.products(mixed, ("o",), i, places)[0]
            gate, up = scheme.products(self.norm(x, after), ("gate", "up"), i, places)
            x = x + scheme.products(F.silu(gate) * up, ("down",), i, places)[0]
        x = self.norm(x, self.final_norm)
        out = []
        for (row, start), at in zip(rows, index):
            asked = torch.tensor(at[start - 1:-1])
            logits, = scheme.products(x[asked], ("head",), self.layers, places[asked])
            logits[:, reference_model.MASK] = -torch.inf
            out.append(F.log_softmax(logits, -1))
        return out


def groups(x, size):
    """[n, k] -> [n, groups, size], the last group filled up with zeros."""
    size = size or x.shape[-1]
    return F.pad(x, (0, -x.shape[-1] % size)).unflatten(-1, (-1, size))


def quantise(x, size, bits, scale=1.0):
    """Symmetric, a scale for each group, round half to even -> the numbers that the integers stand for. scale: shrinks the largest number that can be represented."""
    top = 2 ** (bits - 1) - 1
    g = groups(x, size)
    largest = g.abs().amax(-1, keepdim=True) * scale
    step = torch.where(largest > 0, top / largest, 0.0)
    q = g.mul_(step) if g.data_ptr() != x.data_ptr() else g * step
    return q.round_().clamp_(-top, top).mul_(largest / top).flatten(-2)[..., :x.shape[-1]]


def least_error(w, size, bits):
    best, error = None, None
    for scale in torch.arange(1.0, 0.49, -0.04).tolist():
        q = quantise(w, size, bits, scale)
        e = groups((q - w).square_(), size).sum(-1, keepdim=True)
        if best is None:
            best, error = groups(q, size).clone(), e
        else:
            best = torch.where(e < error, groups(q, size), best)
            error = torch.minimum(error, e)
    return best.flatten(-2)[..., :w.shape[-1]]


def hadamard(x, n):
    """The last dimension in blocks of n (halved until it divides), each multiplied by the orthonormal Hadamard matrix, which is its own inverse."""
    while x.shape[-1] % n:
        n //= 2
    h = torch.ones(1, 1)
    while h.shape[0] < n:
        h = torch.cat((torch.cat((h, h), 1), torch.cat((h, -h), 1)))
    return (x.unflatten(-1, (-1, n)) @ (h / n ** 0.5)).flatten(-2)


class Scheme:
    """f32 when text is None."""

    def __init__(self, network, text, largest=None):
        words = dict(word.split("=") for word in (text or "").split())
        number = {k: None if words.get(k) == "none" else int(words.get(k, d)) for k, d in
                  (("act", 0), ("act_bits", 8), ("weight", 0), ("weight_bits", 8), ("exact", 0), ("rotate", 0))}
        self.act, self.act_bits, self.exact, self.rotate = number["act"], number["act_bits"], number["exact"], number["rotate"]
        keep = set(filter(None, words.get("keep", "").split(",")))
        clip, alpha = words.get("clip"), float(words["smooth"]) if "smooth" in words else None
        if set(words) - set(number) - {"keep", "clip", "smooth"} or clip not in (None, "mse"):
            sys.exit(f"unknown word in {text!r}")
        self.record, self.kept, self.weights, self.smooth = None, set(), {}, {}
        small = total = 0
        if alpha is not None:
            for (name, i), w in network.weights.items():
                if name != "head":
                    key = INPUT[name], i
                    top = torch.stack([network.weights[n, i].abs().amax(0) for n in INPUT if INPUT[n] == key[0]]).amax(0)
                    self.smooth[key] = (largest[key].clamp(min=1e-5) ** alpha / top.clamp(min=1e-5) ** (1 - alpha)).clamp(min=1e-5)
        for (name, i), w in network.weights.items():
            last = network.layers - 1
            total += w.numel()
            if text is None:
                self.kept.add((name, i))
            elif keep & {name, str(i), f"{name}.{i}"} or i == last and keep & {"-1", f"{name}.-1"}:
                self.kept.add((name, i))
                w = w.bfloat16().float()
            else:
                small += w.numel()
                if (INPUT[name], i) in self.smooth:
                    w = w * self.smooth[INPUT[name], i]
                if self.rotate and name != "head":
                    w = hadamard(w, self.rotate)
                if number["weight"] is not None:
                    w = (least_error if clip else quantise)(w, number["weight"], number["weight_bits"])
            self.weights[name, i] = w
        self.share = small / total
        self.table = self.weights["head", network.layers]

    def products(self, x, names, i, places):
        """x: [n, k] inputs of the matrices `names` of layer i."""
        if self.record is not None:
            key, top = (INPUT[names[0]], i), x.abs().amax(0)
            self.record[key] = torch.maximum(self.record[key], top) if key in self.record else top
        q = x
        if any((n, i) not in self.kept for n in names):
            if (INPUT[names[0]], i) in self.smooth:
                q = q / self.smooth[INPUT[names[0]], i]
            if self.rotate and names[0] != "head":
                q = hadamard(q, self.rotate)
            if self.act is not None:
                rounded = quantise(q, self.act, self.act_bits)
                q = torch.where((places < self.exact)[:, None], q, rounded) if self.exact else rounded
        return [F.linear(x if (n, i) in self.kept else q, self.weights[n, i]) for n in names]


def lines_of(folder, first, last):
    """Rows first to last of each task, in heldout.py's order."""
    return [e for path in sorted(pathlib.Path(folder).glob("*.jsonl.gz")) for e in heldout.rows_of(path, last)[first:]]


@torch.no_grad()
def scores_of(tok, network, scheme, lines, at_once=64):
    """-> for each line its labels' scores, less those of the content-free text."""
    asked = {}
    for e in lines:
        for text in (e["input"], "N/A"):
            key = e["instruction"], text, tuple(e["labels"])
            if key not in asked:
                labels = [reference_model.encode(tok, label) for label in e["labels"]]
                prompt = reference_model.chat(tok, e["instruction"], text)
                asked[key] = prompt + [reference_model.MASK] * (max(map(len, labels)) + 1), len(prompt), labels
    keys, got = list(asked), {}
    for i in range(0, len(keys), at_once):
        part = keys[i:i + at_once]
        for key, lp in zip(part, network.logprobs(scheme, [asked[k][:2] for k in part])):
            got[key] = torch.tensor([sum(lp[j, t].item() for j, t in enumerate(label)) / len(label) for label in asked[key][2]])
    out = []
    for e in lines:
        with_text, without = (got[e["instruction"], text, tuple(e["labels"])] for text in (e["input"], "N/A"))
        out.append((with_text - without).tolist())
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--folder", "--base", "--data", "--reference"):
        parser.add_argument(name, required=True)
    parser.add_argument("--rows", type=int, default=20, help="rows of each task")
    parser.add_argument("--skip", type=int, default=0, help="rows of each task to leave out before those")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("schemes", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tok, model = reference_model.load(args.folder, args.base)
    network = Network(model)
    end = args.skip + args.rows
    lines = lines_of(args.data, args.skip, end)
    file = pathlib.Path(args.reference)
    wanted = json.loads(file.read_text()) if file.exists() else None
    if wanted is None:
        wanted = scores_of(tok, network, Scheme(network, None), lines)
        file.write_text(json.dumps(wanted))
    if len(wanted) != len(lines):
        sys.exit(f"{file} has {len(wanted)} rows, not {len(lines)}")
    best = [heldout.first_best(w) for w in wanted]
    lead = [w[b] - max(v for i, v in enumerate(w) if i != b) for w, b in zip(wanted, best)]
    clear = [i for i, v in enumerate(lead) if v >= 0.1]
    right = sum(e["labels"][b] == e["target"] for e, b in zip(lines, best)) / len(lines)
    print(f"{len(lines)} rows, {len(clear)} of them clear (f32 leads by 0.1 nats), f32 right {right:.3f}")
    print("   same  clear  median     p95  right   int8  scheme", flush=True)
    largest = None
    for text in args.schemes:
        start = time.time()
        if "smooth=" in text and largest is None:
            plain = Scheme(network, None)
            plain.record = largest = {}
            scores_of(tok, network, plain, lines_of(args.data, end, end + 4))
        scheme = Scheme(network, text, largest)
        got = scores_of(tok, network, scheme, lines)
        labels = [heldout.first_best(g) for g in got]
        same = [a == b for a, b in zip(labels, best)]
        off = torch.tensor([abs(a - b) for g, w in zip(got, wanted) for a, b in zip(g, w)])
        right = sum(e["labels"][b] == e["target"] for e, b in zip(lines, labels)) / len(lines)
        print(f"{sum(same) / len(lines):7.3f}{sum(same[i] for i in clear) / len(clear):7.3f}{off.median():8.4f}{off.quantile(0.95):8.4f}"
              f"{right:7.3f}{scheme.share:7.3f}  {text or '(DESIGN 5)'}  [{time.time() - start:.0f} s]", flush=True)


if __name__ == "__main__":
    main()
