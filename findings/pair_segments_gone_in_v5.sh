#!/usr/bin/env bash
# The same folder gives segment ids for a pair in transformers 4 and none in transformers 5.
#
# Expected behaviour: a tokenizer.json whose template sets segment 1 for the second text produces
#   `token_type_ids` in every version, because a generic PreTrainedTokenizerFast only wraps it.
# Actual behaviour: version 4's generic class and its ALBERT, RemBERT and Funnel classes return
#   `token_type_ids`. Those of version 5.24 do not, so a BERT or ALBERT gets all zeros for title and
#   abstract. `return_token_type_ids=True` shows that the template is still there. BertTokenizer and
#   DebertaV2Tokenizer return them in both versions. There is no warning.
# Versions: transformers 4.57.6 and 5.24.0 (tested on 2026-11-29 with Python 3.11, which version 5
#   requires).
# Why it matters: a teacher that was fine-tuned on pairs under version 4 is distilled or served under
#   version 5 with segments that it has never seen, unless tokenizer_config.json names BertTokenizer or
#   `model_input_names`.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > try.py <<'PY'
import json
import os

import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

SPECIAL = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
major = int(transformers.__version__.split(".")[0])

def segments(tokenizer_class, model, **extra):
    backend = Tokenizer(model)
    if isinstance(model, models.Unigram):
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        backend.normalizer = normalizers.BertNormalizer()
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(t, backend.token_to_id(t)) for t in ("[CLS]", "[SEP]")])
    os.makedirs("folder", exist_ok=True)
    backend.save("folder/tokenizer.json")
    with open("folder/tokenizer_config.json", "w") as f:
        json.dump({"tokenizer_class": tokenizer_class, **SPECIAL, **extra}, f)
    tokenizer = AutoTokenizer.from_pretrained("folder")
    plain = tokenizer("storm", "rain").get("token_type_ids")
    asked = tokenizer("storm", "rain", return_token_type_ids=True)["token_type_ids"]
    return plain, asked

words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "storm", "rain", "▁storm", "▁rain", "▁"]
def wordpiece():
    return models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]")
def unigram():
    return models.Unigram([(w, -float(i)) for i, w in enumerate(words)], unk_id=1)

fast = "Fast" if major == 4 else ""
pair = [0, 0, 0, 1, 1]
inputs = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
for name, found, lost in [
    ("PreTrainedTokenizerFast", segments("PreTrainedTokenizerFast", wordpiece()), True),
    ("AlbertTokenizer", segments("AlbertTokenizer" + fast, unigram()), True),
    ("RemBertTokenizer", segments("RemBertTokenizer" + fast, unigram()), True),
    # Controls: classes that name their inputs, and a folder that names them.
    ("BertTokenizer", segments("BertTokenizer" + fast, wordpiece()), False),
    ("DebertaV2Tokenizer", segments("DebertaV2Tokenizer" + fast, unigram()), False),
    ("PreTrainedTokenizerFast, model_input_names", segments("PreTrainedTokenizerFast", wordpiece(), **inputs), False),
]:
    print(f"transformers {transformers.__version__}, {name}: {found[0]}, on request: {found[1]}")
    assert found == (None if lost and major == 5 else pair, pair), found
PY
for version in 4.57.6 5.24.0; do
    python3 -m venv "$work/venv-$version"
    "$work/venv-$version/bin/pip" install --quiet --disable-pip-version-check \
        "transformers==$version" sentencepiece==0.2.1 protobuf==6.33.2
    TRANSFORMERS_VERBOSITY=error TRANSFORMERS_NO_ADVISORY_WARNINGS=1 "$work/venv-$version/bin/python" try.py
done
