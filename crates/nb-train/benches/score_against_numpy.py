"""Scores impressions from the article vectors of a recommendation model, as one would write it in NumPy and
scikit-learn: for each impression the reader's attentive pooling, the candidates' scores and MIND's metrics.

    OPENBLAS_NUM_THREADS=1 python crates/nb-train/benches/score_against_numpy.py \\
        --vectors vectors.safetensors --ids news_ids.txt --behaviors behaviors.tsv --history 50

`vectors.safetensors` contains `vectors` [articles, H] in f32 and the reader: `reader.proj.weight` [Q, H],
`reader.proj.bias` [Q], `reader.query.weight` [1, Q], `reader.cold` [H]. `news_ids.txt` contains the id of each vector,
one per line. Prints one line of JSON. `seconds` covers scoring and metrics, `score_seconds` only the scoring: most of
the time goes into the calls of scikit-learn's AUC, which MIND's script makes too. `parse_seconds` covers reading the
files; starting Python is not timed. The products are so small that threads cost NumPy more than they gain, much more on
a busy machine: hence the variable.

The metrics are those of MIND's evaluation script, with equal scores in the order of the impression. Articles without a
vector are left out of click histories and candidates. Impressions whose candidates are all of one class are left out.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score


def read_behaviors(path, row_of, n_recent):
    """Returns (rows of the clicked articles, rows of the candidates, labels) for each impression."""
    impressions = []
    with open(path, encoding="utf-8-sig") as file:
        for line in file:
            _, _, _, history, shown = line.rstrip("\n").split("\t")
            clicked = [row_of[news] for news in history.split() if news in row_of][-n_recent:]
            pairs = [pair.rsplit("-", 1) for pair in shown.split()]
            pairs = [(row_of[news], int(label)) for news, label in pairs if news in row_of]
            rows, labels = zip(*pairs) if pairs else ((), ())
            impressions.append((np.array(clicked, dtype=int), np.array(rows, dtype=int), np.array(labels, dtype=int)))
    return impressions


def reader_vector(tensors, clicked):
    if len(clicked) == 0:
        return tensors["reader.cold"]
    x = tensors["vectors"][clicked]  # [n, H]
    energy = np.tanh(x @ tensors["reader.proj.weight"].T + tensors["reader.proj.bias"]) @ tensors["reader.query.weight"][0]
    weight = np.exp(energy - energy.max())
    return (weight / weight.sum()) @ x


def dcg(labels, k):
    labels = labels[:k]
    return np.sum((2**labels - 1) / np.log2(np.arange(len(labels)) + 2))


def metrics_of(labels, scores):
    ranked = labels[np.argsort(-scores, kind="stable")]
    best = np.sort(labels)[::-1]
    mrr = np.sum(ranked / (np.arange(len(ranked)) + 1)) / np.sum(ranked)
    return roc_auc_score(labels, scores), mrr, dcg(ranked, 5) / dcg(best, 5), dcg(ranked, 10) / dcg(best, 10)


def has_both_classes(labels):
    return labels.size > 0 and labels.min() != labels.max()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vectors", required=True, help="safetensors file with vectors and reader.*")
    parser.add_argument("--ids", required=True, help="article ids, one per line, in the order of the vectors")
    parser.add_argument("--behaviors", required=True, help="MIND's behaviors.tsv")
    parser.add_argument("--history", type=int, default=50, help="how many of the latest clicks to use")
    args = parser.parse_args()

    start = time.perf_counter()
    tensors = load_file(args.vectors)
    row_of = {news: row for row, news in enumerate(Path(args.ids).read_text(encoding="utf-8-sig").split())}
    if len(row_of) != len(tensors["vectors"]):
        found = f"{len(row_of)} distinct ids, {args.vectors} contains {len(tensors['vectors'])} vectors"
        parser.error(f"{args.ids} contains {found}")
    impressions = read_behaviors(args.behaviors, row_of, args.history)
    parsed = time.perf_counter()
    kept = [impression for impression in impressions if has_both_classes(impression[2])]
    if not kept:
        parser.error(f"{args.behaviors}: no impression has both clicked and other candidates")
    scores = [tensors["vectors"][candidates] @ reader_vector(tensors, clicked) for clicked, candidates, _ in kept]
    scored = time.perf_counter()
    means = np.mean([metrics_of(labels, of_one) for (_, _, labels), of_one in zip(kept, scores)], axis=0)
    seconds = time.perf_counter() - parsed

    report = dict(zip(("auc", "mrr", "ndcg@5", "ndcg@10"), means.tolist()))
    report |= {"impressions": len(kept), "left_out": len(impressions) - len(kept), "parse_seconds": parsed - start,
               "score_seconds": scored - parsed, "seconds": seconds, "impressions_per_second": len(kept) / seconds}
    print(json.dumps(report))


main()
