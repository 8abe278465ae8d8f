"""The numbers that change what a stage computes, read from the ops that ran."""

from __future__ import annotations

__all__ = ["attributes"]

from collections.abc import Callable

from inspector.records import Op
from inspector.stage_graph.mask_stage import mask_kind
from inspector.stage_graph.stages import Stage, StageGraph

Attributes = dict[str, object]


def attributes(graph: StageGraph, stage: Stage) -> tuple[tuple[str, object], ...]:
    """(name, value) pairs, sorted: `eps` of a norm, `factor` of a scale, `dtype` of a softmax, `kind` of a mask."""
    rule = _RULES.get(stage.role)
    found = rule(graph, stage) if rule else {}
    return tuple(sorted((name, value) for name, value in found.items() if value is not None))


def _norm(graph: StageGraph, stage: Stage) -> Attributes:
    inside = set(stage.ops)
    norm = next((norm for norm in graph.naming.norms if inside.issuperset(norm.ops)), None)
    if norm is None:
        return {}
    return {"kind": norm.kind, "eps": norm.eps, "offset": 1 if norm.offset else None}


def _scale(graph: StageGraph, stage: Stage) -> Attributes:
    """The product of all factors of the stage."""
    factor = 1.0
    for op in graph.ops(stage):
        number = op.attribute("other", op.attribute("input"))
        if isinstance(number, (int, float)):
            factor = factor * number if op.name == "mul" else factor / number if op.name == "div" else factor
    return {"factor": factor if factor != 1.0 else None}


def _softmax(graph: StageGraph, stage: Stage) -> Attributes:
    for op in graph.ops(stage):
        if op.name == "softmax":
            return {"dtype": graph.trace.values[op.outputs[0]].dtype, "dim": op.attribute("dim")}
    return {}


def _mask(graph: StageGraph, stage: Stage) -> Attributes:
    found = mask_kind(graph, stage)
    return {} if found is None else {"kind": found.kind, "size": found.size}


def _fused(graph: StageGraph, stage: Stage) -> Attributes:
    op: Op = next(op for op in graph.ops(stage) if op.name == "scaled_dot_product_attention")
    return {
        **_mask(graph, stage),
        "factor": op.attribute("scale"),
        "is_causal": op.attribute("is_causal") or None,
        "enable_gqa": op.attribute("enable_gqa") or None,
    }


_RULES: dict[str, Callable[[StageGraph, Stage], Attributes]] = {
    "norm": _norm,
    "post_norm": _norm,
    "q_norm": _norm,
    "k_norm": _norm,
    "v_norm": _norm,
    "sub_norm": _norm,
    "latent_norm": _norm,
    "scale": _scale,
    "softmax": _softmax,
    "mask": _mask,
    "fused": _fused,
}
