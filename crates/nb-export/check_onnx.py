"""Compares exported ONNX files with transformers: every pooling, score, projection, activation and Dense module of
sentence-transformers, and given model folders.

    cargo build --release -p nb-export --example onnx
    python crates/nb-export/check_onnx.py target/release/examples/onnx [MODEL_FOLDER ...]

Needs torch, transformers, safetensors, onnx, onnxruntime and openvino. Each model is exported in f32 and run in onnxruntime and
OpenVINO. The largest difference of vectors and probabilities from transformers and the head in PyTorch must be at most 1e-5
(of the largest entry, if that is above 1), also with padding. The reader models of recommendation are compared in the same way.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, BertConfig, logging

TOLERANCE = 1e-5
QUERY = 200
AFTER_PADDING = ("roberta", "xlm-roberta", "camembert")
SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
FAMILIES = {
    **{name: SIZES | {"max_position_embeddings": 34, "type_vocab_size": 1} for name in AFTER_PADDING},
    "distilbert": {"dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40, "max_position_embeddings": 32},
    "electra": SIZES | {"embedding_size": 10, "max_position_embeddings": 32},
}
logging.set_verbosity_error()
logging.disable_progress_bar()


class Failures:
    def __init__(self):
        self.count, self.checks, self.largest = 0, 0, 0.0

    def compare(self, name, found, expected):
        expected = expected.detach().numpy() if isinstance(expected, torch.Tensor) else expected
        self.checks += 1
        if found.shape != expected.shape:
            difference = float("inf")
        else:
            difference = float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))
        self.largest = max(self.largest, difference)
        if not difference <= TOLERANCE:
            self.count += 1
            print(f"FAILED {name}: off by {difference:.2e}, shapes {found.shape} and {expected.shape}")


def export(program, folder, output, *precision):
    subprocess.run([program, folder, output, *precision], check=True)
    onnx.checker.check_model(str(output), full_check=True)


def runtimes(path):
    """Functions from a dictionary of inputs to a dictionary of outputs, by the name of the runtime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    core = openvino.Core()
    compiled = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def in_openvino(inputs):
        known = {name for port in compiled.inputs for name in port.get_names()}
        results = compiled({name: value for name, value in inputs.items() if name in known})
        return {name: results[name] for name in names}

    return {"onnxruntime": lambda inputs: dict(zip(names, session.run(None, inputs))), "openvino": in_openvino}


def pool(kind, head, name, x, mask):
    """Pools rows [B, T, H] with a mask [B, T]."""
    if kind == "cls":
        return x[:, 0]
    if kind == "mean":
        mask = mask.float().unsqueeze(-1)
        return (x * mask).sum(1) / mask.sum(1).clamp(min=1)
    e = torch.tanh(x @ head[f"{name}.proj.weight"].T + head[f"{name}.proj.bias"])
    scores = (e @ head[f"{name}.query.weight"].T).squeeze(-1).masked_fill(mask == 0, -torch.inf)
    return (scores.softmax(-1).unsqueeze(-1) * x).sum(1)


def modules(folder):
    """The head that modules.json describes."""
    description = {"task": "encoder", "head": {"pooling": "mean", "score": "dot"}, "dense": []}
    for module in json.loads((folder / "modules.json").read_text()):
        path = folder / module["path"]
        if module["type"].endswith("Normalize"):
            description["head"]["score"] = "cosine"
        if module["type"].endswith("Pooling"):
            config = json.loads((path / "config.json").read_text())
            is_cls = config.get("pooling_mode_cls_token") or config.get("pooling_mode") == "cls"
            description["head"]["pooling"] = "cls" if is_cls else "mean"
        if module["type"].endswith("Dense"):
            config = json.loads((path / "config.json").read_text())
            linear = torch.nn.Linear(config["in_features"], config["out_features"], bias=config["bias"])
            file = path / "model.safetensors"
            weights = load_file(file) if file.exists() else torch.load(path / "pytorch_model.bin", weights_only=True)
            linear.load_state_dict({name.removeprefix("linear."): value.float() for name, value in weights.items()})
            activation = getattr(torch.nn, config["activation_function"].rsplit(".", 1)[1])()
            description["dense"].append(torch.nn.Sequential(linear, activation))
    return description


