"""Mixers without a softmax, short convolutions, several streams: each in a model written by hand."""

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


class Linear(nn.Module):
    """Linear attention: a convolution before, decays from the input, a gate after, a state kept for the next step."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.z, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(5))
        self.dt, self.conv = nn.Linear(WIDTH, 1), nn.Conv1d(WIDTH, WIDTH, 3, padding=2, groups=WIDTH)

    def forward(self, x):
        length = x.shape[1]
        value = functional.silu(self.conv(self.v(x).transpose(1, 2))[..., :length]).transpose(1, 2)
        decay = functional.softplus(self.dt(x)).cumsum(1)
        reach = torch.exp(-(decay - decay.transpose(1, 2)).abs()) * torch.ones(length, length).tril()
        key = self.k(x)
        seen = (self.q(x) @ key.transpose(1, 2)) * reach @ value
        torch.zeros(x.shape[0], WIDTH, WIDTH).copy_(key.transpose(1, 2) @ value)
        return self.o(seen * functional.silu(self.z(x)))


class Normed(Linear):
    """A norm on the stream is the sublayer's, one of what was projected is the mixer's own."""

    def __init__(self):
        super().__init__()
        self.inner, query = nn.LayerNorm(WIDTH), self.q
        self.q = nn.Sequential(query, self.inner)


class Looped(nn.Module):
    """A recurrence in a loop over the steps, element by element."""

    def __init__(self):
        super().__init__()
        self.i, self.o, self.decay = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x):
        made, state, seen = self.i(x), torch.zeros(x.shape[0], WIDTH), []
        for step in range(x.shape[1]):
            state = state * torch.sigmoid(self.decay) + made[:, step]
            seen.append(state)
        return self.o(torch.stack(seen, dim=1))


class Fourier(nn.Module):
    def forward(self, x):
        return torch.fft.fftn(x, dim=(1, 2)).real


class Shifted(nn.Module):
    """A feed-forward in which each token is mixed with the one before."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Parameter(torch.full((WIDTH,), 0.5))
        self.up, self.down, self.gate = nn.Linear(WIDTH, 96), nn.Linear(96, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        mixed = x * self.mix + functional.pad(x, (0, 0, 1, -1)) * (1 - self.mix)
        return torch.sigmoid(self.gate(mixed)) * self.down(functional.relu(self.up(mixed)).square())


class Smoothed(nn.Module):
    """A feed-forward whose answer is convolved and added to itself."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, 96), nn.Linear(96, WIDTH)
        self.conv = nn.Conv1d(WIDTH, WIDTH, 3, padding=2, groups=WIDTH)

    def forward(self, x):
        y = self.down(functional.gelu(self.up(x)))
        return y + self.conv(y.transpose(1, 2))[..., : y.shape[1]].transpose(1, 2)


class Beside(nn.Module):
    """Attention and a recurrent mixer side by side."""

    def __init__(self):
        super().__init__()
        self.soft, self.line = Attend(), Linear()

    def forward(self, x):
        return self.soft(x) + self.line(x)


LINEAR = {
    **dict.fromkeys(("q.weight", "k.weight", "v.weight", "z.weight", "dt.weight"), "ssm.in_proj"),
    "conv.weight": "ssm.conv", "o.weight": "ssm.out_proj",
}  # fmt: skip


@pytest.mark.parametrize(
    ("sublayer", "weights", "calls"),
    [
        (
            Linear,
            LINEAR,
            {("ssm.scan", "cumsum"), ("ssm.parameters", "softplus"), ("ssm.activation", "silu"), ("ssm.gate", "silu")}
            | {("ssm.gate", "mul"), ("ssm.state_update", "copy"), ("ssm.state_update", "zeros")},
        ),
        (Normed, {"q.1.weight": "ssm.sub_norm", "q.0.weight": "ssm.in_proj"}, {("ssm.norm", "layer_norm")}),
        (Looped, {"i.weight": "ssm.in_proj", "o.weight": "ssm.out_proj"}, {("ssm.scan", "mul"), ("ssm.scan", "add")}),
        (Fourier, {}, {("ssm.transform", "fft_fftn"), ("ssm.residual", "add")}),
        (
            Shifted,
            {"mix": "block.shift", "up.weight": "mlp.up_proj", "down.weight": "mlp.down_proj"}
            | {"gate.weight": "mlp.gate_proj"},
            {("block.shift", "pad"), ("block.shift", "add"), ("mlp.multiply", "mul")},
        ),
        (
            Smoothed,
            {"conv.weight": "block.conv", "up.weight": "mlp.up_proj", "down.weight": "mlp.down_proj"},
            {("block.conv", "add"), ("mlp.residual", "add")},
        ),
        (
            Beside,
            {f"line.{parameter}": role for parameter, role in LINEAR.items()}
            | {f"soft.{part}.weight": f"attention.{part}_proj" for part in "qkvo"},
            {("attention.softmax", "softmax"), ("ssm.scan", "cumsum"), ("attention.residual", "add")},
        ),
    ],
)
def test_what_goes_in_and_what_comes_out_is_named(sublayer, weights, calls):
    found = name(Model(sublayer))

    assert {parameter: found.weights[f"sub.1.{parameter}"] for parameter in weights} == weights
    assert calls <= found.calls
    assert found.unknown == []


class Streams(nn.Module):
    """Four streams: a sublayer reads their mixture, writes to each, and they mix among themselves."""

    def __init__(self, mixing):
        super().__init__()
        self.mixing = mixing
        self.read, self.write, self.comb = (nn.Linear(4 * WIDTH, size) for size in (4, 4, 16))
        self.norm, self.sub = nn.LayerNorm(WIDTH), Attend()

    def forward(self, streams):
        flat = functional.rms_norm(streams.flatten(2), (4 * WIDTH,))
        x = (torch.sigmoid(self.read(flat)).unsqueeze(-1) * streams).sum(2)
        written = torch.sigmoid(self.write(flat)).unsqueeze(-1) * self.sub(self.norm(x)).unsqueeze(2)
        if not self.mixing:
            return written + streams
        return written + self.comb(flat).view(*streams.shape[:2], 4, 4).softmax(-1) @ streams


class Wide(nn.Module):
    def __init__(self, mixing):
        super().__init__()
        self.table, self.out = nn.Embedding(hand.VOCABULARY, WIDTH), nn.Linear(WIDTH, hand.VOCABULARY)
        self.blocks = nn.ModuleList(Streams(mixing) for _ in range(3))

    def forward(self, tokens):
        streams = self.table(tokens).unsqueeze(2).expand(-1, -1, 4, -1)
        for block in self.blocks:
            streams = block(streams)
        return self.out(streams.mean(2))


@pytest.mark.parametrize("mixing", [True, False])
def test_several_streams_are_read_and_written(mixing):
    found = name(Wide(mixing))
    expected = {
        "read.weight": "block.stream_read", "write.weight": "block.stream_write", "norm.weight": "attention.norm",
        "sub.q.weight": "attention.q_proj", "sub.o.weight": "attention.o_proj",
    }  # fmt: skip
    if mixing:
        expected["comb.weight"] = "block.stream_write"

    assert {parameter: found.weights[f"blocks.1.{parameter}"] for parameter in expected} == expected
    assert found.naming.parts[found.trace.ops[-1].id].layer is None
    assert len({part.layer for part in map(found.naming.parts.__getitem__, range(len(found.trace.ops)))} - {None}) == 3


def test_one_stream_is_no_bundle():
    assert not [path for path in name(Model(Attend)).paths if path.startswith("block.")]


def test_a_stack_that_begins_with_its_stream_twice_has_its_first_sum_too():
    class Reversible(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(hand.VOCABULARY, WIDTH), nn.Linear(2 * WIDTH, hand.VOCABULARY)
            self.soft, self.one, self.two = Attend(), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 96), nn.Linear(96, WIDTH)

        def forward(self, tokens):
            x = self.table(tokens)
            first, second = torch.cat([x, x], dim=-1).chunk(2, dim=-1)
            first = first + self.soft(self.one(second))
            second = second + self.down(functional.gelu(self.up(self.two(first))))
            return self.out(torch.cat([first, second], dim=-1))

    found = name(Reversible())

    assert {("attention.residual", "add"), ("mlp.residual", "add")} <= found.calls
    assert found.weights["one.weight"] == "attention.norm"


def test_learned_queries_are_a_stream():
    class Latent(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.seeds = nn.Embedding(hand.VOCABULARY, WIDTH), nn.Parameter(torch.randn(1, 3, WIDTH))
            self.soft, self.norm, self.out = Attend(), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 7)

        def forward(self, tokens):
            x, seeds = self.table(tokens), self.seeds.expand(tokens.shape[0], -1, -1)
            keys, values = (self.soft.heads(one(x)) for one in (self.soft.k, self.soft.v))
            scores = self.soft.heads(self.soft.q(self.norm(seeds))) @ keys.transpose(-1, -2)
            return self.out(seeds + self.soft.o(self.soft.merge(scores.softmax(-1) @ values)))

    found = name(Latent())

    assert found.weights["soft.q.weight"] == "cross_attention.q_proj"
    assert found.weights["soft.k.weight"] == "cross_attention.k_proj"
