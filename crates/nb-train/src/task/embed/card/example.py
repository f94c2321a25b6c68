print(pooled @ pooled.T)  # the similarity of each pair of texts
