"""One stage: its inputs, its weights and its numbers against the claim, and its value against the reference."""

from __future__ import annotations

__all__ = ["Checker"]

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inspector.reference.steps import Step
from inspector.stage_graph.attributes import attributes
from inspector.stage_graph.stages import Stage
from inspector.verification.claims import Claimed
from inspector.verification.compare import exactly, joined
from inspector.verification.matching import Matching, does_nothing
from inspector.verification.numbers import compared
from inspector.verification.operands import Bound, Reader, Taker, entering, word
from inspector.verification.origins import hands_on
from inspector.verification.plan import Plan
from inspector.verification.probe import Probe
from inspector.verification.report import Attribute, Check, Link, Row, Verdict
from inspector.verification.telling import Telling
from inspector.verification.values import Judged, Values, function_of, judged, pieces, values_of
from inspector.vocabulary import EXEMPT, UNKNOWN

Held = Callable[[int], Tensor]


class Checker:
    """Makes one row of each stage. calls, elements: how often the reference ran, and how many values it judged."""

    def __init__(self, plan: Plan, claimed: Claimed, matching: Matching, telling: Telling | None = None) -> None:
        self._plan, self._claimed, self._matching = plan, claimed, matching
        self._reader = Reader(plan, claimed, matching) if claimed.wired else Taker(claimed)
        self.calls = 0
        self.elements = 0
        self.probe = Probe()
        self.asides: dict[str, None] = {}
        self._telling = telling
        self._last: tuple[Values, Tensor] | None = None

    def row(self, stage: Stage, held: Held, intact: Callable[[int], bool]) -> Row:
        """The verdict on one stage. held: value id -> tensor, read only. intact: whether it is as it was made."""
        steps = self._matching.steps.get(stage.index)
        if steps is None:
            return self._unclaimed(stage, held)
        self._last = None
        bound = self._without_mask(stage, steps, self._reader.read(stage, steps, held, intact))
        numbers = self._numbers(stage, steps)
        wrong = [_said(link) for link in bound.links if link.broken]
        wrong += [f"{one.name} is {one.executed}, claimed is {one.claimed}" for one in numbers if one.differs]
        found = self._values(stage, steps, bound, held)
        wrong += list(_problems(found))
        open_ = next((one.unchecked for one in found if one.unchecked), "")
        unsaid = self._claimed.unsaid(steps)
        verdict: Verdict = "fail" if wrong else "unchecked" if open_ else "unclaimed" if unsaid else "pass"
        culprit = "; ".join(dict.fromkeys(wrong)) or open_ or unsaid
        row = self._made(stage, verdict, check=_worst(found), attributes=numbers, wiring=bound.links, culprit=culprit)
        row = replace(row, finding=next((one.outcome.finding for one in found if one.outcome is not None), ""))
        return self._weighed(row, {one.name for one in numbers if one.executed is not None})

    def _weighed(self, row: Row, numbers: set[str]) -> Row:
        """The row, with which wrong formulas would have been told, or which one it was."""
        if self._telling is None or self._last is None or row.check is None:
            return row
        values, got = self._last
        if row.verdict == "fail":
            return replace(row, looks_like=self._telling.looks_like(values, got) if row.check.rho > 1 else "")
        found = self._telling.power(values, got, numbers)
        blind = row.verdict == "pass" and bool(found.alive)
        culprit = f"this run cannot tell it from {', '.join(found.alive)}" if blind else row.culprit
        return replace(row, mutants=found, verdict="undetermined" if blind else row.verdict, culprit=culprit)

    def _numbers(self, stage: Stage, steps: Sequence[Step]) -> tuple[Attribute, ...]:
        """The claimed numbers beside the executed ones; what nobody claims is not held against anything."""
        open_ = {name for step in steps for name in self._claimed.open.get(step.index, ())}
        open_ |= {"function"} if "kind" in open_ else set()
        found = compared(dict(attributes(self._plan.graph, stage)), steps, self._claimed.where)
        open_ |= set() if self._claimed.wired else {"theta"}  # read off the table, whose values are held to the claim
        found = tuple(one for one in found if one.name not in open_)
        return tuple(one._replace(executed=one.claimed) if _is_read_off(one) else one for one in found)

    def missing(self, step: Step) -> Row | None:
        """The row of a claimed step for which nothing ran; None where it would have changed nothing."""
        if does_nothing(step, self._claimed):
            return None
        path, operand = _path(step.name)
        before = [stage for index, stage in self._matching.stage_of.items() if index < step.index]
        place = max(before, default=-1)
        culprit = f"nothing ran for it, and {self._claimed.where} has it"
        return Row(path, operand, step.layer, "fail", culprit=culprit, place=place)

    def _made(self, stage: Stage, verdict: Verdict, **more: Any) -> Row:
        dtype = self._plan.trace.values[stage.outputs[0]].dtype if stage.outputs else ""
        row = Row(stage.path, stage.operand, stage.layer, verdict, dtype=dtype, place=stage.index)
        return replace(row, module=self._plan.graph.module(stage), **more)

    # stages that nothing claims

    def _unclaimed(self, stage: Stage, held: Held) -> Row:
        if stage.path in EXEMPT or stage.section == "layout":
            return self._made(stage, "exempt")
        if stage.path == UNKNOWN and not (self._claimed.wired and self._is_read(stage)):
            return self._made(stage, "unchecked", culprit="no role is known for it")
        if self._is_identity(stage, held):
            return self._made(stage, "pass", check=Check("exact", 0.0, 0.0))
        if hands_on(stage):
            return self._made(stage, "fail", culprit="it changes what it should hand on")
        if not self._claimed.wired:
            reason = self._claimed.reasons.get(stage.index, "no reference covers it")
            return self._made(stage, "unchecked", culprit=reason)
        return self._made(stage, "fail", culprit=f"it ran, and {self._claimed.where} has no such stage")

    def _is_read(self, stage: Stage) -> bool:
        """Whether a stage that is claimed reads what it makes: then it cannot be passed over."""
        graph, users = self._plan.graph, self._plan.graph.naming.flow.users
        readers = {graph.stage_of[user] for value in stage.outputs for user in users[value]}
        return not readers.isdisjoint(self._matching.steps)

    def _is_identity(self, stage: Stage, held: Held) -> bool:
        if set(stage.outputs) <= {*stage.inputs, *stage.parameters}:
            return bool(stage.outputs)  # idle calls: they returned what they were given
        if len(stage.inputs) != 1 or not stage.outputs:
            return False
        source, outputs = held(stage.inputs[0]), [held(value) for value in stage.outputs]
        self.calls += 1
        self.elements += source.numel()
        return all(out.shape == source.shape and exactly(out, source).check.rho == 0 for out in outputs)

    # values

    def _values(self, stage: Stage, steps: Sequence[Step], bound: Bound, held: Held) -> list[Judged]:
        missing = dict.fromkeys(word(name) for name, source in entering(steps) if source not in bound.operands)
        if missing:
            return [Judged(None, None, f"it does not read {', '.join(missing)}")]
        try:
            found = self._in_pieces(stage, steps, bound, held)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            first = str(error).partition("\n")[0]
            return [Judged(None, None, f"the reference cannot be applied to what it read: {first}")]
        self.calls += len(steps)
        outputs = [key for key in self._claimed.shapes if key[0] == steps[-1].index]
        lost = [key for key in outputs if key not in {one.key for one in found}]
        if lost and len(outputs) > 1:
            found.append(Judged(None, None, f"{len(lost)} of its {len(outputs)} outputs are missing"))
        return found

    def _in_pieces(self, stage: Stage, steps: Sequence[Step], bound: Bound, held: Held) -> list[Judged]:
        """Each output of the stage, judged; of a large projection some columns at a time."""
        told = self._told(stage)
        parts: dict[int, list[Judged]] = {value: [] for value in told}
        starts: list[int] = []
        for columns, operands in pieces(steps, bound.operands):
            values = values_of(steps, operands, self._claimed.known, composite=self._is_composite(stage))
            starts.append(columns.start or 0)
            self._look(values)
            for value in told:
                got = self._wide_enough(held(value))
                got = got[..., columns] if columns.start is not None else got
                parts[value].append(judged(values, got))
                self._last = self._last or (values, got)
        return [self._joined(value, parts[value], starts, held(value)) for value in told]

    def _wide_enough(self, got: Tensor) -> Tensor:
        """What is computed in less than the model's format is held to the model's."""
        wide = getattr(torch, self._plan.trace.scenario.dtype)
        is_narrow = got.is_floating_point() and torch.finfo(got.dtype).eps > torch.finfo(wide).eps
        return got.to(wide) if is_narrow else got

    def _look(self, values: Values) -> None:
        for step in values.steps:
            if function_of(step) == "attention.softmax":
                self.probe.see(values.expected[step.index, 0])

    def _joined(self, value: int, parts: Sequence[Judged], starts: Sequence[int], got: Tensor) -> Judged:
        self.elements += got.numel()
        first = parts[0]
        if first.key is not None:
            self._reader.outputs[value] = first.key
        outcomes = [part.outcome for part in parts if part.outcome is not None]
        self.asides |= dict.fromkeys(outcome.aside for outcome in outcomes if outcome.aside)
        if len(parts) == 1 or len(outcomes) < len(parts):
            return next((part for part in parts if part.outcome is None), first)
        whole = joined(outcomes, starts)
        return Judged(first.key, whole, whole.said)

    def _told(self, stage: Stage) -> list[int]:
        """The outputs that somebody reads who is not exempt from checks himself."""
        graph, flow = self._plan.graph, self._plan.graph.naming.flow
        inside = set(stage.ops)
        read = [
            value
            for value in stage.outputs
            if value not in stage.inputs  # what it only hands on
            and (
                value in flow.leaving
                or any(
                    flow.live[user] and graph.stages[graph.stage_of[user]].path not in EXEMPT
                    for user in flow.users[value]
                    if user not in inside
                )
            )
        ]
        return read or list(stage.outputs[:1])

    def _is_composite(self, stage: Stage) -> bool:
        kind = self._plan.graph.naming.flow.kind
        return (
            sum(op.effect != "noop" and kind[op.id] not in ("plumb", "view") for op in self._plan.graph.ops(stage)) > 1
        )

    def _without_mask(self, stage: Stage, steps: Sequence[Step], bound: Bound) -> Bound:
        """A kernel that was given no mask sees everything, or with `is_causal` what stands before, by its own rule."""
        mask = next((source for step in steps for name, source in step.sources if name == "allowed"), None)
        if not self._claimed.wired or mask is None or mask in bound.operands or stage.role != "fused":
            return bound
        implied = self._implied(stage, steps, bound)
        claimed = self._claimed.known[int(mask.ref), mask.output]
        if implied is None or not bool((implied == claimed).all()):
            return bound
        links = tuple(link for link in bound.links if link.argument != "allowed")
        return Bound({**bound.operands, mask: implied}, links)

    def _implied(self, stage: Stage, steps: Sequence[Step], bound: Bound) -> Tensor | None:
        op = next((op for op in self._plan.graph.ops(stage) if op.name == "scaled_dot_product_attention"), None)
        if op is None:
            return None
        shape = [self._plan.trace.values[value].shape[-2] for _, value in op.operands[:2]]
        seen = torch.ones(shape, dtype=torch.bool)
        home = next(iter(bound.operands.values())).device
        return (seen.tril() if op.attribute("is_causal") else seen).to(home)


