"""Tiny GGUF files for the model loader's tests, and what their blocks mean.

    python make_gguf.py TEST_MODELS_FOLDER GGUF_FOLDER VECTORS_FOLDER

Reads the tiny checkpoints of make_models.py and writes
    GGUF_FOLDER/{llama,qwen2,qwen3,llada}.gguf   the same weights in f32, q and k rows in the file format's order where it has one
    GGUF_FOLDER/quants.gguf                      a llama of width 256 with every block format
    VECTORS_FOLDER/gguf_blocks.json              SHA-256 of each tensor's f32 values as the `gguf` package dequantises them
"""
import hashlib, json, pathlib, sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants
from safetensors.numpy import load_file

LLAMA = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm", "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
         "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down", "q_norm": "attn_q_norm", "k_norm": "attn_k_norm"}
LLADA = {"wte": "token_embd", "ln_f": "output_norm", "attn_norm": "attn_norm", "ff_norm": "ffn_norm", "q_proj": "attn_q",
         "k_proj": "attn_k", "v_proj": "attn_v", "attn_out": "attn_output", "ff_proj": "ffn_gate", "up_proj": "ffn_up"}


def interleave(w, heads):
    """Rows for half-split rotation -> rows for interleaved rotation, the order in which these files keep q and k."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def rename(name, family):
    """-> name in the file; the key of the table is the last part of the module's name."""
    parts = [p for p in name.split(".") if p not in ("model", "transformer", "self_attn", "mlp")]
    layer = int(parts[1]) if parts[0] in ("layers", "blocks") else None
    module, kind = parts[-2], parts[-1]
    if family == "llada":
        new = LLADA.get(module) or ("output" if layer is None else "ffn_down")
    else:
        new = LLAMA[module]
    return (f"blk.{layer}.{new}" if layer is not None else new) + "." + kind


def add_tokenizer(out, folder):
    """Byte-level BPE of tokenizer.json as the file's own keys."""
    tok = json.load(open(folder / "tokenizer.json"))
    vocab = dict(tok["model"]["vocab"]); special = {t["content"]: t["id"] for t in tok["added_tokens"] if t["special"]}
    vocab.update({t["content"]: t["id"] for t in tok["added_tokens"]})
    tokens = [None] * (max(vocab.values()) + 1)
    for text, i in vocab.items():
        tokens[i] = text
    out.add_tokenizer_model("gpt2"); out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens); out.add_token_types([3 if t in special else 1 for t in tokens])
    out.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tok["model"]["merges"]])
    out.add_bos_token_id(vocab.get("<|endoftext|>", 0)); out.add_eos_token_id(vocab.get("<|im_end|>", 0)); out.add_mask_token_id(vocab["<|mask|>"])
    return len(tokens)


def begin(path, arch, c):
    out = gguf.GGUFWriter(path, arch)
    out.add_block_count(c["layers"]); out.add_context_length(c["context"]); out.add_embedding_length(c["hidden"])
    out.add_feed_forward_length(c["ffn"]); out.add_head_count(c["heads"]); out.add_head_count_kv(c["kv_heads"])
    out.add_key_length(c["head_dim"]); out.add_value_length(c["head_dim"]); out.add_rope_dimension_count(c["head_dim"])
    out.add_layer_norm_rms_eps(c["eps"]); out.add_rope_freq_base(c["theta"])
    return out


def finish(out):
    out.write_header_to_file(); out.write_kv_data_to_file(); out.write_tensors_to_file(); out.close()


def sizes(config):
    """The sizes of either form of config.json."""
    if config["model_type"] == "llada":
        return dict(layers=config["n_layers"], context=config["max_sequence_length"], hidden=config["d_model"], ffn=config["mlp_hidden_size"],
                    heads=config["n_heads"], kv_heads=config["n_kv_heads"], head_dim=config["d_model"] // config["n_heads"],
                    eps=config["rms_norm_eps"], theta=config["rope_theta"])
    return dict(layers=config["num_hidden_layers"], context=config["max_position_embeddings"], hidden=config["hidden_size"],
                ffn=config["intermediate_size"], heads=config["num_attention_heads"], kv_heads=config["num_key_value_heads"],
                head_dim=config["head_dim"], eps=config["rms_norm_eps"], theta=config["rope_parameters"]["rope_theta"])


