#!/usr/bin/env bash
# A cutoff raises the reciprocal rank: RR@10 is above RR on the same list.
#
# Expected behaviour: RR@10 is RR with ranks above 10 counted as 0, so RR@10 <= RR, and both are equal
#   on a list of two documents.
# Actual behaviour: ir_measures takes RR from trec_eval, which ranks the greater document id first among
#   equal scores, but RR@k (and Judged@k) from its own code, which ranks the smaller id first. On two
#   tied documents RR is 0.5 and RR@10 is 1.0. If the other document is relevant, it is the reverse.
# Versions: ir-measures 0.4.3, pytrec-eval-terrier 0.5.11 (tested on 2026-11-29 with Python 3.11).
# Why it matters: republished articles have the same text, and therefore the same vector and score. A
#   table with MRR@10 and nDCG@10 then ranks the same list in two orders.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    ir-measures==0.4.3 pytrec-eval-terrier==0.5.11

"$work/venv/bin/python" - <<'PY'
import ir_measures
from ir_measures import RR, Judged, Success, nDCG

measures = [RR, RR @ 10, Success @ 1, nDCG @ 1, Judged @ 1]

def values(relevant, run):
    found = ir_measures.calc_aggregate(measures, {"q": {relevant: 1}}, {"q": run})
    return {str(m): found[m] for m in measures}

tied = {"first": 1.0, "second": 1.0}
for relevant, run, expected in [
    ("first", tied, [0.5, 1.0, 0.0, 0.0, 1.0]),
    ("second", tied, [1.0, 0.5, 1.0, 1.0, 0.0]),
    # Control: without a tie, all measures agree.
    ("first", {"first": 2.0, "second": 1.0}, [1.0] * 5),
]:
    found = values(relevant, run)
    print(f"relevant {relevant!r}, scores {run}: {found}")
    assert list(found.values()) == expected, (found, expected)
PY
