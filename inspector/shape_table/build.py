"""From a trace to the shapes table."""

from __future__ import annotations

__all__ = ["shape_table"]

from collections.abc import Iterable
from dataclasses import replace
from math import prod
from typing import Any

from inspector.costs import cache_bytes_per_token, total_flops
from inspector.folding import text
from inspector.records import Op, Trace
from inspector.roles import infer
from inspector.shape_table.rows import ShapeRow, ShapeSummary, ShapeTable
from inspector.shape_table.signatures import Signature, signature
from inspector.stage_graph import AxisNames, Block, FoldedGraph, Stage, build, fold_graph
from inspector.stage_graph.attributes import attributes
from inspector.stage_graph.tensors import Views
from inspector.tracing.texts import UNSOLVED
from inspector.vocabulary import UNKNOWN, is_specific


def shape_table(
    trace: Trace, ops: bool = False, layer: int | None = None, role: str | None = None, section: str | None = None
) -> ShapeTable:
    """Every stage of `trace` in reading order, equal blocks folded; with `ops`, every op of every stage.

    layer: only that block, unfolded. role: only rows of that role (`softmax`) or whose path begins so (`attention`,
    `attention.rope`, `attention.rope.k`).
    """
    folded = fold_graph(build(trace, infer(trace)))
    chosen = _chosen(folded, layer)
    shown = chosen if layer is None else _chosen(folded, None) + chosen
    views = Views(folded.graph, AxisNames(folded.graph, folded.graph.ops_around(stage for stage, _, _ in shown)))
    rows = [row for stage, block, group in chosen for row in _rows(folded, views, stage, block, group, ops)]
    return ShapeTable(
        model=trace.model,
        scenario=trace.scenario,
        rows=tuple(row for row in _numbered(rows) if _wanted(row, role, section)),
        summary=_summary(folded),
        axes=views.constants(),
        blocks=tuple(_group_text(folded, index) for index in range(len(folded.groups))),
        cache=_cache(folded, views),
        notes=trace.notes,
        tool=trace.tool,
        per_op=ops,
    )


Chosen = tuple[Stage, Block | None, int | None]
"""A stage to show, the block it stands for and the folded group of that block."""


def _chosen(folded: FoldedGraph, layer: int | None) -> list[Chosen]:
    """One stage for each folded row, in reading order."""
    if layer is not None:
        return [(stage, None, None) for stage in folded.stages(layer)]
    first = {block.layers[0]: (block, group) for group, blocks in enumerate(folded.blocks) for block in blocks}
    chosen: list[Chosen] = []
    for stage in folded.graph.stages:
        if stage.layer is None:
            chosen.append((stage, None, None))
        elif stage.layer in first:
            chosen.append((stage, *first[stage.layer]))
    return chosen


def _rows(
    folded: FoldedGraph, views: Views, stage: Stage, block: Block | None, group: int | None, ops: bool
) -> Iterable[ShapeRow]:
    graph = folded.graph
    layers = block.span if block else "" if stage.layer is None else str(stage.layer)
    common: dict[str, Any] = {
        "section": stage.section,
        "role": stage.role,
        "operand": stage.operand,
        "layers": layers,
        "repeat": len(block.layers) if block else 1,
        "block": group,
    }
    if ops:
        return [_op_row(views, op, common, graph.naming.parts[op.id].also) for op in graph.ops(stage)]
    return [_stage_row(folded, views, stage, block, common)]


def _stage_row(
    folded: FoldedGraph, views: Views, stage: Stage, block: Block | None, common: dict[str, Any]
) -> ShapeRow:
    graph = folded.graph
    cost = total_flops(graph.ops(stage), graph.trace)
    return ShapeRow(
        id="",
        also=stage.also,
        op=graph.op_text(stage),
        module=_module(folded, stage, block),
        inputs=views.inputs(stage.inputs),
        outputs=views.outputs(stage.outputs),
        parameters=_elements(graph.trace, stage.parameters),
        flops=cost.contraction,
        ops=stage.ops,
        weights=views.weights(stage.parameters),
        attributes=attributes(graph, stage),
        signature=_signature(views, graph.ops(stage)),
        **common,
    )


def _op_row(views: Views, op: Op, common: dict[str, Any], also: tuple[str, ...]) -> ShapeRow:
    trace = views.trace
    weights = tuple(value for value in op.inputs if trace.values[value].kind in ("parameter", "buffer", "constant"))
    return ShapeRow(
        id="",
        also=also,
        op=op.name,
        module=op.module,
        inputs=views.inputs(tuple(value for value in op.inputs if value not in weights)),
        outputs=views.outputs(op.outputs),
        parameters=_elements(trace, weights),
        flops=total_flops([op], trace).contraction,
        ops=(op.id,),
        weights=views.weights(weights),
        attributes=op.attributes,
        signature=signature(views, op),
        **common,
    )


