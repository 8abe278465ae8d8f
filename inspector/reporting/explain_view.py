"""Every product of matrices of a forward pass, in words and as a table."""

from __future__ import annotations

__all__ = ["document", "envelope", "products", "records", "sentence"]

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from inspector.axes import AXES
from inspector.messages import say, speaking
from inspector.render.document import (
    Block,
    Cell,
    Column,
    Document,
    Heading,
    Note,
    Pairs,
    Paragraph,
    Table,
    cell,
    line,
)
from inspector.reporting import cells, words
from inspector.reporting.envelope import model_entry, signature_fields
from inspector.reporting.groups import groups
from inspector.reporting.side_by_side import Entry, present
from inspector.reporting.views import header
from inspector.shape_table.rows import ShapeRow, ShapeTable
from inspector.shape_table.signatures import Signature


def products(table: ShapeTable) -> tuple[ShapeRow, ...]:
    """The rows that multiply matrices, of a table with one row per op."""
    return tuple(row for row in table.rows if row.signature is not None)


def document(table: ShapeTable) -> Document:
    """What `--explain` prints."""
    rows = products(table)
    return (*header([_introducing(table, rows)]), *_words(rows), _table(table, rows), *_end(table, rows))


def _introducing(table: ShapeTable, rows: Sequence[ShapeRow]) -> ShapeTable:
    """A kernel's signature tells value heads from others where both have one size, and so must the legend of axes."""
    said = {axis for row in rows if row.signature for axes in row.signature.inputs for axis in axes}
    sizes = dict(table.axes)
    if "Kv" not in said or "Kv" in sizes or "K" not in sizes:
        return table
    sizes["Kv"] = sizes["K"]
    return replace(table, axes=tuple((letter, sizes[letter]) for letter in AXES if letter in sizes))


def sentence(row: ShapeRow) -> str:
    """What one product does: `for each of B sequences and H heads, every query (S) is held against every key (T)`."""
    made = row.signature
    assert made is not None
    parts = [_said(row, made)]
    parts += [say("explain.broadcast", axes=_counted(made.broadcast))] if made.broadcast else []
    parts += [say("explain.chosen", axes=_counted(made.chosen))] if made.chosen else []
    parts += [say("explain.added", axes=_listed(made.added[0]))] if made.added else []
    cost = say("explain.cost", formula=made.formula) if made.formula else words.scaled(row.flops, "FLOPs")
    return say("explain.told", said=say("explain.parts").join(parts), cost=cost)


def _said(row: ShapeRow, made: Signature) -> str:
    first, *others = made.inputs
    last = others[-1] if others else ()
    rows, columns = _only(made, first, others), _only(made, last, [first, *others[:-1]])
    said = {
        "batch": _counted((*made.batch, *made.broadcast)),
        "rows": _listed(rows),
        "columns": _listed(columns),
        "summed": _listed(made.summed),
    }
    if row.role == "fused" and len(made.inputs) == 3 and said["batch"]:
        inner, keys = made.summed
        return say("explain.fused", **{**said, "keys": keys, "inner": inner})
    if row.role == "scores" and columns:
        if "T" in rows:  # keys on the left
            said["rows"], said["columns"] = said["columns"], said["rows"]
        return say("explain.scores" if said["batch"] else "explain.scores_alone", **said)
    if row.role == "weighted_sum" and columns:
        return say("explain.weighted_sum" if said["batch"] else "explain.weighted_sum_alone", **said)
    return _plain(made, columns)


def _plain(made: Signature, columns: Sequence[str]) -> str:
    kept, summed = [axis for axis in made.output if axis not in columns], _listed(made.summed)
    if not made.summed:
        return say("explain.pairs", kept=_counted(made.output))
    if not made.output:
        return say("explain.number", summed=summed)
    if not columns or not kept:
        return say("explain.vector", kept=_counted(made.output), summed=summed)
    return say("explain.projection", kept=_counted(kept), summed=summed, new=_listed(columns))


def _only(made: Signature, mine: Iterable[str], others: Sequence[Sequence[str]]) -> list[str]:
    """Axes of the result that one factor alone has, and not because the others are used again for each of it."""
    own = (axis for axis in mine if axis in made.output and axis not in made.broadcast)
    return [axis for axis in own if not any(axis in other for other in others)]


def _listed(axes: Sequence[str]) -> str:
    return say("explain.and").join(axes)


