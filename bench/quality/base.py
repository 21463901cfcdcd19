"""The base model read left to right, over label tasks: what the default model must beat.

    python base.py --folder ../../models/dlm-135m --base FILE.gguf --data DIR/heldout --rows 0 --out base_heldout.json

SmolLM2-135M-Instruct in PyTorch (f32), as it comes, with the prompt of the default model. A label's *mean* is its tokens' mean log-probability, its *sum* the sum over its
tokens and the stop token; each also less the same of the content-free text ("N/A" for the input): mean+cf, sum+cf. All labels of a row go through the network together:
each sees the prompt and itself. The output holds, of each task, the lines of its rows in the file and one digit a row for each rule (1: right); rows that it holds
already are not computed again. "best" is the rule of the highest mean over the tasks: the base's best, which the bar of a release is measured from.
"""
import argparse
import json
import os
import pathlib
import sys
import time

import torch
import torch.nn.functional as F

import reference_model
import rows

PORTION = 600
RULES = ("mean", "mean+cf", "sum", "sum+cf")


@torch.no_grad()
def score(model, items):
    """items: [(prompt ids, [label ids])], one after another through the network -> for each, [(mean, sum)], see above."""
    ids, places, item_of, label_of, asked, wanted = [], [], [], [], [], []
    for k, (prompt, labels) in enumerate(items):
        last = len(ids) + len(prompt) - 1
        ids += prompt
        places += range(len(prompt))
        item_of += [k] * len(prompt)
        label_of += [-1] * len(prompt)
        for i, label in enumerate(labels):
            asked += [last] + list(range(len(ids), len(ids) + len(label)))
            wanted += label + [reference_model.IM_END]
            ids += label
            places += range(len(prompt), len(prompt) + len(label))
            item_of += [k] * len(label)
            label_of += [i] * len(label)
    item, label = torch.tensor(item_of), torch.tensor(label_of)
    see = torch.tril(torch.ones(len(ids), len(ids), dtype=torch.bool)) & (item[None] == item[:, None]) & ((label[None] == -1) | (label[None] == label[:, None]))
    h = model.model(input_ids=torch.tensor([ids]), attention_mask=torch.where(see, 0.0, -1e9)[None, None], position_ids=torch.tensor([places]), use_cache=False)[0][0]
    logits = F.linear(h[torch.tensor(asked)], model.model.embed_tokens.weight).float()
    logits[:, reference_model.MASK] = -torch.inf
    each = F.log_softmax(logits, -1)[torch.arange(len(wanted)), torch.tensor(wanted)].tolist()
    out, at = [], 0
    for _, labels in items:
        out.append([])
        for label in labels:
            out[-1].append((sum(each[at:at + len(label)]) / len(label), sum(each[at:at + len(label) + 1])))
            at += len(label) + 1
    return out


def score_all(model, items):
    """As score, in portions of about PORTION tokens."""
    out, portion, tokens = [], [], 0
    for item in items:
        n = len(item[0]) + sum(map(len, item[1]))
        if portion and tokens + n > PORTION:
            out += score(model, portion)
            portion, tokens = [], 0
        portion.append(item)
        tokens += n
    return out + (score(model, portion) if portion else [])


def choose(scores, null):
    """-> {rule: index of the label}"""
    def best(values):
        return max(range(len(values)), key=lambda i: values[i])
    return {rule: best([s[k] - (z[k] if cf else 0) for s, z in zip(scores, null)]) for rule, k, cf in (("mean", 0, 0), ("mean+cf", 0, 1), ("sum", 1, 0), ("sum+cf", 1, 1))}


def run_task(tok, model, chosen):
    def item(e, text):
        return reference_model.chat(tok, e["instruction"], text), [reference_model.encode(tok, label) for label in e["labels"]]

    def key(e):
        return e["instruction"], tuple(e["labels"])
    kinds = {key(e): e for _, e in chosen}
    null = dict(zip(kinds, score_all(model, [item(e, "N/A") for e in kinds.values()])))
    right = {rule: "" for rule in RULES}
    for (_, e), scores in zip(chosen, score_all(model, [item(e, e["input"]) for _, e in chosen])):
        for rule, i in choose(scores, null[key(e)]).items():
            right[rule] += str(int(e["labels"][i] == e["target"]))
    return right


def merge(task, right, lines, every):
    """task: what was known, or None; right: of the rows of `lines`; every: {line: row} of the whole file -> the task with both, in the file's order."""
    digits = {r: dict(zip(task["lines"], task["right"][r])) if task else {} for r in RULES}
    for r in RULES:
        digits[r].update(zip(lines, right[r]))
    lines = sorted(digits[RULES[0]])
    return {"rows": len(lines), "baseline": rows.baseline([every[i] for i in lines]), "accuracy": {r: sum(map(int, digits[r].values())) / len(lines) for r in RULES},
            "lines": lines, "right": {r: "".join(digits[r][i] for i in lines) for r in RULES}}


def finish(out, result):
    tasks = result["tasks"].values()
    result["mean"] = {rule: sum(t["accuracy"][rule] for t in tasks) / len(tasks) for rule in RULES}
    result["mean"]["baseline"] = sum(t["baseline"] for t in tasks) / len(tasks)
    result["best"] = max(RULES, key=lambda rule: result["mean"][rule])
    out.with_suffix(".part").write_text(json.dumps(result).replace('{"rows"', '\n{"rows"').replace(": \n", ":\n").replace('}, "mean": ', '},\n"mean": ') + "\n")
    os.replace(out.with_suffix(".part"), out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--folder", "--base", "--data", "--out"):
        parser.add_argument(name, required=True)
    parser.add_argument("--rows", type=int, default=0, help="of each task, chosen as `dlm-model eval --rows` does (0: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tasks", nargs="*", help="only these (default: all files of --data)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tok, model = reference_model.load_base(args.folder, args.base)
    out = pathlib.Path(args.out)
    result = json.loads(out.read_text()) if out.exists() else {"model": "SmolLM2-135M-Instruct, left to right", "tasks": {}}
    for path in sorted(pathlib.Path(args.data).glob("*.jsonl*")):
        name = path.name.split(".jsonl")[0]
        if args.tasks and name not in args.tasks:
            continue
        task = result["tasks"].get(name)
        done = set(task["lines"]) if task else set()
        chosen = [r for r in rows.read(path, args.rows, args.seed) if r[0] not in done]
        if not chosen:
            continue
        start = time.time()
        result["tasks"][name] = task = merge(task, run_task(tok, model, chosen), [i for i, _ in chosen], dict(rows.read(path)))
        finish(out, result)
        print(f"{name:28s} {task['rows']:4d} rows  baseline {task['baseline']:.3f}  " + "  ".join(f"{r} {task['accuracy'][r]:.3f}" for r in RULES) + f"  {time.time() - start:.0f} s",
              file=sys.stderr, flush=True)
    print(json.dumps({k: result[k] for k in ("mean", "best")}))


if __name__ == "__main__":
    main()
