"""Training steps in PyTorch on Hugging Face's `BertModel`, as a good practitioner writes them.

Uses scaled dot-product attention, batches padded to their longest text, fused AdamW, autocast for bf16, and multi-tensor
operations for blending gradients. Modes: `torch-eager` and `torch-compile`, each also with `-bucketed`: texts of similar length
share a batch (topics), or the distinct articles of a batch are encoded in pieces of similar length (recommendation).
"""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, BertModel

from common import Job, Round, arguments, serve, unavailable

# Articles per piece when a batch of recommendation is bucketed.
PIECE = 48


@dataclass
class Text:
    ids: list[int]
    # Tokens of the first part; the others belong to segment 1.
    first: int


@dataclass
class Padded:
    """Padded texts; each tensor is [texts, longest]."""

    ids: Tensor
    segments: Tensor
    mask: Tensor

    @staticmethod
    def of(texts: list[Text], device: torch.device) -> "Padded":
        longest = max(len(text.ids) for text in texts)
        ids = torch.tensor([text.ids + [0] * (longest - len(text.ids)) for text in texts])
        column = torch.arange(longest)
        mask = (column < torch.tensor([len(text.ids) for text in texts])[:, None]).long()
        segments = (column >= torch.tensor([text.first for text in texts])[:, None]).long() * mask
        return Padded(*(tensor.to(device, non_blocking=True) for tensor in (ids, segments, mask)))


class AttentivePooling(nn.Module):
    def __init__(self, hidden: int, query: int) -> None:
        super().__init__()
        self.proj = nn.Linear(hidden, query)
        self.query = nn.Linear(query, 1, bias=False)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """[texts, tokens, H] -> [texts, H]"""
        scores = self.query(torch.tanh(self.proj(states))).squeeze(-1).masked_fill(mask == 0, float("-inf"))
        return torch.einsum("bt,bth->bh", torch.softmax(scores, -1).to(states.dtype), states)


class TopicHead(nn.Module):
    """Topic classification: one class per text."""

    def __init__(self, hidden: int, query: int, classes: int) -> None:
        super().__init__()
        self.pooling = AttentivePooling(hidden, query)
        self.dense = nn.Linear(hidden, classes)

    def logits(self, pooled: Tensor, batch: "Batch") -> Tensor:
        return self.dense(pooled)


class RecommendHead(nn.Module):
    """Scores of candidates for readers; a reader is the pooling of the vectors of clicked articles."""

    def __init__(self, hidden: int, query: int) -> None:
        super().__init__()
        self.pooling = AttentivePooling(hidden, query)
        self.reader = AttentivePooling(hidden, query)
        self.cold = nn.Parameter(torch.zeros(hidden))

    def logits(self, pooled: Tensor, batch: "Batch") -> Tensor:
        # The history of a reader without clicks is the learned vector, which is the row after the articles.
        vectors = torch.cat([pooled, self.cold.to(pooled.dtype)[None]])
        readers = self.reader(vectors[batch.clicked], batch.clicked_mask)
        return torch.einsum("bch,bh->bc", pooled[batch.candidates], readers)


@dataclass
class Batch:
    texts: list[Text]
    # The pieces in which the texts are encoded, in order.
    pieces: list[list[Text]]
    labels: Tensor
    # Indices of texts, for recommendation.
    clicked: Tensor
    clicked_mask: Tensor
    candidates: Tensor


