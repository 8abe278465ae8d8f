"""Mistakes in the table of cosines and sines. It has several outputs, so a mistake is made inside it: in one call.

Shapes: B batch, S new tokens, R elements that are turned, F = R/2 pairs.
"""

from __future__ import annotations

__all__ = ["TABLES"]

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from inspector.reference.frequencies import RopeScaling, inverse_frequencies
from inspector.reference.rope import rope_table
from inspector.verification.mutants.apply import Call, Edits
from inspector.verification.mutants.ground import Target
from inspector.verification.mutants.mutant import Mutant
from inspector.verification.mutants.seen import seen_in

_TABLE = ("rope.rope_table",)

Tables = tuple[Tensor, Tensor]


# by themselves


def _with_theta(other: float, position_ids_BS: Tensor, theta: float, **claims: Any) -> Tables | None:
    return None if other == theta else rope_table(position_ids_BS, theta=other, **claims)


def _theta_slightly_off(position_ids_BS: Tensor, theta: float, **claims: Any) -> Tables:
    return rope_table(position_ids_BS, theta=theta * 1.001, **claims)


def _one_further(position_ids_BS: Tensor, **claims: Any) -> Tables:
    return rope_table(position_ids_BS + 1, **claims)


def _swapped(position_ids_BS: Tensor, **claims: Any) -> Tables:
    cos, sin = rope_table(position_ids_BS, **claims)
    return sin, cos


def _stretched(position_ids_BS: Tensor, **claims: Any) -> Tables:
    cos, sin = rope_table(position_ids_BS, **claims)
    return cos * 1.1, sin * 1.1


def _coarse(position_ids_BS: Tensor, layout: str = "half", heads: int = 1, **claims: Any) -> Tables:
    inverse = inverse_frequencies(RopeScaling(**claims), position_ids_BS.max() + 1, position_ids_BS.device)
    angles = (position_ids_BS[..., None] * inverse).to(torch.bfloat16).to(torch.float64)
    if layout == "single":
        both = angles
    else:
        both = torch.cat((angles, angles), -1) if layout == "half" else angles.repeat_interleave(2, -1)
    return both.cos().unsqueeze(heads), both.sin().unsqueeze(heads)


def _unscaled(rope: RopeScaling) -> RopeScaling:
    return RopeScaling(rope.dim, rope.theta)


def _linear(rope: RopeScaling) -> RopeScaling:
    return replace(rope, kind="linear")


def _of_other_kind(
    other: Callable[[RopeScaling], RopeScaling],
    position_ids_BS: Tensor,
    layout: Any = "half",
    heads: int = 1,
    **claims: Any,
) -> Tables | None:
    rope = RopeScaling(**claims)
    if rope.kind == "default":
        return None
    return rope_table(position_ids_BS, layout=layout, heads=heads, **other(rope).claims())


# in a model


def _angles(target: Target) -> int | None:
    """The call that multiplies places by speeds: the first that computes with the frequencies."""
    ground, trace = target.ground, target.ground.plan.trace
    for op in sorted(target.stage.ops, key=ground.record):
        read = set(trace.ops[op].inputs)
        if trace.ops[op].effect == "" and trace.ops[op].name == "mul" and read & set(target.stage.parameters):
            return ground.record(op)
    return None


def _turned_by(wrong: Callable[[Target, Tensor], Tensor]) -> Callable[[Target], Edits | None]:
    """Other angles. wrong: of the angles, (..., F)."""

    def change(target: Target) -> Edits | None:
        at = _angles(target)
        return None if at is None else Edits({at: lambda call: wrong(target, call.made())})

    return change


def _speeds(target: Target) -> RopeScaling:
    numbers = dict(target.step.attributes)
    for name in ("layout", "heads"):
        numbers.pop(name, None)
    return RopeScaling(**numbers)  # type: ignore[arg-type]


def _of_theta(other: Callable[[float], float], target: Target, angles: Tensor) -> Tensor:
    rope = _speeds(target)
    exponents = torch.arange(angles.shape[-1], dtype=angles.dtype, device=angles.device) * (2 / rope.dim)
    return angles * (rope.theta / other(rope.theta)) ** exponents


