"""Code as people write it by hand: every op has a name too."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from inspector.records import Scenario
from inspector.roles import infer
from inspector.source import live_subject
from inspector.tracing import observe
from inspector.vocabulary import UNKNOWN

WIDTH, HEADS, VOCABULARY = 48, 4, 101
CPU = Scenario(device="cpu", dtype="float32", weights="random")


class Attention(nn.Module):
    """One fused projection, heads by view, softmax by hand or torch's kernel."""

    def __init__(self, fused):
        super().__init__()
        self.fused = fused
        self.a = nn.Linear(WIDTH, 3 * WIDTH)
        self.b = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.a(x).split(width, dim=2)
        q, k, v = (part.view(batch, length, HEADS, width // HEADS).transpose(1, 2) for part in (q, k, v))
        if self.fused:
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            hidden = torch.ones(length, length).tril().view(1, 1, length, length) == 0
            y = functional.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1) @ v
        return self.b(y.transpose(1, 2).contiguous().view(batch, length, width))


class Block(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.one, self.two = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mix = Attention(fused)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        x = x + self.mix(self.one(x))
        return x + self.down(functional.gelu(self.up(self.two(x))))


class HandWritten(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.x, self.y = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(32, WIDTH)
        self.z = nn.ModuleList(Block(fused) for _ in range(3))
        self.w, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens):
        h = self.x(tokens) + self.y(torch.arange(tokens.shape[1]))
        for block in self.z:
            h = block(h)
        return self.out(self.w(h))


def traced(fused):
    torch.manual_seed(0)
    tokens = lambda b, s, p: (torch.randint(0, VOCABULARY, (b, s)),)  # noqa: E731 - it is the callable under test
    return observe(live_subject(HandWritten(fused).eval(), tokens), CPU)


COMMON = [
    "embedding.token", "embedding.position", "embedding.add",
    "attention.norm", "attention.qkv_proj", "attention.split_qkv", "attention.split_heads",
    "attention.merge_heads", "attention.o_proj", "attention.residual",
    "mlp.norm", "mlp.up_proj", "mlp.activation", "mlp.down_proj", "mlp.residual",
    "head.norm", "head.lm_head",
]  # fmt: skip


@pytest.mark.parametrize(
    ("fused", "own"),
    [
        (True, {"attention.fused"}),
        (
            False,
            {
                "attention.scores",
                "attention.scale",
                "attention.mask",
                "attention.softmax",
                "attention.weighted_sum",
                "mask.build",
            },
        ),
    ],
)
def test_a_hand_written_decoder_is_named_whole(fused, own):
    trace = traced(fused)
    naming = infer(trace)
    found = {naming.parts[op.id].path for op in trace.ops}

    assert UNKNOWN not in found
    assert found - {"positions.ids"} == {*COMMON, *own}
    assert {naming.parts[op.id].layer for op in trace.ops} == {None, 0, 1, 2}


def test_its_dimensions_solve():
    trace = traced(fused=False)

    assert not [text for texts in trace.symbols for text in texts if text.startswith("?")]
