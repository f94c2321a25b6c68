#!/usr/bin/env bash
# sentence-transformers' sampler NO_DUPLICATES leaves out rows whose text is popular, without a warning.
#
# Expected behaviour: an epoch trains on every row once. If drop_last is false (the default), rows that
#   share a text are spread over more batches.
# Actual behaviour: the sampler spreads them, but its length is still the number of rows divided by the
#   batch size, and the trainer stops there. Of 64 rows, 16 of which share one answer, an epoch at batch
#   size 8 trains on 56, one batch has a single row, and the epoch is reported as complete. The 8 rows that
#   are left out all share that answer. There is no warning (with drop_last, there is one).
# Versions: sentence-transformers 6.2.0, transformers 5.24.0, torch 2.11.0, datasets 5.2.0 (tested on
#   2026-11-30 with Python 3.11). Pull request 3946 of sentence-transformers mentions the longer stream.
# Why it matters: the sampler is recommended for losses with in-batch negatives. In click logs many rows
#   share an article, so the most-read articles lose clicks in every epoch, and a batch of one row has no
#   negatives: its loss is 0.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    sentence-transformers==6.2.0 transformers==5.24.0 torch==2.11.0 datasets==5.2.0 accelerate==1.15.0

cd "$work"
HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$work/venv/bin/python" - 2>errors <<'PY' || { cat errors; exit 1; }
import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments)
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, PrinterCallback

ROWS, BATCH = 64, 8
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "question", "answer", *map(str, range(ROWS))]
backend = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
backend.pre_tokenizer = pre_tokenizers.Whitespace()
backend.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", special_tokens=[(t, backend.token_to_id(t)) for t in ("[CLS]", "[SEP]")])
special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained("base")
torch.manual_seed(1)
BertModel(BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                     intermediate_size=64, max_position_embeddings=16)).save_pretrained("base")

class Watched(MultipleNegativesRankingLoss):
    """Records the rows of each training batch, by the number in the question, and the batch's loss."""
    def forward(self, sentence_features, labels=None):
        features = list(sentence_features)
        loss = super().forward(features, labels)
        self.batches.append(([int(words[i]) for i in features[0]["input_ids"][:, 2]], float(loss.detach())))
        return loss

def train(shared, sampler):
    """Trains an epoch on rows of which the first `shared` have the same answer."""
    model = SentenceTransformer(modules=[Transformer("base"), Pooling(32)], device="cpu")
    data = Dataset.from_dict({
        "question": [f"question {i}" for i in range(ROWS)],
        "answer": [f"answer {0 if i < shared else i}" for i in range(ROWS)]})
    loss = Watched(model)
    loss.batches = []
    args = SentenceTransformerTrainingArguments(
        output_dir="run", num_train_epochs=1, per_device_train_batch_size=BATCH, batch_sampler=sampler,
        report_to=[], save_strategy="no", logging_strategy="no", use_cpu=True, disable_tqdm=True)
    trainer = SentenceTransformerTrainer(model=model, args=args, train_dataset=data, loss=loss)
    trainer.remove_callback(PrinterCallback)
    loader = trainer.get_train_dataloader()
    length, yielded = len(loader), sum(1 for _ in loader)
    trainer.train()
    missing = sorted(set(range(ROWS)) - {row for rows, _ in loss.batches for row in rows})
    single = [value for rows, value in loss.batches if len(rows) == 1]
    print(f"{sampler.value}, {shared} rows share an answer: len() {length}, {yielded} batches; trained on "
          f"{[len(rows) for rows, _ in loss.batches]}, {len(missing)} rows left out, epoch {trainer.state.epoch}")
    assert trainer.state.epoch == 1.0 and length == len(loss.batches) == ROWS // BATCH
    return yielded, missing, single

yielded, missing, single = train(16, BatchSamplers.NO_DUPLICATES)
print("left out:", missing, "loss of a single row:", single)
assert yielded == 16 and len(missing) == 8 and max(missing) < 16, (yielded, missing)
assert len(single) == 1 and abs(single[0]) < 1e-6, single
# Controls: every row is trained on if the answers differ, and with the default sampler.
assert train(1, BatchSamplers.NO_DUPLICATES) == (8, [], [])
assert train(16, BatchSamplers.BATCH_SAMPLER) == (8, [], [])
with open("errors") as f:
    assert "NoDuplicatesBatchSampler" not in f.read()
PY
