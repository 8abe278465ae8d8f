"""One side of a comparison from a saved graph: what was seen is gone, what was written down is all there is.

Contents of tensors (rotary frequencies, the numbers of positions) are not in a graph. What only they show is left out
on both sides, and a note says so: both sides of a diff are read in the same way.
"""

from __future__ import annotations

__all__ = ["side_of_record"]

from collections.abc import Callable, Iterable
from dataclasses import replace

from inspector.alignment.parts import Part, Scope, Side
from inspector.comparison.maths import MOVEMENT, strided
from inspector.comparison.sides import STEM, formula, letters, sizes_of
from inspector.fact_sheet.functions import function_of
from inspector.records import Op, Plain
from inspector.stage_graph.record import Call, GraphNode, GraphRecord

Found = dict[str, Plain]

NOTE = "a saved graph holds no contents of tensors: rotary bases and the numbering of positions were not compared"


def side_of_record(record: GraphRecord) -> Side:
    """The architecture that a graph shows, as `side_of` makes it of a trace."""
    sizes = sizes_of(record.axes)
    blocks: dict[int, list[Part]] = {}
    outside: list[Part] = []
    tables = {view.name for node in record.nodes if node.path == "embedding.token" for view in node.weights}
    seen: dict[str, int] = {}
    for node in record.nodes:
        part = _part(record, node, sizes, tables)
        seen[part.id] = seen.get(part.id, 0) + 1
        part = part if seen[part.id] == 1 else replace(part, id=f"{part.id}.{seen[part.id]}")
        (outside if node.block is None else blocks.setdefault(node.block, [])).append(part)
    scopes = (
        Scope("stem", tuple(part for part in outside if part.section in STEM)),
        *(_block(record, index, parts) for index, parts in blocks.items()),
        Scope("head", tuple(part for part in outside if part.section not in STEM)),
    )
    return Side(
        model=record.model,
        scenario=record.scenario,
        scopes=tuple(scope for scope in scopes if scope.parts),
        depth=record.layers,
        pattern=record.pattern,
        sizes=sizes,
        figures={
            "parameters": record.model.parameters,
            "flops": sum(node.flops * node.repeat for node in record.nodes),
        },
        notes=(*record.notes, NOTE),
    )


def _block(record: GraphRecord, index: int, parts: list[Part]) -> Scope:
    block = record.blocks[index]
    return Scope("block", tuple(parts), block.layers, parts[0].layers, block.name)


def _part(record: GraphRecord, node: GraphNode, sizes: dict[str, tuple[int, ...]], tables: set[str]) -> Part:
    maths = _maths(node, sizes, tables)
    live = [call for call in node.calls if call.effect != "noop"]
    return Part(
        id=f"{node.span.replace(':', '/') or 'model'}.{node.name}",
        path=node.path,
        operand=node.operand,
        also=node.also,
        layers=node.span,
        module=".".join("{}" if piece.isdigit() and node.layers else piece for piece in node.module.split(".")),
        maths=maths,
        spelling=" ".join(call.name for call in live if call.kind not in ("plumb", "view")),
        shapes=tuple(letters(view.dims, sizes) for view in node.outputs),
        printed=tuple(view.symbolic for view in node.outputs),
        weights=tuple(letters(view.dims, sizes) for view in node.weights),
        feeds=tuple(sorted({record.node(edge.source).name for edge in record.incoming.get(node.id, ())})),
        readers=tuple(sorted({record.node(edge.target).name for edge in record.outgoing.get(node.id, ())})),
        idle=not live or (node.role == "scale" and not maths) or (node.role in _NORMS and "kind" not in dict(maths)),
    )


