"""Writes the method_*.safetensors whose metadata have the entry `head`: one training step of each kind of head, with the
terms that compare vectors and similarities.

    python make_heads.py [FOLDER]        # default: this script's folder

Encoders, the other terms and the checks are those of make_methods.py; this script adds the heads. Each text, each
reader and each pair of texts is processed separately, so that no mask and no index can be wrong. README.md lists the
files, the names and the tolerances.
"""

import json
import math
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import make_methods
import make_ranking_steps
import torch
from make_methods import NO_LABEL, READ, SEARCHED, Size, method, temperatures
from make_ranking_steps import NO_CANDIDATE, attentive_pooling, check_against_differences, draw_texts, pooling_shapes
from make_steps import (
    blended, config_json, config_of, exact_in_f32, in_f32, leaf, random_encoder, student_from, under, write,
)
from torch.nn.functional import cosine_similarity, linear, log_softmax, normalize, softmax

LARGEST_SCALE = 100.0
USUAL_SCALE = 20.0


@dataclass(frozen=True)
class Head:
    """The layers from states to vectors, and the score of two vectors. `scale` is a number or `learned`."""

    pooling: str
    score: str = "dot"
    scale: float | str = 1.0
    reader: str = "attentive"

    def shapes(self, hidden, width):
        """Returns the shapes of the parameters for states of `hidden` units and vectors of `width` units."""
        shapes = pooling_shapes("pooling", hidden) if self.pooling == "attentive" else {}
        if width != hidden:
            shapes |= {"vector.weight": (width, hidden), "vector.bias": (width,)}
        return shapes | ({"score.log_scale": (1,)} if self.scale == "learned" else {})

    def pooled(self, leaves, states):
        """[length, H] -> [H]"""
        if self.pooling == "attentive":
            return attentive_pooling(leaves, "pooling", states)
        return {"mean": states.mean(dim=0), "cls": states[0]}[self.pooling]

    def vector(self, leaves, states):
        pooled = self.pooled(leaves, states)
        if "vector.weight" in leaves:
            pooled = linear(pooled, leaves["vector.weight"], leaves["vector.bias"])
        return self.compared(pooled)

    def compared(self, vector):
        """Returns the vector whose products are the scores without their scale."""
        return {"dot": vector, "cosine": normalize(vector, dim=-1)}[self.score]

    def scaled(self, leaves, products):
        if self.scale == "learned":
            return products * leaves["score.log_scale"].exp().clamp(max=LARGEST_SCALE)
        return products * self.scale


class Topic(make_methods.Topic):
    def shapes(self, head, width):
        return {"dense.weight": (self.classes, width), "dense.bias": (self.classes,)}

    def logits(self, head, leaves, vectors):
        return linear(vectors, leaves["dense.weight"], leaves["dense.bias"])


class Recommend(make_ranking_steps.Recommend):
    def shapes(self, head, width):
        assert head.reader == "mean"
        return {"reader.cold": (width,)}

    def logits(self, head, leaves, vectors):
        def reader(clicked):
            if not clicked:
                return leaves["reader.cold"]  # at its own length
            return head.compared(vectors[list(clicked)].mean(dim=0))

        rows = zip(self.history, self.candidates)
        products = torch.stack([vectors[list(candidates)] @ reader(clicked) for clicked, candidates in rows])
        return head.scaled(leaves, products)


class Retrieve(make_ranking_steps.Retrieve):
    def shapes(self, head, width):
        return {}

    def logits(self, head, leaves, vectors):
        products = vectors[self.documents :] @ vectors[: self.documents].T
        return head.scaled(leaves, products).masked_fill(self.masked(), NO_CANDIDATE)


class Embed:
    """Texts without labels and without rows of logits."""

    name = "embed"

    def shapes(self, head, width):
        return {}

    def logits(self, head, leaves, vectors):
        return torch.zeros(0, 1, dtype=torch.float64)

    def batch(self):
        return {"labels": torch.zeros(0, dtype=torch.int64)}


