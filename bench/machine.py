"""What a result must say about where it comes from, and what that machine can do at most."""
import importlib.metadata
import os
import platform
import subprocess

import models

FLAGS = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "asimddp")
PACKAGES = ("onnxruntime", "openvino", "torch", "onnx", "numpy", "tokenizers")


def cpu():
    """(model name, flags that matter) of the first CPU."""
    name, flags = platform.machine(), []
    try:
        for line in open("/proc/cpuinfo"):
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            if key.strip() in ("flags", "Features"):
                flags = [f for f in FLAGS if f in value.split()]
                break
    except OSError:
        pass
    return name, flags


def versions():
    out = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            out[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return out


def commit():
    done = subprocess.run(["git", "-C", models.ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip()


def describe(threads):
    name, flags = cpu()
    return {"cpu": name, "flags": flags, "cores": len(os.sched_getaffinity(0)), "threads": threads, "load": round(os.getloadavg()[0], 1),
            "versions": versions(), "commit": commit()}


def peak(threads, seconds=0.5):
    """{"fma": GFLOP/s, "int8": Gop/s, "read": GB/s}, each {threads: value}, measured now."""
    out = {}
    done = subprocess.run([models.ROOT / "build/bench/peak", str(seconds), str(threads)], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        name, n, value = line.split()
        if name != "cpu":
            out.setdefault(name, {})[n] = float(value)
    return out


def best_of(peaks):
    """The highest of several measurements: other work on the machine only lowers them."""
    out = {}
    for one in peaks:
        for name, values in one.items():
            for n, value in values.items():
                mine = out.setdefault(name, {})
                mine[n] = max(mine.get(n, 0.0), value)
    return out
