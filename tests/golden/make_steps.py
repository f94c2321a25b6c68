"""Writes step_*.safetensors: one training step of teacher and student per file, with everything that an implementation
can be compared with (weights, batch, states, losses, gradients, blended gradients). In partial_*.safetensors, only parts of
the encoders are trained.

    python make_steps.py [FOLDER]        # default: this script's folder

Both encoders are Hugging Face's BertModel. All values are computed in f64 from weights that are exact in f32, and
stored as f32, so they are correct to the precision of f32. README.md lists the names and the tolerances.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch.nn.functional import cross_entropy, linear, log_softmax, softmax
from transformers import BertConfig, BertModel

QUERY_SIZE = 200
N_SPECIAL = 5  # smaller ids are special tokens; 0 is padding


@dataclass(frozen=True)
class Parts:
    """The trained parts of an encoder; by default, all of it."""

    embeddings: bool = True
    top_layers: int | None = None

    def freeze_others(self, model):
        depth = model.config.num_hidden_layers
        frozen = list(model.encoder.layer[: depth - (depth if self.top_layers is None else self.top_layers)])
        for part in frozen + ([] if self.embeddings else [model.embeddings]):
            part.requires_grad_(False)


@dataclass(frozen=True)
class Case:
    """One file. Every case deviates from the defaults somewhere; see README.md."""

    name: str
    seed: int
    teacher_layers: int
    student_layers: int
    hidden: int
    heads: int
    temperature: float
    beta: float
    classes: int
    lengths: tuple[int, ...]
    bert: dict
    teacher_parts: Parts = Parts()
    student_parts: Parts = Parts()

    @property
    def file(self):
        is_partial = self.teacher_parts != Parts() or self.student_parts != Parts()
        return f"{'partial' if is_partial else 'step'}_{self.name}.safetensors"


CASES = (
    Case("k1", 11, 2, 2, hidden=16, heads=2, temperature=4.0, beta=1.0, classes=3, lengths=(9, 12, 3, 2), bert={}),
    Case(
        "k2", 22, 4, 2, hidden=18, heads=3, temperature=1.0, beta=0.15, classes=7, lengths=(7, 11, 1, 5, 11),
        bert={"hidden_act": "gelu_new", "layer_norm_eps": 1e-5, "intermediate_size": 28},
    ),
    Case(
        "k3", 33, 6, 2, hidden=16, heads=4, temperature=2.5, beta=0.6, classes=4, lengths=(8, 8, 8),
        bert={"hidden_act": "relu", "type_vocab_size": 1, "max_position_embeddings": 20},
    ),
    Case("k4", 44, 4, 1, hidden=20, heads=5, temperature=0.5, beta=0.0, classes=2, lengths=(10, 4), bert={"hidden_act": "silu"}),
    Case(
        "top3", 45, 4, 2, hidden=12, heads=3, temperature=2.0, beta=0.4, classes=3, lengths=(9, 1, 6), bert={},
        teacher_parts=Parts(embeddings=False, top_layers=3),
    ),
    Case(
        "mixed", 46, 6, 3, hidden=12, heads=2, temperature=1.5, beta=0.3, classes=3, lengths=(4, 11), bert={},
        teacher_parts=Parts(embeddings=True, top_layers=3), student_parts=Parts(embeddings=False, top_layers=2),
    ),
)


def exact_in_f32(tensor):
    return tensor.float().double()


def leaf(shape, generator):
    return exact_in_f32(0.3 * torch.randn(*shape, generator=generator)).requires_grad_()


def attentive_pooling(leaves, name, rows):
    """[n, H] -> [H]: the sum of the rows, weighted by softmax(tanh(rows W + b) q)."""
    projected = linear(rows, leaves[f"{name}.proj.weight"], leaves[f"{name}.proj.bias"])
    energy = linear(torch.tanh(projected), leaves[f"{name}.query.weight"])
    return (softmax(energy, dim=0) * rows).sum(dim=0)


def pooling_shapes(name, hidden):
    return {f"{name}.proj.weight": (QUERY_SIZE, hidden), f"{name}.proj.bias": (QUERY_SIZE,), f"{name}.query.weight": (1, QUERY_SIZE)}


class Head:
    """Attentive pooling and dense layer: one set of leaves, shared by both encoders."""

    def __init__(self, case, generator):
        dense = {"dense.weight": (case.classes, case.hidden), "dense.bias": (case.classes,)}
        shapes = pooling_shapes("pooling", case.hidden) | dense
        self.leaves = {name: leaf(shape, generator) for name, shape in shapes.items()}

    def __call__(self, states, lengths):
        """Processes each sequence separately, over its real tokens only, so that no mask can be wrong."""
        w = self.leaves
        sequences = zip(states, lengths)
        pooled = torch.stack([attentive_pooling(w, "pooling", sequence[:length]) for sequence, length in sequences])
        return pooled, linear(pooled, w["dense.weight"], w["dense.bias"])


def settings_of(layers, hidden, heads, **others):
    """Returns the config.json of a small BERT without dropout; `others` adds or replaces entries."""
    return {
        "vocab_size": 50, "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "intermediate_size": 2 * hidden, "max_position_embeddings": 24,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, **others,
    }


def config_of(settings):
    config = BertConfig(**settings)
    config._attn_implementation = "eager"
    return config


def config_json(settings):
    config = config_of(settings)
    facts = {**settings, "model_type": "bert", "hidden_act": config.hidden_act, "layer_norm_eps": config.layer_norm_eps,
             "type_vocab_size": config.type_vocab_size, "pad_token_id": 0}
    return json.dumps(facts)


def random_encoder(config, generator):
    model = BertModel(config, add_pooling_layer=False).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("LayerNorm.weight"):
                parameter.copy_(exact_in_f32(1 + 0.1 * noise))
            else:
                parameter.copy_(exact_in_f32((0.25 if parameter.dim() > 1 else 0.1) * noise))
    return model


def student_from(teacher, case, generator):
    """Returns the teacher's embeddings and first layers, slightly perturbed so that no loss is 0 by accident."""
    config = config_of({**teacher.config.to_dict(), "num_hidden_layers": case.student_layers})
    student = BertModel(config, add_pooling_layer=False).double().eval()
    kept = set(student.state_dict())
    student.load_state_dict({name: tensor for name, tensor in teacher.state_dict().items() if name in kept})
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.copy_(exact_in_f32(parameter + 0.08 * torch.randn(parameter.shape, generator=generator)))
    return student


