#!/usr/bin/env bash
# A model quantised with onnxruntime's quantize_dynamic gives a text a different vector in another batch.
#
# Expected behaviour: an encoder treats the rows of a batch separately, so a text's vector is the same
#   alone and in a batch. int8 changes the vector, but by the same amount each time.
# Actual behaviour: the activations are scaled by one number for the whole tensor, which is derived from
#   its largest and smallest value over the entire batch. A neighbour with larger activations makes the
#   quantisation steps coarser for all rows, and the vector of the same text moves by several times the
#   quantisation error itself.
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (tested on 2026-11-29 with Python 3.11).
# Why it matters: vectors that are computed in batches for an index and one by one for queries do not
#   match closely, and a cache keyed by text keeps the vector of whichever batch came first.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6

cd "$work"
"$work/venv/bin/python" - 2>errors <<'PY' || { cat errors; exit 1; }
import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper, save
from onnxruntime.quantization import QuantType, quantize_dynamic

random = np.random.default_rng(7)
dense = random.standard_normal((32, 16)).astype(np.float32)
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"], name="dense")], "encoder",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 32])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 16])],
    [numpy_helper.from_array(dense, "w")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
checker.check_model(model)
save(model, "float.onnx")
# Unsigned weights: signed ones may saturate on older processors, which is a different effect.
quantize_dynamic("float.onnx", "int8.onnx", weight_type=QuantType.QUInt8)

text = random.standard_normal(32).astype(np.float32)
quiet, loud = text[::-1] * 0.5, text[::-1] * 8

def vector(name, *batch):
    session = onnxruntime.InferenceSession(name, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.stack(batch)})[0][0]

def moved(name, neighbour):
    return float(np.abs(vector(name, text) - vector(name, text, neighbour)).max())

found = {(name, kind): moved(name + ".onnx", row) for name in ("float", "int8") for kind, row in (("quiet", quiet), ("loud", loud))}
for (name, kind), distance in found.items():
    print(f"{name}: next to a {kind} neighbour, the vector moves by {distance:.6f}")
loss = float(np.abs(vector("int8.onnx", text) - vector("float.onnx", text)).max())
print(f"int8 compared with float, alone: {loss:.6f}")
# Controls: float does not depend on the neighbour, a neighbour within the range has no effect, int8 is close to float.
assert found["float", "quiet"] < 1e-5 and found["float", "loud"] < 1e-5, found
assert found["int8", "quiet"] < 1e-5, found
assert loss < 0.2, loss
assert found["int8", "loud"] > 2 * loss, (found, loss)
PY
