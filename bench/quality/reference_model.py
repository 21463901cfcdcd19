"""The default model in PyTorch, independent of the engine: what its answers are compared with.

Base weights: a GGUF file of SmolLM2-135M-Instruct; adapter, tokenizer and configuration: the folder models/dlm-135m. LoRA is merged as
W + (alpha / r) B A; the mask token's row of the input embedding is replaced by `mask_embedding`. Attention is `context`: canvas positions and the position before
each run of canvas see everything, every other position sees the positions at or before it that are neither. The output at position i-1 predicts token i; the mask
token is left out of every softmax.
"""
import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

MASK, END_OF_TEXT, IM_START, IM_END = 16, 0, 1, 2
PREFIX = "base_model.model."


def read_tokenizer(folder):
    tok = Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json"))
    tok.encode_special_tokens = True        # "<|im_end|>" in a user's text is ordinary text
    return tok


def load_base(folder, base):
    """The base model alone, left to right as it comes; folder: models/dlm-135m; base: the GGUF file -> (tokenizer, LlamaForCausalLM)."""
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
    folder, base = pathlib.Path(folder), pathlib.Path(base)
    source = AutoModelForCausalLM.from_pretrained(base.parent, gguf_file=base.name, dtype=torch.float32)
    model = LlamaForCausalLM(LlamaConfig(**json.load(open(folder / "config.json")))).eval()
    model.load_state_dict(source.state_dict())
    return read_tokenizer(folder), model


def load(folder, base):
    """folder: models/dlm-135m; base: the GGUF file -> (tokenizer, LlamaForCausalLM with the adapter merged)."""
    tok, model = load_base(folder, base)
    folder = pathlib.Path(folder)
    adapter = load_file(folder / "adapter_model.safetensors")
    meta = json.load(open(folder / "adapter_config.json"))
    scale = meta["lora_alpha"] / meta["r"]
    for name, weight in model.named_parameters():
        key = PREFIX + name[:-len(".weight")]
        if key + ".lora_A.weight" in adapter:
            weight.data += scale * adapter[key + ".lora_B.weight"].float() @ adapter[key + ".lora_A.weight"].float()
    model.mask_embedding = adapter["mask_embedding"].float()
    return tok, model


def visible(n, canvas):
    """n: row length; canvas: positions -> bool [n, n], True where the row's position may see the column's."""
    live = torch.zeros(n, dtype=torch.bool)
    live[list(canvas)] = True
    live[[p - 1 for p in canvas]] = True
    see = torch.tril(torch.ones(n, n, dtype=torch.bool)) & ~live[None, :]
    return see | live[:, None] | torch.eye(n, dtype=torch.bool)


@torch.no_grad()
def hidden_states(model, row, canvas):
    """row: ids; canvas: positions, revealed or not -> [n, hidden], after the final norm."""
    ids = torch.tensor([row])
    table = model.model.embed_tokens.weight
    x = torch.where((ids == MASK)[..., None], model.mask_embedding, F.embedding(ids, table))
    bias = torch.where(visible(len(row), canvas), 0.0, -1e9)[None, None]
    return model.model(inputs_embeds=x, attention_mask=bias, use_cache=False)[0][0]


@torch.no_grad()
def logprobs(model, row, positions, canvas=None):
    """positions: indices >= 1 to predict; canvas: default positions -> [len(positions), vocab] natural log-probabilities."""
    h = hidden_states(model, row, canvas if canvas is not None else positions)
    logits = F.linear(h[[p - 1 for p in positions]], model.model.embed_tokens.weight).float()
    logits[:, MASK] = -torch.inf
    return F.log_softmax(logits, -1)


def encode(tok, text):
    return tok.encode(text, add_special_tokens=False).ids


def chat(tok, instruction, text):
    """ids up to the answer: the template `classify` of dlm.json."""
    user = encode(tok, "user\n" + instruction + ("\n" + text if text else ""))
    return [IM_START] + user + [IM_END] + encode(tok, "\n") + [IM_START] + encode(tok, "assistant\n")


def one_pass(tok, model, instruction, text, labels):
    """A canvas of n_max + 1 masks serves every label -> [(mean over its tokens, sum over its tokens and the stop token)]."""
    prompt = chat(tok, instruction, text)
    ids = [encode(tok, label) for label in labels]
    n = max(map(len, ids)) + 1
    lp = logprobs(model, prompt + [MASK] * n, range(len(prompt), len(prompt) + n))
    scores = []
    for t in ids:
        each = [lp[i, k].item() for i, k in enumerate(t + [IM_END])]
        scores.append((sum(each[:-1]) / len(t), sum(each)))
    return scores
