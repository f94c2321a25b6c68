"""Writes the layouts of some folders, and the rows that `datasets.load_dataset(folder)` reads from each, to `folders.json`.

    pip install datasets==5.2.0
    python make_folders.py

Every file holds its own name as its only row, so that the rows show the files and their order.
"""

import gzip
import json
import tempfile
from pathlib import Path

import datasets

CASES = {
 "sharded": ["data/train-00001-of-00002.csv","data/train-00000-of-00002.csv","data/test-00000-of-00001.csv","data/extra-00000-of-00001.csv","other.csv"],
 "names": ["train_1.csv","train_0.csv","dev.csv","notes.md","my-test.csv"],
 "folders": ["train/b.csv","train/a.csv","val/x.csv","README2.csv"],
 "both": ["train-training.csv","train.csv"],
 "flat": ["a.csv","b/c.csv",".hidden.csv","__x/d.csv"],
 "mixed": ["train.csv","train.jsonl","train_2.csv"],
 "nested": ["data/a/train/1.csv","data/b/training/2.csv","data/b/test-x/2.csv"],
 "gz": ["train.csv.gz","train_2.csv"],
 "card": ["README.md","x/one.csv","x/two.csv","y.csv"],
 "card_dir": ["README.md","x/train.csv","x/test.csv","train.csv"],
 "two_configs": ["README.md","a.csv","b.csv"],
}
CARDS = {
 "card": "---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path:\n    - x/two.csv\n    - x/*\n  - split: test\n    path: y.csv\n---\n# T\n",
 "card_dir": "---\nconfigs:\n- config_name: a\n  data_dir: x\n---\n",
 "two_configs": "---\nconfigs:\n- config_name: a\n  data_files: a.csv\n- config_name: b\n  data_files: b.csv\n  default: true\n---\n",
}


def content(name, file):
    if file == "README.md":
        return CARDS[name].encode()
    text = json.dumps({"text": file}) + "\n" if ".jsonl" in file else f"text\n{file}\n"
    return gzip.compress(text.encode(), mtime=0) if file.endswith(".gz") else text.encode()


def read(name, files):
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        for file in files:
            path = Path(folder) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(name, file))
        found = datasets.load_dataset(folder, cache_dir=cache)
        return {split: found[split]["text"][:] for split in found}


if __name__ == "__main__":
    datasets.disable_progress_bars()
    rows = [{"name": name, "files": files, "card": CARDS.get(name), "splits": read(name, files)} for name, files in CASES.items()]
    Path(__file__).with_name("folders.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
