
def attend(x, mask, name):  # attentive pooling
    scores = torch.tanh(x @ head[f"{name}.proj.weight"].T + head[f"{name}.proj.bias"]) @ head[f"{name}.query.weight"].T
    return (scores.squeeze(-1).masked_fill(mask == 0, float("-inf")).softmax(-1).unsqueeze(-1) * x).sum(1)
