"""Small numbers for a config of any kind: in fixed sizes, or all in proportion.

Fixed sizes make the smallest copy, and keep apart what a reader must not confuse. In proportion, whatever held between
the numbers of a config (heads times their width is the width of the model) still holds, whoever asks for it.
"""

from __future__ import annotations

__all__ = ["WIDE", "fill", "head_width", "in_larger_sizes", "in_proportion", "in_sizes", "to_fewer_heads"]

import math
import re
import tomllib
from collections.abc import Callable, Collection, Iterable
from copy import deepcopy
from functools import cache, partial
from importlib.resources import files
from typing import Any

Part = dict[str, Any]

WIDE = 64
"""Width of a small model; what is not larger is small."""

_WIDTHS = frozenset({20, 24, 32, 48, 64, 80, 96})
"""Sizes that are widths, and no counts or vocabularies."""


def in_larger_sizes(parts: Iterable[Part], leave: Collection[str] = ()) -> None:
    """The same with everything twice as wide, for what is rounded up to multiples."""
    in_sizes(parts, leave, times=2)


def in_sizes(parts: Iterable[Part], leave: Collection[str] = (), *, times: int = 1) -> None:
    """Give every number of these parts of a config the size that its key stands for.

    >>> part = {"hidden_size": 4096, "projector": 4096, "num_attention_heads": 32, "num_key_value_heads": 8}
    >>> in_sizes([part]); part
    {'hidden_size': 64, 'projector': 64, 'num_attention_heads': 4, 'num_key_value_heads': 2}

    What is known by no key gets what a known one of the same size got, so that parts still fit each other. leave: keys
    that stay as they are.
    """
    parts = list(parts)
    known: dict[int, int] = {}
    olds = [dict(part) for part in parts]
    for part in parts:
        for key, value in part.items():
            size = _size(key)
            if size is not None and key not in leave:
                given = size * times if size > 8 else size
                part[key] = _each(value, partial(min, given))
                if size == WIDE and type(value) is int:
                    known.setdefault(value, part[key])
    for part, old in zip(parts, olds, strict=True):
        share = _share(old, part)
        for key, value in part.items():
            if key not in leave and _size(key) is None and _is_width(key, value):
                part[key] = known.get(value) or _rounded(value * share)
        _share_heads(part, old, leave)


def to_fewer_heads(parts: Iterable[Part], leave: Collection[str] = ()) -> None:
    """Divide heads by one number and every width by the same: a head stays what it is.

    >>> part = {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8}
    >>> to_fewer_heads([part]); part
    {'hidden_size': 512, 'num_attention_heads': 4, 'num_key_value_heads': 2}
    """
    in_proportion(parts, leave, same_heads=True)


def in_proportion(parts: Iterable[Part], leave: Collection[str] = (), *, same_heads: bool = False) -> None:
    """Divide heads by one number, their widths by another, and every other width by both.

    >>> part = {"hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32, "num_key_value_heads": 8}
    >>> in_proportion([part]); part
    {'hidden_size': 32, 'intermediate_size': 88, 'num_attention_heads': 4, 'num_key_value_heads': 2}
    """
    known: dict[int, int] = {}
    for part in parts:
        old = dict(part)
        _divide(part, leave, known, same_heads=same_heads)
        _share_heads(part, old, leave)


def _divide(part: Part, leave: Collection[str], known: dict[int, int], *, same_heads: bool) -> None:
    groups, widths = _named(part, table()["groups"]), _numbers(part, "head_widths")
    heads = {key: number for key, number in _numbers(part, "heads").items() if key not in groups}
    fewer = _factor(heads.values(), each=2, most=4)
    implied = _width(part) // max(heads.values(), default=1)
    narrower = 1 if same_heads else _factor(widths.values() or [implied], each=4, most=8)
    for key in [key for key in part if key not in leave and key not in groups]:
        value, size = part[key], _size(key)
        if key in heads:
            part[key] = value // fewer
        elif key in widths:
            part[key] = value // narrower
        elif _is_width(key, value) if size is None else size in _WIDTHS:
            part[key] = _each(value, partial(_divided, factor=fewer * narrower, known=known))
        elif size is not None:
            part[key] = _each(value, partial(min, size))


