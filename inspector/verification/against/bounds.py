"""How far a stage of either of two implementations may be from the exact result, whoever wrote it.

What a stage is supposed to compute is told by its role and by the numbers it was executed with; its operands are those
that were captured, in float64. Maps that only multiply and add need no names for their operands: run on magnitudes
they give what their rounding errors are shares of.
"""

from __future__ import annotations

__all__ = ["EXACT", "Seen", "bounds_for"]

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inspector.records import Op
from inspector.reference.rope import rotate
from inspector.stage_graph.attributes import attributes
from inspector.stage_graph.stages import Stage
from inspector.verification.against.kernel import kernel_case
from inspector.verification.against.layout import relaid
from inspector.verification.against.sides import Side, axis_sizes
from inspector.verification.bounds import Arithmetic, Case, arithmetic_of, bounds_of

EXACT = frozenset(
    "token position segment ids split_qkv split_up_gate split_heads merge_heads repeat_kv cache_update dropout cast "
    "contiguous reshape".split()
)
"""Roles that move numbers and compute none."""

_MULTIPLY_ADD = frozenset(
    "q_proj k_proj v_proj qkv_proj kv_proj q_down q_up kv_down kv_up o_proj up_proj gate_proj up_gate_proj down_proj "
    "lm_head projection scores weighted_sum router transform".split()
)
_NORMS = frozenset("norm post_norm q_norm k_norm v_norm sub_norm latent_norm".split())
_LARGER = 1.01
"""Makes up for magnitudes in single precision, and for casts on the way."""


class Seen(NamedTuple):
    """Stages of one side with their tensors as they were captured."""

    side: Side
    stages: tuple[Stage, ...]
    held: Mapping[int, Tensor]
    form: str = ""

    @property
    def roles(self) -> set[str]:
        return {stage.role for stage in self.stages}

    @property
    def read(self) -> list[int]:
        return self.side.entering(self.stages)

    @property
    def positions(self) -> int:
        """How many tokens there are at most."""
        scenario = self.side.running.scenario
        return scenario.past + scenario.seq

    @property
    def attributes(self) -> dict[str, Any]:
        return {name: value for stage in self.stages for name, value in attributes(self.side.graph, stage)}

    def play(self, dtype: torch.dtype, *, sizes: bool = False) -> dict[int, Tensor]:
        """The stages on what was captured, or on its magnitudes: value -> tensor."""
        raw, fixed = self.side.plan.raw, self.side.tape.fixed
        change = _size if sizes else _same
        known = {value: change(tensor) for value, tensor in fixed.items()}
        known |= {raw[value]: change(self.held[value]) for value in self.read}
        played = self.side.tape.play(self.side.records(self.stages), known, change, dtype)
        place = self.side.plan.run.seen.place
        return {place[value]: tensor for value, tensor in played.items() if value in place}


Bounds = dict[int, Tensor] | None
"""Output -> its bound; None where not a bit may differ."""


def bounds_for(seen: Seen, outputs: Sequence[int], arithmetic: Arithmetic, *, composite: bool) -> Bounds | str:
    """The bound of each output; a reason, as text, where none is known."""
    if seen.form == "kernel":
        return _kernel(seen, outputs, arithmetic, composite=composite)
    work = {role for role in seen.roles if role not in EXACT}
    if not work:
        return None
    if work <= _MULTIPLY_ADD:
        return _contraction(seen, outputs, arithmetic)
    working = [stage for stage in seen.stages if stage.role not in EXACT]
    if len(working) == 1 < len(seen.stages):
        return _moved(seen, working[0], outputs, arithmetic, composite=composite)
    special = _SPECIAL.get(seen.stages[0].role) if len(seen.stages) == 1 else None
    if special is not None:
        return special(seen, outputs, arithmetic)
    case = _case(seen, outputs, arithmetic, composite=composite) if len(seen.stages) == 1 else None
    if case is None:
        return f"no bound is known for {' + '.join(sorted(seen.roles))}"
    function, filled = case
    bound = bounds_of(function, filled)
    if isinstance(bound, str):
        return bound
    return None if bound is None else dict(zip(outputs, bound, strict=False))


