"""Writes method_*.safetensors: one training step of each distillation method other than NewsBERT, and of NewsBERT with
a frozen teacher.

    python make_methods.py [FOLDER]        # default: this script's folder

A method is the mapping in the file's metadata; `Terms` defines what each of its terms means. Each text is processed
separately, over its real tokens only, so that no mask can be wrong. Before a file is written, every gradient is
compared with central differences, with everything that the student learns from held constant, and the attention scores
are compared with the attention of BertModel. README.md lists the files, the names and the tolerances.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from make_ranking_steps import (
    Recommend, Retrieve, attentive_pooling, check_against_differences, draw_head, draw_texts, pooling_shapes,
)
from make_steps import config_json, config_of, in_f32, leaf, random_encoder, settings_of, student_from, under, write
from torch.nn.functional import (
    binary_cross_entropy_with_logits, cosine_similarity, cross_entropy, kl_div, linear, log_softmax, logsigmoid, mse_loss,
    normalize, softmax,
)

NO_LABEL = -100
LOWEST_TEMPERATURE = 0.1
ROUNDING = 1e-12  # smaller gradient entries are zero up to rounding


@dataclass(frozen=True)
class Topic:
    """Topic classification: a class for each text, or NO_LABEL."""

    classes: int
    labels: tuple[int, ...]

    name = "topic"

    def head_shapes(self, hidden):
        return pooling_shapes("pooling", hidden) | {"dense.weight": (self.classes, hidden), "dense.bias": (self.classes,)}

    def scores(self, leaves, texts):
        return linear(texts, leaves["dense.weight"], leaves["dense.bias"])

    def batch(self):
        return {"labels": torch.tensor(self.labels)}


@dataclass(frozen=True)
class LabelSets(Topic):
    """Topic classification with any number of labels for each text, or None."""

    labels: tuple[tuple[int, ...] | None, ...]

    def batch(self):
        def entries(labels):
            return [NO_LABEL if labels is None else int(label in labels) for label in range(self.classes)]

        return {"labels": torch.tensor([entries(labels) for labels in self.labels])}


class OneLabel:
    """The losses where each row has one label: probabilities are a softmax."""

    @staticmethod
    def is_labelled(labels):
        return labels != NO_LABEL

    @staticmethod
    def hard(logits, labels):
        """Returns the cross entropy of each row, 0 without a label."""
        return cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="none")

    @staticmethod
    def soft(student, teacher):
        """Returns the cross entropy of softened predictions, [rows, classes]."""
        return -softmax(teacher, dim=-1) * log_softmax(student, dim=-1)

    @staticmethod
    def divergence(student, teacher):
        return kl_div(log_softmax(student, dim=-1), log_softmax(teacher, dim=-1), log_target=True, reduction="none")


class AnyLabels:
    """The losses where each row has any number of labels: each label has a sigmoid, and is a choice of two."""

    @staticmethod
    def is_labelled(labels):
        return (labels != NO_LABEL).all(dim=-1)

    @staticmethod
    def hard(logits, labels):
        known = AnyLabels.is_labelled(labels)
        losses = binary_cross_entropy_with_logits(logits[known], labels[known].to(logits.dtype), reduction="none")
        return torch.zeros(len(logits), dtype=logits.dtype).index_put((known,), losses.sum(dim=-1))

    @staticmethod
    def soft(student, teacher):
        return binary_cross_entropy_with_logits(student, teacher.sigmoid(), reduction="none")

    @staticmethod
    def divergence(student, teacher):
        choices = ((student, teacher), (-student, -teacher))
        return sum(kl_div(logsigmoid(s), logsigmoid(t), log_target=True, reduction="none") for s, t in choices)


def losses_of(task):
    return AnyLabels if isinstance(task, LabelSets) else OneLabel


@dataclass(frozen=True)
class Size:
    layers: int
    hidden: int
    heads: int

    def settings(self):
        return settings_of(self.layers, self.hidden, self.heads, vocab_size=40, max_position_embeddings=16)


@dataclass(frozen=True)
class Case:
    """One file. `lengths` contains the numbers of tokens of the texts. `floored` is the number of rows whose
    temperature is raised to the lowest one."""

    name: str
    seed: int
    method: dict
    teacher: Size
    student: Size
    lengths: tuple[int, ...]
    task: Topic | LabelSets | Recommend | Retrieve
    teachers: int = 1
    floored: int = 0

    @property
    def student_layers(self):
        return self.student.layers

    @property
    def narrower(self):
        return self.student.hidden != self.teacher.hidden


def method(weights, temperature=1.0, *, teacher="frozen", t2=False, **others):
    return {"teacher": teacher, "weights": weights, "temperature": temperature, "t2": t2, **others}


LENGTHS = (9, 12, 1, 5)
LABELLED = Topic(4, (2, 0, 3, 1))
HALF_LABELLED = Topic(4, (NO_LABEL, 2, 1, NO_LABEL))
SETS = LabelSets(5, ((0, 3), (), (4,), (0, 1, 2, 3, 4)))
HALF_SETS = LabelSets(4, (None, (1, 2), (), None))
READERS = Recommend(
    history=((0, 1, 2), (), (3, 4, 3, 0)), candidates=((4, 2, 5, 3, 1), (2, 0, 5, 4, 3), (5, 1, 2, 0, 4)),
)
READ = (7, 10, 1, 4, 9, 3)
SEARCHES = Retrieve(documents=5, relevant=((0, 3), (2,), (4, 1)))
SEARCHED = (8, 5, 11, 2, 6, 3, 1, 4)

HALVES = {"soft": 0.5, "hard": 0.5}
STAGE_ONE = {"embedding": 1.0, "hidden": 1.0, "attention": 1.0}
STUDENT_TERMS = {"embedding": 1.0, "hidden": 1.0, "pooled": 1.0, "soft": 1.0, "hard": 1.0}
FLSW = {"rule": "flsw", "base": 3.0, "beta": 2.0, "gamma": 0.5}
CWSM = {"rule": "cwsm", "base": 2.5, "beta": 1.5}


def pkd(strategy):
    return method({"patience": 10.0} | HALVES, 5.0, t2=True, patience=strategy)


CASES = (
    Case("kd", 101, method(HALVES, 4.0, t2=True), Size(4, 16, 2), Size(1, 16, 2), LENGTHS, HALF_LABELLED),
    Case("distiller", 102, method({"divergence": 0.5, "hard": 0.5}, 3.0), Size(4, 12, 3), Size(2, 12, 3), LENGTHS, LABELLED),
    Case(
        "distiller_joint", 103, method({"divergence": 0.5, "hard": 0.3, "teacher": 0.7}, 3.0, teacher="joint"),
        Size(4, 12, 3), Size(2, 12, 3), (6, 3, 11, 8, 2), Topic(3, (1, NO_LABEL, 0, 2, 2)),
    ),
    Case("divergence_t2", 104, method({"divergence": 1.0}, 2.5, t2=True), Size(2, 12, 2), Size(1, 12, 2), LENGTHS, LABELLED),
    Case("pkd_skip", 105, pkd("skip"), Size(6, 12, 2), Size(3, 12, 2), LENGTHS, LABELLED),
    Case("pkd_last", 105, pkd("last"), Size(6, 12, 2), Size(3, 12, 2), LENGTHS, LABELLED),
    Case("pkd_one_layer", 106, pkd("skip"), Size(3, 12, 2), Size(1, 12, 2), LENGTHS, LABELLED),
    Case(
        "distilbert", 107, method({"soft": 5.0, "hard": 2.0, "cosine": 1.0}, 2.0, t2=True), Size(4, 16, 4), Size(2, 16, 4),
        LENGTHS, LABELLED,
    ),
    Case("tinybert_1", 108, method(STAGE_ONE), Size(4, 18, 3), Size(2, 12, 3), LENGTHS, LABELLED),
    Case("tinybert_2", 109, method({"soft": 1.0}), Size(4, 18, 3), Size(2, 12, 3), LENGTHS, HALF_LABELLED),
    Case("tinybert_same_width", 110, method(STAGE_ONE), Size(6, 12, 4), Size(2, 12, 4), (1, 15, 2, 8), LABELLED),
    Case(
        "hidden_narrow", 111, method(STUDENT_TERMS | HALVES, 2.0, t2=True), Size(4, 18, 3), Size(2, 12, 4), LENGTHS,
        HALF_LABELLED,
    ),
    Case("newsbert_frozen", 112, method(STUDENT_TERMS, 1.5), Size(4, 16, 4), Size(2, 16, 4), LENGTHS, LABELLED),
    Case(
        "ensemble_mean", 113, method(HALVES, 2.0, t2=True, ensemble="mean"), Size(2, 12, 3), Size(1, 12, 3), LENGTHS,
        HALF_LABELLED, teachers=3,
    ),
    Case(
        "ensemble_loss", 113, method(HALVES, 2.0, t2=True, ensemble="loss"), Size(2, 12, 3), Size(1, 12, 3), LENGTHS,
        HALF_LABELLED, teachers=3,
    ),
    Case("flsw", 114, method(HALVES, FLSW), Size(2, 12, 3), Size(1, 12, 3), LENGTHS, HALF_LABELLED),
    Case(
        "flsw_t2", 115, method(HALVES, FLSW | {"gamma": 2.0}, t2=True), Size(2, 12, 3), Size(1, 12, 3), LENGTHS, LABELLED,
        floored=1,
    ),
    Case(
        "cwsm", 116, method(HALVES, CWSM | {"beta": 5.0}), Size(2, 12, 3), Size(1, 12, 3), LENGTHS, HALF_LABELLED, floored=1,
    ),
    Case("cwsm_t2", 117, method(HALVES, CWSM, t2=True), Size(2, 12, 3), Size(1, 12, 3), LENGTHS, LABELLED),
    Case("kd_recommend", 118, method(HALVES, 2.0, t2=True), Size(4, 12, 3), Size(2, 12, 3), READ, READERS),
    Case("kd_retrieve", 119, method(HALVES, 2.0, t2=True), Size(4, 12, 3), Size(2, 12, 3), SEARCHED, SEARCHES),
    Case("kd_sets", 131, method(HALVES, 4.0, t2=True), Size(4, 16, 2), Size(1, 16, 2), LENGTHS, HALF_SETS),
    Case("distiller_sets", 132, method({"divergence": 0.5, "hard": 0.5}, 3.0), Size(4, 12, 3), Size(2, 12, 3), LENGTHS, SETS),
    Case("pkd_sets", 133, pkd("skip"), Size(6, 12, 2), Size(3, 12, 2), LENGTHS, SETS),
    Case(
        "distilbert_sets", 134, method({"soft": 5.0, "hard": 2.0, "cosine": 1.0}, 2.0, t2=True), Size(4, 16, 4),
        Size(2, 16, 4), LENGTHS, SETS,
    ),
    Case("tinybert_sets", 135, method({"soft": 1.0}), Size(4, 18, 3), Size(2, 12, 3), LENGTHS, HALF_SETS),
    Case(
        "newsbert_sets", 136, method(STUDENT_TERMS | {"teacher": 1.0}, 1.5, teacher="joint"), Size(4, 16, 4), Size(2, 16, 4),
        LENGTHS, SETS,
    ),
    Case("newsbert_frozen_sets", 137, method(STUDENT_TERMS, 1.5), Size(4, 16, 4), Size(2, 16, 4), LENGTHS, HALF_SETS),
    Case(
        "ensemble_loss_sets", 138, method(HALVES, 2.0, t2=True, ensemble="loss"), Size(2, 12, 3), Size(1, 12, 3), LENGTHS,
        HALF_SETS, teachers=3,
    ),
    Case("flsw_sets", 139, method(HALVES, FLSW, t2=True), Size(2, 12, 3), Size(1, 12, 3), LENGTHS, SETS),
    Case("tinybert_recommend", 120, method(STAGE_ONE), Size(4, 15, 3), Size(2, 12, 3), READ, READERS),
)


@dataclass(frozen=True)
class Encoded:
    """The outputs of one model for the batch. `states[i]` is the output of layer i (0: of the embeddings), for each
    text as [length, H]. `attention[i - 1]` contains the scores of layer i before mask and softmax, for each text as
    [heads, length, length]."""

    states: list
    attention: list
    pooled: torch.Tensor
    logits: torch.Tensor


@dataclass(frozen=True)
class Model:
    encoder: torch.nn.Module
    head: dict

    def encode(self, case, ids, mask):
        found = self.encoder(
            input_ids=ids, attention_mask=mask, token_type_ids=torch.zeros_like(ids), output_hidden_states=True,
        )
        states = [[text[:length] for text, length in zip(padded, case.lengths)] for padded in found.hidden_states]
        layers = zip(self.encoder.encoder.layer, states)
        attention = [[attention_scores(layer.attention.self, text) for text in before] for layer, before in layers]
        pooled = torch.stack([attentive_pooling(self.head, "pooling", text) for text in states[-1]])
        return Encoded(states, attention, pooled, case.task.scores(self.head, pooled))


def attention_scores(attention, text):
    query, key = (
        part(text).unflatten(-1, (attention.num_attention_heads, -1)).transpose(0, 1) for part in (attention.query, attention.key)
    )
    return query @ key.transpose(1, 2) / key.shape[-1] ** 0.5


def combined(how, task, logits, labels):
    """Combines the logits of several teachers into one. With `loss`, teachers that are wrong about a row count less in
    it; without a label, all count the same."""
    logits = torch.stack(logits)
    if how == "mean":
        return logits.mean(dim=0)
    losses = torch.stack([losses_of(task).hard(one, labels) for one in logits])
    assert (losses[:, ~losses_of(task).is_labelled(labels)] == 0).all()
    return (softmax(-losses, dim=0).unsqueeze(-1) * logits).sum(dim=0)


def temperatures(rule, student, teacher):
    """Returns the temperatures, [rows, 1]. A rule gives each row its own: lower where the student differs from the
    teacher (flsw) or is unsure (cwsm) more than on average."""
    if not isinstance(rule, dict):
        return torch.full((len(student), 1), rule, dtype=student.dtype)
    if rule["rule"] == "flsw":
        v, t = (logits / (logits.norm(dim=-1, keepdim=True) + 1e-4) for logits in (student, teacher))
        weight = (1 - (v * t).sum(dim=-1, keepdim=True)).clamp(min=0) ** rule["gamma"]
    else:
        weight = 1 / (softmax(student, dim=-1).amax(dim=-1, keepdim=True) + 1e-3)
    return (rule["base"] + (weight.mean() - weight) * rule["beta"]).clamp(min=LOWEST_TEMPERATURE)


@dataclass(frozen=True)
class Learned:
    """What the student learns from. All of it is constant, even the temperatures, which depend on the student's
    logits."""

    states: list
    attention: list
    pooled: torch.Tensor
    logits: torch.Tensor
    temperatures: torch.Tensor


@dataclass(frozen=True)
class Terms:
    """The terms of a loss under their names, without their weights."""

    case: Case
    learned: Learned
    student: Encoded
    projection: dict
    labels: torch.Tensor
    joint: Encoded | None

    def projected(self, states):
        """Projects states to the teacher's width if the student is narrower."""
        return linear(states, self.projection["weight"], self.projection["bias"]) if self.projection else states

    def layers(self):
        """Returns pairs of student and teacher layers, counting from 1: each student layer with the last of its teacher
        layers."""
        stride = self.case.teacher.layers // self.case.student.layers
        return [(i, i * stride) for i in range(1, self.case.student.layers + 1)]

    def state_error(self, theirs, ours):
        return mse_loss(self.projected(torch.cat(self.student.states[ours])), torch.cat(self.learned.states[theirs]))

    def embedding(self):
        return self.state_error(0, 0)

    def hidden(self):
        return sum(self.state_error(theirs, ours) for ours, theirs in self.layers())

    def pooled(self):
        return mse_loss(self.projected(self.student.pooled), self.learned.pooled)

    def patience(self):
        """Compares the states of the first token. The last student layer is left to the soft loss."""
        n_theirs, n_ours = self.case.teacher.layers, self.case.student.layers
        total = torch.zeros((), dtype=torch.float64)
        for ours, skipping in self.layers()[:-1]:
            theirs = {"skip": skipping, "last": n_theirs - n_ours + ours}[self.case.method["patience"]]
            student, teacher = (
                normalize(torch.stack([text[0] for text in states]), dim=-1)
                for states in (self.student.states[ours], self.learned.states[theirs])
            )
            total = total + mse_loss(student, teacher)
        return total

    def cosine(self):
        return (1 - cosine_similarity(torch.cat(self.student.states[-1]), torch.cat(self.learned.states[-1]), dim=-1)).mean()

    def attention(self):
        total = 0
        for ours, theirs in self.layers():
            pairs = list(zip(self.student.attention[ours - 1], self.learned.attention[theirs - 1]))
            total += sum((s - t).square().sum() for s, t in pairs) / sum(t.numel() for _, t in pairs)
        return total

    def softened(self):
        """Returns the logits of student and teacher, divided by each row's temperature, [rows, classes]."""
        return (logits / self.learned.temperatures for logits in (self.student.logits, self.learned.logits))

    def over_rows(self, losses):
        """Returns the mean over rows of losses of shape [rows, classes]."""
        if self.case.method["t2"]:
            losses = losses * self.learned.temperatures.square()
        return losses.sum(dim=-1).mean()

    def soft(self):
        return self.over_rows(losses_of(self.case.task).soft(*self.softened()))

    def divergence(self):
        return self.over_rows(losses_of(self.case.task).divergence(*self.softened()))

    def hard(self):
        return self.over_labelled(self.student.logits)

    def teacher(self):
        return self.over_labelled(self.joint.logits)

    def over_labelled(self, logits):
        losses = losses_of(self.case.task)
        return losses.hard(logits, self.labels).sum() / losses.is_labelled(self.labels).sum()

    def all(self):
        """Returns the terms of the method, and their weighted sum as `total`."""
        weights = self.case.method["weights"]
        terms = {name: getattr(self, name)() for name in weights}
        return terms | {"total": sum(weights[name] * term for name, term in terms.items())}


