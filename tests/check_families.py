"""Compares `nb` with transformers and sentence-transformers for every family of encoders and every form of weights.

    python tests/check_families.py target/release/nb

Makes a tiny random model of each family with a tokenizer of its own class, saves its weights in every form, and compares the
mean of hidden states (`nb embed --pooling mean`) with transformers. Then trains a student of each family with a frozen teacher
for one epoch, loads it in transformers and sentence-transformers, runs its model card, and compares vectors and classes. Fails if a difference is
above 1e-4. Hidden states and gradients are compared by the test `families`. Requires torch, transformers 5 and
sentence-transformers 6.
"""

import contextlib
import io
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
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, logging

TOLERANCE = 1e-4
MAX_TOKENS = 24
TOPICS = {
    "sport": "The striker scored a late goal in the cup final for United",
    "weather": "Heavy rain and wind in York, snow over the hills tonight",
    "finance": "Shares fall as the bank of England cuts its rate again",
}
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64, "initializer_range": 0.2,
}
ROBERTA = SIZES | {"max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1}
FAMILIES = {
    "bert": SIZES | {"max_position_embeddings": 64},
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "distilbert": {"dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64, "initializer_range": 0.2},
    "electra": SIZES | {"max_position_embeddings": 64, "embedding_size": 16},
    "bert with XLM-R's tokenizer": SIZES | {"max_position_embeddings": 64},
}
FORMS = ["safetensors", "f16", "bf16", "shards", "bin", "bin of PyTorch 1.5", "bin shards", "with a head"]


def rows():
    """Texts with their topics: cyclic shifts of a sentence, so that they differ."""
    for topic, text in TOPICS.items():
        words = text.split()
        for i in range(len(words)):
            yield topic, " ".join(words[i:] + words[:i])


def word_piece(folder):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special)
    tokenizer.train_from_iterator([text for _, text in rows()], trainer)
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("".join(word + "\n" for word, _ in words))
    return "BertTokenizer", len(words)


def byte_level(folder):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=360, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([text for _, text in rows()], trainer)
    tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    return "RobertaTokenizer", tokenizer.get_vocab_size()


def unigram(folder):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=100, special_tokens=special, unk_token="<unk>")
    tokenizer.train_from_iterator([text for _, text in rows()], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return "XLMRobertaTokenizer", tokenizer.get_vocab_size()


def make(folder, name, keys):
    folder.mkdir(parents=True)
    family = name.split()[0]
    kind = unigram if "XLM" in name or family in ("xlm-roberta", "camembert") else byte_level if family == "roberta" else word_piece
    tokenizer_class, size = kind(folder)
    if family == "camembert":
        tokenizer_class = "CamembertTokenizer"
    settings = {"tokenizer_class": tokenizer_class, "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(7)
    config = AutoConfig.for_model(family, vocab_size=size + 10, **keys)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def save(model, folder, form):
    """Writes the weights in a form; `config.json` is that of the encoder alone, or of the model with its head."""
    for old in folder.glob("*model*"):
        old.unlink()
    encoder = model.base_model
    state = {name: value.contiguous() for name, value in encoder.state_dict().items() if "pooler" not in name}
    half = dict(zip(list(state), [""] * (len(state) // 2))) if "shards" in form else None
    encoder.config.save_pretrained(folder)
    match form:
        case "safetensors":
            encoder.save_pretrained(folder)
        case "f16" | "bf16":
            kind = torch.float16 if form == "f16" else torch.bfloat16
            save_file({name: value.to(kind) for name, value in state.items()}, folder / "model.safetensors", {"format": "pt"})
        case "bin":
            torch.save(state, folder / "pytorch_model.bin")
        case "bin of PyTorch 1.5":
            torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
        case "with a head":
            model.save_pretrained(folder)
        case "shards" | "bin shards":
            ending = "bin" if "bin" in form else "safetensors"
            stem = "pytorch_model" if ending == "bin" else "model"
            parts = {name: f"{stem}-0000{1 if name in half else 2}-of-00002.{ending}" for name in state}
            for part in set(parts.values()):
                tensors = {name: value for name, value in state.items() if parts[name] == part}
                if ending == "bin":
                    torch.save(tensors, folder / part)
                else:
                    save_file(tensors, folder / part, {"format": "pt"})
            (folder / f"{stem}.{ending}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": parts}))


@torch.no_grad()
def mean_states(folder, texts, most=MAX_TOKENS):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    vectors = []
    for text in texts:
        batch = tokenizer(text, truncation=True, max_length=most, return_tensors="pt")
        vectors.append(model(**batch).last_hidden_state[0].mean(0))
    return torch.stack(vectors)


def run(nb, *arguments):
    done = subprocess.run([nb, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def embed(nb, folder, texts, scratch, *options):
    (scratch / "texts.txt").write_text("\n".join(texts) + "\n")
    output = scratch / "vectors.safetensors"
    output.unlink(missing_ok=True)
    run(nb, "embed", "--model", folder, "--input", scratch / "texts.txt", "--output", output, *options)
    return load_file(output)["vectors"]


def off(found, expected):
    assert found.shape == expected.shape, (found.shape, expected.shape)
    return ((found - expected).abs().max() / expected.abs().max()).item()


def check_forms(nb, model, folder, scratch):
    texts = [text for _, text in rows()]
    worst = {}
    for form in FORMS:
        save(model, folder, form)
        worst[form] = off(embed(nb, folder, texts, scratch, "--pooling", "mean"), mean_states(folder, texts, 64))
    return worst


def check_card(student, expected, texts):
    """Runs the program of the model card, and compares its vectors."""
    code = (student / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names, before = {}, os.getcwd()
    os.chdir(student)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, names)
        assert off(names["vectors"](texts), expected) <= TOLERANCE
    finally:
        os.chdir(before)


def check_student(nb, folder, scratch):
    """Trains a student by distillation from a frozen teacher, and compares it in the other libraries."""
    data = scratch / "train.csv"
    data.write_text("".join(f'{topic},"{text}"\n' for topic, text in rows()))
    (scratch / "run.yaml").write_text(json.dumps({
        "name": "check", "output": str(scratch / "run"), "task": "topic", "device": "cpu",
        "data": {"format": "csv", "train": str(data), "columns": {"label": 0, "text": [1]}, "max_tokens": MAX_TOKENS,
                 "cache": str(scratch / "cache")},
        "teacher": {"checkpoint": str(folder), "train": {"epochs": 1}}, "student": {"layers": 2}, "head": {"pooling": "mean"},
        "method": {"name": "kd"}, "train": {"epochs": 1, "batch": 8},
    }))
    run(nb, "train", "--config", scratch / "run.yaml")
    student, texts = scratch / "run" / "student", [text for _, text in rows()]
    found = embed(nb, student, texts, scratch)
    states = off(found, mean_states(student, texts))
    sentences = off(SentenceTransformer(str(student)).encode(texts, convert_to_tensor=True), found)
    check_card(student, found, texts)
    config = json.loads((student / "config.json").read_text())
    assert config["model_type"] == json.loads((folder / "config.json").read_text())["model_type"]
    ours = [json.loads(line) for line in run(nb, "predict", "--model", student, "--input", scratch / "texts.txt").splitlines()]
    run(nb, "export", "--model", student, "--to", "hf", "--output", scratch / "hf")
    model = AutoModelForSequenceClassification.from_pretrained(scratch / "hf", trust_remote_code=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(scratch / "hf", trust_remote_code=True)
    with torch.no_grad():
        batch = tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        probabilities, classes = model(**batch).logits.softmax(-1).max(-1)
    labels = [model.config.id2label[i] for i in classes.tolist()]
    assert labels == [line["label"] for line in ours]
    classifier = max(abs(a - line["probability"]) for a, line in zip(probabilities.tolist(), ours))
    return states, sentences, classifier


def main(nb):
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    worst = 0.0
    for name, keys in FAMILIES.items():
        with tempfile.TemporaryDirectory() as place:
            folder, scratch = Path(place) / "model", Path(place)
            model = make(folder, name, keys)
            forms = check_forms(nb, model, folder, scratch)
            save(model, folder, "safetensors")
            student = dict(zip(["student's states", "sentence-transformers", "export's probabilities"], check_student(nb, folder, scratch)))
        print(name + ": " + ", ".join(f"{form} {value:.1e}" for form, value in (forms | student).items()), flush=True)
        worst = max([worst, *forms.values(), *student.values()])
    print(f"largest difference {worst:.1e}")
    sys.exit(0 if worst <= TOLERANCE else 1)


if __name__ == "__main__":
    main(sys.argv[1])
