    def keep(places, most):  # the beginning of a text
        return places[-most:] if tokenizer.truncation_side == "left" else places[:most]

