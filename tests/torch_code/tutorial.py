"""Attention as tutorials write it. Each function or module here is what somebody's file may hold."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody writes it

WIDTH, HEADS = 32, 4


def attention(q, k, v):
    """`softmax(Q Kᵀ / √d) V`: three tensors, no weights."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return F.softmax(scores, dim=-1) @ v


def no_projections(x):
    """`softmax(X Xᵀ) X`, where every tutorial begins."""
    return torch.softmax(x @ x.transpose(1, 2), dim=-1) @ x


def causal(q, k, v):
    scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(k.size(-1))
    hidden = torch.triu(torch.ones(q.size(1), k.size(1), dtype=torch.bool), diagonal=1)
    return torch.matmul(scores.masked_fill(hidden, float("-inf")).softmax(dim=-1), v)


class SingleHead(nn.Module):
    """One head, as in the first notebook on the subject."""

    def __init__(self, width=WIDTH, size=16):
        super().__init__()
        self.key = nn.Linear(width, size, bias=False)
        self.query = nn.Linear(width, size, bias=False)
        self.value = nn.Linear(width, size, bias=False)
        self.register_buffer("tril", torch.tril(torch.ones(64, 64)))

    def forward(self, x):
        _, length, _ = x.shape
        k, q, v = self.key(x), self.query(x), self.value(x)
        wei = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
        wei = wei.masked_fill(self.tril[:length, :length] == 0, float("-inf"))
        return F.softmax(wei, dim=-1) @ v


class LoopedHeads(nn.Module):
    """Several heads, one after the other, joined at the end."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(SingleHead(WIDTH, WIDTH // HEADS) for _ in range(HEADS))
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return self.proj(torch.cat([head(x) for head in self.heads], dim=-1))


class ViewedHeads(nn.Module):
    """The same with three projections and heads by view."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (
            part(x).view(batch, length, HEADS, width // HEADS).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        return self.proj(self.mix(q, k, v).transpose(1, 2).reshape(batch, length, width))

    def mix(self, q, k, v):
        length = q.shape[2]
        scores = q @ k.transpose(-2, -1) * (WIDTH // HEADS) ** -0.5
        scores = scores.masked_fill(torch.tril(torch.ones(length, length)) == 0, float("-inf"))
        return F.softmax(scores, dim=-1) @ v


class FusedHeads(ViewedHeads):
    """The same with one projection for all three."""

    def __init__(self):
        super().__init__()
        del self.q, self.k, self.v
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (part.view(batch, length, HEADS, width // HEADS).transpose(1, 2) for part in (q, k, v))
        return self.proj(self.mix(q, k, v).transpose(1, 2).reshape(batch, length, width))


class KernelHeads(FusedHeads):
    """The same with torch's kernel."""

    def mix(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class PairHeads(ViewedHeads):
    """The same with queries by one projection, keys and values by another."""

    def __init__(self):
        super().__init__()
        del self.k, self.v
        self.kv = nn.Linear(WIDTH, 2 * WIDTH, bias=False)

    def forward(self, x):
        batch, length, width = x.shape
        parts = (self.q(x), *self.kv(x).split(width, dim=-1))
        q, k, v = (part.view(batch, length, HEADS, width // HEADS).transpose(1, 2) for part in parts)
        return self.proj(self.mix(q, k, v).transpose(1, 2).reshape(batch, length, width))


class EinsumHeads(ViewedHeads):
    """The same in einsum."""

    def mix(self, q, k, v):
        length = q.shape[2]
        scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(q.shape[-1])
        hidden = torch.ones(length, length).triu(1).bool()
        return torch.einsum("bhqk,bhkd->bhqd", scores.masked_fill(hidden, float("-inf")).softmax(-1), v)


class Block(nn.Module):
    """A pre-norm block around any attention."""

    def __init__(self, mix):
        super().__init__()
        self.mix = mix
        self.ln1, self.ln2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        x = x + self.mix(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class Language(nn.Module):
    """A small language model of such blocks."""

    def __init__(self, mix, layers=2, vocabulary=65):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, WIDTH), nn.Embedding(64, WIDTH)
        self.blocks = nn.Sequential(*(Block(mix()) for _ in range(layers)))
        self.ln, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, vocabulary)

    def forward(self, ids):
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        return self.head(self.ln(self.blocks(x)))


def single():
    return SingleHead()


def looped():
    return Language(LoopedHeads)


def viewed():
    return Language(ViewedHeads)


def fused():
    return Language(FusedHeads)


def kernel():
    return Language(KernelHeads)


def paired():
    return Language(PairHeads)


def einsum():
    return Language(EinsumHeads)


def encoder_layer():
    return nn.TransformerEncoderLayer(WIDTH, HEADS, 64, batch_first=True)


def encoder():
    return nn.TransformerEncoder(encoder_layer(), 2, enable_nested_tensor=False)


def decoder():
    return nn.TransformerDecoder(nn.TransformerDecoderLayer(WIDTH, HEADS, 64, batch_first=True), 2)


def transformer():
    return nn.Transformer(WIDTH, HEADS, 2, 2, 64, batch_first=True)


class Wrapped(nn.Module):
    """torch's own attention, called with one input."""

    def __init__(self):
        super().__init__()
        self.mha = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x):
        return self.mha(x, x, x, need_weights=False)[0]


def multihead():
    return Wrapped()


def multihead_alone():
    return nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
