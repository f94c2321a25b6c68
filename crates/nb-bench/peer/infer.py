"""Models at work in Python: texts in, probabilities out, tokenising included.

Modes: `torch-eager` and `torch-compile` (Hugging Face's `BertModel` with the model folder's top layers; bf16 by weights in
bf16, which spares autocast's casts), and `onnx-f32` (the same model exported, in onnxruntime). Many texts go through in
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

# Texts of a batch, of many.
BATCH = 64
# From three arrays [texts, longest] - ids, segments, mask - to probabilities [texts, classes].
Model = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Classifier(nn.Module):
    """A model folder: encoder, attentive pooling, dense layer."""

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
    called = torch.compile(classifier, dynamic=True) if mode == "torch-compile" else classifier

    def model(*arrays: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return called(*(torch.from_numpy(array).to(device) for array in arrays)).cpu().numpy()

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
    names = [given.name for given in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays)))[0]


def export(classifier: Classifier, path: Path) -> None:
    """Writes the model with any number of texts of any length."""
    example = tuple(torch.ones((2, 9), dtype=torch.long) for _ in range(3))
    texts, tokens = torch.export.Dim("texts", min=1, max=4096), torch.export.Dim("tokens", min=3, max=512)
    shapes = {name: {0: texts, 1: tokens} for name in ("ids", "segments", "mask")}
    with torch.no_grad():
        torch.onnx.export(
            classifier, example, str(path), input_names=list(shapes), dynamo=True, dynamic_shapes=shapes, optimize=True
        )


class Server:
    def __init__(self, job: Job, model: Model) -> None:
        self.model = model
        self.how = job["how"]
        self.texts = [first if second is None else (first, second) for first, second in job["texts"]]
        self.tokenizer = Tokenizer.from_file(f"{job['model']}/tokenizer.json")
        pairs = any(isinstance(text, tuple) for text in self.texts)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(job["max_tokens"], strategy="only_second" if pairs else "longest_first")

    def answer(self, encodings: list[Encoding]) -> np.ndarray:
        shape = (len(encodings), max(len(encoding.ids) for encoding in encodings))
        ids, segments, mask = (np.zeros(shape, dtype=np.int64) for _ in range(3))
        for row, encoding in enumerate(encodings):
            n = len(encoding.ids)
            ids[row, :n], segments[row, :n], mask[row, :n] = encoding.ids, encoding.type_ids, 1
        return self.model(ids, segments, mask)

    def one_by_one(self, texts: list) -> tuple[int, list[float]]:
        tokens, latencies = 0, []
        for text in texts:
            begin = time.perf_counter()
            encoding = self.tokenizer.encode(*text) if isinstance(text, tuple) else self.tokenizer.encode(text)
            self.answer([encoding]).tolist()
            latencies.append(1e3 * (time.perf_counter() - begin))
            tokens += len(encoding.ids)
        return tokens, latencies

    def bulk(self, texts: list) -> int:
        encodings = self.tokenizer.encode_batch_fast(texts)
        order = sorted(range(len(texts)), key=lambda i: -len(encodings[i].ids))
        answers: list[list[float]] = [[]] * len(texts)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            for row, probabilities in zip(rows, self.answer([encodings[row] for row in rows]).tolist()):
                answers[row] = probabilities
        return sum(len(encoding.ids) for encoding in encodings)

    def round(self) -> Round:
        begin = time.perf_counter()
        if self.how == "one":
            tokens, latencies = self.one_by_one(self.texts)
        else:
            tokens, latencies = self.bulk(self.texts), []
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "sequences": len(self.texts), "tokens": tokens, "latencies": latencies}


def main() -> None:
    job, mode = arguments()
    torch.set_num_threads(job["threads"])
    try:
        server = Server(job, onnx_model(job) if mode == "onnx-f32" else torch_model(job, mode))
        # Warm-up; what is compiled must have seen every shape.
        server.round() if mode == "torch-compile" else server.one_by_one(server.texts[: job["warm_up"]])
    except Exception as error:  # whatever a compiler or an export fails with
        if mode != "torch-eager":
            unavailable(error)
        raise
    serve(server.round)


if __name__ == "__main__":
    main()
