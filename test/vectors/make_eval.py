"""Figures of `dlm-model eval` by the libraries that define them: what model_loader/eval_*.c must agree with.

    python make_eval.py OUT.json

Needs sacrebleu (2.6.0) and rouge-score (0.1.2). chrF2 of single texts and of a corpus; ROUGE-L F1; bootstrap intervals and random orders of rows as
bench/quality/rows.py has them, by Philox, whose outputs t_rng.c checks against the published ones.
"""
import json
import pathlib
import random
import sys

from rouge_score import rouge_scorer
from sacrebleu.metrics import CHRF

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "bench" / "quality"))
import rows  # noqa: E402

PAIRS = [
    ("the cat sat on the mat", "the cat is on the mat"), ("the cat sat on the mat", "the cat sat on the mat"), ("", "the cat"), ("the cat", ""), ("", ""), ("a", "a"),
    ("a", "b"), ("ab", "abcdefgh"), ("abcdefgh", "ab"), ("aaaa", "aa"), ("aa aa aa aa", "aaaaaaaaaaaa"), ("  spaced\tout\n text ", "spacedouttext"),
    ("Grüße aus Köln", "Gruesse aus Koeln"), ("naïve café, déjà vu", "naive cafe, deja vu"), ("日本語のテキスト", "日本語テキスト"), ("😀😀 ok 😀", "😀 ok 😀😀"),
    ("no\u00a0break\u2003space\u3000here", "no break space here"), ("Hello, World! 42", "hello world 42"), ("\u212aelvin and \u0130stanbul", "kelvin and istanbul"),
    ("x-ray_9 ... Y2K", "X RAY 9 y2k"), ("one two three four five six", "six five four three two one"), ("one two one two one", "two one two"),
    ("The quick brown fox jumps over the lazy dog.", "A quick brown dog jumps over the lazy fox!"), ("!!!", "???"), ("!!!", "!!!"), ("...", "the end"),
    ("Inform(name = hotel drisco)", "The Hotel Drisco is a nice place."), ("12,345.67", "12345.67"), ("It 's", "It's"), ("\u2028line\u2029par\x1csep\x85nel", "linepar sepnel"),
]


def main():
    rng = random.Random(1)
    chrf, rouge = CHRF(), rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    words = "the a cat dog sat ran on in mat house big red Über 東京 1984 x".split()
    pairs = PAIRS + [(" ".join(rng.choices(words, k=rng.randint(1, 12))), " ".join(rng.choices(words, k=rng.randint(1, 12)))) for _ in range(20)]
    tasks = [[int(rng.random() < p) for _ in range(n)] for p, n in ((0.5, 40), (0.7, 25), (0.1, 7))]
    other = [[int(rng.random() < 0.5) for _ in task] for task in tasks]
    out = {
        "pairs": [{"answer": a, "reference": b, "chrf": chrf.sentence_score(a, [b]).score, "rouge_l": rouge.score(b, a)["rougeL"].fmeasure} for a, b in pairs],
        "corpus_chrf": chrf.corpus_score([a for a, _ in pairs], [[b for _, b in pairs]]).score,
        "tasks": tasks, "other": other, "seed": 7, "interval": list(rows.interval(tasks, 7)), "interval_first": list(rows.interval(tasks[:1], 7)),
        "interval_difference": list(rows.interval([[x - y for x, y in zip(a, b)] for a, b in zip(tasks, other)], 7)),
        "order": sorted(range(30), key=lambda line: rows.order(line, 7)),
    }
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        f.write("{" + ",\n".join(f"{json.dumps(k)}: " + (json.dumps(v) if k != "pairs" else "[" + ",\n".join(json.dumps(p) for p in v) + "]") for k, v in out.items()) + "}\n")


if __name__ == "__main__":
    main()
