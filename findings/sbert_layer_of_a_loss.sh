#!/usr/bin/env bash
# sentence-transformers' trainer neither clips the gradient of a loss's own layer nor, before 6.2, cleared it.
#
# Expected behaviour: the trainer passes the layers of a loss to the optimiser (here, the projection of
#   EmbedDistillLoss from the student's width to the teacher's), so it treats their gradients as it does the
#   encoder's: it clears them after each step and clips all together to `max_grad_norm`, as the library's
#   older `fit` does.
# Actual behaviour: transformers' trainer clears and clips the gradients of the model, which does not contain
#   the loss. Up to 6.1.0 the projection is trained with the sum of all gradients since the start of the run:
#   at the fourth step, four times too large. 6.2.0 clears it, but still does not clip it, and the logged
#   `grad_norm` does not include it.
# Versions: sentence-transformers 6.1.0 and 6.2.0, transformers 5.24.0, torch 2.11.0 (tested on 2026-11-30
#   with Python 3.11).
# Why it matters: the projection is what a small student is distilled through. Results from before 6.2 were
#   trained with a projection that follows old gradients, as do those of SoftmaxLoss, and a spike in the loss
#   reaches it at full size in all versions.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > try.py <<'PY'
import sys

import sentence_transformers
import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments)
from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, PrinterCallback, TrainerCallback

words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "storm", "rain"]
backend = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
backend.pre_tokenizer = pre_tokenizers.Whitespace()
backend.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", special_tokens=[(t, backend.token_to_id(t)) for t in ("[CLS]", "[SEP]")])
special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained("base")
torch.manual_seed(1)
# Without dropout and with equal rows, the gradient of each step is the same.
BertModel(BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                     intermediate_size=64, max_position_embeddings=16, hidden_dropout_prob=0.0,
                     attention_probs_dropout_prob=0.0)).save_pretrained("base")
model = SentenceTransformer(modules=[Transformer("base"), Pooling(32)], device="cpu")
loss = EmbedDistillLoss(model, distance_metric="mse", projection_dim=48)
data = Dataset.from_dict({"text": ["storm rain"] * 32, "label": [[100.0] * 48] * 32})

def norm(module):
    return torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm().item()

encoder, projection = [], []
class Watch(TrainerCallback):
    """Records the norms after clipping, right before each step of the optimiser."""
    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        encoder.append(norm(model))
        projection.append(norm(loss.projection))

args = SentenceTransformerTrainingArguments(
    output_dir="run", max_steps=4, per_device_train_batch_size=8, max_grad_norm=1.0, optim="sgd", learning_rate=1e-6,
    lr_scheduler_type="constant", report_to=[], save_strategy="no", logging_steps=1, use_cpu=True, disable_tqdm=True)
trainer = SentenceTransformerTrainer(model=model, args=args, train_dataset=data, loss=loss, callbacks=[Watch()])
trainer.remove_callback(PrinterCallback)
trainer.train()
logged = [log["grad_norm"] for log in trainer.state.log_history if "grad_norm" in log]
show = lambda values: [round(value, 2) for value in values]
print(f"sentence-transformers {sentence_transformers.__version__}, max_grad_norm 1, before the steps: "
      f"encoder {show(encoder)}, projection {show(projection)}; logged {show(logged)}")

# The gradient of one batch, computed without the trainer.
for module in (model, loss):
    module.zero_grad()
features = {k: v.to("cpu") for k, v in model.preprocess(["storm rain"] * 8).items() if torch.is_tensor(v)}
loss([features], torch.full((8, 48), 100.0)).backward()
alone = {"encoder": norm(model), "projection": norm(loss.projection)}
print({name: round(value, 2) for name, value in alone.items()})
trained = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
assert {id(p) for p in loss.projection.parameters()} <= trained
close = lambda found, expected: all(abs(f / e - 1) < 0.01 for f, e in zip(found, expected, strict=True))
assert close(encoder, [1.0] * 4), encoder  # Control: the encoder's are clipped and cleared.
assert close(logged, [alone["encoder"]] * 4), logged
steps = [1, 2, 3, 4] if sys.argv[1] == "summed" else [1] * 4
assert alone["projection"] > 10 and close(projection, [alone["projection"] * n for n in steps]), projection
PY
python3 -m venv "$work/venv"
for pair in 6.1.0:summed 6.2.0:cleared; do
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check "sentence-transformers==${pair%%:*}" \
        transformers==5.24.0 torch==2.11.0 datasets==5.2.0 accelerate==1.15.0
    HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 "$work/venv/bin/python" try.py "${pair##*:}" 2>errors || { cat errors; exit 1; }
done
