clicked = pooled[:1]  # what a reader clicked, the most recent last
reader = attend(clicked[None], torch.ones(1, len(clicked)), "reader")[0] if len(clicked) else head["reader.cold"]
print(pooled @ reader)  # the score of each news for that reader
