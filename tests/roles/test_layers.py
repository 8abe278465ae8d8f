"""Which block a sublayer belongs to: each model written by hand has one thing that plain counting gets wrong."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

hand = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "by_hand.py")))
Attend, name, WIDTH, VOCABULARY = hand.Attend, hand.name, hand.WIDTH, hand.VOCABULARY


class Feed(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, 96), nn.Linear(96, WIDTH)

    def forward(self, x):
        return self.down(functional.gelu(self.up(x)))


class FlatGate(nn.Module):
    """All tokens in one row; what gives them that shape is read by two projections, and so ends the norm."""

    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(WIDTH, 96), nn.Linear(WIDTH, 96), nn.Linear(96, WIDTH)

    def forward(self, x):
        flat = x.view(-1, WIDTH)
        return self.down(functional.silu(self.gate(flat)) * self.up(flat)).view(x.shape)


class Convolve(nn.Module):
    """The convolution of a Conformer: gated, depthwise, and projected back."""

    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.conv = nn.Conv1d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)

    def forward(self, x):
        x = functional.glu(self.into(x), dim=-1).transpose(1, 2)
        return self.out(functional.silu(self.conv(x)).transpose(1, 2))


class Between(nn.Module):
    """Attention whose keys and values come from somewhere else."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))

    def forward(self, x, others):
        heads = lambda y: y.view(y.shape[0], y.shape[1], 4, -1).transpose(1, 2)  # noqa: E731 - said once
        scores = heads(self.q(x)) @ heads(self.k(others)).transpose(-1, -2) * 0.3
        mixed = scores.softmax(-1) @ heads(self.v(others))
        return self.o(mixed.transpose(1, 2).reshape(x.shape))


class Stack(nn.Module):
    """Tokens, then what `run` does with parts and norms, then a head. `parts`: kinds of sublayers, in order."""

    parts: tuple[type[nn.Module], ...] = ()

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, WIDTH)
        self.part = nn.ModuleList(kind() for kind in self.parts)
        self.norm = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in self.parts)
        self.last, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def sub(self, place, x, *others):
        return self.part[place](self.norm[place](x), *others)

    def run(self, x):
        for place in range(len(self.parts)):
            x = x + self.sub(place, x)
        return x

    def forward(self, tokens):
        return self.out(self.last(self.run(self.table(tokens))))


class Plain(Stack):
    """Nothing unusual."""

    parts = (Attend, Feed) * 3


class SharedNorm(Stack):
    """Attention and feed-forward side by side read one norm, and are added one after the other."""

    parts = (Attend, FlatGate) * 2

    def run(self, x):
        for place in (0, 2):
            normed = self.norm[place](x)
            x = x + self.part[place](normed) + self.part[place + 1](normed)
        return x


class Macaron(Stack):
    """A Conformer: half a feed-forward before the attention, a convolution and the other half behind it."""

    parts = (Feed, Attend, Convolve, Feed) * 3


class LeadingFeed(Stack):
    """One feed-forward before the first block, and no such thing before the others."""

    parts = (Feed, *(Attend, Feed) * 3)


class Hybrid(Stack):
    """The sum of a shared attention goes into the next sublayer alone: the stream goes on without it."""

    parts = (Convolve, Attend, Convolve, Convolve)

    def run(self, x):
        x = x + self.sub(0, x)
        x = x + self.sub(2, x + self.sub(1, x))
        return x + self.sub(3, x)


class Reversible(Stack):
    """Two streams, of which each reads the other."""

    parts = (Attend, Feed) * 2

    def run(self, x):
        one, two = torch.chunk(torch.cat([x, x], dim=-1), 2, dim=-1)
        for place in (0, 2):
            one = one + self.sub(place, two)
            two = two + self.sub(place + 1, one)
        return one + two


class SideBySide(Stack):
    """Two streams whose attentions share their scores (LiLT), each with a feed-forward of its own."""

    parts = (Attend, Attend, Feed, Feed) * 2

    def run(self, x):
        one, two = x, x * 2.0
        for place in (0, 4):
            normed = self.norm[place](one), self.norm[place + 1](two)
            parts = self.part[place], self.part[place + 1]
            scores = [part.scores(y) for part, y in zip(parts, normed, strict=True)]
            both = scores[0] + scores[1]
            first, second = (part.o(part.merge(part.attend(y, both))) for part, y in zip(parts, normed, strict=True))
            one, two = one + first, two + second
            one, two = one + self.sub(place + 2, one), two + self.sub(place + 3, two)
        return one + two


class Cycles(Stack):
    """One stack after another, and between them a sum with what they began with."""

    parts = (Attend, Feed) * 4

    def run(self, x):
        start = x
        for place in range(4):
            x = x + self.sub(place, x)
        x = start + functional.layer_norm(x, (WIDTH,))
        for place in range(4, 8):
            x = x + self.sub(place, x)
        return x


class CrossFirst(Stack):
    """A decoder whose blocks look at the encoder before they look at themselves."""

    parts = (*(Attend, Feed) * 2, *(Between, Attend, Feed) * 2)

    def run(self, x):
        y = x.flip(1) * 0.5
        for place in range(4):
            x = x + self.sub(place, x)
        for place in (4, 7):
            y = y + self.sub(place, y, x)
            y = y + self.sub(place + 1, y)
            y = y + self.sub(place + 2, y)
        return y


