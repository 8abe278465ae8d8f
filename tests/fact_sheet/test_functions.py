"""Which function a chain of ops computes, and how a vector is turned."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from inspector.fact_sheet.scene import Scene
from inspector.records import ModelInfo, Scenario, Trace
from inspector.roles.flow import Flow
from inspector.roles.rope import find_ropes
from inspector.source.live import Function
from inspector.stage_graph.functions import function_of
from inspector.stage_graph.lanes import Turned, turned
from inspector.tracing.run import watch


def _cutoff(x):
    """What the largest few lie above, were the values of a token normal."""
    return x.mean(-1, keepdim=True) + x.std(-1, keepdim=True, unbiased=False) * 1.6


SPELLINGS = {
    "gelu": [functional.gelu, lambda x: x * 0.5 * (1.0 + torch.erf(x / 2**0.5))],
    "gelu_tanh": [
        lambda x: functional.gelu(x, approximate="tanh"),
        lambda x: 0.5 * x * (1.0 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3.0)))),
        lambda x: x * 0.5 * (1.0 + torch.tanh(0.79788456 * x * (1 + 0.044715 * x * x))),
    ],
    "quick_gelu": [lambda x: x * torch.sigmoid(1.702 * x)],
    "quick_gelu clamped": [lambda x: (c := x.clamp(max=7.0)) * torch.sigmoid(c * 1.702)],
    "silu softcapped": [lambda x: 4.0 * torch.tanh(x / 4.0) * torch.sigmoid(x)],
    "gelu_tanh sparse": [lambda x: functional.gelu(functional.relu(x - _cutoff(x)), approximate="tanh")],
    "silu": [functional.silu, lambda x: x * torch.sigmoid(x), lambda x: x / (1 + torch.exp(-x))],
    "relu": [functional.relu, lambda x: x.clamp(min=0)],
    "relu2": [lambda x: functional.relu(x) ** 2, lambda x: torch.square(functional.relu(x))],
    "linear": [lambda x: x * 1.0],
}


def trace(function, **inputs):
    run = watch(Function(lambda x: function(x)), inputs)  # noqa: PLW0108 - torch says `input` where this says `x`
    return Trace(ModelInfo("f", None, "F", 0, 0), Scenario(), run.seen.ops, run.seen.values, run.inputs, run.outputs)


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_function_is_known_however_it_is_spelled(name):
    found = [function_of(trace(spelling, x=torch.randn(2, 3)).ops) for spelling in SPELLINGS[name]]

    assert found == [name] * len(found)


@pytest.mark.parametrize(
    "other",
    [
        lambda x: x * torch.sigmoid(1.5 * x),
        torch.sin,
        lambda x: x.clamp(max=3),
        lambda x: 4.0 * torch.tanh(x / 5.0) * torch.sigmoid(x),
        lambda x: functional.gelu(functional.relu(x - x.mean(-1, keepdim=True))),
    ],
)
def test_what_is_no_known_function_is_not_called_one(other):
    assert function_of(trace(other, x=torch.randn(2, 3)).ops) in (None, "linear clamped")


def halves(x, cos, sin):
    a, b = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return x * cos + torch.cat((-b, a), -1) * sin


def neighbours(x, cos, sin):
    turned_ = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
    return x * cos + turned_ * sin


def chunks(x, cos, sin):
    a, b = x.chunk(2, -1)
    half = cos.shape[-1] // 2
    cos, sin = cos[..., :half], sin[..., :half]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def paired_first(x, cos, sin):
    rows, width = x.shape[:-1], x.shape[-1]
    x = x.view(*rows, width // 2, 2).transpose(-1, -2).reshape(*rows, width)
    return halves(x, cos, sin)


def a_part(x, cos, sin):
    front, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    return torch.cat((halves(front, cos, sin), rest), -1)


TURNS = [
    (halves, 8, Turned(8, 8, "half")),
    (chunks, 8, Turned(8, 8, "half")),
    (neighbours, 8, Turned(8, 8, "interleaved")),
    (paired_first, 8, Turned(8, 8, "interleaved")),
    (a_part, 4, Turned(4, 8, "half")),
]


@pytest.mark.parametrize(("turn", "size", "expected"), TURNS, ids=[turn.__name__ for turn, _, _ in TURNS])
def test_a_layout_is_read_from_what_is_computed(turn, size, expected):
    weight = torch.nn.Parameter(torch.randn(8, 8))
    table = torch.randn(5, size)

    def model(x):
        return turn(functional.linear(x, weight).view(2, 5, 8), table, table + 1) @ weight

    module = Function(model)
    module.weight = weight
    run = watch(module, {"x": torch.randn(2, 5, 8)})
    seen = Trace(ModelInfo("f", None, "F", 0, 0), Scenario(), run.seen.ops, run.seen.values, run.inputs, run.outputs)
    flow = Flow(seen)

    assert [turned(flow, rope) for rope in find_ropes(flow)] == [expected]


def test_a_scene_of_nothing_has_no_kinds():
    empty = Trace(ModelInfo("none", None, "None", 0, 0), Scenario(), (), (), (), ())

    assert Scene(empty).kinds == ()
