"""A space typed before a gap in PyTorch, for tokenizers that are not byte-level BPE: WordPiece and Metaspace.

    python make_heal.py MODELS OUT        tiny checkpoints of make_models.py -> OUT/heal.json

The file is of make_answers.py's form: a list of groups with the cases of make_denoise.py. What may stand first in a gap is read off the pieces as tokenizer.json writes them:

WordPiece  behind a typed space any piece but "##..."; behind a letter or digit a "##..." piece or a mark, behind a mark a piece that begins a word. No token is a space.
Metaspace  behind a typed space U+2581 and more, or a token that no vocabulary entry has a U+2581 for, behind a lone U+2581; else what begins with no U+2581.
"""
import json
import pathlib
import sys
import unicodedata

import torch
from tokenizers import Tokenizer, pre_tokenizers

from make_denoise import Close, Denoiser, layout, second_form, split
from make_forward import load

MARK = "\u2581"
TEXTS = ["The answer is [MASK:3] and they play[MASK:2].", "She walk[MASK:1] to the [MASK:2]", "the box is ([MASK:1]) with [MASK:1] days.", "how many [MASK:1] [MASK:2] are in a week?",
         "the capital of France is [MASK:3]", "nobody stop[MASK:3]", "10 days: [MASK:2], no more"]
ALONE = [f"{a} [MASK:{n}]{b}" for n in (1, 2, 3) for a in ("Age:", "the answer", "in the year", "10 20", "they play") for b in (" days.", "")]
INSIDE = ["nobody stop[MASK:3]", "She walk[MASK:1] and they play[MASK:2].", "the box[MASK:2]", "the question[MASK:3] was 10[MASK:1], no more"]
OPTIONS = [{"sampler": "reparam-uncond-deterministic-cosine"}, {"sampler": "confidence"}]


def is_mark(c):
    """BERT's punctuation: ASCII's as well as Unicode's."""
    return c.isascii() and not c.isalnum() and c.isprintable() and c != " " or unicodedata.category(c).startswith("P")


class WordPiece:
    def __init__(self, tok, pieces):
        self.encode = lambda text, start: tok.encode(text, add_special_tokens=False).ids
        self.words = {i for i, p in pieces.items() if not p.startswith("##")}
        self.inside = {i for i, p in pieces.items() if p.startswith("##") or is_mark(p[0])}
        self.space_end, self.sets, self.few = [], None, []

    def first(self, before, lone):
        return self.words if before.endswith(" ") or is_mark(before[-1]) else self.inside


class Metaspace:
    def __init__(self, tok, pieces):
        onward = Tokenizer.from_str(tok.to_str())      # text that goes on after a gap has no U+2581 that was not typed
        onward.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="never")
        self.encode = lambda text, start: (tok if start else onward).encode(text, add_special_tokens=False).ids
        marked = {i: p for i, p in pieces.items() if p.startswith(MARK)}
        self.spaced = set(marked)
        self.words = sorted(i for i, p in marked.items() if len(p) > 1)
        self.unspaced = set(pieces) - self.spaced
        [space] = [i for i, p in marked.items() if p == MARK]
        carried = {marked[i][1] for i in self.words}
        self.alone = {i for i in self.unspaced if pieces[i][0] not in carried and self.encode(" " + pieces[i], False) == [space, i]}
        self.space_end = [i for i, p in pieces.items() if p.endswith(MARK)]
        self.sets = self.words, self.spaced, self.alone, space
        # random weights rarely like the space token: leave them little else but digits
        keep = {space, *(i for i in self.alone if pieces[i].isdigit()), *(i for i, p in marked.items() if p[1:] in ("su", "1"))}
        self.few = sorted(set(pieces) - keep)

    def first(self, before, lone):
        return self.alone if lone else set(self.words) if before.endswith(" ") else self.unspaced


def case(loaded, family, front, back, bans, template, o):
    """-> (history, mean log-probability, gaps behind a space token of their own)."""
    texts, lengths = split(template)
    typed = [t.endswith(" ") for t in texts[:-1]]
    pieces = [family.encode(t[:-1] if g < len(lengths) and typed[g] else t, g == 0) for g, t in enumerate(texts)]
    pieces[0], pieces[-1] = front + pieces[0], pieces[-1] + back
    lone = [family.sets is not None and typed[g] and second_form(loaded, bans, pieces, lengths, typed, g, family.sets) for g in range(len(lengths))]
    row, canvas, first = layout(pieces, lengths, lone, family.sets and family.sets[3], bans["mask"])
    rules = {}
    for g, at in enumerate(first):
        allowed = family.first(texts[g], lone[g])
        rules[at] = [i for i in range(loaded[0].config.vocab_size) if i not in allowed]
    last = [at + n - 1 for at, n in zip(first, lengths)]
    return *Denoiser(loaded, bans, o, row, canvas, last, None, rules).decode(), sum(lone)


def group(folder, kind, front, back, mask):
    loaded = load(folder)
    tok = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tok.encode_special_tokens = True
    special = {i for i, t in tok.get_added_tokens_decoder().items() if t.special}
    rows = range(loaded[0].config.vocab_size)
    family = kind(tok, {i: tok.id_to_token(i) for i in rows if i not in special})
    front, back = [[tok.token_to_id(n) for n in names] for names in (front, back)]
    cases, forms, close = [], 0, 0
    for template in TEXTS + ALONE if family.sets else INSIDE + TEXTS:
        few = family.few if template in ALONE else []
        bans = {"mask": tok.token_to_id(mask), "never": sorted({*special, *few}), "space_end": family.space_end}
        for o in OPTIONS:
            try:
                history, score, lone = case(loaded, family, front, back, bans, template, o)
            except Close:
                close += 1
                continue
            if few and not lone:
                continue
            forms += lone
            cases.append({"template": template, "options": {**o, "heal": True}, "history": history, "logprob": round(score, 6)} | ({"forbidden": few} if few else {}))
    print(folder.name, len(cases), "cases,", forms, "gaps behind a space of their own,", close, "too close")
    assert len(cases) >= 8 and (forms > 0 or family.sets is None)
    return {"model": folder.name, "dlm": None, "forbidden": [], "cases": cases}


def main():
    torch.set_num_threads(1)                           # tiny models: threads only get in each other's way
    models, out = map(pathlib.Path, sys.argv[1:3])
    groups = [group(models / "bert", WordPiece, ["[CLS]"], ["[SEP]"], "[MASK]"), group(models / "xlm-roberta", Metaspace, ["<s>"], ["</s>"], "<mask>")]
    (out / "heal.json").write_text(json.dumps(groups, indent=None, separators=(",", ":")).replace('{"template"', '\n{"template"') + "\n")


if __name__ == "__main__":
    main()
