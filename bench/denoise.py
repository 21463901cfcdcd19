"""A whole denoising as a peer's user would write it: a loop of forwards, arg-max and confidence, most confident first."""
import numpy as np


def peer_denoise(peer, rows, batch, prompt, canvas, steps):
    """A prompt of `prompt` tokens and a canvas of `canvas` masks in each of `batch` rows -> the filled rows [batch, prompt + canvas]."""
    import torch
    ids = np.stack([rows.ids(i, prompt + canvas) for i in range(batch)])
    ids[:, prompt:] = rows.mask_id
    slots = [list(range(prompt, prompt + canvas))] * batch
    inputs = rows.pack(ids, slots)
    choice = np.zeros((batch, canvas), np.int64)
    for step in range(1, steps + 1):
        inputs["ids"] = ids
        logits = torch.cat([torch.from_numpy(part) for part in peer([inputs])])
        logits[:, rows.mask_id] = -torch.inf
        best, token = logits.max(-1)
        confidence = (best - torch.logsumexp(logits, -1)).numpy().reshape(batch, canvas)
        choice = token.numpy().reshape(batch, canvas)
        masked = int(canvas * np.cos(np.pi / 2 * step / steps) + 1e-9)      # the paper's cosine schedule
        order = np.argsort(-confidence, axis=1, kind="stable")
        out = np.full((batch, canvas), rows.mask_id, np.int64)
        for i in range(batch):
            keep = order[i, :canvas - masked]
            out[i, keep] = choice[i, keep]
        ids = ids.copy()
        ids[:, prompt:] = out
    return ids
