#!/usr/bin/env bash
# onnxruntime computes no product in 8 bits if several of them share an int8 input.
#
# Expected behaviour: in a model with QuantizeLinear and DequantizeLinear, a product of a quantised input and a
#   quantised weight runs in 8 bits, whether one product or three (queries, keys and values) read the input, and
#   whether the input is int8 or uint8.
# Actual behaviour: one product of an int8 input becomes MatMulIntegerToFloat; three products of the same int8 input
#   all remain MatMul in f32. With the same input in uint8, all three become MatMulIntegerToFloat. There is no warning,
#   and the results agree, so only the optimised graph and the clock show it.
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (tested on 2026-11-30 with Python 3.11, x86-64).
# Why it matters: in a layer of a BERT, queries, keys and values read the same states. A quarter of the layer's
#   products stay in f32 if the exporter chose int8 for activations, as symmetric quantisation suggests.
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
WEIGHTS = random.integers(-127, 128, (3, UNITS, UNITS)).astype(np.int8)
STATES = random.normal(size=(4, 16, UNITS)).astype(np.float32)  # [batch, sequence, units]

def optimised(zero, products):
    """Returns the operators of the optimised graph and the result of the first product."""
    constants = [numpy_helper.from_array(np.float32(0.05), "scale"), numpy_helper.from_array(zero, "zero")]
    nodes = [
        helper.make_node("QuantizeLinear", ["states", "scale", "zero"], ["quantised"]),
        helper.make_node("DequantizeLinear", ["quantised", "scale", "zero"], ["rounded"]),
    ]
    shape, outputs = ["batch", "sequence", UNITS], []
    for i in range(products):
        constants += [
            numpy_helper.from_array(WEIGHTS[i], f"w{i}"),
            numpy_helper.from_array(np.full(UNITS, 0.01, np.float32), f"w{i}_scale"),
            numpy_helper.from_array(np.zeros(UNITS, np.int8), f"w{i}_zero"),
        ]
        nodes += [
            helper.make_node("DequantizeLinear", [f"w{i}", f"w{i}_scale", f"w{i}_zero"], [f"weight{i}"], axis=1),
            helper.make_node("MatMul", ["rounded", f"weight{i}"], [f"y{i}"]),
        ]
        outputs.append(helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, shape))
    inputs = [helper.make_tensor_value_info("states", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "products", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = os.environ["OPTIMISED"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    result = session.run(["y0"], {"states": STATES})[0]
    operators = Counter(node.op_type for node in onnx.load(os.environ["OPTIMISED"]).graph.node)
    return operators, result

found = {}
for name, zero in [("int8", np.int8(0)), ("uint8", np.uint8(128))]:
    for products in (1, 3):
        operators, result = optimised(zero, products)
        found[name, products] = (operators["MatMulIntegerToFloat"], operators["MatMul"])
        print(f"{name} input, {products} products: {found[name, products][0]} in 8 bits, {found[name, products][1]} in f32")
        np.testing.assert_allclose(result, optimised(np.int8(0), 1)[1], atol=1e-4)
assert found["int8", 1] == (1, 0) and found["uint8", 1] == (1, 0), found  # Control: one product runs in 8 bits.
assert found["uint8", 3] == (3, 0), found
assert found["int8", 3] == (0, 3), found
PY
