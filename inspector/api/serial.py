"""A trace as a JSON document and back, without loss."""

from __future__ import annotations

__all__ = ["SCHEMA", "from_document", "to_document"]

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from inspector.errors import SchemaError
from inspector.records import Claims, Concrete, ModelInfo, Op, Plain, Scenario, Trace, Value, plain

SCHEMA = "inspector/trace/1"

_MALFORMED = (AttributeError, KeyError, TypeError, ValueError)
"""What building a record from something else can raise."""


def to_document(trace: Trace) -> dict[str, Any]:
    """The trace as something `json.dumps` takes. Its arrays may still be tuples; infinities and NaN stay floats.

    >>> from inspector.records import ModelInfo, Scenario, Trace
    >>> trace = Trace(ModelInfo("gpt2", "gpt2", "GPT2LMHeadModel", 0, 0), Scenario(), (), (), (), ())
    >>> from_document(to_document(trace)) == trace
    True
    """
    return {
        "schema": SCHEMA,
        "model": asdict(trace.model),
        "scenario": asdict(trace.scenario),
        "ops": trace.ops,
        "values": trace.values,
        "inputs": trace.inputs,
        "outputs": trace.outputs,
        "symbols": trace.symbols,
        "concrete": list(trace.concrete.items()),
        "claims": asdict(trace.claims),
        "notes": trace.notes,
        "tool": trace.tool,
    }


def from_document(document: Any) -> Trace:
    """The trace that `document` holds. SchemaError when it holds none."""
    try:
        if document["schema"] != SCHEMA:
            raise SchemaError(f"a trace is {SCHEMA}, but this is {document['schema']!r}")
        with _collector_paused():
            trace = _trace(document)
        _check_links(trace)
    except _MALFORMED as error:
        raise SchemaError("this is not a trace", why=str(error)) from error
    return trace


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Tuples by the ten thousand and no cycle among them: the collector would only double the time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _trace(document: dict[str, Any]) -> Trace:
    return Trace(
        model=ModelInfo(**document["model"]),
        scenario=Scenario(**document["scenario"]),
        ops=tuple([_op(row) for row in document["ops"]]),
        values=tuple([_value(row) for row in document["values"]]),
        inputs=_pairs(document["inputs"]),
        outputs=_pairs(document["outputs"]),
        symbols=_pairs(document["symbols"]),
        concrete={int(value): _concrete(row) for value, row in document["concrete"]},
        claims=_claims(**document["claims"]),
        notes=tuple(document["notes"]),
        tool=_pairs(document["tool"]),
    )


def _op(row: list[Any]) -> Op:
    id, name, call, module, module_class, operands, donors, attributes, outputs, effect = row
    settings = [(key, plain(value) if type(value) is list else value) for key, value in attributes]
    return Op(
        id,
        name,
        call,
        module,
        module_class,
        _pairs(operands),
        _pairs(donors) if donors else (),
        tuple(settings),
        tuple(outputs),
        effect,
    )


def _value(row: list[Any]) -> Value:
    id, kind, name, shape, dtype, device, producer = row
    return Value(id, kind, name, tuple(shape), dtype, device, producer)


def _concrete(row: list[Any]) -> Concrete:
    shape, dtype, values, counts, digest = row
    return Concrete(tuple(shape), dtype, tuple(values), tuple(counts), digest)


def _claims(facts: list[Any], unread: list[str], explained: list[Any]) -> Claims:
    return Claims(_stated(facts), tuple(unread), _stated(explained))


def _stated(rows: list[Any]) -> tuple[tuple[str, Plain, str], ...]:
    return tuple([(fact, plain(value), text) for fact, value, text in rows])


def _pairs(rows: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(map(tuple, rows))


def _check_links(trace: Trace) -> None:
    """Every id is its place, and every link leads to a place."""
    if [op.id for op in trace.ops] != list(range(len(trace.ops))):
        raise ValueError("an op's id is not its place")
    if [value.id for value in trace.values] != list(range(len(trace.values))):
        raise ValueError("a value's id is not its place")
    linked = {value for _, value in (*trace.inputs, *trace.outputs)} | trace.concrete.keys()
    for op in trace.ops:
        linked.update(op.outputs)
        linked.update([value for _, value in op.operands + op.donors])
    if not linked <= set(range(len(trace.values))):
        raise ValueError("a link leads to no value")