@dataclass(frozen=True)
class Step:
    """The models, the projection (if the student is narrower) and a batch."""

    case: Case
    teachers: list[Model]
    student: Model
    projection: dict
    ids: torch.Tensor
    mask: torch.Tensor

    def weights(self):
        named = {}
        for place, teacher in enumerate(self.teachers):
            number = f"_{place}" if place else ""
            named |= {f"teacher{number}": dict(teacher.encoder.named_parameters()), f"teacher_head{number}": teacher.head}
        named |= {"student": dict(self.student.encoder.named_parameters()), "head": self.student.head}
        return named | ({"projection": self.projection} if self.projection else {})

    def joint(self):
        return self.case.method["teacher"] == "joint"

    def trained(self):
        return {who: named for who, named in self.weights().items() if self.joint() or not who.startswith("teacher")}

    def encode(self, model):
        return model.encode(self.case, self.ids, self.mask)

    def labels(self):
        return self.case.task.batch()["labels"]

    @torch.no_grad()
    def learned(self):
        """Takes states and pooled vectors from the first teacher: no method here compares those of several."""
        teachers, student = [self.encode(teacher) for teacher in self.teachers], self.encode(self.student)
        method, first = self.case.method, teachers[0]
        logits = combined(method.get("ensemble", "mean"), self.case.task, [teacher.logits for teacher in teachers], self.labels())
        found = temperatures(method["temperature"], student.logits, logits)
        return Learned(first.states, first.attention, first.pooled, logits, found)

    def terms(self, known):
        joint = self.encode(self.teachers[0]) if self.joint() else None
        return Terms(self.case, known, self.encode(self.student), self.projection, self.labels(), joint).all()

    def gradients(self, total):
        """Returns the gradient of every trained parameter, 0 where the total does not depend on it."""
        flat = [leaf for named in self.trained().values() for leaf in named.values()]
        found = iter(torch.autograd.grad(total, flat, materialize_grads=True))
        return {who: {name: without_rounding(next(found)) for name in named} for who, named in self.trained().items()}