class Reference:
    """A model folder in PyTorch."""

    def __init__(self, folder):
        options = {"attn_implementation": "eager", "dtype": torch.float32}
        self.model = AutoModel.from_pretrained(folder, **options).eval()
        path = folder / "newsbert.json"
        self.description = json.loads(path.read_text()) if path.exists() else modules(folder)
        self.head = {}
        if (folder / "head.safetensors").exists():
            self.head = {name: value.float() for name, value in load_file(folder / "head.safetensors").items()}

    def __call__(self, inputs):
        inputs = {name: torch.from_numpy(value) for name, value in inputs.items()}
        if not has_segments(self.model.config):
            del inputs["token_type_ids"]
        head = self.description["head"]
        with torch.no_grad():
            states = self.model(**inputs).last_hidden_state
            vectors = pool(head["pooling"], self.head, "pooling", states, inputs["attention_mask"])
            for layer in self.description.get("dense", []):
                vectors = layer(vectors)
            if head.get("projection"):
                vectors = vectors @ self.head["vector.weight"].T + self.head["vector.bias"]
            if head["score"] == "cosine":
                vectors = torch.nn.functional.normalize(vectors, dim=-1, eps=1e-12)
            outputs = {"vectors": vectors}
            if self.description.get("labels"):
                logits = vectors @ self.head["dense.weight"].T + self.head["dense.bias"]
                is_multi = "thresholds" in self.description  # any number of labels per text
                outputs["probabilities"] = logits.sigmoid() if is_multi else logits.softmax(-1)
        return outputs


def has_segments(config):
    return getattr(config, "type_vocab_size", 0) > 0


def first_id(config):
    """The least id that texts may have: a padding token in a text changes the positions in RoBERTa and its relatives."""
    return config.pad_token_id + 1 if config.model_type in AFTER_PADDING else 0


def most_tokens(config):
    return config.max_position_embeddings - first_id(config)


def batch(config, rows, length, seed, pad=0):
    """Random texts of several lengths; `pad` columns of arbitrary ids follow the longest."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, length + 1, rows)
    lengths[0] = length
    columns = np.arange(length + pad)
    mask = (columns < lengths[:, None]).astype(np.int64)
    ids = random.integers(first_id(config), config.vocab_size, (rows, length + pad))
    ids[mask == 0] = config.pad_token_id if first_id(config) else 7
    types = max(1, min(2, getattr(config, "type_vocab_size", 1)))
    segments = np.sort(random.integers(0, types, (rows, length + pad)), -1)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}


def check_model(program, folder, failures, name):
    reference = Reference(folder)
    config = reference.model.config
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        export(program, folder, path, "f32")
        for runtime, run in runtimes(path).items():
            most = most_tokens(config)
            for rows, length in [(1, 1), (5, min(most, 17)), (2, most)]:
                inputs = batch(config, rows, length, seed=length)
                found = run(inputs)
                expected = reference(inputs)
                assert set(found) == set(expected), (set(found), set(expected))
                for output, value in expected.items():
                    failures.compare(f"{name}, {output} [{rows}, {length}] in {runtime}", found[output], value)
                if length + 9 <= most:
                    padded = {
                        # Padding has arbitrary ids, so that a missing mask shows.
                        "input_ids": np.pad(inputs["input_ids"], ((0, 0), (0, 9)), constant_values=7),
                        "attention_mask": np.pad(inputs["attention_mask"], ((0, 0), (0, 9))),
                        "token_type_ids": np.pad(inputs["token_type_ids"], ((0, 0), (0, 9))),
                    }
                    for output, value in run(padded).items():
                        failures.compare(f"{name}, {output} padded in {runtime}", value, found[output])


def random_folder(folder, config, description, seed=0, dtype=torch.float32):
    """Writes a model folder with random weights that are large enough to show every fault."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    model = AutoModel.from_config(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.to(dtype).save_pretrained(folder)
    hidden = config.hidden_size
    head, options = {}, description["head"]

    def attentive(name, width):
        head[f"{name}.proj.weight"] = torch.randn(QUERY, width) * 0.3
        head[f"{name}.proj.bias"] = torch.randn(QUERY) * 0.3
        head[f"{name}.query.weight"] = torch.randn(1, QUERY) * 0.3

    if options["pooling"] == "attentive":
        attentive("pooling", hidden)
    width = options.get("projection") or hidden
    if options.get("projection"):
        head["vector.weight"], head["vector.bias"] = torch.randn(width, hidden) * 0.3, torch.randn(width)
    if description.get("labels"):
        labels = len(description["labels"])
        head["dense.weight"], head["dense.bias"] = torch.randn(labels, width) * 0.3, torch.randn(labels)
    if description["task"] == "recommend":
        if options["reader"] == "attentive":
            attentive("reader", width)
        head["reader.cold"] = torch.randn(width)
        if description.get("self_attention"):
            for part in ["query", "key", "value"]:
                head[f"reader.attention.{part}.weight"] = torch.randn(width, width) * 0.3
                head[f"reader.attention.{part}.bias"] = torch.randn(width)
    save_file({name: value.contiguous() for name, value in head.items()}, folder / "head.safetensors")
    (folder / "newsbert.json").write_text(json.dumps(description))


