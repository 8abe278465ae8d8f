"""Flat records as CSV, for a spreadsheet or a data frame."""

from __future__ import annotations

__all__ = ["csv"]

import io
from collections.abc import Mapping, Sequence

from inspector.render.escape import visible


def csv(records: Sequence[Mapping[str, object]]) -> str:
    r"""One line per record, below the keys that all of them have.

    >>> csv([{"role": "norm", "flops": 12}])
    'role,flops\nnorm,12\n'

    A spreadsheet runs text that begins with `=`, `+`, `-` or `@`: such text gets a quote in front.
    """
    from csv import writer

    out = io.StringIO()
    lines = writer(out, lineterminator="\n")
    lines.writerows([map(_safe, records[0])] if records else [])
    lines.writerows([_safe(value) for value in record.values()] for record in records)
    return out.getvalue()


def _safe(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
