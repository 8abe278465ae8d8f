"""The non-linearities, each a function of one number, by the names that facts use.

Shapes: any; every function is elementwise.
"""

from __future__ import annotations

__all__ = ["ACTIVATIONS", "activate", "clamp", "exponential", "known_as", "shift"]

import math
from collections.abc import Callable

import torch
from torch import Tensor


def _gelu(x: Tensor) -> Tensor:
    """x·Φ(x), Φ the distribution function of the normal law (Hendrycks and Gimpel 2016, arXiv 1606.08415)."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _gelu_tanh(x: Tensor) -> Tensor:
    """The approximation by tanh of the same paper, section 2."""
    return x * 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def _sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def _relu(x: Tensor) -> Tensor:
    return torch.clamp(x, min=0)


def _softplus(x: Tensor) -> Tensor:
    """ln(1 + e^x), written so that no exponent is positive."""
    return torch.log1p(torch.exp(-x.abs())) + _relu(x)


def _laplace(x: Tensor) -> Tensor:
    """The Laplace attention function of MEGA (arXiv 2209.10655), with the numbers its code rounds to."""
    return 0.5 * (1 + torch.erf((x - 0.707107) / (0.282095 * math.sqrt(2))))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "gelu_10": lambda x: torch.clamp(_gelu(x), -10, 10),
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "silu": lambda x: x * _sigmoid(x),
    "relu": _relu,
    "relu2": lambda x: _relu(x) * _relu(x),
    "relu6": lambda x: torch.clamp(x, 0, 6),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "sigmoid": _sigmoid,
    "tanh": torch.tanh,
    "softplus": _softplus,
    "sqrtsoftplus": lambda x: torch.sqrt(_softplus(x)),
    "mish": lambda x: x * torch.tanh(_softplus(x)),
    "hardswish": lambda x: x * torch.clamp(x + 3, 0, 6) / 6,
    "elu": lambda x: torch.where(x > 0, x, torch.expm1(x)),
    "laplace": _laplace,
    "linear": lambda x: x,
}
"""Name of a function, as facts give it -> the function."""

_SPELLINGS = {
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_python": "gelu",
    "swish": "silu",
}
"""What configs call the same functions. `gelu_fast` and `gelu_accurate` round sqrt(2/pi) at another digit."""


def activate(x: Tensor, kind: str) -> Tensor:
    """One of the non-linearities, by its name.

    >>> activate(torch.tensor([-1.0, 2.0]), "relu2")
    tensor([0., 4.])

    ValueError for a name that is not in `ACTIVATIONS`.
    """
    if kind not in ACTIVATIONS:
        raise ValueError(f"an activation is one of {', '.join(ACTIVATIONS)}, but got {kind}")
    return ACTIVATIONS[kind](x)


def known_as(spelling: str) -> str | None:
    """The name of what a config calls `spelling`; None for what is not known here.

    >>> known_as("gelu_new"), known_as("silu"), known_as("xielu")
    ('gelu_tanh', 'silu', None)
    """
    name = _SPELLINGS.get(spelling, spelling)
    return name if name in ACTIVATIONS else None


def clamp(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Nothing below `low` or above `high`.

    >>> clamp(torch.tensor([-9.0, 1.0, 9.0]), high=7.0)
    tensor([-9.,  1.,  7.])
    """
    return torch.clamp(x, low, high)


def shift(x: Tensor, by: float) -> Tensor:
    """x plus a number.

    >>> shift(torch.tensor([1.0]), 1.0)
    tensor([2.])
    """
    return x + by


def exponential(x: Tensor) -> Tensor:
    """e^x: what makes a decay of its logarithm (Gu and Dao 2023, arXiv 2312.00752, section 3.6).

    >>> exponential(torch.tensor([0.0]))
    tensor([1.])
    """
    return torch.exp(x)
