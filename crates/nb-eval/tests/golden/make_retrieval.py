"""Writes retrieval.json: what NumPy says of the top of rankings over a corpus.

    python make_retrieval.py [FILE]        # default: retrieval.json beside this script

A query has graded judgements over a corpus of 400 documents; a scored ranking of all of them is cut after 100. nDCG
has gain 2^y - 1, discount log2(rank + 1) and the best order of all relevant documents for its ideal; the reciprocal
rank is that of the first relevant document; recall divides by all relevant documents.
"""

import json
import sys
from pathlib import Path

import numpy as np

SEED = 20250311
DOCUMENTS, KEPT = 400, 100
CUTS = (1, 3, 10, 100)


def discounted_gain(grades):
    places = np.arange(1, grades.size + 1)
    return ((2.0**grades - 1) / np.log2(places + 1)).sum()


def measure(retrieved, relevant):
    ideal = np.sort(relevant)[::-1]
    hits = np.flatnonzero(retrieved > 0)
    result = {}
    for k in CUTS:
        result[f"ndcg@{k}"] = float(discounted_gain(retrieved[:k]) / discounted_gain(ideal[:k]))
        result[f"mrr@{k}"] = float(1 / (hits[0] + 1)) if hits.size and hits[0] < k else 0.0
        result[f"recall@{k}"] = float((retrieved[:k] > 0).sum() / (relevant > 0).sum())
    return result


def draw_query(rng, index):
    # From one relevant document to more than fit into ten places; every third query has grades up to 4.
    count = int(rng.choice([1, 2, 5, 30]))
    grades = np.zeros(DOCUMENTS, dtype=int)
    places = rng.permutation(DOCUMENTS)[:count]
    grades[places] = rng.integers(1, 5, count) if index % 3 == 0 else 1
    scores = rng.standard_normal(DOCUMENTS) + rng.choice([0.0, 1.0, 3.0]) * (grades > 0)
    order = np.argsort(-scores, kind="stable")
    retrieved, relevant = grades[order][:KEPT], grades[grades > 0]
    return {"retrieved": retrieved.tolist(), "relevant": relevant.tolist(), **measure(retrieved, relevant)}


def main():
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("retrieval.json")
    rng = np.random.default_rng(SEED)
    queries = [draw_query(rng, index) for index in range(60)]
    target.write_text(json.dumps({"queries": queries}) + "\n")
    for name in ("ndcg@10", "mrr@10", "recall@10", "recall@100"):
        print(name, round(float(np.mean([query[name] for query in queries])), 6))


if __name__ == "__main__":
    main()
