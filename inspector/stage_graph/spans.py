"""Numbers of layers as text and back: `0-11`, `0-40:2`, `0-4,6-10`."""

from __future__ import annotations

__all__ = ["layers_of", "span"]

import re
from collections.abc import Iterator, Sequence

_RUN = re.compile(r"(\d{1,6})(?:-(\d{1,6})(?::(\d{1,6}))?)?")


def span(layers: Sequence[int]) -> str:
    """The layers in their order, runs written short.

    >>> span((3,)), span(range(12)), span(range(0, 41, 2)), span((0, 1, 2, 4, 5, 6)), span(())
    ('3', '0-11', '0-40:2', '0-2,4-6', '')
    """
    return ",".join(_text(run) for run in _runs(layers))


def layers_of(text: str) -> tuple[int, ...]:
    """What `span` wrote. ValueError for anything else.

    >>> layers_of("0-2,8-12:2")
    (0, 1, 2, 8, 10, 12)
    """
    return tuple(layer for part in text.split(",") if text for layer in _numbers(part))


def _runs(layers: Sequence[int]) -> Iterator[Sequence[int]]:
    """The longest run with one step from each place on; two numbers far apart are a run only if they are all."""
    start = 0
    while start < len(layers):
        end = start + 1
        step = layers[end] - layers[start] if end < len(layers) else 0
        while step > 0 and end < len(layers) and layers[end] - layers[end - 1] == step:
            end += 1
        if step > 1 and end - start == 2 < len(layers):
            end -= 1
        yield layers[start:end]
        start = end


def _text(run: Sequence[int]) -> str:
    first, last = run[0], run[-1]
    if len(run) == 1:
        return str(first)
    step = run[1] - first
    return f"{first}-{last}" if step == 1 else f"{first}-{last}:{step}"


def _numbers(part: str) -> range:
    match = _RUN.fullmatch(part)
    if match is None:
        raise ValueError(f"{part!r} names no layers")
    first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
    if last < first or step < 1:
        raise ValueError(f"{part!r} names no layers")
    return range(first, last + 1, step)
