"""Writes vocab.txt and tokens.json: the tokens that transformers' BERT tokenizer produces from texts, truncated to a
length.

    python make_tokens.py          # requires transformers; writes to its own folder

The rule for two texts is the crate's own: the second text is truncated first, and is dropped entirely if nothing of it
would remain. The script makes a plain call of transformers for each of these cases. Generated with transformers 5.23.0,
tokenizers 0.23.3.
"""

import json
import pathlib
import tempfile

from transformers import AutoTokenizer

HERE = pathlib.Path(__file__).parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """the a in on of and rain fall ##s goal ##keeper ##keep ##er keep save ##d new ##ly york berlin paris win ##ner
after storm cafe uber ##ly york ' - , . ! ? : ( ) 1 2 0 ##0 ##1 ##2 news 雨 北 京 Paris York The Rain""".split()
TEXTS = [
    "The goalkeeper saved a new goal",
    "Rain falls in Paris, after the storm!",
    "Café ÜBER york - 2012",
    "北京 rain雨",
    "winners\tkeep\nnewly (won) 'goals'",
    "nul\x00byte and soft\u00adhyphen and zero\u200bwidth",
    "a [SEP] in the news",
    "The RAIN in York",
    "x" * 120 + " rain",
    "\u200b\u00ad",
]


def sequence(tokenizer, first, second, max_tokens):
    """Returns the ids of a sequence of at most `max_tokens` tokens, and where its second text begins."""
    room = max_tokens - 3 - len(tokenizer(first, add_special_tokens=False)["input_ids"])
    if second is None or room < 1 or not tokenizer(second, add_special_tokens=False)["input_ids"]:
        ids = tokenizer(first, truncation=True, max_length=max_tokens)["input_ids"]
        return ids, len(ids)
    out = tokenizer(first, second, truncation="only_second", max_length=max_tokens, return_token_type_ids=True)
    return out["input_ids"], out["token_type_ids"].index(1)


def main():
    vocab = SPECIAL + list(dict.fromkeys(WORDS))
    (HERE / "vocab.txt").write_text("".join(token + "\n" for token in vocab), encoding="utf8")
    cases = []
    for lower in [True, False]:
        config = {"tokenizer_class": "BertTokenizer", "do_lower_case": lower}
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "vocab.txt").write_text((HERE / "vocab.txt").read_text(encoding="utf8"), encoding="utf8")
            (folder / "tokenizer_config.json").write_text(json.dumps(config))
            tokenizer = AutoTokenizer.from_pretrained(folder)
        for i, first in enumerate(TEXTS):
            for second in [None, TEXTS[(i + 1) % len(TEXTS)]]:
                for max_tokens in [3, 4, 8, 9, 10, 11, 14, 64]:
                    ids, second_starts = sequence(tokenizer, first, second, max_tokens)
                    assert len(ids) <= max_tokens
                    case = dict(lower=lower, first=first, second=second)
                    cases.append(case | dict(max_tokens=max_tokens, ids=ids, second_starts=second_starts))
    lines = ",\n".join(json.dumps(case) for case in cases)
    (HERE / "tokens.json").write_text(f"[\n{lines}\n]\n")


main()
