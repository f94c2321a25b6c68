"""Compares exported folders with the models they come from.

    cargo build -p nb-export --example convert
    python crates/nb-export/check_folders.py target/debug/examples/convert [MODEL_FOLDER ...]

Makes tiny random folders for every pooling, score and projection, exports each to sentence-transformers and to Hugging
Face, and compares the vectors and the probabilities with those that this program computes from `head.safetensors` in f32.
Then it does the same for the given model folders of runs. Fails if a difference is above 1e-5, or if a folder with code of
its own loads without `trust_remote_code=True`. Requires torch, transformers 5 and sentence-transformers 6.
"""

import contextlib
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from transformers import logging, pipeline

TOLERANCE = 1e-5
QUERY = 200
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = [
    "Storm and rain in York",
    "a",
    "",
    "Shares fall as the bank of York cuts its rate [SEP] rain",
    "the cup final: United win, and the rain falls on the bank of the river in York while the crowd sings " * 4,
    "  Rain   in\tYork ",
]
PAIRS = [("Storm and rain", "The river in York may flood"), ("Shares fall", "the bank cuts"), ("a", "rain")]


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
FAMILIES = {
    "bert": SIZES | {"max_position_embeddings": 32},
    "roberta": SIZES | {"max_position_embeddings": 34, "type_vocab_size": 1, "pad_token_id": 1},
    "xlm-roberta": SIZES | {"max_position_embeddings": 34, "type_vocab_size": 1, "pad_token_id": 1},
    "camembert": SIZES | {"max_position_embeddings": 34, "type_vocab_size": 1, "pad_token_id": 1},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 32},
    "electra": SIZES | {"max_position_embeddings": 32, "embedding_size": 16},
}


