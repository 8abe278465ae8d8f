"""Feed-forwards, routers, norms, what comes before the blocks and after them: each in a model written by hand."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

hand = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "by_hand.py")))
Attend, Model, name, WIDTH, VOCABULARY = hand.Attend, hand.Model, hand.name, hand.WIDTH, hand.VOCABULARY
EXPERTS = 4


class Clamped(nn.Module):
    """Both projections are bounded; only one goes through the non-linearity."""

    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(WIDTH, 96), nn.Linear(WIDTH, 96), nn.Linear(96, WIDTH)

    def forward(self, x):
        return self.down(functional.silu(self.gate(x).clamp(max=7)) * self.up(x).clamp(-7, 7))


class Fitted(Clamped):
    """A projection of its own behind the down projection."""

    def __init__(self):
        super().__init__()
        self.fit = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return self.fit(super().forward(x))


class Updated(nn.Module):
    """Gate and up in one projection, to which two narrow ones add (LoRA)."""

    def __init__(self):
        super().__init__()
        self.both, self.down = nn.Linear(WIDTH, 192), nn.Linear(96, WIDTH)
        self.narrow, self.wide = nn.Linear(WIDTH, 8), nn.Linear(8, 192)

    def forward(self, x):
        gate, up = (self.both(x) + self.wide(self.narrow(x))).chunk(2, dim=-1)
        return self.down(functional.silu(gate) * up)


class Narrow(nn.Module):
    """Two projections with nothing between, beside the sublayers."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(WIDTH, 8), nn.Linear(8, WIDTH)

    def forward(self, x):
        return self.right(self.left(x))


class Experts(nn.Module):
    """Each token's best experts, all weights in one; `route` says how they are chosen."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(WIDTH, EXPERTS)
        self.up = nn.Parameter(torch.randn(EXPERTS, 64, WIDTH))
        self.down = nn.Parameter(torch.randn(EXPERTS, WIDTH, 64))

    def route(self, x):
        weights, chosen = self.router(x).softmax(-1).topk(1, dim=-1)
        return weights[..., 0], chosen[..., 0]

    def forward(self, x):
        return self.answer(x, *self.route(x))

    def answer(self, x, weights, chosen):
        up = torch.einsum("bsw,bsfw->bsf", x, self.up[chosen])
        return torch.einsum("bsf,bswf->bsw", functional.gelu(up), self.down[chosen]) * weights.unsqueeze(-1)


class Greatest(Experts):
    """The greatest score and its place from one call."""

    def route(self, x):
        return self.router(x).softmax(-1).max(dim=-1)


class Deep(Experts):
    """A router of two layers."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)

    def route(self, x):
        return super().route(functional.gelu(self.first(x)))


class Shared(Experts):
    """One expert for all, weighed by the router too."""

    def __init__(self):
        super().__init__()
        self.all = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        weights, chosen = self.route(x)
        return self.answer(x, weights, chosen) + functional.gelu(self.all(x)) * weights.unsqueeze(-1)


MOE = {"router.weight": "moe.router", "up": "moe.expert_up", "down": "moe.expert_down"}


@pytest.mark.parametrize(
    ("sublayer", "weights", "calls"),
    [
        (Clamped, {"gate.weight": "mlp.gate_proj", "up.weight": "mlp.up_proj", "down.weight": "mlp.down_proj"}, set()),
        (
            Fitted,
            {"up.weight": "mlp.up_proj", "down.weight": "mlp.down_proj", "fit.weight": "block.projection"},
            {("mlp.multiply", "mul")},
        ),
        (
            Updated,
            {
                "both.weight": "mlp.up_gate_proj",
                "down.weight": "mlp.down_proj",
                "narrow.weight": "block.adapter",
                "wide.weight": "block.adapter",
            },
            {("mlp.activation", "silu"), ("mlp.multiply", "mul")},
        ),
        (Narrow, {"left.weight": "block.adapter", "right.weight": "block.adapter"}, set()),
        (Experts, MOE, {("moe.top_k", "topk"), ("moe.combine", "mul"), ("moe.expert_activation", "gelu")}),
        (Greatest, MOE, {("moe.top_k", "max")}),
        (Deep, {**MOE, "first.weight": "moe.router"}, {("moe.router", "gelu")}),
        (Shared, {**MOE, "all.weight": "moe.shared_expert"}, {("moe.shared_expert", "mul"), ("moe.combine", "add")}),
    ],
)
def test_each_part_is_named(sublayer, weights, calls):
    found = name(Model(sublayer))

    assert {parameter: found.weights[f"sub.1.{parameter}"] for parameter in weights} == weights
    assert calls <= found.calls
    assert found.unknown == []


def test_a_maximum_whose_place_nobody_asks_for_chooses_nothing():
    class Peaked(Clamped):
        def forward(self, x):
            return self.down(self.up(x) / self.gate(x).max(dim=-1, keepdim=True).values)

    assert not [path for path in name(Model(Peaked)).paths if path.startswith("moe")]


