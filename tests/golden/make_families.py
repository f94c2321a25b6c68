"""Writes family_*.safetensors: hidden states, vectors, logits and gradients of tiny random models of each family.

    python make_families.py [FOLDER]        # default: this script's folder

The models are the library's classes for sequence classification, because their files have the prefix, the pooler and the
classifier that users' files have. Each text is processed alone, so that no mask can be wrong. README.md lists the names and
the tolerances.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForSequenceClassification

VOCABULARY = 23
CLASSES = 3
# Ids of texts; none is a padding token (0 or 1), and the second numbers are the starts of second texts.
TEXTS = [([2, 9, 14, 3, 20, 7, 22], 4), ([5, 6, 2, 19], 4), ([11], 1)]


@dataclass(frozen=True)
class Case:
    """A model: its family, and the keys of its configuration."""

    family: str
    seed: int
    keys: dict = field(default_factory=dict)


BERT_SIZES = {
    "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20,
    "max_position_embeddings": 11, "layer_norm_eps": 1e-5, "initializer_range": 0.3,
}
CASES = {
    "bert": Case("bert", 201, BERT_SIZES),
    "roberta": Case("roberta", 202, BERT_SIZES | {"type_vocab_size": 1}),
    "xlm_roberta": Case("xlm-roberta", 203, BERT_SIZES | {"type_vocab_size": 1, "hidden_act": "gelu_new"}),
    "camembert": Case("camembert", 204, BERT_SIZES | {"type_vocab_size": 2}),
    "distilbert": Case("distilbert", 205, {
        "dim": 12, "n_layers": 2, "n_heads": 3, "hidden_dim": 20, "max_position_embeddings": 8, "activation": "relu",
        "initializer_range": 0.3, "sinusoidal_pos_embds": True,
    }),
    "electra": Case("electra", 206, BERT_SIZES | {"embedding_size": 12}),
    "electra_projected": Case("electra", 207, BERT_SIZES | {"embedding_size": 6}),
}


def exact_in_f32(model):
    """Makes random parameters, vectors included, that f32 stores exactly; the computation runs in f64."""
    for name, parameter in model.named_parameters():
        values = torch.randn_like(parameter) * 0.3 + (1.0 if "norm.weight" in name.lower() else 0.0)
        parameter.data = values.float().double()


def run(case):
    torch.manual_seed(case.seed)
    config = AutoConfig.for_model(case.family, vocab_size=VOCABULARY, num_labels=CLASSES, **case.keys)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").double().eval()
    exact_in_f32(model)
    config.architectures = [type(model).__name__]  # as in a saved folder
    encoder = model.base_model
    segments = getattr(config, "type_vocab_size", 0)
    tensors = {f"weights.{name}": value.float().clone() for name, value in model.state_dict().items()}
    total = torch.zeros((), dtype=torch.float64)
    for number, (ids, second) in enumerate(TEXTS):
        inputs = {"input_ids": torch.tensor([ids])}
        if segments > 1:
            inputs["token_type_ids"] = torch.tensor([[int(i >= second) for i in range(len(ids))]])
        output = model(**inputs, output_hidden_states=True)
        tensors[f"logits.{number}"] = output.logits[0].detach().float()
        hidden = output.hidden_states
        assert torch.equal(hidden[-1], encoder(**inputs).last_hidden_state)
        for layer, states in enumerate(hidden):
            tensors[f"hidden.{number}.{layer}"] = states[0].detach().float()
            factors = torch.randn_like(states).float().double()
            tensors[f"factors.{number}.{layer}"] = factors[0].float()
            total = total + (states * factors).sum()
    total.backward()
    prefix = model.base_model_prefix + "."
    for name, parameter in model.named_parameters():
        if name.startswith(prefix) and "pooler" not in name:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            tensors[f"grads.{name}"] = gradient.float()
    return config, {name: tensor.contiguous() for name, tensor in tensors.items()}


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, case in CASES.items():
        config, tensors = run(case)
        metadata = {"config": config.to_json_string(use_diff=False), "texts": json.dumps(TEXTS)}
        save_file(tensors, folder / f"family_{name}.safetensors", metadata)
        print(name, len(tensors))


if __name__ == "__main__":
    main()
