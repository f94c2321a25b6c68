"""Compares the reading of JSON lines and of impressions in Parquet with Python, in alternating rounds.

    cargo build --release -p nb-data --features parquet --example read_throughput --example behaviors_throughput
    python crates/nb-data/benches/readers_against_python.py --news news.tsv --behaviors behaviors.tsv

The two files are MIND's; their rows are repeated until the files have `--megabytes`. Python reads JSON lines with
`json.loads` and impressions with `polars.read_parquet` and `to_list`, and does nothing with the values; this project makes
articles, finds the rows of ids and counts what cannot be used. Prints seconds (median, least and most of the rounds) and peak
memory of each process, as JSON. Needs polars and pyarrow.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

JSON = """
import json, sys, time
start = time.perf_counter()
rows = size = 0
with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        row = json.loads(line)
        rows += 1
        size += len(row["title"]) + len(row["abstract"]) + len(row["category"])
print(json.dumps({"seconds": time.perf_counter() - start, "rows": rows}))
"""
POLARS = """
import json, sys, time, polars
start = time.perf_counter()
frame = polars.read_parquet(sys.argv[1], columns=["impression_id", "history", "impressions"])
lists = [frame[name].to_list() for name in frame.columns]
print(json.dumps({"seconds": time.perf_counter() - start, "rows": len(lists[0])}))
"""
PYARROW = """
import json, sys, time, pyarrow.parquet as pq
start = time.perf_counter()
table = pq.read_table(sys.argv[1], columns=["impression_id", "history", "impressions"])
lists = [table[name].to_pylist() for name in table.column_names]
print(json.dumps({"seconds": time.perf_counter() - start, "rows": len(lists[0])}))
"""


def write_json(news, path, size):
    lines = []
    for line in news.read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        row = dict(zip(["id", "category", "subcategory", "title", "abstract", "url"], fields))
        row.update(title_entities=[{"Label": "x", "WikidataId": "Q1", "OccurrenceOffsets": [1, 2]}], meta={"lang": "en", "n": 3})
        lines.append(json.dumps(row) + "\n")
    block = "".join(lines)
    with open(path, "w", encoding="utf-8") as out:
        for _ in range(size // len(block) + 1):
            out.write(block)


def write_impressions(behaviors, text, lists, words, size):
    import pyarrow as pa
    import pyarrow.parquet as pq

    block = behaviors.read_text(encoding="utf-8")
    fields = [line.split("\t") for line in block.splitlines()]
    times = size // len(block) + 1
    with open(text, "w", encoding="utf-8") as out:
        for _ in range(times):
            out.write(block)
    names = ["impression_id", "history", "impressions"]
    tables = {
        lists: pa.table({name: [row[i] if i == 0 else row[i].split() for row in fields] for name, i in zip(names, [0, 3, 4])}),
        words: pa.table({name: [row[i] for row in fields] for name, i in zip(names, [0, 3, 4])}),
    }
    for path, table in tables.items():
        with pq.ParquetWriter(path, table.schema) as writer:
            # Groups of about 100 000 rows, as polars writes them.
            group = pa.concat_tables([table] * max(1, 100_000 // len(table)))
            written = 0
            while written < times * len(table):
                part = group.slice(0, times * len(table) - written)
                writer.write_table(part)
                written += len(part)


def run(command):
    """Runs a command; returns its JSON and its peak memory in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[0]} failed")
    return json.loads(out), usage.ru_maxrss / 1024


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--news", type=Path, required=True)
    arguments.add_argument("--behaviors", type=Path, required=True)
    arguments.add_argument("--examples", default="target/release/examples")
    arguments.add_argument("--megabytes", type=int, default=200)
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = lambda name: str(Path(folder) / name)
        size = options.megabytes * 1_000_000
        # In processes of their own: the peak memory of a child begins with that of its parent.
        for write, arguments in [
            (write_json, (options.news, path("news.jsonl"), size)),
            (write_impressions, (options.behaviors, path("b.tsv"), path("lists.parquet"), path("words.parquet"), size)),
        ]:
            process = multiprocessing.Process(target=write, args=arguments)
            process.start()
            process.join()
            assert process.exitcode == 0
        read, behaviors = f"{options.examples}/read_throughput", f"{options.examples}/behaviors_throughput"
        news = str(options.news)
        sides = {
            "json, python": [sys.executable, "-c", JSON, path("news.jsonl")],
            "json, ours": [read, path("news.jsonl"), "title,abstract", "category"],
            "lists, polars": [sys.executable, "-c", POLARS, path("lists.parquet")],
            "lists, pyarrow": [sys.executable, "-c", PYARROW, path("lists.parquet")],
            "lists, ours": [behaviors, path("lists.parquet"), news],
            "words, polars": [sys.executable, "-c", POLARS, path("words.parquet")],
            "words, ours": [behaviors, path("words.parquet"), news],
            "tsv, ours": [behaviors, path("b.tsv"), news],
        }
        seconds, memory = {side: [] for side in sides}, {side: 0 for side in sides}
        for _ in range(options.rounds):
            for side, command in sides.items():
                found, peak = run(command)
                seconds[side].append(found["seconds"])
                memory[side] = max(memory[side], peak)
        for side, times in seconds.items():
            print(json.dumps({"side": side, "median": round(statistics.median(times), 3), "least": round(min(times), 3),
                              "most": round(max(times), 3), "peak_mib": round(memory[side])}))


if __name__ == "__main__":
    main()
