"""Writes head_tail.json: sequences that keep the beginning and the end of texts, from the tokens of transformers.

    python make_head_tail.py       # requires transformers; writes to its own folder

The tokens of the texts are those of transformers' BERT tokenizer with vocab.txt, without special tokens. The script
puts the special tokens around them and cuts: of room for n tokens, the first ceil(n / 4) and the last n - ceil(n / 4),
which are the 128 and 382 of 510 of Sun et al. (2019), section 5.3.1. The second text is cut first, and is dropped if no
token of it would remain. Generated with transformers 5.24.0, tokenizers 0.23.3.
"""

import json
import math
import pathlib
import tempfile

from transformers import AutoTokenizer

HERE = pathlib.Path(__file__).parent
CLS, SEP = 2, 3
SHORT = ["Rain in Paris", "", "The goalkeeper saved a new goal"]
LONG = [
    "The goalkeeper saved a new goal after the storm, and Paris keeps winning in York: 2012 news!",
    "Rain falls on Berlin. " * 150,  # more than 510 tokens, the length of the paper
]


def cut(text, room):
    if len(text) <= room:
        return text
    head = math.ceil(room / 4)
    return text[:head] + text[len(text) - (room - head):]


def sequence(first, second, max_tokens):
    """Returns the ids of a sequence, and where its second text begins."""
    room = max_tokens - 3 - len(first)
    if second and room > 0:
        start = [CLS, *first, SEP]
        return [*start, *cut(second, room), SEP], len(start)
    ids = [CLS, *cut(first, max_tokens - 2), SEP]
    return ids, len(ids)


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "vocab.txt").write_text((HERE / "vocab.txt").read_text(encoding="utf8"), encoding="utf8")
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = lambda text: tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    cases = []
    for first in SHORT[:1] + LONG:
        for second in [None, *SHORT[1:], *LONG]:
            for max_tokens in [3, 4, 5, 8, 13, 21, 34, 512]:
                found, second_starts = sequence(ids(first), ids(second or ""), max_tokens)
                assert len(found) <= max_tokens
                case = dict(first=first, second=second, max_tokens=max_tokens, ids=found, second_starts=second_starts)
                if not cases or case | dict(max_tokens=0) != cases[-1] | dict(max_tokens=0):
                    cases.append(case)
    assert len(ids(LONG[1])) > 700
    texts = list(dict.fromkeys(text for case in cases for text in (case["first"], case["second"]) if text is not None))
    for case in cases:
        case["first"] = texts.index(case["first"])
        case["second"] = None if case["second"] is None else texts.index(case["second"])
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (HERE / "head_tail.json").write_text('{"texts":' + json.dumps(texts) + ',\n"cases":[\n' + lines + "\n]}\n")
    print(f"{len(cases)} cases")


main()
