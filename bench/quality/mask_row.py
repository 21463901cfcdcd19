#!/usr/bin/env python3
"""An adapter folder that holds the mask's embedding of another adapter alone.

    python mask_row.py models/dlm-135m OUT

A base converted with it has a mask row and unchanged weights, so that LoRA
factors can be trained beside it. Only the standard library.
"""
import json, os, shutil, struct, sys

source, target = sys.argv[1:3]
os.makedirs(target, exist_ok=True)
with open(os.path.join(source, "adapter_model.safetensors"), "rb") as f:
    size = struct.unpack("<Q", f.read(8))[0]
    entry = json.loads(f.read(size))["mask_embedding"]
    begin, end = entry["data_offsets"]
    f.seek(8 + size + begin)
    data = f.read(end - begin)
header = json.dumps({"mask_embedding": {**entry, "data_offsets": [0, len(data)]}}).encode()
header += b" " * (-len(header) % 8)
with open(os.path.join(target, "adapter_model.safetensors"), "wb") as f:
    f.write(struct.pack("<Q", len(header)) + header + data)
for name in ("adapter_config.json", "config.json", "dlm.json", "tokenizer.json"):
    shutil.copy(os.path.join(source, name), target)
