"""Writes the files of this folder and, as JSON, the rows that the libraries read back from them.

    pip install pyarrow==26.0.1 polars==2.1.0 datasets==5.2.0
    python make.py

A file's rows are in `<file>.json`: what `pyarrow.parquet.read_table(file).to_pylist()`, `polars.read_parquet`, `datasets`
or Python's own modules return. The tests compare every row with them.
"""

import gzip
import json
import shutil
from pathlib import Path

import datasets
import polars
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
TOPICS = ["sports", "world", "weather"]


def rows(count):
    """Rows with nulls, empty texts, other scripts, long texts and every kind of label."""
    made = []
    for i in range(count):
        made.append({
            "id": 1000 + i,
            "title": None if i % 7 == 3 else f"Title {i} über 新闻 \U0001f600",
            "body": None if i % 5 == 1 else ("" if i % 5 == 2 else f"Body {i} " * (i % 4 + 1)),
            "topic": None if i % 11 == 5 else TOPICS[i % 3],
            "number": None if i % 6 == 4 else i % 3,
            "flag": None if i % 4 == 2 else i % 2 == 0,
            "tags": None if i % 9 == 8 else [TOPICS[j] if j != 1 or i % 2 else None for j in range(i % 4)],
            "meta": None if i % 8 == 6 else {"title": f"nested {i}", "lang": "en" if i % 2 else None},
        })
    return made


SCHEMA = pa.schema([
    ("id", pa.uint32()), ("title", pa.string()), ("body", pa.large_string()), ("topic", pa.string()), ("number", pa.int8()),
    ("flag", pa.bool_()), ("tags", pa.list_(pa.string())),
    ("meta", pa.struct([("title", pa.string()), ("lang", pa.string())])),
])


def save(name, content):
    with open(HERE / f"{name}.json", "w", encoding="utf-8") as out:
        json.dump(content, out, ensure_ascii=False)
        out.write("\n")


def parquet():
    table = pa.Table.from_pylist(rows(23), schema=SCHEMA)
    # One list of rows for all variants: the settings of a writer do not change what is read.
    save("variants", table.to_pylist())
    variants = {f"{codec}-v{version}-{'dictionary' if dictionary else 'plain'}":
                dict(compression=codec, data_page_version=f"{version}.0", use_dictionary=dictionary)
                for codec in ["none", "snappy", "gzip", "brotli", "zstd", "lz4"] for version in [1, 2]
                for dictionary in [True, False]}
    variants["groups"] = dict(row_group_size=5)
    variants["pages"] = dict(data_page_size=64, write_batch_size=2, dictionary_pagesize_limit=40)
    variants["delta"] = dict(use_dictionary=False, column_encoding={
        "id": "DELTA_BINARY_PACKED", "title": "DELTA_BYTE_ARRAY", "body": "DELTA_LENGTH_BYTE_ARRAY"})
    variants["index"] = dict(write_page_index=True, write_page_checksum=True)
    variants["no-arrow"] = dict(store_schema=False)
    for name, settings in variants.items():
        path = HERE / f"variant-{name}.parquet"
        pq.write_table(table, path, **settings)
        assert pq.read_table(path).to_pylist() == table.to_pylist()
    pq.write_table(table.slice(0, 0), HERE / "empty.parquet")
    strings = pa.table({
        "view": pa.array(["a", None, "a text too long for a view"], pa.string_view()),
        "dictionary": pa.array(["x", "y", None]).dictionary_encode(),
        "large_list": pa.array([["p"], [], None], pa.large_list(pa.large_string())),
        "fixed": pa.array([[1, 2], [3, 4], None], pa.list_(pa.int64(), 2)),
        "binary": pa.array([b"bytes", None, b"\xc3\xa9"]),
        "null": pa.nulls(3),
    })
    pq.write_table(strings, HERE / "types.parquet")
    save("types", [{key: value.decode() if isinstance(value, bytes) else value for key, value in row.items()}
                   for row in pq.read_table(HERE / "types.parquet").to_pylist()])
    # Texts that are not UTF-8. Only in the first column does the file say that they are.
    bad = pa.array([b"\xff\xe9", b"good", None, b"\xc3\xa9"])
    lists = pa.array([[b"a"], [b"\xff", b"a"], None, [b"\xc3\xa9"]])
    unlike = {"text": pa.array(["a", "b", "c", "d"]), "binary": bad, "lists": lists, "words": bad,
              "json": pa.ExtensionArray.from_storage(pa.json_(), pa.StringArray.from_buffers(4, *bad.buffers()[1:], bad.buffers()[0]))}
    for dictionary in [True, False]:
        pq.write_table(pa.table(unlike), HERE / f"not-utf8-{dictionary}.parquet".lower(), use_dictionary=dictionary)
    # Whole numbers beside a missing one, as pandas stores them; types that cannot be labels or ids.
    pq.write_table(pa.table({
        "text": ["a", "b", "c"], "label": [1.0, float("nan"), 2.5], "id": pa.array([7.0, 8.0, None], pa.float32()),
        "nested": [[["x"]], [["y"]], [["z"]]], "labels": [[1.0], [2.0, 0.5], [3.0, 4.0]],
    }), HERE / "fractions.parquet")
    frame = polars.DataFrame(rows(23), schema_overrides={"id": polars.Int32, "number": polars.Int64})
    for name, settings in {"zstd": dict(), "groups": dict(row_group_size=6, data_page_size=100), "lz4": dict(compression="lz4"),
                           "plain": dict(compression="uncompressed", statistics=False)}.items():
        frame.write_parquet(HERE / f"polars-{name}.parquet", **settings)
        assert polars.read_parquet(HERE / f"polars-{name}.parquet").equals(frame)
    save("polars", frame.to_dicts())