def _on_kind(other: Callable[[RopeScaling], RopeScaling]) -> Callable[[Target], Edits | None]:
    """Each pair turns as fast as it would with another scaling."""

    def slowed(target: Target, angles: Tensor) -> Tensor:
        speeds = _speeds(target)
        length = target.ground.plan.trace.scenario.past + target.ground.plan.trace.scenario.seq
        right, wrong = (inverse_frequencies(rope, length, angles.device) for rope in (speeds, other(speeds)))
        return angles * (wrong / right).to(angles.dtype)

    change = _turned_by(slowed)
    return lambda target: None if _speeds(target).kind == "default" else change(target)


def _on_theta(other: float) -> Callable[[Target], Edits | None]:
    change = _turned_by(partial(_of_theta, lambda _: other))
    return lambda target: None if _speeds(target).theta == other else change(target)


def _from_one(target: Target) -> Edits | None:
    """Places and speeds are multiplied; one more place is one more speed."""
    at = _angles(target)
    speeds = target.stage.parameters

    def wrong(call: Call) -> Tensor:
        angles: Tensor = call.made()
        return angles + call.seen[target.ground.raw(speeds[0])]

    return None if at is None else Edits({at: wrong}, frozenset({target.ground.raw(speeds[0])}))


def _functions_swapped(target: Target) -> Edits | None:
    other = {"cos": torch.sin, "sin": torch.cos}
    return _on_calls(
        target, lambda call, name: other[name](*call.args) if name in other else call.made(), {"cos", "sin"}
    )


def _longer(target: Target) -> Edits | None:
    return _on_calls(target, lambda call, _: call.made() * 1.1, {"cos", "sin"})


def _on_calls(target: Target, edit: Callable[[Call, str], Any], names: set[str]) -> Edits | None:
    ops = [target.ground.plan.trace.ops[op] for op in target.stage.ops]
    at = {target.ground.record(op.id): partial(_named, edit, op.name) for op in ops if op.name in names}
    return Edits(at) if at else None


def _named(edit: Callable[[Call, str], Any], name: str, call: Call) -> Any:
    return edit(call, name)


TABLES = (
    Mutant(
        "rope-theta-slightly-off",
        _TABLE,
        "the base is 1.001 times too large",
        seen_in(19),
        _theta_slightly_off,
        _turned_by(partial(_of_theta, lambda theta: theta * 1.001)),
    ),
    Mutant("rope-theta-10000", _TABLE, "the base is 10000", seen_in(19), partial(_with_theta, 1e4), _on_theta(1e4)),
    Mutant(
        "rope-theta-1000000", _TABLE, "the base is a million", seen_in(18), partial(_with_theta, 1e6), _on_theta(1e6)
    ),
    Mutant(
        "rope-scaling-missing",
        _TABLE,
        "the frequencies are those of a model that was never stretched",
        seen_in(19),
        partial(_of_other_kind, _unscaled),
        _on_kind(_unscaled),
    ),
    Mutant(
        "rope-scaled-linearly",
        _TABLE,
        "all pairs are slowed alike, and not the slow ones alone",
        seen_in(18),
        partial(_of_other_kind, _linear),
        _on_kind(_linear),
    ),
    Mutant(
        "rope-counted-from-one", _TABLE, "every pair is turned one place too far", seen_in(34), _one_further, _from_one
    ),
    Mutant(
        "rope-angles-in-half-precision",
        _TABLE,
        "angles are computed in bfloat16, in which places beyond 256 collide",
        seen_in(4),
        _coarse,
        _turned_by(lambda target, angles: angles.to(torch.bfloat16).to(angles.dtype)),
    ),
    Mutant(
        "rope-factor-wrong", _TABLE, "cosines and sines are 1.1 times too large", seen_in(14, 15), _stretched, _longer
    ),
    Mutant(
        "rope-cos-and-sin-swapped",
        _TABLE,
        "cosines are read as sines",
        seen_in(3),
        _swapped,
        _functions_swapped,
        told_at=("attention.rope",),
    ),
)
