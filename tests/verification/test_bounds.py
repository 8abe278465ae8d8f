"""The bounds hold for honest arithmetic in every format, and are tight enough to be worth anything."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from inspector.reference.activations import ACTIVATIONS, activate
from inspector.reference.attention import attend, scores, softmax, weighted_sum
from inspector.reference.norms import layer_norm, rms_norm
from inspector.reference.projections import linear
from inspector.reference.rope import rope_table, rotate
from inspector.verification.bounds import BOUNDS, Arithmetic, Case, arithmetic_of, bounds_of
from inspector.verification.compare import against_bound

FORMATS = (torch.float32, torch.bfloat16, torch.float16)
CPU = torch.device("cpu")


def random(*shape, dtype, seed=0, scale=1.0):
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype)


def rho(function, name, got, operands, composite=False, **attributes):
    wide = {key: value.double() if value.is_floating_point() else value for key, value in operands.items()}
    expected = function(**wide, **attributes)
    expected = expected if isinstance(expected, tuple) else (expected,)
    case = Case(wide, attributes, expected, arithmetic_of(got.dtype, CPU), composite)
    bounds = bounds_of(name, case)
    assert isinstance(bounds, tuple), bounds
    return against_bound(got, expected[0], bounds[0]).check.rho


@pytest.mark.parametrize("dtype", FORMATS)
def test_linear(dtype):
    x, w, b = random(64, 256, dtype=dtype), random(96, 256, dtype=dtype, seed=1), random(96, dtype=dtype, seed=2)
    operands = {"x": x, "weight": w, "bias": b}
    honest = rho(linear, "projections.linear", functional.linear(x, w, b), operands)
    assert 0.002 < honest <= 1
    wrong = functional.linear(x, w, b) * (1 + 4 * float(torch.finfo(dtype).eps))
    assert rho(linear, "projections.linear", functional.linear(x, w), operands) > 1
    if dtype != torch.float32:
        assert rho(linear, "projections.linear", wrong, operands) > 1


@pytest.mark.parametrize("dtype", FORMATS)
def test_norms(dtype):
    x, w, b = random(64, 256, dtype=dtype, scale=3), random(256, dtype=dtype, seed=1), random(256, dtype=dtype, seed=2)
    affine = {"x": x, "weight": w, "bias": b}
    assert (
        0.01 < rho(layer_norm, "norms.layer_norm", functional.layer_norm(x, (256,), w, b, 1e-5), affine, eps=1e-5) <= 1
    )
    assert rho(layer_norm, "norms.layer_norm", functional.layer_norm(x, (256,), w, None, 1e-5), affine, eps=1e-5) > 1
    operands = {"x": x, "weight": w}
    assert 0.01 < rho(rms_norm, "norms.rms_norm", functional.rms_norm(x, (256,), w, 1e-6), operands, eps=1e-6) <= 1
    assert rho(rms_norm, "norms.rms_norm", functional.rms_norm(x + 0.5, (256,), w, 1e-6), operands, eps=1e-6) > 1


def test_norm_of_what_hardly_varies():
    """A mean far from zero cancels: the bound must allow for it and for no more."""
    for mean, spread in ((100, 1e-3), (3, 0.1)):
        x = random(8, 256, dtype=torch.float32) * spread + mean
        assert rho(layer_norm, "norms.layer_norm", functional.layer_norm(x, (256,), eps=1e-5), {"x": x}, eps=1e-5) <= 1
    assert rho(layer_norm, "norms.layer_norm", functional.layer_norm(x, (256,), eps=1e-3), {"x": x}, eps=1e-5) > 1


@pytest.mark.parametrize("dtype", FORMATS)
def test_softmax(dtype):
    x = random(4, 2, 8, 33, dtype=dtype, scale=3)
    x[0, 0, 0, 5:] = torch.finfo(dtype).min
    got = torch.softmax(x, -1, dtype=torch.float32).to(dtype)
    assert 0.001 < rho(softmax, "attention.softmax", got, {"scores_BHST": x}) <= 1
    leaking = got.clone()
    leaking[0, 0, 0, 9] = 1e-6
    assert rho(softmax, "attention.softmax", leaking, {"scores_BHST": x}) > 1


@pytest.mark.parametrize("dtype", FORMATS)
def test_contractions_of_attention(dtype):
    q, k = random(2, 3, 8, 16, dtype=dtype), random(2, 3, 9, 16, dtype=dtype, seed=1)
    assert 0 < rho(scores, "attention.scores", q @ k.mT, {"q_BHSK": q, "k_BHTK": k}) <= 1
    p = torch.softmax((q @ k.mT).float(), -1).to(dtype)
    assert 0 < rho(weighted_sum, "attention.weighted_sum", p @ k, {"weights_BHST": p, "v_BHTK": k}) <= 1
    assert rho(weighted_sum, "attention.weighted_sum", p @ k.flip(2), {"weights_BHST": p, "v_BHTK": k}) > 1


@pytest.mark.parametrize("dtype", FORMATS)
def test_kernel(dtype):
    q, k, v = (random(2, 3, 17, 16, dtype=dtype, seed=seed) for seed in range(3))
    allowed = torch.ones(17, 17, dtype=torch.bool).tril()
    operands = {"q_BHSK": q, "k_BHTK": k, "v_BHTK": v, "allowed": allowed}
    got = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    assert 0 < rho(attend, "attention.attend", got, operands, factor=0.25) <= 1
    other = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed, scale=0.27)
    assert rho(attend, "attention.attend", other, operands, factor=0.25) > 1
    unmasked = functional.scaled_dot_product_attention(q, k, v)
    assert rho(attend, "attention.attend", unmasked, operands, factor=0.25) > 1


@pytest.mark.parametrize("dtype", FORMATS)
def test_rotation(dtype):
    x = random(2, 3, 17, 16, dtype=dtype)
    cos, sin = (table.to(dtype) for table in rope_table(torch.arange(17)[None], dim=16))
    turned = torch.cat((-x[..., 8:], x[..., :8]), -1)
    operands = {"x_BHSK": x, "cos_B1SR": cos, "sin_B1SR": sin}
    assert 0 < rho(rotate, "rope.rotate", x * cos + turned * sin, operands) <= 1
    assert rho(rotate, "rope.rotate", x * cos - turned * sin, operands) > 1


@pytest.mark.parametrize("last", [17, 131_072])
def test_table_of_angles(last):
    """In single precision the error grows with the position; in half precision far positions collide."""
    ids = torch.arange(last - 16, last)[None]
    inverse = 10000.0 ** (-torch.arange(0, 16, 2, dtype=torch.float32) / 16)
    angles = (ids[..., None].float() * inverse).repeat(1, 1, 2)[:, None]
    operands = {"position_ids_BS": ids}
    assert rho(rope_table, "rope.rope_table", angles.cos(), operands, dim=16, theta=10000.0) <= 1
    coarse = (ids[..., None].bfloat16() * inverse.bfloat16()).repeat(1, 1, 2)[:, None]
    assert rho(rope_table, "rope.rope_table", coarse.cos().bfloat16(), operands, dim=16, theta=10000.0) > 1


SAME = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "relu": functional.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "mish": functional.mish,
}


def every_number(dtype):
    """All finite numbers of a 16-bit format, but for those of bfloat16 that overflow on the way (gelu, above 1e38)."""
    numbers = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    return numbers[numbers.abs() < 1e38]


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_activation_of_every_number(dtype, kind):
    x = every_number(dtype)
    assert x.numel() > 60_000
    assert rho(activate, "activations.activate", SAME[kind](x), {"x": x}, kind=kind) <= 1


@pytest.mark.parametrize("dtype", FORMATS)
def test_activations_are_told_apart(dtype):
    x = torch.linspace(-4, 4, 4001).to(dtype)
    for kind, other in (("gelu", "gelu_tanh"), ("silu", "gelu"), ("relu", "silu"), ("gelu_tanh", "quick_gelu")):
        got = ACTIVATIONS[other](x.double()).to(dtype)
        assert rho(activate, "activations.activate", got, {"x": x}, kind=kind) > 1


def test_written_out_gelu_has_its_own_bound():
    x = every_number(torch.bfloat16)
    x = x[x.abs() < 100]
    written = 0.5 * x * (1.0 + torch.tanh(0.7978845608028654 * (x + 0.044715 * torch.pow(x, 3.0))))
    name = "activations.activate"
    assert rho(activate, name, written, {"x": x}, kind="gelu_tanh") > 50
    assert rho(activate, name, written, {"x": x}, composite=True, kind="gelu_tanh") <= 1


def test_every_reference_function_of_the_forwards_has_a_bound(verified):
    from inspector.verification.values import function_of

    seen = set()
    for name in ("bert", "gpt2", "llama"):
        seen |= {row.verdict for row in verified(name).rows}
    assert "unchecked" not in seen
    assert function_of is not None
    assert len(BOUNDS) > 25


def test_a_sum_of_many_grows_with_its_root():
    one = Arithmetic(2.0**-8, 1e-40)
    assert one.gamma(4) == pytest.approx(4 * one.a, rel=0.01)
    assert one.gamma(1_000_000) < 1_000_000 * one.a / 100
