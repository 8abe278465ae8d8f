"""Puts rows under headings: sections, and inside a folded block its sections again."""

from __future__ import annotations

__all__ = ["Part", "groups"]

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from inspector.messages import say
from inspector.render.document import Cell, Group, Line, Span, line
from inspector.reporting import words
from inspector.reporting.side_by_side import Entry, present
from inspector.shape_table.rows import ShapeRow, ShapeTable
from inspector.vocabulary import CATCH_ALL, UNKNOWN


@dataclass(slots=True)
class Part:
    """Entries that follow one another in one section of one block (or outside the blocks)."""

    block: int | None
    layers: str
    section: str
    entries: list[Entry] = field(default_factory=list)


def groups(
    entries: Sequence[Entry], table: ShapeTable, cells: Callable[[Entry, str], tuple[Cell, ...]]
) -> tuple[Group, ...]:
    """Groups of rows, each row made by `cells(entry, section)`. `table` says what its blocks are called."""
    parts = _parts(entries)
    made: list[Group] = []
    block, opened = None, set()
    for part in parts:
        if part.block is not None and part.block != block:
            made.append(Group(_block_title(table, part.block, parts, again=part.block in opened), 1, ()))
        block = part.block
        opened.add(block)
        rows = tuple(cells(entry, part.section) for entry in part.entries)
        made.append(Group(_section_title(part, parts), 1 if block is None else 2, rows))
    return tuple(made)


def _parts(entries: Sequence[Entry]) -> list[Part]:
    parts: list[Part] = []
    for entry in entries:
        row = present(entry)
        part = _open(parts, row)
        if part is None:
            part = Part(row.block, row.layers, row.section)
            parts.append(part)
        part.entries.append(entry)
    return parts


_ASIDE = CATCH_ALL | {"mask", "positions"}
"""Sections that nothing else belongs to: an op without a part is no layout and builds no mask."""


def _open(parts: Sequence[Part], row: ShapeRow) -> Part | None:
    """The part this row belongs to. Before and after the blocks, a section is not opened twice."""
    here = list(takewhile(lambda part: (part.block, part.layers) == (row.block, row.layers), reversed(parts)))
    if not here:
        return None
    # A cast or an unknown op between two steps of attention must not tear attention apart.
    if row.section in ("", UNKNOWN) or (row.section in CATCH_ALL and row.block is not None):
        return here[0] if here[0].section not in _ASIDE or here[0].section == row.section else None
    return next((part for part in here if part.section == row.section and (part is here[0] or row.block is None)), None)


def _block_title(table: ShapeTable, block: int, parts: Sequence[Part], *, again: bool) -> Line:
    inside = [part for part in parts if part.block == block]
    text = table.blocks[block] if block < len(table.blocks) else ""
    title = Span(say("shapes.block", block=_block_said(text)).strip(), "title")
    if again or len({part.layers for part in inside}) > 1:
        return line(title, Span(f"  {say('label.continued')}" if again else "", "muted"))
    entries = [entry for part in inside for entry in part.entries]
    said = words.layers(inside[0].layers)
    if len(entries[0]) == 1:  # of several runs there is no one answer
        said = say("shapes.below", layers=said, cost=_cost([present(entry) for entry in entries]))
    return line(title, Span(f"  {said}", "muted"))


def _block_said(text: str) -> str:
    """`×12`, or what its blocks are in turn, with a times sign."""
    return re.sub(r"\bx(?=\d)", "×", text)


def _cost(rows: Sequence[ShapeRow]) -> str:
    parameters = words.counted(sum(row.parameters for row in rows), "parameter")
    return say("shapes.cost", parameters=parameters, flops=words.scaled(sum(row.flops for row in rows), "FLOPs"))


def _section_title(part: Part, parts: Sequence[Part]) -> Line:
    """The section and its meaning; its layers too where the block holds several kinds of layers."""
    spans = [Span(part.section or UNKNOWN, "title")]
    several = len({other.layers for other in parts if other.block == part.block}) > 1
    if several and part.layers:
        spans.append(Span(f"  {words.layers(part.layers)}", "muted"))
    if meaning := words.meaning("section", part.section):
        spans.append(Span(f"  {meaning}", "muted"))
    return line(*spans)
