"""Loss and gradients of PyTorch transformers in double precision, for test/train/t_torch.c.

    python make_gradients.py MODELS OUT        the tiny checkpoints of make_models.py -> OUT/NAME.json

Needs torch, transformers, safetensors, numpy. transformers computes a few things in float whatever the model's type: RMSNorm and RoPE are replaced by the same
formulas in double, with the numbers that a .dlm file has in float (cosines, sines, the norms' epsilon) rounded to it.

A file holds a batch (rows: ids, live, ask, target, weight), smoothing, and for each mode - all weights, or LoRA factors of rank `rank` and `alpha` on every linear
layer - the loss (sum of weighted cross-entropies) and for each tensor its role, layer, part, number of elements and gradient: `norm`, `along` (the product with the
direction of `uniform` from the tensor's seed, in -0.5 .. 0.5), and some elements. The factors are drawn by `uniform` from their seeds, so the test makes them itself.
"""
import json
import pathlib
import random
import re
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch.func import functional_call

from make_forward import load, visible

MODELS = ("bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "llama", "context", "untied", "qwen2", "qwen3", "llada")
LENGTHS = (2, 5, 7, 12, 19)
SMOOTHING, RANK, ALPHA, ELEMENTS = 0.1, 3, 5.0, 6

# (pattern of a PyTorch name, role in the .dlm file); {} is the layer's number
ROLES = [
    (r"model\.embed_tokens\.weight", "EMBED"), (r"model\.norm\.weight", "FINAL_NORM_W"), (r"lm_head\.weight", "HEAD_W"),
    (r"model\.layers\.(\d+)\.input_layernorm\.weight", "ATTN_NORM_W"), (r"model\.layers\.(\d+)\.post_attention_layernorm\.weight", "FFN_NORM_W"),
    *[(rf"model\.layers\.(\d+)\.self_attn\.{p}_proj\.{q}", f"{p.upper()}_{q[0].upper()}") for p in "qkvo" for q in ("weight", "bias")],
    *[(rf"model\.layers\.(\d+)\.self_attn\.{p}_norm\.weight", f"{p.upper()}_NORM") for p in "qk"],
    *[(rf"model\.layers\.(\d+)\.mlp\.{p}_proj\.weight", f"{p.upper()}_W") for p in ("gate", "up", "down")],
    (r"\w+\.embeddings\.word_embeddings\.weight", "EMBED"), (r"\w+\.embeddings\.position_embeddings\.weight", "POSITION"),
    (r"\w+\.embeddings\.token_type_embeddings\.weight", "TYPE")]
for quality, suffix in (("weight", "W"), ("bias", "B")):
    layer = r"\w+\.encoder\.layer\.(\d+)\."
    ROLES += [(p + quality, f"{role}_{suffix}") for p, role in (
        (r"\w+\.embeddings\.LayerNorm\.", "EMBED_NORM"), (layer + r"attention\.self\.query\.", "Q"), (layer + r"attention\.self\.key\.", "K"),
        (layer + r"attention\.self\.value\.", "V"), (layer + r"attention\.output\.dense\.", "O"), (layer + r"attention\.output\.LayerNorm\.", "ATTN_NORM"),
        (layer + r"attention\.self_attn_layer_norm\.", "ATTN_NORM"), (layer + r"LayerNorm\.", "FFN_NORM"), (layer + r"intermediate\.dense\.", "UP"),
        (layer + r"output\.dense\.", "DOWN"), (layer + r"output\.LayerNorm\.", "FFN_NORM"), (r"\w+\.encoder\.LayerNorm\.", "FINAL_NORM"),
        (r"cls\.predictions\.transform\.dense\.", "HEAD_DENSE"), (r"cls\.predictions\.transform\.LayerNorm\.", "HEAD_NORM"),
        (r"lm_head\.dense\.", "HEAD_DENSE"), (r"lm_head\.layer_norm\.", "HEAD_NORM"))]
ROLES += [(r"cls\.predictions\.(?:decoder\.)?bias", "HEAD_B"), (r"lm_head\.(?:decoder\.)?bias", "HEAD_B"),
          (r"(?:cls\.predictions|lm_head)\.decoder\.weight", "HEAD_W")]
DENSE = {"Q_W", "K_W", "V_W", "O_W", "GATE_W", "UP_W", "DOWN_W", "HEAD_DENSE_W", "HEAD_W"}


def role_of(name):
    """-> (role, layer)."""
    for pattern, role in ROLES:
        m = re.fullmatch(pattern, name)
        if m:
            return role, int(m.group(1)) if m.groups() else 0
    raise KeyError(name)


def uniform(seed, n):
    """batch_uniform of test/train/tiny.h: n numbers in [0, 1)."""
    out = np.empty(n)
    for i in range(n):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        out[i] = (seed >> 11) * 2.0 ** -53
    return out


def factor(seed, rows, cols):
    """In float's precision, [-0.1, 0.1): what the test draws."""
    return torch.from_numpy(((uniform(seed, rows * cols) - 0.5) / 5).astype(np.float32).astype(np.float64)).view(rows, cols).requires_grad_()


# ------------------------------------------------------------ transformers in double

class RmsNorm(torch.nn.Module):
    def __init__(self, old):
        super().__init__()
        self.weight, self.eps = old.weight, float(np.float32(old.variance_epsilon))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class Rope(torch.nn.Module):
    def __init__(self, theta, dim, context):
        super().__init__()
        angles = np.arange(context)[:, None] * np.power(theta, -2.0 * np.arange(dim // 2) / dim)
        self.cos, self.sin = (torch.from_numpy(np.concatenate([f(angles)] * 2, -1).astype(np.float32).astype(np.float64)) for f in (np.cos, np.sin))

    def forward(self, x, position_ids):
        return self.cos[position_ids], self.sin[position_ids]


def in_double(model):
    model.double()
    for name, module in list(model.named_modules()):
        if type(module).__name__.endswith("RMSNorm"):
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, RmsNorm(module))
        elif isinstance(module, torch.nn.LayerNorm):
            module.eps = float(np.float32(module.eps))
    if hasattr(model, "model"):
        c = model.config
        model.model.rotary_emb = Rope(c.rope_parameters["rope_theta"], c.head_dim, c.max_position_embeddings)
    return model


def logits_of(model, weights, decoder, row):
    ids = torch.tensor([row["ids"]])
    if decoder:
        mask = torch.zeros(visible(row["live"]).shape, dtype=torch.float64).masked_fill(~visible(row["live"]), float("-inf"))[None, None]
        return functional_call(model, weights, (), dict(input_ids=ids, attention_mask=mask, use_cache=False), tie_weights=False).logits[0]
    n = ids.shape[1]
    offset = model.config.pad_token_id + 1 if model.base_model_prefix == "roberta" else 0
    return functional_call(model, weights, (), dict(input_ids=ids, position_ids=torch.arange(offset, offset + n)[None]), tie_weights=False).logits[0]


def loss_of(model, weights, decoder, shift, rows):
    """Sum over asks of weight times cross-entropy with label smoothing."""
    total = 0
    for row in rows:
        z = logits_of(model, weights, decoder, row)[torch.tensor(row["ask"]) - shift]
        each = F.cross_entropy(z, torch.tensor(row["target"]), reduction="none", label_smoothing=SMOOTHING)
        total = total + (each * torch.tensor(row["weight"], dtype=torch.float64)).sum()
    return total


# ---------------------------------------------------------------------- vectors

def make_rows(name, shift, context, vocab, padding):
    rng = random.Random(name)
    rows = []
    for n in LENGTHS:
        ask = sorted({n - 1, *(p for p in range(shift, n) if rng.random() < 0.5)})
        rows.append({"ids": [rng.choice([i for i in range(vocab) if i != padding]) for _ in range(n)],
                     "live": [int(rng.random() < 0.5) if context else 1 for _ in range(n)], "ask": ask,
                     "target": [rng.randrange(vocab) for _ in ask], "weight": [rng.randrange(1, 33) / 16 for _ in ask]})
    return rows


def describe(role, layer, part, seed, grad):
    g = grad.detach().numpy().ravel()
    rng = random.Random(seed)
    at = sorted({int(np.abs(g).argmax()), *(rng.randrange(len(g)) for _ in range(ELEMENTS - 1))})
    return {"role": role, "layer": layer, "part": part, "seed": seed, "n": len(g), "norm": float(np.sqrt((g * g).sum())),
            "along": float(((uniform(seed, len(g)) - 0.5) * g).sum()), "at": at, "grad": [float(g[i]) for i in at]}


def tiny(folder):
    model, shift, context, decoder, _ = load(folder)
    model = in_double(model)
    names = {n: p for n, p in model.named_parameters(remove_duplicate=False)}
    kept = {n: p.detach() for n, p in names.items()}
    roles = {n: role_of(n) for n in kept}
    tied = {n: min((m for m in names if names[m] is p), key=lambda m: (roles[m][0] != "EMBED", m)) for n, p in names.items()}    # one name of each tensor
    rows = make_rows(folder.name, shift, context, model.config.vocab_size, model.config.pad_token_id)
    out = {"context": context, "shift": shift, "smoothing": SMOOTHING, "rank": RANK, "alpha": ALPHA, "rows": rows}

    leaves = {n: kept[n].clone().requires_grad_() for n in kept if tied[n] == n}
    loss = loss_of(model, {n: leaves[tied[n]] for n in kept}, decoder, shift, rows)
    loss.backward()
    used = [n for n in leaves if leaves[n].grad is not None]
    assert len(used) == len(leaves), set(leaves) - set(used)
    # of the token types a .dlm file has the first
    out["all"] = {"loss": loss.item(), "tensors": [describe(*roles[n], "TENSOR", 100 + i, leaves[n].grad[:1] if roles[n][0] == "TYPE" else leaves[n].grad) for i, n in enumerate(used)]}

    factors, weights = {}, dict(kept)
    head_tied = any(roles[n][0] == "HEAD_W" and tied[n] != n for n in kept)
    for i, n in enumerate(n for n in kept if roles[n][0] in DENSE):
        w = kept[n]
        a, b = factor(1000 + 2 * i, RANK, w.shape[1]), factor(1001 + 2 * i, w.shape[0], RANK)
        factors[n] = (1000 + 2 * i, a, b)
        weights[n] = w + ALPHA / RANK * b @ a
    loss = loss_of(model, weights, decoder, shift, rows)
    loss.backward()
    tensors = []
    for n, (seed, a, b) in factors.items():
        role, layer = roles[n]
        role = "EMBED" if role == "HEAD_W" and head_tied else role
        tensors += [describe(role, layer, "LORA_A", seed, a.grad), describe(role, layer, "LORA_B", seed + 1, b.grad)]
    out["lora"] = {"loss": loss.item(), "tensors": tensors}
    return out


def main():
    torch.set_num_threads(1)
    for name in MODELS:
        path = pathlib.Path(sys.argv[2]) / (name + ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        value = tiny(pathlib.Path(sys.argv[1]) / name)
        path.write_text(json.dumps(value, separators=(",", ":")) + "\n")
        print(name, value["all"]["loss"], value["lora"]["loss"], len(value["all"]["tensors"]), len(value["lora"]["tensors"]))


if __name__ == "__main__":
    main()
