    whole = tokenizer(first, *second, verbose=False)
    places = lambda text: [place for place, found in enumerate(whole.sequence_ids()) if found == text]
    title, text, special = places(0) if second else [], places(len(second)), places(None)
    text = keep(text, len(text) - max(0, len(whole["input_ids"]) - {max_tokens}))
    room = {size} - len(special)  # of a window, which begins with the title
    title = title if len(title) + len(text) <= room else keep(title, max(room // 2, room - len(text)))
    room -= len(title)
    stride = min({stride}, room)
    starts = range(0, max(0, len(text) - room) + stride, stride)
    windows = [{*special, *title, *text[start : start + room]} for start in starts]
    return [{key: [x for place, x in enumerate(xs) if place in window] for key, xs in whole.items()} for window in windows]
