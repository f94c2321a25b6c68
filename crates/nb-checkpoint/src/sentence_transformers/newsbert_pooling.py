"""Attentive pooling as a module of sentence-transformers.

The vector of a text is the sum of its tokens' states x_t, weighted by softmax_t(q · tanh(W x_t + b)). Padding has no
weight. `SentenceTransformer(folder, trust_remote_code=True)` reads this file, because the library has no such pooling.
"""

import shutil
from pathlib import Path

import torch
from torch import nn

try:
    from sentence_transformers.sentence_transformer.modules import Module
except ImportError:  # the place of version 5
    from sentence_transformers.models import Module


class AttentivePooling(Module):
    """Pools the states [B, T, H] of B texts to vectors [B, H]."""

    config_keys = ["embedding_dimension", "query_dimension"]

    def __init__(self, embedding_dimension, query_dimension):
        super().__init__()
        self.embedding_dimension = embedding_dimension
        self.query_dimension = query_dimension
        self.proj = nn.Linear(embedding_dimension, query_dimension)
        self.query = nn.Linear(query_dimension, 1, bias=False)

    def forward(self, features, **kwargs):
        states = features["token_embeddings"]
        if "cu_seq_lens_q" in features:  # FlashAttention: the texts follow each other in one row, without padding
            lengths = features["cu_seq_lens_q"].diff().tolist()
            vectors = [self.pool(text.unsqueeze(0)) for text in states.squeeze(0).split(lengths)]
            features["sentence_embedding"] = torch.cat(vectors)
        else:
            features["sentence_embedding"] = self.pool(states, features["attention_mask"])
        return features

    def pool(self, states, mask=None):
        scores = self.query(torch.tanh(self.proj(states))).squeeze(-1).float()  # [B, T]
        if mask is not None:
            scores = scores.masked_fill(mask == 0, float("-inf"))
        return (scores.softmax(-1).to(states.dtype).unsqueeze(-1) * states).sum(1)

    def get_embedding_dimension(self):
        return self.embedding_dimension

    get_sentence_embedding_dimension = get_embedding_dimension  # the name of version 5

    def save(self, output_path, *args, safe_serialization=True, **kwargs):
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)
        # The library copies this file to the module's folder, and looks for it in the model's when it loads.
        shutil.copy(__file__, Path(output_path).parent)

    @classmethod
    def load(
        cls,
        model_name_or_path,
        subfolder="",
        token=None,
        cache_folder=None,
        revision=None,
        local_files_only=False,
        **kwargs,
    ):
        place = {
            "subfolder": subfolder,
            "token": token,
            "cache_folder": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        config = cls.load_config(model_name_or_path, **place)
        return cls.load_torch_weights(model_name_or_path, model=cls(**config), **place)
