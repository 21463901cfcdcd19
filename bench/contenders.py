"""What is measured side by side: the engine's coprocess, ONNX Runtime, OpenVINO and PyTorch, all on the same number of threads.

A contender of kind "peer" is called with a list of inputs (dicts of numpy arrays, see nets.py) and returns the list of logits. Which of its own forms is best
(graph fusions, one stream or one a thread) each library decides by a short measurement at load, so that the peer is as fast as its user could make it.
"""
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

import machine
import models
import nets

ENGINE = models.ROOT / "build/bench/forward"
INPUTS = ("ids", "mask", "asked")


CLOCK = {"now": time.perf_counter, "engine": []}        # see use_cpu_time


def use_cpu_time():
    """Measure processor time instead of elapsed time: what one thread needs holds on a busy machine too."""
    CLOCK.update(now=time.process_time, engine=["cpu"])


def seconds_of(run, seconds):
    """(median, best) seconds of run(): one that does not count, then at least three, until `seconds` have passed; 0: one run and nothing else."""
    times, run_first, now = [], seconds > 0, CLOCK["now"]
    if run_first:
        run()
    start = now()
    while len(times) < (3 if run_first else 1) or now() - start < seconds:
        t0 = now()
        run()
        times.append(now() - t0)
    return float(np.median(times)), min(times)


