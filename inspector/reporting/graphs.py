"""The graph of a model as a document to read, and as flat records."""

from __future__ import annotations

__all__ = ["document", "records"]

from collections.abc import Iterator
from itertools import groupby

from inspector.messages import say
from inspector.render.document import (
    Block,
    Cell,
    Column,
    Document,
    Group,
    Heading,
    Note,
    Pairs,
    Paragraph,
    Span,
    Table,
    cell,
    line,
)
from inspector.reporting import cells, words
from inspector.reporting.exports.words import block_title
from inspector.stage_graph.record import GraphEdge, GraphNode, GraphRecord


def _columns() -> tuple[Column, ...]:
    return (
        Column(say("label.part"), least=18),
        Column(say("label.reads"), least=20),
        Column(say("label.output"), least=18),
        Column(say("label.op"), rank=1, least=10),
        Column(say("label.parameters"), "right", rank=2),
        Column(say("label.module"), rank=3, least=22),
    )


def document(record: GraphRecord) -> Document:
    """Every node with what it reads, block by block."""
    return tuple(_blocks(record))


def _blocks(record: GraphRecord) -> Iterator[Block]:
    model = record.model
    yield Heading(1, line(say("graph.of", name=model.name or model.class_name)))
    yield Paragraph(line(words.described(model)))
    sizes = (words.counted(len(record.nodes), "node"), words.counted(len(record.edges), "edge"))
    rows = [(say("label.run"), cell(*words.scenario(record.scenario))), (say("label.graph"), cell(*sizes))]
    rows += [(say("label.blocks"), cell(record.pattern))] if record.pattern else []
    yield Pairs(tuple(rows))
    yield Table(_columns(), tuple(_groups(record)))
    yield from (Note(line(text)) for text in words.notes(record.notes))


def _groups(record: GraphRecord) -> Iterator[Group]:
    for block, nodes in groupby(record.nodes, key=lambda node: node.block):
        title = say("graph.outside") if block is None else block_title(record.blocks[block])
        yield Group(line(Span(title, "title")), 1, tuple(_row(record, node) for node in nodes))


def _row(record: GraphRecord, node: GraphNode) -> tuple[Cell, ...]:
    return (
        cell(line(Span(node.path, "muted" if node.section in ("layout", "control") else ""), _tail(node))),
        _reads(record, node),
        cells.tensors(node.outputs),
        cell(node.op.replace(" ", ", ")),
        cell(words.number(node.parameters)),
        cell(node.module),
    )


def _tail(node: GraphNode) -> str:
    return f" {node.operand}" if node.operand else ""


def _reads(record: GraphRecord, node: GraphNode) -> Cell:
    """Where its inputs come from, the model's own inputs by their names."""
    made = {edge.input for edge in record.incoming[node.id]}
    entered = [view.name for place, view in enumerate(node.inputs) if place not in made and view.name]
    return cell(*(_source(record, edge) for edge in record.incoming[node.id]), *entered)


def _source(record: GraphRecord, edge: GraphEdge) -> str:
    source = record.node(edge.source)
    which = f" #{edge.output}" if len(source.outputs) > 1 else ""
    back = say("graph.block before" if edge.stream else "graph.earlier block") if edge.between else ""
    return f"{source.path}{_tail(source)}{which}{back}"


def records(record: GraphRecord) -> list[dict[str, object]]:
    """One flat row per node."""
    return [
        {
            "id": node.id,
            "section": node.section,
            "layers": node.span,
            "repeat": node.repeat,
            "role": node.role,
            "operand": node.operand,
            "also": " ".join(node.also),
            "op": node.op,
            "module": node.module,
            "reads": " ".join(dict.fromkeys(edge.source for edge in record.incoming[node.id])),
            "outputs": "; ".join(view.symbolic for view in node.outputs),
            "parameters": node.parameters,
            "flops": node.flops,
        }
        for node in record.nodes
    ]
