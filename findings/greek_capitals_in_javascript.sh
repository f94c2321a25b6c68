#!/usr/bin/env bash
# Python and JavaScript tokenise a Greek headline in capitals differently with the same tokenizer.json.
#
# Expected behaviour: lower-casing is one operation, so the Rust tokenizers behind Python and the
#   JavaScript port by the same authors give the same ids for one tokenizer.json.
# Actual behaviour: the Rust normalizers (BertNormalizer and Lowercase) lower-case each character by
#   itself and turn a capital sigma at the end of a word into σ. JavaScript's toLowerCase and Python's
#   str.lower look at the neighbouring characters and write ς, as Greek does. "ΝΕΟΣ" and "νεος" are the
#   same token in JavaScript and two different tokens in Python.
# Versions: tokenizers 0.23.3, @huggingface/tokenizers 0.2.0, Node.js 20 (tested on 2026-11-29 with
#   Python 3.11). Requires node and npm.
# Why it matters: Greek headlines are often in capitals, and most masculine nouns end in sigma. A
#   student that is served in the browser gets different tokens than in training, and in Python a
#   headline in capitals never matches the words of the vocabulary.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
cd "$work"
npm install --silent --no-audit --no-fund --prefix "$work" @huggingface/tokenizers@0.2.0 >/dev/null

cat > encode.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";

const tokenizer = new Tokenizer(JSON.parse(readFileSync("tokenizer.json", "utf8")), {});
console.log(JSON.stringify(process.argv.slice(2).map((text) => tokenizer.encode(text).tokens)));
JS

"$work/venv/bin/python" - <<'PY'
import json
import subprocess

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

words = ["[UNK]", "νεος", "νεοσ", "νομος", "νομοσ", "ελλαδα"]
texts = ["ΝΕΟΣ ΝΟΜΟΣ", "νεος νομος", "ΕΛΛΑΔΑ"]
for normalizer in (normalizers.BertNormalizer(lowercase=True), normalizers.Lowercase()):
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save("tokenizer.json")
    python = [tokenizer.encode(text).tokens for text in texts]
    node = subprocess.run(["node", "encode.mjs", *texts], check=True, capture_output=True, text=True)
    javascript = json.loads(node.stdout)
    for row in zip(texts, python, javascript):
        print(type(normalizer).__name__, "text {!r}: Python {}, JavaScript {}".format(*row))
    assert python[0] == ["νεοσ", "νομοσ"] and javascript[0] == ["νεος", "νομος"]
    # Controls: small letters and a word without sigma give the same tokens in both.
    assert python[1:] == javascript[1:] == [["νεος", "νομος"], ["ελλαδα"]]
assert "ΝΕΟΣ ΝΟΜΟΣ".lower() == "νεος νομος"
PY
