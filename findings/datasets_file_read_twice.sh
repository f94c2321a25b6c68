#!/usr/bin/env bash
# A file that matches two patterns of a split is loaded twice.
#
# Expected behaviour: load_dataset(folder) reads every file of a split once.
# Actual behaviour: each pattern of a split is resolved by itself and the lists are concatenated. A file
#   whose name contains two words for a split (train-training.csv, dev_val.csv) is read twice, and so is
#   one that two patterns of a README.md match. There is no warning; the number of rows grows.
# Versions: datasets 5.2.0, fsspec as pip selects it (tested on 2026-11-30 with Python 3.11).
# Why it matters: news data often comes as files such as validation_eval.csv. Rows that occur twice count
#   twice in training and in every metric, and results differ from those of a reader that lists the folder.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0

HF_HUB_OFFLINE=1 "$work/venv/bin/python" - "$work" <<'PY'
import sys
from pathlib import Path

import datasets

datasets.disable_progress_bars()

def rows(name, files):
    folder = Path(sys.argv[1]) / name
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    found = datasets.load_dataset(str(folder), cache_dir=f"{sys.argv[1]}/cache")
    return {split: found[split]["text"][:] for split in found}

twice = rows("twice", {"train-training.csv": "text\na\n", "train.csv": "text\nb\n"})
print("two words:", twice)
assert twice == {"train": ["a", "b", "a"]}, twice

card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: [x/two.csv, x/*]\n---\n"
patterns = rows("patterns", {"README.md": card, "x/one.csv": "text\nc\n", "x/two.csv": "text\nd\n"})
print("two patterns:", patterns)
assert patterns == {"train": ["d", "c", "d"]}, patterns

once = rows("once", {"train-0.csv": "text\na\n", "train.csv": "text\nb\n"})
assert once == {"train": ["a", "b"]}, once  # Control: one word in each name.
PY
