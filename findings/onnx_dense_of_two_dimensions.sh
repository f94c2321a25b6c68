#!/usr/bin/env bash
# onnxruntime computes a quantised dense layer in f32 if its input has two dimensions, and in 8 bits if it has three.
#
# Expected behaviour: DequantizeLinear, MatMul and Add of a bias run in 8 bits, whatever the dimensions of the input.
# Actual behaviour: with an input [batch, sequence, units], the product becomes MatMulIntegerToFloat. With an input
#   [rows, units], MatMul and Add are merged into Gemm first, in f32, and the quantisation around it stays as it is:
#   the input is rounded to 8 bits and back for nothing. Without the bias, the product runs in 8 bits again.
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (tested on 2026-11-30 with Python 3.11, x86-64).
# Why it matters: an encoder exported over packed tokens [tokens, units], and every classifier on top of pooled vectors,
#   has the size and the rounding errors of int8 and the speed of f32.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6

OPTIMISED="$work/optimised.onnx" "$work/venv/bin/python" - <<'PY'
import os
from collections import Counter

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

UNITS = 64
random = np.random.default_rng(0)
CONSTANTS = {
    "scale": np.float32(0.05),
    "zero": np.uint8(128),
    "w": random.integers(-127, 128, (UNITS, UNITS)).astype(np.int8),
    "w_scale": np.full(UNITS, 0.01, np.float32),
    "w_zero": np.zeros(UNITS, np.int8),
    "bias": random.normal(size=UNITS).astype(np.float32),
}

def operators(dimensions, with_bias):
    """Returns the operators of the optimised graph."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["quantised"]),
        helper.make_node("DequantizeLinear", ["quantised", "scale", "zero"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["weight"], axis=1),
        helper.make_node("MatMul", ["rounded", "weight"], ["product" if with_bias else "y"]),
    ]
    if with_bias:
        nodes.append(helper.make_node("Add", ["product", "bias"], ["y"]))
    shape = [*["batch", "sequence"][: dimensions - 1], UNITS]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    constants = [numpy_helper.from_array(value, name) for name, value in CONSTANTS.items() if with_bias or name != "bias"]
    graph = helper.make_graph(nodes, "dense", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = os.environ["OPTIMISED"]
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(os.environ["OPTIMISED"]).graph.node)

found = {}
for dimensions in (3, 2):
    for with_bias in (False, True):
        count = operators(dimensions, with_bias)
        found[dimensions, with_bias] = (count["MatMulIntegerToFloat"], count["Gemm"])
        print(f"{dimensions} dimensions, {'with' if with_bias else 'without'} a bias: {dict(count)}")
# Controls: three dimensions run in 8 bits, and so do two without a bias.
assert found[3, False] == found[3, True] == found[2, False] == (1, 0), found
assert found[2, True] == (0, 1), found
PY
