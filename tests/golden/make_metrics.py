"""Writes metrics.json: metrics of ranked lists and of predicted classes by scikit-learn and NumPy.

    python make_metrics.py [FILE]        # default: metrics.json beside this script

The definitions are those of MIND's evaluation: for each impression AUC, MRR over all clicked candidates, and nDCG with
gain 2^y - 1 and discount log2(rank + 1); then plain means. Candidates are ranked by decreasing score, and equal scores
keep the order of the impression. To test this, a third of the impressions has scores on a coarse grid.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, ndcg_score, roc_auc_score

SEED = 20240607
CUTOFFS = (5, 10)


def ranking(scores):
    """Returns the positions of the candidates, best first; `stable` keeps ties in the order of the impression."""
    return np.argsort(np.negative(scores), kind="stable")


def discounted_gain(relevance, k):
    relevance = np.asarray(relevance[:k], dtype=float)
    ranks = np.arange(1, relevance.size + 1)
    return float(((2**relevance - 1) / np.log2(ranks + 1)).sum())


def measure(labels, scores):
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=float)
    order = ranking(scores)
    ranks = np.empty(order.size, dtype=int)
    ranks[order] = np.arange(1, order.size + 1)
    result = {"auc": float(roc_auc_score(labels, scores)), "mrr": float((labels / ranks).sum() / labels.sum())}
    best = np.sort(labels)[::-1]
    for k in CUTOFFS:
        result[f"ndcg@{k}"] = discounted_gain(labels[order], k) / discounted_gain(best, k)
    if np.unique(scores).size == scores.size:  # with ties, scikit-learn averages over them
        for k in CUTOFFS:
            assert abs(ndcg_score([labels], [scores], k=k) - result[f"ndcg@{k}"]) < 1e-12
    result["recall@5"] = float(labels[order][:5].sum() / labels.sum())
    result["ranks"] = ranks.tolist()
    return result


def draw_impression(rng, coarse):
    size = int(rng.integers(2, 40))
    clicks = int(rng.integers(1, min(size, 5)))
    labels = np.zeros(size, dtype=int)
    labels[rng.permutation(size)[:clicks]] = 1
    scores = np.round(rng.standard_normal(size) + 0.7 * labels, 0 if coarse else 6) + 0.0  # + 0.0 turns -0 into 0
    return {"labels": labels.tolist(), "scores": scores.tolist()}


def tied_cases():
    for labels, scores in (
        ([0, 1, 1, 0, 1], [0.25, 0.25, 0.75, 0.75, 0.25]),
        ([1, 0], [-2.0, -2.0]),
        ([0, 0, 1, 0], [0.0, 0.0, 0.0, 0.0]),
        ([1, 0, 1, 0, 0, 1], [3.0, 3.0, 2.0, 2.0, 1.0, 1.0]),
    ):
        yield {"labels": labels, "scores": scores, "auc": float(roc_auc_score(labels, scores))}


def classification(rng):
    # Class 4 is never predicted and class 9 is never true: both count in macro-F1. Class 7 is neither, so it does not
    # count.
    truth = rng.choice([0, 1, 2, 3, 4, 5, 6, 8], size=240)
    elsewhere = rng.choice([0, 1, 2, 3, 5, 6, 8, 9], size=240)
    predicted = np.where((rng.random(240) < 0.65) & (truth != 4), truth, elsewhere)
    occurring = np.union1d(truth, predicted)
    return {
        "truth": truth.tolist(),
        "predicted": predicted.tolist(),
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_f1": float(f1_score(truth, predicted, labels=occurring, average="macro", zero_division=0)),
        "support": [int((truth == c).sum()) for c in occurring],
    }


def main():
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("metrics.json")
    rng = np.random.default_rng(SEED)
    impressions = [draw_impression(rng, coarse=i % 3 == 2) for i in range(60)]
    for impression in impressions:
        impression |= measure(impression["labels"], impression["scores"])
    means = ["auc", "mrr", *(f"ndcg@{k}" for k in CUTOFFS)]
    report = {
        "impressions": impressions,
        "mean": {name: float(np.mean([i[name] for i in impressions])) for name in means},
        "tied_auc": list(tied_cases()),
        "classification": classification(rng),
    }
    target.write_text(json.dumps(report) + "\n")
    print(target.name, {name: round(value, 6) for name, value in report["mean"].items()})


if __name__ == "__main__":
    main()
