"""What a number format and a device do to a number, and one evaluation of a reference function as a case for bounds."""

from __future__ import annotations

__all__ = ["SINGLE", "Arithmetic", "Case", "arithmetic_of"]

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

SINGLE = 2.0**-24
"""Unit roundoff of single precision, in which all kernels accumulate."""

_LAMBDA = 8.0


class Arithmetic(NamedTuple):
    """What a number format and a device do to a number.

    u: unit roundoff of the format. tiny: its smallest subnormal. a: unit roundoff of accumulations. product: error of a
    product's operands beyond that (TF32), as a share of |x||W|.
    """

    u: float
    tiny: float
    a: float = SINGLE
    product: float = 0.0

    def gamma(self, terms: int) -> float:
        """What a sum of so many terms may be off by, as a share of the sum of their magnitudes."""
        worst = terms * self.a / (1 - terms * self.a)
        return min(worst, _LAMBDA * math.sqrt(terms) * self.a + terms * self.a**2) + self.product


def arithmetic_of(dtype: torch.dtype, device: torch.device) -> Arithmetic:
    """The arithmetic of a format on a device, with torch's flags as they are now.

    >>> arithmetic_of(torch.bfloat16, torch.device("cpu")).u
    0.00390625

    float64 counts as float32: transformers computes norms, softmax and rotations in single precision whatever the
    model's format is.
    """
    dtype = torch.float32 if dtype == torch.float64 else dtype
    info = torch.finfo(dtype)
    u = info.eps / 2
    product = 0.0
    if device.type == "cuda":
        matmul = torch.backends.cuda.matmul
        if dtype == torch.float32 and matmul.allow_tf32:
            product = 2 * 2.0**-11
        if (reduced := _REDUCED.get(dtype)) and getattr(matmul, reduced):
            product = _SPLITS * u
    return Arithmetic(u, max(info.smallest_normal * info.eps, _FLUSHED), SINGLE, product)


_FLUSHED = float(torch.finfo(torch.float32).smallest_normal)
"""Kernels may take subnormal numbers of single precision for zero."""

_SPLITS = 4
"""Partial sums of a split contraction that are handed over in the model's own format, where torch allows it."""

_REDUCED = {
    torch.float16: "allow_fp16_reduced_precision_reduction",
    torch.bfloat16: "allow_bf16_reduced_precision_reduction",
}


class Case(NamedTuple):
    """One evaluation: the operands in float64, the claimed numbers, what was expected, and the arithmetic.

    composite: whether the model wrote the function out in several ops, each of which rounds.
    """

    operands: Mapping[str, Tensor]
    attributes: Mapping[str, Any]
    expected: tuple[Tensor, ...]
    arithmetic: Arithmetic
    composite: bool = False

    @property
    def first(self) -> Tensor:
        return next(iter(self.operands.values()))

    def magnitudes(self, function: Callable[..., Tensor]) -> Tensor:
        """The function on absolute values, in single precision: what its rounding errors are shares of."""
        small = {name: tensor.to(torch.float32, copy=True).abs_() for name, tensor in self.operands.items()}
        return function(**small, **self.attributes).to(torch.float64) * _INFLATED


_INFLATED = 1.001
"""Makes up for computing magnitudes in single precision: more than gamma of any contraction here."""