def _maths(node: GraphNode, sizes: dict[str, tuple[int, ...]], tables: set[str]) -> tuple[tuple[str, Plain], ...]:
    found: Found = {name: value for name, value in node.attributes if name not in ("dim", "enable_gqa", "is_causal")}
    rule = _RULES.get(node.role)
    if rule is not None:
        found |= rule(node)
    elif node.role not in MOVEMENT and (bias := _bias(node)) is not None:
        found["bias"] = bias
    if isinstance(factor := found.get("factor"), float):
        letter = "K" if "attention" in node.section else "D"
        found["factor"] = formula(factor, letter, sizes.get(letter, ()))
    if node.path == "head.lm_head":
        found["_tied"] = any(view.name in tables for view in node.weights)
    return tuple(sorted((name, value) for name, value in found.items() if value is not None))


def _bias(node: GraphNode) -> bool | None:
    """Whether a product with a weight has something added; None where there is no such product."""
    products = [call for call in node.calls if call.kind == "contract" and _weighs(call)]
    added = {"linear": "bias", "addmm": "input"}
    if not products:
        return None
    return any(added.get(call.name) in dict(call.operands) for call in products)


def _weighs(call: Call) -> bool:
    return any(source.startswith("weight") for _, source in call.operands)


def _norm(node: GraphNode) -> Found:
    """A weight that enters as 1 + w may have been made ready by another stage."""
    offset = node.attribute("offset", 0)
    return {"affine": bool(node.weights or offset), "bias": len(node.weights) > 1, "offset": offset}


def _function(node: GraphNode) -> Found:
    """As of the ops of a trace: the calls are numbered anew."""
    name = function_of([op for op in _ops(node) if op.effect != "noop"])
    return {"function": name} if name else {"calls": " ".join(call.name for call in node.calls)}


def _ops(node: GraphNode) -> list[Op]:
    numbers: dict[str, int] = {}
    made = []
    for place, call in enumerate(node.calls):
        operands = tuple((name, numbers.setdefault(source, len(numbers))) for name, source in call.operands)
        result = numbers.setdefault(f"call.{place}", len(numbers))
        made.append(Op(place, call.name, "", "", "", operands, (), call.attributes, (result,), call.effect))
    return made


def _softcap(node: GraphNode) -> Found:
    numbers = [call.attribute("other") for call in node.calls if call.name == "mul"]
    return {"cap": numbers[-1] if numbers else None}


def _fused(node: GraphNode) -> Found:
    width = node.inputs[0].shape[-1] if node.inputs else 1
    factor = node.attribute("factor")
    found: Found = {"factor": float(f"{factor:.6g}") if isinstance(factor, (int, float)) else width**-0.5}
    return found | ({"kind": "causal"} if node.attribute("is_causal") else {})


def _rope(node: GraphNode) -> Found:
    turned = ("stack", "view_as_complex", "repeat_interleave")
    interleaved = any(call.name in turned or strided(call.attribute("key")) for call in node.calls)
    return {"layout": "interleaved" if interleaved else "half"}


def _scores(node: GraphNode) -> Found:
    names = [call.name for call in node.calls if call.name in ("softmax", "sigmoid", "sqrt", "softplus")]
    return {"function": " ".join(names) or "sum to one"}


def _named(calls: Iterable[Call], name: str, attribute: str) -> Plain:
    return next((call.attribute(attribute) for call in calls if call.name == name), None)


_NORMS = ("norm", "post_norm", "q_norm", "k_norm", "v_norm", "sub_norm", "latent_norm")

_RULES: dict[str, Callable[[GraphNode], Found]] = {
    **dict.fromkeys(_NORMS, _norm),
    **dict.fromkeys(("activation", "expert_activation"), _function),
    "softcap": _softcap,
    "fused": _fused,
    "rope": _rope,
    "router_score": _scores,
    "top_k": lambda node: {"k": _named(node.calls, "topk", "k")},
    "cache_update": lambda node: {"keeps": "a window" if any(c.kind == "select" for c in node.calls) else "all"},
    "add": lambda node: {"addends": len(node.inputs)},
    "position": lambda node: {"learned": bool(node.weights)},
    "scale": lambda node: {"factor": node.attribute("factor") or ("a buffer" if node.weights else None)},
    **dict.fromkeys(("softmax", "mask", "rope_table", "build", "ids", "token", "segment"), lambda _: {}),
}
"""Role -> what its calls say beyond its attributes."""