def without_rounding(grad):
    """Sets tiny entries to 0: the rounding error of a sum that is zero depends on the processor."""
    return torch.where(grad.abs() < ROUNDING, 0, grad)


def check_attention(step):
    """Checks that the softmax of the scores is BertModel's attention."""
    for model in (*step.teachers, step.student):
        found = model.encoder(input_ids=step.ids, attention_mask=step.mask, output_attentions=True).attentions
        for layer, scores in zip(found, step.encode(model).attention, strict=True):
            for text, own, length in zip(layer, scores, step.case.lengths):
                torch.testing.assert_close(softmax(own, dim=-1), text[:, :length, :length], rtol=1e-12, atol=1e-12)


def draw_step(case, generator):
    def model(encoder):
        return Model(encoder, draw_head(case.task, encoder.config.hidden_size, generator))

    config = config_of(case.teacher.settings())
    teachers = [model(random_encoder(config, generator)) for _ in range(case.teachers)]
    if case.narrower:
        student = model(random_encoder(config_of(case.student.settings()), generator))
    else:
        student = model(student_from(teachers[0].encoder, case, generator))
    shapes = {}
    if case.narrower and {"embedding", "hidden", "pooled"} & set(case.method["weights"]):
        shapes = {"weight": (case.teacher.hidden, case.student.hidden), "bias": (case.teacher.hidden,)}
    projection = {name: leaf(shape, generator) for name, shape in shapes.items()}
    return Step(case, teachers, student, projection, *draw_texts(case, config.vocab_size, generator))


