"""GPT-2 as people write it by hand: a few modules of one file, maps as nn.Linear, attention spelled out.

`bug` plants one of the classic mistakes; without it the model is right. `masked_first` is none: scores may be hidden
before they are scaled, as tutorials have it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

BUGS = (
    "no scale",
    "scale doubled",
    "other gelu",
    "post norm",
    "eps",
    "heads not transposed",
    "mask off by one",
    "residual from norm",
    "qkv order",
    "no last norm",
)


@dataclass
class Sizes:
    vocab: int = 101
    context: int = 64
    layers: int = 2
    heads: int = 4
    width: int = 64
    ffn: int = 256
    bug: str = ""
    masked_first: bool = False


class Attention(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.c_attn = nn.Linear(sizes.width, 3 * sizes.width)
        self.c_proj = nn.Linear(sizes.width, sizes.width)
        self.register_buffer("mask", torch.ones(sizes.context, sizes.context).tril(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        heads = self.sizes.heads
        parts = self.c_attn(x).split(width, dim=2)
        q, k, v = (parts[1], parts[0], parts[2]) if self.sizes.bug == "qkv order" else parts
        q, k, v = (part.view(batch, length, heads, width // heads).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(-2, -1)
        factor = 1.0 / math.sqrt(width // heads)
        if self.sizes.bug != "no scale" and not self.sizes.masked_first:
            scores = scores * factor
        first = 1 if self.sizes.bug == "mask off by one" else 0
        mask = self.mask[first : length + first, :length]
        scores = scores.masked_fill(mask == 0, float("-inf"))
        if self.sizes.masked_first:
            scores = scores * (2 * factor if self.sizes.bug == "scale doubled" else factor)
        y = functional.softmax(scores, dim=-1) @ v
        if self.sizes.bug == "heads not transposed":
            return self.c_proj(y.contiguous().view(batch, length, width))
        return self.c_proj(y.transpose(1, 2).contiguous().view(batch, length, width))


class Mlp(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.c_fc = nn.Linear(sizes.width, sizes.ffn)
        self.gelu = nn.GELU(approximate="none" if sizes.bug == "other gelu" else "tanh")
        self.c_proj = nn.Linear(sizes.ffn, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.gelu(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        eps = 1e-6 if sizes.bug == "eps" else 1e-5
        self.bug = sizes.bug
        self.ln_1 = nn.LayerNorm(sizes.width, eps=eps)
        self.attn = Attention(sizes)
        self.ln_2 = nn.LayerNorm(sizes.width, eps=eps)
        self.mlp = Mlp(sizes)

    def forward(self, x: Tensor) -> Tensor:
        if self.bug == "post norm":
            x = self.ln_1(x + self.attn(x))
            return self.ln_2(x + self.mlp(x))
        if self.bug == "residual from norm":
            y = self.ln_1(x)
            x = y + self.attn(y)
        else:
            x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Tied head, learned positions, no padding."""

    def __init__(self, sizes: Sizes, *, tied: bool = True) -> None:
        super().__init__()
        self.bug = sizes.bug
        self.wte = nn.Embedding(sizes.vocab, sizes.width)
        self.wpe = nn.Embedding(sizes.context, sizes.width)
        self.blocks = nn.ModuleList([Block(sizes) for _ in range(sizes.layers)])
        self.ln_f = nn.LayerNorm(sizes.width)
        self.head = nn.Linear(sizes.width, sizes.vocab, bias=False)
        if tied:
            self.head.weight = self.wte.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.wte(input_ids) + self.wpe(positions)
        for block in self.blocks:
            x = block(x)
        return self.head(x if self.bug == "no last norm" else self.ln_f(x))
