logits = pooled @ head["dense.weight"].T + head["dense.bias"]
print(json.load(open(f"{folder}/newsbert.json"))["labels"][logits.argmax(-1)[0]])
