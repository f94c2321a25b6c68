"""Writes judgements.json: pytrec_eval's metrics of searches over small corpora with all the quirks of real files.

    pip install pytrec_eval-terrier==0.5.11 numpy==2.4.6
    python make_judgements.py [FILE]        # default: judgements.json beside this script

A case consists of a corpus, queries, a qrels file as text and a score for each query and row of the corpus. The metrics
are computed as in BEIR 2.2 (`GenericDataLoader`, `EvaluateRetrieval.evaluate`): if an id is repeated in the corpus or
in the qrels, the last row counts; a document with the query's own id is removed from the query's results; pytrec_eval
ranks the rest and averages over the judged queries. The cases cover the following, each in a good part of them: equal
scores, scores that are equal only in 32 bits, repeated judgements and ids, documents that are missing from the corpus,
queries with only judgements of 0, large grades, queries whose id is also that of a document, more results than any
cutoff, three or four columns separated by tabs or spaces, with and without a header. Negative grades are not covered:
pytrec_eval writes outside its memory on some of them, and otherwise counts them as not relevant.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytrec_eval

SEED = 20261129
CASES = 80
MEASURES = {"ndcg_cut.10", "recall.10,100", "recip_rank"}
NAMES = (str, "d{}".format, "MED-{}".format, "é{}".format, "{}-x".format)


def draw_scores(rng, queries, rows, style):
    if style == 0:  # few values, so that most documents tie
        return rng.integers(-2, 3, (queries, rows)) / 4 + 0.0
    scores = np.round(rng.standard_normal((queries, rows)), 2) + 0.0
    if style == 1:  # distinct in 64 bits, equal in 32
        scores += rng.integers(0, 2, scores.shape) * 1e-10
    return scores


def draw_qrels(rng, queries, corpus):
    rows = []
    for query in queries + ["nobody"]:
        if rng.random() < 0.1:
            continue  # not judged
        grades = [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3, 4], [1, 1000]][rng.integers(0, 5)]
        for _ in range(int(rng.choice([1, 2, 5, 25]))):
            document = str(rng.choice(corpus)) if rng.random() < 0.85 else f"lost{rng.integers(0, 9)}"
            rows.append((query, document, int(rng.choice(grades))))
            if rng.random() < 0.1:
                rows.append((query, document, int(rng.choice(grades))))
    rng.shuffle(rows)
    return [(q, d, int(g)) for q, d, g in rows]


def write_qrels(rng, rows):
    columns, separator, header = int(rng.choice([3, 4])), str(rng.choice(["\t", " "])), bool(rng.integers(0, 2))
    names = ("query-id", "corpus-id", "score") if columns == 3 else ("query-id", "iteration", "corpus-id", "score")
    lines = [names] if header else []
    lines += [(q, d, str(g)) if columns == 3 else (q, "0", d, str(g)) for q, d, g in rows]
    return "".join(separator.join(line) + "\n" for line in lines)


def draw_case(rng, number):
    size = int(rng.choice([3, 12, 40, 160], p=[0.2, 0.4, 0.25, 0.15]))
    name = NAMES[number % len(NAMES)]
    corpus = [name(i) for i in rng.permutation(3 * size)[:size]]
    corpus += [str(rng.choice(corpus)) for _ in range(int(rng.integers(0, 3)))]  # repeated ids
    queries = [f"q{i}" for i in range(int(rng.integers(2, 6)))] + [str(d) for d in rng.permutation(sorted(set(corpus)))[:2]]
    scores = draw_scores(rng, len(queries), len(corpus), number % 3)
    rows = draw_qrels(rng, queries, sorted(set(corpus)))
    judged = {}
    for query, document, grade in rows:
        judged.setdefault(query, {})[document] = grade
    run = {}
    for query, row in zip(queries, scores.tolist()):
        run[query] = dict(zip(corpus, row))
        run[query].pop(query, None)
    evaluated = pytrec_eval.RelevanceEvaluator(judged, MEASURES).evaluate(run)
    each = {
        query: {
            "ndcg@10": one["ndcg_cut_10"],
            "mrr@10": one["recip_rank"] if one["recip_rank"] * 10 > 1 - 1e-9 else 0.0,
            "recall@10": one["recall_10"],
            "recall@100": one["recall_100"],
        }
        for query, one in evaluated.items()
    }
    return {
        "corpus": corpus,
        "queries": queries,
        "scores": scores.tolist(),
        "qrels": write_qrels(rng, rows),
        "each": each,
    }


def main():
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("judgements.json")
    rng = np.random.default_rng(SEED)
    cases = [case for case in (draw_case(rng, number) for number in range(CASES)) if case["each"]]
    target.write_text(json.dumps({"cases": cases}, ensure_ascii=False) + "\n")
    each = [one for case in cases for one in case["each"].values()]
    print(len(cases), "cases,", len(each), "queries")
    for name in ("ndcg@10", "mrr@10", "recall@10", "recall@100"):
        print(name, round(float(np.mean([one[name] for one in each])), 6))


if __name__ == "__main__":
    main()
