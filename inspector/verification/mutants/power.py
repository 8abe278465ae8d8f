"""Which wrong formulas one check can tell from the right one, by the value alone.

A bound that admits a wrong formula proves nothing. So the wrong formulas of a stage are computed on what the stage
read, in float64, and their effect is measured in units of the bound: kappa = max|wrong - right| / B. From 3 on the
check would tell, whatever rounding does on both sides.
"""

from __future__ import annotations

__all__ = ["DETECTABLE", "effects", "in_all", "looks_like", "power"]

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from inspector.reference.steps import Source, Step, replay
from inspector.verification.bounds import bounds_of
from inspector.verification.mutants.catalogue import CATALOGUE, formulas_of
from inspector.verification.mutants.mutant import Mutant
from inspector.verification.report import Mutants
from inspector.verification.values import Key, Values, function_of, judged

DETECTABLE = 3.0
"""The effect of a mistake that a check must tell, in units of its bound."""

_ROWS = 128
"""Tokens that the effect is measured on."""

_COLUMNS = 512
"""Outputs of a projection that it is measured on."""

Outputs = tuple[Tensor, ...]


def power(values: Values, dtype: torch.dtype, numbers: Collection[str] = ()) -> Mutants:
    """How many of the wrong formulas that apply this check can tell.

    dtype: the format that the stage computes in. numbers: the attributes that are compared besides, so that a wrong one
    is told whatever it changes.
    """
    same = {mutant.name for mutant in CATALOGUE if mutant.in_theory}
    found = {name: kappa for name, kappa in effects(values, dtype).items() if name not in same}
    told = {mutant.name for mutant in CATALOGUE if mutant.number and mutant.number in numbers}
    alive = tuple(name for name, kappa in found.items() if kappa < DETECTABLE and name not in told)
    return Mutants(len(found) - len(alive), len(found), alive)


def in_all(found: Sequence[Mutants]) -> Mutants:
    """What several checks of one stage tell together: only what none of them tells stays alive.

    >>> in_all([Mutants(1, 3, ("a", "b")), Mutants(2, 3, ("b",))])
    Mutants(killed=2, total=3, alive=('b',))
    """
    first = found[0]
    alive = tuple(name for name in first.alive if all(name in one.alive for one in found))
    return first._replace(killed=first.total - len(alive), alive=alive)


def effects(values: Values, dtype: torch.dtype) -> dict[str, float]:
    """Name of a mutant -> its effect; `inf` where not a bit may differ and one does, or where it is not finite."""
    small = sampled(values)
    got = [small.expected[key].to(dtype) for key in small.candidates]
    found: dict[str, float] = {}
    for mutant, outputs in _wrong(small):
        kappa = max(
            (_effect(small, place, wrong, one) for place, (wrong, one) in enumerate(zip(outputs, got, strict=True))),
            default=0.0,
        )
        if not (mutant.halves and dtype == torch.bfloat16):
            found[mutant.name] = min(kappa, found.get(mutant.name, math.inf))
    return found


def looks_like(values: Values, got: Tensor) -> str:
    """The mutant that gives what a stage gave, within the bound: of several the closest. "" where none does, and where
    nothing is wrong.
    """
    tries: dict[str, float] = {}
    if _rho(values, got) <= 1:
        return ""
    for mutant, outputs in _wrong(values):
        wrong = dict(zip(values.candidates, outputs, strict=True))
        rho = _rho(values._replace(expected={**values.expected, **wrong}), got)
        if rho <= 1:
            tries[mutant.name] = rho
    return min(tries, key=tries.__getitem__) if tries else ""


def _rho(values: Values, got: Tensor) -> float:
    outcome = judged(values, got).outcome
    return math.inf if outcome is None or outcome.said else outcome.check.rho


# the wrong values


def _wrong(values: Values) -> Iterator[tuple[Mutant, Outputs]]:
    """Each mutant of each step, and what the last step gives with it. Where it cannot be computed, there is none."""
    for wrong_step in values.steps:
        for mutant in formulas_of(function_of(wrong_step), wrong_step.name):
            try:
                outputs = _with(values, wrong_step, mutant)
            except (RuntimeError, IndexError, ValueError, TypeError):
                continue
            right = [values.expected[key] for key in values.candidates]
            if outputs is not None and _same_shapes(outputs, right):
                yield mutant, outputs


def _same_shapes(outputs: Outputs, right: Sequence[Tensor]) -> bool:
    pairs = zip(outputs, right, strict=False)
    return len(outputs) == len(right) and all(one.shape == other.shape for one, other in pairs)


def _with(values: Values, wrong_step: Step, mutant: Mutant) -> Outputs | None:
    """What the last step gives, when one of them is wrong."""
    made: dict[Key, Tensor] = dict(values.expected)
    outputs: Outputs | None = None
    for step in values.steps[values.steps.index(wrong_step) :]:
        operands = {name: made.get(_key(source), values.operands.get(source)) for name, source in step.sources}
        outputs = _one(step, operands, mutant if step is wrong_step else None)
        if outputs is None:
            return None
        made |= {(step.index, place): tensor for place, tensor in enumerate(outputs)}
    return outputs


