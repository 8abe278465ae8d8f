"""Several steps that ran as one: what rounding in the first may become in the last."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from inspector.reference.activations import activate
from inspector.reference.feedforward import multiply
from inspector.reference.layout import viewed
from inspector.reference.norms import layer_norm, rms_norm
from inspector.reference.projections import linear
from inspector.reference.steps import Source, Step
from inspector.verification.values import judged, values_of


def step(index: int, function, numbers=(), **sources: Source) -> Step:
    qualified = f"{function.__module__}:{function.__qualname__}"
    return Step(index, "mlp.activation", 0, tuple(sources.items()), tuple(numbers), qualified)


def rho(steps: list[Step], operands: dict[Source, torch.Tensor], got: torch.Tensor) -> float:
    outcome = judged(values_of(steps, operands, {}, composite=True), got).outcome
    assert outcome is not None
    return outcome.check.rho


X, W, B, G = (Source("weight", name) for name in "xwbg")


def numbers(dtype: torch.dtype) -> dict[Source, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {X: (64, 48), W: (32, 48), B: (32,), G: (32,)}
    made = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {name: (x * x.shape[-1] ** -0.5 if name == W else x).to(dtype) for name, x in made.items()}


CHAIN = [
    step(0, linear, [("layout", "out_in")], x=X, weight=W, bias=B),
    step(1, activate, [("kind", "gelu")], x=Source("step", 0)),
    step(2, layer_norm, [("eps", 1e-5)], x=Source("step", 1), weight=G, bias=B),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_projection_a_function_and_a_norm(dtype):
    given = numbers(dtype)
    inner = functional.gelu(functional.linear(given[X], given[W], given[B]))
    got = functional.layer_norm(inner, (32,), given[G], given[B], 1e-5)

    assert 0 < rho(CHAIN, given, got) <= 1
    assert rho(CHAIN, given, functional.layer_norm(inner, (32,), given[G], None, 1e-5)) > 1


def test_another_function_inside_a_chain_is_seen():
    given = numbers(torch.float32)
    inner = functional.gelu(functional.linear(given[X], given[W], given[B]), approximate="tanh")
    got = functional.layer_norm(inner, (32,), given[G], given[B], 1e-5)

    assert rho(CHAIN, given, got) > 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gate_and_product(dtype):
    given = numbers(dtype)
    steps = [
        step(0, linear, [("layout", "out_in")], x=X, weight=W),
        step(1, activate, [("kind", "sigmoid")], x=Source("step", 0)),
        step(2, multiply, gate=Source("step", 0), up=Source("step", 1)),
        step(3, rms_norm, [("eps", 1e-6), ("offset", 1.0)], x=Source("step", 2), weight=G),
    ]
    flat = functional.linear(given[X], given[W])
    inner = (flat * flat.sigmoid()).float()
    root = torch.rsqrt(inner.pow(2).mean(-1, keepdim=True) + 1e-6)

    assert rho(steps, given, (inner * root * (1 + given[G].float())).to(dtype)) <= 1
    assert rho(steps, given, (inner * root * given[G].float()).to(dtype)) > 1


def test_only_views_must_be_exact():
    given = numbers(torch.float32)
    steps = [step(0, viewed, [("shape", (32, 96))], x=X), step(1, viewed, [("shape", (96, 32))], x=Source("step", 0))]

    assert rho(steps, given, given[X].reshape(96, 32)) == 0
    assert rho(steps, given, given[X].reshape(96, 32) * (1 + 2**-23)) > 1
