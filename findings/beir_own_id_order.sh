#!/usr/bin/env bash
# BEIR's MRR depends on whether nDCG was computed before it.
#
# Expected behaviour: EvaluateRetrieval.evaluate and .evaluate_custom only read the results. The order
#   of the calls does not matter, and ignore_identical_ids=False brings back the documents with the
#   query's own id.
# Actual behaviour: evaluate() removes these documents from the caller's own dictionary.
#   evaluate_custom (MRR, capped recall, accuracy) never removes them. MRR@10 is 0.5 before a call of
#   evaluate() and 1.0 after it, and a later evaluate(ignore_identical_ids=False) cannot undo this.
# Versions: beir 2.2.0, pytrec-eval-terrier 0.5.11 (tested on 2026-11-29 with Python 3.11). Torch is not
#   needed, because only the evaluation module is imported.
# Why it matters: "more like this" over a news corpus uses the articles themselves as queries, so every
#   query finds itself. Two scripts with the same lines in a different order report different MRRs.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    pytrec-eval-terrier==0.5.11 tqdm==4.67.1
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps beir==2.2.0

"$work/venv/bin/python" - <<'PY'
from beir.retrieval.evaluation import EvaluateRetrieval

qrels = {"story": {"sequel": 1}}
results = {"story": {"story": 1.0, "sequel": 0.5}}

def mrr():
    return EvaluateRetrieval.evaluate_custom(qrels, results, [10], "mrr")["MRR@10"]

def ndcg(**options):
    return EvaluateRetrieval.evaluate(qrels, results, [10], **options)[0]["NDCG@10"]

kept = ndcg(ignore_identical_ids=False)
print("nDCG@10 with the query's own id kept:", kept)
assert kept == 0.63093 and len(results["story"]) == 2  # Control: nothing has been removed yet.
before = mrr()
print("MRR@10 before evaluate():", before)
print("nDCG@10 by default:", ndcg())
after = mrr()
print("MRR@10 after evaluate():", after, "results now:", results)
print("nDCG@10 with the query's own id kept, again:", ndcg(ignore_identical_ids=False))
assert (before, after) == (0.5, 1.0), (before, after)
assert results == {"story": {"sequel": 0.5}}, results
assert ndcg(ignore_identical_ids=False) == 1.0
PY
