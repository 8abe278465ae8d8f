"""Greedy decoding as data: one row per token, with what is kept for the next and without."""

from __future__ import annotations

__all__ = ["Generation", "Kept", "Token", "allowed", "folded"]

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from inspector.records import ModelInfo, Scenario
from inspector.stage_graph.spans import span

Verdict = Literal["same", "tie", "fail"]

EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""The distance from 1 to the next number of a format."""

_TIMES_NOISE = 2
"""Two ways to the same scores may each be off by the noise of the format, one up and one down.

The noise is the largest over all tokens, and the ways are compared at one token per step: fewer draws, so that what is
rounded otherwise on the other way fits in. Over 7 types in three formats they were at most 1.13 times the noise apart.
"""

_TIMES_EPS = 32
"""Without a measured noise: roundings of the size of the largest score that a model's answer is off by."""

_LAYER = re.compile(r"(?:(?P<side>\w+)\.)?layers\.(?P<layer>\d+)\.(?P<what>.+)")


class Kept(NamedTuple):
    """Tensors that have one shape at every step: `keys and values of layers 0-11`.

    names: what they are (keys, values, conv state). layers: "" where a tensor belongs to no layer.
    shapes: one per step. bytes: of all of them together, one per step.
    """

    names: tuple[str, ...]
    layers: str
    dtype: str
    shapes: tuple[tuple[int, ...], ...]
    bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """One step. ids, whole_ids: shape of what is read, with a cache and without; tokens, whole_tokens: what is chosen.

    difference: the largest between the scores of the two ways. gaps: by how much the best token leads, per sequence.
    verdict: "same"; "tie" where the two ways choose differently and the scores lie closer than the format can tell;
    "fail" where the scores differ by more than is allowed.
    """

    number: int
    ids: tuple[int, ...]
    whole_ids: tuple[int, ...]
    tokens: tuple[int, ...]
    whole_tokens: tuple[int, ...]
    flops: int
    whole_flops: int
    cache_bytes: int
    difference: float
    gaps: tuple[float, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Generation:
    """What `inspector shapes --generate` answers.

    allowed: how far the scores may be apart. noise: the largest that the format itself costs, None where it was not
    measured. texts: prompt and continuation of each sequence, where there is a tokenizer.
    """

    model: ModelInfo
    scenario: Scenario
    steps: tuple[Token, ...]
    kept: tuple[Kept, ...]
    allowed: float
    noise: float | None
    texts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    tool: tuple[tuple[str, str], ...] = ()

    @property
    def verdict(self) -> Literal["pass", "fail"]:
        return "pass" if self.first_failure is None else "fail"

    @property
    def first_failure(self) -> int | None:
        """The number of the first step at which the two ways differ."""
        return next((step.number for step in self.steps if step.verdict == "fail"), None)

    @property
    def ties(self) -> int:
        """Steps at which the two ways choose another token of equal right."""
        return sum(step.verdict == "tie" for step in self.steps)

    @property
    def close(self) -> int:
        """Tokens that lead by less than is allowed: noise could have chosen another."""
        return sum(gap <= self.allowed for step in self.steps for gap in step.gaps)


def allowed(dtype: str, noises: Iterable[float | None], size: float) -> float:
    """How far two ways to the same scores may be apart. size: the largest score.

    >>> allowed("float32", [1e-6, 2e-6], 8.0)
    4e-06
    """
    least = EPS.get(dtype, EPS["float32"]) * size
    known = [noise for noise in noises if noise is not None]
    return max(least, _TIMES_NOISE * max(known)) if known else _TIMES_EPS * least


def folded(steps: Sequence[Sequence[tuple[str, tuple[int, ...], str, int]]]) -> tuple[Kept, ...]:
    """Tensors of one kind in one entry: (path, shape, dtype, bytes) of each tensor, per step.

    >>> one = [("layers.0.keys", (1, 2, 3, 4), "float32", 96), ("layers.1.keys", (1, 2, 3, 4), "float32", 96)]
    >>> folded([one])
    (Kept(names=('keys',), layers='0-1', dtype='float32', shapes=((1, 2, 3, 4),), bytes=(192,)),)
    """
    shapes: dict[str, list[tuple[int, ...]]] = {}
    sizes: dict[str, list[int]] = {}
    formats: dict[str, str] = {}
    for number, step in enumerate(steps):
        for path, shape, dtype, size in step:
            shapes.setdefault(path, [()] * number).append(shape)
            sizes.setdefault(path, [0] * number).append(size)
            formats[path] = dtype
    layers: dict[object, list[str]] = {}
    for path, found in shapes.items():
        layers.setdefault((_named(path)[1], formats[path], *found), []).append(path)
    kinds: dict[object, list[str]] = {}
    for paths in layers.values():  # keys and values of the same layers share an entry
        numbers = tuple(_named(path)[0] for path in paths)
        kinds.setdefault((_side(paths[0]), numbers, formats[paths[0]], *shapes[paths[0]]), []).extend(paths)
    return tuple(_entry(paths, shapes, sizes, formats) for paths in kinds.values())


def _entry(
    paths: Sequence[str],
    shapes: dict[str, list[tuple[int, ...]]],
    sizes: dict[str, list[int]],
    formats: dict[str, str],
) -> Kept:
    layers = [layer for path in paths if (layer := _named(path)[0]) is not None]
    return Kept(
        tuple(dict.fromkeys(_named(path)[1] for path in paths)),
        span(tuple(dict.fromkeys(layers))),
        formats[paths[0]],
        tuple(shapes[paths[0]]),
        tuple(map(sum, zip(*(sizes[path] for path in paths), strict=True))),
    )


def _side(path: str) -> str:
    match = _LAYER.fullmatch(path)
    return (match["side"] or "") if match else ""


def _named(path: str) -> tuple[int | None, str]:
    """(layer, name) of a tensor in a cache: `layers.3.keys` is (3, "keys")."""
    match = _LAYER.fullmatch(path)
    if match is None:
        return None, path
    what = match["what"].removesuffix(".0").replace("_", " ").replace("states", "state")
    return int(match["layer"]), f"cross {what}" if "cross" in _side(path) else what