def draw_batch(case, vocab_size, generator):
    longest = max(case.lengths)
    mask = torch.tensor([[int(place < length) for place in range(longest)] for length in case.lengths])
    ids = torch.randint(N_SPECIAL, vocab_size, mask.shape, generator=generator) * mask
    labels = torch.randint(0, case.classes, (len(case.lengths),), generator=generator)
    return ids, mask, labels


def encode(model, head, case, ids, mask):
    outputs = model(input_ids=ids, attention_mask=mask, token_type_ids=torch.zeros_like(ids), output_hidden_states=True)
    pooled, logits = head(outputs.hidden_states[-1], case.lengths)
    return {"hidden": outputs.hidden_states, "pooled": pooled, "logits": logits}


def state_error(teacher_states, student_states, mask):
    real = mask.bool()
    return (teacher_states.detach()[real] - student_states[real]).square().mean()


def loss_terms(case, teacher, student, labels, mask):
    stride = case.teacher_layers // case.student_layers
    layers = range(1, case.student_layers + 1)
    target = softmax(teacher["logits"].detach() / case.temperature, dim=-1)
    found = log_softmax(student["logits"] / case.temperature, dim=-1)
    return {
        "teacher_ce": cross_entropy(teacher["logits"], labels),
        "embedding_mse": state_error(teacher["hidden"][0], student["hidden"][0], mask),
        "hidden_mse": sum(state_error(teacher["hidden"][stride * i], student["hidden"][i], mask) for i in layers),
        "pooled_mse": (teacher["pooled"].detach() - student["pooled"]).square().mean(),
        "distill_ce": -(target * found).sum(dim=-1).mean(),
        "student_ce": cross_entropy(student["logits"], labels),
    }


