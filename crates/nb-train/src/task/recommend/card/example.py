clicked = pooled[:1]  # the articles that a reader clicked, the latest last
reader = attend(clicked[None], torch.ones(1, len(clicked)), "reader")[0] if len(clicked) else head["reader.cold"]
print(pooled @ reader)  # the score of each article for this reader
