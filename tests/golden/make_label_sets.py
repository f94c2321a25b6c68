"""Writes label_sets.json: texts with any number of labels, and their metrics from scikit-learn.

    python make_label_sets.py [FILE]        # default: label_sets.json beside this script

Labels differ in how often they apply: the rarest applies to no text, so it has no average precision. Some probabilities are
coarse, so that many are equal. The best threshold of a label, or of all together, is searched among all probabilities.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, f1_score

SEED = 20261201
SHARES = (0.6, 0.3, 0.1, 0.03, 0.0)


def draw(rng, texts, coarse):
    truth = rng.random((texts, len(SHARES))) < np.array(SHARES)
    logits = rng.standard_normal(truth.shape) + 1.5 * truth - 1
    return truth, np.round(1 / (1 + np.exp(-logits)), 1 if coarse else 6)


def best_f1(truth, scores):
    """Returns the largest F1 of any threshold."""
    return max(f1_score(truth, scores >= threshold) for threshold in np.unique(scores))


def measure(rng, texts, coarse):
    truth, probabilities = draw(rng, texts, coarse)
    thresholds = np.array([0.5, 0.4, 0.3, 0.2, 0.9])
    predicted = probabilities >= thresholds
    occurring = [label for label in range(len(SHARES)) if truth[:, label].any() or predicted[:, label].any()]
    with_texts = [label for label in range(len(SHARES)) if truth[:, label].any()]
    precisions = {label: float(average_precision_score(truth[:, label], probabilities[:, label])) for label in with_texts}
    return {
        "truth": [np.flatnonzero(row).tolist() for row in truth],
        "probabilities": probabilities.tolist(),
        "thresholds": thresholds.tolist(),
        "micro_f1": float(f1_score(truth, predicted, average="micro")),
        "macro_f1": float(f1_score(truth, predicted, labels=occurring, average="macro", zero_division=0)),
        "map": float(np.mean(list(precisions.values()))),
        "average_precision": [precisions.get(label) for label in range(len(SHARES))],
        "best_f1": [best_f1(truth[:, i], probabilities[:, i]) if i in with_texts else None for i in range(len(SHARES))],
        "best_common_f1": best_f1(truth.ravel(), probabilities.ravel()),
    }


def main():
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("label_sets.json")
    rng = np.random.default_rng(SEED)
    cases = [measure(rng, texts, coarse) for texts, coarse in ((200, False), (200, True), (30, True), (5, False))]
    target.write_text(json.dumps(cases) + "\n")
    print(target.name, [{name: round(case[name], 6) for name in ("micro_f1", "macro_f1", "map")} for case in cases])


if __name__ == "__main__":
    main()
