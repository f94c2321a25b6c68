"""Writes retrieval.json: metrics of truncated rankings over a corpus, by pytrec_eval and NumPy.

    pip install pytrec_eval-terrier==0.5.11 numpy==2.4.6
    python make_retrieval.py [FILE]        # default: retrieval.json beside this script

A query has graded judgements over a corpus of 400 documents. The scored ranking of all of them is truncated to 100.
`ndcg@k` and `recall@k` are trec_eval's, computed by pytrec_eval from the whole ranking. `mrr@k` is its reciprocal rank
if the first relevant document is among the first k, else 0. `exponential@k` is nDCG with gain 2^y - 1, computed by
NumPy.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytrec_eval

SEED = 20250311
DOCUMENTS, KEPT = 400, 100
CUTOFFS = (1, 3, 10, 100)
MEASURES = {"ndcg_cut." + ",".join(map(str, CUTOFFS)), "recall." + ",".join(map(str, CUTOFFS)), "recip_rank"}


def discounted_gain(grades):
    ranks = np.arange(1, grades.size + 1)
    return ((2.0**grades - 1) / np.log2(ranks + 1)).sum()


def measure(order, grades):
    judged = {str(d): int(grades[d]) for d in np.flatnonzero(grades)}
    run = {str(d): float(DOCUMENTS - index) for index, d in enumerate(order)}
    evaluated = pytrec_eval.RelevanceEvaluator({"q": judged}, MEASURES).evaluate({"q": run})["q"]
    retrieved, ideal = grades[order], np.sort(grades)[::-1]
    result = {}
    for k in CUTOFFS:
        result[f"ndcg@{k}"] = evaluated[f"ndcg_cut_{k}"]
        result[f"mrr@{k}"] = evaluated["recip_rank"] if evaluated["recip_rank"] * k >= 1 else 0.0
        result[f"recall@{k}"] = evaluated[f"recall_{k}"]
        result[f"exponential@{k}"] = float(discounted_gain(retrieved[:k]) / discounted_gain(ideal[:k]))
    return result


def draw_query(rng, index):
    # From one relevant document to more than fit into the first ten ranks; every third query has grades up to 4.
    count = int(rng.choice([1, 2, 5, 30]))
    grades = np.zeros(DOCUMENTS, dtype=int)
    relevant = rng.permutation(DOCUMENTS)[:count]
    grades[relevant] = rng.integers(1, 5, count) if index % 3 == 0 else 1
    scores = rng.standard_normal(DOCUMENTS) + rng.choice([0.0, 1.0, 3.0]) * (grades > 0)
    order = np.argsort(-scores, kind="stable")
    return {
        "retrieved": grades[order][:KEPT].tolist(),
        "relevant": grades[grades > 0].tolist(),
        **measure(order, grades),
    }


def main():
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("retrieval.json")
    rng = np.random.default_rng(SEED)
    queries = [draw_query(rng, index) for index in range(60)]
    target.write_text(json.dumps({"queries": queries}) + "\n")
    for name in ("ndcg@10", "exponential@10", "mrr@10", "recall@10", "recall@100"):
        print(name, round(float(np.mean([query[name] for query in queries])), 6))


if __name__ == "__main__":
    main()
