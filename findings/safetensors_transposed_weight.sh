#!/usr/bin/env bash
# safetensors 0.8 saves a transposed numpy weight with its numbers in the wrong places.
#
# Expected behaviour: save_file either writes the values of the array, as 0.7 and numpy.save do, or
#   refuses an array that is not contiguous, as its PyTorch counterpart does.
# Actual behaviour: 0.8.0 writes the memory as it is, with the shape of the view. save_file({"w": w.T})
#   is read back with the right shape, dtype and sum, but with the numbers in other positions. There is no
#   error and no warning.
# Versions: safetensors 0.8.0 compared with 0.7.0, numpy 2.3.5 (tested on 2026-11-29 with Python 3.11).
#   Known as issue 825 of safetensors, which was open on that day; the docstring asks for contiguous
#   arrays.
# Why it matters: `w.T` is how a dense layer moves between ONNX, Keras or scikit-learn (inputs by
#   outputs) and PyTorch (outputs by inputs). With a square layer of BERT, neither shape nor statistics
#   reveal the error, only vectors that make no sense.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > try.py <<'PY'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

weight = np.arange(9, dtype=np.float32).reshape(3, 3)
save_file({"view": weight.T, "copy": np.ascontiguousarray(weight.T)}, "w.safetensors")
read = load_file("w.safetensors")
same = {name: bool(np.array_equal(array, weight.T)) for name, array in read.items()}
print(f"safetensors {safetensors.__version__}: first row of w.T {weight.T[0]}, read back {read['view'][0]}; equal: {same}")
assert same == {"view": sys.argv[1] == "kept", "copy": True}, same  # Control: a copy is always right.
assert read["view"].shape == (3, 3) and read["view"].sum() == weight.sum()
PY
for pair in 0.7.0:kept 0.8.0:moved; do
    version="${pair%%:*}"
    python3 -m venv "$work/venv-$version"
    "$work/venv-$version/bin/pip" install --quiet --disable-pip-version-check \
        "safetensors==$version" numpy==2.3.5
    "$work/venv-$version/bin/python" try.py "${pair##*:}"
done
