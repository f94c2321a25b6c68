#!/usr/bin/env bash
# The recommenders package gives a different AUC if accuracy is requested before it.
#
# Expected behaviour: cal_metric(labels, scores, ["acc", "auc"]) and ["auc", "acc"] return the same two
#   values.
# Actual behaviour: if the scores are a numpy array, "acc" and "f1" round them to 0 and 1 in the caller's
#   own array. If AUC or log loss comes later in the list, it sees the rounded scores, and so do all
#   later uses of the array. A list is copied, so it is safe.
# Versions: recommenders 1.2.1, scikit-learn 1.9.1, numpy 2.4.6 (tested on 2026-11-29 with Python 3.11).
#   Only the package itself is installed, without TensorFlow and its other large dependencies.
# Why it matters: the package contains the reference NRMS, NAML and LSTUR for MIND, and its metrics have
#   been copied into many repositories. News recommenders are compared by AUC to the fourth digit; here
#   it falls from 1.0 to 0.75.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    scikit-learn==1.9.1 numpy==2.4.6 pyyaml==6.0.3 requests==2.32.5 retrying==1.4.2 tqdm==4.67.1
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps recommenders==1.2.1

cd "$work"
"$work/venv/bin/python" - <<'PY'
import numpy as np
from recommenders.models.deeprec.deeprec_utils import cal_metric

labels = np.array([1, 1, 0, 0])
scores = [0.9, 0.6, 0.55, 0.1]

def metrics(kind, names):
    given = kind(scores)
    found = {k: float(v) for k, v in cal_metric(labels, given, names).items()}
    print(f"{kind.__name__}, {names}: {found}, scores afterwards {[float(s) for s in given]}")
    return found

# Controls: AUC alone, AUC before accuracy, and scores in a list.
assert metrics(np.array, ["auc"]) == {"auc": 1.0}
assert metrics(np.array, ["auc", "acc"]) == {"auc": 1.0, "acc": 0.75}
assert metrics(list, ["acc", "auc"]) == {"acc": 0.75, "auc": 1.0}
assert metrics(np.array, ["acc", "auc"]) == {"acc": 0.75, "auc": 0.75}
assert metrics(np.array, ["f1", "auc"])["auc"] == 0.75
PY
