"""Denoising step by step in PyTorch, for test/engine/t_denoise.c: an implementation of every sampler rule that shares no code with the engine.

    python make_denoise.py MODELS OUT        tiny checkpoints of make_models.py -> OUT/NAME.json

A case has a template (plain boundaries), options, and the canvas after every step that changed it: token ids, -1 while masked; and the mean final log-probability.
Cases whose decisions are closer than what float rounding may turn over are left out, and another text is tried instead, so the engine has to agree on all of them.
"""
import functools
import hashlib
import json
import math
import pathlib
import struct
import sys

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from make_forward import load, run

TEXTS = ["The answer to[MASK:4] is[MASK:3] and nobody[MASK:5].", "Berlin is[MASK:6] of Germany, Paris[MASK:6].", "A customer wrote that[MASK:7], and the box[MASK:5]!",
         "He walked[MASK:3], she talked[MASK:4], they played[MASK:5] again", "The small boat left[MASK:12] with two boxes", "Where does the sun[MASK:2]? How many days[MASK:10]"]
SPACES = b" \t\n\v\f\r"
KINDS = {"confidence": 2, "margin": 3, "entropy": 4, "random": 5, "left-to-right": 6}
TIGHT = 2e-4                                           # decisions closer than this are not tested


class Close(Exception):
    """Two values too close for float arithmetic to order them for sure."""


# ------------------------------------------------------------------ randomness

def philox(counter, key):
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k1, p0 & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


class Noise:
    """Keyed by seed and SHA-256 of the row and its options; uniform(candidate, step, position, draw)."""

    def __init__(self, seed, digest):
        self.word = struct.unpack("<4I", hashlib.sha256(struct.pack("<q", seed) + digest).digest()[:16])

    def uniform(self, step, position, draw):
        w = self.word
        c = philox((0 ^ w[2], step ^ w[3], position, draw), w[:2])
        return (((c[1] << 32 | c[0]) >> 12) + 0.5) * 2.0 ** -52

    def gumbel(self, step, position, draw):
        return -math.log(-math.log(self.uniform(step, position, draw)))


def request_digest(pieces, lengths, o, forbidden):
    h = hashlib.sha256()
    put = lambda *values: [h.update(struct.pack("<q", v)) for v in values]
    put(7); h.update(b"denoise"); put(0, len(lengths))
    for g, piece in enumerate(pieces):
        put(len(piece), *piece)
        if g < len(lengths):
            put(0, 1, lengths[g])                      # no rule for the first token, one length
    kind, cond, linear, noise = sampler_fields(o["sampler"])
    put(o.get("steps", 0), kind, cond, linear, o.get("block_length", 0), o.get("top_k", 0), 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0)
    for v in (o.get("temperature", 0), noise, o.get("threshold", 0), o.get("cfg_scale", 0), o.get("top_p", 0), 0):
        h.update(struct.pack("<d", v))
    put(-1, -1)
    h.update(forbidden)
    return h.digest()


# -------------------------------------------------------------------- samplers

def sampler_fields(name):
    if not name.startswith("reparam-"):
        return KINDS[name], 0, 0, 0.0
    _, which, how, shape = name.split("-")
    return 1, int(which == "cond"), int(shape == "linear"), float(how.removeprefix("stochastic") or 0) if how.startswith("stochastic") else 0.0


