#!/usr/bin/env bash
# transformers 5: with the class XLMRobertaTokenizer, an unknown character becomes a real word.
#
# Expected behaviour: a tokenizer.json names its unknown token (`unk_id`), and loading the folder keeps
#   it, as transformers 4 does. `unk_token_id` states which id to expect.
# Actual behaviour: the class of version 5 rebuilds its model from the vocabulary with unk_id 3, the
#   position of <unk> in XLM-R's own file. A vocabulary that SentencePiece trained with its defaults has
#   <unk> at 0 and the most frequent piece at 3: here, every unknown character is read as "▁election".
#   `unk_token_id` is still 0. PreTrainedTokenizerFast reads the same file correctly.
# Versions: transformers 5.24.0, tokenizers 0.23.3 (tested on 2026-11-29 with Python 3.11, which
#   transformers 5.24.0 requires).
# Why it matters: a news teacher with its own multilingual vocabulary sees a frequent word in place of
#   each rare character, while a student or a server that reads tokenizer.json as it is does not.
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

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer

SPECIAL = {
    "unk_token": "<unk>", "bos_token": "<s>", "cls_token": "<s>",
    "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>",
}

def tokens(special, tokenizer_class, text):
    """Returns the tokens of the text and unk_token_id for a folder whose vocabulary begins with `special`."""
    words = ["▁election", "▁the", "▁news", "▁"]
    vocab = [(t, 0.0) for t in special] + [(w, -1.0 - i) for i, w in enumerate(words)]
    ids = {token: i for i, (token, _) in enumerate(vocab)}
    backend = Tokenizer(models.Unigram(vocab, unk_id=ids["<unk>"]))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(t, ids[t]) for t in ("<s>", "</s>")])
    os.makedirs("folder", exist_ok=True)
    backend.save("folder/tokenizer.json")
    with open("folder/tokenizer_config.json", "w") as f:
        json.dump({"tokenizer_class": tokenizer_class, **SPECIAL}, f)
    tokenizer = AutoTokenizer.from_pretrained("folder")
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]), tokenizer.unk_token_id

sentencepiece = ["<unk>", "<s>", "</s>"]
fairseq = ["<s>", "<pad>", "</s>", "<unk>"]
wrong = ["<s>", "▁the", "▁news", "▁", "▁election", "</s>"]
right = ["<s>", "▁the", "▁news", "▁", "<unk>", "</s>"]
for special, tokenizer_class, expected in [
    (sentencepiece, "XLMRobertaTokenizer", (wrong, 0)),
    (sentencepiece, "PreTrainedTokenizerFast", (right, 0)),  # Control: the file is right.
    (fairseq, "XLMRobertaTokenizer", (right, 3)),            # Control: so is the class with XLM-R's order.
]:
    found = tokens(special, tokenizer_class, "the news Ω")
    print(f"{tokenizer_class}, vocabulary begins with {special[:4]}: {found}")
    assert found == expected, (found, expected)
PY