class Trainer:
    def __init__(self, job: Job, mode: str) -> None:
        self.job = job
        self.device = torch.device(job["device"])
        self.bucketed = mode.endswith("-bucketed")
        load = partial(AutoModel.from_pretrained, job["teacher"], add_pooling_layer=False, dtype=torch.float32)
        teacher: BertModel = load()
        student: BertModel = first_layers(teacher, job["layers"])
        self.models = [teacher, student] if job["joint"] else [student]
        hidden, query = teacher.config.hidden_size, job["query"]
        if job["task"] == "topic":
            labels = [label for batch in job["batches"] for label in batch["labels"]]
            self.head: TopicHead | RecommendHead = TopicHead(hidden, query, max(labels) + 1)
        else:
            self.head = RecommendHead(hidden, query)
        for module in [*self.models, self.head]:
            module.to(self.device).train()
        compiled = mode.startswith("torch-compile")
        self.encoders = [torch.compile(model, dynamic=True) if compiled else model for model in self.models]
        self.parameters = [parameter for module in [*self.models, self.head] for parameter in module.parameters()]
        self.optimiser = self.adamw()
        self.batches = self.read()

    def adamw(self) -> torch.optim.Optimizer:
        settings = self.job["optimiser"]
        rates = [settings["teacher_lr"], settings["lr"]][-len(self.models) :]
        groups = []
        for module, rate in zip([*self.models, self.head], [*rates, settings["head_lr"]]):
            for decay, dims in ((settings["weight_decay"], range(2, 9)), (0.0, range(2))):
                chosen = [parameter for parameter in module.parameters() if parameter.dim() in dims]
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
        return torch.optim.AdamW(groups, betas=tuple(settings["betas"]), eps=settings["eps"], fused=True)

    def read(self) -> list[Batch]:
        """Returns the batches of a round: those of the job, or the same texts in batches of similar length."""
        batches = self.job["batches"]
        if self.job["task"] != "topic":
            return [self.recommend_batch(batch) for batch in batches]
        rows = [(Text(**text), label) for batch in batches for text, label in zip(batch["texts"], batch["labels"])]
        size = len(batches[0]["texts"])
        if self.bucketed:
            rows.sort(key=lambda row: len(row[0].ids))
        split = [rows[start : start + size] for start in range(0, len(rows), size)]
        if self.bucketed:
            random.Random(0).shuffle(split)
        return [self.topic_batch(rows) for rows in split]

    def topic_batch(self, rows: list[tuple[Text, int]]) -> Batch:
        texts = [text for text, _ in rows]
        unused = torch.empty(0)
        return Batch(texts, [texts], self.tensor([label for _, label in rows]), unused, unused, unused)

    def recommend_batch(self, batch: Job) -> Batch:
        texts = [Text(**text) for text in batch["texts"]]  # the longest first
        histories = [history or [len(texts)] for history in batch["histories"]]
        longest = max(map(len, histories))
        clicked = self.tensor([history + [0] * (longest - len(history)) for history in histories])
        mask = self.tensor([[1] * len(history) + [0] * (longest - len(history)) for history in histories])
        size = PIECE if self.bucketed else len(texts)
        pieces = [texts[start : start + size] for start in range(0, len(texts), size)]
        labels = self.tensor([0] * len(histories))  # the clicked article comes first
        return Batch(texts, pieces, labels, clicked, mask, self.tensor(batch["candidates"]))

    def tensor(self, numbers: list) -> Tensor:
        return torch.tensor(numbers, device=self.device)

    def step(self, batch: Batch) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.job["precision"] == "bf16"):
            padded = [Padded.of(texts, self.device) for texts in batch.pieces]
            loss = self.loss(batch, padded)
        loss.backward()
        if self.job["joint"] and self.job["beta"] > 0:
            blend(self.models[0], self.models[1], self.job["beta"])
        if self.job["clip"] > 0:
            nn.utils.clip_grad_norm_(self.parameters, self.job["clip"])
        self.optimiser.step()

    def loss(self, batch: Batch, padded: list[Padded]) -> Tensor:
        if not self.job["joint"]:
            return self.job["weights"]["hard"] * F.cross_entropy(self.forward(self.encoders[0], batch, padded)[2], batch.labels)
        (t_states, t_pooled, t_logits), (s_states, s_pooled, s_logits) = (
            self.forward(encoder, batch, padded) for encoder in self.encoders
        )
        block = (len(t_states) - 1) // (len(s_states) - 1)  # teacher layers per student layer
        masks = [piece.mask for piece in padded]
        temperature = self.job["temperature"]
        soft = F.softmax(t_logits.detach() / temperature, -1)
        terms = {
            "teacher": F.cross_entropy(t_logits, batch.labels),
            "hard": F.cross_entropy(s_logits, batch.labels),
            "soft": F.cross_entropy(s_logits / temperature, soft),
            "pooled": F.mse_loss(s_pooled, t_pooled.detach()),
            "embedding": token_mse(t_states[0], s_states[0], masks),
            "hidden": sum(token_mse(t_states[i * block], s_states[i], masks) for i in range(1, len(s_states))),
        }
        return sum(self.job["weights"][name] * term for name, term in terms.items())

    def forward(self, encoder: nn.Module, batch: Batch, padded: list[Padded]) -> tuple[list[list[Tensor]], Tensor, Tensor]:
        """Returns hidden states by layer and piece, pooled vectors and logits."""
        pieces = [
            encoder(
                input_ids=piece.ids,
                token_type_ids=piece.segments,
                attention_mask=piece.mask,
                output_hidden_states=self.job["joint"],
            )
            for piece in padded
        ]
        pooled = torch.cat([self.head.pooling(out.last_hidden_state, p.mask) for out, p in zip(pieces, padded)])
        states = [list(layer) for layer in zip(*(out.hidden_states for out in pieces))] if self.job["joint"] else []
        return states, pooled, self.head.logits(pooled, batch)

    def round(self) -> Round:
        self.wait()
        begin = time.perf_counter()
        for batch in self.batches:
            self.step(batch)
        self.wait()
        seconds = time.perf_counter() - begin
        return {
            "seconds": seconds,
            "sequences": sum(len(batch.labels) for batch in self.batches),
            "tokens": sum(len(text.ids) for batch in self.batches for text in batch.texts),
        }

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def first_layers(teacher: BertModel, layers: int) -> BertModel:
    """Returns a student with the embeddings and the first layers of the teacher."""
    config = type(teacher.config).from_dict(teacher.config.to_dict() | {"num_hidden_layers": layers})
    student = BertModel(config, add_pooling_layer=False)
    names = student.state_dict().keys()
    student.load_state_dict({name: tensor for name, tensor in teacher.state_dict().items() if name in names})
    return student


