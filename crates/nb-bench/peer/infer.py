"""Inference in Python: from texts to probabilities, including tokenisation.

Modes: `torch-eager` and `torch-compile` (Hugging Face's `BertModel` with the head of the model folder), `onnx-f32` and
`onnx-int8` (onnxruntime; dynamic quantisation), `openvino-f32`, `openvino-bf16` and `openvino-int8` (quantised with NNCF).
Bulk texts are predicted in batches of similar length, each padded to its longest text. The size of batches and the settings of a
library are those that are the fastest in a trial before the first round. The trial has a process of its own, so that its memory
does not count.
"""

import multiprocessing
import os
import statistics
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Encoding, Tokenizer

from common import Job, Round, arguments, serve, unavailable
from models import Batch, Model, variants

# Texts per batch in bulk, to try.
BATCHES = (8, 16, 32, 64)
# Timed rounds of a trial; the best of them counts.
TRIALS = 3
# Texts whose probabilities the bench compares with its own.
CHECKED_TEXTS = 8
# A trial predicts every third text.
TRIAL_STEP = 3


def batch_of(encodings: list[Encoding]) -> Batch:
    shape = (len(encodings), max(len(encoding.ids) for encoding in encodings))
    ids, segments, mask = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    for row, encoding in enumerate(encodings):
        n = len(encoding.ids)
        ids[row, :n], segments[row, :n], mask[row, :n] = encoding.ids, encoding.type_ids, 1
    return ids, segments, mask


class Texts:
    """The texts of a round, their calibration, and the tokenizer."""

    def __init__(self, job: Job) -> None:
        parts = lambda texts: [first if second is None else (first, second) for first, second in texts]
        self.texts, self.calibration = parts(job["texts"]), parts(job["calibration"])
        self.tokenizer = Tokenizer.from_file(f"{job['model']}/tokenizer.json")
        pairs = any(isinstance(text, tuple) for text in self.texts)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(job["max_tokens"], strategy="only_second" if pairs else "longest_first")

    def calibration_batches(self) -> list[Batch]:
        return [batch_of([encoding]) for encoding in self.tokenizer.encode_batch_fast(self.calibration)]


class Predictor:
    """A model with the texts of a round."""

    def __init__(self, texts: Texts, model: Model, batching: str, batch: int) -> None:
        self.texts = texts
        self.model = model
        self.batching = batching
        self.batch = batch

    def one_by_one(self) -> tuple[int, list[float]]:
        """Predicts the texts in single calls; returns the number of tokens and the milliseconds of each call."""
        tokens, latencies, tokenizer = 0, [], self.texts.tokenizer
        for text in self.texts.texts:
            begin = time.perf_counter()
            encoding = tokenizer.encode(*text) if isinstance(text, tuple) else tokenizer.encode(text)
            self.model.single(batch_of([encoding]))[0].tolist()
            latencies.append(1e3 * (time.perf_counter() - begin))
            tokens += len(encoding.ids)
        return tokens, latencies

    def bulk(self) -> tuple[int, list[list[float]], list[np.ndarray]]:
        """Predicts the texts in batches of similar length; returns the number of tokens, probabilities and vectors."""
        encodings = self.texts.tokenizer.encode_batch_fast(self.texts.texts)
        order = sorted(range(len(encodings)), key=lambda i: -len(encodings[i].ids))
        rows = [order[start : start + self.batch] for start in range(0, len(order), self.batch)]
        batches = [batch_of([encodings[row] for row in batch]) for batch in rows]
        answers: list[list[float]] = [[]] * len(encodings)
        vectors: list[np.ndarray] = [np.empty(0)] * len(encodings)
        for batch, (probabilities, pooled) in zip(rows, self.model.bulk(batches)):
            for row, answer, vector in zip(batch, probabilities.tolist(), pooled):
                answers[row], vectors[row] = answer, vector
        return sum(len(encoding.ids) for encoding in encodings), answers, vectors

    def round(self) -> Round:
        begin = time.perf_counter()
        if self.batching == "single":
            tokens, latencies = self.one_by_one()
        else:
            (tokens, _, _), latencies = self.bulk(), []
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "sequences": len(self.texts.texts), "tokens": tokens, "latencies": latencies}

    def cost(self) -> float:
        """Returns the time to minimise, after a round in which the library sees every shape."""
        self.round()
        rounds = [self.round() for _ in range(TRIALS)]
        return min(statistics.median(round["latencies"] or [round["seconds"]]) for round in rounds)


