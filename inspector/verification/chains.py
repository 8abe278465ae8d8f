"""Several steps that ran as one stage: how far rounding in the first ones may carry into the last."""

from __future__ import annotations

__all__ = ["chained"]

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inspector.reference.attention import contract, scores, weighted_sum
from inspector.reference.experts import chosen_linear, expert_linear, grouped_linear
from inspector.reference.feedforward import summed
from inspector.reference.projections import convolve, linear
from inspector.reference.steps import Step, replay
from inspector.verification.bounds import Case, bounds_of

Errors = dict[str, Tensor]
"""Argument -> how far off it may be, elementwise."""


def chained(steps: Sequence[Step], cases: Sequence[Case], names: Sequence[str]) -> tuple[Tensor, ...] | str | None:
    """The bound of the last step's outputs: its own, and what the errors of the steps before become in it.

    None where not a bit may differ; a reason, as text, where that is not known.
    """
    found: dict[tuple[int, int], Tensor] = {}
    own: tuple[Tensor, ...] | None = None
    for step, case, name in zip(steps, cases, names, strict=True):
        bounds = bounds_of(name, case)
        if isinstance(bounds, str):
            return bounds
        errors = {
            argument: found[int(source.ref), source.output]
            for argument, source in step.sources
            if source.kind == "step" and (int(source.ref), source.output) in found
        }
        carried = _carried(step, case, name, errors) if errors else None
        if isinstance(carried, str):
            return carried
        own = _sum(bounds, carried)
        found |= {(step.index, output): tensor for output, tensor in enumerate(own or ())}
    return own


def _sum(one: tuple[Tensor, ...] | None, two: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
    if one is None or two is None:
        return one or two
    return tuple(a + b for a, b in zip(one, two, strict=True))


def _carried(step: Step, case: Case, name: str, errors: Errors) -> tuple[Tensor, ...] | str:
    if bounds_of(name, case) is None:  # it only moves elements, and their errors with them
        return replay(step, {name: errors.get(name, _nothing(tensor)) for name, tensor in case.operands.items()})
    rule = _RULES.get(name)
    if rule is None:
        return f"how errors grow in {name} is not known"
    return (rule(case, errors),)


def _nothing(tensor: Tensor) -> Tensor:
    """No error; what only says where something stands stays."""
    return torch.zeros_like(tensor) if tensor.is_floating_point() else tensor


def _bilinear(function: Callable[..., Tensor], one: str, two: str) -> Callable[[Case, Errors], Tensor]:
    """|δa||b| + |a||δb| + |δa||δb|, each summed as the product sums."""

    def rule(case: Case, errors: Errors) -> Tensor:
        first, second = case.operands[one].abs(), case.operands[two].abs()
        total = torch.zeros((), dtype=torch.float64, device=first.device)
        if two in errors:
            total = total + function(**{one: first, two: errors[two]}, **case.attributes)
            second = second + errors[two]
        if one in errors:
            total = total + function(**{one: errors[one], two: second}, **case.attributes)
        return total

    return rule


def _product(gate: Tensor, up: Tensor) -> Tensor:
    return gate * up


def _total(case: Case, errors: Errors) -> Tensor:
    total = torch.zeros_like(case.expected[0])
    for error in errors.values():
        total = total + error
    return total


def _factor(case: Case, errors: Errors) -> Tensor:
    (error,) = errors.values()
    return error * abs(float(case.attributes["factor"]))


def _elementwise(case: Case, errors: Errors) -> Tensor:
    """Of a non-linearity: none here is steeper than 1.2, but for the square, whose slope is twice its argument."""
    (error,) = errors.values()
    steep = 2 * (case.first.abs() + error) if case.attributes["kind"] == "relu2" else 1.2
    return error * steep


def _exponential(case: Case, errors: Errors) -> Tensor:
    """e^(x + δ) − e^x, at most e^x·(e^δ − 1)."""
    (error,) = errors.values()
    return case.expected[0].abs() * torch.expm1(error)


def _summed(case: Case, errors: Errors) -> Tensor:
    return summed(errors["x"], case.attributes["axes"])


def _quotient(case: Case, errors: Errors) -> Tensor:
    """(|δx| + |y||δo|) / (|o| − |δo|), without a bound where the divisor may be nothing."""
    nothing = torch.zeros((), dtype=torch.float64, device=case.first.device)
    above, below = errors.get("x", nothing), errors.get("by", nothing)
    left = case.operands["by"].abs() - below
    return torch.where(left > 0, (above + case.expected[0].abs() * below) / left, torch.inf)


def _norm(case: Case, errors: Errors) -> Tensor:
    """What moves an element, and what moves all of them by moving their mean and their spread.

    y = (x − m)·r, so |δy| <= r·(|δ| + mean|δ| + |y|·r·mean(|x − m||δ|)); doubled, for this is the first order only.
    """
    x, error = case.operands["x"], errors["x"]
    eps, offset = float(case.attributes["eps"]), float(case.attributes.get("offset", 0.0))
    centred = x - x.mean(-1, keepdim=True) if "offset" not in case.attributes else x
    root = (centred.pow(2).mean(-1, keepdim=True) + eps).rsqrt()
    along = (centred * root).abs() * root * (centred.abs() * error).mean(-1, keepdim=True)
    weight = case.operands.get("weight")
    size = 1.0 if weight is None else (weight + offset).abs()
    return 2 * size * root * (error + error.mean(-1, keepdim=True) + along)


_RULES: dict[str, Callable[[Case, Errors], Tensor]] = {
    "projections.product_of": _bilinear(linear, "x", "weight"),
    "projections.linear": _bilinear(linear, "x", "weight"),
    "projections.convolve": _bilinear(convolve, "x_BIS", "weight_OIW"),
    "experts.chosen_linear": _bilinear(chosen_linear, "x_MI", "weight_EOI"),
    "experts.grouped_linear": _bilinear(grouped_linear, "x_MI", "weight_EOI"),
    "experts.expert_linear": _bilinear(expert_linear, "x_MI", "weight_MOI"),
    "attention.scores": _bilinear(scores, "q_BHSK", "k_BHTK"),
    "attention.weighted_sum": _bilinear(weighted_sum, "weights_BHST", "v_BHTK"),
    "attention.contract": _bilinear(contract, "x", "y"),
    "feedforward.multiply": _bilinear(_product, "gate", "up"),
    "attention.scale": _factor,
    "embeddings.scale_embedding": _factor,
    "activations.activate": _elementwise,
    "activations.exponential": _exponential,
    "feedforward.divide": _quotient,
    "feedforward.summed": _summed,
    "norms.layer_norm": _norm,
    "norms.rms_norm": _norm,
    **dict.fromkeys(
        (
            "feedforward.add",
            "activations.clamp",
            "activations.shift",
            "feedforward.add_all",
            "feedforward.subtract",
            "attention.add_bias",
            "attention.add_terms",
            "layout.rounded",
        ),
        _total,
    ),
}
"""Reference function -> what errors of its arguments become in its result, on the safe side."""
