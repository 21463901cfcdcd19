"""Models to measure: two random encoders as Hugging Face folders, and .dlm files of them and of the default model.

    python bench/models.py FOLDER [NAME...]      (names: encoder-6x384, xlmr-12x768, dlm-135m; default all)

Speed does not depend on what the weights say, so the encoders are drawn from a seeded generator: a small one (RoBERTa's form, 6 x 384, vocabulary 24,000)
and one of XLM-R base's sizes (12 x 768, vocabulary 250,002). Stored in bf16. `build/dlm-model convert` makes NAME.f32.dlm, NAME.bf16.dlm and
NAME.int8.dlm beside them. What is there already is kept.
"""
import json
import os
import pathlib
import struct
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
WEIGHTS = ("f32", "bf16", "int8")
ENCODERS = {
    "encoder-6x384": dict(model_type="roberta", hidden_size=384, num_hidden_layers=6, num_attention_heads=6, intermediate_size=1536, vocab_size=24000),
    "xlmr-12x768": dict(model_type="xlm-roberta", hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, vocab_size=250002),
}
DEFAULT = "dlm-135m"
NAMES = (*ENCODERS, DEFAULT)
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]      # ids 0 to 3, as in RoBERTa and XLM-R; <mask> is the last id
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def config_of(name):
    return dict(ENCODERS[name], hidden_act="gelu", layer_norm_eps=1e-5, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1, bos_token_id=0,
                eos_token_id=2, mask_token_id=ENCODERS[name]["vocab_size"] - 1, tie_word_embeddings=True)


def tensors_of(config):
    """(name, shape, mean, deviation), so scaled that every layer's output stays near 1."""
    h, f, v = config["hidden_size"], config["intermediate_size"], config["vocab_size"]

    def linear(name, n, k):
        return [(name + ".weight", (n, k), 0.0, k ** -0.5), (name + ".bias", (n,), 0.0, 0.1)]

    def norm(name):
        return [(name + ".weight", (h,), 1.0, 0.1), (name + ".bias", (h,), 0.0, 0.1)]

    body = "roberta."
    out = [(body + f"embeddings.{what}_embeddings.weight", (n, h), 0.0, h ** -0.5)
           for what, n in (("word", v), ("position", config["max_position_embeddings"]), ("token_type", 1))]
    out += norm(body + "embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        at = body + f"encoder.layer.{i}."
        for part in ("query", "key", "value"):
            out += linear(at + "attention.self." + part, h, h)
        out += linear(at + "attention.output.dense", h, h) + norm(at + "attention.output.LayerNorm")
        out += linear(at + "intermediate.dense", f, h) + linear(at + "output.dense", h, f) + norm(at + "output.LayerNorm")
    return out + linear("lm_head.dense", h, h) + norm("lm_head.layer_norm") + [("lm_head.bias", (v,), 0.0, 0.1)]


def to_bf16(x):
    """float32 -> the upper half of each number, rounded to nearest even."""
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def write_safetensors(path, tensors, seed):
    header, at = {}, 0
    for name, shape, _, _ in tensors:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(seed)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape, mean, deviation in tensors:
            file.write(to_bf16(random.standard_normal(shape, dtype=np.float32) * np.float32(deviation) + np.float32(mean)).tobytes())


def word(i):
    """The i-th word of three letters or more."""
    text = ""
    while i or len(text) < 3:
        i, letter = divmod(i, len(LETTERS))
        text += LETTERS[letter]
    return text


def tokenizer_of(vocab_size):
    """Unigram over made-up words, each after a space: one word is one token."""
    pieces = [[s, 0.0] for s in SPECIAL] + [["\u2581", -9.0]] + [[letter, -9.0] for letter in LETTERS]
    pieces += [["\u2581" + word(i), -10.0] for i in range(vocab_size - len(pieces) - 1)] + [["<mask>", 0.0]]
    added = [{"id": i, "content": s, "single_word": False, "lstrip": s == "<mask>", "rstrip": False, "normalized": False, "special": True}
             for i, s in [*enumerate(SPECIAL), (vocab_size - 1, "<mask>")]]
    space = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    row = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}]
    post = {"type": "TemplateProcessing", "single": row, "pair": row + [{"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {s: {"id": s, "ids": [i], "tokens": [s]} for i, s in ((0, "<s>"), (2, "</s>"))}}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None, "pre_tokenizer": space,
            "post_processor": post, "decoder": space, "model": {"type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": False}}


def write_encoder(folder, name):
    """The folder with config.json, tokenizer.json and model.safetensors; the last file appears when all is there."""
    target = folder / name
    if (target / "model.safetensors").exists():
        return target
    config = config_of(name)
    target.mkdir(parents=True, exist_ok=True)
    (target / "config.json").write_text(json.dumps(config, indent=1))
    (target / "tokenizer.json").write_text(json.dumps(tokenizer_of(config["vocab_size"])))
    part = target / "model.safetensors.part"
    write_safetensors(part, tensors_of(config), seed=len(name))
    os.replace(part, target / "model.safetensors")
    return target


def base_weights():
    """The GGUF file that `make` fetched, or was told of."""
    if os.environ.get("MODEL_BASE"):
        return pathlib.Path(os.environ["MODEL_BASE"])
    found = sorted((ROOT / "models/base").glob("*.gguf"))
    if not found:
        raise SystemExit("models.py: no base weights in models/base; run make first")
    return found[0]


def convert(folder, name, weights):
    target = folder / f"{name}.{weights}.dlm"
    if not target.exists():
        source = [base_weights()] if name == DEFAULT else [folder / name]
        extra = ["--lora", ROOT / "models" / DEFAULT] if name == DEFAULT else []
        part = folder / f"{name}.{weights}.part.dlm"
        subprocess.run([ROOT / "build/dlm-model", "convert", *source, part, *extra, "--weights", weights], check=True, stdout=subprocess.DEVNULL)
        os.replace(part, target)
    return target


def prepare(folder, name):
    """Everything of one model -> {weights: .dlm file}."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if name != DEFAULT:
        write_encoder(folder, name)
    return {weights: convert(folder, name, weights) for weights in WEIGHTS}


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    for each in sys.argv[2:] or NAMES:
        print(*prepare(sys.argv[1], each).values(), sep="\n")