@dataclass(frozen=True)
class Case(make_methods.Case):
    """One file. `log_scales` are the values of the teacher's and of the student's learned scale."""

    head: Head = field(kw_only=True)
    log_scales: tuple[float, float] | None = None

    @property
    def teacher_layers(self):
        return self.teacher.layers

    @property
    def beta(self):
        return self.method.get("beta", 0.0)

    @property
    def temperature(self):
        return self.method["temperature"]


READERS = Recommend(
    history=((0, 1, 2), (), (3, 4, 3, 0)), candidates=((4, 2, 5, 3, 1), (2, 0, 5, 4, 3), (5, 1, 2, 0, 4)),
)
SEARCHES = Retrieve(documents=5, relevant=((0, 3), (2,), (4, 1)))
SMALL, HALF = Size(4, 12, 3), Size(2, 12, 3)
VECTOR_TERMS = {"vector": 1.0, "similarity_kl": 0.5}

CASES = (
    Case(
        "retrieve_cosine", 121,
        method(
            {"vector": 1.0, "vector_cosine": 0.7, "similarity": 2.0, "similarity_kl": 0.5, "hard": 0.3}, similarity_scale=20.0,
        ),
        SMALL, HALF, SEARCHED, SEARCHES, head=Head("mean", "cosine", USUAL_SCALE),
    ),
    Case(
        "retrieve_learned_scale", 122,
        method(
            {"teacher": 1.0, "hard": 1.0, "soft": 0.8, "vector": 2.0, "similarity_kl": 0.5}, 2.0, teacher="joint", beta=0.15,
            similarity_scale=5.0,
        ),
        SMALL, HALF, SEARCHED, SEARCHES, head=Head("cls", "cosine", "learned"),
        # The teacher's scale would be e⁵ = 148, so it is 100.
        log_scales=(5.0, 2.75),
    ),
    Case(
        "recommend_mean", 123, method({"vector": 1.0, "similarity": 3.0, "hard": 0.5}), SMALL, HALF, READ, READERS,
        head=Head("mean", "cosine", USUAL_SCALE, reader="mean"),
    ),
    Case(
        "topic_vectors", 124,
        method({"teacher": 0.7, "hard": 1.0} | VECTOR_TERMS, teacher="joint", similarity_scale=10.0), SMALL, HALF,
        (6, 3, 11, 8, 1), Topic(3, (1, NO_LABEL, 0, 2, 2)), head=Head("attentive"),
    ),
    Case(
        "retrieve_narrow", 125, method(VECTOR_TERMS, similarity_scale=15.0), Size(4, 18, 3), HALF, SEARCHED, SEARCHES,
        head=Head("attentive", "cosine", USUAL_SCALE),
    ),
    Case(
        "embed", 126, method(VECTOR_TERMS, similarity_scale=20.0), SMALL, HALF, (9, 2, 12, 1, 7, 5), Embed(),
        head=Head("mean", "cosine", USUAL_SCALE),
    ),
)


@dataclass(frozen=True)
class Outputs:
    vectors: torch.Tensor
    logits: torch.Tensor


@dataclass(frozen=True)
class Model:
    encoder: torch.nn.Module
    head: dict

    def encode(self, case, ids, mask):
        states = self.encoder(input_ids=ids, attention_mask=mask, token_type_ids=torch.zeros_like(ids)).last_hidden_state
        texts = zip(states, case.lengths)
        vectors = torch.stack([case.head.vector(self.head, text[:length]) for text, length in texts])
        return Outputs(vectors, case.task.logits(case.head, self.head, vectors))


@dataclass(frozen=True)
class Learned:
    """What the student learns from. All of it is constant."""

    vectors: torch.Tensor
    logits: torch.Tensor
    temperatures: torch.Tensor


