"""What decides the result of a stage, read from the ops that ran: one small rule per kind of part.

Where no rule knows a part, its calls with their numbers decide: two stages are then the same if they call the same.
"""

from __future__ import annotations

__all__ = ["MOVEMENT", "maths_of", "strided"]

import math
from collections.abc import Callable, Iterable
from itertools import groupby, pairwise

from inspector.fact_sheet.functions import function_of
from inspector.records import Concrete, Op, Plain
from inspector.stage_graph import Stage, StageGraph
from inspector.stage_graph.attributes import attributes
from inspector.stage_graph.masks import describe

Found = dict[str, Plain]

MOVEMENT = frozenset(
    "split_heads merge_heads repeat_kv split_qkv split_up_gate cache_update dropout residual add ids cast contiguous "
    "reshape dispatch combine gather cache_index weight_prep branch scalar unused drop_path multiply scores "
    "weighted_sum stream_read stream_write expert_multiply".split()
)
"""Roles whose name says all that they compute."""


def maths_of(graph: StageGraph, stage: Stage) -> tuple[tuple[str, Plain], ...]:
    """(name, value) pairs, sorted by name; numbers that only repeat a size of the run or the model are left out.

    What a name with a leading underscore says is there for the facts; two stages are not told apart by it.
    """
    found: Found = {name: value for name, value in attributes(graph, stage) if name not in _SAID_ELSEWHERE}  # type: ignore[misc]
    found |= _rule(graph, stage)(graph, stage)
    return tuple(sorted((name, value) for name, value in found.items() if value is not None))


_SAID_ELSEWHERE = frozenset({"dim", "enable_gqa", "is_causal", "factor"})


def _rule(graph: StageGraph, stage: Stage) -> Callable[[StageGraph, Stage], Found]:
    if stage.path in _BY_PATH:
        return _BY_PATH[stage.path]
    if stage.role in _BY_ROLE:
        return _BY_ROLE[stage.role]
    if stage.role in MOVEMENT:
        return _nothing
    if any(graph.naming.flow.weighted[op] for op in stage.ops):
        return _projection
    return _calls


def _nothing(graph: StageGraph, stage: Stage) -> Found:
    return {}


def _projection(graph: StageGraph, stage: Stage) -> Found:
    """Whether something is added to the product. Where the weight stands and how it is stored decides nothing."""
    flow = graph.naming.flow
    found: Found = {"bias": False}
    for op in graph.ops(stage):
        if not flow.weighted[op.id]:
            continue
        spare = [value for value in op.inputs if value not in flow.factors(op)]
        found["bias"] = found["bias"] or bool(spare) or _added_after(graph, stage, op)
    return found


def _added_after(graph: StageGraph, stage: Stage, op: Op) -> bool:
    """A learned vector added to the product by an op of its own; experts pick theirs by index."""
    flow, values = graph.naming.flow, graph.trace.values
    picked = ("plumb", "view", "select")
    return any(
        user.name == "add" and any(values[flow.through(value, picked)].kind == "parameter" for value in user.inputs)
        for user in flow.consumers(op.outputs[0])
        if user.id in stage.ops
    )


def _norm(graph: StageGraph, stage: Stage) -> Found:
    inside = set(stage.ops)
    norm = next((norm for norm in graph.naming.norms if inside.issuperset(norm.ops)), None)
    if norm is None:
        return _calls(graph, stage)
    return {"affine": norm.weight is not None, "bias": norm.bias is not None, "offset": int(norm.offset)}


def _function(graph: StageGraph, stage: Stage) -> Found:
    """The function by its values at a few points, however it is spelled; what has no name, by its calls."""
    name = function_of([op for op in graph.ops(stage) if op.effect != "noop"])
    return {"function": name} if name else _calls(graph, stage)


def _factor(graph: StageGraph, stage: Stage) -> Found:
    """A factor that is a buffer of one number counts as the number that it is; a learned one is `learned`."""
    kinds = {graph.trace.values[value].kind for value in stage.parameters}
    if "parameter" in kinds:
        return {"factor": "learned"}
    factor = 1.0
    for op in graph.ops(stage):
        for number in _numbers(graph, op):
            factor = factor * number if op.name == "mul" else factor / number if op.name == "div" else factor
    return {"factor": float(f"{factor:.6g}") if factor != 1.0 else None}


def _numbers(graph: StageGraph, op: Op) -> Iterable[float]:
    number = op.attribute("other", op.attribute("input"))
    if isinstance(number, (int, float)) and not isinstance(number, bool):
        yield float(number)
    for value in op.inputs:
        known = graph.trace.concrete.get(value)
        if known is not None and known.kept and math.prod(known.shape) == 1:
            yield float(known.values[0])


def _softcap(graph: StageGraph, stage: Stage) -> Found:
    numbers = [number for op in graph.ops(stage) if op.name == "mul" for number in _numbers(graph, op)]
    return {"cap": numbers[-1] if numbers else None}


def _mask(graph: StageGraph, stage: Stage) -> Found:
    for value in stage.outputs:
        known = graph.trace.concrete.get(value)
        if known is not None and len(known.shape) > 2:
            kind = describe(known)
            return {"kind": kind.kind, "size": kind.size}
    return {}


def _fused(graph: StageGraph, stage: Stage) -> Found:
    """The kernel's own default of the scale is spelled out: 1/sqrt(K)."""
    op = next((op for op in graph.ops(stage) if op.name == "scaled_dot_product_attention"), None)
    if op is None:
        return {}
    scale = op.attribute("scale")
    width = graph.trace.values[op.inputs[0]].shape[-1]
    causal = op.attribute("is_causal") or None
    factor = scale if isinstance(scale, (int, float)) else width**-0.5
    found: Found = {"factor": float(f"{factor:.6g}") if factor != 1.0 else None}
    return found | ({"kind": "causal"} if causal else {})


