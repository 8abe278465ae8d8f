"""What an attention may have besides the textbook's parts, each in a model written by hand."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

hand = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "by_hand.py")))
Attend, Model, name, WIDTH, HEADS = hand.Attend, hand.Model, hand.name, hand.WIDTH, hand.HEADS


class Gated(Attend):
    def __init__(self):
        super().__init__(gate=nn.Linear(WIDTH, WIDTH))

    def forward(self, x):
        return self.o(self.merge(self.attend(x, self.scores(x))) * torch.sigmoid(self.gate(x)))


class Sunk(Attend):
    """Softmax off by one, written as a factor behind it."""

    def __init__(self):
        super().__init__(sink=nn.Parameter(torch.zeros(HEADS, 1)))

    def forward(self, x):
        scores = self.scores(x)
        kept = torch.sigmoid(torch.logsumexp(scores, dim=-1) - self.sink)
        return self.o(self.merge(self.attend(x, scores) * kept.unsqueeze(-1)))


class Biased(Attend):
    """Tokens make a bias of their own."""

    def __init__(self):
        super().__init__(bias=nn.Linear(WIDTH, HEADS))

    def forward(self, x):
        bias = functional.softplus(self.bias(x)).transpose(1, 2)[:, :, None, :]
        return self.o(self.merge(self.attend(x, self.scores(x) + bias)))


class Indexed(Attend):
    """Small queries and keys choose what the others may look at."""

    def __init__(self):
        parts = {"iq": nn.Linear(WIDTH, 16), "ik": nn.Linear(WIDTH, 8), "iw": nn.Linear(WIDTH, 2)}
        super().__init__(**parts, inorm=nn.LayerNorm(8))

    def forward(self, x):
        query, key = self.iq(x).view(*x.shape[:2], 2, 8), self.inorm(self.ik(x))
        each = functional.relu(query @ key.transpose(-1, -2).unsqueeze(1))
        chosen = (self.iw(x).unsqueeze(-2) @ each).squeeze(-2).topk(3, dim=-1).indices
        hidden = torch.full((x.shape[0], x.shape[1], x.shape[1]), float("-inf")).scatter(-1, chosen, 0.0)
        return self.o(self.merge(self.attend(x, self.scores(x) + hidden.unsqueeze(1))))


class BySum(Attend):
    """A softmax by its definition."""

    def attend(self, x, scores):
        weights = torch.exp(scores)
        return (weights / weights.sum(-1, keepdim=True)) @ self.heads(self.v(x))


class ByLength(Attend):
    """A softmax by way of the logarithm of its sum."""

    def attend(self, x, scores):
        return torch.exp(scores - torch.logsumexp(scores, -1, keepdim=True)) @ self.heads(self.v(x))


class InParts(Attend):
    """The first token for all, and everyone: scores of two products, one softmax, two sums."""

    def forward(self, x):
        q, k, v = (self.heads(one(x)) for one in (self.q, self.k, self.v))
        few = q @ k[:, :, :1].transpose(-1, -2)
        weights = torch.cat([few, q @ k.transpose(-1, -2)], dim=-1).softmax(-1)
        return self.o(self.merge(weights[..., :1] @ v[:, :, :1] + weights[..., 1:] @ v))


class Removed(Attend):
    """What a token already knows is taken out of what it hears."""

    def attend(self, x, scores):
        values = self.heads(self.v(x))
        heard, own = scores.softmax(-1) @ values, functional.normalize(values, dim=-1)
        return heard - own * (heard * own).sum(-1, keepdim=True)


class Convolved(Attend):
    """Values convolved over the sequence and added to what attention hears."""

    def __init__(self):
        super().__init__(conv=nn.Conv2d(HEADS, HEADS, (3, 1), padding=(1, 0), groups=HEADS, bias=False))

    def attend(self, x, scores):
        values = self.heads(self.v(x))
        return scores.softmax(-1) @ values + self.conv(values)


class UnitKeys(Attend):
    """Queries and keys of length one, by a call that gives the length."""

    def heads(self, x):
        heads = super().heads(x)
        return heads * (2.0 / heads.norm(dim=-1, keepdim=True).clamp(min=1e-3))


class Compressed(Attend):
    """Keys and values of four tokens summed into one, by weights of their own."""

    def __init__(self):
        super().__init__(mix=nn.Linear(WIDTH, WIDTH))

    def blocks(self, made, x):
        parts = made.view(x.shape[0], -1, 4, WIDTH)
        weights = self.mix(x).view(x.shape[0], -1, 4, WIDTH).softmax(2)
        return (parts * weights).sum(2)

    def forward(self, x):
        keys, values = (self.heads(self.blocks(one(x), x)) for one in (self.k, self.v))
        scores = self.heads(self.q(x)) @ keys.transpose(-1, -2)
        return self.o(self.merge(scores.softmax(-1) @ values))


class Grouped(Attend):
    """The heads' output in two groups, each with a matrix of its own, and what they give in one projection."""

    def __init__(self):
        super().__init__(groups=nn.Parameter(torch.randn(2, WIDTH // 2, 20) * 0.2))
        self.o = nn.Linear(40, WIDTH, bias=False)

    def merge(self, y):
        parts = super().merge(y).view(-1, 2, WIDTH // 2).transpose(0, 1)
        return torch.bmm(parts, self.groups).transpose(0, 1).reshape(y.shape[0], y.shape[2], 40)


@pytest.mark.parametrize(
    ("sublayer", "weights", "calls"),
    [
        (Gated, {"gate.weight": "attention.gate"}, {("attention.gate", "sigmoid"), ("attention.gate", "mul")}),
        (Sunk, {"sink": "attention.sink"}, {("attention.sink", "logsumexp"), ("attention.sink", "mul")}),
        (Biased, {"bias.weight": "attention.position_bias"}, {("attention.position_bias", "softplus")}),
        (
            Indexed,
            {"iq.weight": "indexer.q_proj", "ik.weight": "indexer.k_proj", "iw.weight": "indexer.weights"}
            | {"inorm.weight": "indexer.norm"},
            {("indexer.scores", "matmul"), ("indexer.top_k", "topk"), ("indexer.mask", "scatter")}
            | {("attention.mask", "add")},
        ),
        (BySum, {}, {("attention.softmax", "exp"), ("attention.softmax", "sum"), ("attention.softmax", "div")}),
        (ByLength, {}, {("attention.softmax", "exp"), ("attention.softmax", "logsumexp")}),
        (InParts, {}, {("attention.scores", "cat"), ("attention.weighted_sum", "add")}),
        (Removed, {}, {("attention.project_out", "sum"), ("attention.project_out", "sub")}),
        (Convolved, {"conv.weight": "attention.conv"}, {("attention.conv", "add")}),
        (UnitKeys, {}, {("attention.q_norm", "norm"), ("attention.k_norm", "norm")}),
        (Compressed, {}, {("attention.compress", "softmax"), ("attention.compress", "sum")}),
        (Grouped, {"groups": "attention.o_proj"}, {("attention.o_proj", "bmm")}),
    ],
)
def test_each_part_is_named_and_the_rest_is_as_ever(sublayer, weights, calls):
    found = name(Model(sublayer))
    textbook = {f"{part}.weight": f"attention.{part}_proj" for part in "qvo"}

    for parameter, role in {**textbook, **weights}.items():
        assert found.weights[f"sub.0.{parameter}"] == found.weights[f"sub.1.{parameter}"] == role, parameter
    assert found.weights["sub.0.k.weight"] in ("attention.k_proj", "attention.kv_proj")
    assert calls <= found.calls
    assert found.unknown == []
    assert not found.paths & {"ssm.scan", "mlp.down_proj", "mlp.up_proj"}


def test_a_gate_in_a_feed_forward_is_not_the_attentions():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.up, self.down = nn.Linear(WIDTH, 96), nn.Linear(WIDTH, 96), nn.Linear(96, WIDTH)

        def forward(self, x):
            return self.down(torch.sigmoid(self.gate(x)) * self.up(x))

    assert name(Model(Plain)).weights["sub.0.gate.weight"] == "mlp.gate_proj"
