"""Documents of results, one function per result."""

from __future__ import annotations

__all__ = ["header", "shapes"]

from collections.abc import Iterator, Sequence

from inspector.messages import say
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


def _columns(*, per_op: bool) -> tuple[Column, ...]:
    """The titles of one run; where ids are foreign words, what they mean stands beside them."""
    return (
        Column(say("label.role"), least=18),
        *([Column(say("label.meaning"), rank=2, least=16, prose=True)] if words.glossed() else []),
        Column(say("label.module"), rank=2, least=22),
        Column(say("label.input"), least=18),
        Column(say("label.output"), least=18),
        *([Column(say("explain.column_signature"), rank=2, least=26)] if per_op else []),
        Column(say("shapes.in numbers"), rank=4, least=24),
        Column(say("label.op"), rank=1, least=10),
        Column(say("label.dtype"), rank=5),
        Column(say("label.parameters"), "right"),
        Column(say("label.FLOPs"), "right", rank=3),
    )


def shapes(tables: Sequence[ShapeTable]) -> Document:
    """The shapes of one model; of several runs, side by side on the role."""
    return (*header(tables), _table(tables), *(block for table in tables for block in _footer(table, tables)))


def header(tables: Sequence[ShapeTable]) -> Iterator[Block]:
    model = tables[0].model
    tied = say("shapes.tied", n=f"{model.untied:,}") if model.untied != model.parameters else ""
    yield Heading(1, line(model.name or model.class_name))
    yield Paragraph(line(words.described(model) + tied))
    runs = [(_label(table, tables) or say("label.run"), cell(*words.scenario(table.scenario))) for table in tables]
    yield Pairs((*runs, (say("label.axes"), cells.legend(tables[0]))))


def _label(table: ShapeTable, tables: Sequence[ShapeTable]) -> str:
    """What tells this run from the others; nothing when it is alone."""
    return table.scenario.attention if len(tables) > 1 else ""


def _table(tables: Sequence[ShapeTable]) -> Table:
    entries = aligned(tables)
    if len(tables) == 1:
        per_op = tables[0].per_op
        return Table(_columns(per_op=per_op), groups(entries, tables[0], _one_op if per_op else _one))
    return Table(_several(tables), groups(entries, tables[0], _each))


def _several(tables: Sequence[ShapeTable]) -> tuple[Column, ...]:
    pairs = ((Column(_label(table, tables), least=16), Column(say("label.op"), rank=1, least=10)) for table in tables)
    return (Column(say("label.role"), least=18), *(column for pair in pairs for column in pair))


def _one(entry: Entry, section: str) -> tuple[Cell, ...]:
    row = present(entry)
    return (
        cells.role(row, section),
        *([cell(words.meaning(f"role_{row.section}", row.role))] if words.glossed() else []),
        cell(row.module),
        cells.tensors(row.inputs),
        cells.tensors(row.outputs, "→ "),
        cells.sizes(row),
        _calls(row),
        _dtype(row),
        cell(words.number(row.parameters)),
        cell(words.number(row.flops)),
    )


def _one_op(entry: Entry, section: str) -> tuple[Cell, ...]:
    made = present(entry).signature
    before, behind = (_one(entry, section)[:-5], _one(entry, section)[-5:])
    return (*before, cell(made.text if made else ""), *behind)


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
    yield Heading(2, line(say("shapes.summary of", label=label) if label else say("shapes.summary")))
    yield Pairs(tuple(_summary(table)))
    if table.cache:
        yield _cache(table)
    yield from (Note(line(text)) for text in (*_gaps(table.summary), *words.notes(table.notes)))


def _summary(table: ShapeTable) -> Iterator[tuple[str, Cell]]:
    summary = table.summary
    shown = words.counted(len(table.rows), "row")
    stages = say("shapes.in stages", n=f"{summary.ops:,}", stages=words.counted(summary.stages, "stage"))
    yield say("label.ops"), cell(stages, say("shapes.shown as", rows=shown))
    yield (
        say("label.roles"),
        cell(
            say("shapes.specific", share=f"{100 * summary.specific:.1f}"),
            words.counted(summary.unknown, "unknown op"),
            words.counted(summary.orphans, "orphan tensor"),
            words.counted(summary.unsolved_dims, "unsolved dimension"),
        ),
    )
    yield say("label.parameters"), cell(f"{summary.parameters:,}")
    flops = {"n": f"{summary.flops:,}"}, {"n": f"{summary.flops_other:,}"}
    yield say("label.FLOPs"), cell(say("shapes.in contractions", **flops[0]), say("shapes.in the rest", **flops[1]))
    if summary.cache_bytes_per_token is not None:
        yield say("shapes.KV cache"), cell(say("shapes.bytes", n=f"{summary.cache_bytes_per_token:,}"))


def _gaps(summary: ShapeSummary) -> Iterator[str]:
    """What was not understood is said in words too: a count in a list is easily overlooked."""
    if summary.unknown:
        yield say("shapes.unknown", ops=words.counted(summary.unknown, "op"))
    if summary.orphans:
        yield say("shapes.orphans", tensors=words.counted(summary.orphans, "tensor"))
    if summary.unsolved_dims:
        yield say("shapes.unsolved", dimensions=words.counted(summary.unsolved_dims, "dimension"))


def _cache(table: ShapeTable) -> Details:
    columns = (
        Column(say("label.layers")),
        Column(say("shapes.holds")),
        Column(say("shapes.shape"), least=16),
        Column(say("shapes.bytes in one layer"), "right"),
    )
    rows = tuple(
        (cell(layers), cell(name), cell(shape), cell(f"{size:,}")) for layers, name, shape, size in table.cache
    )
    return Details(line(say("shapes.cache holds")), (Table(columns, (Group(line(), 1, rows),)),))
