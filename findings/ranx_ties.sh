#!/usr/bin/env bash
# ranx keeps the order of tied documents in short lists and shuffles it in longer ones.
#
# Expected behaviour: according to a test with two or ten tied documents, ties keep the order of the run.
#   (According to trec_eval, the greater id comes first.)
# Actual behaviour: the order of the run is kept for up to 15 documents, but not from 16 on. Of 30 tied
#   documents, the run's first is at rank 29, the last but one at rank 1 and the last at rank 30. Of 40,
#   the first is at rank 21. That is the order of neither the run nor the ids.
# Versions: ranx 0.3.21, numba 0.68.1, numpy 2.4.6 (tested on 2026-11-29 with Python 3.11).
# Why it matters: int8 vectors and short titles often tie. A unit test on a handful of documents
#   establishes a rule that the real list of 100 candidates does not follow.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    ranx==0.3.21 numba==0.68.1 numpy==2.4.6

"$work/venv/bin/python" - <<'PY'
import warnings

warnings.filterwarnings("ignore")
from ranx import Qrels, Run, evaluate

def rank(relevant, scores):
    return round(1 / float(evaluate(Qrels({"q": {relevant: 1}}), Run({"q": scores}), "mrr")))

def tied_ranks(count):
    documents = [f"d{i:02}" for i in range(count)]
    return [rank(document, {d: 1.0 for d in documents}) for document in documents]

short, long = tied_ranks(15), tied_ranks(30)
print("ranks of 15 tied documents, in the run's order:", short)
print("ranks of 30 tied documents, in the run's order:", long)
assert short == list(range(1, 16)), short
assert sorted(long) == list(range(1, 31)), long  # Control: each rank occurs once.
assert long == [*range(29, 0, -1), 30], long
assert tied_ranks(40)[0] == 21
# Control: without ties, 30 documents are ranked by score.
assert rank("d07", {f"d{i:02}": 30.0 - i for i in range(30)}) == 8
PY
