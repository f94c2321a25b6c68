#!/usr/bin/env bash
# BEIR averages nDCG over the answered queries and MRR over all judged ones.
#
# Expected behaviour: the metrics of one evaluation are means over the same queries.
# Actual behaviour: evaluate() (nDCG, MAP, recall, precision) divides by the number of queries that have
#   results, evaluate_custom() (MRR, capped recall, accuracy) by the number of queries in the judgements.
#   A run that answers one of two queries, and answers it perfectly, has nDCG@10 1.0 and MRR@10 0.5.
# Versions: beir 2.2.0, pytrec-eval-terrier 0.5.11 (tested on 2026-11-29 with Python 3.11). Torch is not
#   needed.
# Why it matters: a search service that returns nothing for some queries (because of a score threshold
#   or a date filter) looks perfect in one column of the table and poor in the next.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    pytrec-eval-terrier==0.5.11 tqdm==4.67.1
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps beir==2.2.0

"$work/venv/bin/python" - <<'PY'
from beir.retrieval.evaluation import EvaluateRetrieval

def table(results):
    qrels = {"flood": {"d1": 1}, "election": {"d2": 1}}
    ndcg, _, recall, _ = EvaluateRetrieval.evaluate(qrels, results, [10])
    found = {"NDCG@10": ndcg["NDCG@10"], "Recall@10": recall["Recall@10"]}
    for metric in ("mrr", "r_cap", "acc"):
        found |= EvaluateRetrieval.evaluate_custom(qrels, results, [10], metric)
    return found

full = table({"flood": {"d1": 1.0}, "election": {"d2": 1.0}})
part = table({"flood": {"d1": 1.0}})
print("both queries answered:", full)
print("one of two answered:  ", part)
assert set(full.values()) == {1.0}, full  # Control: a perfect run is 1.0 in every metric.
assert part["NDCG@10"] == part["Recall@10"] == 1.0, part
assert part["MRR@10"] == part["R_cap@10"] == part["Accuracy@10"] == 0.5, part
PY
