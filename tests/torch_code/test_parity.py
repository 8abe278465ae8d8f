"""Parity of code that is no class of transformers: nothing that is right fails, and a planted mistake is told."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody writes it

import inspector

X, IDS, QKV = ("x:BxSx32",), ("ids:BxS:int64<65",), ("q:BxSx16", "k:BxSx16", "v:BxSx16")
SRC, PAIR = ("src:BxSx32",), ("src:Bx9x32", "tgt:BxSx32")
FACTORIES = {
    **dict.fromkeys(("looped", "viewed", "fused", "kernel", "paired", "einsum"), IDS),
    **dict.fromkeys(("attention", "causal"), QKV),
    **dict.fromkeys(("no_projections", "single", "multihead"), X),
    **dict.fromkeys(("encoder_layer", "encoder"), SRC),
    "decoder": ("tgt:BxSx32", "memory:Bx9x32"),
    "transformer": PAIR,
    "multihead_alone": ("query:BxSx32", "key:BxSx32", "value:BxSx32"),
}
WIRING = "nothing claims where its inputs come from"


def failing(result):
    return [row.name for row in result.rows if row.verdict == "fail"]


@pytest.mark.parametrize("name", FACTORIES)
def test_what_is_right_does_not_fail(name):
    result = inspector.parity(f"tutorial:{name}", FACTORIES[name], batch=2, seq=11)
    counts = Counter(row.verdict for row in result.rows)

    assert failing(result) == []
    assert counts["unchecked"] <= 2
    assert counts["unclaimed"] >= 3


def test_a_result_that_leaves_with_its_axes_turned_is_read_so():
    """`MultiheadAttention` puts the sequence first inside, and the batch first again at its end."""
    result = inspector.parity("tutorial:multihead", X, batch=2, seq=11)
    (row,) = [row for row in result.rows if row.path == "attention.o_proj"]

    assert row.check.rho < 1
    assert row.check.worst.elements == 2 * 11 * 32


class TurnedTwice(nn.Module):
    """The output projection's result is looked at in another shape where it should be turned."""

    def __init__(self, right):
        super().__init__()
        self.mha, self.right = nn.MultiheadAttention(32, 4), right

    def forward(self, x):
        y = self.mha(x.transpose(0, 1), x.transpose(0, 1), x.transpose(0, 1), need_weights=False)[0]
        return x + (y.transpose(0, 1) if self.right else y.reshape(x.shape))


def test_a_view_instead_of_a_turn_is_told_against_the_right_one():
    right, same, wrong = (TurnedTwice(kind).eval() for kind in (True, True, False))

    assert failing(inspector.parity(right, X, against=same, batch=2, seq=11)) == []
    assert failing(inspector.parity(right, X, against=wrong, batch=2, seq=11)) == ["attention.residual"]


class Masked(nn.Module):
    """`nn.Transformer` as it is used for translation: a causal mask on the target side."""

    def __init__(self, hint, **options):
        super().__init__()
        self.inner, self.hint = nn.Transformer(32, 4, 2, 2, 64, **options), hint

    def forward(self, src, tgt):
        length = tgt.shape[1 if self.inner.batch_first else 0]
        mask = nn.Transformer.generate_square_subsequent_mask(length, dtype=tgt.dtype)
        return self.inner(src, tgt, tgt_mask=mask, tgt_is_causal=self.hint)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("hint", [True, False])
@pytest.mark.parametrize("options", [{"batch_first": True}, {"batch_first": True, "norm_first": True}, {}], ids=str)
def test_torchs_transformer_with_a_causal_target(hint, options):
    inputs = PAIR if options else ("src:9xBx32", "tgt:SxBx32")
    result = inspector.parity(Masked(hint, **options).eval(), inputs, batch=2, seq=11)

    assert failing(result) == []
    assert sum(row.path == "attention.fused" for row in result.rows) == 4


class Unscaled(nn.MultiheadAttention):
    """Somebody's faster attention, in which `1/sqrt(d)` was forgotten."""

    factor = 1.0

    def forward(self, query, key, value, **more):
        parts = F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=self.factor)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None


class Rescaled(Unscaled):
    factor = 8**-0.5


def encoder(attention):
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    layer.self_attn = attention(32, 4, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()


def test_a_scale_that_a_subclass_forgets_is_told_stage_by_stage():
    said = {
        kind: {row.culprit for row in inspector.parity(encoder(kind), SRC).rows if row.path == "attention.fused"}
        for kind in (nn.MultiheadAttention, Rescaled, Unscaled)
    }

    assert said[nn.MultiheadAttention] == said[Rescaled] == {WIRING}
    assert said[Unscaled] == {"nothing claims factor and where its inputs come from"}


def test_a_scale_that_a_subclass_forgets_is_told_against_torchs_own():
    right = inspector.parity(encoder(nn.MultiheadAttention), SRC, against=encoder(Rescaled))
    wrong = inspector.parity(encoder(nn.MultiheadAttention), SRC, against=encoder(Unscaled))

    assert failing(right) == []
    assert set(failing(wrong)) == {"attention.fused"}
    assert next(row.culprit for row in wrong.rows if row.verdict == "fail").startswith("factor is 1.0 in B and 0.35")


def test_declared_inputs_are_handed_over_by_place():
    def other(a, b, c):
        return torch.softmax(a @ b.mT / 4, -1) @ c

    assert failing(inspector.parity("tutorial:attention", QKV, against=other)) == []
