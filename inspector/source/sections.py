"""A config and the configs inside it, each beside its part of the document that they are saved as."""

from __future__ import annotations

__all__ = ["Section", "changes", "flattened", "sections"]

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Section:
    """One config and its part of the document, to be changed there.

    >>> from transformers import LlamaConfig
    >>> config = LlamaConfig()
    >>> [section.depth for section in sections(config, config.to_dict())]
    [32]
    """

    config: Any
    part: dict[str, Any]

    @property
    def depth(self) -> int | None:
        """How many layers it has, where it says so in one number."""
        depth = getattr(self.config, "num_hidden_layers", None)
        return depth if type(depth) is int else None


def sections(config: Any, document: dict[str, Any]) -> list[Section]:
    """The config itself and all inside it, outermost first."""
    return list(_sections(config, document))


def _sections(config: Any, part: dict[str, Any]) -> Iterator[Section]:
    yield Section(config, part)
    for name in getattr(config, "sub_configs", {}):
        inner, inside = getattr(config, name, None), part.get(name)
        if inner is not None and isinstance(inside, dict):
            yield from _sections(inner, inside)


@contextmanager
def flattened(part: dict[str, Any]) -> Iterator[None]:
    """What single layers say otherwise, as keys `layer/key` beside the others; afterwards where it was."""
    layers = part.get("per_layer_config") or {}
    part.update({f"{layer}/{key}": value for layer, keys in layers.items() for key, value in keys.items()})
    yield
    for layer, keys in layers.items():
        keys.update({key: part.pop(f"{layer}/{key}") for key in list(keys)})


def changes(before: dict[str, Any], after: dict[str, Any], path: str = "") -> Iterator[str]:
    """What became of each number of a document, in words.

    >>> list(changes({"text": {"width": 768, "bias": True}, "layers": 12}, {"text": {"width": 64}, "layers": 2}))
    ['text.width 768 -> 64', 'layers 12 -> 2']
    """
    for key, old in before.items():
        new = after.get(key, old)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from changes(old, new, f"{path}{key}.")
        elif type(old) is int and type(new) is int and old != new:
            yield f"{path}{key} {old:,} -> {new:,}"
