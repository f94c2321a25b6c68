query = vectors(["the text of a query"])[0]
print(pooled @ query)  # the score of each article for this query
