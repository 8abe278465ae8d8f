"""BERT's encoder out of torch's own parts: `nn.TransformerEncoderLayer` with `nn.MultiheadAttention` inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.verification.by_hand.bert import Sizes


class TorchBert(nn.Module):
    """The encoder without its pooler."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.words = nn.Embedding(sizes.vocab, sizes.width)
        self.places = nn.Embedding(sizes.context, sizes.width)
        self.kinds = nn.Embedding(2, sizes.width)
        self.norm = nn.LayerNorm(sizes.width, eps=sizes.eps)
        self.layers = nn.ModuleList(
            [
                nn.TransformerEncoderLayer(
                    sizes.width,
                    sizes.heads,
                    sizes.ffn,
                    activation="relu" if sizes.bug == "other activation" else "gelu",
                    layer_norm_eps=sizes.eps,
                    batch_first=True,
                )
                for _ in range(sizes.layers)
            ]
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.words(input_ids) + self.places(torch.arange(input_ids.shape[1], device=input_ids.device))
        x = self.norm(x + self.kinds(torch.zeros_like(input_ids)))
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=attention_mask == 0)
        return x