def random_sentences(folder, pooling, activations, normalize):
    """Writes an encoder and the modules of sentence-transformers: a Dense module for each activation, every second without a bias."""
    random_folder(folder, random_config(), {"task": "retrieve", "head": {"pooling": pooling}})
    (folder / "newsbert.json").unlink()
    (folder / "head.safetensors").unlink()
    modules = [{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"}]
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": pooling}))
    width = 24
    for i, activation in enumerate(activations):
        path, inputs, width = folder / f"{i}_Dense", width, 10 + i
        path.mkdir()
        weights = {"linear.weight": torch.randn(width, inputs) * 0.3, "linear.bias": torch.randn(width)}
        if i % 2:
            del weights["linear.bias"]
        save_file(weights, path / "model.safetensors")
        kind = "linear" if activation == "Identity" else "activation"
        config = {"in_features": inputs, "out_features": width, "bias": "linear.bias" in weights,
                  "activation_function": f"torch.nn.modules.{kind}.{activation}"}
        (path / "config.json").write_text(json.dumps(config))
        modules.append({"path": path.name, "type": "a.Dense"})
    if normalize:
        modules.append({"path": "9_Normalize", "type": "a.Normalize"})
    (folder / "modules.json").write_text(json.dumps(modules))


def reader_reference(reference, clicks, mask, candidates):
    head, description = reference.head, reference.description
    clicks, mask, candidates = map(torch.from_numpy, (clicks, mask, candidates))
    vectors = []
    for row, present in zip(clicks, mask):
        row = row[present == 1].unsqueeze(0)
        if row.shape[1] == 0:
            vectors.append(head["reader.cold"])
            continue
        if heads := description.get("self_attention"):
            parts = [row @ head[f"reader.attention.{part}.weight"].T + head[f"reader.attention.{part}.bias"]
                     for part in ["query", "key", "value"]]
            q, k, v = (part.view(1, row.shape[1], heads, -1).transpose(1, 2) for part in parts)
            row = ((q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
        vector = pool(description["head"]["reader"], head, "reader", row, torch.ones(row.shape[:2]))[0]
        if description["head"]["score"] == "cosine":
            vector = torch.nn.functional.normalize(vector, dim=-1, eps=1e-12)
        vectors.append(vector)
    reader = torch.stack(vectors)
    return {"reader": reader, "scores": (candidates @ reader.unsqueeze(-1)).squeeze(-1)}


def check_reader(program, folder, failures, name):
    reference = Reference(folder)
    width = reference.head["reader.cold"].shape[0]
    random = np.random.default_rng(1)
    lengths = np.array([0, 1, 7, 4])
    mask = (np.arange(7) < lengths[:, None]).astype(np.int64)
    clicks = random.standard_normal((4, 7, width)).astype(np.float32)
    candidates = random.standard_normal((4, 5, width)).astype(np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "reader.onnx"
        export(program, folder, path, "reader")
        expected = reader_reference(reference, clicks, mask, candidates)
        for runtime, run in runtimes(path).items():
            found = run({"clicks": clicks, "clicks_mask": mask, "candidates": candidates})
            for output, value in expected.items():
                failures.compare(f"{name}, {output} in {runtime}", found[output], value)


def random_config(**options):
    sizes = {"vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    return BertConfig(**(sizes | {"intermediate_size": 40, "max_position_embeddings": 32} | options))


def random_models(program, failures, scratch):
    def description(task, pooling, score, projection, **more):
        head = {"pooling": pooling, "score": score, "scale": 1.0, "reader": more.pop("reader", "attentive")}
        head |= {"projection": projection} if projection else {}
        return {"task": task, "max_tokens": 30, "texts": 1, "head": head} | more

    number = itertools.count()

    def check(name, config, described, **options):
        folder = scratch / str(next(number))
        random_folder(folder, config, described, **options)
        check_model(program, folder, failures, name)
        if described["task"] == "recommend":
            check_reader(program, folder, failures, name)

    for pooling, score, projection in itertools.product(["attentive", "mean", "cls"], ["dot", "cosine"], [None, 10]):
        name = f"{pooling}, {score}, projection {projection}"
        check(f"retrieve, {name}", random_config(), description("retrieve", pooling, score, projection))
        labels = {"labels": ["a", "b", "ü\"", "d"]}
        check(f"topic, {name}", random_config(), description("topic", pooling, score, projection, **labels))
    for activation in ["gelu", "gelu_new", "relu", "silu"]:
        config = random_config(hidden_act=activation)
        check(activation, config, description("retrieve", "mean", "dot", None))
    for types in [1, 3]:
        config = random_config(type_vocab_size=types)
        check(f"{types} segments", config, description("retrieve", "attentive", "cosine", None))
    for family, keys in FAMILIES.items():
        check(family, AutoConfig.for_model(family, vocab_size=50, **keys), description("retrieve", "mean", "dot", None))
    for dtype in [torch.float16, torch.bfloat16]:
        check(str(dtype), random_config(), description("retrieve", "mean", "dot", None), dtype=dtype)
    chains = [[], ["Tanh"], ["Identity", "Sigmoid"], ["ReLU", "GELU", "SiLU"]]
    for pooling, chain, normalize in itertools.product(["mean", "cls"], chains, [False, True]):
        folder = scratch / str(next(number))
        random_sentences(folder, pooling, chain, normalize)
        check_model(program, folder, failures, f"sentences, {pooling}, {chain}, normalised {normalize}")
    for reader, score, heads in itertools.product(["attentive", "mean"], ["dot", "cosine"], [None, 5]):
        described = description("recommend", "attentive", score, 10, reader=reader, history=50)
        described |= {"self_attention": heads} if heads else {}
        check(f"recommend, {reader}, {score}, heads {heads}", random_config(), described)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the built example onnx")
    parser.add_argument("folders", nargs="*", type=Path, help="model folders to check as well")
    arguments = parser.parse_args()
    failures = Failures()
    with tempfile.TemporaryDirectory() as scratch:
        random_models(arguments.program, failures, Path(scratch))
    print(f"random models: {failures.checks} comparisons, {failures.count} failed, largest difference {failures.largest:.2e}")
    for folder in arguments.folders:
        of_folder = Failures()
        check_model(arguments.program, folder, of_folder, str(folder))
        print(f"{folder}: {of_folder.checks} comparisons, {of_folder.count} failed, "
              f"largest difference {of_folder.largest:.2e}")
        failures.count += of_folder.count
    sys.exit(1 if failures.count else 0)


if __name__ == "__main__":
    main()
