#!/usr/bin/env python3
"""Make the tiny tokenizers of this folder: one for each family and each component that dlm reads.

    make_tokenizers.py OUTPUT_FOLDER

The byte-level ones with a normaliser and no merges show every byte that the normaliser makes; the ones with a
splitter have merges across its boundaries, so that a wrong split shows.
"""
import json
import os
import random
import sys
import tempfile

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CORPUS = """The capital of France is Paris. It's the city's 2nd visit, isn't it? We'll see; they've said "don't worry"!
In 1999 there were 1,234 people, 56.78 % of them from Москва and Київ. Naïve café façade, Ångström, coöperate, Zürich.
日本語のテキストと中文字符和한국어 텍스트입니다. हिन्दी में लिखा हुआ पाठ। ข้อความภาษาไทย. النص العربي وشكل عِبْرִית.
for (int i = 0; i < n; i++)\n\t{\n\t\tx[i] += y[i] * 0.5;\n\t}\n  return x;\n\n\nSELECT * FROM t WHERE a = 'b' AND c >= 10;
👍👨‍👩‍👧 emoji 🇫🇷 and ﬁne ligatures ﬂow, ½ cup, x² + y², ①②③, Ⅷ, ｆｕｌｌ ｗｉｄｔｈ, ﾊﾝｶｸ.
I'M HERE AND THEY'RE THERE. 12345 67 8 9000. user@example.org http://example.com/path?query=1&b=2
""" * 3

CLS, SEP, UNK, PAD, MASK = "[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def lines():
    return [CORPUS[i:i + 160] for i in range(0, len(CORPUS), 160)]


def words(text):
    """Texts that make merges across the usual boundaries."""
    rng = random.Random(7)
    return [text[i:i + rng.randrange(2, 9)] for i in range(0, len(text), 3)]


def byte_bpe(pre, normalizer=None, size=700, added=(), ignore_merges=False, prefix_space=False, split_training=True):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    t.train_from_iterator(words(CORPUS), trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|endoftext|>"],
        show_progress=False))
    t.pre_tokenizer = pre
    if normalizer is not None:
        t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    t.add_tokens(list(added))
    return t


def all_bytes(normalizer):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    t = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    t.normalizer = normalizer
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    t.decoder = decoders.ByteLevel()
    return t


def word_piece(normalizer, pre, decoder, size=600, prefix="##", max_chars=100):
    t = Tokenizer(models.WordPiece(unk_token=UNK, max_input_chars_per_word=max_chars, continuing_subword_prefix=prefix))
    if normalizer is not None:
        t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.train_from_iterator(lines(), trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=[PAD, UNK, CLS, SEP, MASK], continuing_subword_prefix=prefix, show_progress=False))
    t.model.max_input_chars_per_word = max_chars
    if decoder is not None:
        t.decoder = decoder
    return t


def char_bpe(normalizer, pre, decoder, size=500, byte_fallback=True, fuse_unk=True, unk="<unk>", **kwargs):
    t = Tokenizer(models.BPE(unk_token=unk, fuse_unk=fuse_unk, byte_fallback=byte_fallback,
                             **{k: v for k, v in kwargs.items() if v}))
    if normalizer is not None:
        t.normalizer = normalizer
    t.pre_tokenizer = pre if pre is not None else pre_tokenizers.Metaspace(prepend_scheme="never")
    special = ["<unk>", "<s>", "</s>"] + (["<0x%02X>" % i for i in range(256)] if byte_fallback else [])
    t.train_from_iterator(lines(), trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, limit_alphabet=80, show_progress=False, **kwargs))
    out = json.loads(t.to_str())
    # byte tokens belong to the vocabulary, they are not added tokens
    out["added_tokens"] = [x for x in out["added_tokens"] if not x["content"].startswith("<0x")]
    if pre is None:
        out["pre_tokenizer"] = None
    out["decoder"] = json.loads(decoder.__getstate__()) if decoder is not None else None
    return Tokenizer.from_str(json.dumps(out))