def _moved(
    seen: Seen, working: Stage, outputs: Sequence[int], arithmetic: Arithmetic, *, composite: bool
) -> Bounds | str:
    """The bound of the one stage that computes, moved as its output is."""
    side, raw = seen.side, seen.side.plan.raw
    inside = seen._replace(stages=(working,), held={**seen.play(torch.float64), **seen.held})
    found = bounds_for(inside, side.leaving((working,)), arithmetic, composite=composite)
    if not isinstance(found, dict):
        return found
    known = {raw[value]: seen.held[value] for value in seen.read} | {raw[value]: x for value, x in found.items()}
    moves = [stage for stage in seen.stages if stage is not working]
    played = side.tape.play(side.records(moves), side.tape.fixed | known, dtype=torch.float64)
    return {value: played[raw[value]] for value in outputs}


def is_linear(stages: Sequence[Stage]) -> bool:
    """Whether the stages only multiply with weights, add and move."""
    return {stage.role for stage in stages} <= _MULTIPLY_ADD | EXACT


def wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float64) if tensor.is_floating_point() else tensor


def _size(tensor: Tensor) -> Tensor:
    return tensor.abs() if tensor.is_floating_point() else tensor


def _same(tensor: Tensor) -> Tensor:
    return tensor


# maps that only multiply and add


def _contraction(seen: Seen, outputs: Sequence[int], one: Arithmetic) -> Bounds | str:
    try:
        sizes = seen.play(torch.float32, sizes=True)
    except (RuntimeError, KeyError) as error:
        return f"its magnitudes cannot be computed: {str(error).partition(chr(10))[0]}"
    terms = max((seen.side.shape(value)[-1] for value in seen.read if seen.side.shape(value)), default=1) + 1
    terms = max(terms, *(max(seen.side.shape(value)) for value in seen.side.weights(seen.stages)), 1)
    found = {}
    for value in outputs:
        size = sizes[value].to(torch.float64) * _LARGER
        y = wide(seen.held[value]).abs()
        found[value] = one.u * y + one.gamma(terms) * size.reshape(y.shape) + one.tiny
    return found


def _pooled(seen: Seen, outputs: Sequence[int], one: Arithmetic) -> Bounds | str:
    """A product and a tanh, whose slope is nowhere above one."""
    product = next((op for op in seen.side.ops(seen.stages) if op.name in ("linear", "addmm", "matmul")), None)
    if product is None:
        return "no bound is known for it: no product is found"
    (value,) = product.outputs
    inner, size = (
        seen.play(torch.float64)[value].abs(),
        seen.play(torch.float32, sizes=True)[value].to(torch.float64) * _LARGER,
    )
    error = one.u * inner + one.gamma(inner.shape[-1] + 1) * size
    y = wide(seen.held[outputs[0]]).abs()
    return {outputs[0]: error.reshape(y.shape) + (one.u + 4 * one.a) * y + one.tiny}


def _turned(seen: Seen, outputs: Sequence[int], one: Arithmetic) -> Bounds | str:
    """A rotation by a side's own table, which may be off by what its angles round to: see `rope.rope_table`."""
    found = seen.attributes
    if len(seen.read) != 1 or "layout" not in found:
        return "no bound is known for it: its pairs are not found"
    x, y = wide(seen.held[seen.read[0]]).abs(), wide(seen.held[outputs[0]]).abs()
    dims = int(found["dim"])
    one_ = torch.ones(dims, dtype=x.dtype, device=x.device)
    partner = rotate(x, 0 * one_, one_, layout=found["layout"], dims=dims).abs()
    share = one.u * (2 + one.u) + one.a * (4 * seen.positions + 2)
    bound = share * _largest(seen) * (x + partner) + one.u * y + 3 * one.tiny
    return {outputs[0]: bound.reshape(y.shape)}


def _largest(seen: Seen) -> float:
    """The largest entry of the tables: one, or the attention factor of a scaled rotation."""
    fixed, raw = seen.side.tape.fixed, seen.side.plan.raw
    tables = [fixed[raw[value]] for stage in seen.stages for value in stage.inputs if raw[value] in fixed]
    return max((float(table.abs().max()) for table in tables if table.is_floating_point()), default=1.0)


