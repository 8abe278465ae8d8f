"""Sides and comparisons of small models and catalogue entries, made once per session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inspector.alignment.parts import Side
from inspector.comparison.judge import Comparison, compare
from inspector.comparison.sides import side_of
from inspector.records import Scenario, Trace
from inspector.tracing import observe


@pytest.fixture(scope="session")
def traced(tiny: Callable[..., Any], trace_of: Callable[..., Trace]) -> Callable[..., Trace]:
    """The trace of a small model of any type, or of a catalogue entry (`preset:gpt2`)."""
    known: dict[str, Trace] = {}

    def made(name: str, attention: str = "eager", batch: int = 2, seq: int = 16, **changes: Any) -> Trace:
        key = repr((name, attention, batch, seq, sorted(changes.items())))
        if key not in known:
            asked = Scenario(attention=attention, batch=batch, seq=seq)
            preset = name.startswith("preset:")
            known[key] = trace_of(name, asked) if preset else observe(tiny(name, **changes), asked)
        return known[key]

    return made


@pytest.fixture(scope="session")
def side(traced: Callable[..., Trace]) -> Callable[..., Side]:
    """The side of what `traced` takes."""
    return lambda name, attention="eager", **changes: side_of(traced(name, attention, **changes))


@pytest.fixture(scope="session")
def compared(side: Callable[..., Side]) -> Callable[..., Comparison]:
    """The comparison of two models, each a name or a pair (name, changes)."""

    def made(*both: Any) -> Comparison:
        a, b = (side(item) if isinstance(item, str) else side(item[0], **item[1]) for item in both)
        return compare(a, b)

    return made