# A few rules of every kind in SentencePiece's nmt_nfkc, which would be 300 kB in each file.
RULES = {"\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u3000": " ", "\u2028": " ", "\u200b": " ", "\ufeff": "", "\u00ad": "",
         "ﬁ": "fi", "ﬂ": "fl", "ﬀ": "ff", "½": "1\u20442", "²": "2", "①": "1", "Ⅷ": "VIII", "㎏": "kg", "…": "...", "ﷺ": "صلى الله",
         "e\u0301": "é", "o\u0308": "ö", "u\u0308\u0304": "ǖ", "A\u030a": "\u00c5", "\u212b": "\u00c5", "\u212a": "K", "\u2126": "\u03a9", "ｶ": "カ", "ｶﾞ": "ガ",
         "か\u3099": "が", "\u0958": "\u0915\u093c", "\u1100\u1161": "가", "\U0001d518": "U", "\u0344": "\u0308\u0301",
         "ABC": "xyz", "\u0301": ""}
RULES.update({chr(c): chr(c - 0xfee0) for c in range(0xff01, 0xff5f)})


def field(data, number):
    """The length-delimited fields of this number in a protocol buffer."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        key = varint()
        if key & 7 == 2:
            size = varint()
            if key >> 3 == number:
                yield data[at:at + size]
            at += size
        elif key & 7 == 0:
            varint()
        else:
            at += 4 if key & 7 == 5 else 8


def sentence_pieces(size=400, byte_fallback=False, rules=True):
    """Pieces and scores of a Unigram model and its precompiled character map."""
    with tempfile.TemporaryDirectory() as folder:
        tsv, prefix = os.path.join(folder, "rules.tsv"), os.path.join(folder, "m")
        with open(tsv, "w") as f:
            for key, value in RULES.items():
                f.write("\t".join(" ".join("%X" % ord(c) for c in x) for x in (key, value)) + "\n")
        normalization = {"normalization_rule_tsv": tsv} if rules else {"normalization_rule_name": "nmt_nfkc"}
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines()), model_prefix=prefix, vocab_size=size, model_type="unigram",
            byte_fallback=byte_fallback, hard_vocab_limit=False, minloglevel=2, character_coverage=0.98, num_threads=1,
            **normalization)
        sp = sentencepiece.SentencePieceProcessor(model_file=prefix + ".model")
        with open(prefix + ".model", "rb") as f:
            charsmap = next(field(next(field(f.read(), 3)), 2))
        return [(sp.id_to_piece(i), sp.get_score(i)) for i in range(sp.get_piece_size())], charsmap


def unigram(normalizer, pre, decoder, byte_fallback=False, added=()):
    vocab, _ = sentence_pieces(600 if byte_fallback else 400, byte_fallback)
    t = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=byte_fallback))
    t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.decoder = decoder
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    t.add_tokens(list(added))
    return t


def variants():
    """Added tokens with every option."""
    return [AddedToken("<x>", normalized=False), AddedToken("<lx>", lstrip=True, normalized=False),
            AddedToken("<rx>", rstrip=True, normalized=False), AddedToken("word", single_word=True, normalized=False),
            AddedToken("Both", lstrip=True, rstrip=True, normalized=True), AddedToken("<xy>", normalized=False),
            AddedToken("capital", normalized=True), AddedToken("   ", normalized=True)]


def pieces_decoder(strip=True):
    chain = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence(chain + ([decoders.Strip(" ", 1, 0)] if strip else []))


def tokenizers():
    bl = pre_tokenizers.ByteLevel
    seq_n, seq_p = normalizers.Sequence, pre_tokenizers.Sequence
    charsmap = normalizers.Precompiled(sentence_pieces()[1])
    yield "gpt2", byte_bpe(bl(add_prefix_space=False))
    yield "gpt2-added", byte_bpe(bl(add_prefix_space=False), added=variants())
    yield "roberta", byte_bpe(bl(add_prefix_space=True))
    yield "neox", byte_bpe(bl(add_prefix_space=False), normalizers.NFC(), added=variants())
    yield "llama3", byte_bpe(seq_p([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), bl(add_prefix_space=False, use_regex=False)]),
                             ignore_merges=True)
    yield "qwen2", byte_bpe(seq_p([pre_tokenizers.Split(Regex(QWEN2), "isolated"), bl(add_prefix_space=False, use_regex=False)]),
                            normalizers.NFC())
    yield "gpt2-split", byte_bpe(seq_p([pre_tokenizers.Split(Regex(GPT2), "isolated"), pre_tokenizers.Digits(),
                                        bl(add_prefix_space=False, use_regex=False)]))
    yield "split-mix", byte_bpe(seq_p([pre_tokenizers.Split(" ", "merged_with_next"), pre_tokenizers.Split("a", "merged_with_previous"),
                                       pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Split("\n", "removed"),
                                       bl(add_prefix_space=True, use_regex=False)]))
    yield "words", byte_bpe(seq_p([pre_tokenizers.Whitespace(), pre_tokenizers.CharDelimiterSplit("e"),
                                   bl(add_prefix_space=False, use_regex=False)]))
    for name, n in (("nfc", normalizers.NFC()), ("nfd", normalizers.NFD()), ("nfkc", normalizers.NFKC()),
                    ("nfkd", normalizers.NFKD()), ("charsmap", charsmap),
                    ("lower", seq_n([normalizers.Lowercase(), normalizers.Nmt()])),
                    ("accents", seq_n([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Strip()])),
                    ("replace", seq_n([normalizers.Replace("e", "ee"), normalizers.Replace(Regex(" {2,}"), "_"),
                                       normalizers.Replace("aa", ""), normalizers.Prepend("^"), normalizers.Strip(left=False)])),
                    ("bert-normal", normalizers.BertNormalizer())):
        yield "bytes-" + name, all_bytes(n)
    wp = decoders.WordPiece
    yield "bert-uncased", word_piece(normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer(), wp())
    yield "bert-cased", word_piece(normalizers.BertNormalizer(lowercase=False), pre_tokenizers.BertPreTokenizer(), wp(cleanup=False))
    yield "bert-accents", word_piece(normalizers.BertNormalizer(strip_accents=False, handle_chinese_chars=False),
                                     pre_tokenizers.BertPreTokenizer(), wp())
    yield "wordpiece-plain", word_piece(None, pre_tokenizers.Whitespace(), None, prefix="@@", max_chars=7)
    yield "llama2", char_bpe(seq_n([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None, pieces_decoder())
    yield "mistral", char_bpe(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), pieces_decoder())
    yield "bpe-unk", char_bpe(seq_n([normalizers.NFC(), normalizers.Lowercase()]), pre_tokenizers.WhitespaceSplit(),
                              decoders.BPEDecoder(), byte_fallback=False, fuse_unk=False, end_of_word_suffix="</w>")
    yield "bpe-prefix", char_bpe(None, pre_tokenizers.WhitespaceSplit(), None, byte_fallback=False,
                                 continuing_subword_prefix="##")
    meta = pre_tokenizers.Metaspace
    spaces = seq_n([charsmap, normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")])
    yield "t5", unigram(charsmap, meta(), decoders.Metaspace(), added=variants())
    yield "xlm-roberta", unigram(spaces, meta(prepend_scheme="always"), decoders.Metaspace())
    yield "xlm-roberta-old", unigram(charsmap, seq_p([pre_tokenizers.WhitespaceSplit(), meta()]), decoders.Metaspace())
    yield "albert", unigram(seq_n([normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(),
                                   normalizers.StripAccents(), normalizers.Lowercase(), charsmap]),
                            seq_p([pre_tokenizers.WhitespaceSplit(), meta()]), decoders.Metaspace())
    yield "unigram-bytes", unigram(normalizers.NFKC(), meta(prepend_scheme="first", split=False), pieces_decoder(),
                                   byte_fallback=True, added=variants())
    yield "unigram-strip", unigram(normalizers.Strip(), meta(prepend_scheme="first"), decoders.Metaspace(prepend_scheme="never"))


def main():
    folder = sys.argv[1]
    for name, tokenizer in tokenizers():
        with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as f:
            json.dump(json.loads(tokenizer.to_str()), f, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    main()
