#!/usr/bin/env bash
# nDCG with custom gains beside plain nDCG: one column turns 0, the other takes its values.
#
# A good guess: ir_measures computes each measure of a list by itself, so asking for
#   nDCG@10 and nDCG(gains={2: 10})@10 together gives the two values that each gives alone.
# What happens: the plain measure is evaluated over the mapped gains and the measure with gains
#   reads 0.0, whatever their order. No warning.
# Versions: ir-measures 0.4.3, pytrec-eval-terrier 0.5.11 (tried 2026-11-29, Python 3.11).
# Why it matters: comparing linear with exponential gains is the usual way to line up a student's
#   graded retrieval scores with published ones, and both are asked for in one call.
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
# Control: both are right by themselves (grade 2 counts 2, then 10).
assert alone == {"nDCG@10": 0.6199, "nDCG(gains={2:10})@10": 0.5297}, alone
for measures in ([plain, gains], [gains, plain]):
    together = values(measures)
    print("both in one call:  ", together)
    assert together == {"nDCG@10": 0.5297, "nDCG(gains={2:10})@10": 0.0}, together
PY
