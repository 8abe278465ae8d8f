"""Each token by itself: the plain and the gated feed-forward layer, and the sums and products around them.

Shapes: x is (..., D), inside (..., F).  D width, F ffn width. Weights are (out, in).
"""

from __future__ import annotations

__all__ = ["add", "add_all", "divide", "gated_mlp", "mlp", "multiply", "subtract", "summed"]


from typing import TYPE_CHECKING

from inspector.reference.activations import activate
from inspector.reference.projections import linear

if TYPE_CHECKING:
    from torch import Tensor


def add(residual: Tensor, x: Tensor) -> Tensor:
    """The residual connection: what entered the sublayer, plus what it made of it.

    >>> import torch
    >>> add(torch.tensor([1.0]), torch.tensor([2.0]))
    tensor([3.])

    Source: He et al. 2015 (arXiv 1512.03385), equation 1.
    """
    return residual + x


def add_all(first: Tensor, second: Tensor, third: Tensor, fourth: Tensor | None = None) -> Tensor:
    """What entered a block, plus what its sublayers made of it side by side.

    >>> import torch
    >>> add_all(torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([4.0]))
    tensor([7.])

    Source: GPT-J (Wang and Komatsuzaki 2021); PaLM, Chowdhery et al. 2022 (arXiv 2204.02311), section 2.
    """
    total = first + second + third
    return total if fourth is None else total + fourth


def subtract(x: Tensor, other: Tensor) -> Tensor:
    """The difference, element by element.

    >>> import torch
    >>> subtract(torch.tensor([3.0]), torch.tensor([1.0]))
    tensor([2.])
    """
    return x - other


def divide(x: Tensor, by: Tensor) -> Tensor:
    """The quotient, element by element.

    >>> import torch
    >>> divide(torch.tensor([3.0]), torch.tensor([2.0]))
    tensor([1.5000])
    """
    return x / by


def multiply(gate: Tensor, up: Tensor) -> Tensor:
    """The gate, element by element.

    >>> import torch
    >>> multiply(torch.tensor([0.5]), torch.tensor([4.0]))
    tensor([2.])
    """
    return gate * up


def mlp(
    x: Tensor, up_FD: Tensor, down_DF: Tensor, kind: str, up_bias: Tensor | None = None, down_bias: Tensor | None = None
) -> Tensor:
    """down(f(up(x))).

    >>> import torch
    >>> mlp(torch.tensor([1.0, -2.0]), torch.eye(2), torch.eye(2), "relu")
    tensor([1., 0.])

    Source: Vaswani et al. 2017 (arXiv 1706.03762), equation 2.
    """
    return linear(activate(linear(x, up_FD, up_bias), kind), down_DF, down_bias)


def gated_mlp(x: Tensor, gate_FD: Tensor, up_FD: Tensor, down_DF: Tensor, kind: str = "silu") -> Tensor:
    """down(f(gate(x)) · up(x)).

    >>> import torch
    >>> gated_mlp(torch.tensor([3.0, -2.0]), torch.eye(2), torch.eye(2), torch.eye(2), "relu")
    tensor([9., 0.])

    Source: Shazeer 2020 (arXiv 2002.05202), equation 6.
    """
    return linear(multiply(activate(linear(x, gate_FD), kind), linear(x, up_FD)), down_DF)


def summed(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The sum along some axes, which are gone afterwards.

    >>> import torch
    >>> summed(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), (0,))
    tensor([4., 6.])
    """
    return x.sum(axes)
