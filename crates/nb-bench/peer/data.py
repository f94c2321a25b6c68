"""Reading and tokenising in Python: the standard library's csv, str.split, and `tokenizers` in parallel."""

import csv
import time
from pathlib import Path

import numpy as np
from tokenizers import BertWordPieceTokenizer, Tokenizer

from common import Job, Round, arguments, serve


def read_csv(path: str) -> list[tuple[str, str, str]]:
    """Label, title and description of each row."""
    with open(path, encoding="utf8", newline="") as file:
        return [(row[0].strip(), row[1].strip(), row[2].strip()) for row in csv.reader(file)]


def read_mind(path: str) -> list[tuple[str, str, str, str]]:
    """Id, category, title and abstract of each line."""
    with open(path, encoding="utf8", newline="\n") as file:
        rows = (line.rstrip("\r\n").split("\t") for line in file)
        return [(row[0].strip(), row[1].strip(), row[3].strip(), row[4].strip()) for row in rows]


def read_behaviors(path: str, places: dict[str, int], history: int) -> list[tuple[list[int], list[int], list[bool]]]:
    """Of each impression the places of the news that were clicked before, of those shown, and which were clicked."""
    impressions = []
    with open(path, encoding="utf8", newline="\n") as file:
        for line in file:
            _, _, _, before, shown = line.rstrip("\r\n").split("\t")
            candidates = [candidate.rsplit("-", 1) for candidate in shown.split()]
            impressions.append(
                (
                    [places[name] for name in before.split() if name in places][-history:],
                    [places.get(name, -1) for name, _ in candidates],
                    [clicked == "1" for _, clicked in candidates],
                )
            )
    return impressions


class Reader:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.places = {name: place for place, name in enumerate(job.get("news", []))}

    def round(self) -> Round:
        path = self.job["path"]
        begin = time.perf_counter()
        if self.job["what"] == "csv":
            rows: list = read_csv(path)
        elif self.job["what"] == "mind":
            rows = read_mind(path)
        else:
            rows = read_behaviors(path, self.places, self.job["history"])
        return {"seconds": time.perf_counter() - begin, "sequences": len(rows), "tokens": 0}


class Tokeniser:
    """Reads, tokenises on all threads, and stores ids and where each text ends."""

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
    worker = Tokeniser(job) if job["what"] == "tokenise" else Reader(job)
    worker.round()  # warm-up: the file is in the page cache, the threads are there
    serve(worker.round)


if __name__ == "__main__":
    main()
