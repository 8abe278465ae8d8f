from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inspector.fact_sheet.facts import FactSheet
from inspector.fact_sheet.sheet import fact_sheet
from inspector.records import Scenario


@pytest.fixture(scope="session")
def facts_of(trace_of: Callable[..., Any]) -> Callable[..., FactSheet]:
    """The facts of a small model or a catalogue entry, from its run alone."""

    def facts(name: str, scenario: Scenario | None = None, **changes: Any) -> FactSheet:
        return fact_sheet(trace_of(name, scenario, **changes))

    return facts
