"""Cells of the shapes table: dimensions in the colours of their axes, tensors, roles."""

from __future__ import annotations

__all__ = ["legend", "role", "sizes", "symbolic", "tensors"]

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from inspector.axes import AXES
from inspector.messages import say
from inspector.render.document import Cell, Line, Span, cell, line
from inspector.reporting import words
from inspector.shape_table.rows import ShapeRow, ShapeTable
from inspector.stage_graph.tensors import Dim, TensorView
from inspector.vocabulary import CATCH_ALL, UNKNOWN


def symbolic(dims: Sequence[Dim]) -> Line:
    """`(B, 12, S, 64)`, each dimension in the colour of its axis."""
    inner = (span for index, dim in enumerate(dims) for span in (*_comma(index), *_dim(dim)))
    return line("(", *inner, ")")


def tensors(views: Sequence[TensorView], lead: str = "") -> Cell:
    """One line per tensor; equal neighbours share a line: `(B, S, 768) ×3`."""
    return cell(
        *(
            line(Span(lead, "muted") if lead else "", *symbolic(dims), Span(f" ×{count}", "muted") if count > 1 else "")
            for dims, count in _runs(view.dims for view in views)
        )
    )


def sizes(row: ShapeRow) -> Cell:
    """The same in numbers: `2×16×768 → 2×16×2304`."""
    return cell(f"{_numbers(row.inputs)} → {_numbers(row.outputs)}".strip())


def role(row: ShapeRow, section: str) -> Cell:
    """The role below the heading of `section`; what belongs to another section says so."""
    if not row.role or UNKNOWN in (row.role, row.section):
        return cell(line(Span(UNKNOWN, "warning")))
    name = row.role if row.section == section else f"{row.section}.{row.role}"
    quiet = "muted" if row.section in CATCH_ALL else ""
    also = "".join(f" +{other.removeprefix(f'{row.section}.')}" for other in row.also)
    operand = f" {row.operand}" if row.operand and not row.role.startswith(f"{row.operand}_") else ""
    return cell(line(Span(name, quiet), operand, Span(also, "muted")))


def legend(table: ShapeTable) -> Cell:
    """What each letter stands for in this run: `B=2 batch`, `D=768 width`."""
    run = table.scenario
    used = {letter for row in table.rows for view in (*row.inputs, *row.outputs) for letter in _letters(view)}
    values = {"B": run.batch, "S": run.seq}
    if run.past:
        values["P"] = run.past
    if used & {"T", "P"} or run.past:
        values["T"] = run.past + run.seq
    values.update(table.axes)
    return cell(*(_meaning(letter, value) for letter, value in values.items()))


def _meaning(letter: str, value: int) -> Line:
    name = words.meaning("axis", letter)
    return line(Span(f"{letter}={value:,}", _style(letter)), f" {name}" if name else "")


def _style(letter: str) -> str:
    return letter if letter in AXES else ""


def _letters(view: TensorView) -> Iterator[str]:
    return (letter for dim in view.dims for letter in dim.axis.split("·"))


def _comma(index: int) -> tuple[str, ...]:
    return (", ",) if index else ()


def _dim(dim: Dim) -> Iterator[str | Span]:
    """A product of axes is coloured factor by factor, where it is written so: `12·64` as H·K."""
    texts, letters = dim.text.split("·"), dim.axis.split("·")
    if len(texts) != len(letters):
        texts, letters = [dim.text], letters[:1]
    for index, (text, letter) in enumerate(zip(texts, letters, strict=True)):
        yield from ("·",) if index else ()
        yield Span(text, "warning" if text.startswith("?") else _style(letter))


def _runs(shapes: Iterable[tuple[Dim, ...]]) -> Iterator[tuple[tuple[Dim, ...], int]]:
    return ((dims, len(list(same))) for dims, same in groupby(shapes))


def _numbers(views: Sequence[TensorView]) -> str:
    parts = []
    for dims, count in _runs(view.dims for view in views):
        shape = "×".join(str(dim.size) for dim in dims) or "()"
        parts.append(say("shapes.times", shape=shape, n=count) if count > 1 else shape)
    return words.listed(parts)