def default_steps(n):
    return max(min(n, 16), -(-n // 4))


def ordered(values):
    """Indices, the largest value first; values that are too close are no test."""
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    return order


def apart(a, b):
    if abs(a - b) < TIGHT:
        raise Close


class Denoiser:
    """rules: canvas position -> tokens it may not hold; stops: tokens that end an answer; spell: what completes a banned text (Spelling)."""

    def __init__(self, loaded, bans, o, row, canvas, last, noise, rules=(), stops=(), spell=None):
        self.model, self.shift, self.context, self.decoder, _ = loaded
        self.mask, self.o, self.row, self.canvas, self.last, self.noise = bans["mask"], o, list(row), canvas, last, noise
        self.never, self.space_end, self.rules = bans["never"], bans["space_end"], dict(rules)
        n = len(canvas)
        self.token, self.score = [None] * n, [-math.inf] * n
        self.kind, self.cond, self.linear, self.x = sampler_fields(o["sampler"])
        self.step, self.history, self.stops, self.spell, self.stopped, self.passed_over = 0, [], list(stops), spell, False, 0

    def logits(self, blind):
        ids = [self.mask if blind else t for t in self.row]
        for i, p in enumerate(self.canvas):
            ids[p] = self.mask if self.token[i] is None else self.token[i]
        live = [1] * len(ids)
        if self.context:
            live = [int(p in self.canvas or p + 1 in self.canvas) for p in range(len(ids))]
        return run(self.model, self.decoder, ids, live)[1][[p - self.shift for p in self.canvas]]

    def candidates(self):
        """-> (token, log-probability, margin, entropy, largest log-probability, all log-probabilities) a canvas position."""
        l = self.logits(False)
        w = self.o.get("cfg_scale", 0)
        if w:
            u = self.logits(True)
            l = u + (w + 1) * (l - u)
        l = l.clone()
        l[:, self.never] = -math.inf
        for i in self.last:
            l[i, self.space_end] = -math.inf
        for i, banned in self.rules.items():
            l[i, banned] = -math.inf
        if self.stops:
            l[0, self.stops] = -math.inf
        z = F.log_softmax(l.double(), -1)
        return [self.choose(z[i], i) for i in range(len(self.canvas))]

    def probe(self):
        """Mean over the canvas of the largest probability at the first step."""
        return [math.exp(found[4]) for found in self.candidates()]

    def pick(self, i, z):
        """The best token that completes no banned text with its neighbours as they stand."""
        order = z.topk(8).indices.tolist()
        for a, b in zip(order, order[1:]):
            apart(z[a].item(), z[b].item())
            if self.spell is None or not self.spell(self, i, a):
                return a
            self.passed_over += 1
        raise Close

    def choose(self, z, i):
        top = z.topk(2)
        p = z.exp()
        entropy = -(p[p > 0] * z[p > 0]).sum().item()
        margin = (top.values[0].exp() - top.values[1].exp()).item()
        t = self.o.get("temperature", 0)
        peak = top.values[0].item()
        if self.stops and any(v is None for v in self.token[:i]):      # weighed, but not to be taken
            z = z.clone()
            z[self.stops] = -math.inf
        token = self.draw(z.clone(), t, i) if t else self.pick(i, z)
        return token, z[token].item(), margin, entropy, peak, z

    def take(self, i, found):
        """Reveal; what was revealed before it in this step may have changed what it would spell."""
        token = self.pick(i, found[i][5]) if self.spell else found[i][0]
        self.token[i], self.score[i] = token, found[i][5][token].item()
        self.stopped |= token in self.stops

    def draw(self, z, t, i):
        order = z.sort(descending=True).indices
        k = self.o.get("top_k", 0)
        if k:
            apart(z[order[k - 1]].item(), z[order[k]].item())
            z[order[k:]] = -math.inf
        if self.o.get("top_p", 0):
            p = F.softmax(z, -1)
            total, keep = 0.0, 0
            while total < self.o["top_p"]:             # the smallest set that reaches top_p
                apart(total + p[order[keep]].item(), self.o["top_p"])
                total += p[order[keep]].item()
                keep += 1
            z[order[keep:]] = -math.inf
        p = F.softmax(z / t, -1).cumsum(-1)
        u = self.noise.uniform(self.step + 1, i, 0)
        if (p - u).abs().min().item() < 1e-5:
            raise Close
        return int((p <= u).sum().item())

    # ---- rules

    def kept_masked(self, n, s, S):
        if self.kind == 1:
            rate = 1 - s / S if self.linear else math.cos(math.pi / 2 * s / S)
            return rate, int(torch.tensor(float(n)) * torch.tensor(rate, dtype=torch.float32))
        if self.one_by_one:
            return 0.0, max(n - s, 0)
        return 0.0, max(n - (n // S * s + min(s, n % S)), 0)

    def rdm(self, window, found, rate, keep):
        q = [found[i][1] + (self.x * rate * self.noise.gumbel(self.step + 1, i, 1) if self.x else 0) for i in window]
        order = ordered(q)
        if 0 < keep < len(window):
            apart(q[order[len(window) - keep]], q[order[len(window) - keep - 1]])
        limit = math.log(self.o["threshold"]) if self.o.get("threshold") else math.inf
        if self.spell:
            for a, b in zip(order, order[1:]):
                apart(q[a], q[b])
        low = {window[k] for k in order[len(window) - keep:] if found[window[k]][1] <= limit} if keep else set()
        new = [window[k] for k in order if self.token[window[k]] is None and window[k] not in low]
        for i in window:
            token, score = found[i][:2]
            if self.o.get("threshold"):
                apart(score, limit)
            if self.token[i] is not None and i in low:
                if self.cond and token == self.token[i]:
                    if abs(score - self.score[i]) < 1e-5:      # the same canvas gives the same score: not below
                        continue
                    apart(score, self.score[i])
                if not self.cond or (token == self.token[i] and score < self.score[i]):
                    self.token[i], self.score[i] = None, -math.inf
        for i in new:
            self.take(i, found)

    def reveal(self, window, found, keep):
        masked = [i for i in window if self.token[i] is None]
        measure = {2: lambda i: found[i][1], 3: lambda i: found[i][2], 4: lambda i: -found[i][3],
                   5: lambda i: self.noise.uniform(self.step + 1, i, 2), 6: lambda i: -i}[self.kind]
        values = [measure(i) for i in masked]
        order = ordered(values)
        quota = max(len(masked) - keep, 1)
        if quota < len(masked):
            apart(values[order[quota - 1]], values[order[quota]])
        limit = math.log(self.o["threshold"]) if self.o.get("threshold") else math.inf
        if self.spell:
            for a, b in zip(order, order[1:]):
                apart(values[a], values[b])
        for rank, k in enumerate(order):
            i = masked[k]
            if self.o.get("threshold"):
                apart(found[i][1], limit)
            if rank < quota or found[i][1] > limit:
                self.take(i, found)

    def block(self, window, S):
        for s in range(1, S + 1):
            if self.kind != 1 and all(self.token[i] is not None for i in window):
                return
            if self.kind == 1 and all(self.token[i] is not None for i in window) and self.kept_masked(len(window), s, S)[1] == 0:
                return
            found = self.candidates()
            rate, keep = self.kept_masked(len(window), s, S)
            before = list(self.token)
            if self.kind == 1:
                self.rdm(window, found, rate, keep)
            else:
                self.reveal(window, found, keep)
            self.step += 1
            if before != self.token:
                self.history.append({"step": self.step, "canvas": [-1 if t is None else t for t in self.token]})
            if self.stopped and self.kind != 1:
                return

    def decode(self):
        n = len(self.canvas)
        self.one_by_one = self.kind != 1 and self.o.get("threshold", 0) > 0 and not self.o.get("steps")
        size = self.o.get("block_length") or n
        blocks = [list(range(b, min(b + size, n))) for b in range(0, n, size)]
        S = self.o.get("steps") or default_steps(n)
        for b, window in enumerate(blocks):
            self.block(window, len(window) if self.one_by_one else max(S // len(blocks) + (b < S % len(blocks)), 1))
            if self.stopped and self.kind != 1:        # what follows a stop token is cut
                break
        assert self.stopped or all(t is not None for t in self.token)
        kept = next((i for i in range(n) if self.token[i] is None or self.token[i] in self.stops), n)
        return self.history, sum(self.score[:kept]) / kept


# ----------------------------------------------------------------------- cases

CASES = ([{"sampler": f"reparam-{which}-deterministic-{shape}", **steps} for which in ("uncond", "cond") for shape in ("cosine", "linear")
          for steps in ({}, {"steps": 5}, {"steps": 30})]
         + [{"sampler": "reparam-uncond-stochastic1.0-cosine", "steps": 8, "seed": 7}, {"sampler": "reparam-cond-stochastic0.5-linear", "steps": 7, "seed": -3},
            {"sampler": "reparam-uncond-deterministic-cosine", "steps": 8, "temperature": 0.7, "seed": 11},
            {"sampler": "reparam-uncond-deterministic-cosine", "steps": 9, "threshold": 0.2}, {"sampler": "reparam-uncond-deterministic-cosine", "steps": 9, "block_length": 5},
            {"sampler": "reparam-cond-deterministic-linear", "steps": 6, "cfg_scale": 0.7}]
         + [{"sampler": kind, **more} for kind in KINDS for more in ({}, {"steps": 5, "seed": 4})]
         + [{"sampler": "confidence", "threshold": 0.25}, {"sampler": "confidence", "steps": 4, "threshold": 0.3}, {"sampler": "margin", "threshold": 0.25, "block_length": 4},
            {"sampler": "confidence", "steps": 7, "block_length": 5}, {"sampler": "entropy", "steps": 6, "cfg_scale": 1.5},
            {"sampler": "confidence", "temperature": 1.0, "seed": 1}, {"sampler": "confidence", "temperature": 1.3, "top_k": 5, "seed": 2, "steps": 6},
            {"sampler": "left-to-right", "temperature": 0.9, "top_p": 0.7, "seed": 3}, {"sampler": "entropy", "temperature": 1.1, "top_k": 20, "top_p": 0.8, "seed": 2 ** 62, "steps": 6}])


def byte_map():
    """GPT-2's letters for bytes -> byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(rest)}


def find_bans(tok, mask, rows, answer=False, stops=()):
    letters = byte_map()
    special = {i for i, t in tok.get_added_tokens_decoder().items() if t.special}
    never, space_end, broken = [], [], []
    for i in range(rows):
        piece = tok.id_to_token(i)
        if i in stops:
            continue
        if i in special or i == mask or piece is None:
            never.append(i)
            continue
        text = bytes(letters[c] for c in piece)
        try:
            text.decode()
        except UnicodeDecodeError:                     # half a character: the caller forbids it, so that no text needs repair
            broken.append(i)
            never.append(i)
            continue
        if 0 in text or (not answer and any(10 <= b <= 13 for b in text)):
            never.append(i)
        if text[-1] in SPACES:
            space_end.append(i)
    return {"mask": mask, "never": never, "space_end": space_end, "broken": broken}


def split(template):
    pieces, lengths = [], []
    for part in template.split("[MASK:"):
        if lengths or pieces:
            n, part = part.split("]", 1)
            lengths.append(int(n))
        pieces.append(part)
    return pieces, lengths


@functools.lru_cache
def open_folder(folder, mask_token):
    loaded = load(folder)
    tok = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tok.encode_special_tokens = True
    ids = lambda s: tok.encode(s, add_special_tokens=False).ids if s else []
    special = lambda names: [tok.token_to_id(n) for n in names]
    return loaded, tok, ids, special, find_bans(tok, tok.token_to_id(mask_token), loaded[0].config.vocab_size)


# A space typed before a gap: the first token brings it, or (second form) a space token of its own stands before the gap.

HEAL_TEXTS = ["Order number: [MASK:3] of [MASK:2].", "There are [MASK:2] days in a ([MASK:1]) week, and [MASK:4] weeks", "Age: [MASK:2]. Price:[MASK:2] dollars",
              "Berlin is [MASK:1] of Germany", "She is [MASK:3] and he is [MASK:3]!", "It was in [MASK:4]"]
HEAL_MORE = [f"{a} [MASK:{n}]{b}" for n in (1, 2, 3) for a in ("Age:", "Price", "There are", "Order number", "in the year", "and", "How many", "10 20") for b in (" 30", " dollars.", "")]


def layout(pieces, lengths, lone, space, mask):
    """-> (row, canvas, first slot of each gap)."""
    row, canvas, first = list(pieces[0]), [], []
    for g, n in enumerate(lengths):
        row += [space] if lone[g] else []
        first.append(len(canvas))
        canvas += range(len(row), len(row) + n)
        row += [mask] * n + pieces[g + 1]
    return row, canvas, first


def first_tokens(tok, ids, bans, rows):
    """-> (a space and more, any that begin with a space, those that stand behind a space token of their own, the space token)."""
    letters = byte_map()
    text = {i: bytes(letters[c] for c in tok.id_to_token(i)) for i in range(rows) if i not in bans["never"] or i in bans["broken"]}
    word = [i for i, t in text.items() if t[:1] == b" " and len(t) > 1 and t[1] not in SPACES]
    spaced = [i for i, t in text.items() if t[:1] == b" "]
    [space] = ids(" ")
    carried = {text[i][1:].decode()[0] for i in spaced if len(text[i]) > 1 and i not in bans["broken"]}      # some token has a space before these
    alone = [i for i, t in text.items() if i not in bans["broken"] and i not in spaced and t.decode()[0] not in carried
             and ids(" " + t.decode()) == [space, i]]
    return word, spaced, alone, space


def second_form(loaded, bans, pieces, lengths, typed, g, sets):
    word, _, alone, space = sets
    none = [False] * len(lengths)

    def scores(lengths):
        row, canvas, first = layout(pieces, lengths, none, space, bans["mask"])
        l = Denoiser(loaded, bans, {"sampler": "confidence"}, row, canvas, [], None).logits(False).clone()
        l[:, bans["never"]] = -math.inf
        return F.log_softmax(l.double(), -1)[first[g]:first[g] + 2]

    allowed = [i for i in alone if i not in bans["never"]]
    a = scores(lengths)[0][[i for i in word if i not in bans["never"]]].max().item()
    longer = scores([n + typed[k] for k, n in enumerate(lengths)])        # every gap behind a typed space in its second form
    b = longer[0][space].item() + longer[1][allowed].max().item()
    apart(a, b)
    return b > a


def heal(folder, mask_token):
    loaded, tok, ids, special, bans = open_folder(folder, mask_token)
    rows = loaded[0].config.vocab_size
    sets = first_tokens(tok, ids, bans, rows)
    word, spaced, alone, space = sets
    out, forms = [], 0
    plain = bans
    for template in HEAL_TEXTS + HEAL_MORE:
        few = template in HEAL_MORE                    # random weights rarely like the space token: leave them two words to choose from
        bans = {**plain, "never": sorted({*plain["never"], *word[:-2]})} if few else plain
        for o in ({"sampler": "reparam-uncond-deterministic-cosine"}, {"sampler": "confidence", "steps": 3}):
            texts, lengths = split(template)
            typed = [t.endswith(" ") for t in texts[:-1]]
            pieces = [ids(t[:-1] if g < len(lengths) and typed[g] else t) for g, t in enumerate(texts)]
            pieces[0] = special(["<|endoftext|>"]) + pieces[0]
            try:
                lone = [typed[g] and second_form(loaded, bans, pieces, lengths, typed, g, sets) for g in range(len(lengths))]
                if few and not any(lone):
                    continue
                row, canvas, first = layout(pieces, lengths, lone, space, bans["mask"])
                allowed = [set(alone) if lone[g] else set(word) if typed[g] else set(range(rows)) - set(spaced) for g in range(len(lengths))]
                rules = {first[g]: [i for i in range(rows) if i not in allowed[g]] for g in range(len(lengths))}
                last = [f + n - 1 for f, n in zip(first, lengths)]
                history, score = Denoiser(loaded, bans, o, row, canvas, last, None, rules).decode()
            except Close:
                continue
            forms += sum(lone)
            out.append({"template": template, "options": {**o, "heal": True}, "history": history, "logprob": round(score, 6),
                        "forbidden": bans["broken"] + (word[:-2] if few else [])})
    print(folder.name, len(out), "cases of healing,", forms, "gaps behind a space of their own")
    assert len(out) >= 8 and forms >= 2
    return {"forbidden": plain["broken"], "cases": out}


def make(folder, front, back, mask_token):
    loaded, tok, ids, special, bans = open_folder(folder, mask_token)
    bits = bytearray((tok.get_vocab_size() + 7) // 8)
    for i in bans["broken"]:
        bits[i // 8] |= 1 << i % 8
    out, skipped = [], 0
    for number, o in enumerate(CASES):
        for turn in range(len(TEXTS)):
            template = TEXTS[(number + turn) % len(TEXTS)]
            texts, lengths = split(template)
            pieces = [ids(t) for t in texts]
            pieces[0] = special(front) + pieces[0]
            pieces[-1] = pieces[-1] + special(back)
            row, canvas, last = list(pieces[0]), [], []
            for n, piece in zip(lengths, pieces[1:]):
                canvas += range(len(row), len(row) + n)
                last.append(len(canvas) - 1)
                row += [bans["mask"]] * n + piece
            d = Denoiser(loaded, bans, o, row, canvas, last, Noise(o.get("seed", 0), request_digest(pieces, lengths, o, bytes(bits))))
            try:
                history, score = d.decode()
            except Close:
                skipped += 1
                continue
            out.append({"template": template, "options": o, "history": history, "logprob": round(score, 6)})
            break
    print(folder.name, len(out), "cases of", len(CASES), ",", skipped, "texts too close")
    assert len(out) >= len(CASES) - 4
    return {"forbidden": bans["broken"], "cases": out}


def main():
    models, out = map(pathlib.Path, sys.argv[1:3])
    for name, front, back, mask in (("context", ["<|endoftext|>"], [], "<|mask|>"), ("roberta", ["<s>"], ["</s>"], "<mask>")):
        (out / f"{name}.json").write_text(json.dumps(make(models / name, front, back, mask), indent=0) + "\n")
    (out / "qwen3.json").write_text(json.dumps(heal(models / "qwen3", "<|mask|>"), indent=0) + "\n")


if __name__ == "__main__":
    main()