def token_mse(teacher: Iterable[Tensor], student: Iterable[Tensor], masks: list[Tensor]) -> Tensor:
    """Returns the mean squared difference over real tokens and hidden units. The teacher gets no gradient."""
    total, units = 0.0, 0
    for target, states, mask in zip(teacher, student, masks):
        squares = (states - target.detach()).float().square().mean(-1)
        total, units = total + (squares * mask).sum(), units + mask.sum()
    return total / units


@torch.no_grad()
def blend(teacher: BertModel, student: BertModel, beta: float) -> None:
    """Replaces the fraction `beta` of the gradient of a student layer by the mean over its block of teacher layers."""
    block = len(teacher.encoder.layer) // len(student.encoder.layer)
    for i, layer in enumerate(student.encoder.layer):
        gradients = [parameter.grad for parameter in layer.parameters()]
        torch._foreach_mul_(gradients, 1 - beta)
        for teacher_layer in teacher.encoder.layer[i * block : (i + 1) * block]:
            teacher_gradients = [parameter.grad for parameter in teacher_layer.parameters()]
            torch._foreach_add_(gradients, teacher_gradients, alpha=beta / block)


def main() -> None:
    job, mode = arguments()
    torch.manual_seed(0)
    torch.set_num_threads(job["threads"])
    trainer = Trainer(job, mode)
    try:
        trainer.round()  # warm-up: sees every shape and compiles everything
    except Exception as error:  # a compiler may raise anything
        if mode.startswith("torch-compile"):
            unavailable(error)
        raise
    serve(trainer.round)


if __name__ == "__main__":
    main()