def random_folder(folder, pooling, score, projection, labels, scale=1.0, family="bert"):
    """Writes a model folder with random weights. Its tokenizer is BERT's for every family, as users may combine them."""
    folder.mkdir(parents=True)
    words = "storm and rain in york a shares fall as the bank of cuts its rate cup final : united win , falls on river while crowd sings may flood"
    vocabulary = SPECIAL + sorted(set(words.split())) + ["##s", "s"]
    if family not in ("bert", "distilbert", "electra"):  # these count positions from the padding token's id on
        vocabulary[:2] = ["[UNK]", "[PAD]"]
    backend = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.add_special_tokens(SPECIAL)
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    backend.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    names = {f"{token[1:-1].lower()}_token": token for token in SPECIAL}
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 24, **names}
    if FAMILIES[family].get("type_vocab_size") == 1 or family == "distilbert":
        settings["model_input_names"] = ["input_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    hidden, width = 32, projection or 32
    config = AutoConfig.for_model(family, vocab_size=len(vocabulary), **FAMILIES[family])
    bert = AutoModel.from_config(config)
    layers = bert.transformer.layer if family == "distilbert" else bert.encoder.layer
    norm = layers[-1].output_layer_norm if family == "distilbert" else layers[-1].output.LayerNorm
    with torch.no_grad():
        for name, parameter in bert.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        norm.weight.mul_(scale)
    bert.save_pretrained(folder)
    head = {}
    if pooling == "attentive":
        head = {"pooling.proj.weight": (QUERY, hidden), "pooling.proj.bias": (QUERY,), "pooling.query.weight": (1, QUERY)}
    if projection:
        head |= {"vector.weight": (width, hidden), "vector.bias": (width,)}
    if labels:
        head |= {"dense.weight": (len(labels), width), "dense.bias": (len(labels),)}
    head = {name: 0.3 * torch.randn(shape) for name, shape in head.items()}
    if labels:
        head["dense.weight"] /= scale  # so that no probability is 0 or 1
    save_file(head, folder / "head.safetensors")
    head = {"pooling": pooling, "score": score, "scale": 1.0, "reader": "mean"}
    if projection:
        head["projection"] = projection
    description = {"task": "topic" if labels else "retrieve", "max_tokens": 24, "texts": 1, "fields": [], "head": head}
    if labels:
        description["labels"] = labels
    (folder / "newsbert.json").write_text(json.dumps(description))
    return folder


@torch.no_grad()
def reference(folder, texts):
    """Returns the vectors of texts, or of pairs, and their probabilities if the model has labels."""
    description = json.loads((folder / "newsbert.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bert = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    head, weights = description["head"], load_file(folder / "head.safetensors")
    vectors = []
    for text in texts:  # one at a time: nothing is padded
        first, second = (text, None) if isinstance(text, str) else text
        batch = tokenizer(first, second, truncation=True, max_length=description["max_tokens"], return_tensors="pt")
        states = bert(**batch).last_hidden_state[0]
        match head["pooling"]:
            case "mean":
                x = states.mean(0)
            case "cls":
                x = states[0]
            case "attentive":
                before = torch.tanh(states @ weights["pooling.proj.weight"].T + weights["pooling.proj.bias"])
                x = (before @ weights["pooling.query.weight"][0]).softmax(0) @ states
        if "projection" in head:
            x = weights["vector.weight"] @ x + weights["vector.bias"]
        if head["score"] == "cosine":
            x = x / x.norm()
        vectors.append(x)
    vectors = torch.stack(vectors)
    if not description.get("labels"):
        return vectors, None
    return vectors, probabilities(description, vectors @ weights["dense.weight"].T + weights["dense.bias"])


def probabilities(description, logits):
    """Returns a softmax, or a sigmoid for each label if a text has any number of labels."""
    return logits.sigmoid() if "thresholds" in description else logits.softmax(-1)


def difference(found, expected):
    """Returns the largest difference of two tensors."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    off = (found - expected).abs().max().item()
    assert off <= TOLERANCE, f"a difference of {off:.1e}, expected at most {TOLERANCE}"
    return off


def refused(load):
    """Fails unless loading without `trust_remote_code` raises an error that names it."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # transformers asks first
            load()
    except ValueError as error:
        assert "trust_remote_code=True" in str(error), error
        return
    raise AssertionError("a folder with code of its own loaded without trust_remote_code=True")


def convert(program, form, folder, output):
    return subprocess.run([program, form, folder, output], check=True, capture_output=True, text=True).stdout.strip()


def check_sentences(program, folder, scratch):
    output = scratch / "sentences"
    convert(program, "sentence-transformers", folder, output)
    description = json.loads((folder / "newsbert.json").read_text())
    trust = {"trust_remote_code": True} if description["head"]["pooling"] == "attentive" else {}
    if trust:
        refused(lambda: SentenceTransformer(str(output)))
    model = SentenceTransformer(str(output), **trust)
    assert model.max_seq_length == description["max_tokens"], model.max_seq_length
    expected, _ = reference(folder, TEXTS)
    assert model.get_embedding_dimension() == expected.shape[1]
    worst = difference(model.encode(TEXTS, convert_to_tensor=True), expected)
    worst = max(worst, difference(model.encode(PAIRS, convert_to_tensor=True), reference(folder, PAIRS)[0]))
    if not description.get("labels"):
        assert model.similarity_fn_name == description["head"]["score"]
    model.save_pretrained(str(scratch / "again"))
    again = SentenceTransformer(str(scratch / "again"), **trust)
    return max(worst, difference(again.encode(TEXTS, convert_to_tensor=True), expected))


def check_classifier(program, folder, scratch):
    output = scratch / "classifier"
    name = convert(program, "hugging-face", folder, output)
    description = json.loads((folder / "newsbert.json").read_text())
    labels, most = description["labels"], description["max_tokens"]
    is_multi = "thresholds" in description
    trust = {"trust_remote_code": True} if name == "Folder" else {}
    is_linear = description["head"]["pooling"] == "cls" and description["head"]["score"] == "dot"
    has_room = len(labels) <= 16 or "electra" not in json.loads((folder / "config.json").read_text())["model_type"]
    assert (name == "Library") == (is_linear and has_room), name
    if trust:
        for load in (AutoModelForSequenceClassification.from_pretrained, AutoConfig.from_pretrained):
            refused(lambda: load(output))
    _, expected = reference(folder, TEXTS)
    worst = 0.0
    again = scratch / "classifier-again"
    for place in (output, again):
        model, report = AutoModelForSequenceClassification.from_pretrained(place, output_loading_info=True, **trust)
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
        assert [model.config.id2label[i] for i in range(len(labels))] == labels
        assert not is_multi or model.config.newsbert_thresholds == description["thresholds"]
        assert model.config.label2id == {label: i for i, label in enumerate(labels)}
        tokenizer = AutoTokenizer.from_pretrained(place, **trust)
        batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=most, return_tensors="pt")
        with torch.no_grad():
            truth = torch.zeros(len(TEXTS), len(labels)) if is_multi else torch.zeros(len(TEXTS), dtype=torch.long)
            output_of = model.eval()(**batch, labels=truth)
        assert output_of.loss.isfinite()
        worst = max(worst, difference(probabilities(description, output_of.logits), expected))
        model.save_pretrained(again)
        tokenizer.save_pretrained(again)
        for size in (1, 4):
            classify = pipeline("text-classification", model=str(place), truncation=True, batch_size=size, **trust)
            for row, found in zip(expected, classify(TEXTS, top_k=None)):
                scores = {entry["label"]: entry["score"] for entry in found}
                found = torch.tensor([scores[label] for label in labels])
                worst = max(worst, difference(found, row))
        _, pairs = reference(folder, PAIRS)
        for row, found in zip(pairs, classify([{"text": a, "text_pair": b} for a, b in PAIRS])):
            worst = max(worst, abs(found["score"] - row.max().item()))
            assert found["label"] == labels[row.argmax()]
    assert worst <= TOLERANCE, worst
    return worst


def check(program, name, folder):
    has_labels = "labels" in json.loads((folder / "newsbert.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        vectors = check_sentences(program, folder, Path(scratch))
        line = f"{name:60} vectors {vectors:.1e}"
        if has_labels:
            line += f"  probabilities {check_classifier(program, folder, Path(scratch)):.1e}"
    print(line, flush=True)


def main(program, folders):
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    torch.manual_seed(0)
    choices = itertools.product(["attentive", "mean", "cls"], ["dot", "cosine"], [None, 12], [None, ["b", "a", "c"]])
    with tempfile.TemporaryDirectory() as place:
        for i, (pooling, score, projection, labels) in enumerate(choices):
            name = f"{pooling}, {score}, projection {projection}, {len(labels or [])} labels"
            check(program, name, random_folder(Path(place) / str(i), pooling, score, projection, labels))
        for family, pooling in itertools.product(FAMILIES, ["attentive", "mean", "cls"]):
            folder = Path(place) / f"{family}-{pooling}"
            check(program, f"{family}, {pooling}", random_folder(folder, pooling, "dot", None, ["b", "a", "c"], family=family))
        many = [f"label {i}" for i in range(17)]  # two units for each are more than the 32 of these models
        folder = random_folder(Path(place) / "many", "cls", "dot", None, many, family="electra")
        check(program, "electra, cls, 17 labels", folder)
        for scale in (10.0, 50.0):
            folder = Path(place) / f"large-{scale}"
            random_folder(folder, "cls", "dot", None, ["a", "b"], scale)
            with tempfile.TemporaryDirectory() as scratch:
                worst = check_classifier(program, folder, Path(scratch))
            print(f"{f'cls, states times {scale}':60} probabilities {worst:.1e}", flush=True)
    for folder in folders:
        check(program, folder, Path(folder))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