def _counted(axes: Sequence[str]) -> str:
    """`B sequences and H heads`; joined axes one by one."""
    single = [part for axis in axes for part in axis.split("·")]
    said = [say(f"explain.axis_{_kind(axis)}", axis=axis) for axis in single]
    *front, back = said or [""]
    return say("explain.and").join([say("explain.comma").join(front), back] if front else [back])


def _kind(axis: str) -> str:
    letter = axis.rstrip("'")
    return letter if letter in AXES else "other"


def _words(rows: Sequence[ShapeRow]) -> Iterator[Block]:
    yield Heading(2, line(say("explain.words")))
    told: dict[tuple[str, str], None] = {}
    for row in rows:
        told.setdefault((_name(row), sentence(row)))
    yield Pairs(tuple((name, cell(text)) for name, text in told))
    yield Heading(2, line(say("explain.table")))
    yield Paragraph(line(say("explain.reading")))


def _name(row: ShapeRow) -> str:
    path = f"{row.section}.{row.role}" if row.role else row.section
    return path if not row.operand or row.role.startswith(f"{row.operand}_") else f"{path} {row.operand}"


def _columns() -> tuple[Column, ...]:
    return (
        Column(say("explain.column_role"), least=12),
        Column(say("explain.column_module"), rank=5, least=22),
        Column(say("explain.column_op"), rank=4),
        Column(say("explain.column_signature"), least=26),
        Column(say("explain.column_batch"), rank=3),
        Column(say("explain.column_broadcast"), rank=3),
        Column(say("explain.column_summed"), rank=1),
        Column(say("explain.column_flops"), least=14),
        Column(say("explain.column_figure"), "right", rank=2),
    )


def _table(table: ShapeTable, rows: Sequence[ShapeRow]) -> Table:
    return Table(_columns(), groups([(row,) for row in rows], table, _cells))


def _cells(entry: Entry, section: str) -> tuple[Cell, ...]:
    row = present(entry)
    made = row.signature
    assert made is not None
    return (
        cells.role(row, section),
        cell(row.module),
        cell(row.op),
        cell(made.text),
        cell(", ".join(made.batch)),
        cell(", ".join(made.broadcast)),
        cell(", ".join(made.summed)),
        cell(made.formula),
        cell(words.number(row.flops)),
    )


def _end(table: ShapeTable, rows: Sequence[ShapeRow]) -> Iterator[Block]:
    count = sum(row.repeat for row in rows)
    yield Heading(2, line(say("explain.summary")))
    counted = say("explain.counted", products=f"{count:,}", ops=f"{table.summary.ops:,}")
    yield Pairs(((say("explain.products"), cell(counted)),))
    if left := uncovered(table):
        yield Note(line(say("explain.uncovered", figure=f"{left:,}")))
    yield from (Note(line(text)) for text in words.notes(table.notes))


def uncovered(table: ShapeTable) -> int:
    """FLOPs of shown products that have no signature."""
    return sum(row.flops * row.repeat for row in table.rows if row.signature is None)


def envelope(table: ShapeTable) -> dict[str, Any]:
    """The envelope of `--explain --format json`; its sentences are English."""
    rows = products(table)
    with speaking("en"):
        told = [sentence(row) for row in rows]
    summary = {
        "products": sum(row.repeat for row in rows),
        "flops": sum(row.flops * row.repeat for row in rows),
        "uncovered_flops": uncovered(table),
        **{name: asdict(table.summary)[name] for name in ("ops", "unknown", "orphans", "unsolved_dims")},
    }
    return {
        "schema": "inspector/explain/1",
        "tool": dict(table.tool),
        "models": [model_entry(table)],
        "rows": [
            {**record, "layers": row.layers, "signature": signature_fields(row.signature), "sentence": text}
            for row, record, text in zip(rows, records(table), told, strict=True)
        ],
        "summary": summary,
    }


def records(table: ShapeTable) -> list[dict[str, object]]:
    """Flat rows, one per product."""
    return [
        {
            "id": row.id,
            "section": row.section,
            "role": row.role,
            "operand": row.operand,
            "layers": row.layers,
            "repeat": row.repeat,
            "op": row.op,
            "module": row.module,
            "signature": row.signature.text,
            "flops": row.flops,
        }
        for row in products(table)
        if row.signature is not None
    ]
