"""The stages of a parity run as a ladder: one rung per stage, folded over the layers that agree on it."""

from __future__ import annotations

__all__ = ["Fold", "folded", "ladder", "span"]

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from inspector.messages import say
from inspector.render.document import Column, Ladder, Line, Rung, Span, cell, line
from inspector.reporting import words
from inspector.verification.report import Row

STYLES = {
    "pass": "good",
    "fail": "warning",
    "undetermined": "caution",
    "unclaimed": "caution",
    "unchecked": "caution",
    "exempt": "muted",
}
"""Verdict -> style. The word stands beside it, always."""


class Fold(NamedTuple):
    """Stages of one name and one verdict, one per layer, in reading order."""

    name: str
    rows: tuple[Row, ...]

    @property
    def worst(self) -> Row:
        """The stage that is furthest from what is allowed; of those not measured, the first."""
        return max(self.rows, key=lambda row: -1.0 if row.rho is None else math.inf if math.isnan(row.rho) else row.rho)

    @property
    def layers(self) -> str:
        return span([row.layer for row in self.rows if row.layer is not None])


def folded(rows: Sequence[Row]) -> list[Fold]:
    """The rows by name, occurrence within their layer, and verdict, in the order of their first."""
    seen: Counter[tuple[int | None, str]] = Counter()
    found: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.name, seen[row.layer, row.name], row.verdict), []).append(row)
        seen[row.layer, row.name] += 1
    return [Fold(name, tuple(inside)) for (name, _, _), inside in found.items()]


def ladder(rows: Sequence[Row]) -> Ladder:
    """What is exempt is counted elsewhere, and has no rung."""
    folds = folded([row for row in rows if row.verdict != "exempt" or row.finding])
    inside = [place for place, fold in enumerate(folds) if fold.rows[0].layer is not None]
    first, last = (inside[0], inside[-1]) if inside else (len(folds), len(folds))
    depth = len({row.layer for row in rows if row.layer is not None})
    places = (
        (say("place.stem" if inside else "label.stages"), folds[:first]),
        (say("parity.blocks", n=depth), folds[first : last + 1]),
        (say("place.head"), folds[last + 1 :]),
    )
    groups = tuple((line(Span(title, "title")), tuple(_rungs(part, depth))) for title, part in places if part)
    return Ladder(
        "rho", say("label.stage"), (Column(say("label.verdict")), Column(say("parity.worst in"), rank=1)), groups
    )


def _rungs(folds: Iterable[Fold], depth: int) -> Iterator[Rung]:
    for fold in folds:
        row = fold.worst
        style = STYLES[row.verdict]
        worst = "" if row.layer is None or not row.rho or len(fold.rows) == 1 else words.layers(str(row.layer))
        yield Rung(_label(fold, depth), row.rho, style, (cell(Span(_word(row), style)), cell(Span(worst, "muted"))))


def _word(row: Row) -> str:
    exact = row.check is not None and row.check.kind != "bound" and row.verdict == "pass"
    return say("parity.exact", verdict=row.verdict) if exact else row.verdict


def _label(fold: Fold, depth: int) -> Line:
    """`×12 attention.scores`; where not all layers agree, which ones these are."""
    if fold.rows[0].layer is None or depth == 1:
        return line(fold.name)
    few = len(fold.rows) < depth
    where = f"  {words.layers(fold.layers)}" if few else ""
    return line(Span(f"×{len(fold.rows)} " if not few else "", "muted"), fold.name, Span(where, "muted"))


def span(layers: Sequence[int]) -> str:
    """Numbers of layers, runs of neighbours joined.

    >>> span([0, 1, 2, 5, 7, 8])
    '0-2, 5, 7-8'
    """
    runs: list[list[int]] = []
    for layer in sorted(set(layers)):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
