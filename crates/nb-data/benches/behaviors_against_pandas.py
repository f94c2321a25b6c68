"""Compares the time and memory that reading behaviors takes with those of pandas, on the same file, in alternating
rounds.

    cargo build --release -p nb-data --example behaviors_throughput
    python crates/nb-data/benches/behaviors_against_pandas.py --behaviors behaviors.tsv --news news.tsv

The file is repeated until it has --bytes. Each round runs four programs, each in a new process: ours
(`Behaviors::read`); pandas for the same work (`read_csv`, splitting click histories and impressions, mapping ids to
rows, click labels); the same with Python's string methods for the splitting, which is faster; and `read_csv` alone.
Start-up, imports and reading the articles are not timed. Peak memory is that of the whole process. All must agree on
the counts.
"""

import argparse
import csv
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

COLUMNS = ["id", "user", "time", "history", "impressions"]


def read_csv(path):
    import pandas

    return pandas.read_csv(path, sep="\t", header=None, names=COLUMNS, quoting=csv.QUOTE_NONE, keep_default_na=False)


def split_by_pandas(column):
    tokens = column.str.split(" ").explode()
    return tokens[tokens != ""]


def ends(tokens, count):
    import numpy

    return numpy.cumsum(numpy.bincount(tokens.index, minlength=count))


def with_pandas(path, news):
    """Returns article rows per history and impression, -1 if unknown, as flat arrays with the end of each list."""
    import numpy

    frame = read_csv(path)
    history = split_by_pandas(frame["history"])
    history_rows = news.get_indexer(history)
    known = history_rows >= 0
    history_ends = ends(history[known], len(frame))
    shown = split_by_pandas(frame["impressions"])
    candidates = news.get_indexer(shown.str.slice(stop=-2))
    clicked = (shown.str.slice(start=-1) == "1").to_numpy(numpy.uint8)
    return frame, history_rows[known], history_ends, candidates, clicked, ends(shown, len(frame))


def with_lists(path, news):
    """Does the same with lists of Python strings instead of pandas columns."""
    import numpy

    frame = read_csv(path)
    row_of = {id: row for row, id in enumerate(news)}
    histories = [history.split() for history in frame["history"]]
    flat = (row_of.get(id, -1) for history in histories for id in history)
    history = numpy.fromiter(flat, numpy.int64)
    lengths = numpy.fromiter(map(len, histories), numpy.int64, len(frame))
    known = history >= 0
    before = numpy.concatenate([[0], numpy.cumsum(known)])
    history_ends = before[numpy.cumsum(lengths)]
    del histories
    shown = [impressions.split() for impressions in frame["impressions"]]
    flat = [token for tokens in shown for token in tokens]
    candidates = numpy.fromiter((row_of.get(token[:-2], -1) for token in flat), numpy.int64, len(flat))
    clicked = numpy.fromiter((token[-1] == "1" for token in flat), numpy.uint8, len(flat))
    shown_ends = numpy.cumsum(numpy.fromiter(map(len, shown), numpy.int64, len(frame)))
    return frame, history[known], history_ends, candidates, clicked, shown_ends


def child(kind, path, news):
    import pandas

    with open(news, encoding="utf8") as file:
        news = pandas.Index([line.split("\t", 1)[0] for line in file])
    start = time.perf_counter()
    if kind == "read_csv":
        frame, numbers = read_csv(path), {}
    else:
        function = {"pandas": with_pandas, "lists": with_lists}[kind]
        frame, history, history_ends, candidates, clicked, shown_ends = function(path, news)
        assert (history_ends[-1], shown_ends[-1]) == (len(history), len(candidates))
    seconds = time.perf_counter() - start
    if kind != "read_csv":
        numbers = dict(history=len(history), candidates=len(candidates), known=int((candidates >= 0).sum()),
                       clicks=int(clicked.sum()))
    print(json.dumps(dict(seconds=seconds, impressions=len(frame), **numbers)))


def run(command):
    """Returns the numbers that a command prints, and its peak memory in MB."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    unit = 1 if sys.platform == "darwin" else 1024
    return dict(json.loads(out), memory=usage.ru_maxrss * unit / 1e6)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--behaviors", required=True, help="MIND's behaviors.tsv, of train or dev")
    parser.add_argument("--news", required=True, help="the news.tsv that belongs to it")
    parser.add_argument("--bytes", type=int, default=200_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--program", default=f"{os.environ.get('CARGO_TARGET_DIR', 'target')}/release/examples/behaviors_throughput")
    args = parser.parse_args()

    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "behaviors.tsv"
        text = pathlib.Path(args.behaviors).read_bytes()
        text += b"" if text.endswith(b"\n") else b"\n"
        with open(path, "wb") as file:
            for _ in range(-(-args.bytes // len(text))):
                file.write(text)
        # The peak memory of a new process starts at the size of its parent.
        del text
        size = path.stat().st_size
        commands = {"ours": [args.program, path, args.news]}
        for kind in ["pandas", "lists", "read_csv"]:
            commands[kind] = [sys.executable, __file__, "--child", kind, path, args.news]
        for i in range(args.rounds):
            for kind, command in commands.items():
                it = run(command)
                results.setdefault(kind, []).append(it)
                print(f"round {i}: {kind:8} {it['seconds']:7.3f} s, {size / it['seconds'] / 1e6:6.0f} MB/s, "
                      f"{it['memory']:6.0f} MB peak memory")
                same = ["impressions"] if kind == "read_csv" else ["impressions", "history", "candidates", "known", "clicks"]
                ours = results["ours"][-1]
                assert all(it[key] == ours[key] for key in same), (it, ours)
    for kind in ["pandas", "lists", "read_csv"]:
        ratios = [its["seconds"] / ours["seconds"] for its, ours in zip(results[kind], results["ours"])]
        print(f"against {kind}: {statistics.median(ratios):.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f})")


if sys.argv[1:2] == ["--child"]:
    child(*sys.argv[2:])
else:
    main()
