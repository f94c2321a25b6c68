    whole = tokenizer(first, *second, verbose=False)
    last = [place for place, text in enumerate(whole.sequence_ids()) if text == len(second)]  # the text that gives way
    most = len(last) - max(0, len(whole["input_ids"]) - {max_tokens})
    start = -(-most // 4)  # a quarter is the beginning of the text, the rest its end
    dropped = set(last[start : len(last) - most + start])
    return {key: [x for place, x in enumerate(values) if place not in dropped] for key, values in whole.items()}
