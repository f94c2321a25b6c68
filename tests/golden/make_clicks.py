"""Writes clicks.json: the metrics that MIND's evaluation computes from ranks as `nb rank` writes them.

    pip install numpy==2.4.6
    python make_clicks.py [FILE]        # default: clicks.json beside this script

The published script (https://github.com/msnews/MIND, evaluate.py) reads a line `id [ranks]` per impression, uses 1/rank
as the score, and averages over impressions:

    AUC     share of (clicked, other) pairs in the right order, ties one half
    MRR     sum of y/position divided by sum of y
    nDCG@k  gain 2^y - 1, discount log2(position + 1), divided by the value of the best order

where positions are in the order of decreasing 1/rank. This script implements these formulas independently. Many scores
of an impression tie, and candidates without an article have the score -inf. The ranks are 1 to n by decreasing score;
equal scores keep the order of the impression. No two candidates have the same rank, so it does not matter what the
argsort of the published script does with ties.
"""

import json
import sys
from pathlib import Path

import numpy as np

SEED = 20261130


def ranks_of(scores):
    ranks = np.empty(len(scores), dtype=int)
    ranks[np.argsort(np.negative(scores), kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks


def auc(labels, scores):
    wins = [(a > b) + 0.5 * (a == b) for a in scores[labels == 1] for b in scores[labels == 0]]
    return float(np.mean(wins))


def gain(labels, k):
    labels = labels[:k]
    return float(((2.0**labels - 1) / np.log2(np.arange(labels.size) + 2)).sum())


def measure(labels, ranks):
    scores = 1.0 / ranks
    sorted_labels = labels[np.argsort(scores)[::-1]]
    best = np.sort(labels)[::-1]
    return {
        "auc": auc(labels, scores),
        "mrr": float((sorted_labels / np.arange(1, labels.size + 1)).sum() / labels.sum()),
        "ndcg@5": gain(sorted_labels, 5) / gain(best, 5),
        "ndcg@10": gain(sorted_labels, 10) / gain(best, 10),
    }


def draw(rng):
    size = int(rng.choice([2, 3, 8, 30, 60]))
    labels = np.zeros(size, dtype=int)
    labels[rng.permutation(size)[: int(rng.integers(1, min(size, 4)))]] = 1
    scores = rng.integers(-2, 3, size) / 2 + 0.0
    unknown = rng.random(size) < 0.15
    ranks = ranks_of(np.where(unknown, -np.inf, scores))
    return {
        "labels": labels.tolist(),
        "scores": [None if none else score for score, none in zip(scores.tolist(), unknown)],
        "ranks": ranks.tolist(),
        **measure(labels, ranks),
    }


def main():
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("clicks.json")
    rng = np.random.default_rng(SEED)
    impressions = [draw(rng) for _ in range(120)]
    mean = {name: float(np.mean([one[name] for one in impressions])) for name in ("auc", "mrr", "ndcg@5", "ndcg@10")}
    target.write_text(json.dumps({"impressions": impressions, "mean": mean}) + "\n")
    print(len(impressions), "impressions", mean)


if __name__ == "__main__":
    main()
