"""Which rows of a survey are worse than those of an earlier one."""

from __future__ import annotations

__all__ = ["read", "worse"]

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inspector.errors import SchemaError
from inspector.reporting.coverage_rows import Row, Worse

SCHEMA = "inspector/coverage/1"

_HIGHER = ("role_percent", "specific_percent", "label_exam", "stages_verified")
"""Shares: more is better. A tenth of a percent is how they are rounded."""

_LOWER = ("unknown", "stages_failed")


def read(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """The rows of an earlier survey, by type. SchemaError where the file is none."""
    name = os.fspath(path)
    try:
        document = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise SchemaError(f"the baseline {name} cannot be read", why=error.strerror or str(error)) from error
    except ValueError as error:
        raise SchemaError(f"the baseline {name} is no JSON", why=str(error)) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        hint = "write one with `inspector models --coverage --format json -o FILE`"
        raise SchemaError(f"the baseline {name} is no {SCHEMA} document", hint=hint)
    return {row["model_type"]: row for row in document["rows"]}


def worse(rows: Sequence[Row], before: Mapping[str, Mapping[str, Any]]) -> tuple[list[Worse], int]:
    """What is worse, and how many rows there were to compare. A figure that nobody took is not compared.

    >>> worse([Row("gpt2", traced=True, unknown=3)], {"gpt2": {"traced": True, "unknown": 0}})
    ([Worse(model_type='gpt2', field='unknown', before=0, now=3)], 1)
    """
    pairs = [(row, before[row.model_type]) for row in rows if row.model_type in before]
    return [found for row, old in pairs for found in _worse(row, old)], len(pairs)


def _worse(row: Row, old: Mapping[str, Any]) -> Iterator[Worse]:
    if old.get("traced") and not row.traced:
        yield Worse(row.model_type, "traced", True, False)
        return
    for sign, fields in ((1, _HIGHER), (-1, _LOWER)):
        for field in fields:
            was, now = old.get(field), getattr(row, field)
            missing = now is None and was is not None and field != "label_exam"
            if missing or (was is not None and now is not None and sign * now < sign * was - 0.05):
                yield Worse(row.model_type, field, was, now)
    was, now = len(old.get("conflicts", row.conflicts)), len(row.conflicts)
    if now > was:
        yield Worse(row.model_type, "conflicts", was, now)
