"""Log-probabilities and hidden states of PyTorch transformers, for test/engine/t_forward.c and t_default_model.c.

    python make_forward.py MODELS OUT                    the tiny checkpoints of make_models.py -> OUT/NAME.json
    python make_forward.py --default FOLDER BASE OUT     the default model (models/dlm-135m, its base GGUF) -> OUT/dlm-135m.json

A vector file holds rows: ids, live (1 = sees the whole row; 0 = sees the positions at or before it that are not live), ask (positions to predict), logprobs
(one list over the whole vocabulary an ask; of the default model only the ids in `tokens`). One row a model also has the last hidden states; the model with a length head its log-probabilities.
"""
import json
import pathlib
import random
import sys

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file

from make_models import LLADA_NAMES

DECODERS = {"llama": "Llama", "llada": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}
ENCODERS = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "xlm-roberta-xl": "XLMRobertaXL"}


def read_weights(folder):
    return {name: t.float() for path in sorted(folder.glob("*.safetensors")) for name, t in load_file(str(path)).items()}


def from_llada(config, weights):
    names = {"hidden_size": "d_model", "num_attention_heads": "n_heads", "num_key_value_heads": "n_kv_heads", "num_hidden_layers": "n_layers",
             "intermediate_size": "mlp_hidden_size", "vocab_size": "embedding_size", "max_position_embeddings": "max_sequence_length",
             "rms_norm_eps": "rms_norm_eps", "rope_theta": "rope_theta"}
    config = {**{new: config[old] for new, old in names.items()}, "tie_word_embeddings": config["weight_tying"], "head_dim": config["d_model"] // config["n_heads"]}
    blocks = [("attn_norm", "input_layernorm"), ("ff_norm", "post_attention_layernorm"), ("attn_out", "self_attn.o_proj"), ("ff_proj", "mlp.gate_proj"),
              ("up_proj", "mlp.up_proj"), ("ff_out", "mlp.down_proj"), ("q_proj", "self_attn.q_proj"), ("k_proj", "self_attn.k_proj"), ("v_proj", "self_attn.v_proj")]
    out = {}
    for name, t in weights.items():
        if ".blocks." in name:
            name = name.replace("model.transformer.blocks.", "model.layers.")
            name = next(name.replace("." + old + ".", "." + new + ".") for old, new in blocks if "." + old + "." in name)
        else:
            for new, old in LLADA_NAMES[:3]:
                name = name.replace(old, new)
        out[name] = t
    return config, out


def load(folder):
    """-> (model, shift, context attention?, is it a decoder?, all weights)."""
    config = json.loads((folder / "config.json").read_text())
    dlm = json.loads((folder / "dlm.json").read_text()) if (folder / "dlm.json").exists() else {}
    weights = read_weights(folder)
    kind = config.pop("model_type")
    if kind == "llada":
        config, weights = from_llada(config, weights)
    if folder.name == "paper":
        weights = {name.removeprefix("model."): t for name, t in weights.items()}
    decoder = kind in DECODERS
    name = DECODERS.get(kind) or ENCODERS[kind]
    model = getattr(transformers, name + ("ForCausalLM" if decoder else "ForMaskedLM"))(getattr(transformers, name + "Config")(**config)).eval()
    mine = {n: t for n, t in weights.items() if not n.startswith("length_")}
    missing, unexpected = model.load_state_dict(mine, strict=False)
    assert not unexpected, unexpected
    assert all("decoder" in n or n == "lm_head.weight" and config["tie_word_embeddings"] or "position_ids" in n for n in missing), missing
    model.tie_weights()
    return model, dlm.get("logit_shift", 0), dlm.get("attention") == "context", decoder, weights


def visible(live):
    """live: 0/1 a position -> bool [n, n], True where the row's position may see the column's."""
    live = torch.tensor(live, dtype=torch.bool)
    see = torch.tril(torch.ones(len(live), len(live), dtype=torch.bool)) & ~live[None, :]
    return see | live[:, None] | torch.eye(len(live), dtype=torch.bool)


@torch.no_grad()
def run(model, decoder, ids, live):
    """-> (hidden [n, hidden], logits [n, vocab])."""
    ids = torch.tensor([ids])
    if decoder:
        mask = torch.where(visible(live), 0.0, -1e9)[None, None]
        hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        return hidden[0], model.lm_head(hidden)[0]
    backbone = getattr(model, model.base_model_prefix)
    n = ids.shape[1]
    # positions are sequential, whatever ids the row has (RoBERTa's rule skips pad tokens; there are none in a row)
    offset = model.config.pad_token_id + 1 if model.base_model_prefix == "roberta" else 0
    positions = torch.arange(offset, offset + n)[None]
    out = model(input_ids=ids, position_ids=positions, output_hidden_states=True)
    hidden = backbone(input_ids=ids, position_ids=positions)[0]
    return hidden[0], out.logits[0]


def rounded(t, digits=6):
    return [float(f"{v:.{digits}g}") for v in t.tolist()]


def rows_of(context, shift, vocab, longest, seed):
    """Rows of different length, some around multiples of 16."""
    rng = random.Random(seed)
    for n in (1 + shift, 7, 16, 33, longest):
        ids = [rng.randrange(vocab) for _ in range(n)]
        canvas = sorted(rng.sample(range(shift, n), min(n - shift, 3)))
        live = [1] * n
        ask = canvas
        if context:
            live = [int(p in canvas or p + 1 in canvas) for p in range(n)]
            if n == 33:                                    # a fixed position may be asked, too
                ask = sorted({*canvas, 5, 20})
        yield ids, live, ask


def tiny(folder):
    model, shift, context, decoder, weights = load(folder)
    rows = []
    for ids, live, ask in rows_of(context, shift, model.config.vocab_size, 90, folder.name):
        hidden, logits = run(model, decoder, ids, live)
        lp = F.log_softmax(logits.double(), -1)
        row = {"ids": ids, "live": live, "ask": ask, "logprobs": [rounded(lp[p - shift]) for p in ask]}
        if len(ids) == 16:
            row["hidden"] = [rounded(h) for h in hidden]
        rows.append(row)
    out = {"context": context, "shift": shift, "rows": rows}
    if "length_predictor.0.weight" in weights:
        out["lengths"] = [lengths(model, weights, row["ids"]) for row in rows[1:4]]
    return out


@torch.no_grad()
def lengths(model, weights, ids):
    hidden, _ = run(model, False, ids, [1] * len(ids))
    c = model.config
    layer = torch.nn.TransformerEncoderLayer(c.hidden_size, c.num_attention_heads, c.intermediate_size, batch_first=True).eval()
    layer.load_state_dict({n.removeprefix("length_trm.layers.0."): t for n, t in weights.items() if n.startswith("length_trm.")})
    pooled = layer(hidden[None]).mean(1)
    inner = torch.tanh(F.linear(pooled, weights["length_predictor.0.weight"], weights["length_predictor.0.bias"]))
    logits = F.linear(inner, weights["length_predictor.2.weight"], weights["length_predictor.2.bias"])
    return {"ids": ids, "logprobs": rounded(F.log_softmax(logits[0].double(), -1))}


PROMPTS = ["user\nWhat is the capital of France?", "user\nWhich label fits the text best? Choose from: good, bad.\nThe food was cold and nobody came.",
           "user\nName three animals.", "user\nIs 17 a prime number? Answer yes or no.", "user\nSort the words: pear, apple, fig."]


def default_model(folder, base):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "quality"))
    import reference_model as ref
    tok, model = ref.load(folder, base)
    rng = random.Random(0)
    rows = []
    for i, prompt in enumerate(PROMPTS):
        head = [ref.IM_START] + ref.encode(tok, prompt) + [ref.IM_END] + ref.encode(tok, "\n") + [ref.IM_START] + ref.encode(tok, "assistant\n")
        canvas = list(range(len(head), len(head) + 3 + i))
        ids = head + [ref.MASK] * len(canvas)
        lp = ref.logprobs(model, ids, canvas)              # the mask token left out of the softmax
        row = {"ids": ids, "live": [int(p in canvas or p + 1 in canvas) for p in range(len(ids))], "ask": canvas, "tokens": [], "logprobs": []}
        for line in lp:
            tokens = line.topk(24).indices.tolist() + rng.sample(range(17, 49152), 8)
            row["tokens"].append(tokens)
            row["logprobs"].append(rounded(line[tokens]))
        rows.append(row)
    return {"context": True, "shift": 1, "mask": ref.MASK, "rows": rows}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def main():
    torch.set_num_threads(1)
    if sys.argv[1] == "--default":
        return write(pathlib.Path(sys.argv[4]) / "dlm-135m.json", default_model(sys.argv[2], sys.argv[3]))
    for folder in sorted(p for p in pathlib.Path(sys.argv[1]).iterdir() if (p / "config.json").exists()):
        write(pathlib.Path(sys.argv[2]) / (folder.name + ".json"), tiny(folder))


if __name__ == "__main__":
    main()