def _signature(views: Views, ops: Iterable[Op]) -> Signature | None:
    """Of the only product of a stage. Where there are several, each op has its own."""
    found = [made for op in ops if (made := signature(views, op)) is not None]
    return found[0] if len(found) == 1 else None


def _numbered(rows: Iterable[ShapeRow]) -> Iterable[ShapeRow]:
    """Rows with stable ids: block, role path and operand, and a number where that is not enough."""
    seen: dict[str, int] = {}
    for row in rows:
        place = row.layers.replace(":", "/") or "model"
        name = ".".join(part for part in (place, row.section, row.role, row.operand) if part)
        seen[name] = seen.get(name, 0) + 1
        yield replace(row, id=name if seen[name] == 1 else f"{name}.{seen[name]}")


def _wanted(row: ShapeRow, role: str | None, section: str | None) -> bool:
    path = f"{row.section}.{row.role}" + (f".{row.operand}" if row.operand else "")
    fits = role in (None, path, row.role) or path.startswith(f"{role}.")
    return fits and section in (None, row.section)


def _module(folded: FoldedGraph, stage: Stage, block: Block | None) -> str:
    """The module path, with `{}` where it changes from block to block."""
    graph = folded.graph
    path = graph.module(stage)
    if block is None or len(block.layers) < 2:
        return path
    place = folded.stages(block.layers[0]).index(stage)
    mate = folded.stages(block.layers[-1])[place]  # equal blocks have equal stages in equal order
    one, two = path.split("."), graph.module(mate).split(".")
    if len(one) != len(two):
        return path
    return ".".join(a if a == b else "{}" for a, b in zip(one, two, strict=True))


def _elements(trace: Trace, values: Iterable[int]) -> int:
    return sum(prod(trace.values[value].shape) for value in values if trace.values[value].kind == "parameter")


def _group_text(folded: FoldedGraph, index: int) -> str:
    group, blocks = folded.groups[index], folded.blocks[index]
    if len(group.pattern) == 1:
        return f"{blocks[0].name} x{group.repeats}".strip()
    names = {block.kind: block.name for block in blocks}
    return text([group], [names.get(kind, "") for kind in range(max(names) + 1)])


def _summary(folded: FoldedGraph) -> ShapeSummary:
    graph = folded.graph
    trace, parts, flow = graph.trace, graph.naming.parts, graph.naming.flow
    active = [op for op in trace.ops if any(map(flow.on_act, op.outputs))]
    cost = total_flops(trace.ops, trace)
    caches = _cache_values(folded)
    return ShapeSummary(
        ops=len(trace.ops),
        stages=len(graph.stages),
        unknown=sum(parts[op.id].path == UNKNOWN for op in trace.ops),
        specific=sum(is_specific(parts[op.id].path) for op in active) / len(active) if active else 0.0,
        orphans=len(trace.orphans),
        parameters=trace.model.parameters,
        flops=cost.contraction,
        flops_other=cost.other,
        cache_bytes_per_token=sum(growth for _, _, growth in caches) if caches else None,
        unsolved_dims=sum(text.startswith(UNSOLVED) for texts in trace.symbols for text in texts),
    )


def _cache_values(folded: FoldedGraph) -> list[tuple[Stage, int, int]]:
    """(stage, value, bytes per token) of every tensor that is kept for the next forward.

    A layer with a window keeps a fixed number of tokens: there a token's bytes are those of what comes in.
    """
    graph = folded.graph
    trace, leaving = graph.trace, graph.naming.flow.leaving
    found = []
    for stage in graph.stages:
        if stage.role != "cache_update":
            continue
        for value in stage.outputs:
            growth = max(
                cache_bytes_per_token(trace.values[kept], trace.symbols[kept]) for kept in (value, *stage.inputs)
            )
            if value in leaving and growth:
                found.append((stage, value, growth))
    return found


def _cache(folded: FoldedGraph, views: Views) -> tuple[tuple[str, str, str, int], ...]:
    """One line per kind of block and tensor: (layers, name, shape, bytes per token of one layer)."""
    spans = {block.layers[0]: block.span for blocks in folded.blocks for block in blocks}
    names = {"k": "keys", "v": "values"}
    return tuple(
        (spans[stage.layer], names.get(stage.operand, "state"), views.view(value, "").symbolic, growth)
        for stage, value, growth in _cache_values(folded)
        if stage.layer in spans
    )
