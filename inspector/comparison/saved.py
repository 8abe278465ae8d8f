"""One side of a comparison from a graph: its nodes say what the stages of a trace would, its facts what those show."""

from __future__ import annotations

__all__ = ["side_of_record"]

from dataclasses import replace

from inspector.alignment.parts import Part, Scope, Side
from inspector.comparison.maths import deciding
from inspector.comparison.sides import STEM, leading, letters, sizes_of
from inspector.errors import InspectorError
from inspector.stage_graph.record import GraphNode, GraphRecord


def side_of_record(record: GraphRecord) -> Side:
    """The architecture that a graph shows, as `side_of` makes it of a trace. InspectorError where it has no facts."""
    if record.facts is None:
        raise InspectorError(
            f"the graph of {record.model.name} holds no facts: it cannot be a side of a diff",
            why="it was saved by an older inspector, or made without looking for them",
            hint="save it again with `inspector graph MODEL -o FILE.json`",
        )
    sizes = sizes_of(record.axes)
    blocks: dict[int, list[Part]] = {}
    outside: list[Part] = []
    seen: dict[str, int] = {}
    for node in record.nodes:
        part = _part(record, node, sizes)
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
        facts=record.facts,
        notes=record.notes,
    )


def _block(record: GraphRecord, index: int, parts: list[Part]) -> Scope:
    block = record.blocks[index]
    return Scope("block", tuple(parts), block.layers, parts[0].layers, block.name)


def _part(record: GraphRecord, node: GraphNode, sizes: dict[str, tuple[int, ...]]) -> Part:
    live = [call for call in node.calls if call.effect != "noop"]
    computing = [call for call in live if call.kind not in ("plumb", "view")]
    maths = deciding(node.path, node.attributes, ((call.name, call.attributes) for call in computing), sizes)
    apart = node.role in _NORMS and not node.attributes  # only makes the weight of a norm ready
    outputs = leading(node.outputs)
    return Part(
        id=f"{node.span.replace(':', '/') or 'model'}.{node.name}",
        path=node.path,
        operand=node.operand,
        also=node.also,
        layers=node.span,
        module=".".join("{}" if piece.isdigit() and node.layers else piece for piece in node.module.split(".")),
        maths=maths,
        spelling=" ".join(call.name for call in computing),
        shapes=tuple(letters(view.dims, sizes) for view in outputs),
        printed=tuple(view.symbolic for view in outputs),
        weights=tuple(letters(view.dims, sizes) for view in node.weights),
        feeds=tuple(sorted({record.node(edge.source).name for edge in record.incoming.get(node.id, ())})),
        readers=tuple(sorted({record.node(edge.target).name for edge in record.outgoing.get(node.id, ())})),
        idle=not live or (node.role == "scale" and not maths) or apart,
    )


_NORMS = ("norm", "post_norm", "q_norm", "k_norm", "v_norm", "sub_norm", "latent_norm")
