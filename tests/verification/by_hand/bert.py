"""BERT's encoder as people write it by hand: separate projections and a mask of ones and zeros.

`bug` plants one of the classic mistakes; without it the model is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

BUGS = ("no scale", "other gelu", "eps", "pre norm", "heads not transposed", "no segments")


@dataclass
class Sizes:
    vocab: int = 101
    context: int = 64
    layers: int = 2
    heads: int = 4
    width: int = 64
    ffn: int = 96
    eps: float = 1e-12
    bug: str = ""


class Attention(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.q = nn.Linear(sizes.width, sizes.width)
        self.k = nn.Linear(sizes.width, sizes.width)
        self.v = nn.Linear(sizes.width, sizes.width)
        self.out = nn.Linear(sizes.width, sizes.width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        heads, each = self.sizes.heads, width // self.sizes.heads
        q, k, v = (part(x).reshape(batch, length, heads, each).permute(0, 2, 1, 3) for part in (self.q, self.k, self.v))
        scores = torch.einsum("bhsk,bhtk->bhst", q, k)
        if self.sizes.bug != "no scale":
            scores = scores / each**0.5
        p = scores.masked_fill(~mask, -1e9).softmax(-1)
        y = p @ v
        y = y if self.sizes.bug == "heads not transposed" else y.transpose(1, 2)
        return self.out(y.reshape(batch, length, width))


class Layer(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.bug = sizes.bug
        eps = 1e-5 if sizes.bug == "eps" else sizes.eps
        self.attention = Attention(sizes)
        self.norm_1 = nn.LayerNorm(sizes.width, eps=eps)
        self.up = nn.Linear(sizes.width, sizes.ffn)
        self.down = nn.Linear(sizes.ffn, sizes.width)
        self.norm_2 = nn.LayerNorm(sizes.width, eps=eps)

    def feed(self, x: Tensor) -> Tensor:
        return self.down(functional.gelu(self.up(x), approximate="tanh" if self.bug == "other gelu" else "none"))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.bug == "pre norm":
            x = x + self.attention(self.norm_1(x), mask)
            return x + self.feed(self.norm_2(x))
        x = self.norm_1(x + self.attention(x, mask))
        return self.norm_2(x + self.feed(x))


class Bert(nn.Module):
    """The encoder, and its pooler unless there is none."""

    def __init__(self, sizes: Sizes, *, pooled: bool = True) -> None:
        super().__init__()
        self.bug = sizes.bug
        self.words = nn.Embedding(sizes.vocab, sizes.width)
        self.places = nn.Embedding(sizes.context, sizes.width)
        self.kinds = nn.Embedding(2, sizes.width)
        self.norm = nn.LayerNorm(sizes.width, eps=sizes.eps)
        self.layers = nn.ModuleList([Layer(sizes) for _ in range(sizes.layers)])
        self.pool = nn.Linear(sizes.width, sizes.width) if pooled else None

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        x = self.words(input_ids) + self.places(torch.arange(input_ids.shape[1], device=input_ids.device))
        if self.bug != "no segments":
            x = x + self.kinds(torch.zeros_like(input_ids))
        x = self.norm(x)
        mask = attention_mask[:, None, None, :].bool()
        for layer in self.layers:
            x = layer(x, mask)
        return (x,) if self.pool is None else (x, torch.tanh(self.pool(x[:, 0])))
