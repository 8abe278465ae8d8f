"""Documents of results, one function per result."""

from __future__ import annotations

__all__ = ["shapes"]

from collections.abc import Iterator, Sequence

from inspector.render.document import (
    Block,
    Cell,
    Column,
    Details,
    Document,
    Group,
    Heading,
    Note,
    Pairs,
    Paragraph,
    Span,
    Table,
    cell,
    line,
)
from inspector.reporting import cells, words
from inspector.reporting.groups import groups
from inspector.reporting.side_by_side import Entry, aligned, present
from inspector.shape_table.rows import ShapeRow, ShapeSummary, ShapeTable

_ONE = (
    Column("role", least=18),
    Column("module", rank=2, least=22),
    Column("input", least=18),
    Column("output", least=18),
    Column("in numbers", rank=4, least=24),
    Column("op", rank=1, least=10),
    Column("dtype", rank=5),
    Column("parameters", "right"),
    Column("FLOPs", "right", rank=3),
)


def shapes(tables: Sequence[ShapeTable]) -> Document:
    """The shapes of one model; of several runs, side by side on the role."""
    return (*_header(tables), _table(tables), *(block for table in tables for block in _footer(table, tables)))


def _header(tables: Sequence[ShapeTable]) -> Iterator[Block]:
    model = tables[0].model
    kind = f" ({model.model_type})" if model.model_type else ""
    tied = f" ({model.untied:,} with tied ones counted each time)" if model.untied != model.parameters else ""
    yield Heading(1, line(model.name or model.class_name))
    yield Paragraph(line(f"{model.class_name}{kind}, {words.counted(model.parameters, 'parameter')}{tied}"))
    runs = [(_label(table, tables) or "run", cell(*words.scenario(table.scenario))) for table in tables]
    yield Pairs((*runs, ("axes", cells.legend(tables[0]))))


def _label(table: ShapeTable, tables: Sequence[ShapeTable]) -> str:
    """What tells this run from the others; nothing when it is alone."""
    return table.scenario.attention if len(tables) > 1 else ""


def _table(tables: Sequence[ShapeTable]) -> Table:
    entries = aligned(tables)
    if len(tables) == 1:
        return Table(_ONE, groups(entries, tables[0], _one))
    return Table(_several(tables), groups(entries, tables[0], _each))


def _several(tables: Sequence[ShapeTable]) -> tuple[Column, ...]:
    pairs = ((Column(_label(table, tables), least=16), Column("op", rank=1, least=10)) for table in tables)
    return (Column("role", least=18), *(column for pair in pairs for column in pair))


def _one(entry: Entry, section: str) -> tuple[Cell, ...]:
    row = present(entry)
    return (
        cells.role(row, section),
        cell(row.module),
        cells.tensors(row.inputs),
        cells.tensors(row.outputs, "→ "),
        cells.sizes(row),
        _calls(row),
        _dtype(row),
        cell(words.number(row.parameters)),
        cell(words.number(row.flops)),
    )


def _each(entry: Entry, section: str) -> tuple[Cell, ...]:
    absent = (cell(line(Span("–", "muted"))), cell(""))
    sides = (absent if row is None else (cells.tensors(row.outputs), _calls(row)) for row in entry)
    return (cells.role(present(entry), section), *(value for side in sides for value in side))


def _calls(row: ShapeRow) -> Cell:
    return cell(row.op.replace(" ", ", "))


def _dtype(row: ShapeRow) -> Cell:
    """One dtype, or `bfloat16 → float32` where the numbers change their format."""
    before, after = ("/".join(dict.fromkeys(view.dtype for view in views)) for views in (row.inputs, row.outputs))
    return cell(after if before in ("", after) else f"{before} → {after}")


def _footer(table: ShapeTable, tables: Sequence[ShapeTable]) -> Iterator[Block]:
    label = _label(table, tables)
    yield Heading(2, line(f"summary of {label}" if label else "summary"))
    yield Pairs(tuple(_summary(table)))
    if table.cache:
        yield _cache(table)
    yield from (Note(line(text)) for text in (*_gaps(table.summary), *table.notes))


def _summary(table: ShapeTable) -> Iterator[tuple[str, Cell]]:
    summary = table.summary
    shown = words.counted(len(table.rows), "row")
    yield "ops", cell(f"{summary.ops:,} in {words.counted(summary.stages, 'stage')}", f"shown as {shown}")
    yield (
        "roles",
        cell(
            f"{100 * summary.specific:.1f} % specific",
            words.counted(summary.unknown, "unknown op"),
            words.counted(summary.orphans, "orphan tensor"),
            words.counted(summary.unsolved_dims, "unsolved dimension"),
        ),
    )
    yield "parameters", cell(f"{summary.parameters:,}")
    yield "FLOPs", cell(f"{summary.flops:,} in contractions", f"{summary.flops_other:,} in the rest")
    if summary.cache_bytes_per_token is not None:
        yield "KV cache", cell(f"{summary.cache_bytes_per_token:,} bytes per token")


def _gaps(summary: ShapeSummary) -> Iterator[str]:
    """What was not understood is said in words too: a count in a list is easily overlooked."""
    if summary.unknown:
        yield f"{words.counted(summary.unknown, 'op')} could not be given a role: see the rows marked unknown"
    if summary.orphans:
        yield f"{words.counted(summary.orphans, 'tensor')} came from nowhere that was watched: a gap in this trace"
    if summary.unsolved_dims:
        yield f"{words.counted(summary.unsolved_dims, 'dimension')} did not solve for B, S and P: shown as a number"


def _cache(table: ShapeTable) -> Details:
    columns = (
        Column("layers"),
        Column("holds"),
        Column("shape", least=16),
        Column("bytes per token in one layer", "right"),
    )
    rows = tuple(
        (cell(layers), cell(name), cell(shape), cell(f"{size:,}")) for layers, name, shape, size in table.cache
    )
    return Details(line("what the KV cache holds"), (Table(columns, (Group(line(), 1, rows),)),))
