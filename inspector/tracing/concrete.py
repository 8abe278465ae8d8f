"""Writes the contents of a tensor down as plain values, run-length coded."""

from __future__ import annotations

__all__ = ["concrete_of"]

import hashlib

import torch
from torch import Tensor

from inspector.records import Concrete

_MOST_RUNS = 1 << 16
"""Runs that are kept. A row of a sliding mask has three, so this is four rows of a batch of 4,096 tokens each;
a rotary table has one run per element."""


def concrete_of(tensor: Tensor) -> Concrete:
    """The contents of `tensor`.

    >>> concrete_of(torch.tensor([[0, 0, 1], [0, 0, 0]]))[2:4]
    ((0, 1, 0), (2, 1, 3))
    """
    flat = tensor.detach().cpu().reshape(-1)
    dtype = str(tensor.dtype).removeprefix("torch.")
    if not flat.numel():
        return Concrete(tuple(tensor.shape), dtype, (), (), "")
    if flat.is_complex():
        flat = torch.view_as_real(flat).reshape(-1)
    values, counts = torch.unique_consecutive(flat, return_counts=True)
    digest = hashlib.blake2b(digest_size=8)
    for part in (values, counts):
        digest.update(part.contiguous().view(torch.uint8).numpy().tobytes())
    if len(values) > _MOST_RUNS:
        return Concrete(tuple(tensor.shape), dtype, (), (), digest.hexdigest())
    return Concrete(tuple(tensor.shape), dtype, tuple(values.tolist()), tuple(counts.tolist()), digest.hexdigest())
