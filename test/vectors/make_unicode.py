#!/usr/bin/env python3
"""Make src/engine/token_unicode_data.c: the Unicode properties that tokenizers use.

Every property but the grapheme classes is asked of the `tokenizers` package itself, one code point at a time
(or a text of many), so that the tables have whatever Unicode versions its regular expressions, its
normalisation and its standard library were built with. Grapheme classes come from the `regex` package and are
checked against `tokenizers` (see verify_graphemes).

    make_unicode.py OUTPUT.c          write the tables
"""
import bisect
import sys

import regex
import tokenizers
from tokenizers import Regex
from tokenizers import normalizers as N
from tokenizers import pre_tokenizers as P

ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]

# Bits of dl_unicode_class; token_unicode.h has the same list.
BITS = ["LETTER", "NUMBER", "SPACE", "WHITESPACE", "NUMERIC", "PUNCTUATION", "WORD", "DROP", "MARK_NONSPACING", "MARK"]
GRAPHEME_SHIFT = 16
GRAPHEME = ["Other", "CR", "LF", "Control", "Extend", "ZWJ", "Regional_Indicator", "Prepend", "SpacingMark",
            "L", "V", "T", "LV", "LVT"]
PICTOGRAPH, CONSONANT, LINKER, CONJUNCT_EXTEND = 1 << 20, 1 << 21, 1 << 22, 1 << 23


def removed_by(pre_tokenizer):
    """The code points that a pre-tokenizer that removes its matches removes."""
    kept = set()
    for i in range(0, len(ALL), 5000):
        for piece, _ in pre_tokenizer.pre_tokenize_str("".join(map(chr, ALL[i:i + 5000]))):
            kept.update(map(ord, piece))
    return [c for c in ALL if c not in kept]


def matched(pattern):
    return removed_by(P.Split(Regex(pattern), "removed"))


def isolated_by(pre_tokenizer):
    """Which c stand alone in "a" c "a"."""
    return [c for c in ALL if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) == 3]


def classes():
    table = [0] * 0x110000
    nfd = N.NFD()
    bert_clean = N.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    bert_strip = N.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    strip = N.StripAccents()
    whitespace = removed_by(P.WhitespaceSplit())
    members = {
        "LETTER": matched(r"\p{L}"),
        "NUMBER": matched(r"\p{N}"),
        "SPACE": matched(r"\s"),
        "WHITESPACE": whitespace,
        "NUMERIC": isolated_by(P.Digits(individual_digits=True)),
        "PUNCTUATION": removed_by(P.Punctuation("removed")),
        "WORD": [c for c in ALL if len(P.Whitespace().pre_tokenize_str("a" + chr(c))) == 1
                 and len(P.Whitespace().pre_tokenize_str("a" + chr(c))[0][0]) == 2],
        "DROP": [c for c in ALL if bert_clean.normalize_str(chr(c)) == ""],
        "MARK_NONSPACING": [c for c in ALL if bert_strip.normalize_str(chr(c)) == "" and
                            nfd.normalize_str(chr(c)) == chr(c)],
        "MARK": [c for c in ALL if strip.normalize_str(chr(c)) == ""],
    }
    for bit, name in enumerate(BITS):
        for c in members[name]:
            table[c] |= 1 << bit
    # BertNormalizer's white space is the standard library's plus tab, line feed, carriage return (already in it)
    for c in whitespace:
        assert bert_clean.normalize_str(chr(c)) in (" ", ""), hex(c)
    for i, name in enumerate(GRAPHEME):
        pattern = regex.compile(r"\p{GCB=%s}" % name)
        for c in ALL:
            if pattern.match(chr(c)):
                table[c] |= i << GRAPHEME_SHIFT
    for name, bit in ((r"\p{Extended_Pictographic}", PICTOGRAPH), (r"\p{InCB=Consonant}", CONSONANT),
                      (r"\p{InCB=Linker}", LINKER), (r"\p{InCB=Extend}", CONJUNCT_EXTEND)):
        pattern = regex.compile(name)
        for c in ALL:
            if pattern.match(chr(c)):
                table[c] |= bit
    return table


def ranges(values):
    """[(first, value)] of a list of values by code point."""
    out = []
    for c, v in enumerate(values):
        if not out or out[-1][1] != v:
            out.append((c, v))
    return out


