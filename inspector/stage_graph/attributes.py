"""The numbers that change what a stage computes, read from the ops that ran: one small rule per kind of part.

What a table, a mask or a numbering of positions contains is read in `contents`.
"""

from __future__ import annotations

__all__ = ["MOVEMENT", "attribute", "attributes"]

import math
from collections.abc import Callable, Iterator

from inspector.costs.memory import itemsize
from inspector.records import Op, Plain
from inspector.roles.flow import FUSED_ATTENTION
from inspector.roles.norms import Norm
from inspector.roles.rope import Rope
from inspector.stage_graph import contents
from inspector.stage_graph.functions import function_of
from inspector.stage_graph.lanes import Turned, turned, written
from inspector.stage_graph.mask_stage import mask_kind
from inspector.stage_graph.stages import Stage, StageGraph

Attributes = dict[str, object]

MOVEMENT = frozenset(
    "split_heads merge_heads repeat_kv split_qkv split_up_gate cache_update dropout residual add ids cast contiguous "
    "reshape dispatch combine gather cache_index weight_prep branch scalar unused drop_path multiply scores "
    "weighted_sum stream_read stream_write expert_multiply".split()
)
"""Roles whose name says all that they compute, but for how many or how long."""


def attributes(graph: StageGraph, stage: Stage) -> tuple[tuple[str, object], ...]:
    """(name, value) pairs, sorted: `eps` of a norm, `factor` of a scale, `bias` of a projection, `kind` of a mask."""
    found = _rule(graph, stage)(graph, stage)
    return tuple(sorted((name, value) for name, value in found.items() if value is not None))


def attribute(graph: StageGraph, stage: Stage, name: str) -> Plain:
    """One of them; None where the stage has none of that name."""
    found = _rule(graph, stage)(graph, stage).get(name)
    return found if isinstance(found, (bool, int, float, str, tuple)) else None


def _rule(graph: StageGraph, stage: Stage) -> Callable[[StageGraph, Stage], Attributes]:
    rule = _BY_PATH.get(stage.path) or _BY_ROLE.get(stage.role)
    if rule is not None:
        return rule
    weighted = stage.role not in MOVEMENT and any(graph.naming.flow.weighted[op] for op in stage.ops)
    return _projection if weighted else _nothing


def _nothing(graph: StageGraph, stage: Stage) -> Attributes:
    return {}


def _projection(graph: StageGraph, stage: Stage) -> Attributes:
    """Whether something is added to the product. Where the weight stands and how it is stored decides nothing."""
    return {"bias": any(_adds_weight(graph, op) for op in graph.ops(stage) if op.effect != "noop")}


def _adds_weight(graph: StageGraph, op: Op) -> bool:
    """A weight that is no factor of a product, or that is added by an op of its own; experts pick theirs by index."""
    flow, values = graph.naming.flow, graph.trace.values
    if flow.weighted[op.id]:
        return any(flow.weight(value) is not None for value in set(op.inputs) - set(flow.factors(op)))
    picked = ("plumb", "view", "select")
    return (
        op.name == "add"
        and len(op.inputs) == 2
        and any(values[flow.through(value, picked)].kind == "parameter" for value in op.inputs)
    )


def _norm(graph: StageGraph, stage: Stage) -> Attributes:
    inside = set(stage.ops)
    found = dict.fromkeys(graph.norm_of[op] for op in stage.ops if op in graph.norm_of)
    norm = next((norm for norm in found if inside.issuperset(norm.ops)), None)
    if norm is None:
        return {}
    affine, bias = norm.weight is not None, norm.bias is not None
    numbers = {"kind": norm.kind, "eps": norm.eps, "affine": affine, "bias": bias, "offset": int(norm.offset)}
    return {**numbers, "dtype": _short(graph, norm)}


def _short(graph: StageGraph, norm: Norm) -> str | None:
    """The number format of a norm's mean, where it is shorter than float32: it rounds where others do not."""
    for op in (graph.trace.ops[index] for index in norm.ops):
        if op.name in ("mean", "var", "var_mean", "sum"):
            dtype = graph.trace.values[op.outputs[0]].dtype
            return dtype if itemsize(dtype) < 4 else None
    return None


def _function(graph: StageGraph, stage: Stage) -> Attributes:
    """The function by its values at a few points, however it is spelled: `gelu_tanh`."""
    return {"function": function_of([op for op in graph.ops(stage) if op.effect != "noop"])}


def _scale(graph: StageGraph, stage: Stage) -> Attributes:
    """The product of all factors of the stage; a buffer of one number counts as that, a learned one is `learned`."""
    if any(graph.trace.values[value].kind == "parameter" for value in stage.parameters):
        return {"factor": "learned"}
    found = [(op.name, number) for op in graph.ops(stage) for number in _numbers(graph, op)]
    factors = [number if name == "mul" else 1 / number for name, number in found if name in ("mul", "div")]
    return {"factor": math.prod(factors) if factors else None}