def fill(part: Part, model_type: str) -> None:
    """State what a config leaves open: what most models work out, and what some cannot do without even at full size."""
    heads = _heads(part)
    if heads and part.get("num_key_value_heads", heads) is None:
        part["num_key_value_heads"] = heads
    if heads and part.get("head_dim", heads) is None and type(part.get("hidden_size")) is int:
        part["head_dim"] = part["hidden_size"] // heads
    for row in table()["missing"]:
        for path, value in row["set"].items() if model_type in row["types"] else ():
            _state(part, path.split("."), value, row.get("instead"))


def _state(part: Part, path: list[str], value: Any, instead: Any) -> None:
    """Put a value where there is none, or a useless one."""
    key, *rest = path
    if rest:
        inner = part.get(key)
        part[key] = dict(inner) if isinstance(inner, dict) else {}
        _state(part[key], rest, value, instead)
    elif part.get(key) in (None, instead):
        part[key] = deepcopy(value)


def head_width(part: Part) -> float:
    """How wide a head is, as stated or as a share of the width."""
    return float(part.get("head_dim") or _width(part) / (_heads(part) or 1))


@cache
def table() -> dict[str, Any]:
    """shrink.toml."""
    return tomllib.loads(files(__package__).joinpath("shrink.toml").read_text(encoding="utf-8"))


def _bare(key: str) -> str:
    """A key without the layer that it is of."""
    return key.rpartition("/")[2]


@cache
def _size(key: str) -> int | None:
    """The size that a key stands for."""
    return next((int(row["at"]) for row in table()["size"] if re.fullmatch(row["keys"], _bare(key))), None)


@cache
def _is_other(key: str) -> bool:
    return re.fullmatch(table()["other"], _bare(key)) is not None


def _is_width(key: str, value: Any) -> bool:
    return type(value) is int and value > WIDE and not _is_other(key)


def _each(value: Any, small: Callable[[int], int]) -> Any:
    """A number made small, or each number of a list."""
    if isinstance(value, (list, tuple)):
        return [_each(item, small) for item in value]
    return small(value) if type(value) is int else value


def _width(part: Part) -> int:
    """How wide the model is that a part describes; the first width that it names."""
    return next((value for key, value in part.items() if _size(key) == WIDE and type(value) is int), WIDE)


def _share(old: Part, part: Part) -> float:
    return _width(part) / max(_width(old), 1)


def _rounded(size: float) -> int:
    return max(16, math.ceil(size / 8) * 8)


def _share_heads(part: Part, old: Part, leave: Collection[str]) -> None:
    """As many key/value heads as heads, one, the same share of them, or (where that is none) half as many."""
    own = _named(old, table()["heads"])
    for key in _named(old, table()["groups"]) if own else ():
        layer = key.removesuffix(_bare(key))
        heads = next((name for name in own if name.removesuffix(_bare(name)) == layer), own[0])
        many, few = old[heads], old[key]
        if key not in leave:
            part[key] = part[heads] if many == few else 1 if few == 1 else max(1, part[heads] // 2)


def _heads(part: Part) -> int | None:
    return next((part[key] for key in _named(part, table()["heads"])), None)


def _named(part: Part, pattern: str) -> list[str]:
    return [key for key, value in part.items() if type(value) is int and re.fullmatch(pattern, _bare(key))]


def _numbers(part: Part, kind: str) -> dict[str, int]:
    return {key: part[key] for key in _named(part, table()["proportion"][kind]) if part[key] > 1}


def _factor(numbers: Iterable[int], *, each: int, most: int) -> int:
    """The largest divisor of all of them that leaves of each so much, and of the largest more."""
    numbers = list(numbers)
    common = math.gcd(*numbers)
    fits = (
        factor
        for factor in range(common, 0, -1)
        if common % factor == 0 and min(numbers) >= each * factor and max(numbers) >= most * factor
    )
    return next(fits, 1)


def _divided(number: int, factor: int, known: dict[int, int]) -> int:
    """A width made small, in the multiples of 8 that kernels need; what was equal stays equal."""
    return known.setdefault(number, max(8, math.ceil(number / factor / 8) * 8))
