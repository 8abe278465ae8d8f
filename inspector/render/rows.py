"""Rows side by side, pictures and diagrams for formats that have tables alone."""

from __future__ import annotations

__all__ = ["in_tables", "tabled"]

from collections.abc import Iterator

from inspector.messages import language, say
from inspector.render.document import (
    Block,
    Cell,
    Column,
    Details,
    Diagram,
    Document,
    Figures,
    Fold,
    Group,
    Heading,
    Lane,
    Line,
    Paragraph,
    Rows,
    Span,
    Strip,
    Table,
    cell,
    line,
    plain,
)


def in_tables(document: Document) -> Document:
    """The document with its rows as tables and its pictures as what they show in words."""
    return tuple(made for block in document for made in _in_tables(block))


def _in_tables(block: Block) -> Iterator[Block]:
    match block:
        case Rows():
            yield tabled(block)
        case Figures():
            yield Heading(3, block.caption)
            yield from (Paragraph(line(f"{figure.title}: {figure.description}")) for figure in block.figures)
        case Diagram():
            pass
        case Details():
            yield Details(block.summary, in_tables(block.blocks))
        case _:
            yield block


def tabled(rows: Rows) -> Table:
    """One line for each row: the part, then each model with how it relates to the one before."""
    columns = [Column(say("label.part"), least=18)]
    columns += [Column(say("label.meaning"), rank=1, least=14, prose=True)] if language() != "en" else []
    for place, name in enumerate(rows.names):
        columns += [Column("", least=12, prose=True)] if place else []
        columns.append(Column(name, least=14))
    return Table(tuple(columns), tuple(group for fold in rows.folds for group in _groups(fold, 1)))


def _groups(fold: Fold, level: int) -> Iterator[Group]:
    """A fold is a group; what follows a fold inside it goes on under the outer title."""
    title = line(Span(fold.title, "title"), Span(f"  {fold.said}" if fold.said else "", "muted"))
    held: list[tuple[Cell, ...]] = []
    shown = False
    for item in fold.items:
        if isinstance(item, Strip):
            held.append(_row(item))
            continue
        if held or not shown:
            yield Group(title if not shown else _again(fold), level, tuple(held))
            held, shown = [], True
        yield from _groups(item, min(level + 1, 2))
    if held or not shown:
        yield Group(title if not shown else _again(fold), level, tuple(held))


def _again(fold: Fold) -> Line:
    return line(Span(fold.title, "title"), Span(f"  {say('label.continued')}", "muted"))


def _row(strip: Strip) -> tuple[Cell, ...]:
    made = [cell(strip.part), *([cell(strip.meaning)] if language() != "en" else []), _lane(strip.lanes[0])]
    for lane, marks in zip(strip.lanes[1:], strip.marks, strict=True):
        said = (line(f"{mark.sign} {mark.status}{': ' if mark.said else ''}{', '.join(mark.said)}") for mark in marks)
        made += [cell(*said), _lane(lane)]
    return tuple(made)


def _lane(lane: Lane) -> Cell:
    """One line per box; operands that are alike share one."""
    seen: dict[str, tuple[list[str], Line]] = {}
    for box in lane.boxes:
        said = line(" ".join(filter(None, (box.name, box.said))), " ", *box.shape)
        seen.setdefault(plain(said), ([], said))[0].append(box.lane)
    return cell(
        *(line(f"{' '.join(operands)}: " if all(operands) else "", *said) for operands, said in seen.values())
    ) or cell(Span("–", "muted"))
