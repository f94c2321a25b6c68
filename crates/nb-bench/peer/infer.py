"""Inference in Python: from texts to probabilities, including tokenisation.

Modes: `torch-eager` and `torch-compile` (Hugging Face's `BertModel` with the head of the model folder; bf16 means weights in
bf16, which avoids the casts of autocast), and `onnx-f32` (the same model, exported to onnxruntime). Bulk texts are predicted in
batches of similar length.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Encoding, Tokenizer
from torch import Tensor, nn
from transformers import AutoModel

from common import Job, Round, arguments, serve, unavailable

# Texts per batch in bulk.
BATCH = 64
# Maps ids, segments and mask, each [texts, longest], to probabilities [texts, classes].
Model = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Classifier(nn.Module):
    """The model of a folder: encoder, attentive pooling, dense layer."""

    def __init__(self, folder: Path, attention: str) -> None:
        super().__init__()
        self.bert = AutoModel.from_pretrained(
            folder, add_pooling_layer=False, dtype=torch.float32, attn_implementation=attention
        )
        head = load_file(folder / "head.safetensors")
        self.proj = linear(head["pooling.proj.weight"], head["pooling.proj.bias"])
        self.query = linear(head["pooling.query.weight"], None)
        self.dense = linear(head["dense.weight"], head["dense.bias"])

    def forward(self, ids: Tensor, segments: Tensor, mask: Tensor) -> Tensor:
        states = self.bert(input_ids=ids, token_type_ids=segments, attention_mask=mask).last_hidden_state
        scores = self.query(torch.tanh(self.proj(states))).squeeze(-1).masked_fill(mask == 0, float("-inf"))
        pooled = (torch.softmax(scores, -1).unsqueeze(-1) * states).sum(1)
        return torch.softmax(self.dense(pooled).float(), -1)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return layer


def torch_model(job: Job, mode: str) -> Model:
    device = torch.device(job["device"])
    kind = torch.bfloat16 if job["precision"] == "bf16" else torch.float32
    classifier = Classifier(Path(job["model"]), "sdpa").eval().to(device, kind)
    module = torch.compile(classifier, dynamic=True) if mode == "torch-compile" else classifier

    def model(*arrays: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(*(torch.from_numpy(array).to(device) for array in arrays)).cpu().numpy()

    return model


def onnx_model(job: Job) -> Model:
    import onnxruntime

    path = Path(job["exported"])
    export(Classifier(Path(job["model"]), "eager").eval(), path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.inter_op_num_threads = 1
    providers = ["CUDAExecutionProvider"] if job["device"].startswith("cuda") else ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    names = [tensor.name for tensor in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays)))[0]


def export(classifier: Classifier, path: Path) -> None:
    """Exports the model for any number of texts of any length."""
    example = tuple(torch.ones((2, 9), dtype=torch.long) for _ in range(3))
    texts, tokens = torch.export.Dim("texts", min=1, max=4096), torch.export.Dim("tokens", min=3, max=512)
    shapes = {name: {0: texts, 1: tokens} for name in ("ids", "segments", "mask")}
    with torch.no_grad():
        torch.onnx.export(
            classifier, example, str(path), input_names=list(shapes), dynamo=True, dynamic_shapes=shapes, optimize=True
        )


class Predictor:
    """A model with its tokenizer and the texts of a round."""

    def __init__(self, job: Job, model: Model) -> None:
        self.model = model
        self.batching = job["batching"]
        self.texts = [first if second is None else (first, second) for first, second in job["texts"]]
        self.tokenizer = Tokenizer.from_file(f"{job['model']}/tokenizer.json")
        pairs = any(isinstance(text, tuple) for text in self.texts)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(job["max_tokens"], strategy="only_second" if pairs else "longest_first")

    def probabilities(self, encodings: list[Encoding]) -> np.ndarray:
        shape = (len(encodings), max(len(encoding.ids) for encoding in encodings))
        ids, segments, mask = (np.zeros(shape, dtype=np.int64) for _ in range(3))
        for row, encoding in enumerate(encodings):
            n = len(encoding.ids)
            ids[row, :n], segments[row, :n], mask[row, :n] = encoding.ids, encoding.type_ids, 1
        return self.model(ids, segments, mask)

    def one_by_one(self, texts: list) -> tuple[int, list[float]]:
        """Predicts the texts in single calls; returns the number of tokens and the milliseconds of each call."""
        tokens, latencies = 0, []
        for text in texts:
            begin = time.perf_counter()
            encoding = self.tokenizer.encode(*text) if isinstance(text, tuple) else self.tokenizer.encode(text)
            self.probabilities([encoding]).tolist()
            latencies.append(1e3 * (time.perf_counter() - begin))
            tokens += len(encoding.ids)
        return tokens, latencies

    def bulk(self, texts: list) -> int:
        """Predicts the texts in batches of similar length; returns the number of tokens."""
        encodings = self.tokenizer.encode_batch_fast(texts)
        order = sorted(range(len(texts)), key=lambda i: -len(encodings[i].ids))
        answers: list[list[float]] = [[]] * len(texts)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            for row, answer in zip(rows, self.probabilities([encodings[row] for row in rows]).tolist()):
                answers[row] = answer
        return sum(len(encoding.ids) for encoding in encodings)

    def round(self) -> Round:
        begin = time.perf_counter()
        if self.batching == "single":
            tokens, latencies = self.one_by_one(self.texts)
        else:
            tokens, latencies = self.bulk(self.texts), []
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "sequences": len(self.texts), "tokens": tokens, "latencies": latencies}


def main() -> None:
    job, mode = arguments()
    torch.set_num_threads(job["threads"])
    try:
        predictor = Predictor(job, onnx_model(job) if mode == "onnx-f32" else torch_model(job, mode))
        # Warm-up. A compiled model must have seen every shape.
        predictor.round() if mode == "torch-compile" else predictor.one_by_one(predictor.texts[: job["warm_up"]])
    except Exception as error:  # a compiler or an export may raise anything
        if mode != "torch-eager":
            unavailable(error)
        raise
    serve(predictor.round)


if __name__ == "__main__":
    main()
