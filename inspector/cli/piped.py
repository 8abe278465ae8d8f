"""A saved graph or lock that comes through a pipe."""

from __future__ import annotations

__all__ = ["taken"]

import json
import sys
from typing import TYPE_CHECKING

from inspector.errors import SchemaError

if TYPE_CHECKING:
    from inspector.stage_graph.record import GraphRecord

NAME = "standard input"


def taken(model: str) -> str | GraphRecord:
    """What MODEL is: of `-` the graph that is read from standard input, else its name."""
    return _read() if model == "-" else model


def _read() -> GraphRecord:
    from inspector.stage_graph.export.lock import read_lock
    from inspector.stage_graph.export.saved import from_document

    text = sys.stdin.buffer.read() if sys.stdin is not None else b""
    if not text.strip():
        raise SchemaError(
            f"{NAME} is empty",
            why="- reads one saved graph or lock, once",
            hint="inspector graph gpt2 --format json | ...",
        )
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{NAME} is not JSON", why=str(error).partition("\n")[0]) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if str(schema).startswith("inspector/lock/"):
        return read_lock(document, NAME).record
    return from_document(document, NAME)
