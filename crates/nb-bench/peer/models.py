"""The models of `infer.py`: one class per library, all with the same weights.

Each setting of a library is a `Variant`; `infer.py` tries them and keeps the fastest. What only a trial needs, such as PyTorch
for the export, is imported there, so that it does not count as memory of the others.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from common import Job

# Ids, segments and mask of a batch, each [texts, longest].
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
# Probabilities [texts, classes] and vectors [texts, hidden].
Answer = tuple[np.ndarray, np.ndarray]
INPUTS = ("ids", "segments", "mask")
OUTPUTS = ("probabilities", "vectors")


class Model(Protocol):
    """A model that is ready."""

    def single(self, batch: Batch) -> Answer:
        """Predicts one batch as soon as possible."""

    def bulk(self, batches: list[Batch]) -> list[Answer]:
        """Predicts all batches as fast as possible, in order."""


@dataclass
class Variant:
    """A setting of a library."""

    name: str
    open: Callable[[], Model]


def exported(job: Job) -> Path:
    """Exports the model to ONNX, unless that is done, and returns the path."""
    path = Path(job["exported"]) / "model.onnx"
    if not path.exists():
        from classifier import export

        export(Path(job["model"]), path)
    return path


class OnnxModel:
    """A session of onnxruntime that runs `at_once` batches, each on `threads` threads."""

    def __init__(self, path: Path, job: Job, threads: int, at_once: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        providers = ["CUDAExecutionProvider"] if job["device"].startswith("cuda") else ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        # Runs release Python's lock.
        self.pool = ThreadPoolExecutor(at_once) if at_once > 1 else None

    def single(self, batch: Batch) -> Answer:
        probabilities, vectors = self.session.run(None, dict(zip(INPUTS, batch)))
        return probabilities, vectors

    def bulk(self, batches: list[Batch]) -> list[Answer]:
        return list((self.pool.map if self.pool else map)(self.single, batches))


def onnx_variants(job: Job, precision: str) -> list[Variant]:
    """The exported graph, and the same with the fused operators of onnxruntime's optimiser for transformers."""
    graphs = {"exported graph": exported(job), "fused graph": fused(job)}
    if precision == "int8":
        graphs = {name: quantised(path) for name, path in graphs.items()}
    threads = job["threads"]
    runs: dict[str, dict[str, int]] = {"one run on all threads": {"threads": threads}}
    if threads > 1 and job["batching"] == "bulk":
        runs["a run on each thread"] = {"threads": 1, "at_once": threads}
    elif threads > 1:
        runs["one thread"] = {"threads": 1}
    return [
        Variant(f"{graph}, {how}", lambda path=path, run=run: OnnxModel(path, job, **run))
        for graph, path in graphs.items()
        for how, run in runs.items()
    ]


def fused(job: Job) -> Path:
    """Fuses the operators of attention, embeddings, GELU and LayerNorm; onnxruntime does not do that when it opens a graph."""
    path = Path(job["exported"]) / "fused.onnx"
    if not path.exists():
        from onnxruntime.transformers import optimizer

        config = json.loads((Path(job["model"]) / "config.json").read_text(encoding="utf8"))
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        model = optimizer.optimize_model(str(exported(job)), "bert", num_heads=heads, hidden_size=hidden, opt_level=0)
        model.save_model_to_file(str(path))
    return path


def quantised(path: Path) -> Path:
    """Quantises the weights of a graph per channel; its activations are quantised as they come ("dynamic")."""
    quantised_path = path.with_suffix(".int8.onnx")
    if not quantised_path.exists():
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        # Shape inference does not know the fused operators, whose type is that of all others.
        extra = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantize_dynamic(path, quantised_path, per_channel=True, weight_type=QuantType.QInt8, extra_options=extra)
    return quantised_path


class OpenvinoModel:
    """A model compiled by OpenVINO for many requests at once or for one that is answered early."""

    def __init__(self, path: Path, job: Job, settings: dict[str, Any]) -> None:
        import openvino

        hint = "THROUGHPUT" if job["batching"] == "bulk" else "LATENCY"
        compiled = openvino.Core().compile_model(path, "CPU", settings | {"PERFORMANCE_HINT": hint})
        self.request = compiled.create_infer_request()
        self.queue = openvino.AsyncInferQueue(compiled)
        self.answers: dict[int, Answer] = {}
        self.queue.set_callback(self.store)

    def store(self, request: Any, number: int) -> None:
        # A copy: the next batch overwrites the tensors of the request.
        probabilities, vectors = (request.get_output_tensor(i).data.copy() for i in range(len(OUTPUTS)))
        self.answers[number] = probabilities, vectors

    def single(self, batch: Batch) -> Answer:
        answers = self.request.infer(dict(enumerate(batch)), share_inputs=True, share_outputs=True)
        return answers[0], answers[1]

    def bulk(self, batches: list[Batch]) -> list[Answer]:
        for number, batch in enumerate(batches):
            self.queue.start_async(dict(enumerate(batch)), number)
        self.queue.wait_all()
        return [self.answers.pop(number) for number in range(len(batches))]


def openvino_variants(job: Job, precision: str, calibration: list[Batch]) -> list[Variant]:
    """In int8, both formats are tried for what is not quantised; by itself OpenVINO takes bf16 where the processor knows it."""
    path = calibrated(job, calibration) if precision == "int8" else exported(job)
    # One short text may be faster on one thread; many texts always get all of them.
    threads = {job["threads"]} if job["batching"] == "bulk" else {job["threads"], 1}
    others = ("f32", "bf16") if precision == "int8" else (precision,)

    def variant(number: int, other: str) -> Variant:
        settings = {"INFERENCE_NUM_THREADS": number, "INFERENCE_PRECISION_HINT": other}
        name = f"threads: {number}" + (f", {other} beside int8" if precision == "int8" else "")
        return Variant(name, lambda: OpenvinoModel(path, job, settings))

    return [variant(number, other) for number in sorted(threads) for other in others]


def calibrated(job: Job, calibration: list[Batch]) -> Path:
    """Quantises weights and activations; the scales of activations are fixed, found on texts that are not measured."""
    path = Path(job["exported"]) / "calibrated.xml"
    if not path.exists():
        import nncf
        import openvino

        model = nncf.quantize(
            openvino.Core().read_model(exported(job)),
            nncf.Dataset(calibration, lambda batch: dict(enumerate(batch))),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(calibration),
        )
        openvino.save_model(model, path, compress_to_fp16=False)
    return path


def variants(job: Job, mode: str, precision: str, calibration: list[Batch]) -> list[Variant]:
    """Returns the settings of a mode's library to try in this precision."""
    if mode.startswith("torch"):
        from classifier import torch_variants

        return torch_variants(job, mode, precision)
    if mode.startswith("onnx"):
        return onnx_variants(job, precision)
    return openvino_variants(job, precision, calibration)
