"""Pictures of what flows: how positions enter, where the norms stand, the shapes along one block."""

from __future__ import annotations

__all__ = ["norms", "positions", "strip"]

import math
from collections.abc import Iterator, Sequence

from inspector.axes import AXES
from inspector.messages import say
from inspector.render.document import Drawing, Figure, Shape
from inspector.render.svg import COLOURS
from inspector.reporting import words
from inspector.reporting.pictures_ink import circle, label, rect, rects, wire
from inspector.reporting.report_material import Portrait, slug
from inspector.stage_graph.record import GraphNode
from inspector.stage_graph.tensors import Dim

_WIDTH = 320
_TURNS = 7


def positions(portrait: Portrait) -> Iterator[Figure]:
    """Dials for what turns with the position, a table for what is added."""
    fact = portrait.fact("position.kind")
    if fact is None:
        return
    name, kind = f"{slug(portrait.name)}-positions", str(fact.value)
    title = f"{portrait.name}: {kind}"
    table = next((way for way in kind.split(" + ") if way in ("learned", "sinusoidal")), "")
    if kind == "rope" and (turns := _turns(portrait)):
        yield Figure(name, title, _spoken(portrait, turns), _dials(turns))
    elif table:
        rows = _rows(portrait)
        what = say("positions.rows", n=f"{rows:,}") if rows else say("positions.table")
        text = say("positions.added", table=what, made=say(f"positions.{table}"))
        yield Figure(name, title, text, _table(rows))


