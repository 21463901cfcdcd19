"""The rows that are measured, as build/bench/forward makes them, and what the peers' inputs look like.

A row of n tokens has ids that are a hash of its number and the position, and two asked positions, about 1/3 and 2/3 of it, which hold the mask token.
"""
import numpy as np

import models
import nets

FIRST_ID = 5
NEVER = np.float32(-1e9)


def hashed(row, positions):
    """bench/forward.c, token_at."""
    x = (np.uint64(row * 0x9E3779B1 & 0xFFFFFFFF) + positions.astype(np.uint64) * np.uint64(0x85EBCA77) + np.uint64(1)) & np.uint64(0xFFFFFFFF)
    for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39)):
        x = (x ^ x >> np.uint64(shift)) * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    return (x ^ x >> np.uint64(15)).astype(np.int64)


class Rows:
    """Makes inputs for the peers of one model."""

    def __init__(self, name):
        config = nets.config_of(name)
        self.context = name == models.DEFAULT
        self.shift = 1 if self.context else 0
        self.vocab = config["vocab_size"]
        self.mask_id = nets.mask_id(name)
        self.pad_id = config["pad_token_id"]

    def asked(self, n):
        """bench/forward.c, ask_at."""
        out = []
        for p in (n // 3, 2 * n // 3):
            p = max(p, self.shift, out[-1] + 1 if out else 0)
            if p < n:
                out.append(p)
        return out

    def ids(self, row, n):
        out = FIRST_ID + hashed(row, np.arange(n)) % (self.vocab - FIRST_ID)
        out[out == self.mask_id] = self.vocab - 1 if self.mask_id != self.vocab - 1 else self.vocab - 2
        out[self.asked(n)] = self.mask_id
        return out

    def visible(self, n, canvas):
        """[n, n]: may the row's position see the column's? Canvas positions and the ones before them see all, others what is fixed and not later."""
        live = np.zeros(n, bool)
        live[canvas] = True
        live[[p - 1 for p in canvas]] = True
        return np.tril(np.ones((n, n), bool)) & ~live[None, :] | live[:, None]

    def pack(self, ids, canvases, asked=None):
        """Lists of rows, canvas positions and asked positions (default: the canvas) -> the inputs of a net, padded to the longest row."""
        longest = max(map(len, ids))
        asked = canvases if asked is None else asked
        tokens = np.full((len(ids), longest), self.pad_id, np.int64)
        for i, row in enumerate(ids):
            tokens[i, :len(row)] = row
        if self.context:
            mask = np.full((len(ids), 1, longest, longest), NEVER, np.float32)
            for i, row in enumerate(ids):
                mask[i, 0, :len(row), :len(row)][self.visible(len(row), canvases[i])] = 0
                mask[i, 0, len(row):, 0] = 0        # padding sees something, or its softmax is not a number
        else:
            mask = np.zeros((len(ids), longest), np.int64)
            for i, row in enumerate(ids):
                mask[i, :len(row)] = 1
        flat = np.array([i * longest + p - self.shift for i, row in enumerate(asked) for p in row], np.int64)
        return {"ids": tokens, "mask": mask, "asked": flat}

    def batch(self, lengths, first=0):
        return self.pack([self.ids(first + i, n) for i, n in enumerate(lengths)], [self.asked(n) for n in lengths])


def batches(rows, lengths, size=64):
    """Rows of mixed lengths as a peer would run them: sorted by length, in padded batches."""
    order = sorted(lengths)
    return [rows.batch(order[i:i + size], i) for i in range(0, len(order), size)]


def work(name, lengths):
    """What rows of these lengths cannot do without, part by part: [(operations, bytes of f32 weights)] of all layers (of the last one only keys and values), of the
    rest of the last layer for what is asked, and of the output head."""
    c = nets.config_of(name)
    h, f, layers = c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"]
    key = c.get("num_key_value_heads", c["num_attention_heads"]) * (h // c["num_attention_heads"])
    rest = 2 * h * h + (3 if name == models.DEFAULT else 2) * h * f         # q, o and the feed-forward part
    head = h * c["vocab_size"] + (0 if name == models.DEFAULT else h * h)
    tokens, asked = sum(lengths), 2 * len(lengths)
    body = layers * 2 * h * key + (layers - 1) * rest
    attention = sum(2 * n * n * h * (layers - 1) + 2 * 2 * n * h for n in lengths)
    return [(2 * (tokens * body + attention), 4 * body), (2 * asked * rest, 4 * rest), (2 * asked * head, 4 * head)]
