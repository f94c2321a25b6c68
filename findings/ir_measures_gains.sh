#!/usr/bin/env bash
# nDCG with custom gains next to plain nDCG: one column becomes 0, the other takes its values.
#
# Expected behaviour: ir_measures computes each measure of a list independently, so asking for
#   nDCG@10 and nDCG(gains={2: 10})@10 together gives the two values that each gives alone.
# Actual behaviour: the plain measure is evaluated with the mapped gains, and the measure with gains is
#   0.0, whatever their order. There is no warning.
# Versions: ir-measures 0.4.3, pytrec-eval-terrier 0.5.11 (tested on 2026-11-29 with Python 3.11).
# Why it matters: computing linear and exponential gains is the usual way to compare a student's graded
#   retrieval scores with published ones, and both are requested in one call.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    ir-measures==0.4.3 pytrec-eval-terrier==0.5.11

"$work/venv/bin/python" - <<'PY'
import ir_measures
from ir_measures import nDCG

qrels = {"q": {"a": 1, "b": 2, "c": 0}}
run = {"q": {"c": 3.0, "a": 2.0, "b": 1.0}}
plain, gains = nDCG @ 10, nDCG(gains={2: 10}) @ 10

def values(measures):
    found = ir_measures.calc_aggregate(measures, qrels, run)
    return {str(m): round(found[m], 4) for m in measures}

alone = values([plain]) | values([gains])
print("each alone:        ", alone)
# Control: both are right alone (grade 2 counts as 2, then as 10).
assert alone == {"nDCG@10": 0.6199, "nDCG(gains={2:10})@10": 0.5297}, alone
for measures in ([plain, gains], [gains, plain]):
    together = values(measures)
    print("both in one call:  ", together)
    assert together == {"nDCG@10": 0.5297, "nDCG(gains={2:10})@10": 0.0}, together
PY
