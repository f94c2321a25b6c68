"""Compares tokenizers with transformers beyond families.json. Requires transformers; random texts require sentencepiece and
protobuf too.

    python compare.py saved FOLDER          # FOLDER/0, FOLDER/1, …: the saved folders of the cases of families.json
    python compare.py random COUNT SEED     # writes cases with COUNT random texts in the form of families.json to stdout

The tests in families.rs run the first one and read the output of the second one.
"""

import json
import pathlib
import random
import sys
import tempfile

import make_families as families

CASES = ["RoBERTa", "RoBERTa, prefix space", "RoBERTa, added_tokens_decoder", "RoBERTa, missing bytes", "RoBERTa, unchanged",
         "RoBERTa, words", "XLM-R", "CamemBERT", "CamemBERT, added_tokens_decoder", "CamemBERT, words", "DistilBERT",
         "ELECTRA, German", "BERT, words", "Japanese", "Japanese, lower case", "Japanese, characters"]
BLOCKS = [(0x20, 0x7E)] * 6 + [(0xA0, 0x17F)] * 3 + [(0, 0x1F), (0x7F, 0x9F), (0x180, 0x24F), (0x250, 0x36F), (0x370, 0x3FF), (0x400, 0x52F),
          (0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x218F), (0x2190, 0x27BF),
          (0x2E80, 0x303F), (0x3040, 0x30FF), (0x3200, 0x33FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFDFF),
          (0xFE00, 0xFFFF), (0x10000, 0x103FF), (0x1D400, 0x1D7FF), (0x1F000, 0x1FAFF), (0x20000, 0x2FA1F), (0xE0000, 0xE01EF), (0x21, 0x10FFFF)]
SPACES = " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000\u200b\ufeff"
TOKENS = ["<s>", "</s>", "<pad>", "<mask>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "<s>NOTUSED", "covid19", "<url>", "trade deal"]
WORDS = [word for text in families.NEWS for word in text.split()]


def character(rng):
    while True:
        char = chr(rng.randint(*rng.choice(BLOCKS)))
        if not 0xD800 <= ord(char) <= 0xDFFF:
            return char


def text(rng):
    parts = []
    for _ in range(rng.choice([0, 1, 1, 2, 3, 5, 8, 13, 20])):
        kind = rng.random()
        if kind < 0.35:
            parts.append(rng.choice(WORDS))
        elif kind < 0.65:
            parts.append("".join(character(rng) for _ in range(rng.choice([1, 1, 2, 3, 7]))))
        elif kind < 0.75:
            parts.append(rng.choice(TOKENS))
        elif kind < 0.76:
            parts.append(rng.choice(WORDS) * rng.randint(20, 40))
        else:
            parts.append("".join(rng.choice(SPACES) for _ in range(rng.choice([1, 1, 2, 3]))))
        if rng.random() < 0.5:
            parts.append(" ")
    return "".join(parts)


def random_cases(count, seed):
    rng = random.Random(seed)
    texts = [[text(rng), text(rng) if rng.random() < 0.1 else None] for _ in range(count)]
    contents, cases = {}, []
    for name, words, files in families.folders():
        if name not in CASES:
            continue
        files = {file: families.content(value) for file, value in files.items()}
        with tempfile.TemporaryDirectory() as folder:
            families.write(folder, files)
            tokenizer = families.load(folder, files.get("tokenizer_config.json", ""))
        sequences = [families.encode(tokenizer, words, *pair) for pair in texts]
        files = {file: contents.setdefault(it, len(contents)) for file, it in files.items()}
        cases.append({"name": name, "words": words, "files": files, "sequences": sequences})
    json.dump({"texts": texts, "contents": list(contents), "folders": cases}, sys.stdout)


def saved(folder):
    golden = json.loads((families.HERE / "families.json").read_text(encoding="utf8"))
    compared, differ = 0, []
    for i, case in enumerate(golden["folders"]):
        tokenizer = families.AutoTokenizer.from_pretrained(pathlib.Path(folder) / str(i))
        # A saved Japanese tokenizer splits words itself.
        words = "class" if case["name"].startswith("Japanese") else case["words"]
        for (first, second), expected in zip(golden["texts"], case["sequences"]):
            found = families.encode(tokenizer, words, first, second)
            compared += 1
            if found != expected:
                differ.append(f"{case['name']}: {first!r} {second!r}: {found}, expected {expected}")
    print(f"{len(golden['folders'])} folders, {compared} sequences, {len(differ)} differ")
    if differ:
        sys.exit("\n".join(differ[:20]))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["saved", folder]:
            saved(folder)
        case ["random", count, seed]:
            random_cases(int(count), int(seed))
        case _:
            sys.exit(__doc__)
