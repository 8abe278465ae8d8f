"""One parity run, from what a user gave to a report."""

from __future__ import annotations

__all__ = ["Ran", "checked", "set_up", "steady"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from inspector.errors import TraceFailed
from inspector.records import Scenario

if TYPE_CHECKING:
    from inspector.source.prepared import Prepared
    from inspector.verification.claims import Claimed
    from inspector.verification.plan import Plan
    from inspector.verification.report import Report
    from inspector.verification.verify import Claiming, Running

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Ran:
    """What is needed to run a model and to know what is claimed of it.

    claimed: who claims what should be done. missing: why that is no whole reference forward, "" where it is one.
    """

    running: Running
    prepared: Prepared
    claimed: Claiming
    missing: str
    notes: tuple[str, ...]


def set_up(
    model: Any, inputs: Any, scenario: Scenario, weights: str | None, *, twin: bool, progress: Progress | None
) -> Ran:
    """The model with its values, once it is known to give the same answer twice."""
    if progress:
        progress("building the model")
    from inspector.source.prepared import prepare
    from inspector.tracing.run import model_info
    from inspector.verification.verify import Running

    found = prepare(model, inputs, scenario, weights, twin=twin)
    notes = steady(found)
    info = model_info(found.subject, found.module)
    info = replace(info, model_type=found.model_type)
    running = Running(found.module, found.inputs, found.scenario, info, found.subject.claims)
    if found.scenario.weights == "random":
        _keep_apart(running)
    claimed, missing = _claimed(found, running)
    return Ran(running, found, claimed, missing, (*found.notes, *notes, *((missing,) if missing else ())))


def _keep_apart(running: Running) -> None:
    """Which weights write into the stream is seen in a forward of its own: it may go other ways with the new ones."""
    from inspector.tracing.run import unchanged
    from inspector.verification.depth import keep_apart
    from inspector.verification.plan import plan

    with unchanged(running.module):
        first = plan(running.module, running.inputs(), running.scenario, running.info, running.claims)
    keep_apart(first.graph, running.module)


def steady(found: Prepared) -> tuple[str, ...]:
    """What there is to say of a model that gives the same answer twice; an error where it does not."""
    from inspector.tracing.run import at_fault, unchanged
    from inspector.tracing.steady import require_steady

    with unchanged(found.module), at_fault(found.subject, "running the model"):
        return require_steady(found.module, found.inputs)


_SMALL = 64 * 2**20
"""Bytes of weights in float64 up to which the reference forward is always run as a whole, too."""


def checked(ran: Ran, progress: Progress | None, *, whole: bool = False) -> Report:
    """Every stage of one forward, held against its reference. whole: the answers too, however large the model is."""
    from inspector.source.machine import arithmetic
    from inspector.tracing.run import unchanged
    from inspector.verification.verify import verify

    with unchanged(ran.running.module):
        report = verify(ran.running, ran.claimed, progress, power=True)
    if not report.rows:
        raise TraceFailed(f"{ran.prepared.subject.name}: the forward pass ran no op", hint="there is nothing to check")
    report = replace(report, notes=(*ran.notes, *report.notes), flags=report.flags or arithmetic())
    return _with_answers(report, ran, whole=whole)


def _with_answers(report: Report, ran: Ran, *, whole: bool) -> Report:
    """With how far the answers are from float64: shown, never judged."""
    if ran.missing:
        return report
    from inspector.tracing.run import unchanged
    from inspector.verification.whole import whole_of

    with unchanged(ran.running.module):
        found = whole_of(ran.running) if whole else whole_of(ran.running, limit=_SMALL)
    if isinstance(found, str):
        return replace(report, notes=(*report.notes, f"the answers were not compared: {found}")) if whole else report
    return replace(report, whole=tuple((f"{one.name} {one.unit}".strip(), one.value) for one in found))


def _claimed(found: Prepared, running: Running) -> tuple[Claiming, str]:
    """Who claims what the model should do, and why that is no whole forward, where it is none."""
    from inspector.reference.weights import NotCovered
    from inspector.verification.claiming import whole_claims
    from inspector.verification.readings import claimed_from

    def by_stage(inputs: Mapping[str, Any], plan: Plan) -> Claimed:
        return claimed_from(plan, found.module, inputs, plan.trace.claims)

    kind = f"the model type {found.model_type}" if found.model_type else "a model without a transformers config"
    why = f"there is no reference forward for {kind}"
    try:
        whole = whole_claims(running, found.model_type, found.config)
        if whole is not None:
            return whole, ""
    except NotCovered as error:
        why = f"{error.what}{f' ({error.why})' if error.why else ''}"
    return by_stage, f"{why}: each stage was checked by itself, and nothing claims where its inputs come from"
