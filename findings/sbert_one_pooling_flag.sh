#!/usr/bin/env bash
# A sentence-transformers folder that only sets the CLS flag gives vectors of another width since 5.4.
#
# Expected behaviour: the same folder gives the same vectors in every version. A `1_Pooling/config.json`
#   with `pooling_mode_cls_token: true` and no other flag means pooling by CLS.
# Actual behaviour: up to 5.3 the mean is on unless its flag is false, so CLS and mean are concatenated:
#   64 numbers for a BERT of width 32. Since 5.4 a missing flag counts as false if any flag is present: 32
#   numbers. Neither version warns. With all flags written out, as the library itself did, both agree.
#   Since 5.4 the library writes the word `pooling_mode` instead of flags, which older versions understand,
#   and `embedding_dimension`, which they do not.
# Versions: sentence-transformers 5.3.0 and 6.2.0, transformers 5.24.0, torch 2.11.0 (tested on 2026-11-30
#   with Python 3.11). 2.7.0 does as 5.3.0, 5.4.1 as 6.2.0.
# Why it matters: folders that were made by hand or by an export often contain only the flag that is on.
#   An index that was built with one version does not fit the vectors of the other. Write all flags.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > try.py <<'PY'
import json
import os
import sys

import numpy as np
import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "storm", "rain"]
backend = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
backend.pre_tokenizer = pre_tokenizers.Whitespace()
backend.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", special_tokens=[(t, backend.token_to_id(t)) for t in ("[CLS]", "[SEP]")])
special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained("folder")
torch.manual_seed(3)
BertModel(BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                     intermediate_size=64, max_position_embeddings=16)).save_pretrained("folder")
os.makedirs("folder/1_Pooling", exist_ok=True)
with open("folder/modules.json", "w") as f:
    module = "sentence_transformers.models."
    json.dump([{"idx": 0, "name": "0", "path": "", "type": module + "Transformer"},
               {"idx": 1, "name": "1", "path": "1_Pooling", "type": module + "Pooling"}], f)

tokenizer, encoder = AutoTokenizer.from_pretrained("folder"), AutoModel.from_pretrained("folder").eval()
with torch.no_grad():
    states = encoder(**tokenizer("storm rain", return_tensors="pt")).last_hidden_state[0].numpy()
cls, mean = states[0], states.mean(axis=0)

def vector(**config):
    with open("folder/1_Pooling/config.json", "w") as f:
        json.dump({"word_embedding_dimension": 32, **config}, f)
    return SentenceTransformer("folder", device="cpu").encode("storm rain", show_progress_bar=False)

others = dict.fromkeys((f"pooling_mode_{m}" for m in ("mean_tokens", "max_tokens", "mean_sqrt_len_tokens")), False)
one = np.concatenate([cls, mean]) if sys.argv[1] == "both" else cls
for config, expected in [
    ({"pooling_mode_cls_token": True}, one),
    ({"pooling_mode_cls_token": True, **others}, cls),  # Controls: all flags, one word, and nothing.
    ({"pooling_mode": "cls"}, cls),
    ({}, mean),
]:
    found = vector(**config)
    print(f"sentence-transformers {sentence_transformers.__version__}, {config}: {found.size} numbers")
    assert found.shape == expected.shape and np.allclose(found, expected, atol=1e-5), found
SentenceTransformer("folder", device="cpu").save_pretrained("saved", create_model_card=False)
with open("saved/1_Pooling/config.json") as f:
    saved = json.load(f)
print("saved:", saved)
flags = {"pooling_mode_cls_token", "pooling_mode_mean_tokens", "word_embedding_dimension"}
assert flags <= set(saved) if sys.argv[1] == "both" else set(saved) == {"embedding_dimension", "pooling_mode", "include_prompt"}
PY
python3 -m venv "$work/venv"
for pair in 5.3.0:both 6.2.0:cls; do
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check "sentence-transformers==${pair%%:*}" \
        transformers==5.24.0 torch==2.11.0
    HF_HUB_OFFLINE=1 "$work/venv/bin/python" try.py "${pair##*:}" 2>errors || { cat errors; exit 1; }
done
