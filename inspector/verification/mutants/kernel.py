"""Mistakes in attention that is one kernel: inside of it, and in what it is called with.

Inside, each step of attention may go wrong as it may by itself: the call is what it should be, and it gives what its
steps give when one of them computes a wrong formula. In a call, everything is right but an argument.
"""

from __future__ import annotations

__all__ = ["KERNEL", "inside", "whole"]

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inspector.reference.steps import Source, replay
from inspector.roles.flow import FUSED_ATTENTION
from inspector.verification.mutants.apply import Call, Edits
from inspector.verification.mutants.ground import Target
from inspector.verification.mutants.mutant import Formula, Mutant
from inspector.verification.mutants.seen import seen_in
from inspector.verification.operands import entering

_ATTEND = "inspector.reference.attention:attend"
_MOVED = frozenset({"attention.scores", "attention.weighted_sum"})
"""Steps of a kernel whose operands are its own: another one may be put in their place."""


def whole(target: Target) -> Target:
    """The kernel itself: one step that reads all that enters it. A mask that it was not given is left out."""
    sources = tuple((str(place), source) for place, (_, source) in enumerate(entering(target.steps)))
    read = {source for source in dict(sources).values() if target.ground.reads(target.stage, source)}
    given = tuple((name, source) for name, source in sources if source in read)
    step = replace(target.steps[-1], name=target.stage.name, sources=given, attributes=(), function=_ATTEND)
    return Target(target.ground, target.stage, step, target.steps)


def inside(target: Target, mutant: Mutant) -> Edits | None:
    """A kernel in which one step goes wrong; None where that cannot be."""
    if mutant.change is not None:
        return mutant.change(target) if target.function in _MOVED else None
    at = _call(target)
    if at is None or mutant.formula is None:
        return None
    all_ = whole(target)
    wrong = _composed(target, all_, mutant.formula)
    with torch.device("meta"):
        if not all_.whole or wrong(**all_.tried()) is None:
            return None
    wanted = frozenset(target.ground.raw(value) for value in all_.values.values())
    return Edits({at: lambda call: call.giving(lambda: wrong(**all_.operands(call.seen)))}, wanted)


def _call(target: Target) -> int | None:
    """The call of the kernel, as they ran."""
    ops = target.ground.plan.trace.ops
    return next((target.ground.record(op) for op in target.stage.ops if ops[op].name == FUSED_ATTENTION), None)


def _composed(target: Target, all_: Target, formula: Formula) -> Formula:
    """All steps one after the other in float64, one of them by another formula."""
    names = {source: name for name, source in all_.step.sources}
    known = target.ground.claimed.known

    def computed(**given: Tensor) -> Any:
        made: dict[Source, Tensor] = {source: _wide(given[name]) for source, name in names.items()}
        outputs: Any = ()
        for step in target.steps:
            read = {name: made[source] if source in made else _known(known, source) for name, source in step.sources}
            wrong = step.index == target.step.index
            outputs = formula(**read, **dict(step.attributes)) if wrong else replay(step, read)
            if outputs is None:
                return None
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            made |= {Source("step", step.index, place): _wide(tensor) for place, tensor in enumerate(outputs)}
        return outputs[0]

    return computed


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float64) if tensor.is_floating_point() else tensor


def _known(known: Any, source: Source) -> Tensor:
    """A mask that the kernel was not given, as it is claimed; where it is only tried, without contents."""
    tensor: Tensor = known[int(source.ref), source.output]
    return tensor.to(torch.empty(0).device)


# wrong arguments

Arguments = dict[str, Any]
Wrong = Callable[[Arguments], Arguments | None]
"""What is given instead of some arguments; None where it would be the same."""

_NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


def _called(wrong: Wrong) -> Callable[[Target], Edits | None]:
    """The kernel is called otherwise."""

    def change(target: Target) -> Edits | None:
        at = _call(target)
        if at is None or wrong(_as_recorded(target)) is None:
            return None

        def edit(call: Call) -> Any:
            given = dict(zip(_NAMES, call.args, strict=False)) | call.kwargs
            return call._replace(args=(), kwargs={**given, **(wrong(given) or {})}).made()

        return Edits({at: edit})

    return change


def _as_recorded(target: Target) -> Arguments:
    """The arguments of the right call: tensors without contents, numbers as they are."""
    trace = target.ground.plan.trace
    op = next(trace.ops[op] for op in target.stage.ops if trace.ops[op].name == FUSED_ATTENTION)
    found: Arguments = {}
    for name, value in op.operands:
        one = trace.values[value]
        found[name] = torch.empty(one.shape, dtype=getattr(torch, one.dtype), device="meta")
    return found | {name: op.attribute(name) for name in ("is_causal", "scale", "enable_gqa")}


def _width(given: Arguments) -> float:
    width: int = given["query"].shape[-1]
    return 1 / math.sqrt(width)


def _factor(given: Arguments) -> float:
    scale: float | None = given.get("scale")
    return _width(given) if scale is None else scale


