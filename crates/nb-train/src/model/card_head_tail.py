    whole = tokenizer(first, *second, verbose=False)
    last = [place for place, text in enumerate(whole.sequence_ids()) if text == len(second)]  # the text that gives way
    dropped = set(last) - set(keep(last, len(last) - max(0, len(whole["input_ids"]) - {max_tokens})))
    return {key: [x for place, x in enumerate(values) if place not in dropped] for key, values in whole.items()}
