"""A BERT that classifies texts by attentive pooling, the mean or the first token, with an optional projection.

`AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)` reads this file, because the classes
of transformers pool by the first token and a tanh layer only. The configuration has the keys of BERT and:

* `newsbert_pooling`: `attentive`, `mean` or `cls`;
* `newsbert_query`: the width of the query of attentive pooling;
* `newsbert_projection`: the width of the projection, or null;
* `newsbert_score`: `cosine` if vectors have length 1, else `dot`.
"""

import torch
from torch import nn
from transformers import BertConfig, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class NewsBertConfig(BertConfig):
    model_type = "newsbert"


class AttentivePooling(nn.Module):
    """Sums the states [B, T, H], weighted by softmax_t(q · tanh(W x_t + b)) over real tokens, to vectors [B, H]."""

    def __init__(self, hidden, query):
        super().__init__()
        self.proj = nn.Linear(hidden, query)
        self.query = nn.Linear(query, 1, bias=False)

    def forward(self, states, mask):
        scores = self.query(torch.tanh(self.proj(states))).squeeze(-1).float()  # [B, T]
        weights = scores.masked_fill(mask == 0, float("-inf")).softmax(-1).to(states.dtype)
        return (weights.unsqueeze(-1) * states).sum(1)


class NewsBertForSequenceClassification(BertPreTrainedModel):
    config_class = NewsBertConfig

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        hidden, width = config.hidden_size, config.newsbert_projection
        is_attentive = config.newsbert_pooling == "attentive"
        self.pooling = AttentivePooling(hidden, config.newsbert_query) if is_attentive else None
        self.vector = nn.Linear(hidden, width) if width else None
        dropout = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.dense = nn.Linear(width or hidden, config.num_labels)
        self.post_init()

    def pool(self, states, mask):
        """Pools the states [B, T, H] of B texts to vectors [B, H]. The mask [B, T] is 0 for padding."""
        match self.config.newsbert_pooling:
            case "attentive":
                return self.pooling(states, mask)
            case "mean":
                mask = mask.unsqueeze(-1).to(states.dtype)
                return (states * mask).sum(1) / mask.sum(1)
            case "cls":
                return states[:, 0]
            case other:
                raise ValueError(f"newsbert_pooling is {other}, expected attentive, mean or cls")

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        token_type_ids=None,
        position_ids=None,
        inputs_embeds=None,
        labels=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
        **kwargs,
    ):
        outputs = self.bert(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            **kwargs,
        )
        states = outputs.last_hidden_state
        mask = states.new_ones(states.shape[:2]) if attention_mask is None else attention_mask
        vectors = self.pool(states, mask)
        if self.vector is not None:
            vectors = self.vector(vectors)
        if self.config.newsbert_score == "cosine":
            vectors = nn.functional.normalize(vectors, dim=-1)
        logits = self.dense(self.dropout(vectors))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels.view(-1))
        result = SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return result.to_tuple() if return_dict is False else result
