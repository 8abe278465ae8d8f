"""Concrete twins of tensors that live on the meta device.

A model on meta has no values, but ids, masks, positions and rotary tables need no weights: whatever is made by a
factory, or only from tensors that have a twin, is computed a second time on the CPU. So the mask of a 405B model is
known exactly without a single weight, and Python code that reads a value gets its answer.
"""

from __future__ import annotations

__all__ = ["Following", "Shadows"]

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from inspector.tracing.names import Spec, spec_of

_KEPT = 1 << 20
"""Elements beyond which the contents of a twin get into no trace: memory of that size is never touched for nothing."""

_UNFILLED = frozenset({"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"})
_LARGEST = 1 << 26
"""Elements beyond which a tensor gets no twin. A weight made by a factory must not be made for real."""


class Shadows:
    """The twins, found by the identity of the meta tensor that they stand beside."""

    def __init__(self) -> None:
        self._twins: dict[int, tuple[Tensor, Tensor]] = {}
        self._stale: dict[int, torch.UntypedStorage] = {}
        """Memory that was written with something unknown. It is held: what is let go, another tensor may be given."""

    def twin(self, tensor: Tensor) -> Tensor | None:
        """The CPU tensor with the contents of `tensor`, or None when they are not known."""
        if tensor.device.type != "meta":
            return tensor
        found = self._twins.get(id(tensor))
        if found is None or found[0] is not tensor:
            return None
        if self._stale and tensor.untyped_storage()._cdata in self._stale:
            return None
        return found[1]

    def add(self, tensor: Tensor, twin: Tensor) -> None:
        self._twins[id(tensor)] = (tensor, twin)

    def forget(self, tensor: Tensor) -> None:
        """Something unknown was written into the memory of `tensor`."""
        storage = tensor.untyped_storage()
        self._stale[storage._cdata] = storage

    def answer(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What `function` says of the twins. Raises LookupError when one of them is not known."""
        return function(*self._swap(args, ()), **self._swap(kwargs, ()))

    def follow(self, spec: Spec, function: Callable[..., Any], args: Any, kwargs: Any, out: Any) -> None:
        """Compute beside a meta call what can be known of its result."""
        if not _is_small(out):
            return
        try:
            twins = function(*self._swap(args, spec.donors), **self._swap(kwargs, ()))
        except LookupError:
            if spec.inplace and args and isinstance(args[0], Tensor):
                self.forget(args[0])
            return
        if spec.name in _UNFILLED and isinstance(twins, Tensor) and twins.numel() <= _KEPT:
            twins.zero_()  # whatever lay in the memory must not get into a trace
        self._pair(out, twins)

    def _swap(self, value: Any, donors: Any) -> Any:
        """`value` with twins for tensors and the CPU for devices; a donor may be any tensor of that shape."""
        if isinstance(value, Tensor):
            twin = self.twin(value)
            if twin is None:
                raise LookupError("no twin")
            return twin
        if isinstance(value, torch.device):
            return torch.device("cpu") if value.type == "meta" else value
        if isinstance(value, str):
            return "cpu" if value == "meta" else value
        if isinstance(value, dict):
            return {key: self._swap(item, ()) for key, item in value.items()}
        if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
            items = [
                _donor(item) if index in donors and isinstance(item, Tensor) else self._swap(item, ())
                for index, item in enumerate(value)
            ]
            return tuple(items) if isinstance(value, tuple) else items
        return value

    def _pair(self, out: Any, twins: Any) -> None:
        if isinstance(out, Tensor) and isinstance(twins, Tensor):
            if out.device.type == "meta" and out.shape == twins.shape:
                self.add(out, twins)
        elif isinstance(out, (list, tuple)) and isinstance(twins, (list, tuple)):
            for one, twin in zip(out, twins, strict=False):
                self._pair(one, twin)


class Following(TorchFunctionMode):
    """Keeps twins while a model or its inputs are built on meta. Records nothing."""

    def __init__(self, shadows: Shadows) -> None:
        super().__init__()
        self.shadows = shadows

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return call(self.shadows, spec_of(func), func, args, kwargs or {})


def call(shadows: Shadows, spec: Spec, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Run `function`, with twins beside it: reads of values and shapes that depend on values are answered from them."""
    if spec.ignored:
        return function(*args, **kwargs)
    if spec.reads:
        try:
            return shadows.answer(function, args, kwargs)
        except LookupError:
            return function(*args, **kwargs)
    if kwargs.get("device") is None and _on_cpu(args):
        out = function(*args, **kwargs)
        if not _any_meta(out):
            return out
    else:
        try:
            out = function(*args, **kwargs)
        except (RuntimeError, NotImplementedError):
            return _from_twins(shadows, function, args, kwargs)
        if not spec.inplace and isinstance(out, Tensor) and out.device.type != "meta":
            return out  # a second run would draw other random numbers, and its result is there already
    if not isinstance(out, (Tensor, tuple, list)) and out is not None:
        return out
    target = args[0] if spec.inplace and out is None and args else out
    shadows.follow(spec, function, args, kwargs, target)
    return out


def _from_twins(shadows: Shadows, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """A result whose shape depends on values (`nonzero`, boolean indexing), which meta cannot give."""
    try:
        twins = shadows.answer(function, args, kwargs)
    except LookupError:
        return function(*args, **kwargs)  # raises as it did before: the error is the model's own
    single = isinstance(twins, Tensor)
    outs = [twin.to("meta") for twin in ([twins] if single else twins)]
    shadows._pair(outs, [twins] if single else twins)
    return outs[0] if single else tuple(outs)


def _donor(tensor: Tensor) -> Tensor:
    """A CPU tensor of the same shape and dtype that takes no memory."""
    return torch.empty((), dtype=tensor.dtype, device="cpu").expand(tensor.shape)


def _on_cpu(args: Any) -> bool:
    return all(not isinstance(arg, Tensor) or arg.device.type != "meta" for arg in args)


def _any_meta(out: Any) -> bool:
    if isinstance(out, Tensor):
        return out.device.type == "meta"
    return isinstance(out, (list, tuple)) and any(map(_any_meta, out))


def _is_small(out: Any) -> bool:
    if isinstance(out, Tensor):
        return out.numel() <= _LARGEST
    return not isinstance(out, (list, tuple)) or all(map(_is_small, out))