def blended(case, teacher_grads, student_grads):
    """Blends the mean gradient of teacher layers k*stride .. (k+1)*stride - 1 into student layer k, counting from 0. Layers
    that are not trained have no gradient, and no part in the mean."""
    stride = case.teacher_layers // case.student_layers
    result = {}
    for name, own in student_grads.items():
        parts = name.split(".")
        if parts[:2] != ["encoder", "layer"]:
            result[name] = own
            continue
        k, rest = int(parts[2]), ".".join(parts[3:])
        names = [f"encoder.layer.{k * stride + j}.{rest}" for j in range(stride)]
        group = [teacher_grads[name] for name in names if name in teacher_grads]
        result[name] = case.beta * sum(group) / len(group) + (1 - case.beta) * own if group else own
    return result


def under(prefix, named):
    return {f"{prefix}.{name}": tensor for name, tensor in named.items()}


def in_fixed_order(raw):
    """Sorts the metadata, which safetensors writes in random order, so that equal contents give equal files."""
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    assert len(text) <= size
    return raw[:8] + text.ljust(size) + raw[8 + size :]


def in_f32(tensors):
    return {name: tensor.detach().float().contiguous().clone() for name, tensor in tensors.items()}


def step_tensors(case, outputs, terms, weights, grads):
    """Returns everything of a step except its batch, under the names in README.md."""
    tensors = {"temperature": torch.tensor(case.temperature), "beta": torch.tensor(case.beta), **under("loss", terms)}
    for who, output in outputs.items():
        tensors |= under(f"{who}.hidden", dict(enumerate(output["hidden"])))
        tensors |= {f"{who}.pooled": output["pooled"], f"{who}.logits": output["logits"]}
    for who in weights:
        tensors |= under(f"weights.{who}", weights[who]) | under(f"grads.{who}", grads[who])
    tensors |= under("blended.student", blended(case, grads["teacher"], grads["student"]))
    return in_f32(tensors)


def write(path, tensors, metadata, terms):
    path.write_bytes(in_fixed_order(save(tensors, metadata=metadata)))
    print(path.name, f"{path.stat().st_size // 1024} KiB", {name: round(term.item(), 6) for name, term in terms.items()})


def make(case, folder):
    generator = torch.Generator().manual_seed(case.seed)
    settings = settings_of(case.teacher_layers, case.hidden, case.heads, **case.bert)
    config = config_of(settings)
    teacher = random_encoder(config, generator)
    student = student_from(teacher, case, generator)
    case.teacher_parts.freeze_others(teacher)
    case.student_parts.freeze_others(student)
    head = Head(case, generator)
    ids, mask, labels = draw_batch(case, config.vocab_size, generator)

    outputs = {"teacher": encode(teacher, head, case, ids, mask), "student": encode(student, head, case, ids, mask)}
    terms = loss_terms(case, outputs["teacher"], outputs["student"], labels, mask)
    sum(terms.values()).backward()

    encoders = {"teacher": teacher, "student": student}
    weights = {who: dict(encoder.named_parameters()) for who, encoder in encoders.items()} | {"head": head.leaves}
    grads = {
        who: {name: leaf.grad for name, leaf in named.items() if leaf.requires_grad} for who, named in weights.items()
    }
    tensors = step_tensors(case, outputs, terms, weights, grads) | {"input_ids": ids, "attention_mask": mask, "labels": labels}
    metadata = {"heads": str(case.heads), "config": config_json(settings)}
    for who, parts in {"teacher": case.teacher_parts, "student": case.student_parts}.items():
        if parts != Parts():
            metadata[f"{who}_parts"] = json.dumps(asdict(parts))
    write(folder / case.file, tensors, metadata, terms)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for one in CASES:
        make(one, target)