def _allowed(given: Arguments) -> Tensor:
    """Who may be seen, (.., S, T)."""
    mask: Tensor | None = given.get("attn_mask")
    shape = (given["query"].shape[-2], given["key"].shape[-2])
    if mask is None:
        seen = torch.ones(shape, dtype=torch.bool, device=given["query"].device)
        return seen.tril() if given.get("is_causal") else seen
    return mask if mask.dtype == torch.bool else mask == 0


def _masked(given: Arguments, allowed: Tensor) -> Arguments:
    return {"attn_mask": allowed, "is_causal": False}


def _windowed(given: Arguments) -> Arguments | None:
    queries, keys = given["query"].shape[-2], given["key"].shape[-2]
    if keys <= _WINDOW:
        return None
    places = torch.arange(queries, device=given["query"].device)[:, None] + keys - queries
    near = places - torch.arange(keys, device=places.device) < _WINDOW
    return _masked(given, _allowed(given) & near)


_WINDOW = 4


def _tiled(given: Arguments) -> Arguments | None:
    heads, groups = given["query"].shape[1], given["key"].shape[1]
    if groups in (1, heads):
        return None
    return {name: given[name].repeat(1, heads // groups, 1, 1) for name in ("key", "value")}


def _swapped(one: str, two: str) -> Wrong:
    def wrong(given: Arguments) -> Arguments | None:
        return {one: given[two], two: given[one]} if given[one].shape == given[two].shape else None

    return wrong


def _shows_everything(target: Target) -> str:
    """The mask that is left out hides nothing."""
    found = [tensor for key, tensor in target.ground.claimed.known.items() if key in _masks(target)]
    return "nothing is hidden from anybody here" if all(bool(one.all()) for one in found) else ""


def _is_upper_left(target: Target) -> str:
    """What `is_causal` hides, from the first query and the first key on, is what is to be hidden."""
    found = [tensor for key, tensor in target.ground.claimed.known.items() if key in _masks(target)]
    causal = all(bool((one == torch.ones(one.shape[-2:], dtype=torch.bool).tril()).all()) for one in found)
    return "every query sees itself and all before it, and no row is padded" if found and causal else ""


def _masks(target: Target) -> set[tuple[int, int]]:
    sources = [source for step in target.steps for name, source in step.sources if name == "allowed"]
    return {(int(source.ref), source.output) for source in sources}


_ROLES = "q_proj k_proj v_proj split_qkv split_heads rope cache_update repeat_kv".split()
_PATHS = tuple(f"attention.{role}" for role in _ROLES)
"""Who is a key is told by who reads it, as in `wiring`."""


def _argument(name: str, says: str, mirrors: str, wrong: Wrong, **more: Any) -> Mutant:
    return Mutant(name, ("attention.attend",), says, mirrors, change=_called(wrong), **more)


KERNEL = (
    _argument(
        "kernel-without-scale",
        "the kernel is told to scale by 1",
        seen_in(11, 12),
        lambda given: None if _factor(given) == 1 else {"scale": 1.0},
    ),
    _argument(
        "kernel-scales-twice",
        "the kernel scales what was scaled before",
        seen_in(14),
        lambda given: None if _factor(given) == 1 else {"query": given["query"] * _factor(given)},
        told_at=("attention.scale", "attention.split_heads"),
    ),
    _argument(
        "kernel-without-mask",
        "the kernel is given no mask",
        seen_in(27, 38),
        lambda given: {"attn_mask": None, "is_causal": False},
        equivalent=_shows_everything,
    ),
    _argument(
        "kernel-causal-instead-of-mask",
        "the kernel's own flag stands for the mask: it knows of no padding, and counts from the first key",
        seen_in(26),
        lambda given: {"attn_mask": None, "is_causal": True},
        equivalent=_is_upper_left,
    ),
    _argument(
        "kernel-mask-inverted",
        "true means hidden to who made the mask, and seen to the kernel",
        seen_in(38),
        lambda given: _masked(given, ~_allowed(given)),
    ),
    _argument(
        "kernel-mask-as-numbers",
        "a mask of truth values is added to the scores",
        seen_in(38),
        lambda given: {"attn_mask": _allowed(given).to(given["query"].dtype), "is_causal": False},
    ),
    _argument(
        "kernel-mask-shifted",
        "each query sees one key further",
        seen_in(21),
        lambda given: _masked(given, _allowed(given).roll(1, -1)),
    ),
    _argument("kernel-with-a-window", "only four keys are seen", seen_in(21, 23), _windowed),
    _argument("kernel-groups-tiled", "kv heads are repeated as a whole, not one by one", seen_in(29), _tiled),
    _argument(
        "kernel-keys-and-values-swapped",
        "keys and values are given in the wrong order",
        seen_in(35),
        _swapped("key", "value"),
        told_at=_PATHS,
    ),
    _argument(
        "kernel-queries-and-keys-swapped",
        "queries and keys are given in the wrong order",
        seen_in(35),
        _swapped("query", "key"),
        told_at=_PATHS,
    ),
    _argument(
        "kernel-drops-out",
        "a tenth of the probabilities is dropped as in training",
        "https://github.com/huggingface/transformers/pull/26421",
        lambda _: {"dropout_p": 0.1},
    ),
)
