"""Compares the rows and tokens per second of the token store with those of Python's csv and tokenizers, in alternating
rounds.

    cargo build --release -p nb-data --example store_throughput
    python crates/nb-data/benches/against_tokenizers.py --csv train.csv --tokenizer checkpoint/

Each round first runs our program (a new process that parses, tokenises, packs and writes the store), then Python
(csv.reader, then encode_batch and encode_batch_fast with their own threads, on pairs with the same truncation, with the
ids extracted). Start-up and loading the tokenizer are not timed. Our time includes hashing the source and writing the
store; Python writes nothing. Both must agree on the number of tokens.
"""

import argparse
import csv
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

from tokenizers import Tokenizer


def python_round(path, tokenizer, encode):
    start = time.perf_counter()
    with open(path, encoding="utf8", newline="") as file:
        rows = list(csv.reader(file))
    parsed = time.perf_counter()
    encodings = encode([(row[1], row[2]) for row in rows])
    tokens = sum(len(encoding.ids) for encoding in encodings)
    end = time.perf_counter()
    return dict(rows=len(rows), tokens=tokens, parse=parsed - start, build=end - start)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--csv", required=True, help="CSV file without a header: label, title, text")
    parser.add_argument("--tokenizer", required=True, help="folder that contains tokenizer.json")
    parser.add_argument("--repeat", type=int, default=10, help="how many times the file is repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--program", default=f"{os.environ.get('CARGO_TARGET_DIR', 'target')}/release/examples/store_throughput")
    args = parser.parse_args()

    tokenizer = Tokenizer.from_file(f"{args.tokenizer}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(args.max_tokens, strategy="only_second")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "text.csv"
        path.write_bytes(pathlib.Path(args.csv).read_bytes() * args.repeat)
        names = {"encode_batch": tokenizer.encode_batch, "encode_batch_fast": tokenizer.encode_batch_fast}
        ratios = {(kind, name): [] for kind in ["parse", "build"] for name in names}
        for i in range(args.rounds):
            out = subprocess.run([args.program, path, args.tokenizer, str(args.max_tokens)], check=True, capture_output=True)
            ours = json.loads(out.stdout)
            speed = lambda it, kind: f"{it['rows'] / it[kind]:9.0f} rows/s"
            print(f"round {i}: ours {speed(ours, 'parse')} parsed, {speed(ours, 'build')} built "
                  f"({ours['tokens'] / ours['build']:.0f} tokens/s), reopened in {ours['open']:.3f} s")
            for name, encode in names.items():
                theirs = python_round(path, tokenizer, encode)
                assert (theirs["rows"], theirs["tokens"]) == (ours["rows"], ours["tokens"]), (theirs, ours)
                print(f"         {name}: {speed(theirs, 'parse')} parsed, {speed(theirs, 'build')} parsed and tokenised "
                      f"({theirs['tokens'] / theirs['build']:.0f} tokens/s)")
                for kind in ["parse", "build"]:
                    ratios[kind, name].append(theirs[kind] / ours[kind])
    for (kind, name), values in ratios.items():
        print(f"{kind} against {name}: {statistics.median(values):.2f} times as fast ({min(values):.2f} to {max(values):.2f})")


main()
