"""Tiny random checkpoints, one per family and file form that dlm-model converts.

    python make_models.py OUT        writes OUT/NAME/{config.json,model.safetensors,tokenizer.json[,dlm.json]}

Needs torch, transformers, tokenizers, sentencepiece, safetensors. Seeded: the same versions write the same bytes (but for ties inside the WordPiece trainer). Weights are drawn so that every part of the
network matters (biases and norms are not trivial) and that the output is far from flat. Sizes are deliberately no multiples of 16 or 4.
"""
import io
import json
import pathlib
import struct
import sys

import sentencepiece
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

CORPUS = """The small boat left the harbour before sunrise and came back in the evening with two boxes of fish.
Berlin is the capital of Germany, Paris is the capital of France, and Rome is the capital of Italy.
A customer wrote that the delivery was late, the box was broken, and nobody answered the phone for three days.
The answer to the question is yes. The answer to the other question is no. Nobody knows the answer to the last one.
Please book a table for four people at seven o'clock; we would like to sit near the window, if that is possible.
Name: John Smith. Country: France. City: Lyon. Language: French. Age: 42. Order number: 10275. Price: 19.99 dollars.
Das kleine Boot verließ den Hafen vor Sonnenaufgang und kehrte am Abend mit zwei Kisten Fisch zurück.
Le petit bateau a quitté le port avant l'aube et il est revenu le soir avec deux caisses de poissons.
Where does the sun rise? Where does it set? How many days are in a week, and how many weeks are in a year?
The weather was good, the food was great, the room was clean; the music, however, was far too loud for us.
It doesn't matter what they've said: we'll see it, I'm sure, when it's ready, and you'd better wait until then.
Tables, rows, columns and indexes: the database keeps them all, and a query brings them back in a moment.
He walked walking walked walks; she talked talking talks; they played playing plays and stopped stopping stops.
0123456789 10 20 30 40 50 60 70 80 90 100 1000 2000 2026 ... !!! ??? --- (a) (b) (c) [x] {y} "quoted" 'single' #tag @name
""".splitlines()


# ------------------------------------------------------------------ tokenizers

def wordpiece():
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tok.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=397, special_tokens=special, show_progress=False))
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", tok.token_to_id("[CLS]")), ("[SEP]", tok.token_to_id("[SEP]"))])
    return tok


def byte_bpe(special, split=None, size=421):
    """special: tokens with the lowest ids; split: a regex before the byte map (Qwen2's form), else GPT-2's own."""
    tok = Tokenizer(models.BPE())
    if split:
        tok.normalizer = normalizers.NFC()
        tok.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    else:
        tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tok