class Refined(Stack):
    """Behind the blocks the answer is refined once more, in a stream of its own."""

    parts = (*(Attend, Feed) * 2, Feed)

    def run(self, x):
        for place in range(4):
            x = x + self.sub(place, x)
        answer = functional.layer_norm(x, (WIDTH,)) @ self.table.weight[:WIDTH]
        return answer + self.part[4](answer)


LAYERS = [
    (Plain, 3), (SharedNorm, 2), (Macaron, 3), (LeadingFeed, 4), (Hybrid, 3), (Reversible, 2), (SideBySide, 2),
    (Cycles, 4), (CrossFirst, 4), (Refined, 2),
]  # fmt: skip


@pytest.mark.parametrize(("model", "layers"), LAYERS, ids=[model.__name__ for model, _ in LAYERS])
def test_blocks_are_counted(model, layers):
    found = name(model())
    numbers = {part.layer for op in found.trace.ops if (part := found.naming.parts[op.id]).layer is not None}

    assert numbers == set(range(layers))


def test_every_block_of_a_conformer_has_the_same_sublayers():
    found = name(Macaron())
    parts = [found.naming.parts[residual.op] for residual in found.naming.residuals]
    sections = [[part.section for part in parts if part.layer == layer] for layer in range(3)]

    assert sections == [["mlp", "attention", "ssm", "mlp"]] * 3


def test_what_stands_between_two_stacks_is_in_no_block():
    found = name(Cycles())
    parts = [found.naming.parts[residual.op] for residual in found.naming.residuals]

    assert [part.layer for part in parts if part.path == "block.residual"] == [None]


class Biased(Attend):
    """A bias that the tokens themselves give, the same in every block."""

    def forward(self, x, bias):
        scores = self.scores(x) + bias
        return self.o(self.merge(self.attend(x, scores)))


class OneBias(Stack):
    """The second block's scores depend on the bias already, by way of the first: yet its sum is no residual."""

    parts = (Biased, Feed) * 2

    def __init__(self):
        super().__init__()
        self.far = nn.Linear(WIDTH, 4)

    def run(self, x):
        bias = self.far(x).transpose(1, 2)[:, :, None].softmax(-1).log()
        for place in (0, 2):
            x = x + self.sub(place, x, bias)
            x = x + self.sub(place + 1, x)
        return x


def test_a_bias_on_scores_is_no_residual():
    found = name(OneBias())

    assert len(found.naming.residuals) == 4
    assert {found.naming.parts[residual.op].layer for residual in found.naming.residuals} == {0, 1}


class Cut(Stack):
    """The norm of each sum is cut to the words, of which there are as many (LUKE): the stream goes on from there."""

    parts = (Attend, Feed) * 2

    def run(self, x):
        for place in range(4):
            x = self.norm[place](x + self.part[place](x))[:, : x.shape[1]]
        return x


def test_a_norm_whose_result_is_cut_is_the_sublayers():
    found = name(Cut())
    norms = [found.weights[f"norm.{place}.weight"] for place in range(3)]

    assert norms == ["attention.post_norm", "mlp.post_norm", "attention.post_norm"]


class Root(nn.Module):
    """A norm written out."""

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Canvas(Stack):
    """What is written is drawn from a table of its own, and looks at the words from the first block on."""

    parts = (*(Attend, Feed) * 2, *(Between, Feed) * 2)

    def __init__(self):
        super().__init__()
        self.drawn, self.root = nn.Parameter(torch.randn(1, 6, WIDTH)), Root()

    def run(self, x):
        for place in range(4):
            x = x + self.sub(place, x)
        y = self.drawn.repeat(x.shape[0], 1, 1)
        for place in (4, 6):
            y = y + self.part[place](self.root(y), x)
            y = y + self.sub(place + 1, y)
        return y


def test_a_stream_that_begins_with_a_table_has_its_first_block():
    found = name(Canvas())
    cross = [found.naming.parts[one.op] for one in found.naming.residuals if one.skip in found.naming.trunk]

    assert [part.section for part in cross] == ["attention", "mlp"] * 2 + ["cross_attention", "mlp"] * 2
    assert [part.layer for part in cross] == [0, 0, 1, 1, 2, 2, 3, 3]


class SharedLatent(Stack):
    """What the words are narrowed to once, all blocks of the other stream look at."""

    parts = (*(Attend, Feed) * 2, *(Between, Attend, Feed) * 2)

    def __init__(self):
        super().__init__()
        self.latent = nn.Linear(WIDTH, WIDTH)
        self.inner = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))

    def run(self, x):
        y = x.flip(1) * 0.5
        for place in range(4):
            x = x + self.sub(place, x)
        latent = self.latent(x).reshape(x.shape[0], -1, WIDTH)
        for place, norm in zip((4, 7), self.inner, strict=True):
            y = y + self.sub(place, y, norm(latent))
            y = y + self.sub(place + 1, y)
            y = y + self.sub(place + 2, y)
        return y


def test_every_block_that_reads_a_latent_of_another_stream_looks_across():
    found = name(SharedLatent())

    assert [found.weights[f"part.{place}.k.weight"].partition(".")[0] for place in (4, 7)] == ["cross_attention"] * 2
    assert found.weights["latent.weight"] == "cross_attention.kv_down"