class Choice(NamedTuple):
    """The fastest settings of a trial."""

    variant: int
    batch: int
    facts: dict[str, Any]


def exit_without_parent(parent: int) -> None:
    """Lets this process exit soon after `parent`, which the bench may end during a trial."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def trial(job: Job, mode: str) -> Choice:
    """Tries all settings and sizes of batches; then measures the agreement of the fastest with f32, if that is asked for."""
    texts = Texts(job)
    calibration, all_texts = texts.calibration_batches(), texts.texts
    texts.texts = all_texts[::TRIAL_STEP]
    choices = variants(job, mode, job["precision"], calibration)
    is_bulk = job["batching"] == "bulk"
    batches = BATCHES if is_bulk else (1,)
    costs: dict[tuple[int, int], float] = {}
    for number, variant in enumerate(choices):
        if len(choices) * len(batches) == 1:
            costs[number, batches[0]] = 0.0  # the only choice; compiling it twice would take minutes
            break
        model = variant.open()
        for batch in batches:
            costs[number, batch] = Predictor(texts, model, job["batching"], batch).cost()
            print(f"{mode} {variant.name}, batches of {batch}: {costs[number, batch]:.4f}")
    number, batch = min(costs, key=lambda choice: costs[choice])
    settings = [choices[number].name] + ([f"batches of {batch}"] if is_bulk else [])
    described = ", ".join(filter(None, settings))
    facts: dict[str, Any] = {"settings": described} if described else {}
    if job["agreement"]:
        texts.texts = all_texts
        exact = variants(job, mode.replace("compile", "eager"), "f32", calibration)[0].open()
        facts["agreement"] = agreement(texts, choices[number].open(), exact)
    return Choice(number, batch, facts)


def agreement(texts: Texts, model: Model, exact: Model) -> dict[str, float]:
    """Compares labels and vectors of all texts with those of the same library in f32."""
    _, probabilities, vectors = Predictor(texts, model, "bulk", BATCHES[0]).bulk()
    _, exact_probabilities, exact_vectors = Predictor(texts, exact, "bulk", BATCHES[0]).bulk()
    labels = np.argmax(probabilities, axis=1) == np.argmax(exact_probabilities, axis=1)
    a, b = np.array(vectors, dtype=np.float64), np.array(exact_vectors, dtype=np.float64)
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return {"labels": float(labels.mean()), "cosine": float(cosines.mean()), "lowest_cosine": float(cosines.min())}


def first_probabilities(job: Job, model: Model) -> list[list[float]]:
    """Predicts the first texts, for a check that all sides have the same model."""
    texts = Texts(job)
    texts.texts = texts.texts[:CHECKED_TEXTS]
    return Predictor(texts, model, "bulk", CHECKED_TEXTS).bulk()[1]


def main() -> None:
    job, mode = arguments()
    try:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, spawn, exit_without_parent, (os.getpid(),)) as other_process:
            choice = other_process.submit(trial, job, mode).result()
        model = variants(job, mode, job["precision"], [])[choice.variant].open()
        predictor = Predictor(Texts(job), model, job["batching"], choice.batch)
        predictor.round()  # warm-up: the library sees every shape
        facts = choice.facts | {"probabilities": first_probabilities(job, model)}
    except Exception as error:  # a compiler, an export or a quantisation may raise anything
        if mode != "torch-eager":
            unavailable(error)
        raise
    serve(predictor.round, facts)


if __name__ == "__main__":
    main()
