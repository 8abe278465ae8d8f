"""Materials of small models and of the catalogue, made once per session, and one whose every string is hostile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from inspector.api.report import Report
from inspector.fact_sheet.recorded import recorded
from inspector.fact_sheet.scene import Scene
from inspector.records import Scenario, Trace
from inspector.reporting.pictures_values import values
from inspector.reporting.report_material import Material, Values, material
from inspector.stage_graph.record import GraphRecord

HOSTILE = '</script><img src=x onerror=alert(1)>|`a`\x1b[31m\u202e![x](y)"]; </svg>&<!--'
"""What a stranger may call a model, a module or a value."""


@pytest.fixture(scope="session")
def seen(trace_of: Callable[..., Trace]) -> Callable[..., tuple[GraphRecord, Values]]:
    """What a report knows of a small model (`seen("bert")`) or of a catalogue entry (`seen("preset:gpt2")`)."""
    known: dict[str, tuple[GraphRecord, Values]] = {}

    def look(name: str, **changes: Any) -> tuple[GraphRecord, Values]:
        key = repr((name, sorted(changes.items())))
        if key not in known:
            trace = trace_of(name, Scenario(), **changes)
            scene = Scene(trace)
            known[key] = recorded(trace, scene), values(scene)
        return known[key]

    return look


@pytest.fixture(scope="session")
def found(seen: Callable[..., tuple[GraphRecord, Values]]) -> Callable[..., Material]:
    """The material of a report of these models."""
    return lambda *names: material([seen(name) for name in names])


@pytest.fixture(scope="session")
def reported(found: Callable[..., Material]) -> Callable[..., Report]:
    """The report of these models."""
    return lambda *names: Report(found(*names))


@pytest.fixture(scope="session")
def hostile(seen: Callable[..., tuple[GraphRecord, Values]]) -> Report:
    """A report in which names, modules, weights, attributes, facts and notes try to break out."""
    return Report(material([spoiled(*seen("gpt2")), spoiled(*seen("llama"))]))


def spoiled(record: GraphRecord, values: Values) -> tuple[GraphRecord, Values]:
    model = replace(record.model, name=f"{record.model.name}{HOSTILE}", class_name=HOSTILE)
    nodes = tuple(
        replace(
            node,
            module=f"{node.module}.{HOSTILE}",
            weights=tuple(view._replace(name=HOSTILE) for view in node.weights),
            attributes=(*node.attributes, ("function", HOSTILE)),
        )
        for node in record.nodes
    )
    facts = tuple(fact._replace(unit=HOSTILE) for fact in record.facts or ())
    return replace(record, model=model, nodes=nodes, facts=facts, notes=(HOSTILE,)), values
