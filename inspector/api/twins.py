"""The trace of a small twin: on the meta device, and where that cannot be, on the CPU."""

from __future__ import annotations

__all__ = ["observe_twin", "on_meta_or_cpu"]

from dataclasses import replace
from typing import TYPE_CHECKING

from inspector.errors import TraceFailed, UsageError
from inspector.records import Scenario, Trace

if TYPE_CHECKING:
    from inspector.source import Subject


def observe_twin(subject: Subject, scenario: Scenario) -> Trace:
    """The trace of a small copy of the same config, which says of itself that it is one."""
    from inspector.source.tiny import twin_subject

    if scenario.weights == "checkpoint":
        raise UsageError("a twin has random weights of its own", hint="use --twin or --weights, not both")
    return on_meta_or_cpu(twin_subject(subject, scenario), scenario)


def on_meta_or_cpu(twin: Subject, scenario: Scenario) -> Trace:
    """A twin is small enough for the CPU: there it runs where values decide, or where a format is not supported."""
    from inspector.tracing import observe

    try:
        return observe(twin, scenario)
    except TraceFailed as error:
        if scenario.device != "meta":
            raise
        trace = observe(twin, replace(scenario, device="cpu", dtype="float32", weights="random"))
        note = f"run in float32 on the CPU: on the meta device it fails ({error.why})"
        return replace(trace, notes=(*trace.notes, note))
