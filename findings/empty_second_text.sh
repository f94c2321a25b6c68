#!/usr/bin/env bash
# An empty second text has a separator in a batch, but none in a single call.
#
# Expected behaviour: tokenizer(a, b) and tokenizer([a], [b])[0] are equivalent, even if b is "".
# Actual behaviour: in a single call the empty text counts as no text, in a batch as a text without
#   tokens: [CLS] storm [SEP] in contrast to [CLS] storm [SEP] [SEP], with segment 1 for the last token.
#   The backend's own encode() agrees with the batch. XLM-R's pairs differ by two tokens.
# Versions: transformers 5.24.0, tokenizers 0.23.3 (tested on 2026-11-29 with Python 3.11, which
#   transformers 5.24.0 requires).
# Why it matters: about one MIND article in twenty has no abstract. Training runs on batches and a
#   request on one article, so exactly these articles get different tokens, and different scores, in
#   production.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    transformers==5.24.0 tokenizers==0.23.3

TRANSFORMERS_VERBOSITY=error "$work/venv/bin/python" - <<'PY'
from transformers import BertTokenizer, XLMRobertaTokenizer

bert = BertTokenizer(vocab={t: i for i, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "storm", "rain"])})
xlmr = XLMRobertaTokenizer(vocab=[(t, 0.0) for t in ("<s>", "<pad>", "</s>", "<unk>", "▁storm", "▁rain", "<mask>")])

def three_ways(tokenizer, second):
    def tokens(ids):
        return tokenizer.convert_ids_to_tokens(ids)
    return (tokens(tokenizer("storm", second)["input_ids"]),
            tokens(tokenizer(["storm"], [second])["input_ids"][0]),
            tokenizer.backend_tokenizer.encode("storm", second).tokens)

for tokenizer, alone, batch in [
    (bert, "[CLS] storm [SEP]", "[CLS] storm [SEP] [SEP]"),
    (xlmr, "<s> ▁storm </s>", "<s> ▁storm </s> </s> </s>"),
]:
    found = three_ways(tokenizer, "")
    name = type(tokenizer).__name__
    print(f"{name}: alone {found[0]}, in a batch {found[1]}, backend {found[2]}")
    assert [" ".join(f) for f in found] == [alone, batch, batch], found
    full = three_ways(tokenizer, "rain")
    assert full[0] == full[1] == full[2], full  # Control: a text of one word gives the same tokens in all three ways.
segments = bert(["storm"], [""])["token_type_ids"][0]
print("segments in the batch:", segments)
assert segments == [0, 0, 0, 1], segments
PY
