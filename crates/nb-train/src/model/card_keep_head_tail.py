    def keep(places, most):  # a quarter is the beginning of the text, the rest its end
        start = -(-most // 4)
        return places if len(places) <= most else places[:start] + places[len(places) - most + start :]

