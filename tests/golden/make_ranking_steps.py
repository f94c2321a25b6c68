"""Writes step_recommend*.safetensors and step_retrieve.safetensors: one training step of teacher and student per file,
for tasks whose classes are candidates and whose logits are the scores of the candidates.

    python make_ranking_steps.py [FOLDER]        # default: this script's folder

Encoders, loss terms and blend are those of make_steps.py; this script adds the two tasks. Each reader and each text is
processed separately, so that no mask can be wrong. Before a file is written, its gradients are compared with central
differences, and the teacher's gradients with those of a step without a student. README.md lists the names and the
tolerances.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from make_steps import (
    N_SPECIAL, attentive_pooling, config_json, config_of, leaf, loss_terms, pooling_shapes, random_encoder, settings_of,
    step_tensors, student_from, write,
)
from torch.nn.functional import cross_entropy, linear, softmax

NO_ARTICLE = -1  # pads histories
NO_CANDIDATE = -1e9  # replaces the score of a document that is relevant, but is not the label


@dataclass(frozen=True)
class Recommend:
    """For each reader, the click history, the latest article last, and the candidates, the clicked one first. Numbers
    are indices of the distinct articles. With `reader_heads`, self-attention over the click history precedes the
    pooling."""

    history: tuple[tuple[int, ...], ...]
    candidates: tuple[tuple[int, ...], ...]
    reader_heads: int | None = None

    name = "recommend"

    def head_shapes(self, hidden):
        shapes = pooling_shapes("pooling", hidden) | pooling_shapes("reader", hidden) | {"reader.cold": (hidden,)}
        if self.reader_heads is not None:
            for part in ("query", "key", "value"):
                shapes |= {f"reader.attention.{part}.weight": (hidden, hidden), f"reader.attention.{part}.bias": (hidden,)}
        return shapes

    def self_attention(self, leaves, clicked):
        """Concatenates the heads, without an output projection or a residual connection."""
        def project(part):
            return linear(clicked, leaves[f"reader.attention.{part}.weight"], leaves[f"reader.attention.{part}.bias"])

        heads = []
        for query, key, value in zip(*(project(part).chunk(self.reader_heads, dim=-1) for part in ("query", "key", "value"))):
            heads.append(softmax(query @ key.T / key.shape[-1] ** 0.5, dim=-1) @ value)
        return torch.cat(heads, dim=-1)

    def reader(self, leaves, clicked):
        if len(clicked) == 0:
            return leaves["reader.cold"]
        if self.reader_heads is not None:
            clicked = self.self_attention(leaves, clicked)
        return attentive_pooling(leaves, "reader", clicked)

    def scores(self, leaves, texts):
        rows = zip(self.history, self.candidates)
        return torch.stack([
            texts[list(candidates)] @ self.reader(leaves, texts[list(clicked)]) for clicked, candidates in rows
        ])

    def batch(self):
        longest = max(map(len, self.history))
        padded = [list(clicked) + [NO_ARTICLE] * (longest - len(clicked)) for clicked in self.history]
        labels = torch.zeros(len(self.candidates), dtype=torch.int64)
        return {"history": torch.tensor(padded), "candidates": torch.tensor(self.candidates), "labels": labels}

    def metadata(self):
        return {} if self.reader_heads is None else {"reader_heads": str(self.reader_heads)}


@dataclass(frozen=True)
class Retrieve:
    """For each query, its relevant documents. The first is the label; the others are not candidates. The texts are the
    documents, followed by the queries."""

    documents: int
    relevant: tuple[tuple[int, ...], ...]

    name = "retrieve"

    def head_shapes(self, hidden):
        return pooling_shapes("pooling", hidden)

    def masked(self):
        rows = [[document in others for document in range(self.documents)] for _, *others in self.relevant]
        return torch.tensor(rows)

    def scores(self, leaves, texts):
        return (texts[self.documents :] @ texts[: self.documents].T).masked_fill(self.masked(), NO_CANDIDATE)

    def batch(self):
        return {
            "documents": torch.arange(self.documents),
            "queries": torch.arange(self.documents, self.documents + len(self.relevant)),
            "labels": torch.tensor([wanted for wanted, *_ in self.relevant]),
            "masked": self.masked().to(torch.int64),
        }

    def metadata(self):
        return {}


@dataclass(frozen=True)
class Case:
    """One file. `lengths` contains the numbers of tokens of the distinct texts."""

    name: str
    seed: int
    teacher_layers: int
    student_layers: int
    hidden: int
    heads: int
    temperature: float
    beta: float
    lengths: tuple[int, ...]
    task: Recommend | Retrieve


CASES = (
    Case(
        "recommend", 55, 4, 2, hidden=16, heads=4, temperature=2.0, beta=0.15, lengths=(9, 12, 3, 7, 1, 5, 12, 8, 2, 6, 10, 4),
        task=Recommend(
            history=((0, 1, 2, 3), (), (4, 5, 4), (6,), (7, 0, 8, 9, 1, 2)),
            candidates=((10, 5, 11, 3, 6), (11, 10, 7, 5, 0), (6, 11, 10, 9, 8), (3, 4, 11, 5, 10), (11, 6, 10, 4, 5)),
        ),
    ),
    Case(
        "recommend_self_attention", 66, 4, 1, hidden=12, heads=3, temperature=0.8, beta=0.4, lengths=(6, 11, 4, 8, 2, 9, 11, 3, 5),
        task=Recommend(
            history=((0, 1, 2), (3, 3, 4, 0, 5), (), (6,)),
            # The second reader was shown too few other articles, so two of them are listed twice.
            candidates=((7, 8, 6, 4, 1), (2, 7, 8, 8, 7), (5, 8, 0, 7, 3), (8, 1, 7, 2, 4)),
            reader_heads=2,
        ),
    ),
    Case(
        "retrieve", 77, 4, 2, hidden=18, heads=3, temperature=1.5, beta=0.3, lengths=(12, 7, 9, 3, 10, 5, 4, 2, 6, 1),
        task=Retrieve(documents=6, relevant=((0, 1, 5), (2, 4), (3,), (2,))),
    ),
)


def draw_head(task, hidden, generator):
    """Returns the parameters of a head."""
    return {name: leaf(shape, generator) for name, shape in task.head_shapes(hidden).items()}


def draw_texts(case, vocab_size, generator):
    mask = torch.tensor([[int(place < length) for place in range(max(case.lengths))] for length in case.lengths])
    return torch.randint(N_SPECIAL, vocab_size, mask.shape, generator=generator) * mask, mask


@dataclass(frozen=True)
class Step:
    """Both encoders, the shared head and a batch."""

    case: Case
    teacher: torch.nn.Module
    student: torch.nn.Module
    head: dict
    ids: torch.Tensor
    mask: torch.Tensor

    def weights(self):
        return {"teacher": dict(self.teacher.named_parameters()), "student": dict(self.student.named_parameters()), "head": self.head}

    def encode(self, model):
        found = model(input_ids=self.ids, attention_mask=self.mask, token_type_ids=torch.zeros_like(self.ids), output_hidden_states=True)
        texts = zip(found.hidden_states[-1], self.case.lengths)
        pooled = torch.stack([attentive_pooling(self.head, "pooling", text[:length]) for text, length in texts])
        return {"hidden": found.hidden_states, "pooled": pooled, "logits": self.case.task.scores(self.head, pooled)}

    def outputs(self):
        return {"teacher": self.encode(self.teacher), "student": self.encode(self.student)}

    def terms(self, outputs, constant=None):
        """Returns the loss terms. The student learns from `constant` if it is given, else from the current teacher."""
        labels = self.case.task.batch()["labels"]
        terms = loss_terms(self.case, constant or outputs["teacher"], outputs["student"], labels, self.mask)
        return terms | {"teacher_ce": cross_entropy(outputs["teacher"]["logits"], labels)}

    def gradients(self, total):
        """Returns the gradient of every parameter, 0 where the total does not depend on it."""
        flat = [leaf for named in self.weights().values() for leaf in named.values()]
        found = iter(torch.autograd.grad(total, flat, retain_graph=True, materialize_grads=True))
        return {who: {name: next(found) for name in named} for who, named in self.weights().items()}


def check_against_differences(weights, grads, total, generator):
    """Checks every parameter's gradient along a random direction. `total` computes the total from the current weights,
    but holds constant what the student learns from."""
    width = 1e-6

    def total_at(leaf, place):
        with torch.no_grad():
            leaf.copy_(place)
            return total().item()

    for who, named in weights.items():
        scale = max(grad.abs().max().item() for grad in grads[who].values())
        for name, leaf in named.items():
            base, direction = leaf.detach().clone(), torch.randn(leaf.shape, generator=generator).double()
            expected = (total_at(leaf, base + width * direction) - total_at(leaf, base - width * direction)) / (2 * width)
            total_at(leaf, base)
            found = (grads[who][name] * direction).sum().item()
            message = f"{who}.{name}: {found}, central differences give {expected}"
            assert abs(expected - found) <= 1e-6 * max(abs(expected), scale), message


def check_teacher_is_constant(step, outputs, terms, grads):
    """Checks that the teacher's gradients are the same without a student, and that those of the head lack only the
    student's part, which is computed with the teacher's outputs detached."""
    detached = {"hidden": [state.detach() for state in outputs["teacher"]["hidden"]],
                "pooled": outputs["teacher"]["pooled"].detach(), "logits": outputs["teacher"]["logits"].detach()}
    alone = step.gradients(terms["teacher_ce"])
    learning = step.gradients(sum(term for name, term in step.terms(outputs, detached).items() if name != "teacher_ce"))
    for who, named in grads.items():
        for name, grad in named.items():
            torch.testing.assert_close(grad, alone[who][name] + learning[who][name], rtol=1e-12, atol=1e-12)
    assert all((grad == 0).all() for grad in learning["teacher"].values())
    assert all((grad == 0).all() for grad in alone["student"].values())


def make(case, folder):
    generator = torch.Generator().manual_seed(case.seed)
    settings = settings_of(case.teacher_layers, case.hidden, case.heads)
    config = config_of(settings)
    teacher = random_encoder(config, generator)
    student = student_from(teacher, case, generator)
    step = Step(case, teacher, student, draw_head(case.task, case.hidden, generator), *draw_texts(case, config.vocab_size, generator))

    outputs = step.outputs()
    terms = step.terms(outputs)
    grads = step.gradients(sum(terms.values()))
    check_teacher_is_constant(step, outputs, terms, grads)
    constant = outputs["teacher"]
    check_against_differences(step.weights(), grads, lambda: sum(step.terms(step.outputs(), constant).values()), generator)

    tensors = step_tensors(case, outputs, terms, step.weights(), grads)
    tensors |= {"input_ids": step.ids, "attention_mask": step.mask, **case.task.batch()}
    metadata = {"task": case.task.name, "heads": str(case.heads), "config": config_json(settings), **case.task.metadata()}
    write(folder / f"step_{case.name}.safetensors", tensors, metadata, terms)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for one in CASES:
        make(one, target)
