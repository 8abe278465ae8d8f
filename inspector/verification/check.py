"""One stage: its inputs, its weights and its numbers against the claim, and its value against the reference."""

from __future__ import annotations

__all__ = ["Checker"]

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from inspector.reference.steps import Step
from inspector.stage_graph.attributes import attributes
from inspector.stage_graph.stages import Stage
from inspector.verification.claims import Claimed
from inspector.verification.implied import with_implied
from inspector.verification.matching import Matching, does_nothing
from inspector.verification.numbers import compared
from inspector.verification.operands import Reader, Taker
from inspector.verification.origins import hands_on
from inspector.verification.plan import Plan
from inspector.verification.report import Attribute, Check, Inputs, Link, Row, Verdict
from inspector.verification.special import Made, Special
from inspector.verification.stage_values import Held, StageValues
from inspector.verification.telling import Telling
from inspector.verification.values import Judged
from inspector.vocabulary import EXEMPT, UNKNOWN


class Checker:
    """Makes one row of each stage. values: what its values were held against, and how many of them."""

    def __init__(
        self,
        plan: Plan,
        claimed: Claimed,
        matching: Matching,
        telling: Telling | None = None,
        special: Special | None = None,
    ) -> None:
        self._plan, self._claimed, self._matching = plan, claimed, matching
        self._reader = Reader(plan, claimed, matching) if claimed.wired else Taker(claimed)
        self._telling, self._special = telling, special
        self.values = StageValues(plan, claimed, self._reader.outputs)

    def row(self, stage: Stage, held: Held, intact: Callable[[int], bool]) -> Row:
        """The verdict on one stage. held: value id -> tensor, read only. intact: whether it is as it was made."""
        steps = self._matching.steps.get(stage.index)
        if steps is None:
            return self._unclaimed(stage, held)
        bound = self._reader.read(stage, steps, held, intact)
        bound = with_implied(self._plan, self._claimed, stage, steps, bound)
        numbers = self._numbers(stage, steps)
        wrong = [_said(link) for link in bound.links if link.broken]
        wrong += [f"{one.name} is {one.executed}, claimed is {one.claimed}" for one in numbers if one.differs]
        found = self.values.of(stage, steps, bound, held)
        wrong += list(_problems(found))
        made = self._made_for(stage, steps, held) if not wrong else []
        wrong += [f"given {one.inputs}, {problem}" for one in made for problem in _problems([one.judged])]
        open_ = next((one.unchecked for one in found if one.unchecked), "")
        unsaid = self._claimed.unsaid(steps)
        vague = self._is_vague(stage, steps, numbers)
        verdict: Verdict = "unchecked" if open_ else "unclaimed" if unsaid else "undetermined" if vague else "pass"
        verdict = "fail" if wrong else verdict
        culprit = "; ".join(dict.fromkeys(wrong)) or open_ or unsaid or vague
        row = self._made(stage, verdict, check=_worst(found), attributes=numbers, wiring=bound.links, culprit=culprit)
        finding = next((one.outcome.finding for one in found if one.outcome is not None), "")
        row = replace(row, finding=finding, special=_specially(made))
        return self._weighed(row, {one.name for one in numbers if one.executed is not None}, made)

    def _made_for(self, stage: Stage, steps: Sequence[Step], held: Held) -> list[Made]:
        """What the stage gives on inputs that were made for it, where it was judged on what it read."""
        if self._special is None or self.values.last is None:
            return []
        made = self._special.of(stage, steps, self.values.last, held)
        self.values.calls += len(made)
        self.values.elements += sum(one.got.numel() for one in made)
        return made

    def _weighed(self, row: Row, numbers: set[str], made: Sequence[Made]) -> Row:
        """The row, with which wrong formulas would have been told, or which one it was."""
        if self._telling is None or self.values.last is None or row.check is None:
            return row
        looks = [self.values.last, *((one.values, one.got) for one in made)]
        if row.verdict == "fail":
            return replace(row, looks_like=next(filter(None, (self._telling.looks_like(*look) for look in looks)), ""))
        found = self._telling.power(looks, numbers)
        blind = row.verdict == "pass" and bool(found.alive)
        culprit = f"this run cannot tell it from {', '.join(found.alive)}" if blind else row.culprit
        return replace(row, mutants=found, verdict="undetermined" if blind else row.verdict, culprit=culprit)

    def _numbers(self, stage: Stage, steps: Sequence[Step]) -> tuple[Attribute, ...]:
        """The claimed numbers beside the executed ones; what nobody claims is not held against anything."""
        open_ = {name for step in steps for name in self._claimed.open.get(step.index, ())}
        open_ |= {"function"} if "kind" in open_ else set()
        executed = dict(attributes(self._plan.graph, stage))
        found = compared(executed, steps, self._claimed.where, self._claimed.buffers)
        open_ |= set() if self._claimed.wired else {"theta"}  # read off the table, whose values are held to the claim
        found = tuple(one for one in found if one.name not in open_)
        return tuple(one._replace(executed=one.claimed) if _is_read_off(one) else one for one in found)

    def _is_vague(self, stage: Stage, steps: Sequence[Step], numbers: Sequence[Attribute]) -> str:
        """Why a norm's epsilon might stand elsewhere: where it is tiny that is within every bound on ordinary rows."""
        if not self._claimed.wired or not any(one.name == "kind" and one.executed is None for one in numbers):
            return ""
        inside = set(stage.ops)
        is_known = not all(inside.isdisjoint(norm.ops) for norm in self._plan.graph.naming.norms)
        if is_known or (self._special is not None and self._special.were_put_to(stage, steps)):
            return ""
        return "no norm is known in what ran, and it could not be given rows as small as epsilon"

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
        if self.values.is_identity(stage, held):
            return self._made(stage, "pass", check=Check("exact", 0.0, 0.0))
        hidden = self.values.hidden(stage, held)
        if hidden is not None and hidden.check.rho == 0:
            return self._made(stage, "pass", check=hidden.check)
        if hands_on(stage):
            return self._made(stage, "fail", culprit="it changes what it should hand on")
        if not self._claimed.wired:
            reason = self._claimed.reasons.get(stage.index, "no reference covers it")
            return self._made(stage, "unchecked", culprit=reason)
        culprit = f"it ran, and {self._claimed.where} has no such stage"
        if hidden is None:
            return self._made(stage, "fail", culprit=culprit)
        return self._made(stage, "fail", check=hidden.check, culprit=f"{culprit}; {_far(hidden.check)}")

    def _is_read(self, stage: Stage) -> bool:
        """Whether a stage that is claimed reads what it makes: then it cannot be passed over."""
        graph, users = self._plan.graph, self._plan.graph.naming.flow.users
        readers = {graph.stage_of[user] for value in stage.outputs for user in users[value]}
        return not readers.isdisjoint(self._matching.steps)


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


def _specially(made: Sequence[Made]) -> Inputs | None:
    """The worst of what came of inputs that were made for a stage."""
    check = _worst(one.judged for one in made)
    return None if check is None else Inputs(made[0].inputs, sum(one.got.numel() for one in made), check)


def _worst(found: Iterable[Judged]) -> Check | None:
    return max(
        (one.outcome.check for one in found if one.outcome is not None), key=lambda check: check.rho, default=None
    )