def make(case, folder):
    generator = torch.Generator().manual_seed(case.seed)
    step = draw_step(case, generator)
    known = step.learned()
    terms = step.terms(known)
    grads = step.gradients(terms["total"])
    assert (known.temperatures == LOWEST_TEMPERATURE).sum() == case.floored, f"{case.name}: {known.temperatures.flatten()}"
    check_attention(step)
    check_against_differences(step.trained(), grads, lambda: step.terms(known)["total"], generator)

    tensors = under("loss", terms)
    for who, named in step.weights().items():
        tensors |= under(f"weights.{who}", named)
    for who, named in grads.items():
        tensors |= under(f"grads.{who}", named)
    tensors = in_f32(tensors) | {"input_ids": step.ids, "attention_mask": step.mask, **case.task.batch()}
    metadata = {
        "task": case.task.name, "method": json.dumps(case.method), "heads": str(case.teacher.heads),
        "config": config_json(case.teacher.settings()), "student_config": config_json(case.student.settings()),
    }
    if isinstance(case.task, LabelSets):
        metadata["label_kind"] = "multi"
    write(folder / f"method_{case.name}.safetensors", tensors, metadata, terms)


if __name__ == "__main__":
    torch.set_num_threads(1)  # nothing here is large enough for more
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for one in CASES:
        make(one, target)
