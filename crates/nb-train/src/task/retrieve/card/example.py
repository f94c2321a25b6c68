query = vectors(["what is sought"])[0]
print(pooled @ query)  # the score of each news for that query
