"""Runs the code of model cards. Reads one JSON object per line, {"folder": …, "rows": [[first, second], …]}, from
standard input, and writes one line with the probabilities of its rows, [[…], …], to standard output.

The code is the Python code in the folder's own README.md, up to the line that pools the two examples. Requires torch,
transformers and safetensors.

For an object {"folder": …, "sentences": […]}, it writes the vectors that the card's code for sentence-transformers
computes, or null if that package is not installed. A sentence is a text, or a pair of texts in a list.
"""

import importlib.util
import json
import re
import sys


def probabilities(folder, rows):
    text = open(f"{folder}/README.md", encoding="utf8").read()
    code = re.search(r"```python\n(.*?)```", text, re.S).group(1).split("pooled = vectors(")[0]
    space = {}
    exec(code.replace('folder = "."', f"folder = {folder!r}"), space)
    head, pooled = space["head"], space["vectors"](*zip(*rows))  # one batch, padded to its longest row
    logits = pooled @ head["dense.weight"].T + head["dense.bias"]
    has_thresholds = "thresholds" in json.load(open(f"{folder}/newsbert.json"))
    return (logits.sigmoid() if has_thresholds else logits.softmax(-1)).tolist()


def sentence_vectors(folder, sentences):
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    text = open(f"{folder}/README.md", encoding="utf8").read()
    _, code = re.findall(r"```python\n(.*?)```", text, re.S)
    code = code.replace('SentenceTransformer("."', f"SentenceTransformer({folder!r}")
    code, count = re.subn(r"encode\(.*\)", lambda _: f"encode({sentences!r})", code)
    assert count == 1, code
    space = {}
    exec(code, space)
    return space["vectors"].tolist()


for line in sys.stdin:
    job = json.loads(line)
    if "sentences" in job:
        print(json.dumps(sentence_vectors(job["folder"], job["sentences"])), flush=True)
    else:
        print(json.dumps(probabilities(job["folder"], job["rows"])), flush=True)
