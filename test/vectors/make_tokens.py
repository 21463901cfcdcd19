#!/usr/bin/env python3
"""Make test/vectors/tokens/*.json: texts, their ids and decoded forms, by the `tokenizers` package.

    make_tokens.py OUTPUT_FOLDER TOKENIZER.json[=NAME] ...

Each tokenizer gives OUTPUT_FOLDER/NAME.json (NAME defaults to the file's stem):

    {"tokenizer": path, "cases": [{"text": hex, "ids": [...], "decoded": hex}, ...],
     "all": hash of the ids of every code point (only for the tokenizers of ALL)}

Texts are in hex: they hold NULs. encode_special_tokens is on and no special token is added. The one rule that
differs from `tokenizers` (special and unknown pieces never match inside a text) is made there by giving those
pieces a text that cannot be written before the tokenizer is loaded.
"""
import json
import os
import random
import sys

from tokenizers import Tokenizer

ASSIGNED = [(0x20, 0x7f), (0xa0, 0x250), (0x300, 0x370), (0x370, 0x600), (0x600, 0x700), (0x900, 0xe80), (0x1100, 0x1200),
            (0x1e00, 0x2000), (0x2000, 0x2070), (0x20d0, 0x20f1), (0x2100, 0x2400), (0x2580, 0x27c0), (0x3000, 0x3100),
            (0x4e00, 0x4f00), (0xac00, 0xad00), (0xf900, 0xfb50), (0xfe00, 0xfe70), (0xff00, 0xfff0),
            (0x1d400, 0x1d4ff), (0x1f1e6, 0x1f200), (0x1f300, 0x1f650), (0x20000, 0x20010), (0xe0000, 0xe0080)]

SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009" \
         "\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"

WORDS = """the of and Paris don't I'll we've you're it's I'm he'd THEY'RE 's 'S 'Ll naïve café coöperate Ångström
ﬁne Straße İstanbul ΑΣΣ Москва Київ العربية שלום हिन्दी ประเทศไทย 日本語 中文字符 한국어 각 a\u0301 e\u0301\u0323
o\u0308\u0304 \u0344 x² ½ Ⅷ ① １２３ ٣٤٥ 1234567890 3.14159 1,000,000 $5.00 C++ foo_bar snake_case CamelCase
http://example.com/a?b=c&d=e user@example.org #hashtag @user ... !!! ?! -- — – “quoted” «guillemets» ‘single’ 'single'
👍 👨‍👩‍👧‍👦 🇫🇷🇩🇪 👋🏽 ❤️ ☃ \u2581 \u2581\u2581a ▁word ##ing [UNK] ſ 'ſ ﷺ ㎏ ǅ ß ẞ Ω K Å ﬀﬁﬂﬃ ｆｕｌｌ ﾊﾝｶｸ ｶﾞ か\u3099 𝔘𝔫𝔦 𝟘𝟙""".split()


# Together these see every table: properties, normalisation, lower case, accents, grapheme clusters.
ALL = {"bytes-nfc", "bytes-nfkd", "bytes-lower", "bytes-accents", "bytes-bert-normal", "bytes-charsmap", "gpt2", "words",
       "bert-cased", "split-mix"}


