#!/usr/bin/env bash
# transformers 5: of two sibling classes, one uses tokenizer.json's normalizer and the other does not.
#
# Expected behaviour: ELECTRA and ConvBERT share BERT's tokenizer, so the class name in
#   tokenizer_config.json makes no difference to the tokens, and a misspelt name is an error.
# Actual behaviour: with `ElectraTokenizer` (or the class of Bert, LayoutLM, MobileBert or SqueezeBert)
#   the folder is loaded as BertTokenizer, which lower-cases and strips accents whatever tokenizer.json
#   says. With `ConvBertTokenizer` the normalizer of tokenizer.json is used and the text stays cased.
#   Without any class, but with `model_type: convbert`, it is BertTokenizer again. A name that does not
#   exist is not an error and uses the whole of tokenizer.json, including the template.
# Versions: transformers 5.24.0, tokenizers 0.23.3 (tested on 2026-11-29 with Python 3.11, which
#   transformers 5.24.0 requires).
# Why it matters: whether a cased ConvBERT or ELECTRA teacher for German or Turkish news gets
#   lower-cased tokens depends on a key that looks like a mere label.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    transformers==5.24.0 tokenizers==0.23.3

cd "$work"
TRANSFORMERS_VERBOSITY=error "$work/venv/bin/python" - <<'PY'
import json
import os

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Größe", "größe", "große"]
vocab = {w: i for i, w in enumerate(words)}
backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
backend.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
backend.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP] [SEP]", special_tokens=[(t, vocab[t]) for t in ("[CLS]", "[SEP]")])
os.makedirs("folder")
backend.save("folder/tokenizer.json")

def tokens(tokenizer_class=None, model_type=None):
    config = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]",
              "unk_token": "[UNK]", "mask_token": "[MASK]"}
    if tokenizer_class:
        config["tokenizer_class"] = tokenizer_class
    with open("folder/tokenizer_config.json", "w") as f:
        json.dump(config, f)
    if model_type:
        with open("folder/config.json", "w") as f:
            json.dump({"model_type": model_type}, f)
    elif os.path.exists("folder/config.json"):
        os.remove("folder/config.json")
    tokenizer = AutoTokenizer.from_pretrained("folder")
    return type(tokenizer).__name__, " ".join(tokenizer.convert_ids_to_tokens(tokenizer("Größe")["input_ids"]))

lowered, cased, whole = "[CLS] große [SEP]", "[CLS] Größe [SEP]", "[CLS] Größe [SEP] [SEP]"
for arguments, expected in [
    (("ElectraTokenizer",), ("BertTokenizer", lowered)),
    (("MobileBertTokenizer",), ("BertTokenizer", lowered)),
    (("ConvBertTokenizer",), ("ConvBertTokenizer", cased)),
    ((None, "convbert"), ("BertTokenizer", lowered)),
    (("ElektraTokenizer",), ("TokenizersBackend", whole)),
    (("PreTrainedTokenizerFast",), ("TokenizersBackend", whole)),  # Control: the file as it is.
]:
    found = tokens(*arguments)
    print(f"class and model_type {arguments}: {found}")
    assert found == expected, (found, expected)
PY