def _turns(portrait: Portrait) -> tuple[float, ...]:
    """Radians per position: as the facts give them where nothing scales them, else as they ran."""
    base, count, scaling = (portrait.fact(f"position.rope.{name}") for name in ("theta", "dim", "scaling"))
    plain = scaling is None or scaling.value in (None, "default", ("default",))
    if plain and base and count and isinstance(base.value, (int, float)) and isinstance(count.value, int):
        return tuple(float(base.value) ** (-2 * pair / count.value) for pair in range(count.value // 2))
    return portrait.values.turns[0][1] if portrait.values.turns else ()


def _spoken(portrait: Portrait, turns: Sequence[float]) -> str:
    base = portrait.fact("position.rope.theta")
    known = base is not None and isinstance(base.value, (int, float))
    theta = say("positions.base", base=f"{base.value:,.0f}") if base and known else ""
    first, last = f"{math.tau / turns[0]:,.1f}", f"{math.tau / turns[-1]:,.0f}"
    return say("positions.turned", pairs=len(turns), theta=theta, end=_TURNS - 1, first=first, last=last)


def _dials(turns: Sequence[float]) -> Drawing:
    chosen = [0, len(turns) // 4, len(turns) // 2, len(turns) - 1]
    shapes: list[Shape] = []
    for place, pair in enumerate(chosen):
        x, y, radius = 40 + place * 80, 44, 32
        shapes.append(circle(x, y, radius, stroke="line"))
        for position in range(_TURNS):
            angle = turns[pair] * position
            end = (x + radius * math.cos(angle), y - radius * math.sin(angle))
            shapes.append(wire((x, y), end, stroke="seen" if position else "muted", width=1 if position else 1.5))
        shapes.append(label(x, 92, say("positions.pair", n=pair), "muted", "middle"))
    return Drawing(_WIDTH, 98, tuple(shapes))


def _rows(portrait: Portrait) -> int | None:
    tables = [
        view.shape[0]
        for node in portrait.record.nodes
        if node.path == "embedding.position"
        for view in node.weights
        if len(view.shape) == 2
    ]
    return tables[0] if tables else None


def _table(rows: int | None) -> Drawing:
    """A table beside a token's vector, and their sum."""
    shapes = [rect(16, 16 + 12 * row, 84, 10, "k" if row == 3 else "off", radius=2) for row in range(6)]
    shapes += [label(12, 24 + 12 * row, str(row), "muted", "end", 9) for row in range(5)]
    last = f"{rows - 1:,}" if rows else "…"
    shapes += [label(104, 84, say("positions.row", n=last), "muted", "start", 10)]
    shapes += [label(58, 11, say("positions.positions"), "muted", "middle")]
    shapes += [wire((102, 57), (158, 57)), label(130, 52, say("positions.place", n=3), "muted", "middle", 10)]
    shapes += [rect(160, 26, 64, 10, "q", radius=2), label(192, 20, say("positions.token"), "muted", "middle")]
    shapes += [
        rect(160, 52, 64, 10, "k", radius=2),
        label(192, 47, "+", "ink", "middle", 13),
        wire((226, 44), (248, 44)),
    ]
    shapes += [rect(250, 39, 64, 10, "D", radius=2), label(282, 32, say("positions.stream"), "muted", "middle")]
    return Drawing(_WIDTH, 96, tuple(shapes))


def norms(portrait: Portrait) -> Iterator[Figure]:
    """Where the norms stand: on the stream, or on the branch."""
    fact, kind = portrait.fact("norm.placement"), portrait.fact("norm.kind")
    placement = str(fact.value) if fact else ""
    if placement not in _PLACES:
        return
    said = say("norms.kind", kind=kind.value) if kind else say("norms.norm")
    title = f"{portrait.name}: {placement}, {kind.value if kind else ''}".rstrip(", ")
    text = say("norms.text", norm=said, place=say(f"norms.{placement}"))
    yield Figure(f"{slug(portrait.name)}-norms", title, text, _norms(placement))


_PLACES = ("pre", "post", "sandwich", "output", "none")


def _norms(placement: str) -> Drawing:
    """One block on its side: the stream runs from left to right, the sublayers hang below it."""
    shapes = [
        wire((4, 24), (315, 24), stroke="ink", width=3),
        wire((310, 19), (318, 24), (310, 29), stroke="ink", width=2),
    ]
    for start, name in ((16, "attention"), (164, "mlp")):
        before, after = placement in ("pre", "sandwich"), placement in ("sandwich", "output")
        left, right = start + 4, start + 108
        shapes.append(wire((left, 24), (left, 74), (right, 74), (right, 24)))
        shapes += [
            rect(start + 24, 62, 64, 24, "block", "line", 4),
            label(start + 56, 78, say(f"norms.{name}"), "ink", "middle"),
        ]
        shapes += [circle(right, 24, 7, "paper", "ink"), label(right, 28.5, "+", "ink", "middle", 13)]
        for there, x, y in ((before, left, 49), (after, right, 52), (placement == "post", start + 130, 24)):
            if there:
                shapes += [
                    rect(x - 16, y - 9, 32, 18, "norm", radius=3),
                    label(x, y + 4, say("norms.norm"), "paper", "middle", 9.5),
                ]
    return Drawing(_WIDTH, 96, tuple(shapes))


def strip(portrait: Portrait) -> Iterator[Figure]:
    """One block from top to bottom: what comes out of each stage, every axis in its colour."""
    if not portrait.record.blocks:
        return
    nodes = [node for node in portrait.record.nodes if node.block == 0 and node.outputs and not _still(node)]
    layers = words.layers(nodes[0].span) if nodes else ""
    letters = dict.fromkeys(
        letter for node in nodes for dim in node.outputs[0].dims for letter in dim.axis.split("·") if letter in AXES
    )
    legend = words.listed(f"{letter} {words.meaning('axis', letter)}" for letter in letters)
    shown, title = say("strip.text", layers=layers, legend=legend), f"{portrait.name}: {say('strip.title')}"
    yield Figure(f"{slug(portrait.name)}-shapes", title, shown, _strip(nodes))


def _still(node: GraphNode) -> bool:
    return node.role == "dropout" or node.section in ("control", "layout")


def _strip(nodes: Sequence[GraphNode]) -> Drawing:
    step, lead = 23, 132
    shapes: list[Shape] = [wire((lead - 8, 6), (lead - 8, 6 + step * len(nodes)), width=1)]
    texts: list[Shape] = []
    boxes: dict[str, list[tuple[float, float, float, float]]] = {}
    previous = ""
    for place, node in enumerate(nodes):
        y = 6 + place * step
        branch = node.section if node.section != previous else ""
        previous = node.section
        if branch and place:
            shapes.append(wire((0, y - 1), (_WIDTH, y - 1), stroke="off", width=1))
        name = f"{node.role} {node.operand}".strip() if not node.role.startswith(f"{node.operand}_") else node.role
        shapes += [label(lead - 16, y + 15, name, "ink", "end"), circle(lead - 8, y + 11, 3, "line")]
        texts += _chips(node.outputs[0].dims, lead + 4, y + 2, boxes)
    shapes += [rects(chips, colour) for colour, chips in boxes.items()]
    return Drawing(_WIDTH, 10 + step * len(nodes), (*shapes, *texts))


def _chips(
    dims: Sequence[Dim], x: float, y: float, boxes: dict[str, list[tuple[float, float, float, float]]]
) -> Iterator[Shape]:
    """The text of one chip per axis, its box added to those of its colour; a product of axes has two colours."""
    for dim in dims:
        size = 10 + 7 * len(dim.text)
        letters = [letter if letter in COLOURS else "off" for letter in dim.axis.split("·")] or ["off"]
        for place, letter in enumerate(letters):
            boxes.setdefault(letter, []).append((x + place * size / len(letters), y, size / len(letters), 17))
        yield label(x + size / 2, y + 12.5, dim.text, "paper" if letters[0] != "off" else "ink", "middle")
        x += size + 4
