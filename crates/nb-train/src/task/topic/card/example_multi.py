probabilities = (pooled @ head["dense.weight"].T + head["dense.bias"]).sigmoid()
about = json.load(open(f"{folder}/newsbert.json"))
rows = zip(about["labels"], about["thresholds"], probabilities[0].tolist())
print([label for label, threshold, probability in rows if probability >= threshold])
