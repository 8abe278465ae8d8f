"""What a box in a row says of its stage: a line, and on demand all that is known."""

from __future__ import annotations

__all__ = ["box", "shape"]

from collections.abc import Iterable, Iterator
from itertools import groupby

from inspector.alignment.parts import Part
from inspector.axes import AXES
from inspector.comparison.changes import text
from inspector.messages import say
from inspector.records import Plain
from inspector.render.document import Box, Cell, Line, Span, cell, line
from inspector.reporting import words
from inspector.reporting.report_material import Portrait
from inspector.reporting.report_strips import lane
from inspector.stage_graph.record import GraphNode
from inspector.stage_graph.tensors import Dim, TensorView

_TELLING = ("function", "kind", "eps", "factor", "dtype", "addends")
"""Attributes that say more than the ops do, and how; those that a box has room for."""

_MOST_CALLS = 2


def box(portrait: Portrait, part: Part) -> Box:
    """One stage of a model."""
    node = portrait.nodes[part.id]
    return Box(
        name=_name(node),
        said=_said(part, node),
        shape=shape(node.outputs[0].dims) if node.outputs else line(),
        lane=lane(part),
        idle=part.idle,
        facts=tuple((label, value) for label, value in _facts(portrait, part, node) if value),
    )


def _name(node: GraphNode) -> str:
    """The model's own name of what holds the stage's weights."""
    names = [name for name in node.module.split(".") if name and name != "{}" and not name.isdigit()]
    return names[-1] if node.weights and names else ""


def _said(part: Part, node: GraphNode) -> str:
    """The functions, and what decides their result; what only repeats a function's name is left out."""
    if part.idle:
        return say("diff.idle")
    maths = dict(part.maths)
    told = [say(f"telling.{name}", value=text(maths[name])) for name in _TELLING if maths.get(name) is not None]
    calls = list(dict.fromkeys((part.spelling or node.op).split()))
    if len(calls) > _MOST_CALLS and told:
        calls = []
    telling = [said for said in told if not any(said in call for call in calls)]
    return " · ".join(filter(None, (_calls(calls), *telling)))


def _calls(calls: list[str]) -> str:
    return ", ".join(calls if len(calls) <= _MOST_CALLS + 1 else [*calls[:_MOST_CALLS], f"+{len(calls) - _MOST_CALLS}"])


def _facts(portrait: Portrait, part: Part, node: GraphNode) -> Iterator[tuple[str, Cell]]:
    """All that is known of a stage, and which facts of the model it shows."""
    yield say("label.part"), cell(f"{part.path} {part.operand}".strip())
    yield say("label.module"), cell(node.module)
    yield say("label.layers"), cell(words.ranges(node.span))
    yield say("label.reads"), _tensors(node.inputs)
    yield say("report.makes"), _tensors(node.outputs)
    yield say("report.weights"), cell(*(f"{_leaf(view.name)} {view.symbolic}" for view in node.weights))
    yield say("label.ops"), cell(node.op.replace(" ", ", "))
    yield say("report.attributes"), cell(*(f"{name} {_value(value)}" for name, value in node.attributes))
    yield say("label.parameters"), cell(words.number(node.parameters))
    yield say("label.FLOPs"), cell(words.scaled(node.flops, "") if node.flops else "")
    shown = (f"{fact.id} = {_value(fact.value)}" for fact in portrait.shown_by.get(node.id, ()))
    yield say("report.shows"), cell(*dict.fromkeys(shown))


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _value(value: Plain) -> str:
    said = text(value)
    return said if len(said) <= 80 else f"{said[:79]}…"


def _tensors(views: Iterable[TensorView]) -> Cell:
    runs = ((text, len(list(same))) for text, same in groupby(view.symbolic for view in views))
    return cell(*(f"{text} ×{count}" if count > 1 else text for text, count in runs))


def shape(dims: Iterable[Dim]) -> Line:
    """`(B, 12, S, 64)`, each dimension in the colour of its axis."""
    return line("(", *(span for place, dim in enumerate(dims) for span in _dim(place, dim)), ")")


def _dim(place: int, dim: Dim) -> Iterator[Span]:
    if place:
        yield Span(", ")
    texts, letters = dim.text.split("·"), dim.axis.split("·")
    if len(texts) != len(letters):
        texts, letters = [dim.text], letters[:1]
    for index, (said, letter) in enumerate(zip(texts, letters, strict=True)):
        if index:
            yield Span("·")
        yield Span(said, letter if letter in AXES else "")
