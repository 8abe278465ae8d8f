"""All of attention in one: its queries, keys and values, its factor and its mask, read off the stages that ran."""

from __future__ import annotations

__all__ = ["hidden_in", "kernel_case", "unseen_queries"]

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from inspector.records import Op
from inspector.roles.flow import FUSED_ATTENTION
from inspector.stage_graph.attributes import attributes
from inspector.stage_graph.stages import Stage
from inspector.verification.against.sides import Side
from inspector.verification.bounds import Arithmetic, Case

_PRODUCTS = ("matmul", "bmm", "einsum", "baddbmm")
_KNOWN = frozenset("scores scale mask softmax weighted_sum fused repeat_kv dropout".split())
_SATURATED = 1e3
"""A score that is lowered by more is hidden: exp(-1000) is nothing in any format."""


def kernel_case(
    side: Side,
    stages: Sequence[Stage],
    values: Mapping[int, Tensor],
    expected: Tensor,
    one: Arithmetic,
    *,
    composite: bool,
) -> Case | str:
    """What the bound of attention is evaluated on. values: of all that the stages read and made, in float64."""
    if not {stage.role for stage in stages} <= _KNOWN:
        return f"no bound is known for attention with {' and '.join(sorted({s.role for s in stages} - _KNOWN))}"
    operands = _operands(side, stages, values)
    if operands is None:
        return "no bound is known for it: its contractions are not found"
    q, k, v, allowed, factor = operands
    if k.shape[-3] != q.shape[-3]:
        k, v = (x.repeat_interleave(q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    found = {"q_BHSK": q, "k_BHTK": k, "v_BHTK": v} | ({} if allowed is None else {"allowed": allowed})
    o = torch.empty(*q.shape[:-1], v.shape[-1])
    shaped = (
        expected.reshape(o.shape) if expected.shape[:3] == o.shape[:3] else expected.transpose(1, 2).reshape(o.shape)
    )
    return Case(found, {"factor": factor}, (shaped,), one, composite)


Operands = tuple[Tensor, Tensor, Tensor, Tensor | None, float]


def _operands(side: Side, stages: Sequence[Stage], values: Mapping[int, Tensor]) -> Operands | None:
    ops = side.ops(stages)
    fused = next((op for op in ops if op.name == FUSED_ATTENTION), None)
    if fused is not None:
        q, k, v = (values[value] for value in fused.inputs[:3])
        return q, k, v, _fused_mask(fused, q, k, values), _factor(side, stages)
    products = [op for op in ops if op.name in _PRODUCTS]
    softmax = next((op for op in ops if op.name == "softmax"), None)
    if len(products) != 2 or softmax is None:
        return None
    q, k = _pair(products[0], values)
    v = values[products[1].inputs[-1]]
    k = k if k.shape[-1] == q.shape[-1] and products[0].name == "einsum" else k.transpose(-1, -2)
    hidden = hidden_in(values[products[0].outputs[0]], values[softmax.inputs[0]])
    return (*(_four(x) for x in (q, k, v)), _four(~hidden), _after(side, stages, products[0]))  # type: ignore[return-value]


def _pair(op: Op, values: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
    q, k = op.inputs[-2:]
    return values[q], values[k]


def _four(tensor: Tensor) -> Tensor:
    """(B·H, S, K) counts as one batch of so many heads."""
    return tensor if tensor.dim() == 4 else tensor.unsqueeze(0)


def hidden_in(before: Tensor, after: Tensor) -> Tensor:
    """Which scores a mask took out, whatever large number it did that with."""
    return before.to(torch.float64) - after.to(torch.float64).nan_to_num(0.0, neginf=-1e300) > _SATURATED


def _fused_mask(op: Op, q: Tensor, k: Tensor, values: Mapping[int, Tensor]) -> Tensor | None:
    if op.attribute("is_causal"):
        return torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
    mask = next((values[value] for name, value in op.operands if name == "attn_mask"), None)
    if mask is None:
        return None
    return mask if mask.dtype == torch.bool else mask > -_SATURATED


def _factor(side: Side, stages: Sequence[Stage]) -> float:
    found = 1.0
    for stage in stages:
        factor = dict(attributes(side.graph, stage)).get("factor")
        found *= factor if isinstance(factor, float) else 1.0
    return found


def _after(side: Side, stages: Sequence[Stage], product: Op) -> float:
    """What the scores are multiplied with once they are there; factors of queries are in the queries."""
    return _factor(side, [stage for stage in stages if min(stage.ops) > product.id])


def unseen_queries(side: Side, stages: Sequence[Stage], values: Mapping[int, Tensor]) -> Tensor | None:
    """Queries that see no key, (B, H, S); None where nothing is hidden."""
    operands = _operands(side, stages, values)
    if operands is None or operands[3] is None:
        return None
    q, k, allowed = operands[0], operands[1], operands[3]
    return ~allowed.expand(*q.shape[:-1], k.shape[-2]).any(-1)
