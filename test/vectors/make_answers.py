"""Whole answers in PyTorch, for test/engine/t_denoise.c: which lengths win, what bans and stop tokens do to an answer.

    python make_answers.py MODELS OUT [NAME...]        tiny checkpoints of make_models.py -> OUT/{ranges,bans,stops}.json

A file is a list of groups: model, dlm (the dlm.json that it is converted with; null: the checkpoint's own), forbidden (token ids), cases. A case is one of
make_denoise.py, whose history is the winner's; task "generate" has its prompt as `template` and is framed by the begin and end tokens alone.
"""
import itertools
import json
import math
import pathlib
import sys

from make_denoise import Close, Denoiser, apart, byte_map, find_bans, open_folder

FAMILIES = {"context": (["<|endoftext|>"], [], "<|mask|>"), "roberta": (["<s>"], ["</s>"], "<mask>")}
SWEEPS, BEAM = 3, 3
SURE = 2e-5                                            # probe scores closer than this are not tested


class Row:
    """The rows of one request: pieces of token ids with gaps between them."""

    def __init__(self, name, folder, texts, answer=False, stops=(), never=(), spell=None):
        front, back, mask = FAMILIES[name]
        self.loaded, self.tok, ids, special, bans = open_folder(folder, mask)
        self.stops = special(stops)
        self.bans = find_bans(self.tok, bans["mask"], self.loaded[0].config.vocab_size, answer, self.stops)
        self.bans["never"] = sorted({*self.bans["never"], *never})
        self.pieces = [ids(t) for t in texts]
        self.pieces[0] = special(front) + self.pieces[0]
        self.pieces[-1] = self.pieces[-1] + special(back)
        self.answer, self.spell = answer, spell

    def denoiser(self, lengths, o):
        row, canvas, last = list(self.pieces[0]), [], []
        for n, piece in zip(lengths, self.pieces[1:]):
            canvas += range(len(row), len(row) + n)
            last.append(len(canvas) - 1)
            row += [self.bans["mask"]] * n + piece
        return Denoiser(self.loaded, self.bans, o, row, canvas, [] if self.answer else last, None, stops=self.stops, spell=self.spell)


# --------------------------------------------------------------------- lengths

def bias(curve, n):
    a, b, c, d, e = curve
    return a * math.exp(-b * n) + c * math.exp(-d * n) + e


