"""Scores of labels, texts and tokens, embeddings and lengths of the tiny models: what the engine must agree with.

    python make_labels.py MODELS OUT        MODELS = test/models, writes OUT/NAME.json
    python make_labels.py --default FOLDER GGUF OUT    the default model (models/dlm-135m and its base), writes OUT/dlm-135m.json

Needs torch, transformers, tokenizers, safetensors. An implementation of DESIGN 3 and 4 of its own, with PyTorch's networks: templates, attention rule, logit shift,
the four scoring rules, normalisation, the content-free row, pseudo-log-likelihoods, mean-pooled embeddings and the paper's length head. Networks run in float64, so the vectors carry no rounding of their own.
"""
import json
import pathlib
import re
import sys

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer, pre_tokenizers

PAPER_ROW = "{instruction}{?input}\n{input}{/input} {label}"


class Model:
    """One checkpoint: network, tokenizer, settings."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.settings = json.loads((folder / "dlm.json").read_text()) if (folder / "dlm.json").exists() else {}
        self.tok = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tok.encode_special_tokens = True
        self.specials = sorted((t.content for t in self.tok.get_added_tokens_decoder().values()), key=len, reverse=True)
        config = transformers.AutoConfig.from_pretrained(folder)
        self.encoder = "ForMaskedLM" in config.architectures[0]
        net = (transformers.AutoModelForMaskedLM if self.encoder else transformers.AutoModelForCausalLM).from_config(config, attn_implementation="eager")
        weights = load_file(folder / "model.safetensors")
        self.length = {k: v.double() for k, v in weights.items() if k.startswith("length_")}
        weights = {k.removeprefix("model.") if self.length else k: v for k, v in weights.items() if k not in self.length}
        missing, extra = net.load_state_dict(weights, strict=False)
        assert not extra, extra
        net.tie_weights()
        self.net, self.config = net.double().eval(), config
        self.read_settings(config)
        self.replaced = {}

    def read_settings(self, config):
        s = self.settings
        self.encoders = {}
        self.mask = next(self.tok.token_to_id(t) for t in [s.get("mask_token"), "[MASK]", "<mask>", "<|mask|>"] if t and self.tok.token_to_id(t) is not None)
        ends = {"bert": (["[CLS]"], ["[SEP]"])}.get(config.model_type, (["<s>"], ["</s>"])) if self.encoder else (["<|endoftext|>"], [])
        self.begin = [self.tok.token_to_id(t) for t in ([s["begin"]] if s.get("begin") else ends[0])]
        self.end = [self.tok.token_to_id(t) for t in ([s["end"]] if s.get("end") else ends[1])]
        stop = s.get("stop_tokens") or ends[1]
        self.stop = self.tok.token_to_id(stop[0])
        self.never_score = [self.tok.token_to_id(t) for t in s.get("never_score", [])] or [self.mask]
        self.shift, self.context = s.get("logit_shift", 0), s.get("attention", "full") == "context"
        self.content_free = s.get("content_free", "N/A")

    def encoder_of_text(self, start):
        """The tokenizer of ordinary text: no string is a special token, in a Unigram lattice neither; start False: no space is put in front."""
        data = json.loads(self.tok.to_str())
        if data["model"]["type"] == "Unigram":
            special = {t["id"] for t in data["added_tokens"]}
            data["model"]["vocab"] = [["\U000F0000" * 9 + str(i), s] if i in special else [p, s] for i, (p, s) in enumerate(data["model"]["vocab"])]
            data["added_tokens"] = []
        tok = Tokenizer.from_str(json.dumps(data))
        tok.encode_special_tokens = True
        if data["pre_tokenizer"]["type"] == "Metaspace" and not start:
            tok.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="never")
        return tok

    def encode(self, text, start=True):
        """start: a text of its own; otherwise it goes on after other text."""
        if start not in self.encoders:
            self.encoders[start] = self.encoder_of_text(start)
        return self.encoders[start].encode(text, add_special_tokens=False).ids

    @torch.no_grad()
    def states(self, row, canvas):
        """row: ids; canvas: positions -> [n, hidden] after the final norm."""
        ids, n = torch.tensor([row]), len(row)
        if self.encoder:
            return self.net.base_model(input_ids=ids).last_hidden_state[0]
        live = torch.zeros(n, dtype=torch.bool)
        live[list(canvas)] = True
        live[[p - self.shift for p in canvas]] = True
        see = (torch.tril(torch.ones(n, n, dtype=torch.bool)) & ~live[None, :]) | live[:, None] if self.context else torch.ones(n, n, dtype=torch.bool)
        bias = torch.where(see, 0.0, -torch.inf).double()[None, None]
        x = F.embedding(ids, self.net.get_input_embeddings().weight)
        for token, vector in self.replaced.items():
            x = torch.where((ids == token)[..., None], vector, x)
        return self.net.model(inputs_embeds=x, attention_mask=bias, use_cache=False).last_hidden_state[0]

    @torch.no_grad()
    def logprobs(self, row, ask, canvas):
        """-> [len(ask), vocab]"""
        h = self.states(row, canvas)[[p - self.shift for p in ask]]
        if not self.encoder:
            logits = self.net.get_output_embeddings()(h)
        else:
            logits = self.net.cls(h) if self.config.model_type == "bert" else self.net.lm_head(h)
        logits[:, self.never_score] = -torch.inf
        return F.log_softmax(logits, -1)


# ------------------------------------------------------------------ rows

def fill(m, template, own, holes):
    """-> (ids before the canvas, ids after it, a space belongs to the canvas)"""
    template = re.sub(r"\{\?(\w+)\}(.*?)\{/\1\}", lambda t: t[2] if holes[t[1]] else "", template, flags=re.S)
    pattern = "|".join([r"\{(?:%s|canvas|label)\}" % "|".join(holes)] + ([re.escape(s) for s in m.specials] if own else []))
    head, tail, text, start, space, split = [], [], "", True, False, False
    ids = head if own else head.extend(m.begin) or head

    def flush():
        nonlocal text
        if text:
            ids.extend(m.encode(text, start))
        text = ""

    def divide():
        nonlocal text, ids, start, space, split
        space, text = text.endswith(" "), text[:-1] if text.endswith(" ") else text
        flush()
        ids, start, split = tail, False, True
    at = 0
    for t in re.finditer(pattern, template):
        text, at = text + template[at:t.start()], t.end()
        if t[0] in ("{canvas}", "{label}"):
            divide()
        elif t[0].startswith("{"):
            text += holes[t[0][1:-1]]
        else:
            flush()
            ids.append(m.tok.token_to_id(t[0]))
            start = True
    text += template[at:]
    if split:
        flush()
    else:
        divide()
    return head, tail + ([] if own else m.end), space


def answers_of(m, head, space, answers):
    start = not space and (not head or m.tok.id_to_token(head[-1]) in m.specials)
    return [m.encode((" " if space else "") + a, start) for a in answers]


# ----------------------------------------------------------------- scores

def label_logprobs(m, rule, head, tail, ids):
    """-> [(log-probabilities of its tokens, that of the stop token or None)] for each answer"""
    at, out = len(head), []

    def ask(canvas, positions):
        row = head + canvas + tail
        return m.logprobs(row, [at + p for p in positions], range(at, at + len(canvas)))
    if rule == "one_pass":
        n = max(map(len, ids)) + 1
        lp = ask([m.mask] * n, range(n))
        return [([lp[i, t].item() for i, t in enumerate(a)], lp[len(a), m.stop].item()) for a in ids]
    for a in ids:
        n = len(a)
        if rule == "grouped":
            lp = ask([m.mask] * n, range(n))
            out.append(([lp[i, t].item() for i, t in enumerate(a)], None))
        elif rule == "chain":
            out.append(([ask(a[:i] + [m.mask] * (n - i), [i])[0, a[i]].item() for i in range(n)], None))
        else:
            out.append(([ask(a[:i] + [m.mask] + a[i + 1:], [i])[0, a[i]].item() for i in range(n)], None))
    return out


def scores(m, rule, template, own, holes, answers):
    head, tail, space = fill(m, template, own, holes)
    each = label_logprobs(m, rule, head, tail, answers_of(m, head, space, answers))
    return {"mean": [sum(t) / len(t) for t, _ in each], "sum": [sum(t) + (stop or 0) for t, stop in each]}


def classify(m, case):
    labels = case["labels"]
    own = "template" not in case and "classify" in m.settings.get("templates", {})
    template = case.get("template") or (m.settings["templates"]["classify"] if own else PAPER_ROW)
    default = m.settings.get("classify_instruction", "Which label fits the text best? Choose from: {labels}.")
    joined = ", ".join(labels)
    descriptions = "\n".join(f"{k}: {d}" for k, d in zip(labels, case.get("descriptions", [])) if d)
    examples = "\n\n".join(f"Text: {e['input']}\nLabel: {e['label']}" for e in case.get("examples", []))
    instruction = case.get("instruction")
    if instruction is None:
        instruction = default.replace("{labels}", joined)
    for name, value in (("examples", examples), ("descriptions", descriptions)):
        if value and "{%s}" % name not in template:
            instruction = value + "\n\n" + instruction
    holes = {"instruction": instruction, "labels": joined, "descriptions": descriptions, "examples": examples}
    case["scores"] = {}
    for rule in ("one_pass", "grouped", "chain", "pll"):
        case["scores"][rule] = {
            "input": scores(m, rule, template, own, {**holes, "input": case["input"]}, labels),
            "content_free": scores(m, rule, template, own, {**holes, "input": m.content_free}, labels)}
    return case


def multi(m, case):
    """One pass, mean, content-free: yes against no for each label."""
    own = "classify" in m.settings.get("templates", {})
    template = m.settings["templates"]["classify"] if own else PAPER_ROW
    case["yes"], case["probability"] = [], []
    for label in case["labels"]:
        holes = {"instruction": f'Does the label "{label}" fit the text? Answer yes or no.', "labels": label, "descriptions": "", "examples": ""}
        a = scores(m, "one_pass", template, own, {**holes, "input": case["input"]}, ["yes", "no"])["mean"]
        b = scores(m, "one_pass", template, own, {**holes, "input": m.content_free}, ["yes", "no"])["mean"]
        value = torch.tensor([x - y for x, y in zip(a, b)], dtype=torch.float64)
        case["yes"].append(value[0].item())
        case["probability"].append(value.softmax(0)[0].item())
    return case


def token_logprobs(m, row, first, last, stride):
    out = [0.0] * (last - first)
    for start in range(min(stride, last - first)):
        canvas = list(range(first + start, last, stride))
        masked = [m.mask if p in canvas else t for p, t in enumerate(row)]
        lp = m.logprobs(masked, canvas, canvas)
        for i, p in enumerate(canvas):
            out[p - first] = lp[i, row[p]].item()
    return out


def text_case(m, text):
    ids = m.encode(text)
    row, first, last = m.begin + ids + m.end, len(m.begin), len(m.begin) + len(ids)
    case = {"input": text, "ids": ids}
    if ids:
        case["score"] = sum(token_logprobs(m, row, first, last, 8)) / len(ids)
        case["score3"] = sum(token_logprobs(m, row, first, last, 3)) / len(ids)
        case["tokens"] = token_logprobs(m, row, first, last, len(ids))
    h = m.states(row, [])
    mean = (h[first:last] if ids else h).mean(0)
    case["embedding"] = (mean / mean.norm()).tolist()
    if m.length:
        case["lengths"] = lengths(m, m.begin + ids)
    return case


@torch.no_grad()
def lengths(m, row):
    """The paper's length head (PyTorch's post-norm encoder layer with ReLU, mean, Linear, Tanh, Linear) -> log-probabilities of the classes."""
    w = {k.removeprefix("length_trm.layers.0."): v for k, v in m.length.items()}
    hidden, ffn = w["norm1.weight"].shape[0], w["linear1.weight"].shape[0]
    layer = torch.nn.TransformerEncoderLayer(hidden, m.config.num_attention_heads, ffn, batch_first=True).double().eval()
    layer.load_state_dict({k: v for k, v in w.items() if not k.startswith("length_")})
    x = layer(m.states(row, [])[None])[0].mean(0)
    x = torch.tanh(F.linear(x, w["length_predictor.0.weight"], w["length_predictor.0.bias"]))
    return F.log_softmax(F.linear(x, w["length_predictor.2.weight"], w["length_predictor.2.bias"]), -1).tolist()


# ------------------------------------------------------------------ cases

CASES = [
    {"input": "The small boat left the harbour before sunrise.", "labels": ["weather", "food", "the sea", "a long label of several words"]},
    {"input": "Where does it set?", "labels": ["yes", "no"], "instruction": "Is this a question? Answer yes or no."},
    {"input": "", "labels": ["yes", "no", "nobody knows"], "instruction": "Is the sun a star?"},
    {"input": "<|im_end|> </s> [SEP] is text.", "labels": ["one", "two", "three", "10275"], "template": "{input}\nLabel: {label}. {labels}"},
    {"input": "Das kleine Boot verließ den Hafen", "labels": ["German", "French", "English"], "template": "{input} is written in"},
    {"input": "the food was great", "labels": ["good", "bad"], "instruction": "Choose.", "descriptions": ["people liked it", ""],
     "examples": [{"input": "far too loud", "label": "bad"}, {"input": "it was clean", "label": "good"}]},
    {"input": "the food was great", "labels": ["good", "very bad"], "template": "{descriptions}\n{?examples}{examples}\n{/examples}{input} = {label}",
     "descriptions": ["people liked it", "nobody did"]},
]
MULTI = [{"input": "The weather was good, the food was great.", "labels": ["weather", "food", "politics"]}]
TEXTS = ["The small boat left the harbour before sunrise and came back in the evening.", "fish", "Le petit bateau a quitt\u00e9 le port, 1000 fois."]
TINY = ["bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "paper", "llama", "context", "untied", "qwen2", "qwen3"]


def rounded(x):
    if isinstance(x, float):
        return float(f"{x:.7g}")
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else x


def dump(m, name, out, cases=CASES, texts=TEXTS):
    vectors = {"model": name, "classify": [classify(m, dict(c)) for c in cases], "multi": [multi(m, dict(c)) for c in MULTI],
               "texts": [text_case(m, t) for t in texts]}
    path = pathlib.Path(out) / (name + ".json")
    path.write_text(json.dumps(rounded(vectors), ensure_ascii=False, indent=0) + "\n")


def default_model(folder, gguf):
    folder, gguf = pathlib.Path(folder), pathlib.Path(gguf)
    m = Model.__new__(Model)
    m.settings, m.encoder, m.length = json.loads((folder / "dlm.json").read_text()), False, {}
    m.tok = Tokenizer.from_file(str(folder / "tokenizer.json"))
    m.tok.encode_special_tokens = True
    m.specials = sorted((t.content for t in m.tok.get_added_tokens_decoder().values()), key=len, reverse=True)
    m.config = transformers.LlamaConfig(**json.loads((folder / "config.json").read_text()))
    base = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    net = transformers.LlamaForCausalLM._from_config(m.config, attn_implementation="eager")
    net.load_state_dict(base.state_dict())
    adapter, meta = load_file(folder / "adapter_model.safetensors"), json.loads((folder / "adapter_config.json").read_text())
    for name, weight in net.named_parameters():
        key = "base_model.model." + name.removesuffix(".weight")
        if key + ".lora_A.weight" in adapter:
            weight.data += meta["lora_alpha"] / meta["r"] * adapter[key + ".lora_B.weight"].float() @ adapter[key + ".lora_A.weight"].float()
    m.net = net.double().eval()
    m.read_settings(m.config)
    m.replaced = {m.mask: adapter["mask_embedding"].double()}
    return m


def main():
    torch.set_num_threads(1)
    if sys.argv[1] == "--default":
        return dump(default_model(sys.argv[2], sys.argv[3]), "dlm-135m", sys.argv[4])
    for name in TINY:
        dump(Model(pathlib.Path(sys.argv[1]) / name), name, sys.argv[2])


if __name__ == "__main__":
    main()
