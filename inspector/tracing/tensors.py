"""Finds and names the tensors in a model, its arguments and its answer."""

from __future__ import annotations

__all__ = ["name_leaves", "named_tensors"]

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from inspector.tracing.book import Book


def named_tensors(value: Any, path: str = "") -> list[tuple[str, Tensor]]:
    """Every tensor reachable from `value` through containers and plain objects, with its path.

    >>> import torch
    >>> [path for path, _ in named_tensors({"a": [torch.zeros(1), {"b": torch.zeros(1)}]})]
    ['a.0', 'a.1.b']
    """
    return list(_walk(value, path, set()))


def _walk(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
        return
    if value is None or isinstance(value, (str, bytes, int, float, bool, type, nn.Module)) or id(value) in seen:
        return
    seen.add(id(value))
    for key, item in _children(value):
        yield from _walk(item, f"{path}.{key}" if path else str(key), seen)


def _children(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, (list, tuple)):
        names = getattr(value, "_fields", range(len(value)))
        return list(zip(names, value, strict=False))
    if callable(value) or type(value).__module__ in ("builtins", "torch"):
        return []
    return list(getattr(value, "__dict__", {}).items())


def name_leaves(book: Book, module: nn.Module, inputs: Mapping[str, Any]) -> None:
    """Tell the book what every parameter, buffer, input and kept constant is called."""
    for name, tensor in named_tensors(dict(inputs)):
        book.name(tensor, "input", name)
    for path, child in module.named_modules():
        prefix = f"{path}." if path else ""
        for kind, tensors in (("parameter", child._parameters), ("buffer", child._buffers), ("constant", vars(child))):
            for key, tensor in tensors.items():
                if isinstance(tensor, Tensor):
                    book.name(tensor, kind, prefix + key)