def hugging_face():
    label = datasets.ClassLabel(names=TOPICS)
    features = datasets.Features({
        "text": datasets.Value("string"), "label": label, "labels": datasets.List(label), "meta": {"label": label}})
    data = datasets.Dataset.from_dict({
        "text": [f"text {i}" for i in range(6)], "label": [0, 1, 2, -1, 1, 0],
        "labels": [[0], [], [2, 1], [0, 1, 2], [1], [2]], "meta": [{"label": i % 3} for i in range(6)]}, features=features)
    data.to_parquet(HERE / "class-label.parquet")
    name = lambda i: None if i < 0 else TOPICS[i]
    save("class-label", [{"text": row["text"], "label": name(row["label"]), "labels": [name(i) for i in row["labels"]],
                          "meta": {"label": name(row["meta"]["label"])}} for row in data])


def text():
    made = rows(12)
    lines = "".join(json.dumps(row) + "\n" for row in made)
    (HERE / "python.jsonl.gz").write_bytes(
        gzip.compress(lines[:900].encode(), mtime=0) + gzip.compress(lines[900:].encode(), mtime=0))
    with pa.OSFile(str(HERE / "python.jsonl.zst"), "wb") as out, pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(lines.encode())
    # Two frames.
    with open(HERE / "python.jsonl.zst", "ab") as out:
        out.write(pa.compress(lines.encode(), codec="zstd", asbytes=True))
    save("python", [json.loads(line) for line in lines.splitlines()])
    polars.DataFrame(made).write_ndjson(HERE / "polars.jsonl")
    datasets.Dataset.from_list(made).to_json(HERE / "datasets.jsonl")
    for encoding in ["gbk", "gb18030", "utf-16", "utf-16-be", "shift_jis", "latin-1", "cp1252", "big5", "koi8-r"]:
        words = {"gbk": "新闻", "gb18030": "新闻 \U0001f600", "shift_jis": "東京", "big5": "臺灣", "koi8-r": "Новости",
                 "utf-16": "é新\U0001f600", "utf-16-be": "é新\U0001f600"}.get(encoding, "é£")
        (HERE / f"text-{encoding}.txt").write_bytes(f"{words}\r\nplain\n{words} {words}".encode(encoding))