class GatedNorm(nn.Module):
    """A norm whose result gates itself through a narrow feed-forward."""

    def __init__(self):
        super().__init__()
        self.norm, self.narrow, self.wide = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 8), nn.Linear(8, WIDTH)

    def forward(self, x):
        y = self.norm(x)
        return y * torch.sigmoid(self.wide(functional.silu(self.narrow(y))))


class TurnedNorm(nn.Module):
    """Channels stand in the middle, and are turned last for the norm alone."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x):
        return self.norm(x.transpose(1, 2).contiguous().permute(0, 2, 1)).permute(0, 2, 1).transpose(1, 2)


class AffineLater(nn.Module):
    """The call knows no weight; weight and bias follow."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(WIDTH)), nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x):
        return functional.layer_norm(x, (WIDTH,)) * self.weight + self.bias


@pytest.mark.parametrize("norm", [GatedNorm, TurnedNorm, AffineLater])
def test_a_norm_is_one_part_with_all_that_is_its_own(norm):
    model = Model(Attend)
    model.norms = nn.ModuleList(norm() for _ in range(2))
    found = name(model)

    assert {role for key, role in found.weights.items() if key.startswith("norms.1.")} == {"attention.norm"}
    assert found.weights["sub.1.q.weight"] == "attention.q_proj"


def test_one_norm_right_behind_another_is_its_own():
    """Both cast: the cast that ends the first begins not the second, or neither would be named."""

    class Twice(nn.Module):
        def forward(self, x, tokens):
            x = x.to(torch.float64)
            return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)).to(torch.float32)

    class Rms(nn.Module):
        def forward(self, x):
            y = x.to(torch.float64)
            return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)).to(torch.float32)

    model = Model(Attend, before=Twice())
    model.norms = nn.ModuleList(Rms() for _ in range(2))
    found = name(model)

    assert ("embedding.norm", "rsqrt") in found.calls
    assert ("attention.norm", "rsqrt") in found.calls
    assert found.unknown == []


class Replaced(nn.Module):
    def __init__(self):
        super().__init__()
        self.other = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x, tokens):
        return torch.where((tokens == 5).unsqueeze(-1), self.other, x)


class Last(nn.Module):
    """One vector for each sequence: that of the token with the greatest id."""

    def forward(self, x, tokens):
        return x[torch.arange(x.shape[0]), tokens.argmax(-1)]


class Mean(nn.Module):
    def forward(self, x, tokens):
        return x.sum(1)


class Boxes(nn.Module):
    """Where a word stands on its page: two sides of its box by one table, and its width by another."""

    def __init__(self):
        super().__init__()
        self.side, self.wide = nn.Embedding(1000, WIDTH), nn.Embedding(1000, WIDTH)

    def forward(self, x, tokens):
        box = torch.stack([tokens, tokens * 2], dim=-1)
        one, two = box[:, :, 0], box[:, :, 1]
        return x + self.side(one) + self.side(two) + self.wide(two - one)


class Prompted(nn.Module):
    """Prompts that are counted stand before the words, and are rows of the same table; kinds of token are marked."""

    def __init__(self):
        super().__init__()
        self.words, self.kind = nn.Embedding(VOCABULARY + 8, WIDTH), nn.Embedding(3, WIDTH)

    def forward(self, x, tokens):
        prompts = torch.arange(VOCABULARY, VOCABULARY + 8).repeat(tokens.shape[0], 1)
        kinds = torch.cat([torch.zeros_like(prompts), (tokens > 5).long()], dim=1)
        return self.words(torch.cat([prompts, tokens], dim=1)) + self.kind(kinds)


def test_places_on_a_page_are_no_words():
    found = name(Model(Attend, before=Boxes()))

    assert {found.weights[f"before.{table}.weight"] for table in ("side", "wide")} == {"embedding.position"}
    assert found.weights["table.weight"] == "embedding.token"


def test_prompts_before_the_words_make_no_positions_of_them():
    found = name(Model(Attend, before=Prompted()))

    assert found.weights["before.words.weight"] == "embedding.token"
    assert found.weights["before.kind.weight"] == "embedding.segment"


@pytest.mark.parametrize(
    ("parts", "calls"),
    [
        ({"before": Replaced()}, {("embedding.replace", "where"), ("embedding.replace", "eq")}),
        ({"after": Last()}, {("head.pooler", "getitem"), ("head.pooler", "argmax")}),
        ({"after": Mean()}, {("head.pooler", "sum")}),
    ],
)
def test_before_and_after_the_blocks(parts, calls):
    found = name(Model(Attend, **parts))

    assert calls <= found.calls
    assert found.unknown == []


def test_scaled_sums_and_a_scaled_stream():
    class Scaled(Model):
        def __init__(self):
            super().__init__(Attend)
            self.scale, self.offset = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(WIDTH))

        def forward(self, tokens):
            x = self.table(tokens)
            for norm, sub in zip(self.norms, self.sub, strict=True):
                x = ((x + self.offset) * 0.7 + sub(norm(x)) * 0.3) * self.scale
            return self.out(self.last(x))

    found = name(Scaled())

    assert found.weights["offset"] == "block.scale"
    assert {("block.scale", "mul"), ("attention.residual", "add")} <= found.calls
    assert found.unknown == []
