"""The measured models in PyTorch: what the peers get. Same weights as the .dlm files, written so that exporters and fusers know the patterns.

    net = load(folder, name)                 (folder: where models.py put its models)
    logits = net(ids, mask, asked)           ids [B, L] int64; asked [A] int64, indices into the B * L positions -> [A, vocab] f32

Only the asked positions reach the output head, in every peer as in the engine. `mask` is what the model needs: the encoders take [B, L] int64, 1 for a token
and 0 for padding; the default model takes the additive f32 [B, 1, L, L] of `context` attention (rows.py makes both).
"""
import json
import pathlib
import struct

import numpy as np
import torch
import torch.nn.functional as F

import models


class Encoder(torch.nn.Module):
    """RoBERTa's form: post-norm, learned positions that begin behind the padding token's, GELU, a head of dense, GELU and norm."""

    def __init__(self, config, weights):
        super().__init__()
        self.heads, self.width = config["num_attention_heads"], config["hidden_size"] // config["num_attention_heads"]
        self.eps, self.first = config["layer_norm_eps"], config["pad_token_id"] + 1
        self.n_layers = config["num_hidden_layers"]
        self.fused = True
        self.w = torch.nn.ParameterDict({k.replace(".", "_"): torch.nn.Parameter(v, requires_grad=False) for k, v in weights.items()})

    def linear(self, x, name):
        return F.linear(x, self.w[name + "_weight"], self.w[name + "_bias"])

    def norm(self, x, name):
        weight = self.w[name + "_weight"]
        return F.layer_norm(x, (weight.shape[0],), weight, self.w[name + "_bias"], self.eps)

    def attend(self, x, mask, at):
        """x [B, L, hidden], mask additive [B, 1, 1, L] -> [B, L, hidden]."""
        def split(t):
            return t.view(t.shape[0], t.shape[1], self.heads, self.width).transpose(1, 2)

        q, k, v = (split(self.linear(x, at + "attention_self_" + part)) for part in ("query", "key", "value"))
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            y = torch.matmul(torch.softmax(torch.matmul(q, k.transpose(-1, -2)) / self.width ** 0.5 + mask, -1), v)
        return y.transpose(1, 2).reshape(x.shape[0], x.shape[1], self.heads * self.width)

    def forward(self, ids, mask, asked):
        at = "roberta_embeddings_"
        bias = (1.0 - mask[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min
        positions = self.w[at + "position_embeddings_weight"][self.first:self.first + ids.shape[1]]
        x = F.embedding(ids, self.w[at + "word_embeddings_weight"]) + self.w[at + "token_type_embeddings_weight"][0] + positions
        x = self.norm(x, at + "LayerNorm")
        for i in range(self.n_layers):
            at = f"roberta_encoder_layer_{i}_"
            x = self.norm(self.linear(self.attend(x, bias, at), at + "attention_output_dense") + x, at + "attention_output_LayerNorm")
            y = F.gelu(self.linear(x, at + "intermediate_dense"))
            x = self.norm(self.linear(y, at + "output_dense") + x, at + "output_LayerNorm")
        x = x.reshape(-1, self.heads * self.width)[asked]
        x = self.norm(F.gelu(self.linear(x, "lm_head_dense")), "lm_head_layer_norm")
        return F.linear(x, self.w["roberta_embeddings_word_embeddings_weight"], self.w["lm_head_bias"])


class Llama(torch.nn.Module):
    """Llama's form: pre-norm, RoPE, grouped heads, gated SiLU. The mask token's row differs between the input embedding and the head."""

    def __init__(self, config, weights):
        super().__init__()
        self.heads, self.groups, self.width = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
        self.eps, self.n_layers, self.hidden = config["rms_norm_eps"], config["num_hidden_layers"], config["hidden_size"]
        self.fused = True
        angles = torch.outer(torch.arange(1024.0), config["rope_parameters"]["rope_theta"] ** -(torch.arange(0, self.width, 2) / self.width))
        self.register_buffer("cos", torch.cat([angles, angles], -1).cos())
        self.register_buffer("sin", torch.cat([angles, angles], -1).sin())
        self.w = torch.nn.ParameterDict({k.replace(".", "_"): torch.nn.Parameter(v, requires_grad=False) for k, v in weights.items()})

    def norm(self, x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.w[name]

    def rotate(self, x):
        half = self.width // 2
        turned = torch.cat([-x[..., half:], x[..., :half]], -1)
        return x * self.cos[:x.shape[2]] + turned * self.sin[:x.shape[2]]

    def attend(self, x, mask, at):
        batch, length = x.shape[0], x.shape[1]

        def split(name, heads):
            return F.linear(x, self.w[at + name]).view(batch, length, heads, self.width).transpose(1, 2)

        def spread(t):
            t = t[:, :, None].expand(batch, self.groups, self.heads // self.groups, length, self.width)
            return t.reshape(batch, self.heads, length, self.width)

        q, k = self.rotate(split("attn_q_weight", self.heads)), spread(self.rotate(split("attn_k_weight", self.groups)))
        v = spread(split("attn_v_weight", self.groups))
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            y = torch.matmul(torch.softmax(torch.matmul(q, k.transpose(-1, -2)) * self.width ** -0.5 + mask, -1), v)
        return F.linear(y.transpose(1, 2).reshape(batch, length, self.heads * self.width), self.w[at + "attn_output_weight"])

    def forward(self, ids, mask, asked):
        x = F.embedding(ids, self.w["input"])
        for i in range(self.n_layers):
            at = f"blk_{i}_"
            x = x + self.attend(self.norm(x, at + "attn_norm_weight"), mask, at)
            y = self.norm(x, at + "ffn_norm_weight")
            x = x + F.linear(F.silu(F.linear(y, self.w[at + "ffn_gate_weight"])) * F.linear(y, self.w[at + "ffn_up_weight"]), self.w[at + "ffn_down_weight"])
        x = self.norm(x.reshape(-1, self.hidden)[asked], "output_norm_weight")
        return F.linear(x, self.w["token_embd_weight"])


# ---------------------------------------------------------------- weights

def read_safetensors(path):
    """{name: f32 tensor} of a file of F32 and BF16 tensors."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    data = np.memmap(path, np.uint8, "r", offset=8 + size)
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        part = np.array(data[slice(*entry["data_offsets"])])
        if entry["dtype"] == "BF16":
            tensor = torch.from_numpy((part.view(np.uint16).astype(np.uint32) << 16).view(np.float32))
        else:
            tensor = torch.from_numpy(part.view(np.float32))
        out[name] = tensor.reshape(entry["shape"])
    return out


def unpermute(w, heads):
    """GGUF interleaves the two halves of each head of q and k for its own RoPE; undo it."""
    return w.reshape(heads, w.shape[0] // heads // 2, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


HF_NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
            "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def default_weights(config):
    """Base weights, permutations undone, the adapter merged; `input` is the embedding with the mask token's row replaced."""
    import gguf
    folder = models.ROOT / "models" / models.DEFAULT
    adapter = read_safetensors(folder / "adapter_model.safetensors")
    meta = json.loads((folder / "adapter_config.json").read_text())
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    out = {}
    for tensor in gguf.GGUFReader(models.base_weights()).tensors:
        name = tensor.name
        w = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        part = name.split(".")[2] if name.startswith("blk.") else ""
        w = torch.from_numpy(np.ascontiguousarray(unpermute(w, heads[part]) if part in heads else w))
        if part in HF_NAMES:
            key = f"base_model.model.model.layers.{name.split('.')[1]}.{HF_NAMES[part]}"
            w = w + meta["lora_alpha"] / meta["r"] * adapter[key + ".lora_B.weight"] @ adapter[key + ".lora_A.weight"]
        out[name] = w
    mask = mask_id(models.DEFAULT)
    out["input"] = out["token_embd.weight"].clone()
    out["input"][mask] = adapter["mask_embedding"]
    return out


def config_of(name):
    if name == models.DEFAULT:
        return json.loads((models.ROOT / "models" / name / "config.json").read_text())
    return models.config_of(name)


def mask_id(name):
    if name != models.DEFAULT:
        return models.config_of(name)["mask_token_id"]
    folder = models.ROOT / "models" / name
    mask = json.loads((folder / "dlm.json").read_text())["mask_token"]
    added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    return next(t["id"] for t in added if t["content"] == mask)


def load(folder, name):
    config = config_of(name)
    if name == models.DEFAULT:
        return Llama(config, default_weights(config)).eval()
    return Encoder(config, read_safetensors(pathlib.Path(folder) / name / "model.safetensors")).eval()
