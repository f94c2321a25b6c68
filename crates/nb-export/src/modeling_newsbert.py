"""A BERT, or another encoder, that classifies texts by attentive pooling, the mean or the first token, with an optional
projection.

`AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)` reads this file, because the classes
of transformers pool by the first token and another layer only. The configuration has the keys of the encoder and:

* `newsbert_encoder`: the model type of the encoder;
* `newsbert_pooling`: `attentive`, `mean` or `cls`;
* `newsbert_query`: the width of the query of attentive pooling;
* `newsbert_projection`: the width of the projection, or null;
* `newsbert_thresholds`: if a text has any number of labels, the probability from which on each label applies;
* `newsbert_score`: `cosine` if vectors have length 1, else `dot`.
"""

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class NewsBertConfig(PretrainedConfig):
    model_type = "newsbert"

    def encoder(self):
        """Returns the configuration of the encoder."""
        own = ("model_type", "architectures", "auto_map", "transformers_version", "dtype", "torch_dtype")
        keys = {key: value for key, value in self.to_dict().items() if key not in own and not key.startswith("newsbert_")}
        return AutoConfig.for_model(self.newsbert_encoder, **keys)


def encoder_without_pooler(config):
    """Returns a model of random weights. Some classes have a pooler, whose weights the folder does not have."""
    has_pooler = config.model_type not in ("distilbert", "electra")
    return AutoModel.from_config(config, **({"add_pooling_layer": False} if has_pooler else {}))


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


class NewsBertForSequenceClassification(PreTrainedModel):
    config_class = NewsBertConfig
    base_model_prefix = "newsbert"
    _supports_sdpa = True

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        encoder = config.encoder()
        self.newsbert = encoder_without_pooler(encoder)
        hidden, width = encoder.hidden_size, config.newsbert_projection
        is_attentive = config.newsbert_pooling == "attentive"
        self.pooling = AttentivePooling(hidden, config.newsbert_query) if is_attentive else None
        self.vector = nn.Linear(hidden, width) if width else None
        dropout = getattr(config, "classifier_dropout", None)
        self.dropout = nn.Dropout(0.1 if dropout is None else dropout)
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
        optional = {
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
        }
        given = {name: value for name, value in optional.items() if value is not None}
        outputs = self.newsbert(input_ids, attention_mask=attention_mask, return_dict=True, **given, **kwargs)
        states = outputs.last_hidden_state
        mask = states.new_ones(states.shape[:2]) if attention_mask is None else attention_mask
        vectors = self.pool(states, mask)
        if self.vector is not None:
            vectors = self.vector(vectors)
        if self.config.newsbert_score == "cosine":
            vectors = nn.functional.normalize(vectors, dim=-1)
        logits = self.dense(self.dropout(vectors))
        if labels is None:
            loss = None
        elif self.config.problem_type == "multi_label_classification":
            loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
        else:
            loss = nn.functional.cross_entropy(logits, labels.view(-1))
        result = SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return result.to_tuple() if return_dict is False else result