def _key(source: Source) -> Key:
    return (int(source.ref), source.output) if source.kind == "step" else (-1, 0)


def _one(step: Step, operands: Mapping[str, Tensor | None], mutant: Mutant | None) -> Outputs | None:
    given: dict[str, Any] = dict(operands)
    if mutant is None:
        return replay(step, given)
    assert mutant.formula is not None
    with next((t.device for t in given.values() if t is not None), torch.device("cpu")):
        made = mutant.formula(**given, **dict(step.attributes))
    if made is None:
        return None
    made = made if isinstance(made, tuple) else (made,)
    return tuple(tensor.to(torch.float64) if tensor.is_floating_point() else tensor for tensor in made)


def _effect(values: Values, place: int, wrong: Tensor, got: Tensor) -> float:
    key = values.candidates[place]
    right = values.expected[key]
    if len(values.steps) > 1:
        outcome = judged(values, wrong.to(got.dtype), [key]).outcome
        return math.inf if outcome is None else outcome.check.rho
    bounds = bounds_of(function_of(values.steps[-1]), values.case(got))
    same = (wrong == right) | (wrong.isnan() & right.isnan()) if wrong.is_floating_point() else wrong == right
    if bool(same.all()):
        return 0.0
    if not isinstance(bounds, tuple):
        return math.inf
    error = (wrong - right).abs().masked_fill(same, 0.0).nan_to_num(math.inf, math.inf)
    return float(torch.where(same, 0.0, error / bounds[place]).nan_to_num(math.inf, math.inf).max())


# a sample


def sampled(values: Values) -> Values:
    """The same check on a part: some tokens, some columns. Only what is computed row by row is cut."""
    cuts = {_CUTS.get(function_of(step)) for step in values.steps}
    cut = cuts.pop()
    if cut is None or cuts:
        return values
    named = {source: name for step in values.steps for name, source in step.sources if source in values.operands}
    numbers = dict(values.steps[0].attributes)
    if len(set(named.values())) < len(named):  # several steps have arguments of one name
        return values
    small = cut({name: values.operands[source] for source, name in named.items()}, numbers)
    operands = {source: small[name] for source, name in named.items()}
    return values._replace(operands=operands, expected=_again(values.steps, operands))


def _again(steps: Sequence[Step], operands: Mapping[Source, Tensor]) -> dict[Key, Tensor]:
    made: dict[Key, Tensor] = {}
    for step in steps:
        given = {name: made.get(_key(source), operands.get(source)) for name, source in step.sources}
        made |= {(step.index, place): tensor for place, tensor in enumerate(_one(step, given, None) or ())}
    return made


def _tokens(operands: Mapping[str, Tensor], _: Mapping[str, Any]) -> dict[str, Tensor]:
    """Rows of what is (..., D), the same of each; what has one axis is a weight."""
    wide = {name: tensor for name, tensor in operands.items() if tensor.dim() > 1}
    shapes = {tensor.shape for tensor in wide.values()}
    if len(shapes) != 1:
        return dict(operands)
    count = math.prod(next(iter(shapes))[:-1])
    return {**operands, **{name: _rows(tensor.flatten(0, -2), count) for name, tensor in wide.items()}}


def _rows(tensor: Tensor, count: int) -> Tensor:
    """Spread over all of them; of no more than so many, each. Three axes stay, for some formulas ask for them."""
    step = max(1, count // _ROWS)
    return tensor[::step].unsqueeze(0) if step > 1 else tensor.unsqueeze(0)


def _projected(operands: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> dict[str, Tensor]:
    x = operands["x"].flatten(0, -2)
    small = {**operands, "x": _rows(x, x.shape[0])}
    outer = 0 if numbers.get("layout", "out_in") == "out_in" else 1
    if operands["weight"].shape[outer] > 4 * _COLUMNS:
        small["weight"] = operands["weight"].narrow(outer, 0, _COLUMNS)
        small |= {name: operands[name][..., :_COLUMNS] for name in ("bias",) if name in operands}
    return small


def _queries(operands: Mapping[str, Tensor], _: Mapping[str, Any]) -> dict[str, Tensor]:
    """Some queries of attention: the last of each row of the batch, of whom most see all keys."""
    return {name: _cut(name, tensor) for name, tensor in operands.items()}


def _cut(name: str, tensor: Tensor) -> Tensor:
    if name.endswith(("_BHSK", "_BHST", "_B1SR")) or name == "allowed":
        return tensor[..., -_ROWS:, :]
    return tensor


_CUTS = {
    "norms.layer_norm": _tokens,
    "norms.rms_norm": _tokens,
    "activations.activate": _tokens,
    "feedforward.add": _tokens,
    "feedforward.multiply": _tokens,
    "projections.linear": _projected,
    "attention.scores": _queries,
    "attention.scale": _queries,
    "attention.apply_mask": _queries,
    "attention.softmax": _queries,
    "attention.weighted_sum": _queries,
    "heads.repeat_kv": _queries,
    "rope.rotate": _queries,
}
"""Which part of its operands a function is measured on; the whole where none is named: what moves is cheap."""
