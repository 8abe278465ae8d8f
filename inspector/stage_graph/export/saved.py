"""Reads a saved graph. What is broken, foreign or from a newer version is refused, with the place where it is wrong."""

from __future__ import annotations

__all__ = ["from_document", "load_graph"]

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from inspector.errors import SchemaError
from inspector.records import Claims, ModelInfo, Plain, Scenario, plain
from inspector.stage_graph.export.node_link import SCHEMA
from inspector.stage_graph.record import (
    Call,
    GraphBlock,
    GraphEdge,
    GraphFact,
    GraphNode,
    GraphOutput,
    GraphRecord,
)
from inspector.stage_graph.spans import layers_of
from inspector.stage_graph.tensors import Dim, TensorView

_MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What reading a record from something else can raise."""

_HINT = "save one with `inspector graph MODEL -o FILE.json`"

Kind = TypeVar("Kind")


def load_graph(source: str | os.PathLike[str] | Mapping[str, Any]) -> GraphRecord:
    """The graph that a file, or a document read from one, holds.

    >>> load_graph({"schema": "inspector/graph/2"})
    Traceback (most recent call last):
    inspector.errors.SchemaError: this is inspector/graph/2, which this inspector does not read
    it reads inspector/graph/1
    update inspector, or save the graph again
    """
    if isinstance(source, Mapping):
        return from_document(source)
    path = Path(source)
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise SchemaError(f"cannot read {path.name}", why=error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{path.name} is not JSON", why=str(error), hint=_HINT) from error
    return from_document(document, path.name)


def from_document(document: Any, name: str = "this") -> GraphRecord:
    """The record that `to_document` wrote. SchemaError, naming `name`, when it is anything else."""
    _check_schema(document, name)
    try:
        record = _record(document)
        _check_links(record)
    except SchemaError as error:
        raise SchemaError(f"{name} is not a whole graph", why=error.what, hint=_HINT) from error
    except _MALFORMED as error:
        raise SchemaError(f"{name} is not a whole graph", why=_reason(error), hint=_HINT) from error
    return record


def _check_schema(document: Any, name: str) -> None:
    schema = document.get("schema") if isinstance(document, Mapping) else None
    if schema == SCHEMA:
        return
    version = re.fullmatch(r"inspector/graph/(\d+)", schema) if isinstance(schema, str) else None
    if version:
        raise SchemaError(
            f"{name} is {schema}, which this inspector does not read",
            why=f"it reads {SCHEMA}",
            hint="update inspector, or save the graph again",
        )
    if isinstance(schema, str) and schema.startswith("inspector/"):
        raise SchemaError(f"{name} is {schema}, not a graph", hint=_HINT)
    raise SchemaError(f"{name} is not a graph that inspector saved", why=f"its schema is not {SCHEMA}", hint=_HINT)


def _record(document: Mapping[str, Any]) -> GraphRecord:
    (model,) = document["models"]
    whole = document["graph"]
    with _inside("blocks"):
        blocks = tuple(map(_block, whole["blocks"]))
    return GraphRecord(
        model=_model(model),
        scenario=_scenario(model["scenario"]),
        nodes=tuple(_each("nodes", document["nodes"], _node)),
        edges=tuple(_each("edges", document["edges"], _edge)),
        blocks=blocks,
        outputs=tuple(_each("outputs", whole["outputs"], _output)),
        axes=tuple((_text(entry["axis"]), _count(entry["size"])) for entry in whole["axes"]),
        pattern=_text(whole["pattern"]),
        claims=_claims(whole["claims"]),
        notes=_texts(model["notes"]),
        tool=tuple((_text(package), _text(version)) for package, version in document["tool"].items()),
        facts=_facts(whole.get("facts")),
    )


def _each(kind: str, rows: Any, read: Callable[[Any], Kind]) -> Iterator[Kind]:
    if not isinstance(rows, list):
        raise TypeError(f"{kind} is a {type(rows).__name__}, not a list")
    for index, row in enumerate(rows):
        with _inside(f"{kind}[{index}]"):
            yield read(row)


@contextmanager
def _inside(place: str) -> Iterator[None]:
    """Says where in the document a mistake is."""
    try:
        yield
    except _MALFORMED as error:
        raise SchemaError(f"{place}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


# parts


def _model(row: Mapping[str, Any]) -> ModelInfo:
    kind = row["model_type"]
    return ModelInfo(
        _text(row["name"]),
        None if kind is None else _text(kind),
        _text(row["class"]),
        _count(row["parameters"]),
        _count(row["untied"]),
        _text(row["source"]),
    )


def _scenario(row: Mapping[str, Any]) -> Scenario:
    known = {field.name: row[field.name] for field in fields(Scenario)}
    sizes = {name: _count(known[name]) for name in ("batch", "seq", "past")}
    return Scenario(**{**known, **sizes})


def _claims(row: Mapping[str, Any]) -> Claims:
    facts = ((_text(fact["id"]), plain(fact["value"]), _text(fact["where"])) for fact in row["facts"])
    explained = ((_text(fact["id"]), plain(fact["value"]), _text(fact["why"])) for fact in row.get("explained", ()))
    return Claims(tuple(facts), _texts(row["unread"]), tuple(explained))


def _facts(rows: Any) -> tuple[GraphFact, ...] | None:
    """None as well in a document from before facts were kept."""
    return None if rows is None else tuple(_each("facts", rows, _fact))


def _fact(row: Mapping[str, Any]) -> GraphFact:
    claim, agrees = row["claim"], row["agrees"]
    return GraphFact(
        id=_text(row["id"]),
        value=plain(row["value"]),
        unit=_text(row["unit"]),
        layers=_text(row["layers"]),
        nodes=_texts(row["nodes"]),
        formula=_text(row["formula"]),
        claim=None if claim is None else (_text(claim["where"]), plain(claim["value"])),
        agrees=None if agrees is None else _flag(agrees),
        explained=_text(row.get("explained", "")),
    )


def _block(row: Mapping[str, Any]) -> GraphBlock:
    return GraphBlock(_text(row["name"]), _text(row["text"]), layers_of(row["layers"]), _texts(row["numbers"]))


def _output(row: Mapping[str, Any]) -> GraphOutput:
    return GraphOutput(_text(row["name"]), _text(row["node"]), _count(row["output"]), layers_of(row["layers"]))


def _node(row: Mapping[str, Any]) -> GraphNode:
    return GraphNode(
        id=_text(row["id"]),
        section=_text(row["section"]),
        role=_text(row["role"]),
        operand=_text(row["operand"]),
        layers=layers_of(row["layers"]),
        block=None if row["block"] is None else _count(row["block"]),
        also=_texts(row["also"]),
        op=_text(row["op"]),
        module=_text(row["module"]),
        calls=tuple(map(_call, row["calls"])),
        inputs=tuple(map(_tensor, row["inputs"])),
        outputs=tuple(map(_tensor, row["outputs"])),
        weights=tuple(map(_tensor, row["weights"])),
        parameters=_count(row["parameters"]),
        flops=_count(row["flops"]),
        attributes=_attributes(row["attributes"]),
    )


def _edge(row: Mapping[str, Any]) -> GraphEdge:
    return GraphEdge(
        _text(row["source"]),
        _text(row["target"]),
        _count(row["output"]),
        _count(row["input"]),
        _flag(row["stream"]),
        _flag(row["between"]),
        layers_of(row["source_layers"]),
        layers_of(row["target_layers"]),
    )


def _call(row: Mapping[str, Any]) -> Call:
    operands = tuple((_text(operand["name"]), _text(operand["from"])) for operand in row["operands"])
    kind, effect = _text(row["kind"]), _text(row["effect"])
    return Call(_text(row["name"]), kind, effect, operands, _attributes(row["attributes"]), _texts(row["outputs"]))


def _tensor(row: Mapping[str, Any]) -> TensorView:
    inner = _text(row["symbolic"]).removeprefix("(").removesuffix(")")
    sizes, axes = [_count(size) for size in row["shape"]], _texts(row["axes"])
    texts = inner.split(", ") if inner else []
    dims = tuple(Dim(*dim) for dim in zip(sizes, texts, axes, strict=True))
    return TensorView(_text(row["name"]), dims, _text(row["dtype"]), _text(row["device"]))


def _attributes(row: Mapping[str, Any]) -> tuple[tuple[str, Plain], ...]:
    return tuple(sorted(((_text(name), plain(value)) for name, value in row.items()), key=lambda pair: pair[0]))


def _text(value: Any) -> str:
    return _is(value, str, "a text")


def _flag(value: Any) -> bool:
    return _is(value, bool, "true or false")


def _count(value: Any) -> int:
    number = _is(value, int, "a number")
    if isinstance(value, bool) or number < 0:
        raise ValueError(f"{value!r} is not a count")
    return number


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(_text(value) for value in _is(values, list, "a list"))


def _is(value: Any, kind: type[Kind], called: str) -> Kind:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.40} is not {called}")
    return value


def _check_links(record: GraphRecord) -> None:
    """Every id is there once, every link leads somewhere, and a node's layers are those of its block."""
    if len(record.place) != len(record.nodes):
        raise ValueError("two nodes have the same id")
    for node in record.nodes:
        if node.block is not None and node.block >= len(record.blocks):
            raise ValueError(f"{node.id} has block {node.block}, which is not there")
        if node.layers != (() if node.block is None else record.blocks[node.block].layers):
            raise ValueError(f"{node.id} has other layers than its block")
    for edge in record.edges:
        for end, slot, side, layers in (
            (edge.source, edge.output, "outputs", edge.source_layers),
            (edge.target, edge.input, "inputs", edge.target_layers),
        ):
            _check_end(record, end, slot, side, layers)
        if edge.source_layers and edge.target_layers and len(edge.source_layers) != len(edge.target_layers):
            raise ValueError(f"the edge from {edge.source} to {edge.target} has ends of different lengths")
    for output in record.outputs:
        _check_end(record, output.node, output.output, "outputs", output.layers)
    for fact in record.facts or ():
        if missing := [id for id in fact.nodes if id not in record.place]:
            raise ValueError(f"{fact.id} is shown by {missing[0]}, which is no node")


def _check_end(record: GraphRecord, id: str, slot: int, side: str, layers: tuple[int, ...]) -> None:
    if id not in record.place:
        raise ValueError(f"an edge ends at {id}, which is no node")
    node = record.node(id)
    if slot >= len(getattr(node, side)):
        raise ValueError(f"{id} has no {side[:-1]} {slot}")
    if not set(layers) <= set(node.layers) or bool(layers) != bool(node.layers):
        raise ValueError(f"an edge has layers that {id} has not")
