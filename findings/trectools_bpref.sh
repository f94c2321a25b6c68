#!/usr/bin/env bash
# trectools gives a perfect run bpref 0.0 where trec_eval gives 1.0.
#
# Expected behaviour: bpref counts judged non-relevant documents that are ranked above relevant ones. If
#   nothing is judged non-relevant, nothing can be ranked above, so a run that finds everything has 1.0.
# Actual behaviour: trec_eval agrees. trectools returns 0.0 for the very same two files, and returns
#   trec_eval's value as soon as one document is judged 0, whether or not it is retrieved.
# Versions: trectools 0.0.50, pytrec-eval-terrier 0.5.11, pandas 3.1.1 (tested on 2026-11-29 with Python
#   3.11).
# Why it matters: most retrieval sets in BEIR's layout contain only positive judgements, and bpref is
#   the metric to turn to when judgements are incomplete.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    trectools==0.0.50 pytrec-eval-terrier==0.5.11 pandas==3.1.1

cd "$work"
"$work/venv/bin/python" - <<'PY'
import warnings

warnings.filterwarnings("ignore")
import pytrec_eval
from trectools import TrecEval, TrecQrel, TrecRun

run = {"q1": {"a": 3.0, "z": 2.0, "b": 1.0}}

def both(judged):
    with open("qrels", "w") as f:
        f.writelines(f"q1 0 {d} {grade}\n" for d, grade in judged.items())
    with open("run", "w") as f:
        f.writelines(f"q1 Q0 {d} {r} {s} x\n" for r, (d, s) in enumerate(run["q1"].items(), 1))
    evaluation = TrecEval(TrecRun("run"), TrecQrel("qrels"))
    theirs = {"bpref": evaluation.get_bpref(), "map": evaluation.get_map()}
    trec = pytrec_eval.RelevanceEvaluator({"q1": judged}, {"bpref", "map"}).evaluate(run)["q1"]
    return {k: round(float(v), 4) for k, v in theirs.items()}, {k: round(v, 4) for k, v in trec.items()}

for name, judged, bpref in [
    ("positive judgements only", {"a": 1, "b": 1}, (0.0, 1.0)),
    ("one unretrieved document judged 0", {"a": 1, "b": 1, "n": 0}, (1.0, 1.0)),
]:
    theirs, trec = both(judged)
    print(f"{name}: trectools {theirs}, trec_eval {trec}")
    assert (theirs["bpref"], trec["bpref"]) == bpref, (theirs, trec)
    assert theirs["map"] == trec["map"] == 0.8333, (theirs, trec)  # Control: both read the files alike.
PY
