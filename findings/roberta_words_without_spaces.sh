#!/usr/bin/env bash
# Texts that were split into words lose their spaces in version 5's RoBERTa tokenizer.
#
# Expected behaviour: `is_split_into_words=True` encodes the words of a text as the words of the joined
#   text, or refuses, as byte-level BPE needs `add_prefix_space` to see that a word begins.
# Actual behaviour: with the default `add_prefix_space=False`, the words are encoded as if they were
#   glued together ("the", "storm" as "thestorm"), without a warning. Version 4.57 raises an error that
#   names `add_prefix_space`.
# Versions: transformers 4.57.6 and 5.24.0 (tested on 2026-11-30 with Python 3.11).
# Why it matters: taggers and news corpora come as lists of words. A RoBERTa that is fine-tuned or
#   distilled on them reads no word in the form it was pretrained on.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > try.py <<'PY'
import json
import os
import sys

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

backend = Tokenizer(models.BPE())
backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special,
                              initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
backend.train_from_iterator(["the storm in the north"] * 20, trainer)

def tokens(prefix):
    folder = f"folder-{prefix}"
    os.makedirs(folder, exist_ok=True)
    backend.model.save(folder)
    with open(f"{folder}/config.json", "w") as file:
        json.dump({"model_type": "roberta"}, file)
    with open(f"{folder}/tokenizer_config.json", "w") as file:
        json.dump({"tokenizer_class": "RobertaTokenizer", "add_prefix_space": prefix}, file)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    read = lambda *args, **options: tokenizer.convert_ids_to_tokens(tokenizer(*args, **options)["input_ids"])
    try:
        words = read(["the", "storm"], is_split_into_words=True)
    except AssertionError as error:
        words = type(error).__name__
    return words, read("thestorm"), read("the storm")

major = int(transformers.__version__.split(".")[0])
words, glued, joined = tokens(False)
print(f"transformers {transformers.__version__}: words {words}, glued {glued}, joined {joined}")
assert words == ("AssertionError" if major == 4 else glued), words
assert glued != joined
words, _, joined = tokens(True)  # control
print(f"  with add_prefix_space: words {words}, joined {joined}")
assert words == joined
PY
for version in 4.57.6 5.24.0; do
    python3 -m venv "venv-$version"
    "venv-$version/bin/pip" install --quiet --disable-pip-version-check "transformers==$version"
    TRANSFORMERS_VERBOSITY=error TRANSFORMERS_NO_ADVISORY_WARNINGS=1 "venv-$version/bin/python" try.py
done
