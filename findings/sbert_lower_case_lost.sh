#!/usr/bin/env bash
# sentence-transformers 6 saves a lower-casing BERT, and the saved model no longer lower-cases.
#
# Expected behaviour: `do_lower_case` lower-cases texts for a model with a cased tokenizer, and a model that
#   is saved and loaded gives the same vectors.
# Actual behaviour: the option is not written to sentence_bert_config.json, as it was up to 5.3. Instead, a
#   step "Lowercase" is added to tokenizer.json. The class BertTokenizer of transformers 5 rebuilds its
#   normaliser from tokenizer_config.json, which still states `do_lower_case: false`, so the step is lost:
#   after loading, "Storm" is read as it is. There is no warning. A reader of tokenizer.json alone still
#   lower-cases, and so does the generic class PreTrainedTokenizerFast.
# Versions: sentence-transformers 6.2.0, transformers 5.24.0, torch 2.11.0 (tested on 2026-11-30 with
#   Python 3.11). 5.4.1 and 5.7.0 do the same with transformers 5.24.0; 5.3.0 does not.
# Why it matters: a teacher that is loaded and saved once, or a checkpoint of a training run, reads the
#   capitals of headlines, which it has not seen in training, and two readers of the folder get different
#   tokens.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    sentence-transformers==6.2.0 transformers==5.24.0 tokenizers==0.23.3 torch==2.11.0

cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - 2>errors <<'PY' || { cat errors; exit 1; }
import json
import os

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
words = [*SPECIAL.values(), "storm", "rain", "Storm", "Rain"]
text = "Storm rain"

def base(tokenizer_class):
    """Writes a BERT with a cased tokenizer."""
    backend = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(t, backend.token_to_id(t)) for t in ("[CLS]", "[SEP]")])
    os.makedirs("base", exist_ok=True)
    backend.save("base/tokenizer.json")
    with open("base/tokenizer_config.json", "w") as f:
        json.dump({"tokenizer_class": tokenizer_class, "do_lower_case": False, **SPECIAL}, f)
    torch.manual_seed(3)
    BertModel(BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                         intermediate_size=64, max_position_embeddings=16)).save_pretrained("base")

def tokens(model):
    return [words[i] for i in model.preprocess([text])["input_ids"][0].tolist()]

def saved(tokenizer_class, lower):
    """Returns the tokens before and after saving, those of tokenizer.json, and the cosine of the two vectors."""
    base(tokenizer_class)
    model = SentenceTransformer(modules=[Transformer("base", do_lower_case=lower), Pooling(32)], device="cpu")
    model.save_pretrained("saved", create_model_card=False)
    loaded = SentenceTransformer("saved", device="cpu")
    a, b = (m.encode(text, show_progress_bar=False) for m in (model, loaded))
    cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return tokens(model), tokens(loaded), Tokenizer.from_file("saved/tokenizer.json").encode(text).tokens, cosine

cased, uncased = (["[CLS]", word, "rain", "[SEP]"] for word in ("Storm", "storm"))
for tokenizer_class, lower, expected in [
    ("BertTokenizer", True, (uncased, cased, uncased)),
    ("PreTrainedTokenizerFast", True, (uncased, uncased, uncased)),  # Control: the generic class keeps it.
    ("BertTokenizer", False, (cased, cased, cased)),                 # Control: saving changes nothing else.
]:
    *found, cosine = saved(tokenizer_class, lower)
    print(f"{tokenizer_class}, do_lower_case={lower}: {found[0]}, loaded again {found[1]}, tokenizer.json {found[2]}; "
          f"cosine {cosine:.3f}")
    assert tuple(found) == expected, (found, expected)
    assert (cosine > 0.9999) == (found[0] == found[1]), cosine
with open("saved/sentence_bert_config.json") as f:
    keys = sorted(json.load(f))
print("keys of sentence_bert_config.json:", keys)
assert "do_lower_case" not in keys and "max_seq_length" not in keys, keys
PY