def search(row, allowed, o, curve):
    """allowed: the lengths of each gap -> (lengths, history, mean log-probability) of the winner, and all that was probed."""
    scores = {}

    def score(lengths):
        if lengths not in scores:
            peaks, at, total = row.denoiser(lengths, o).probe(), 0, 0.0
            for n in lengths:
                total += sum(peaks[at:at + n]) / n / bias(curve, n)
                at += n
            scores[lengths] = total / len(lengths)
        return scores[lengths]

    order = lambda lengths: (-scores[lengths], sum(lengths), lengths)
    at = tuple(options[(len(options) - 1) // 2] for options in allowed)
    for _ in range(SWEEPS):
        before = at
        for g, options in enumerate(allowed):
            if len(options) > 1:
                tried = [at[:g] + (n,) + at[g + 1:] for n in options]
                values = sorted(map(score, tried))
                clear(values[-1], values[-2])
                at = min(tried, key=order)
        if at == before or sum(len(options) > 1 for options in allowed) == 1:
            break
    best = sorted(scores, key=order) or [at]
    if len(best) > BEAM:
        clear(scores[best[BEAM - 1]], scores[best[BEAM]])
    decoded = [(lengths, *row.denoiser(lengths, o).decode()) for lengths in best[:BEAM]]
    decoded.sort(key=lambda d: (-d[2], sum(d[0]), d[0]))
    if len(decoded) > 1:
        apart(decoded[0][2], decoded[1][2])
    return decoded[0], best


def clear(a, b):
    if abs(a - b) < SURE:
        raise Close


ONE_GAP = ["Berlin is[MASK:1-6] of Germany", "A customer wrote that[MASK:2-9], and the box", "Where does the sun[MASK:1-4]? In the east", "He walked[MASK:3-12] again"]
TWO_GAPS = ["The answer to[MASK:1-4] is[MASK:2-7].", "Paris[MASK:1-5] and Rome[MASK:1-5] are old", "She[MASK:1-3] and they[MASK:3] played[MASK:1-6]", "In[MASK:2-4] days[MASK:1-8]!"]
PROMPTS = ["Where does the sun rise?", "How many days are in a week?", "Berlin is", "A customer wrote that"]
SAMPLERS = [{"sampler": "reparam-uncond-deterministic-cosine"}, {"sampler": "confidence", "steps": 4}]


def gaps(template):
    texts, allowed = [], []
    for part in template.split("[MASK:"):
        if texts:
            length, part = part.split("]", 1)
            least, _, most = length.partition("-")
            allowed.append(list(range(int(least), int(most or least) + 1)))
        texts.append(part)
    return texts, allowed


def doubling(most):
    return [n for n in (4, 8, 16, 32) if n < most] + [most]


def requests():
    for o, template in itertools.product(SAMPLERS, ONE_GAP + TWO_GAPS):
        yield {"template": template, "options": o}, *gaps(template), False
    for o, (prompt, most) in itertools.product(SAMPLERS, zip(PROMPTS, (20, 8, 3, 33))):
        o = {**o, "length": "probed", "tmpl": "{prompt}{canvas}"}
        yield {"task": "generate", "template": prompt, "max_tokens": most, "options": o}, [prompt, ""], [doubling(most)], True


def ranges(models):
    groups, won = [], set()
    plain, curve = [0, 0, 0, 0, 1], [0.6, 0.5, 0.5, 0.05, 0.1]
    for name, b in (("context", plain), ("roberta", plain), ("context", curve)):
        dlm, cases, moved = None, [], 0
        stops = {"context": ["<|im_end|>"], "roberta": ["</s>"]}[name]
        if b is curve:
            dlm = json.loads((models / name / "dlm.json").read_text())
            dlm["defaults"]["length_bias"] = b
        for case, texts, allowed, answer in requests():
            row = Row(name, models / name, texts, answer, stops if answer else ())
            try:
                (lengths, history, score), best = search(row, allowed, case["options"], b)
            except Close:
                continue
            won.add(best.index(lengths))
            moved += lengths != tuple(options[(len(options) - 1) // 2] for options in allowed)
            cases.append({**case, "lengths": lengths, "history": history, "logprob": round(score, 6)})
        print(name, len(cases), "cases of lengths,", moved, "not the middle ones")
        assert len(cases) >= 16 and moved >= 6 and {c.get("task") for c in cases} == {None, "generate"}
        groups.append({"model": name, "dlm": dlm, "forbidden": row.bans["broken"], "cases": cases})
    assert len(won) > 1, "the best probe always wins"
    return groups


# ----------------------------------------------------------------- bans, stops

BAN_TEXTS = ["Berlin is[MASK:6] of Germany, Paris[MASK:6].", "A customer wrote that[MASK:7], and the box[MASK:5]!", "The small boat left[MASK:12] with two boxes"]


class Spelling:
    """Would a token complete a banned text with the known tokens around it? Fixed text counts in a template, not before an answer."""

    def __init__(self, tok, texts, answer):
        letters, special = byte_map(), {i for i, t in tok.get_added_tokens_decoder().items() if t.special}
        self.bytes = lambda i: b"" if i in special else bytes(letters[c] for c in tok.id_to_token(i))
        self.texts, self.answer = [t.encode() for t in texts], answer

    def run(self, d, position, way):
        out, at = b"", position + way
        while 0 <= at < len(d.row):
            token = d.token[d.canvas.index(at)] if at in d.canvas else None if self.answer else d.row[at]
            if token is None:
                break
            out = self.bytes(token) + out if way < 0 else out + self.bytes(token)
            at += way
        return out

    def __call__(self, d, i, token):
        left, right, mine = self.run(d, d.canvas[i], -1), self.run(d, d.canvas[i], 1), self.bytes(token)
        text, first, end = left + mine + right, len(left), len(left) + len(mine)
        return any(text[at:at + len(t)] == t for t in self.texts for at in range(max(first - len(t) + 1, 0), end))


def written(row, d):
    """The text of the canvas, gap by gap."""
    spelling = Spelling(row.tok, [], True)
    out = {}
    for i, p in enumerate(d.canvas):
        out[i] = spelling.bytes(d.token[i])
    return out


def banned(name, folder, template, o, choose):
    """Decode, ban what `choose` picks from the answer, decode again; None if that changes nothing."""
    answer = template[2]
    stops = {"context": ["<|im_end|>"], "roberta": ["</s>"]}[name] if answer else ()
    free = Row(name, folder, template[0], answer, stops)
    d = free.denoiser(template[1], o)
    d.decode()
    texts = choose(written(free, d), d)
    spelling = Spelling(free.tok, texts, answer)
    rows = free.loaded[0].config.vocab_size
    holding = [i for i in range(rows) if free.tok.id_to_token(i) and any(t in spelling.bytes(i) for t in spelling.texts)]
    row = Row(name, folder, template[0], answer, stops, holding, spelling)
    d = row.denoiser(template[1], o)
    history, score = d.decode()
    if any(t in b"".join(written(row, d).values()) for t in spelling.texts):
        raise Close                                    # two gaps side by side in this joining only, or no way out: no test
    return texts, d.passed_over, history, score, row


def one_token(text, d):
    return [max((text[i] for i in range(2, len(text)) if d.token[i] not in d.stops), key=len).decode()]


def two_tokens(text, d):
    pairs = [(text[i] + text[i + 1]) for i in range(len(text) - 1) if d.canvas[i] + 1 == d.canvas[i + 1]]
    return [pairs[len(pairs) // 2].decode(), pairs[0].decode()]


def bans(models):
    groups = []
    for name in FAMILIES:
        cases, next_best = [], 0
        rows = [{"template": t} for t in BAN_TEXTS] + [{"task": "generate", "template": p, "max_tokens": n} for p, n in zip(PROMPTS, (12, 9, 7, 16))]
        for o, choose, case in itertools.product(SAMPLERS + [{"sampler": "left-to-right"}, {"sampler": "reparam-cond-deterministic-linear", "steps": 9}],
                                                 (one_token, two_tokens), rows):
            if "task" in case:
                template = [case["template"], ""], [case["max_tokens"]], True
                o = {**o, "tmpl": "{prompt}{canvas}", "length": "fixed"}
            else:
                texts, allowed = gaps(case["template"])
                template = texts, [a[0] for a in allowed], False
            try:
                ban, passed_over, history, score, row = banned(name, models / name, template, o, choose)
            except Close:
                continue
            next_best += passed_over > 0
            cases.append({**case, "options": {**o, "ban": ban}, "history": history, "logprob": round(score, 6)})
        print(name, len(cases), "cases of bans,", next_best, "where neighbours decide")
        assert len(cases) >= 20 and next_best >= 8
        groups.append({"model": name, "dlm": None, "forbidden": row.bans["broken"], "cases": cases})
    return groups


def stops(models):
    """Tokens that the model likes, made its stop token: the answer's canvas, and the mean over what stands before the first of them."""
    groups, name = [], "context"
    folder, cut = models / name, 0
    for prompt, at in itertools.product(PROMPTS, (2, 4)):
        free = Row(name, folder, [prompt, ""], True)
        d = free.denoiser([10], {"sampler": "confidence"})
        try:
            d.decode()
        except Close:
            continue
        token = d.token[at]
        text = Spelling(free.tok, [], True).bytes(token).decode()
        if free.tok.encode(text, add_special_tokens=False).ids != [token]:
            continue                                   # dlm.json names it by its text
        dlm = json.loads((folder / "dlm.json").read_text())
        dlm["stop_tokens"] = [text]
        cases = []
        for p, n, o in itertools.product(PROMPTS, (5, 12), SAMPLERS + [{"sampler": "left-to-right"}, {"sampler": "entropy", "steps": 6}]):
            row = Row(name, folder, [p, ""], True)
            row.stops = [token]
            d = row.denoiser([n], o)
            try:
                history, score = d.decode()
            except Close:
                continue
            if token not in d.token:
                continue
            cut += d.token.index(token) < n - 1
            cases.append({"task": "generate", "template": p, "max_tokens": n, "options": {**o, "length": "fixed", "tmpl": "{prompt}{canvas}"},
                          "kept": d.token.index(token), "history": history, "logprob": round(score, 6)})
        if cases:
            groups.append({"model": name, "dlm": dlm, "forbidden": free.bans["broken"], "cases": cases[:12]})
    print(name, sum(len(g["cases"]) for g in groups), "cases of stop tokens in", len(groups), "groups,", cut, "with more behind it")
    assert len(groups) >= 2 and cut >= 8
    return groups


def main():
    models, out = map(pathlib.Path, sys.argv[1:3])
    for name, make in (("ranges", ranges), ("bans", bans), ("stops", stops)):
        if name in sys.argv[3:] or len(sys.argv) == 3:
            (out / f"{name}.json").write_text(json.dumps(make(models), separators=(",", ":")).replace('{"template"', '\n{"template"').replace('{"task"', '\n{"task"') + "\n")


if __name__ == "__main__":
    main()
