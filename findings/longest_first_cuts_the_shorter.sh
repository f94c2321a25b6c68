#!/usr/bin/env bash
# Truncation "longest_first" truncates a short title that would fit, to keep one more token of the abstract.
#
# Expected behaviour: "longest_first" removes tokens from the longer text until the pair fits or both are
#   equally long. A title of 7 tokens and an abstract of 20 with room for 13 become 7 and 6.
# Actual behaviour: they become 6 and 7. Each text gets half of the room, and an odd token goes to the
#   text that was longer before the truncation (to the second if neither was), so tokens far beyond the
#   truncation point decide whether the title keeps its last token. With room for one token, a title of
#   one token is dropped.
# Versions: tokenizers 0.23.3, the basis of transformers' fast tokenizers (tested on 2026-11-29 with
#   Python 3.11). The slow tokenizers of transformers 4.57.6 give 7 and 6.
# Why it matters: truncation=True means longest_first. A port that removes token after token, as the name
#   says, disagrees with training on every other long pair of title and abstract.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3

"$work/venv/bin/python" - <<'PY'
from tokenizers import Tokenizer, models, pre_tokenizers

names = [f"{side}{i}" for side in "ab" for i in range(20)]
tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate(["[UNK]", *names])}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()

def kept(first, second, room):
    tokenizer.enable_truncation(room, strategy="longest_first")
    pair = (" ".join(f"{side}{i}" for i in range(n)) for side, n in (("a", first), ("b", second)))
    tokens = tokenizer.encode(*pair).tokens
    return tuple(sum(t[0] == side for t in tokens) for side in "ab")

def token_by_token(first, second, room):
    while first + second > room:
        first, second = (first - 1, second) if first > second else (first, second - 1)
    return first, second

for lengths, room, expected, guess in [
    ((7, 20), 13, (6, 7), (7, 6)),
    ((10, 10), 13, (6, 7), (7, 6)),
    ((1, 20), 1, (0, 1), (1, 0)),
    # Controls: a title shorter than half of the room stays whole; an even room is divided equally.
    ((3, 20), 13, (3, 10), (3, 10)),
    ((20, 20), 12, (6, 6), (6, 6)),
    ((20, 7), 13, (7, 6), (7, 6)),
]:
    found = kept(*lengths, room)
    print(f"title and abstract {lengths}, room {room}: kept {found}, token by token {guess}")
    assert found == expected, (found, expected)
    assert token_by_token(*lengths, room) == guess
PY