def roberta_bpe():
    tok = byte_bpe(["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)])
    tok.post_processor = processors.RobertaProcessing(
        ("</s>", tok.token_to_id("</s>")), ("<s>", tok.token_to_id("<s>")), add_prefix_space=False)
    return tok


QWEN_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CHAT_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|mask|>"]


def proto_fields(data):
    """Fields of a serialised protobuf message -> [(number, value)]: enough to read a SentencePiece model without its generated classes."""
    at, out = 0, []

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
        if key & 7 == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or varint()
            value = data[at:at + size]
            at += size
        out.append((key >> 3, value))
    return out


def unigram(charsmap):
    """XLM-RoBERTa's form: four special ids first, the mask last. charsmap: with SentencePiece's nmt_nfkc map (300 kB)."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=out, vocab_size=380, model_type="unigram", character_coverage=1.0,
        hard_vocab_limit=False, normalization_rule_name="nmt_nfkc", minloglevel=2, num_threads=1)
    model = proto_fields(out.getvalue())
    pieces = [dict(proto_fields(value)) for number, value in model if number == 1]      # 1 piece, 2 score, 3 type (absent or 1: normal)
    charmap = dict(proto_fields(next(value for number, value in model if number == 3)))[2]
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab += [(p[1].decode(), struct.unpack("<f", p[2])[0]) for p in pieces if p.get(3, 1) == 1]
    vocab.append(("<mask>", 0.0))
    tok = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    steps = [normalizers.Precompiled(charmap)] if charsmap else []
    tok.normalizer = normalizers.Sequence(steps + [normalizers.Replace(Regex(" {2,}"), " ")])
    tok.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    tok.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="always")
    tok.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)])
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return tok


# ----------------------------------------------------------------- checkpoints

def randomize(module, seed):
    """Weights far from the usual small initialisation; norms around one, biases around zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(module.named_parameters()):
            noise = torch.randn(p.shape, generator=generator)
            if p.dim() > 1 and "embed" in name or "wte" in name:
                p.copy_(0.5 * noise)
            elif p.dim() > 1:
                p.copy_(1.6 / p.shape[1] ** 0.5 * noise)
            elif "norm" in name.lower() and name.endswith("weight"):
                p.copy_(1 + 0.2 * noise)
            else:
                p.copy_(0.2 * noise)
    return module.eval()


def tensors(model):
    """State dict without the copies that tied weights make (the output side's names are left out)."""
    tied = {"lm_head.weight", "lm_head.decoder.weight", "lm_head.decoder.bias", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    tied = tied if model.config.tie_word_embeddings else set()
    return {name: t.contiguous() for name, t in model.state_dict().items() if name not in tied}


def write(out, name, config, weights, tok, dlm=None, shards=1):
    folder = pathlib.Path(out) / name
    folder.mkdir(parents=True, exist_ok=True)
    config = config if isinstance(config, dict) else json.loads(config.to_json_string())
    config.pop("transformers_version", None)
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    (folder / "tokenizer.json").write_text(tok.to_str())
    if dlm is not None:
        (folder / "dlm.json").write_text(json.dumps(dlm, indent=1) + "\n")
    if shards == 1:
        return save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    index, names = {}, sorted(weights)
    for i in range(shards):
        part = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        mine = names[i::shards]
        save_file({n: weights[n] for n in mine}, str(folder / part), metadata={"format": "pt"})
        index.update({n: part for n in mine})
    total = sum(t.numel() * t.element_size() for t in weights.values())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=1) + "\n")


def encoder(kind, tok, hidden, heads, ffn, seed, **more):
    """-> (config, model): BERT and its descendants, 2 layers."""
    offset = 0 if kind == "Bert" else 2
    base = dict(vocab_size=tok.get_vocab_size(), hidden_size=hidden, num_hidden_layers=2, num_attention_heads=heads, intermediate_size=ffn,
                max_position_embeddings=128 + offset, type_vocab_size=2 if kind == "Bert" else 1, layer_norm_eps=1e-12 if kind == "Bert" else 1e-5)
    if kind != "Bert":
        base.update(pad_token_id=1, bos_token_id=0, eos_token_id=2)
    config = getattr(transformers, kind + "Config")(**{**base, **more})
    config.architectures = [kind + "ForMaskedLM"]
    model = getattr(transformers, kind + "ForMaskedLM")(config)
    model = randomize(model, seed)
    model.tie_weights()
    return config, model


def decoder(kind, tok, seed, **more):
    """-> (config, model): the llama form, 2 layers, grouped heads."""
    base = dict(vocab_size=tok.get_vocab_size() + 3, hidden_size=40, intermediate_size=88, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                head_dim=10, max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=0, eos_token_id=2, pad_token_id=None)
    config = getattr(transformers, kind + "Config")(**{**base, **more})
    config.architectures = [kind + "ForCausalLM"]
    model = randomize(getattr(transformers, kind + "ForCausalLM")(config), seed)
    model.tie_weights()
    return config, model


LLADA_NAMES = [
    ("model.embed_tokens.", "model.transformer.wte."), ("model.norm.", "model.transformer.ln_f."), ("lm_head.", "model.transformer.ff_out."),
    ("model.layers.", "model.transformer.blocks."), ("self_attn.o_proj", "attn_out"), ("self_attn.", ""), ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ff_norm"), ("mlp.gate_proj", "ff_proj"), ("mlp.up_proj", "up_proj"), ("mlp.down_proj", "ff_out")]


def llada(out, tok):
    config, model = decoder("Llama", tok, 31, num_key_value_heads=4, tie_word_embeddings=False, vocab_size=tok.get_vocab_size())
    weights = {}
    for name, t in tensors(model).items():
        for old, new in LLADA_NAMES:
            name = name.replace(old, new)
        weights[name] = t
    write(out, "llada", {
        "architectures": ["LLaDAModelLM"], "model_type": "llada", "activation_type": "silu", "alibi": False, "attention_layer_norm": False, "block_type": "llama",
        "d_model": config.hidden_size, "embedding_size": config.vocab_size, "eos_token_id": 0, "include_bias": False, "include_qkv_bias": False,
        "input_emb_norm": False, "layer_norm_type": "rms", "layer_norm_with_affine": True, "mask_token_id": tok.token_to_id("<|mask|>"),
        "max_sequence_length": config.max_position_embeddings, "mlp_hidden_size": config.intermediate_size, "n_heads": config.num_attention_heads,
        "n_kv_heads": config.num_key_value_heads, "n_layers": config.num_hidden_layers, "pad_token_id": 0, "rms_norm_eps": config.rms_norm_eps, "rope": True,
        "rope_full_precision": True, "rope_theta": 10000.0, "scale_logits": False, "vocab_size": config.vocab_size, "weight_tying": False}, weights, tok)


def paper(out):
    """The paper's checkpoint: XLM-RoBERTa under `model.` and the length head beside it (diffusion-algorithms 1.5)."""
    tok = unigram(charsmap=False)
    config, model = encoder("XLMRoberta", tok, 42, 3, 66, 51)
    weights = {"model." + name: t for name, t in tensors(model).items()}
    torch.manual_seed(52)
    layer = randomize(torch.nn.TransformerEncoderLayer(42, 3, 66, batch_first=True), 53)
    predictor = randomize(torch.nn.Sequential(torch.nn.Linear(42, 66), torch.nn.Tanh(), torch.nn.Linear(66, 130)), 54)
    weights.update({"length_trm.layers.0." + name: t for name, t in layer.state_dict().items()})
    weights.update({"length_predictor." + name: t for name, t in predictor.state_dict().items()})
    write(out, "paper", config, weights, tok)


CONTEXT_DLM = {
    "format": 1, "mask_token": "<|mask|>", "begin": "<|endoftext|>", "end": "", "never_generate": ["<|mask|>", "<|im_start|>", "<|endoftext|>"],
    "never_score": ["<|mask|>"], "stop_tokens": ["<|im_end|>"], "logit_shift": 1, "attention": "context",
    "templates": {"generate": "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n{canvas}",
                  "classify": "<|im_start|>user\n{instruction}{?input}\n{input}{/input}<|im_end|>\n<|im_start|>assistant\n{label}",
                  "infill": "<|endoftext|>{text}"},
    "classify_instruction": "Which label fits the text best? Choose from: {labels}.", "content_free": "N/A",
    "defaults": {"sampler": "reparam-uncond-deterministic-cosine", "scoring": "one_pass", "normalize": "mean", "calibrate": "content_free"},
    "license": "PostgreSQL", "source": "random weights for tests"}
MASK_DLM = {"format": 1, "mask_token": "<|mask|>", "begin": "<|endoftext|>", "stop_tokens": ["<|im_end|>"]}


def main():
    out = sys.argv[1]
    torch.set_num_threads(1)
    config, model = encoder("Bert", tok := wordpiece(), 48, 4, 100, 11)
    write(out, "bert", config, tensors(model), tok)
    config, model = encoder("Roberta", tok := roberta_bpe(), 40, 5, 84, 12)
    write(out, "roberta", config, tensors(model), tok)
    config, model = encoder("Roberta", tok, 40, 5, 84, 15)
    write(out, "sharded", config, tensors(model), tok, shards=3)
    config, model = encoder("XLMRoberta", tok := unigram(charsmap=True), 42, 3, 66, 13)
    write(out, "xlm-roberta", config, tensors(model), tok)
    config, model = encoder("XLMRobertaXL", tok := unigram(charsmap=False), 44, 2, 70, 14)
    write(out, "xlm-roberta-xl", config, tensors(model), tok)
    paper(out)
    chat = byte_bpe(CHAT_TOKENS)
    config, model = decoder("Llama", chat, 21, max_position_embeddings=8192)
    write(out, "llama", config, tensors(model), chat, MASK_DLM)
    config, model = decoder("Llama", chat, 22)
    write(out, "context", config, tensors(model), chat, CONTEXT_DLM)
    config, model = decoder("Llama", chat, 23, hidden_size=36, num_attention_heads=2, num_key_value_heads=1, head_dim=18, tie_word_embeddings=False)
    write(out, "untied", config, tensors(model), chat, MASK_DLM)
    config, model = decoder("Llama", chat, 24)
    write(out, "bf16", config, {n: t.to(torch.bfloat16) for n, t in tensors(model).items()}, chat, MASK_DLM)
    qwen = byte_bpe(CHAT_TOKENS, QWEN_SPLIT)
    config, model = decoder("Qwen2", qwen, 25, rms_norm_eps=1e-6)
    write(out, "qwen2", config, tensors(model), qwen, {**MASK_DLM, "logit_shift": 1})
    config, model = decoder("Qwen3", qwen, 26, head_dim=16, rms_norm_eps=1e-6)
    write(out, "qwen3", config, tensors(model), qwen, MASK_DLM)
    llada(out, chat)


if __name__ == "__main__":
    main()