def from_folder(folder, path, family):
    c = sizes(json.load(open(folder / "config.json")))
    out = begin(path, family, c); add_tokenizer(out, folder)
    for name, w in load_file(folder / "model.safetensors").items():
        new = rename(name, family)
        if family in ("llama", "llada") and (".attn_q." in new or ".attn_k." in new):
            w = interleave(w, c["heads"] if ".attn_q." in new else c["kv_heads"])
        out.add_tensor(new, np.ascontiguousarray(w.astype(np.float32)))
    finish(out)


def random_blocks(rng, kind, rows, cols):
    """Blocks of the formats that the `gguf` package reads but does not write: random bits, scales of a sane size."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    b = rng.integers(0, 256, (rows, cols // block, size), dtype=np.uint8)
    scale = (rng.random((rows, cols // block, 2)) * 1e-3).astype(np.float16).view(np.uint8)
    if kind == T.Q6_K:
        b[:, :, 208:210] = scale[:, :, :2]
    else:
        b[:, :, :4] = scale
    return b.reshape(rows, -1)


def all_formats(folder, path):
    rng = np.random.default_rng(7)
    c = dict(layers=2, context=64, hidden=256, ffn=256, heads=4, kv_heads=2, head_dim=64, eps=1e-5, theta=10000.0)
    out = begin(path, "llama", c); n = add_tokenizer(out, folder); sums = {}

    def add(name, kind, rows, cols=256):
        if kind in (T.Q4_K, T.Q5_K, T.Q6_K):
            raw = random_blocks(rng, kind, rows, cols)
        else:
            raw = quants.quantize((rng.standard_normal((rows, cols)) * 0.02).astype(np.float32), kind)
        value = quants.dequantize(raw, kind).astype("<f4").reshape(rows, cols)
        assert np.isfinite(value).all()
        sums[name] = hashlib.sha256(value.tobytes()).hexdigest()
        out.add_tensor(name, raw, raw_dtype=kind) if kind not in (T.F32, T.F16) else out.add_tensor(name, raw)

    def add_vector(name, size):
        value = rng.uniform(0.5, 1.5, size).astype(np.float32); out.add_tensor(name, value)
        sums[name] = hashlib.sha256(value.tobytes()).hexdigest()

    add("token_embd.weight", T.Q8_0, n); add_vector("output_norm.weight", 256)
    kinds = [[T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q4_K, T.Q5_K, T.Q6_K], [T.Q6_K, T.Q8_0, T.F16, T.BF16, T.F32, T.Q4_1, T.Q4_0]]
    shapes = [("attn_q", 256), ("attn_k", 128), ("attn_v", 128), ("attn_output", 256), ("ffn_gate", 256), ("ffn_up", 256), ("ffn_down", 256)]
    for layer in range(2):
        add_vector(f"blk.{layer}.attn_norm.weight", 256); add_vector(f"blk.{layer}.ffn_norm.weight", 256)
        for (name, rows), kind in zip(shapes, kinds[layer]):
            add(f"blk.{layer}.{name}.weight", kind, rows)
    finish(out)
    return sums


def rope_factors(path):
    """No model: the table of rotary factors as Llama 3's files carry it, and two that must be refused."""
    out = gguf.GGUFWriter(path, "llama")
    for name, values in (("rope_freqs", [1, 2, 8, 0.5]), ("short", [1, 2, 8]), ("zero", [1, 2, 0, 0.5])):
        out.add_tensor(f"{name}.weight", np.array(values, np.float32))
    finish(out)


def main():
    models, target, vectors = map(pathlib.Path, sys.argv[1:4]); target.mkdir(exist_ok=True)
    for family in ("llama", "qwen2", "qwen3", "llada"):
        from_folder(models / family, target / f"{family}.gguf", family)
    rope_factors(target / "rope.gguf")
    json.dump(all_formats(models / "llama", target / "quants.gguf"), open(vectors / "gguf_blocks.json", "w"), indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
