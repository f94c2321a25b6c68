#!/usr/bin/env bash
# An index of weights in several files does not decide which copy of a tensor is loaded.
#
# Expected behaviour: `weight_map` of model.safetensors.index.json says in which file each tensor is, and
#   `from_pretrained` takes it from there. `metadata` is information for people.
# Actual behaviour: if two files have a tensor, the last file wins, whatever the index says, without a
#   warning. An index without `metadata` raises KeyError.
# Versions: transformers 5.24.0, safetensors 0.8.0, torch 2.11.0 (tested on 2026-11-30 with Python 3.11).
# Why it matters: a folder in which an old file of weights remains after a model was split anew, or files
#   that a tool wrote with a tied tensor in both, gives other weights in transformers than in a loader
#   that follows the index.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.11.0 transformers==5.24.0 safetensors==0.8.0
cat > try.py <<'PY'
import json
import tempfile

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

config = BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
state = {name: value.clone() for name, value in BertModel(config).state_dict().items()}
WORDS = "embeddings.word_embeddings.weight"

def load(first, second, places, **index):
    folder = tempfile.mkdtemp()
    config.save_pretrained(folder)
    save_file(first, f"{folder}/a.safetensors", metadata={"format": "pt"})
    save_file(second, f"{folder}/b.safetensors", metadata={"format": "pt"})
    with open(f"{folder}/model.safetensors.index.json", "w") as file:
        json.dump({"weight_map": places, **index}, file)
    return BertModel.from_pretrained(folder).embeddings.word_embeddings.weight[0, 0].item()

one, two = torch.full((30, 8), 1.0), torch.full((30, 8), 2.0)
places = {**dict.fromkeys(state, "a.safetensors"), "extra": "b.safetensors"}
control = load({**state, WORDS: one}, {"extra": one}, places, metadata={})
found = load({**state, WORDS: one}, {WORDS: two, "extra": one}, places, metadata={})
print(f"the index names the file with 1.0; loaded {control} if only that file has the tensor, {found} if both have it")
assert (control, found) == (1.0, 2.0)
try:
    load({**state, WORDS: one}, {"extra": one}, places)
    raise AssertionError("an index without metadata loads")
except KeyError as error:
    print("an index without `metadata`: KeyError", error)
PY
TRANSFORMERS_VERBOSITY=error HF_HUB_DISABLE_PROGRESS_BARS=1 venv/bin/python try.py
