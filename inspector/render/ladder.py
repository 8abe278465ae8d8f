"""Values on a logarithmic scale: bars for text, and where things stand for a drawing."""

from __future__ import annotations

__all__ = ["Drawn", "bar", "drawn", "figure", "in_text"]

import math
from typing import NamedTuple

from inspector.render.document import (
    Block,
    Cell,
    Column,
    Details,
    Document,
    Group,
    Ladder,
    Rung,
    Span,
    Table,
    cell,
    plain,
)

LOWEST, HIGHEST = -3, 2
"""Decades that the scale shows. What is smaller has the shortest bar, what is larger an arrow at the end."""

_STEPS = 3
_WIDTH = _STEPS * (HIGHEST - LOWEST)
_MARK = -_STEPS * LOWEST


def figure(value: float | None) -> str:
    """A value in three figures; nothing where nothing was measured.

    >>> figure(0.0492), figure(227.4), figure(0.0), figure(1.5e7), figure(float("inf")), figure(None)
    ('0.0492', '227', '0', '1.5e+07', '∞', '')
    """
    if value is None:
        return ""
    return "∞" if math.isinf(value) else f"{value:.3g}"


def bar(value: float | None) -> str:
    """A bar with a line at 1.

    >>> bar(0.1)
    '██████   │'
    >>> bar(10.0)
    '█████████│███'
    >>> bar(0.0), bar(None)
    ('         │', '')
    """
    if value is None:
        return ""
    if math.isnan(value) or math.log10(max(value, 10.0 ** (LOWEST - 1))) > HIGHEST:
        return "█" * _MARK + "│" + "█" * (_WIDTH - _MARK - 1) + "▶"
    filled = 0 if value <= 0 else max(1, round(_STEPS * (_log(value) - LOWEST)))
    cut = min(filled, _MARK)
    beyond = max(filled - _MARK, 1 if value > 1 else 0)
    return "█" * cut + " " * (_MARK - cut) + "│" + "█" * beyond


def in_text(document: Document) -> Document:
    """The document for formats that have text alone: its ladders as tables with bars."""
    return tuple(_in_text(block) for block in document)


def _in_text(block: Block) -> Block:
    if isinstance(block, Details):
        return Details(block.summary, in_text(block.blocks))
    return _table(block) if isinstance(block, Ladder) else block


def _table(ladder: Ladder) -> Table:
    columns = (
        Column(ladder.label, least=18),
        Column(ladder.title, "right"),
        Column("0.001    1   100"),
        *ladder.columns,
    )
    groups = (Group(title, 1, tuple(map(_row, rungs))) for title, rungs in ladder.groups)
    return Table(columns, tuple(groups))


def _row(rung: Rung) -> tuple[Cell, ...]:
    return (cell(rung.label), cell(figure(rung.value)), cell(Span(bar(rung.value), rung.style)), *rung.cells)


class Drawn(NamedTuple):
    """One rung of a drawing: its text and where its bar ends, in hundredths of the scale. beyond: off the scale."""

    y: int
    label: str
    figure: str
    end: float | None
    style: str
    said: str
    beyond: bool


class Row(NamedTuple):
    y: int
    title: str


def drawn(ladder: Ladder, height: int = 18) -> dict[str, object]:
    """Where everything stands in a drawing of the ladder.

    >>> from inspector.render.document import line
    >>> found = drawn(Ladder("rho", "stage", (), ((line(), (Rung(line("norm"), 1.0, "good"),)),)))
    >>> found["rungs"][0].end, found["mark"]
    (60.0, 60.0)
    """
    rungs: list[Drawn] = []
    titles: list[Row] = []
    y = height
    for title, inside in ladder.groups:
        if title:
            y += height // 2
            titles.append(Row(y, plain(title)))
            y += height
        for rung in inside:
            rungs.append(_drawn(ladder, rung, y))
            y += height
    decades = [(100 * (at - LOWEST) / (HIGHEST - LOWEST), _power(at)) for at in range(LOWEST, HIGHEST + 1)]
    mark = 100.0 * -LOWEST / (HIGHEST - LOWEST)
    return {"rungs": rungs, "titles": titles, "height": y, "decades": decades, "mark": mark}


def _drawn(ladder: Ladder, rung: Rung, y: int) -> Drawn:
    texts = [plain(one) for one in rung.cells]
    titled = [f"{column.title} {text}" for column, text in zip(ladder.columns[1:], texts[1:], strict=True) if text]
    said = ", ".join([*texts[:1], *titled])
    end, beyond = None, False
    if rung.value is not None:
        beyond = math.isnan(rung.value) or rung.value > 10.0**HIGHEST
        end = 100.0 if beyond else 100 * (_log(rung.value) - LOWEST) / (HIGHEST - LOWEST)
        end = round(end, 1)
    return Drawn(y, plain(rung.label), figure(rung.value), end, rung.style, said, beyond)


def _log(value: float) -> float:
    return min(max(math.log10(value), LOWEST), HIGHEST) if value > 0 else float(LOWEST)


def _power(at: int) -> str:
    return f"{10.0**at:g}"
