rows = pooled[:1]  # the articles that a reader clicked, the latest last
reader = {reader} if len(rows) else head["reader.cold"]
print(pooled @ reader)  # the score of each article for this reader
