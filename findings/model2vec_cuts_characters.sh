#!/usr/bin/env bash
# model2vec truncates a text by characters before it counts tokens.
#
# Expected behaviour: `max_length` is a number of tokens, as the documentation says, so max_length=12
#   does not affect a text of six tokens.
# Actual behaviour: encode() first truncates the text to max_length times the median length of a
#   vocabulary entry, in characters. A text of long words loses its end well below max_length tokens; the
#   same number of short words does not. No message reports the truncation.
# Versions: model2vec 0.10.0, tokenizers 0.23.3 (tested on 2026-11-29 with Python 3.11). Torch is not
#   needed.
# Why it matters: a static student that is compared with its BERT at "512 tokens" may read less of an
#   article than the teacher. How much less depends on the vocabulary and the language: compounds are
#   long.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check model2vec==0.10.0 tokenizers==0.23.3

"$work/venv/bin/python" - <<'PY'
import numpy as np
from model2vec import StaticModel
from tokenizers import Tokenizer, models, pre_tokenizers

words = ["[PAD]", "[UNK]", "ab", "wahl", "sturm", "bundesverfassungsgericht"]
backend = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
backend.pre_tokenizer = pre_tokenizers.Whitespace()
model = StaticModel(vectors=np.eye(len(words), dtype=np.float32), tokenizer=backend)
print("median length of a vocabulary entry:", model.median_token_length)

def read(text, **options):
    """Returns the words that were read, identified by the static vectors, which are one-hot here."""
    return [words[i] for i in model.encode_as_sequence(text, **options).argmax(axis=1)]

long = " ".join(["bundesverfassungsgericht"] * 3 + ["wahl"] * 3)
short = " ".join(["ab"] * 3 + ["wahl"] * 3)
for text in (long, short):
    whole, cut = model.encode(text, max_length=None), model.encode(text, max_length=12)
    print(f"6 tokens, max_length=12: read {read(text, max_length=12)}")
    assert np.allclose(whole, cut) == (text == short), (whole, cut)
assert len(read(long)) == 6  # Control: the text has six tokens.
assert read(long, max_length=12) == ["bundesverfassungsgericht"] * 2
assert read(short, max_length=12) == short.split()
assert len(read(short, max_length=4)) == 4  # Control: tokens are limited too.
PY