def _rope(graph: StageGraph, stage: Stage) -> Found:
    """Which elements turn with which: the two halves of a head, or neighbours."""
    interleaved = any(
        op.name in ("stack", "view_as_complex", "repeat_interleave") or strided(op.attribute("key"))
        for op in graph.ops(stage)
    )
    return {"layout": "interleaved" if interleaved else "half"}


def strided(key: Plain) -> bool:
    """Whether an index takes every second element: `x[..., ::2]`."""
    if isinstance(key, tuple):
        return (len(key) == 4 and key[0] == "slice" and key[3] not in (None, 1)) or any(map(strided, key))
    return False


def _rope_table(graph: StageGraph, stage: Stage) -> Found:
    for value in (*stage.parameters, *stage.inputs):
        known = graph.trace.concrete.get(value)
        if known is not None and known.kept and len(known.shape) == 1 and known.dtype.startswith(("float", "bfloat")):
            return frequencies(known)
    return {}


def frequencies(known: Concrete) -> Found:
    """Base and scaling of rotary frequencies: f_i = theta^(-i/n), or what they are instead.

    >>> frequencies(Concrete((4,), "float32", (1.0, 0.1, 0.01, 0.001), (1, 1, 1, 1), ""))
    {'theta': 10000.0, 'scaling': 'none', '_pairs': 4}
    """
    numbers = [abs(float(number)) for number in known.flat()]
    if len(numbers) < 2 or min(numbers) <= 0:
        return {}
    ratio = numbers[0] / numbers[1]
    theta = ratio ** len(numbers)
    straight = all(
        abs(number * theta ** (i / len(numbers)) / numbers[0] - 1) < 1e-3 for i, number in enumerate(numbers)
    )
    found: Found = {"theta": float(f"{theta:.4g}"), "scaling": "none", "_pairs": len(numbers)}
    if not straight:
        found["scaling"] = "by frequency"
    elif abs(numbers[0] - 1) > 1e-3:
        found["scaling"] = float(f"{numbers[0]:.4g}")
    return found


def _top_k(graph: StageGraph, stage: Stage) -> Found:
    return {"k": next((op.attribute("k") for op in graph.ops(stage) if op.name == "topk"), None)}


def _router_score(graph: StageGraph, stage: Stage) -> Found:
    names = [op.name for op in graph.ops(stage) if op.name in ("softmax", "sigmoid", "sqrt", "softplus")]
    return {"function": " ".join(names) or "sum to one"}


def _lookup(graph: StageGraph, stage: Stage) -> Found:
    """Whether the table of positions is learned, which of its rows comes first, and whether padding takes one."""
    kinds = {graph.trace.values[value].kind for value in stage.parameters}
    found: Found = {"learned": "parameter" in kinds}
    for value in stage.inputs:
        known = graph.trace.concrete.get(value)
        if known is not None and known.kept and known.dtype.startswith("int") and known.shape:
            rows = _rows(known)
            counted = [row for row in rows if all(two == one + 1 for one, two in pairwise(row))]
            if counted:
                found |= {"first": counted[0][0], "padding": "counted" if len(counted) == len(rows) else "skipped"}
    return found


def _rows(known: Concrete) -> list[list[int]]:
    flat, width = [int(number) for number in known.flat()], known.shape[-1]
    return [flat[start : start + width] for start in range(0, len(flat), width)] if width else []


def _cache(graph: StageGraph, stage: Stage) -> Found:
    """Whether all tokens are kept, or the last few."""
    kinds = [graph.naming.flow.kind[op.id] for op in graph.ops(stage)]
    return {"keeps": "a window" if "select" in kinds else "all"}


def _calls(graph: StageGraph, stage: Stage) -> Found:
    kind = graph.naming.flow.kind
    live = [op for op in graph.ops(stage) if op.effect != "noop" and kind[op.id] not in ("plumb", "view")]
    texts = [_call(op) for op in live]
    return {"calls": " ".join(text for text, _ in groupby(texts))} if texts else {}


def _call(op: Op) -> str:
    """The op with the numbers that are no sizes."""
    numbers = [
        f"{name}={value}"
        for name, value in op.attributes
        if (isinstance(value, float) and math.isfinite(value)) or (isinstance(value, (int, str)) and name in _TELLING)
    ]
    return f"{op.name}({', '.join(numbers)})" if numbers else op.name


_TELLING = frozenset({"other", "exponent", "approximate", "negative_slope", "alpha", "beta", "threshold", "groups"})

_NORMS = ("norm", "post_norm", "q_norm", "k_norm", "v_norm", "sub_norm", "latent_norm")

_BY_ROLE: dict[str, Callable[[StageGraph, Stage], Found]] = {
    **dict.fromkeys(_NORMS, _norm),
    "activation": _function,
    "expert_activation": _function,
    "scale": _factor,
    "softcap": _softcap,
    "softmax": _nothing,
    "mask": _nothing,
    "fused": _fused,
    "rope": _rope,
    "top_k": _top_k,
    "router_score": _router_score,
    "token": _nothing,
    "segment": _nothing,
    "cache_update": _cache,
}

_BY_PATH: dict[str, Callable[[StageGraph, Stage], Found]] = {
    "mask.build": _mask,
    "positions.rope_table": _rope_table,
    "positions.ids": _nothing,
    "embedding.position": _lookup,
    "embedding.add": lambda graph, stage: {"addends": len(stage.inputs)},
    "indexer.top_k": _top_k,
}