_SPECIAL: dict[str, Callable[[Seen, Sequence[int], Arithmetic], Bounds | str]] = {"pooler": _pooled, "rope": _turned}


# stages with a reference function


def _case(seen: Seen, outputs: Sequence[int], one: Arithmetic, *, composite: bool) -> tuple[str, Case] | None:
    """The reference function of a stage, and what it is evaluated on."""
    rule = next((rule for roles, rule in _RULES if seen.roles <= roles), None)
    found = rule(seen) if rule is not None else None
    if found is None:
        return None
    function, operands, numbers = found
    expected = tuple(wide(seen.held[value]) for value in outputs)
    return function, Case({k: wide(v) for k, v in operands.items()}, numbers, expected, one, composite)


Spelled = tuple[str, dict[str, Tensor], dict[str, Any]] | None


def _norm(seen: Seen) -> Spelled:
    found = seen.attributes
    if found.get("kind") not in ("layer", "rms") or "eps" not in found:
        return None
    weights = [seen.side.tape.leaves[seen.side.plan.raw[value]] for value in seen.side.weights(seen.stages)]
    operands = {"x": seen.held[seen.read[0]]} | dict(zip(("weight", "bias"), weights, strict=False))
    if found["kind"] == "rms":
        return "norms.rms_norm", operands, {}
    return "norms.layer_norm", operands, {"eps": found["eps"]}


def _activation(seen: Seen) -> Spelled:
    return "activations.activate", {"x": seen.held[seen.read[0]]}, {}


def _scale(seen: Seen) -> Spelled:
    return "attention.scale", {"x": seen.held[seen.read[0]]}, {}


def _softcap(seen: Seen) -> Spelled:
    cap = seen.attributes.get("cap")
    return None if cap is None else ("attention.softcap", {"x": seen.held[seen.read[0]]}, {"cap": cap})


def _softmax(seen: Seen) -> Spelled:
    if len(seen.read) != 1:
        return None
    return "attention.softmax", {"scores_BHST": seen.held[seen.read[0]]}, {}


def _sum(seen: Seen) -> Spelled:
    return "embeddings.add_embeddings", _alike(seen), {}


def _product(seen: Seen) -> Spelled:
    return "feedforward.multiply", _alike(seen), {}


def _alike(seen: Seen) -> dict[str, Tensor]:
    """Operands in the shape of the result: one may be turned first, and positions are added to every row."""
    shape = seen.side.shape(seen.side.leaving(seen.stages)[-1])
    sizes = axis_sizes(seen.side)
    found = {str(value): relaid(seen.held[value], shape, sizes) for value in seen.read}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


_RULES: tuple[tuple[frozenset[str], Callable[[Seen], Spelled]], ...] = (
    (_NORMS, _norm),
    (frozenset({"activation", "expert_activation"}), _activation),
    (frozenset({"scale"}), _scale),
    (frozenset({"softcap"}), _softcap),
    (frozenset({"softmax"}), _softmax),
    (frozenset({"residual", "add"}), _sum),
    (frozenset({"multiply"}), _product),
)


def _kernel(seen: Seen, outputs: Sequence[int], one: Arithmetic, *, composite: bool) -> Bounds | str:
    case = kernel_case(
        seen.side, seen.stages, seen.play(torch.float64), wide(seen.held[outputs[0]]), one, composite=composite
    )
    if isinstance(case, str):
        return case
    bound = bounds_of("attention.attend", case)
    if bound is None or isinstance(bound, str):
        return bound or "no bound is known"
    return {outputs[0]: bound[0].reshape(seen.held[outputs[0]].shape)}


def arithmetic_for(side: Side) -> Arithmetic:
    return arithmetic_of(*side.arithmetic)


def is_composite(side: Side, stages: Sequence[Stage]) -> bool:
    """Whether the side writes it out in several ops that round."""
    return sum(_rounds(side, op) for op in side.ops(stages)) > 1


def _rounds(side: Side, op: Op) -> bool:
    return op.effect != "noop" and side.graph.naming.flow.kind[op.id] not in ("plumb", "view")