def _is_read_off(one: Attribute) -> bool:
    """The base of rotations is read off a table, to a few digits: so near to the claim it is the claim's."""
    claimed, executed = one.claimed, one.executed
    if one.name != "theta" or not isinstance(claimed, (int, float)) or not isinstance(executed, (int, float)):
        return False
    return abs(claimed - executed) <= 1e-3 * abs(claimed)


def _path(name: str) -> tuple[str, str]:
    section, role, *operand = name.split(".")
    return f"{section}.{role}", ".".join(operand)


def _said(link: Link) -> str:
    if not link.intact:
        return f"{link.argument} no longer holds what {link.executed} made: something wrote into it"
    return f"{link.argument or 'an input'} comes from {link.executed}, claimed is {link.claimed}"


def _problems(found: Iterable[Judged]) -> Iterable[str]:
    for one in found:
        if one.said:
            yield one.said
        if one.outcome is not None and one.outcome.check.rho > 1:
            yield _far(one.outcome.check)


def _far(check: Check) -> str:
    worst = check.worst
    assert worst is not None
    if check.kind == "set":
        return f"{worst.over:,} of {worst.elements:,} pairs of query and key are not as claimed, one at {worst.place}"
    share = "" if math.isinf(check.rho) else f", {check.rho:.3g} times what is allowed"
    pair = f"at {worst.place} {worst.got:.6g} instead of {worst.expected:.6g}"
    return f"{worst.over:,} of {worst.elements:,} values differ, {pair}{share}"


def _worst(found: Iterable[Judged]) -> Check | None:
    return max(
        (one.outcome.check for one in found if one.outcome is not None), key=lambda check: check.rho, default=None
    )