class Terms(make_methods.Terms):
    """The terms that compare vectors and similarities, in addition to those that compare logits."""

    def vector(self):
        return (self.student.vectors - self.learned.vectors).square().sum(dim=-1).mean()

    def vector_cosine(self):
        return (1 - cosine_similarity(self.student.vectors, self.learned.vectors, dim=-1)).mean()

    def cosines(self):
        """Returns for each text the student's and the teacher's cosines with the other texts, in order."""
        def of(vectors, i):
            return torch.stack([cosine_similarity(vectors[i], other, dim=0) for j, other in enumerate(vectors) if j != i])

        return [(of(self.student.vectors, i), of(self.learned.vectors, i)) for i in range(len(self.case.lengths))]

    def similarity(self):
        return torch.cat([(student - teacher).square() for student, teacher in self.cosines()]).mean()

    def similarity_kl(self):
        scale, divergences = self.case.method["similarity_scale"], []
        for student, teacher in self.cosines():
            p, log_q = softmax(scale * teacher, dim=0), log_softmax(scale * student, dim=0)
            divergences.append((p * (p.log() - log_q)).sum())
        return torch.stack(divergences).mean()


class Step(make_methods.Step):
    def weights(self):
        """Leaves out the heads that have no parameters."""
        return {who: named for who, named in super().weights().items() if named}

    @torch.no_grad()
    def learned(self):
        teacher, student = self.encode(self.teachers[0]), self.encode(self.student)
        found = temperatures(self.case.method["temperature"], student.logits, teacher.logits)
        return Learned(teacher.vectors, teacher.logits, found)

    def terms(self, known):
        joint = self.encode(self.teachers[0]) if self.joint() else None
        return Terms(self.case, known, self.encode(self.student), {}, self.labels(), joint).all()


def draw_step(case, generator):
    width = case.teacher.hidden

    def model(encoder, place):
        hidden = encoder.config.hidden_size
        shapes = case.head.shapes(hidden, width) | case.task.shapes(case.head, width)
        head = {name: leaf(shape, generator) for name, shape in shapes.items()}
        if case.log_scales is not None:
            head["score.log_scale"] = exact_in_f32(torch.tensor([case.log_scales[place]])).requires_grad_()
        return Model(encoder, head)

    config = config_of(case.teacher.settings())
    teacher = model(random_encoder(config, generator), 0)
    if case.narrower:
        encoder = random_encoder(config_of(case.student.settings()), generator)
    else:
        encoder = student_from(teacher.encoder, case, generator)
    return Step(case, [teacher], model(encoder, 1), {}, *draw_texts(case, config.vocab_size, generator))


def check_scales(case):
    """Checks that one learned scale is limited and the other is not."""
    if case.log_scales is not None:
        limited = [math.exp(log_scale) > LARGEST_SCALE for log_scale in case.log_scales]
        assert limited == [True, False], f"{case.name}: {case.log_scales}"


def make(case, folder):
    generator = torch.Generator().manual_seed(case.seed)
    check_scales(case)
    step = draw_step(case, generator)
    known = step.learned()
    terms = step.terms(known)
    grads = step.gradients(terms["total"])
    check_against_differences(step.trained(), grads, lambda: step.terms(known)["total"], generator)

    tensors = under("loss", terms)
    for who, named in step.weights().items():
        tensors |= under(f"weights.{who}", named)
    for who, named in grads.items():
        tensors |= under(f"grads.{who}", named)
    if case.beta > 0:
        tensors |= under("blended.student", blended(case, grads["teacher"], grads["student"]))
    tensors = in_f32(tensors) | {"input_ids": step.ids, "attention_mask": step.mask, **case.task.batch()}
    metadata = {
        "task": case.task.name, "method": json.dumps(case.method), "head": json.dumps(asdict(case.head)),
        "heads": str(case.teacher.heads), "config": config_json(case.teacher.settings()),
        "student_config": config_json(case.student.settings()),
    }
    write(folder / f"method_{case.name}.safetensors", tensors, metadata, terms)


if __name__ == "__main__":
    torch.set_num_threads(1)  # nothing here is large enough for more
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for one in CASES:
        make(one, target)