def impressions():
    """An EB-NeRD folder and MIND's impressions, with unknown articles, repeated ones, and readers without a history."""
    state = 7

    def below(n):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % n

    articles = [{"article_id": 9000000 + 7 * i, "title": f"Titel {i}", "subtitle": None if i % 3 else f"Undertitel {i}",
                 "body": f"Brødtekst {i}", "category": i % 4, "category_str": ["sport", "nyheder", "krimi", "penge"][i % 4]}
                for i in range(30)]
    known = [article["article_id"] for article in articles]
    some = lambda count: [known[below(30)] if below(10) else 1 + below(5) for _ in range(count)]
    history = [{"user_id": 100 + i, "article_id_fixed": some(below(9)), "scroll_percentage_fixed": [1.5]} for i in range(12)]
    history[4]["article_id_fixed"] = None
    behaviors = []
    for i in range(40):
        shown = some(1 + below(8))
        clicked = [shown[below(len(shown))] for _ in range(below(3))]
        behaviors.append({"impression_id": 500 + i, "article_id": None, "impression_time": "2023-05-18", "user_id": 100 + below(15),
                          "article_ids_inview": shown, "article_ids_clicked": clicked})
    behaviors[7]["article_ids_inview"] = []
    behaviors[8]["article_ids_clicked"] = None
    types = {"article_id": polars.Int32, "category": polars.Int16, "impression_id": polars.UInt32, "user_id": polars.UInt32,
             "article_ids_inview": polars.List(polars.Int32), "article_ids_clicked": polars.List(polars.Int32),
             "article_id_fixed": polars.List(polars.Int32), "scroll_percentage_fixed": polars.List(polars.Float32)}
    folder = HERE / "ebnerd"
    for name, content, groups in [("articles", articles, 100), ("train/behaviors", behaviors, 9), ("train/history", history, 5)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        overrides = {key: value for key, value in types.items() if key in content[0]}
        frame = polars.DataFrame(content, schema_overrides=overrides)
        frame.write_parquet(folder / f"{name}.parquet", row_group_size=groups)
        if name == "train/behaviors":
            (folder / "test").mkdir(exist_ok=True)
            frame.drop("article_ids_clicked").write_parquet(folder / "test/behaviors.parquet")
    histories = {row["user_id"]: row["article_id_fixed"] or [] for row in history}
    save("ebnerd", [{**row, "history": histories.get(row["user_id"], [])} for row in behaviors])

    # The ids of one file are numbers, those of the other texts; one is beyond 63 bits.
    high = 2**63 + 5
    pq.write_table(pa.table({
        "id": pa.array([1, 2, 3, 4]), "user": pa.array([5, high, 7, 9], pa.uint64()),
        "shown": pa.array([[10, high], [high, 11], [10, 11], [11]], pa.list_(pa.uint64())),
        "clicked": pa.array([["10", "11"], [str(high)], ["12", "x", "12"], ["011"]]),
        "clicked_numbers": pa.array([[10, 11], [high], [12], []], pa.list_(pa.uint64())),
    }), HERE / "mixed-ids.parquet")
    pq.write_table(pa.table({
        "id": ["a", "b", "c", "d"], "user": ["5", str(high), "x", "5"],
        "read": pa.array([[11, 10], [high], [11], [10, 10, 10]], pa.list_(pa.uint64())),
    }), HERE / "mixed-ids-history.parquet")

    lines, columns = [], []
    for i in range(40):
        read, shown = [f"N{below(40)}" for _ in range(below(6))], [f"N{below(40)}-{below(2)}" for _ in range(1 + below(6))]
        lines.append(f"{i}\tU{below(9)}\t11/11/2019\t{' '.join(read)}\t{' '.join(shown)}\n")
        columns.append({"impression_id": i, "history": read, "impressions": shown,
                        "shown": [it[:-2] for it in shown], "clicked": [it[:-2] for it in shown if it[-1] == "1"]})
    (HERE / "mind.tsv").write_text("".join(lines), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(columns), HERE / "mind-list.parquet", row_group_size=11)
    texts = [{key: " ".join(value) if isinstance(value, list) else str(value) for key, value in row.items()} for row in columns]
    pq.write_table(pa.Table.from_pylist(texts), HERE / "mind-text.parquet", row_group_size=13, compression="zstd")


if __name__ == "__main__":
    for old in HERE.glob("*.*"):
        if old.suffix != ".py":
            old.unlink()
    shutil.rmtree(HERE / "ebnerd", ignore_errors=True)
    datasets.disable_progress_bars()
    parquet()
    hugging_face()
    text()
    impressions()
