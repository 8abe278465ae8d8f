"""Runs a recorded op again on float64 tensors: the few ops that the parts of a transformer are written in."""

from __future__ import annotations

__all__ = ["Unprovable", "call"]

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from inspector.costs.einsum import spelled
from inspector.records import Op, Plain

Named = dict[str, Tensor]


class Unprovable(Exception):
    """An op, a shape or a weight that the replay does not know."""


def call(op: Op, known: dict[int, Tensor], shape: tuple[int, ...]) -> Sequence[Tensor]:
    """The results of one op on known values."""
    tensors = [known[value] for value in op.inputs]
    if op.name in _IDLE:
        return tensors[:1]
    if op.name in ("view", "reshape", "flatten", "unflatten"):
        return [tensors[0].reshape(shape)]
    function = _CALLS.get(op.name)
    if function is None:
        raise Unprovable(op.name)
    made = function(op, {name: known[value] for name, value in op.operands}, *tensors)
    return made if isinstance(made, (list, tuple)) else [made]


def _number(op: Op, *names: str) -> Any:
    return next((op.attribute(name) for name in names if op.attribute(name) is not None), None)


def _pair(function: Callable[[Any, Any], Tensor]) -> Callable[..., Tensor]:
    """Of two tensors, or of a tensor and a number."""

    def call(op: Op, named: Named, *tensors: Tensor) -> Tensor:
        if len(tensors) == 2:
            return function(*tensors)
        if "input" not in named:
            return function(_number(op, "input"), tensors[0])
        return function(tensors[0], _number(op, "other", "exponent"))

    return call


def _unary(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda op, named, x: function(x)


def _dim(op: Op) -> int:
    dim = op.attribute("dim", 0)
    return dim if isinstance(dim, int) else 0


def _equation(op: Op) -> str:
    said = spelled(op)
    if said is None:
        raise Unprovable(op.name)
    return said


def _attend(op: Op, named: Named, *tensors: Tensor) -> Tensor:
    query, key, value = tensors[:3]
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=named.get("attn_mask"),
        is_causal=bool(op.attribute("is_causal")),
        scale=_number(op, "scale"),
        enable_gqa=bool(op.attribute("enable_gqa")),
    )


def _index(key: Plain) -> Any:
    """A recorded index as Python takes it."""
    if isinstance(key, tuple):
        if key[:1] == ("slice",):
            return slice(*key[1:])
        return tuple(map(_index, key))
    return Ellipsis if key == "..." else key


def _root_mean_square(op: Op, named: Named, x: Tensor) -> Tensor:
    scaled = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + (_number(op, "eps") or 0.0))
    return scaled * named["weight"] if "weight" in named else scaled


_IDLE = frozenset("to contiguous clone detach dropout identity".split())

_CALLS: dict[str, Callable[..., Any]] = {
    **{
        name: _unary(getattr(torch, name)) for name in "neg square sqrt rsqrt tanh sigmoid erf exp relu cos sin".split()
    },
    "silu": _unary(functional.silu),
    "gelu": lambda op, named, x: functional.gelu(x, approximate=str(op.attribute("approximate") or "none")),
    "add": _pair(lambda x, y: x + y),
    "sub": _pair(lambda x, y: x - y),
    "mul": _pair(lambda x, y: x * y),
    "div": _pair(lambda x, y: x / y),
    "pow": _pair(lambda x, y: x**y),
    "mean": lambda op, named, x: x.mean(_number(op, "dim"), keepdim=bool(op.attribute("keepdim"))),
    "masked_fill": lambda op, named, x, mask: x.masked_fill(mask.bool(), _number(op, "value")),
    "softmax": lambda op, named, x: x.softmax(_number(op, "dim")),
    "linear": lambda op, named, *_: functional.linear(named["input"], named["weight"], named.get("bias")),
    "addmm": lambda op, named, *t: torch.addmm(*t),
    "matmul": lambda op, named, *t: torch.matmul(*t),
    "bmm": lambda op, named, *t: torch.bmm(*t),
    "einsum": lambda op, named, *t: torch.einsum(_equation(op), *t),
    "layer_norm": lambda op, named, *_: functional.layer_norm(
        named["input"], named["input"].shape[-1:], named.get("weight"), named.get("bias"), _number(op, "eps")
    ),
    "rms_norm": lambda op, named, *_: _root_mean_square(op, named, named["input"]),
    "t": lambda op, named, x: x.T,
    "transpose": lambda op, named, x: x.transpose(_number(op, "dim0"), _number(op, "dim1")),
    "permute": lambda op, named, x: x.permute(*_number(op, "dims")),
    "unsqueeze": lambda op, named, x: x.unsqueeze(_number(op, "dim")),
    "expand": lambda op, named, x: x.expand(*_number(op, "size", "sizes", "shape")),
    "getitem": lambda op, named, x: x[_index(op.attribute("key"))],
    "cat": lambda op, named, *t: torch.cat(t, _number(op, "dim") or 0),
    "split": lambda op, named, x: x.split(_number(op, "split_size", "split_size_or_sections"), _dim(op)),
    "chunk": lambda op, named, x: x.chunk(_number(op, "chunks"), _dim(op)),
    "scaled_dot_product_attention": _attend,
}
"""Op -> its function on float64 tensors."""
