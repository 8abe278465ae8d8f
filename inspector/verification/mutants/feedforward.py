"""Mistakes in the feed-forward layer and in the sums around both sublayers: activation, gate, residual.

Shapes: any; everything is elementwise.
"""

from __future__ import annotations

__all__ = ["FEEDFORWARD"]

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from inspector.verification.mutants.mutant import Mutant
from inspector.verification.mutants.seen import seen_in

_ACTIVATE = ("activations.activate",)
_MULTIPLY = ("feedforward.multiply",)
_UP = ("mlp.up_proj", "mlp.split_up_gate")
"""What the up projection makes is then read by nobody."""
_ADD = ("feedforward.add",)

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": functional.silu,
    "relu": functional.relu,
    "linear": lambda x: x,
}
"""As a model would call them."""


def _instead(other: str, x: Tensor, kind: str) -> Tensor | None:
    return None if other == kind else _FUNCTIONS[other](x)


def _twice(x: Tensor, kind: str) -> Tensor | None:
    function = _FUNCTIONS.get(kind)
    return None if function is None or kind in ("relu", "linear") else function(function(x))


_ACTIVATIONS = (
    Mutant(
        "activation-gelu-by-erf",
        _ACTIVATE,
        "the exact gelu instead",
        seen_in(32),
        partial(_instead, "gelu"),
        number="function",
    ),
    Mutant(
        "activation-gelu-by-tanh",
        _ACTIVATE,
        "gelu by its approximation instead",
        seen_in(32),
        partial(_instead, "gelu_tanh"),
        number="function",
    ),
    Mutant(
        "activation-quick-gelu",
        _ACTIVATE,
        "gelu by a sigmoid instead",
        seen_in(32),
        partial(_instead, "quick_gelu"),
        number="function",
    ),
    Mutant("activation-silu", _ACTIVATE, "silu instead", seen_in(32), partial(_instead, "silu"), number="function"),
    Mutant("activation-relu", _ACTIVATE, "relu instead", seen_in(32), partial(_instead, "relu"), number="function"),
    Mutant(
        "activation-left-out",
        _ACTIVATE,
        "no function at all",
        seen_in(32),
        partial(_instead, "linear"),
        number="function",
    ),
    Mutant("activation-twice", _ACTIVATE, "the function of the function", seen_in(32), _twice, number="function"),
)

_GATES = (
    Mutant(
        "gate-not-multiplied",
        _MULTIPLY,
        "the gate is handed on by itself",
        "https://github.com/huggingface/transformers/pull/29402",
        lambda gate, up: gate,
        told_at=_UP,
    ),
    Mutant("gate-added", _MULTIPLY, "gate and up are added", seen_in(42), lambda gate, up: gate + up),
    Mutant(
        "gate-squared",
        _MULTIPLY,
        "the gate is multiplied with itself",
        seen_in(42),
        lambda gate, up: gate * gate,
        told_at=_UP,
    ),
)

_RESIDUALS = (
    Mutant("residual-missing", _ADD, "what entered the sublayer is not added", seen_in(42), lambda residual, x: x),
    Mutant(
        "residual-alone", _ADD, "what the sublayer made is not added", seen_in(42), lambda residual, x: residual + x * 0
    ),
    Mutant(
        "residual-doubled",
        _ADD,
        "what entered the sublayer is added twice",
        seen_in(42),
        lambda residual, x: residual + x + residual,
    ),
    Mutant(
        "residual-subtracted",
        _ADD,
        "what entered the sublayer is taken off",
        seen_in(42),
        lambda residual, x: x - residual,
    ),
    Mutant(
        "residual-in-half-precision",
        _ADD,
        "the sum is rounded to bfloat16",
        seen_in(7),
        lambda residual, x: (residual.to(torch.bfloat16) + x.to(torch.bfloat16)).to(x.dtype),
        halves=True,
    ),
)

FEEDFORWARD = (*_ACTIVATIONS, *_GATES, *_RESIDUALS)
