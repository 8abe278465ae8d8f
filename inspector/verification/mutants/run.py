"""Every mutant that applies to a model, one after the other, against the checker."""

from __future__ import annotations

__all__ = ["run_mutants"]

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inspector.verification.aligning import aligned
from inspector.verification.claims import Claimed, tensors_of
from inspector.verification.mutants.apply import Edits, edits_of, mutated
from inspector.verification.mutants.catalogue import CATALOGUE
from inspector.verification.mutants.ground import Ground, Target
from inspector.verification.mutants.kernel import inside, whole
from inspector.verification.mutants.mutant import Mutant
from inspector.verification.mutants.report import MutantReport, MutantRow
from inspector.verification.plan import plan
from inspector.verification.report import Row
from inspector.verification.verify import Running, verify


def run_mutants(
    running: Running,
    claimed: Callable[[Mapping[str, Any]], Claimed],
    progress: Callable[[str], None] | None = None,
    mutants: Iterable[Mutant] = CATALOGUE,
) -> MutantReport:
    """Make each mistake in turn, check the model each time, and see whether the first failure is at its place.

    Of the stages that a mistake can be made in, the first of the last layer is taken. progress: told each name.
    The module is as it was afterwards; `claimed` is asked about the right model.
    """
    claimed = _asked_once(claimed)
    ground = ground_of(running, claimed)
    known = {(row.where, row.culprit) for row in verify(running, claimed).failures}
    rows: list[MutantRow] = []
    absent: list[str] = []
    for mutant in mutants:
        if progress is not None:
            progress(mutant.name)
        found = _placed(ground, mutant)
        if found is None:
            absent.append(mutant.name)
        else:
            rows.append(_row(running, claimed, ground, known, mutant, *found))
    return MutantReport(running.info, running.scenario, tuple(rows), tuple(absent))


def ground_of(running: Running, claimed: Callable[[Mapping[str, Any]], Claimed]) -> Ground:
    """The right model, looked at once."""
    inputs = running.inputs()
    claims = claimed(inputs)  # a cache is spent by the forward: asked before it
    first = plan(running.module, inputs, running.scenario, running.info, running.claims)
    return Ground(*aligned(first, claims), claims)


def _asked_once(claimed: Callable[[Mapping[str, Any]], Claimed]) -> Callable[[Mapping[str, Any]], Claimed]:
    """The claims are those of the right model, and stay what they are for as long as the inputs do."""
    known: list[Claimed] = []

    def ask(inputs: Mapping[str, Any]) -> Claimed:
        if not (known and _alike(known[0].inputs, inputs)):
            known[:] = [claimed(inputs)]
        return known[0]

    return ask


def _alike(before: Mapping[str, Tensor], inputs: Mapping[str, Any]) -> bool:
    """Whether what enters is the same; of what a part of the model made before, only that it is there."""
    now, made = tensors_of(inputs), {name for name in before if name not in inputs}
    return before.keys() == now.keys() and all(torch.equal(before[name], now[name]) for name in before.keys() - made)


def _placed(ground: Ground, mutant: Mutant) -> tuple[Target, Edits] | None:
    """The stage that a mistake is made in, and how; None where there is none."""
    last = ground.plan.graph.layers - 1
    for target in sorted(ground.targets, key=lambda one: one.stage.layer != last):
        if target.stage.layer in (None, last) and mutant.belongs_to(target.function, target.stage.name):
            edits = edits_of(target, mutant)
            if edits is not None:
                return target, edits
    return _in_kernel(ground, mutant, last)


def _in_kernel(ground: Ground, mutant: Mutant, last: int) -> tuple[Target, Edits] | None:
    """The same where attention is one kernel: in one of its steps, or in the call."""
    for target in (one for one in ground.kernels if one.stage.layer in (None, last)):
        call = whole(target)
        if mutant.belongs_to(call.function, target.stage.name):
            edits = mutant.change(call) if mutant.change is not None else None
            return None if edits is None else (call, edits)
        if mutant.belongs_to(target.function, target.step.name):
            edits = inside(target, mutant)
            if edits is not None:
                return target, edits
    return None


def _row(
    running: Running,
    claimed: Callable[[Mapping[str, Any]], Claimed],
    ground: Ground,
    known: set[tuple[str, str]],
    mutant: Mutant,
    target: Target,
    edits: Edits,
) -> MutantRow:
    """known: what fails without any mistake of ours, which catches nothing."""
    row = MutantRow(mutant.name, target.where, mutant.says, mutant.mirrors)
    row = replace(row, equivalent=mutant.equivalent(target) if mutant.equivalent is not None else "")
    try:
        with mutated(running.module, ground, edits) as made:
            failures = verify(running, claimed).failures
            first = next((one for one in failures if (one.where, one.culprit) not in known), None)
            if first is None:
                return row
            told = is_told_there(first, mutant, target) or _holds(running, first, made)
    except Exception as error:  # noqa: BLE001 - a model that computes something wrong may raise anything
        return replace(row, error=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    return replace(row, caught=True, at=first.where, culprit=first.culprit, localised=told)


def is_told_there(row: Row, mutant: Mutant, target: Target) -> bool:
    """Whether a failing stage is the one that the mistake was made in, or one that rightly tells it."""
    if (row.name, row.layer) == (target.stage.name, target.stage.layer):
        return True
    near = target.stage.layer is None or row.layer in (None, target.stage.layer)
    return near and bool(mutant.told_at) and row.name.startswith(mutant.told_at)


def _holds(running: Running, row: Row, made: set[int]) -> bool:
    """Whether a failing stage is made of the mistake's own calls: an extra `+ 1` may look like another part."""
    if not row.module and not row.dtype:
        return False  # nothing ran for it
    again = plan(running.module, running.inputs(), running.scenario, running.info, running.claims)
    calls = {again.run.seen.order[op] for op in again.stages[row.place].ops}
    return not calls.isdisjoint(made)
