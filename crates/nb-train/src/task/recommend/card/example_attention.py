def mix(x):  # self-attention over the clicked articles, {heads} heads
    q, k, v = ((x @ head[f"reader.attention.{p}.weight"].T + head[f"reader.attention.{p}.bias"])
               .view(len(x), {heads}, -1).transpose(0, 1) for p in ("query", "key", "value"))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(0, 1).reshape(len(x), -1)

rows = pooled[:1]  # the articles that a reader clicked, the latest last
if len(rows):
    rows = mix(rows)
reader = {reader} if len(rows) else head["reader.cold"]
print(pooled @ reader)  # the score of each article for this reader