def hash_all(tokenizer):
    """FNV-1a over the ids of every code point, 64 to a text with an "a" between two."""
    points = [chr(c) for c in range(0x110000) if not 0xd800 <= c < 0xe000]
    texts = ["a".join(points[i:i + 64]) for i in range(0, len(points), 64)]
    h = 0xcbf29ce484222325
    for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
        for byte in b"".join(i.to_bytes(4, "little") for i in encoding.ids):
            h = (h ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return "%016x" % h


def hostile_texts(tokenizer, seed):
    rng = random.Random(seed)
    texts = ["", " ", "  ", "   ", "a", " a", "a ", " a ", "\n", "\n\n", " \n", "\n ", "\r\n", "a\nb", "a \n b", "a\n\n\nb",
             "a  b", "a   b", "\t\ta", "  \n  \n  a", "a\r\n\r\n b", "1", " 1", "12", "123", "1234", " 12 345 6789", "a1b2c3",
             "Hello, world!", "The capital of France is Paris.", "don't won't I'LL you'Re 'tis", "'s", " 's", "''s", "'S 'T 'RE",
             "\0", "a\0b", "\0\0\0", "\x01\x02\x7f", "\ufffd", "\ufffe\uffff", "\U0010ffff", "\u0378\u0379 unassigned \U000e0fff",
             "\ud7ff\ue000", "\u202eright-to-left\u202c", "\u200f\u200e", "\u0301", "\u0301\u0301a", "e\u0301" * 3,
             "a" + "\u0301" * 40, "a" + "\u0323\u0301" * 40, "\u1100\u1161\u11a8", "각가", "가\u11a8", "\u0b47\u0b3e",
             "a" * 50, "a" * 300, " " * 50, "\n" * 50, "ab" * 200, "!" * 60, "1" * 60, "é" * 60, "中" * 60, "👍" * 20, " a" * 60,
             "x" * 101, "日" * 101, SPACES, "a" + "a".join(SPACES), "".join(" " + s + "x" for s in SPACES),
             "कि क्षि र्क ज्ञ", "กำ นํ้า", "\u0600123", "🏳️‍🌈🏴󠁧󠁢󠁥󠁮󠁧󠁿", "a\u200db", "\u2764\ufe0f\u200d\U0001f525",
             "<0x41><0x0A>", "▁▁▁", "a▁b", "▁ ▁", " ▁", "##a ##", "``quoted''", "A.B.C.", "e.g., i.e.", "(a) [b] {c}",
             "price: 5 €", "x = y + z;", "for (int i = 0; i < n; i++)\n\t{\n\t\tputs(\"x\");\n\t}\n", "SELECT * FROM t WHERE a='b';"]
    texts += WORDS + [" " + w for w in WORDS[:40]]
    for token in tokenizer.get_added_tokens_decoder().values():
        c = token.content
        texts += [c, "a" + c + "b", " " + c + " ", c + c, c[:-1], "x  " + c + "  y", c.upper(), c + "s", "_" + c]
    texts = texts[:520]
    for _ in range(40):
        texts.append(" ".join(rng.choice(WORDS) for _ in range(rng.randrange(2, 12))))
    for _ in range(40):
        texts.append("".join(rng.choice(WORDS) + rng.choice(["", " ", "  ", "\n", "\t", ",", "-"])
                             for _ in range(rng.randrange(2, 8))))
    for _ in range(60):		# mixed scripts and marks
        texts.append("".join(chr(rng.randrange(*rng.choice(ASSIGNED))) for _ in range(rng.randrange(1, 24))))
    for _ in range(30):		# any code point
        texts.append("".join(chr(c) for c in (rng.randrange(0x110000) for _ in range(12)) if not 0xd800 <= c < 0xe000))
    for _ in range(40):		# few characters, many boundaries
        texts.append("".join(rng.choice("a1 \n\r\t'sS.,!é中\u0301▁") for _ in range(rng.randrange(1, 30))))
    return texts


def without_special_pieces(source):
    """The tokenizer with its special and unknown pieces made unmatchable in the model, keeping their ids."""
    model = source["model"]
    special = {t["content"]: i for i, t in enumerate(source["added_tokens"]) if t["special"]}
    if model["type"] != "Unigram":
        return source
    for i, (piece, score) in enumerate(model["vocab"]):
        if piece in special or i == model["unk_id"]:
            hidden = "\U0010fffe\U0010fffd%d\U0010fffd" % i
            model["vocab"][i] = [hidden, score]
            if piece in special:
                source["added_tokens"][special[piece]]["content"] = hidden
    return source


def main():
    folder = sys.argv[1]
    for argument in sys.argv[2:]:
        path, _, name = argument.partition("=")
        name = name or os.path.splitext(os.path.basename(path))[0]
        with open(path, encoding="utf-8") as f:
            source = json.load(f)
        real = Tokenizer.from_file(path)
        texts = hostile_texts(real, name)
        tokenizer = Tokenizer.from_str(json.dumps(without_special_pieces(source)))
        tokenizer.encode_special_tokens = True
        tokenizer.no_padding()
        tokenizer.no_truncation()
        cases = []
        for text in texts:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            decoded = real.decode(ids, skip_special_tokens=True) if ids else ""
            cases.append({"text": text.encode().hex(), "ids": ids, "decoded": decoded.encode().hex()})
        rng = random.Random(name)
        count = max(real.get_vocab().values()) + 1
        for _ in range(80):		# ids that no text gives
            ids = [rng.randrange(count) for _ in range(rng.randrange(1, 9))]
            cases.append({"ids": ids, "decoded": real.decode(ids, skip_special_tokens=True).encode().hex()})
        with open(os.path.join(folder, name + ".json"), "w") as f:
            f.write('{"tokenizer": %s,\n"cases": [\n' % json.dumps(path))
            f.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases))
            f.write("\n]")
            if name in ALL:
                f.write(',\n"all": "%s"' % hash_all(tokenizer))
            f.write("}\n")


if __name__ == "__main__":
    main()
