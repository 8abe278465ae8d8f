"""The value of a stage against what the reference gives for it."""

from __future__ import annotations

__all__ = ["Judged", "Values", "function_of", "judged", "pieces", "values_of"]

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from inspector.reference.masks import fully_masked_rows
from inspector.reference.steps import Source, Step, replay
from inspector.verification.bounds import Case, arithmetic_of, bounds_of
from inspector.verification.chains import chained
from inspector.verification.compare import Outcome, against_bound, as_sets, exactly, fitted

Key = tuple[int, int]
"""(step, output)."""

_LARGEST = 1 << 19
"""Elements of a weight beyond which a projection is checked in pieces: a float64 copy of a vocabulary is large."""

_LINEAR, _MASK, _MASKED, _KERNEL = "projections.linear", "masks.build_mask", "attention.apply_mask", "attention.attend"
_MASKS = frozenset({_MASK, "masks.build_masks", "masks.hidden_masks"})
_HIDDEN, _BIASED, _LAID_OVER = "attention.hide", "attention.add_bias", "masks.laid_over"
_NEEDED = frozenset({"attention.scores", "attention.softmax", "attention.weighted_sum"})
_KNOWN = _NEEDED | {"attention.add_bias", "attention.scale", "heads.repeat_kv", _MASKED}
_SEEN = _MASKS | {"layout.viewed", "layout.rounded", "layout.arrange"}
"""Looking at the same values in another shape, and saying who may be seen, rounds nothing."""
"""What one kernel may be made of, so that its bound is known."""


class Judged(NamedTuple):
    """key: which output it was found to be, None where it is none. unchecked: why nothing was compared, or ""."""

    key: Key | None
    outcome: Outcome | None
    said: str = ""
    unchecked: str = ""


class Values(NamedTuple):
    """All that the value of a stage is judged by; numbers are in float64.

    composite: whether the model has it written out in several ops, each of which rounds.
    """

    steps: Sequence[Step]
    operands: Mapping[Source, Tensor]
    expected: Mapping[Key, Tensor]
    composite: bool

    @property
    def candidates(self) -> list[Key]:
        """What the stage may give: the outputs of its last step."""
        return [key for key in self.expected if key[0] == self.steps[-1].index]

    def case(self, got: Tensor, step: Step | None = None) -> Case:
        """A step, the last one else, as a case for bounds, in the arithmetic of what came."""
        step = step or self.steps[-1]
        operands = {name: self.operand(source) for name, source in step.sources}
        expected = tuple(tensor for key, tensor in self.expected.items() if key[0] == step.index)
        dtype = got.dtype if got.is_floating_point() else torch.float32
        return Case(operands, dict(step.attributes), expected, arithmetic_of(dtype, got.device), self.composite)

    def operand(self, source: Source) -> Tensor:
        """What a source gave, be it outside the stage or one of its own steps."""
        inside = self.expected.get((int(source.ref), source.output)) if source.kind == "step" else None
        return self.operands[source] if inside is None else inside


def function_of(step: Step) -> str:
    """The reference function without its package: `norms.rms_norm`."""
    return step.function.removeprefix("inspector.reference.").replace(":", ".")


def values_of(
    steps: Sequence[Step], operands: Mapping[Source, Tensor], known: Mapping[Key, Tensor], *, composite: bool
) -> Values:
    """What the reference gives: from the model's inputs alone where no weight is needed, else from what was read."""
    wide = {source: _wide(tensor) for source, tensor in operands.items()}
    if all((step.index, 0) in known for step in steps):
        found = {key: known[key] for step in steps for key in known if key[0] == step.index}
    else:
        found = _evaluated(steps, wide)
    return Values(steps, wide, found, composite)


def _evaluated(steps: Sequence[Step], operands: Mapping[Source, Tensor]) -> dict[Key, Tensor]:
    """What the steps give, one after the other."""
    found: dict[Key, Tensor] = {}
    for step in steps:
        tensors = {}
        for name, source in step.sources:
            inside = source.kind == "step" and (int(source.ref), source.output) in found
            tensors[name] = found[int(source.ref), source.output] if inside else operands[source]
        for output, tensor in enumerate(replay(step, tensors)):
            found[step.index, output] = tensor
    return found


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float64) if tensor.is_floating_point() else tensor


