"""Runs the code of model cards. Reads one JSON object per line, {"folder": …, "rows": [[first, second], …]}, from
standard input, and writes one line with the probabilities of its rows, [[…], …], to standard output.

The code is the Python code in the folder's own README.md, up to the line that pools the two examples. Requires torch,
transformers and safetensors.
"""

import json
import re
import sys


def probabilities(folder, rows):
    text = open(f"{folder}/README.md", encoding="utf8").read()
    code = re.search(r"```python\n(.*?)```", text, re.S).group(1).split("pooled = vectors(")[0]
    space = {}
    exec(code.replace('folder = "."', f"folder = {folder!r}"), space)
    head, pooled = space["head"], space["vectors"](*zip(*rows))  # one batch, padded to its longest row
    return (pooled @ head["dense.weight"].T + head["dense.bias"]).softmax(-1).tolist()


for line in sys.stdin:
    job = json.loads(line)
    print(json.dumps(probabilities(job["folder"], job["rows"])), flush=True)
