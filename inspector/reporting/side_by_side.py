"""Lines several tables up on the role, so that two runs of one model can be read side by side."""

from __future__ import annotations

__all__ = ["Entry", "aligned", "present"]

from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher

from inspector.shape_table.rows import ShapeRow, ShapeTable

Entry = tuple[ShapeRow | None, ...]
"""The rows of one part of the architecture, one per table; None where a table has no such part."""

Key = tuple[object, ...]


def aligned(tables: Sequence[ShapeTable]) -> list[Entry]:
    """The rows of all tables in one reading order. The order within each table is kept."""
    keyed = [_keyed(table.rows) for table in tables]
    order: list[Key] = []
    for rows in keyed:
        order = _merged(order, list(rows))
    return [tuple(rows.get(key) for rows in keyed) for key in order]


def present(entry: Entry) -> ShapeRow:
    """A row that speaks for the entry.

    >>> present((None, "row"))
    'row'
    """
    return next(row for row in entry if row is not None)


def _keyed(rows: Sequence[ShapeRow]) -> dict[Key, ShapeRow]:
    """Rows by part and module; the third `layout.reshape` of a block is named so by its count."""
    seen: Counter[Key] = Counter()
    keyed: dict[Key, ShapeRow] = {}
    for row in rows:
        key: Key = (row.block, row.layers, row.section, row.role, row.operand, row.module)
        keyed[(*key, seen[key])] = row
        seen[key] += 1
    return keyed


def _merged(first: list[Key], second: list[Key]) -> list[Key]:
    """Both orders in one; a key that stands at different places in the two stays where `first` has it."""
    known = set(first)
    merged: list[Key] = []
    for tag, a, b, c, d in SequenceMatcher(a=first, b=second, autojunk=False).get_opcodes():
        merged += first[a:b]
        if tag in ("insert", "replace"):
            merged += [key for key in second[c:d] if key not in known]
    return merged