def combining_classes():
    """Canonical combining classes, up to what reordering can tell: c moves before d iff 0 < ccc(c) < ccc(d)."""
    nfd = N.NFD()
    plain = [c for c in ALL if nfd.normalize_str(chr(c)) == chr(c)]
    above, below = "\u0301", "\u0334"		# classes 230 and 1
    marks = []
    for c in plain:
        x = chr(c)
        if c in (0x301, 0x334) or nfd.normalize_str("a" + above + x) != "a" + above + x or \
                nfd.normalize_str("a" + x + below) != "a" + x + below or \
                nfd.normalize_str("a" + "\u0345" + x) != "a" + "\u0345" + x:
            marks.append(c)

    def before(c, d):
        """ccc(c) < ccc(d)"""
        return nfd.normalize_str("a" + chr(d) + chr(c)) != "a" + chr(d) + chr(c)
    # sort marks into classes by insertion: representatives in ascending order
    classes_ = []
    for c in marks:
        lo, hi = 0, len(classes_)
        while lo < hi:
            mid = (lo + hi) // 2
            if before(classes_[mid][0], c):
                lo = mid + 1
            else:
                hi = mid
        if lo < len(classes_) and not before(c, classes_[lo][0]):
            classes_[lo].append(c)
        else:
            classes_.insert(lo, [c])
    values = [0] * 0x110000
    for rank, cs in enumerate(classes_):
        for c in cs:
            values[c] = rank + 1
    return values


def is_hangul(c):
    return 0xAC00 <= c < 0xD7A4


def normalization():
    nfc, nfd, nfkd = N.NFC(), N.NFD(), N.NFKD()
    canonical, compatible, compose = {}, {}, []
    for c in ALL:
        if is_hangul(c):
            continue
        x = chr(c)
        d, k = nfd.normalize_str(x), nfkd.normalize_str(x)
        if d != x:
            canonical[c] = [ord(y) for y in d]
            if nfc.normalize_str(x) == x and len(d) > 1:
                a = nfc.normalize_str(d[:-1])
                assert len(a) == 1 and nfc.normalize_str(a + d[-1]) == x, hex(c)
                compose.append((ord(a), ord(d[-1]), c))
        if k != d:
            compatible[c] = [ord(y) for y in k]
    return canonical, compatible, sorted(compose)


def lowercase():
    low = N.Lowercase()
    return [(c, [ord(x) for x in low.normalize_str(chr(c))]) for c in ALL if low.normalize_str(chr(c)) != chr(c)]


def array(out, kind, name, values):
    out.append("const %s %s[%d] = {" % (kind, name, len(values)))
    line = "\t"
    for v in values:
        item = "%s," % (v if isinstance(v, str) else hex(v) if v > 9 else v)
        if len(line) + len(item) > 112:
            out.append(line)
            line = "\t"
        line += item
    out.append(line)
    out.append("};")
    out.append("")


def decomposition_arrays(out, name, table):
    keys, offsets, pool = sorted(table), [], []
    for c in keys:
        offsets.append(len(pool))
        pool += table[c]
    offsets.append(len(pool))
    array(out, "uint32_t", "dl_unicode_%s_key" % name, keys)
    array(out, "uint16_t", "dl_unicode_%s_offset" % name, offsets)
    array(out, "uint32_t", "dl_unicode_%s_pool" % name, pool)
    return len(keys)


def span_arrays(out, palette, spans):
    """The spans, the span in which each block of 256 code points begins, and ASCII at once."""
    array(out, "uint32_t", "dl_unicode_span", [(c << 8) | palette.index(v) for c, v in spans])
    starts = [c for c, _ in spans]
    array(out, "uint16_t", "dl_unicode_block", [bisect.bisect_right(starts, min(b << 8, 0x10ffff)) - 1 for b in range(0x1101)])
    array(out, "uint32_t", "dl_unicode_ascii", [spans[bisect.bisect_right(starts, c) - 1][1] for c in range(128)])


def main():
    out = ["/*",
           " * token_unicode_data.c - Unicode properties as `tokenizers` %s sees them." % tokenizers.__version__,
           " *",
           " * Generated by test/vectors/make_unicode.py; do not edit. token_unicode.h says",
           " * what the arrays mean.",
           " */",
           '#include "token_unicode.h"',
           ""]
    spans = ranges(classes())
    palette = sorted(set(v for _, v in spans))
    assert len(palette) < 256
    array(out, "uint32_t", "dl_unicode_palette", palette)
    span_arrays(out, palette, spans)
    ccc = ranges(combining_classes())
    array(out, "uint32_t", "dl_unicode_ccc", [(c << 8) | v for c, v in ccc])
    canonical, compatible, compose = normalization()
    n_canonical = decomposition_arrays(out, "canonical", canonical)
    n_compatible = decomposition_arrays(out, "compatible", compatible)
    array(out, "uint32_t", "dl_unicode_compose", [x for triple in compose for x in triple])
    lower = lowercase()
    assert [c for c, m in lower if len(m) != 1] == [0x130] and dict(lower)[0x130] == [0x69, 0x307]
    array(out, "uint32_t", "dl_unicode_lower", [x for c, m in lower for x in (c, m[0])])
    out.append("const int dl_unicode_n_span = %d;" % len(spans))
    out.append("const int dl_unicode_n_ccc = %d;" % len(ccc))
    out.append("const int dl_unicode_n_canonical = %d;" % n_canonical)
    out.append("const int dl_unicode_n_compatible = %d;" % n_compatible)
    out.append("const int dl_unicode_n_compose = %d;" % len(compose))
    out.append("const int dl_unicode_n_lower = %d;" % len(lower))
    with open(sys.argv[1], "w") as f:
        f.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
