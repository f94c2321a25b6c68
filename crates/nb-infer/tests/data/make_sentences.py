"""Writes folders of sentence-transformers with Dense modules, and the vectors that the library computes with them.

    python make_sentences.py

Needs torch and sentence-transformers 6.2 with transformers 5. Rewrites the folders `sentences_*` and `sentences.json` beside
this file. Weights are random and much larger than those of a new model, so that activations bend and every missing layer shows.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"

import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Dense, Dropout, Normalize, Pooling, Transformer
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizerFast

HERE = Path(__file__).parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "a and bank cup cuts falls final its of rain rate river shares storm the united wins york ##s ##ing , :".split()
HIDDEN = 8
TEXTS = [
    "Storm and rain in York",
    "a",
    "",
    "Shares fall as the bank cuts its rate",
    "the cup final: United wins, and the rain falls on the bank of the river " * 3,
    "  Rain   rain\train ",
    "STORM",
    "York, the river, the rain.",
    "storms and cups",
    "zzz",
    "the bank of the river",
    "the rate of the bank of York",
    "united: shares",
]
# Kept beside the weights: all that a library needs to compute the vectors.
KEPT = {"config.json", "model.safetensors", "pytorch_model.bin", "modules.json", "sentence_bert_config.json", "vocab.txt",
        "tokenizer.json", "tokenizer_config.json", "config_sentence_transformers.json"}


def encoder(folder):
    """Writes a BERT of one layer, and returns it as the first module."""
    (folder / "vocab.txt").write_text("\n".join(SPECIAL + WORDS) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True, model_max_length=24).save_pretrained(folder)
    config = BertConfig(vocab_size=len(SPECIAL + WORDS), hidden_size=HIDDEN, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=12, max_position_embeddings=24)
    bert = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for parameter in bert.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    bert.save_pretrained(folder)
    return Transformer(str(folder), max_seq_length=20)


def dense(inputs, outputs, activation, bias=True):
    module = Dense(inputs, outputs, bias=bias, activation_function=activation)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.8 * torch.randn_like(parameter))
    return module


def models():
    """Names and modules after the encoder."""
    yield "cls_tanh_normalize", "safetensors", [Pooling(HIDDEN, "cls"), dense(HIDDEN, HIDDEN, nn.Tanh()), Normalize()]
    yield "mean_identity_without_bias", "bin", [Pooling(HIDDEN, "mean"), dense(HIDDEN, 5, nn.Identity(), bias=False)]
    chain = [dense(HIDDEN, 11, nn.GELU()), Dropout(0.5), dense(11, 3, nn.Sigmoid()), Dropout(0.1)]
    yield "mean_two_dropout", "safetensors", [Pooling(HIDDEN, "mean"), *chain]
    chain = [Dropout(0.3), dense(HIDDEN, 16, nn.ReLU()), dense(16, 6, nn.SiLU()), dense(6, 4, None), Normalize()]
    yield "cls_three_normalize", "bin", [Pooling(HIDDEN, "cls"), *chain]


def main():
    torch.manual_seed(0)
    vectors = {}
    for name, form, modules in models():
        target = HERE / f"sentences_{name}"
        shutil.rmtree(target, ignore_errors=True)
        with tempfile.TemporaryDirectory() as scratch:
            model = SentenceTransformer(modules=[encoder(Path(scratch)), *modules], device="cpu")
            model.save_pretrained(str(target), create_model_card=False)
        for module in target.iterdir():
            # The library writes pickles of modules only beside a pickle of the encoder, which transformers 5 cannot write.
            if form == "bin" and module.name.endswith("_Dense"):
                index = int(module.name.split("_")[0])
                (module / "model.safetensors").unlink()
                model[index].save(str(module), safe_serialization=False)
        for path in target.rglob("*"):
            if path.is_file() and path.name not in KEPT:
                path.unlink()
        loaded = SentenceTransformer(str(target), device="cpu")
        found = loaded.encode(TEXTS, convert_to_tensor=True)
        alone = torch.stack([loaded.encode(text, convert_to_tensor=True) for text in TEXTS])
        assert (found - alone).abs().max() < 1e-5
        assert loaded.get_embedding_dimension() == found.shape[1]
        vectors[name] = found.tolist()
        print(f"{name:30} {tuple(found.shape)} {sum(path.stat().st_size for path in target.rglob('*') if path.is_file())} bytes")
    versions = {"sentence_transformers": sentence_transformers.__version__, "torch": torch.__version__}
    text = json.dumps({"versions": versions, "texts": TEXTS, "vectors": vectors}, indent=1)
    (HERE / "sentences.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
