"""Reading and tokenising in Python: csv from the standard library, str.split, and `tokenizers` in parallel."""

import csv
import time
from pathlib import Path

import numpy as np
from tokenizers import BertWordPieceTokenizer, Tokenizer

from common import Job, Round, arguments, serve


def read_csv(path: str) -> list[tuple[str, str, str]]:
    """Returns label, title and description of each row."""
    with open(path, encoding="utf8", newline="") as file:
        return [(row[0].strip(), row[1].strip(), row[2].strip()) for row in csv.reader(file)]


def read_mind(path: str) -> list[tuple[str, str, str, str]]:
    """Returns id, category, title and abstract of each line."""
    with open(path, encoding="utf8", newline="\n") as file:
        rows = (line.rstrip("\r\n").split("\t") for line in file)
        return [(row[0].strip(), row[1].strip(), row[3].strip(), row[4].strip()) for row in rows]


# Rows of the articles that the reader clicked before, rows of the candidates (-1 if unknown), and which of them were
# clicked.
Impression = tuple[list[int], list[int], list[bool]]


def read_behaviors(path: str, row_of: dict[str, int], history: int) -> list[Impression]:
    """Returns the impressions; `row_of` maps article ids to rows, and `history` limits the clicks of a reader."""
    impressions = []
    with open(path, encoding="utf8", newline="\n") as file:
        for line in file:
            _, _, _, before, shown = line.rstrip("\r\n").split("\t")
            candidates = [candidate.rsplit("-", 1) for candidate in shown.split()]
            impressions.append(
                (
                    [row_of[name] for name in before.split() if name in row_of][-history:],
                    [row_of.get(name, -1) for name, _ in candidates],
                    [clicked == "1" for _, clicked in candidates],
                )
            )
    return impressions


class Reader:
    """Reads a file, once per round."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.row_of = {name: row for row, name in enumerate(job.get("ids", []))}

    def round(self) -> Round:
        path = self.job["path"]
        begin = time.perf_counter()
        if self.job["kind"] == "csv":
            rows: list = read_csv(path)
        elif self.job["kind"] == "mind":
            rows = read_mind(path)
        else:
            rows = read_behaviors(path, self.row_of, self.job["history"])
        return {"seconds": time.perf_counter() - begin, "sequences": len(rows), "tokens": 0}


class Tokeniser:
    """Reads a file, tokenises it on all threads, and stores the ids and the end of each text."""

    def __init__(self, job: Job) -> None:
        self.job = job
        file = job["tokenizer"]
        self.tokenizer = Tokenizer.from_file(file) if file.endswith(".json") else BertWordPieceTokenizer(file)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(job["max_tokens"], strategy="only_second")

    def round(self) -> Round:
        begin = time.perf_counter()
        rows = read_csv(self.job["path"])
        encodings = self.tokenizer.encode_batch([(title, text) for _, title, text in rows])
        lengths = np.array([len(encoding.ids) for encoding in encodings])
        ids = np.concatenate([np.array(encoding.ids, dtype=np.int32) for encoding in encodings])
        with Path(self.job["store"]).open("wb") as file:
            np.savez(file, ids=ids, ends=np.cumsum(lengths), labels=np.array([label for label, _, _ in rows]))
        return {"seconds": time.perf_counter() - begin, "sequences": len(rows), "tokens": int(lengths.sum())}


def main() -> None:
    job, _ = arguments()
    worker = Tokeniser(job) if job["kind"] == "tokenise" else Reader(job)
    worker.round()  # warm-up: fills the page cache and starts the threads
    serve(worker.round)


if __name__ == "__main__":
    main()
