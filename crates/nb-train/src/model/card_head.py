    return tokenizer(first, *second, truncation="only_second" if second else True, max_length={max_tokens})