def _numbers(graph: StageGraph, op: Op) -> Iterator[float]:
    number = op.attribute("other", op.attribute("input"))
    if isinstance(number, (int, float)) and not isinstance(number, bool):
        yield float(number)
    yield from contents.single(graph, op.inputs)


def _softcap(graph: StageGraph, stage: Stage) -> Attributes:
    numbers = [number for op in graph.ops(stage) if op.name == "mul" for number in _numbers(graph, op)]
    return {"cap": numbers[-1] if numbers else None}


def _softmax(graph: StageGraph, stage: Stage) -> Attributes:
    for op in graph.ops(stage):
        if op.name == "softmax":
            return {"dtype": graph.trace.values[op.outputs[0]].dtype, "dim": op.attribute("dim")}
    return {}


def _mask(graph: StageGraph, stage: Stage) -> Attributes:
    found = mask_kind(graph, stage)
    return {} if found is None else {"kind": found.kind, "size": found.size}


def _fused(graph: StageGraph, stage: Stage) -> Attributes:
    """The kernel's own default of the scale is spelled out: 1/sqrt(K)."""
    op = next((op for op in graph.ops(stage) if op.name == FUSED_ATTENTION), None)
    if op is None:
        return {}
    scale = op.attribute("scale")
    factor = float(scale) if isinstance(scale, (int, float)) else graph.trace.values[op.inputs[0]].shape[-1] ** -0.5
    return {
        **_mask(graph, stage),
        "factor": factor,
        "is_causal": op.attribute("is_causal") or None,
        "enable_gqa": op.attribute("enable_gqa") or None,
    }


def _rope(graph: StageGraph, stage: Stage) -> Attributes:
    """How many elements turn, of those that enter, and which with which: the two halves of a head, or neighbours."""
    rope = next((graph.rope_of[op] for op in stage.ops if op in graph.rope_of), None)
    what = _turned(graph, rope) if rope is not None else None
    return {} if what is None else {"layout": what.layout, "dim": what.size, "fraction": what.size / what.width}


def _turned(graph: StageGraph, rope: Rope) -> Turned | None:
    """Followed element by element once for all rotations that are written alike: those of equal layers."""
    flow = graph.naming.flow
    key = written(flow, rope)
    if key not in graph.turns:
        graph.turns[key] = turned(flow, rope)
    return graph.turns[key]


def _repeat(graph: StageGraph, stage: Stage) -> Attributes:
    """How many query heads share one head of keys and values."""
    flow = graph.naming.flow
    read = [value for value in stage.inputs if flow.on_act(value)]
    return {"groups": flow.size(stage.outputs[0]) // flow.size(read[0])} if read and stage.outputs else {}


def _top_k(graph: StageGraph, stage: Stage) -> Attributes:
    return {"k": next((op.attribute("k") for op in graph.ops(stage) if op.name == "topk"), None)}


def _router_score(graph: StageGraph, stage: Stage) -> Attributes:
    names = [op.name for op in graph.ops(stage) if op.name in ("softmax", "sigmoid", "sqrt", "softplus")]
    scaled = any(op.name == "mul" and len(op.inputs) == 1 for op in graph.ops(stage))
    return {"function": " ".join(names) or "sum to one", **(_scale(graph, stage) if scaled else {})}


def _cache(graph: StageGraph, stage: Stage) -> Attributes:
    """Whether all tokens are kept, or the last few."""
    kinds = [graph.naming.flow.kind[op.id] for op in graph.ops(stage)]
    return {"keeps": "a window" if "select" in kinds else "all"}


def _residual(graph: StageGraph, stage: Stage) -> Attributes:
    """The number format of a stream that is kept in another one than what is added to it."""
    values = graph.trace.values
    sums = [op for op in graph.ops(stage) if op.name == "add"]
    mixed = (op for op in sums if len({values[value].dtype for value in op.inputs}) > 1)
    return {"dtype": next((values[op.outputs[0]].dtype for op in mixed), None)}


def _sum(graph: StageGraph, stage: Stage) -> Attributes:
    return {"addends": len(stage.inputs)}


_NORMS = ("norm", "post_norm", "q_norm", "k_norm", "v_norm", "sub_norm", "latent_norm")

_BY_ROLE: dict[str, Callable[[StageGraph, Stage], Attributes]] = {
    **dict.fromkeys(_NORMS, _norm),
    **dict.fromkeys(("activation", "expert_activation"), _function),
    **dict.fromkeys(("token", "segment"), _nothing),
    "scale": _scale,
    "softcap": _softcap,
    "softmax": _softmax,
    "mask": _mask,
    "fused": _fused,
    "rope": _rope,
    "repeat_kv": _repeat,
    "top_k": _top_k,
    "router_score": _router_score,
    "residual": _residual,
    "cache_update": _cache,
}

_BY_PATH: dict[str, Callable[[StageGraph, Stage], Attributes]] = {
    "mask.build": contents.mask,
    "positions.rope_table": contents.rope_table,
    "embedding.position": contents.positions,
    "embedding.add": _sum,
}
