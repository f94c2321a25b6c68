"""Measures exported ONNX files: size, agreement with f32, and speed in onnxruntime and OpenVINO.

    cargo build --release -p nb-export --example onnx
    python crates/nb-export/measure_onnx.py target/release/examples/onnx MODEL_FOLDER CALIBRATION_TEXTS TEXTS

The files of texts have one text per line. The ranges of int8 are computed on the first 512 lines of CALIBRATION_TEXTS with the f32 file
in onnxruntime. Speeds are medians over rounds in which the files take turns, in texts per second for batches of 32 texts of similar
length, and in milliseconds for one text at a time.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
from transformers import AutoTokenizer

BATCH, CALIBRATION_TEXTS, ROUNDS, SINGLE = 32, 512, 5, 200
# In the order of the fields of `LayerInputs`: a product that has the input.
PRODUCTS = ["attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense"]


def batches(tokenizer, texts, length, size):
    """Padded batches in the order of length, and the index of each text."""
    tokens = tokenizer(texts, truncation=True, max_length=length)["input_ids"]
    order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
    for start in range(0, len(order), size):
        indices = order[start : start + size]
        inputs = tokenizer([texts[i] for i in indices], truncation=True, max_length=length, padding=True, return_tensors="np")
        names = ["input_ids", "attention_mask", "token_type_ids"]
        yield indices, {name: inputs[name].astype(np.int64) for name in names}


def ranges(path, inputs):
    """The ranges of the inputs of the dense layers, which include 0: a list of four for each layer."""
    model = onnx.load(path)
    nodes = {node.name: node for node in model.graph.node}
    layers = 0
    while f"encoder.layer.{layers}.output.dense/MatMul" in nodes:
        layers += 1
    names = [[nodes[f"encoder.layer.{i}.{part}/MatMul"].input[0] for part in PRODUCTS] for i in range(layers)]
    wanted = [name for layer in names for name in layer]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = {name: [0.0, 0.0] for name in wanted}
    for _, batch in inputs:
        real = batch["attention_mask"] == 1  # padding would widen the ranges
        for name, value in zip(wanted, session.run(wanted, batch)):
            least, largest = found[name]
            found[name] = [min(least, float(value[real].min())), max(largest, float(value[real].max()))]
    return [[found[name] for name in layer] for layer in names]


def runtimes(path):
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    yield "onnxruntime", lambda inputs: dict(zip(names, session.run(None, inputs)))
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()

    def run(inputs):
        results = request.infer(inputs)
        return {name: results[name] for name in names}

    yield "openvino", run


def outputs(run, inputs, count):
    found = {}
    for indices, batch in inputs:
        for name, value in run(batch).items():
            found.setdefault(name, np.zeros((count, value.shape[1]), np.float32))[indices] = value
    return found


def compare(found, exact):
    cosine = (found["vectors"] * exact["vectors"]).sum(-1)
    cosine /= np.linalg.norm(found["vectors"], axis=-1) * np.linalg.norm(exact["vectors"], axis=-1)
    text = f"cosine {cosine.mean():.5f} on average, {cosine.min():.5f} at worst"
    if "probabilities" in exact:
        equal = found["probabilities"].argmax(-1) == exact["probabilities"].argmax(-1)
        text += f"; {equal.sum()} of {len(equal)} labels agree"
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["program", "model", "calibration", "texts"]:
        parser.add_argument(name)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--more", nargs="*", default=[], help="other ONNX files with the same inputs and outputs")
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    read = lambda path: [line for line in Path(path).read_text().splitlines() if line]
    texts = read(arguments.texts)
    inputs = list(batches(tokenizer, texts, arguments.max_tokens, BATCH))
    single = list(batches(tokenizer, texts[:SINGLE], arguments.max_tokens, 1))
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        files = {name: scratch / f"{name}.onnx" for name in ["f32", "int8-weights", "int8", "int8-symmetric"]}
        export = lambda name, *more: subprocess.run([arguments.program, arguments.model, files[name], name, *more], check=True)
        export("f32")
        calibration = read(arguments.calibration)[:CALIBRATION_TEXTS]
        found = ranges(files["f32"], batches(tokenizer, calibration, arguments.max_tokens, BATCH))
        (scratch / "ranges.json").write_text(json.dumps(found))
        print("ranges", json.dumps([[[round(x, 2) for x in pair] for pair in layer] for layer in found]))
        export("int8-weights")
        export("int8", scratch / "ranges.json")
        export("int8-symmetric", scratch / "ranges.json")
        files |= {Path(path).name: Path(path) for path in arguments.more}
        cases = {}
        for name, path in files.items():
            print(f"{name}: {path.stat().st_size / 1e6:.1f} MB")
            for runtime, run in runtimes(path):
                cases[name, runtime] = run
        exact = outputs(cases["f32", "onnxruntime"], inputs, len(texts))
        for case, run in cases.items():
            print(*case, compare(outputs(run, inputs, len(texts)), exact), flush=True)
        speeds, times = {case: [] for case in cases}, {case: [] for case in cases}
        for _ in range(arguments.rounds):
            for case, run in cases.items():
                began = time.perf_counter()
                for _, batch in inputs:
                    run(batch)
                speeds[case].append(len(texts) / (time.perf_counter() - began))
                for _, batch in single:
                    began = time.perf_counter()
                    run(batch)
                    times[case].append(1e3 * (time.perf_counter() - began))
        for case in cases:
            print(*case, f"{np.median(speeds[case]):.0f} texts/s, one text {np.median(times[case]):.2f} ms")


if __name__ == "__main__":
    main()