class Engine:
    """The coprocess of one .dlm file."""

    def __init__(self, file, threads, isa="best"):
        self.process = subprocess.Popen([ENGINE, file, str(threads), isa, *CLOCK["engine"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer or answer[0] == "error":
            raise RuntimeError("engine: " + (" ".join(answer[1:]) or "died"))
        return answer

    def seconds(self, *words):
        return tuple(map(float, self.ask(*words)[:2]))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# ---------------------------------------------------------------- ONNX

def export(net, example, path):
    """A net as an ONNX file with dynamic shapes; attention spelled out, which is what the fusers look for."""
    import torch
    net.fused = False
    axes = {"ids": {0: "batch", 1: "length"}, "asked": {0: "asks"}, "logits": {0: "asks"},
            "mask": {0: "batch", 2: "length", 3: "length"} if example["mask"].ndim == 4 else {0: "batch", 1: "length"}}
    with torch.inference_mode():
        torch.onnx.export(net, tuple(torch.from_numpy(example[k]) for k in INPUTS), str(path), input_names=list(INPUTS), output_names=["logits"],
                          dynamic_axes=axes, opset_version=17, dynamo=False)
    net.fused = True


def onnx_files(net, name, example, folder):
    """Paths of the exported graph, fused by onnxruntime.transformers where that knows the form, and of its int8 form; made once."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model
    folder = pathlib.Path(folder) / (name + ".onnx")
    narrow = not any("vnni" in flag or "dp" in flag for flag in machine.cpu()[1])     # without them 16-bit sums saturate: 7 bits, as its manual says
    plain, fused, int8 = (folder / part / "model.onnx" for part in ("plain", "fused", "int8-7bit" if narrow else "int8"))
    for path in (plain, fused, int8):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not plain.exists():
        export(net, example, folder / "export.onnx")
        save(onnx.load(folder / "export.onnx"), plain)
        (folder / "export.onnx").unlink()
    if name == models.DEFAULT:
        fused = plain           # its fusers do not know this attention; the session's own optimiser does what it can
    elif not fused.exists():
        config = nets.config_of(name)
        graph = optimize_model(str(plain), model_type="bert", num_heads=config["num_attention_heads"], hidden_size=config["hidden_size"], opt_level=0)
        graph.model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
        save(graph.model, fused)
        print(f"{name}: fused", {k: n for k, n in graph.get_fused_operator_statistics().items() if n}, file=sys.stderr, flush=True)
    if not int8.exists():
        quantize_dynamic(str(fused), str(int8), per_channel=True, reduce_range=narrow, weight_type=QuantType.QInt8, use_external_data_format=True,
                         extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
    return fused, int8


def save(graph, path):
    import onnx
    onnx.save_model(graph, str(path), save_as_external_data=True, location="weights", size_threshold=4096)


class OnnxRuntime:
    def __init__(self, file, threads):
        import onnxruntime as ort
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self.session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def __call__(self, inputs):
        return [self.session.run(["logits"], x)[0] for x in inputs]


# ---------------------------------------------------------------- OpenVINO

def split(inputs, parts):
    """Cut each batch into `parts` of whole rows, for streams that run side by side."""
    out = []
    for x in inputs:
        n, length = x["ids"].shape
        asks = len(x["asked"]) // n
        for rows in np.array_split(np.arange(n), min(parts, n)):
            first = int(rows[0])
            out.append({"ids": x["ids"][rows], "mask": x["mask"][rows], "asked": x["asked"][first * asks:(first + len(rows)) * asks] - first * length})
    return out


class OpenVino:
    """One stream over all threads (LATENCY), and one stream a thread over parts of the batch (THROUGHPUT): the faster one for each shape."""

    def __init__(self, net, example, threads, precision):
        import openvino as ov
        import torch
        with torch.inference_mode():
            graph = ov.convert_model(net, example_input={k: torch.from_numpy(v) for k, v in example.items()})
        for port, key in zip(graph.inputs, INPUTS):
            port.get_tensor().set_names({key})
        graph.reshape({k: ov.PartialShape([-1] * example[k].ndim) for k in INPUTS})
        core = ov.Core()
        settings = {"INFERENCE_NUM_THREADS": threads, **({"INFERENCE_PRECISION_HINT": precision} if precision else {})}
        self.one = core.compile_model(graph, "CPU", {**settings, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1})
        self.precision = self.one.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.threads = threads
        self.request = self.one.create_infer_request()
        many = core.compile_model(graph, "CPU", {**settings, "PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": threads})
        self.queue = ov.AsyncInferQueue(many, threads)
        self.queue.set_callback(self.keep)
        self.choice = {}

    def keep(self, request, at):
        self.results[at] = request.get_output_tensor(0).data.copy()

    def in_turn(self, inputs):
        return [np.array(self.request.infer(x, share_inputs=True, share_outputs=True)[0], copy=False) for x in inputs]

    def side_by_side(self, inputs):
        parts = split(inputs, self.threads)
        self.results = [None] * len(parts)
        for i, x in enumerate(parts):
            self.queue.start_async(x, i)
        self.queue.wait_all()
        return self.results

    def __call__(self, inputs):
        key = tuple(x["ids"].shape for x in inputs)
        if key not in self.choice:
            ways = [self.in_turn] if key == ((1, key[0][1]),) else [self.in_turn, self.side_by_side]
            times = [min(seconds_of(lambda way=way: way(inputs), 0)[1] for _ in range(3)) if len(ways) > 1 else 0 for way in ways]
            self.choice[key] = ways[int(np.argmin(times))]
        return self.choice[key](inputs)


# ---------------------------------------------------------------- PyTorch

class Torch:
    def __init__(self, net, threads):
        import torch
        torch.set_num_threads(threads)
        self.net, self.torch = net, torch

    def __call__(self, inputs):
        with self.torch.inference_mode():
            return [self.net(**{k: self.torch.from_numpy(v) for k, v in x.items()}).numpy() for x in inputs]


def quiet():
    """Nobody's telemetry, no thread pools beyond what we ask for."""
    os.environ.setdefault("OPENVINO_TELEMETRY_DISABLED", "1")
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(name, None)


PEERS = ("ort-f32", "ort-int8", "openvino-f32", "openvino", "torch-f32")


def load_peers(net, name, example, folder, threads, wanted=PEERS):
    """{name: contender} of what is wanted; "openvino" (its default precision) is left out where that is f32 anyway."""
    out = {}
    if "ort-f32" in wanted or "ort-int8" in wanted:
        fused, int8 = onnx_files(net, name, example, folder)
        if "ort-f32" in wanted:
            out["ort-f32"] = OnnxRuntime(fused, threads)
        if "ort-int8" in wanted:
            out["ort-int8"] = OnnxRuntime(int8, threads)
    if "openvino-f32" in wanted:
        out["openvino-f32"] = OpenVino(net, example, threads, "f32")
    if "openvino" in wanted:
        best = OpenVino(net, example, threads, None)
        if best.precision != "f32":
            out["openvino-" + best.precision] = best
    if "torch-f32" in wanted:
        out["torch-f32"] = Torch(net, threads)
    return out
