def tokens(*texts):  # the second to the last are one text; one of spaces and control characters alone is none
    empty = lambda text: all(c.isspace() or ord(c) < 32 or 127 <= ord(c) < 160 for c in text)
    count = lambda text: len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    first, *rest = ["" if empty(text) else text.strip() for text in texts]
    first, *second = [text for text in (first, " ".join(filter(None, rest))) if text] or [""]
    room = {max_tokens} - tokenizer.num_special_tokens_to_add(pair=True) - count(first)
    if not second or room < 1 or count(second[0]) == 0:  # the second gives way to the first
        second = []