def pieces(steps: Sequence[Step], operands: Mapping[Source, Tensor]) -> Iterator[tuple[slice, dict[Source, Tensor]]]:
    """A large projection by some of its outputs at a time; everything else in one piece."""
    sources = dict(steps[0].sources)
    weight = sources.get("weight")
    if len(steps) > 1 or function_of(steps[0]) != _LINEAR or weight is None or operands[weight].numel() <= _LARGEST:
        yield slice(None), dict(operands)
        return
    axis = 1 if steps[0].attribute("layout") == "in_out" else 0
    matrix = operands[weight]
    width = max(1, _LARGEST // matrix.shape[1 - axis])
    for start in range(0, matrix.shape[axis], width):
        size = min(width, matrix.shape[axis] - start)
        part = {**operands, weight: matrix.narrow(axis, start, size)}
        if "bias" in sources:
            part[sources["bias"]] = operands[sources["bias"]].narrow(-1, start, size)
        yield slice(start, start + size), part


def judged(values: Values, got: Tensor, among: Sequence[Key] = ()) -> Judged:
    """The output that `got` is closest to, and how close; among some of them."""
    got = torch.view_as_real(got) if got.is_complex() else got
    tries: dict[Key, Outcome] = {}
    keys = among or values.candidates
    for key in keys:
        if fitted(values.expected[key], got.shape) is not None:
            outcome = _one(values, key, got)
            if isinstance(outcome, str):
                return Judged(key, None, unchecked=outcome)
            tries[key] = outcome
    if not tries:
        shapes = " or ".join(str(tuple(values.expected[key].shape)) for key in keys)
        return Judged(None, None, f"its output is {tuple(got.shape)}, expected is {shapes}")
    best = min(tries, key=lambda key: (tries[key].check.rho, tries[key].check.max_abs_error))
    return Judged(best, tries[best], tries[best].said)


def _one(values: Values, key: Key, got: Tensor) -> Outcome | str:
    step, expected = values.steps[-1], values.expected[key]
    if function_of(step) in _MASKS:
        return as_sets(got, _fit(expected, got))
    if len(values.steps) > 1:
        return _several(values, key, got)
    if function_of(step) in (_MASKED, _HIDDEN, _LAID_OVER):
        return _masked(got, _fit(expected, got))
    case = values.case(got)
    bounds = bounds_of(function_of(step), case)
    if isinstance(bounds, str):
        return bounds
    if bounds is None:
        return exactly(got, _fit(expected, got))
    outcome = against_bound(got, _fit(expected, got), _fit(bounds[key[1]], got))
    return _excess(outcome, case, step, got) if case.composite else outcome


def _excess(outcome: Outcome, case: Case, step: Step, got: Tensor) -> Outcome:
    """A function written out in ops that round: how far it is from what one rounding would allow is worth saying."""
    strict = bounds_of(function_of(step), case._replace(composite=False))
    if not isinstance(strict, tuple) or outcome.check.rho > 1:
        return outcome
    rho = against_bound(got, _fit(case.expected[0], got), _fit(strict[0], got)).check.rho
    if rho <= 1:
        return outcome
    said = f"written out in several ops it is off by {rho:.3g} times what one rounding allows"
    return outcome._replace(finding=said)


def _fit(tensor: Tensor, got: Tensor) -> Tensor:
    fit = fitted(tensor, got.shape)
    assert fit is not None
    return fit


def _masked(got: Tensor, expected: Tensor) -> Outcome:
    """Hidden scores count as hidden, whatever large negative number stands there; the others have not moved."""
    reached = _wide(got)
    hidden = (expected == -math.inf) & (reached <= _HIDING)
    return exactly(torch.where(hidden, -math.inf, reached), expected)


_HIDING = torch.finfo(torch.float16).min / 2
"""Where a mask is as narrow as that, the scores may be wider: nothing is left of exp of that in any format."""


def _several(values: Values, key: Key, got: Tensor) -> Outcome | str:
    """Several steps that ran as one."""
    names = {function_of(step): step for step in values.steps if function_of(step) not in _SEEN}
    if function_of(values.steps[-1]) in (_MASKED, _HIDDEN) and len(names) == 1:
        return _masked(got, _fit(values.expected[key], got))
    if names.keys() == {_BIASED, _MASKED}:
        return _biased(values, names, got)
    if names.keys() == {"attention.scores", "attention.scale"}:
        return _scaled(values, names, got)
    if names.keys() >= _NEEDED and names.keys() <= _KNOWN:
        return _kernel(values, names, got)
    cases = [values.case(got, step) for step in values.steps]
    bounds = chained(values.steps, cases, [function_of(step) for step in values.steps])
    if isinstance(bounds, str):
        return bounds
    if bounds is None:
        return exactly(got, _fit(values.expected[key], got))
    return against_bound(got, _fit(values.expected[key], got), _fit(bounds[key[1]], got))


def _biased(values: Values, names: Mapping[str, Step], got: Tensor) -> Outcome:
    """A bias and a mask in one: what is hidden counts as hidden, and elsewhere the sum is rounded once."""
    bounds = bounds_of(_BIASED, values.case(got, names[_BIASED]))
    assert isinstance(bounds, tuple)
    expected = _fit(values.expected[names[_MASKED].index, 0], got)
    hidden = (expected == -math.inf) & (_wide(got) <= torch.finfo(got.dtype).min / 2)
    return against_bound(torch.where(hidden, -math.inf, _wide(got)), expected, _fit(bounds[0], got))


def _scaled(values: Values, names: Mapping[str, Step], got: Tensor) -> Outcome:
    """Scores that a product multiplies by a number as it goes (`baddbmm`)."""
    expected = values.expected[values.steps[-1].index, 0]
    arithmetic = arithmetic_of(got.dtype, got.device)
    operands = {name: values.operand(source) for name, source in names["attention.scores"].sources}
    factor = float(names["attention.scale"].attribute("factor"))  # type: ignore[arg-type]
    bounds = bounds_of("attention.scores", Case(operands, {}, (expected / factor,), arithmetic))
    assert isinstance(bounds, tuple)
    return against_bound(got, _fit(expected, got), _fit(bounds[0] * abs(factor) + arithmetic.u * expected.abs(), got))


def _kernel(values: Values, names: Mapping[str, Step], got: Tensor) -> Outcome:
    """One kernel for all of attention. Queries that see no key are left out: what they get is a convention."""
    operands = _kernel_operands(values, names)
    factor = names["attention.scale"].attribute("factor") if "attention.scale" in names else 1.0
    expected = values.expected[values.steps[-1].index, 0]
    if "bias" in operands and "allowed" not in operands:  # what takes so much off hides
        operands["allowed"] = operands["bias"] > torch.finfo(got.dtype).min / 2
    narrowed = any(function_of(step) == "layout.rounded" for step in values.steps)
    arithmetic = arithmetic_of(got.dtype, got.device)
    bounds = bounds_of(_KERNEL, Case(operands, {"factor": factor, "narrowed": narrowed}, (expected,), arithmetic))
    assert isinstance(bounds, tuple)
    skip = None
    if "allowed" in operands:
        allowed = operands["allowed"]
        unseen = fully_masked_rows(allowed.broadcast_to(*expected.shape[:-1], allowed.shape[-1]))
        skip = _fit(unseen[..., None].expand_as(expected), got)
    outcome = against_bound(got, _fit(expected, got), _fit(bounds[0], got), skip)
    return outcome if skip is None else outcome._replace(aside=_unseen(got, operands["v_BHTK"], skip))


def _unseen(got: Tensor, values: Tensor, skip: Tensor) -> str:
    """What a kernel gives queries that see no key, in words; "" where there are none. values: (B, H, T, K)."""
    if not bool(skip.any()):
        return ""
    found = got.to(torch.float64).reshape(*values.shape[:2], -1, values.shape[-1])
    mean = values.mean(-2, keepdim=True)
    rows = skip.reshape(found.shape)
    close = ((found - mean).abs() <= 0.02 * mean.abs().amax())[rows]
    classes = {
        "NaN": found.isnan()[rows],
        "zero": (found == 0)[rows],
        "the mean of all values": close,
    }
    kind = next((name for name, holds in classes.items() if bool(holds.all())), "something else")
    return f"queries that see no key are not compared, for what they get is a convention: here {kind}"


def _kernel_operands(values: Values, names: Mapping[str, Step]) -> dict[str, Tensor]:
    """Queries, keys, values and who may be seen, as they enter the contractions."""
    wanted = [("attention.scores", "q_BHSK"), ("attention.scores", "k_BHTK"), ("attention.weighted_sum", "v_BHTK")]
    wanted += [(_MASKED, "allowed")] if _MASKED in names else []
    wanted += [(_BIASED, "bias")] if _BIASED in names else []
    return {name: values.operand(dict(names[function].sources)[name]) for function, name in wanted}
