"""One parity run: look once, then run again and check each stage as it comes, and let go of it."""

from __future__ import annotations

__all__ = ["Claiming", "Running", "claims_for", "verify"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from inspector.records import Claims, ModelInfo, Scenario
from inspector.tracing.again import Again, run_again
from inspector.tracing.tape import Taping
from inspector.verification.aligning import aligned
from inspector.verification.check import Checker
from inspector.verification.claims import Claimed
from inspector.verification.matching import by_stage
from inspector.verification.plan import Plan, plan
from inspector.verification.report import Report, Row
from inspector.verification.special import Special
from inspector.verification.telling import Telling


@dataclass(frozen=True)
class Running:
    """A model that can be run as often as is needed. inputs: fresh ones, for a cache is spent by a forward."""

    module: nn.Module
    inputs: Callable[[], Mapping[str, Any]]
    scenario: Scenario
    info: ModelInfo
    claims: Claims = field(default_factory=Claims)


Claiming = Callable[[Mapping[str, Any]], Claimed] | Callable[[Mapping[str, Any], Plan], Claimed]
"""What is claimed of a forward with these inputs; who asks for it is told what ran, too."""


def claims_for(claimed: Claiming, inputs: Mapping[str, Any], first: Plan) -> Claimed:
    """What is claimed. Whoever takes a second argument is given the plan of what runs."""
    told: Callable[..., Claimed] = claimed
    return told(inputs, first) if len(signature(told).parameters) > 1 else told(inputs)


def verify(
    running: Running,
    claimed: Claiming,
    progress: Callable[[str], None] | None = None,
    *,
    power: bool = False,
    first: Plan | None = None,
) -> Report:
    """Check every stage of one forward against what is claimed of it.

    progress: told how many are done. power: measure which wrong formulas each check would have told, too. first: the
    plan of this very run, where it was made before.
    """
    first = first or plan(running.module, running.inputs(), running.scenario, running.info, running.claims, by=Taping)
    special = Special(first) if isinstance(first.run.watcher, Taping) else None
    inputs = running.inputs()
    claims = claims_for(claimed, inputs, first)
    first, matching = aligned(first, claims) if claims.wired else (first, by_stage(claims))
    checker = Checker(first, claims, matching, Telling() if power else None, special)
    rows: list[Row] = []
    raw = first.raw

    def whole(group: int, held: Mapping[int, Tensor]) -> None:
        rows.append(
            checker.row(first.stages[group], lambda value: held[raw[value]], lambda value: watcher.intact(raw[value]))
        )
        if progress:
            progress(f"checked {len(rows):,} of {len(first.stages):,} stages")

    watcher = Again(running.module, first.run.watcher, first.wanted, whole)
    with torch.no_grad():
        run_again(running.module, inputs, watcher)
    missing = [row for row in map(checker.missing, matching.missing) if row is not None]
    rows = sorted([*rows, *missing], key=lambda row: (row.place, row.module == ""))
    spared = _spared(running.module, claims)
    return Report(
        model=running.info,
        scenario=running.scenario,
        rows=tuple(rows),
        reference=claims.where,
        calls=checker.values.calls,
        elements=checker.values.elements,
        uncovered=_uncovered(first, running.module, rows, spared),
        power=checker.values.probe.figures(),
        notes=(
            *checker.values.asides,
            *checker.values.probe.notes(),
            *(special.notes() if special else ()),
            *_remembered(spared),
        ),
        tool=first.trace.tool,
    )


def _uncovered(first: Plan, module: nn.Module, rows: Sequence[Row], spared: Sequence[str]) -> tuple[str, ...]:
    """Parameters that no stage reads whose value was judged, but for those of which it is claimed that none does."""
    values = first.trace.values
    judged = {row.place for row in rows if row.verdict not in ("exempt", "unchecked")}
    read = {values[value].name for index in judged if index >= 0 for value in first.stages[index].parameters}
    read |= set(spared)
    return tuple(name for name, _ in module.named_parameters() if name not in read)


def _spared(module: nn.Module, claims: Claimed) -> list[str]:
    """The parameters of which it is claimed that they take no part: by the tensor, for tied ones have several names."""
    sources = (source for step in claims.steps for _, source in step.sources)
    claimed = {id(claims.weights[str(source.ref)]) for source in sources if source.kind == "weight"}
    spared = {id(claims.weights[name]) for name in claims.spared} - claimed
    return [name for name, parameter in module.named_parameters() if id(parameter) in spared]


def _remembered(spared: Sequence[str]) -> list[str]:
    count = len(spared)
    return [f"{count} parameters take no part in this step: what they gave before is remembered"] if count else []
