"""The verdict on one pair of stages."""

from __future__ import annotations

__all__ = ["Judge"]

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from inspector.stage_graph.stages import Stage
from inspector.verification.against.bounds import Seen, arithmetic_for, bounds_for, is_composite
from inspector.verification.against.fixed import judge_fixed
from inspector.verification.against.flow import Flow, Wire
from inspector.verification.against.groups import Group
from inspector.verification.against.kernel import hidden_in, unseen_queries
from inspector.verification.against.layout import Cutting, Room, relaid
from inspector.verification.against.numbers import differences
from inspector.verification.against.report import AgainstRow, Difference
from inspector.verification.against.sides import Side, axis_sizes
from inspector.verification.compare import Outcome, against_bound, exactly
from inspector.verification.report import Check, Verdict

_ASIDE = frozenset({"control", "layout", "mask", "positions"})
"""Sections whose effect is seen where they are read."""


class Judge:
    """Compares groups. flip: A's stages run on B's captured tensors, and not the other way round.

    elements: how many values were compared. notes: what a reader must know.
    """

    def __init__(self, a: Side, b: Side, flow: Flow, *, flip: bool, window: Cutting | None = None) -> None:
        self.a, self.b, self.flow, self.flip, self._window = a, b, flow, flip, window
        self.held_side, self.played_side = (b, a) if flip else (a, b)
        self.elements = 0
        self.unseen = 0
        self._sizes = axis_sizes(a, b)
        tape, book = self.played_side.tape, self.played_side.plan.run.watcher.book
        self._weights = {id(leaf) for value, leaf in tape.leaves.items() if book.kinds[value] == "parameter"}

    @property
    def notes(self) -> tuple[str, ...]:
        if not self.unseen:
            return ()
        return (f"{self.unseen} queries see no key: what attention gives them is a convention, and is not compared",)

    # what has to be held

    def needed(self, group: Group) -> list[int]:
        """The values of the held side that the group is judged by."""
        mine, others = self._split(group)
        if mine:
            return [*self.held_side.entering(mine), *self.held_side.leaving(mine)] if not self._is_fixed(group) else []
        return [
            value
            for value in (self._partner(value) for value in self.played_side.entering(others))
            if value is not None
        ]

    def after(self, group: Group, values: Sequence[int]) -> list[int]:
        """The ops that have run when the values are there."""
        mine, _ = self._split(group)
        if mine:
            return [op for stage in mine for op in stage.ops]
        found = [self.held_side.plan.trace.values[value].producer for value in values]
        return [op for op in found if op is not None] or [0]

    def _split(self, group: Group) -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
        """Stages of the held side, and of the played one."""
        return (group.b, group.a) if self.flip else (group.a, group.b)

    def _partner(self, played: int) -> int | None:
        """The held value that stands for a value of the played side."""
        if not self.flip:
            return self.flow.partner.get(self.flow.behind(1, played))
        behind = self.flow.behind(0, played)
        return next((two for two, one in self.flow.partner.items() if one == behind), None)

    def _is_fixed(self, group: Group) -> bool:
        return bool(group.a and group.b) and all(
            value in side.concrete
            for side, stages in ((self.a, group.a), (self.b, group.b))
            for value in side.leaving(stages)
        )

    # verdicts

    def row(self, group: Group, held: Mapping[int, Tensor]) -> AgainstRow:
        """held: the tensors of `needed`."""
        if not group.a or not group.b:
            return self._alone(group, held)
        if group.first.section in ("control", "layout"):
            return self._made(group, "exempt", reason="its effect is seen where it is read")
        if self.a.is_idle(group.a) and self.b.is_idle(group.b):
            return self._made(group, "exempt", reason="it hands on what it gets")
        numbers = differences(self.a, self.b, group)
        if self._is_fixed(group):
            outcome = judge_fixed(self.a, self.b, group, self._fit)
            if outcome is None:
                return self._made(group, "exempt", reason="compared where it is applied")
            self.elements += outcome.check.worst.elements if outcome.check.worst else 0
            return self._said(group, [outcome], numbers, [])
        wires = self.flow.inputs(group)
        wrong = [wire.crossed for wire in wires if wire.crossed]
        try:
            outcomes = self._values(group, wires, held)
        except (RuntimeError, KeyError, IndexError, TypeError, ValueError) as error:
            why = str(error).partition("\n")[0]
            return self._said(group, [], numbers, [*wrong, f"B cannot be run on what A reads: {why}"])
        if isinstance(outcomes, str):
            verdict: Verdict = "fail" if wrong or numbers else "unchecked"
            culprit = "; ".join([*wrong, *map(_number, numbers)]) or outcomes
            return self._made(group, verdict, differences=numbers, culprit=culprit)
        return self._said(group, outcomes, numbers, wrong)

    def _said(
        self, group: Group, outcomes: Sequence[Outcome], numbers: tuple[Difference, ...], wrong: Sequence[str]
    ) -> AgainstRow:
        said = [*wrong, *map(_number, numbers)]
        for outcome in outcomes:
            said += [outcome.said] if outcome.said else []
            said += [_far(outcome.check)] if outcome.check.rho > 1 else []
        worst = max((outcome.check for outcome in outcomes), key=lambda check: check.rho, default=None)
        verdict: Verdict = "fail" if said else "pass"
        return self._made(
            group, verdict, check=worst, differences=numbers, culprit="; ".join(filter(None, dict.fromkeys(said)))
        )

    def _made(self, group: Group, verdict: Verdict, **more: Any) -> AgainstRow:
        first = _named(group)
        return AgainstRow(
            path=first.path,
            operand=first.operand,
            layer=first.layer,
            verdict=verdict,
            a=tuple(map(self.a.part, group.a)),
            b=tuple(map(self.b.part, group.b)),
            dtypes=(_dtype(self.a, group.a), _dtype(self.b, group.b)),
            **{"reason": group.reason, **more},
        )

    def _alone(self, group: Group, held: Mapping[int, Tensor]) -> AgainstRow:
        """A stage that one side has alone: nothing is wrong where it gives what it gets."""
        side, stages = (self.a, group.a) if group.a else (self.b, group.b)
        if group.first.section in _ASIDE:
            return self._made(group, "exempt", reason="its effect is seen where it is read")
        if side.is_idle(stages) or self._hands_on(side, stages, held):
            return self._made(group, "exempt", reason="it hands on what it gets")
        if side.concrete.issuperset(side.leaving(stages)):  # where in a cache of fixed size the new tokens go
            return self._made(group, "exempt", reason="its effect is seen where it is read")
        other = "B" if group.a else "A"
        return self._made(group, "fail", culprit=f"{other} has no such stage")

    def _hands_on(self, side: Side, stages: Sequence[Stage], held: Mapping[int, Tensor]) -> bool:
        entering, leaving = side.entering(stages), side.leaving(stages)
        if len(entering) != 1 or len(leaving) != 1:
            return False
        if side is self.held_side:
            before, after = held[entering[0]], held[leaving[0]]
        else:
            value = self._partner(entering[0])
            if value is None or value not in held:
                return False
            try:
                known = self._given(((value, entering[0]),), held)
                before, after = known[entering[0]], self._play(stages, known)[leaving[0]]
            except (RuntimeError, KeyError, IndexError, TypeError, ValueError):
                return False
        return before.shape == after.shape and exactly(after, before).check.rho == 0

    # values

    def _fit(self, tensor: Tensor, shape: Sequence[int]) -> Tensor | None:
        """A tensor of one side in the layout of the other, the new tokens alone where that has no others."""
        cut = tensor if self._window is None else self._window.cut(tensor, shape)
        return relaid(cut, shape, self._sizes)

    def _cut(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        return tensor if self._window is None else self._window.cut(tensor, shape)

    def _given(self, pairs: Sequence[tuple[int, int]], held: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """What was held, as the played side has it: its layout, its number format, its device."""
        found = {}
        home = self.played_side.arithmetic[1]
        for mine, theirs in pairs:
            value = self.played_side.plan.trace.values[theirs]
            shaped = self._fit(held[mine], value.shape)
            if shaped is None:
                shape = tuple(held[mine].shape)
                raise ValueError(f"an input is {shape} on one side and {value.shape} on the other")
            found[theirs] = shaped.to(home, getattr(torch, value.dtype)).contiguous()
        return found

    def _play(self, stages: Sequence[Stage], known: Mapping[int, Tensor]) -> dict[int, Tensor]:
        side = self.played_side
        raw, place = side.plan.raw, side.plan.run.seen.place
        given = side.tape.fixed | {raw[value]: tensor for value, tensor in known.items()}
        made = side.tape.play(side.records(stages), given, self._weight)
        return {place[value]: tensor for value, tensor in made.items() if value in place}

    def _weight(self, leaf: Tensor) -> Tensor:
        """A weight of the played side with no more digits than the held side has."""
        coarse = self.held_side.arithmetic[0]
        if id(leaf) not in self._weights or not leaf.is_floating_point() or leaf.dtype == coarse:
            return leaf
        return leaf.to(coarse).to(leaf.dtype)

    def _values(self, group: Group, wires: Sequence[Wire], held: Mapping[int, Tensor]) -> list[Outcome] | str:
        mine, theirs = self._split(group)
        wires = [self._remembered(group, wire) for wire in wires]
        wired = [((wire.b, wire.a) if self.flip else (wire.a, wire.b)) for wire in wires]
        pairs = [(one, two) for one, two in wired if one is not None and two is not None]
        if any(one is None for one, _ in wired):
            return "an input of it has no counterpart"
        played = self._play(theirs, self._given(pairs, held))
        outputs = [(two, one) if self.flip else (one, two) for one, two in self.flow.outputs(group)]
        if not outputs:
            return "what it hands on has no counterpart"
        roles = {stage.role for stage in (*mine, *theirs)}
        if roles == {"mask"} or (roles == {"mask", "scale"} and not group.form):
            return self._masked(wired, outputs, held, played, rounds="scale" in roles)
        form = "kernel" if group.form == "kernel" or group.first.role == "fused" else ""
        seen = Seen(self.held_side, mine, held, form)
        bounds = [
            bounds_for(seen, [one for one, _ in outputs], arithmetic_for(side), composite=is_composite(side, stages))
            for side, stages in ((self.held_side, mine), (self.played_side, theirs))
        ]
        reason = next((bound for bound in bounds if isinstance(bound, str)), None)
        if reason is not None:
            return reason
        skip = self._unseen(seen, outputs[0][0]) if form else self._blank(roles, pairs, held)
        found = [self._one(one, held[one], played[two], bounds, skip) for one, two in outputs]
        return found + [self._kept(group, wire.b, held[wire.a]) for wire in wires if self._is_past(wire) and wire.a]

    def _remembered(self, group: Group, wire: Wire) -> Wire:
        """What a decode step has from before is what the full forward made itself of the earlier tokens."""
        if not self._is_past(wire):
            return wire
        outputs = self.flow.outputs(group)
        return Wire(outputs[0][0], wire.b) if len(outputs) == 1 else wire

    def _is_past(self, wire: Wire) -> bool:
        return self._window is not None and wire.b is not None and wire.b not in self.b.graph.maker

    def _kept(self, group: Group, value: int | None, full: Tensor) -> Outcome:
        """The cache that a step was given, slot by slot.

        It was made by a forward of its own, whose errors have added up from layer to layer: what is allowed grows so.
        """
        assert value is not None
        kept = self.b.tape.leaves[self.b.plan.raw[value]].to(full.device, torch.float64)
        mine = self._cut(full, kept.shape).to(torch.float64)
        if mine.shape != kept.shape:
            return Outcome(
                Check("exact", math.inf, math.inf), f"{tuple(kept.shape)} is cached, not {tuple(mine.shape)}"
            )
        one = arithmetic_for(self.b)
        width = mine.shape[1] * mine.shape[-1]
        share = ((group.first.layer or 0) + 1) * (4 * one.u + 8 * width * one.a)
        self.elements += mine.numel()
        allowed = torch.full_like(mine, share * float(mine.abs().max()))
        outcome = against_bound(kept, mine, allowed, self._padding(mine))
        said = "what is cached is not what the full forward has there" if outcome.check.rho > 1 else ""
        return outcome._replace(said=outcome.said or said)

    def _padding(self, kept: Tensor) -> Tensor | None:
        """Slots of padding, (B, G, P, K): as queries they saw no key, so that what they hold depends on the length."""
        mask = self.b.running.inputs().get("attention_mask")
        if not isinstance(mask, Tensor) or mask.dim() != 2:
            return None
        return (mask[:, : kept.shape[2]] == 0).to(kept.device)[:, None, :, None].expand(kept.shape)

    def _one(self, value: int, held: Tensor, played: Tensor, bounds: Sequence[Any], skip: Tensor | None) -> Outcome:
        shape, held = played.shape, self._cut(held, played.shape)
        other = relaid(played.to(held.device), held.shape, self._sizes)
        if other is None:
            return Outcome(
                Check("exact", math.inf, math.inf), f"its output is {tuple(played.shape)}, not {tuple(held.shape)}"
            )
        self.elements += held.numel()
        a, b = (other, held) if self.flip else (held, other)
        if any(bound is None for bound in bounds):
            coarse = held.dtype if held.is_floating_point() else b.dtype
            return exactly(b.to(coarse), a.to(coarse))
        one, two = (self._cut(bound[value], shape) for bound in bounds)
        skip = None if skip is None else self._cut(skip, shape)
        return against_bound(b.to(torch.float64), a.to(torch.float64), one + two, skip)

    def _unseen(self, seen: Seen, value: int) -> Tensor | None:
        """Queries that see no key, in the shape of the output."""
        found = unseen_queries(seen.side, seen.stages, seen.play(torch.float64))
        if found is None or not bool(found.any()):
            return None
        self.unseen += int(found.sum())
        return _widened(found, seen.held[value])

    def _blank(self, roles: set[str], pairs: Sequence[tuple[int, int]], held: Mapping[int, Tensor]) -> Tensor | None:
        """Queries that see no key in a softmax over more slots than the other has: each slot gets the same share."""
        if roles != {"softmax"} or not isinstance(self._window, Room):
            return None
        scores = held[pairs[0][0]]
        rows = scores.amax(-1, keepdim=True) <= torch.finfo(scores.dtype).min / 2
        self.unseen += int(rows.sum())
        return rows.expand_as(scores)

    def _masked(
        self,
        wired: Sequence[tuple[int | None, int | None]],
        outputs: Sequence[tuple[int, int]],
        held: Mapping[int, Tensor],
        played: Mapping[int, Tensor],
        *,
        rounds: bool,
    ) -> list[Outcome] | str:
        """Who may be seen, as sets, whatever number hides the others; and that nothing else was touched.

        rounds: the scores are multiplied too, which rounds them once on either side.
        """
        (one, two), before = outputs[0], next((value for value, _ in wired if value is not None), None)
        if before is None:
            return "no scores enter it"
        mine = self._cut(held[one], played[two].shape)
        theirs = relaid(played[two].to(mine.device), mine.shape, self._sizes)
        if theirs is None:
            return "its outputs cannot be laid out alike"
        self.elements += mine.numel()
        scores = self._fit(held[before], mine.shape)
        assert scores is not None
        a, b = (hidden_in(scores, x) for x in ((theirs, mine) if self.flip else (mine, theirs)))
        sets = exactly(b, a)
        one_, two_ = (x.to(torch.float64).masked_fill(a | b, 0) for x in (theirs, mine))
        share = sum(arithmetic_for(side).u for side in (self.a, self.b)) if rounds else 0.0
        rest = against_bound(one_, two_, share * two_.abs()) if rounds else exactly(one_, two_)
        return [Outcome(sets.check._replace(kind="set")), rest]


def _widened(rows: Tensor, like: Tensor) -> Tensor | None:
    """(B, H, S) as a mask of (B, S, H, K), (B, S, H·K) or (B, H, S, K)."""
    for shaped in (rows[..., None], rows.transpose(-1, -2)[..., None], rows.all(-2)[..., None]):
        try:
            return shaped.expand(like.shape)
        except RuntimeError:
            continue
    return None


def _named(group: Group) -> Stage:
    """What a group is called by: the kernel, where one side has it in one."""
    stages = (*group.a, *group.b)
    return (
        next((stage for stage in stages if stage.role == "fused"), group.first)
        if group.form == "kernel"
        else group.first
    )


def _dtype(side: Side, stages: Sequence[Stage]) -> str:
    values = [value for stage in stages for value in stage.outputs]
    return side.plan.trace.values[values[-1]].dtype if values else ""


def _number(one: Difference) -> str:
    return f"{one.name} is {one.b} in B and {one.a} in A"


def _far(check: Check) -> str:
    worst = check.worst
    if worst is None:
        return ""
    if check.kind == "set":
        said = f"{worst.over:,} of {worst.elements:,} pairs of query and key are masked otherwise"
        return f"{said}, the first at {worst.place}"
    share = "" if math.isinf(check.rho) else f", {check.rho:.3g} times what rounding allows"
    return (
        f"{worst.over:,} of {worst.elements:,} values differ, at {worst.place} B has {worst.got:.6g} and A "
        f"{worst.expected:.6g}{share}"
    )
