"""The calls of a stage, told without the trace they were seen in."""

from __future__ import annotations

__all__ = ["calls", "exact"]

import math
from collections.abc import Iterable, Mapping

from inspector.records import Op, Plain
from inspector.stage_graph.record import Call
from inspector.stage_graph.stages import Stage, StageGraph
from inspector.tracing.texts import UNSOLVED

_SIZED = {
    **dict.fromkeys("zeros ones empty rand randn full".split(), ("arg0", "size")),
    **dict.fromkeys("new_zeros new_ones new_empty new_full".split(), ("arg1", "size")),
    **dict.fromkeys("view reshape expand broadcast_to".split(), ("shape", "size")),
}
"""Op -> arguments that say no more than the shape of the result does."""


def calls(graph: StageGraph, stage: Stage, slots: Mapping[int, int]) -> tuple[Call, ...]:
    """Every call of the stage in order. slots: value -> place among the inputs of the node."""
    known = {value: f"input.{slot}" for value, slot in slots.items()}
    known |= {value: f"weight.{slot}" for slot, value in enumerate(stage.parameters)}
    made = []
    for place, op in enumerate(graph.ops(stage)):
        operands = tuple((name, known[value]) for name, value in op.operands)
        made.append(_call(graph, op, operands))
        if op.effect != "noop":
            few = len(op.outputs) == 1
            known |= {value: f"call.{place}" + ("" if few else f".{n}") for n, value in enumerate(op.outputs)}
    return tuple(made)


def exact(attributes: Iterable[tuple[str, object]]) -> tuple[tuple[str, Plain], ...]:
    """The attributes sorted, with values that JSON gives back as they are.

    >>> exact([("value", float("-inf")), ("dim", [-1])])
    (('dim', (-1,)), ('value', '-inf'))
    """
    return tuple(sorted((name, _exact(value)) for name, value in attributes))


def _call(graph: StageGraph, op: Op, operands: tuple[tuple[str, str], ...]) -> Call:
    kept = [(name, value) for name, value in op.attributes if not _tells_nothing(op, name)]
    if op.name == "getitem" and len(op.operands) == 1:
        texts = graph.trace.symbols[op.outputs[0]]
        kept = [(name, _sized(value, graph.trace.values[op.outputs[0]].shape, texts)) for name, value in kept]
    shapes = (", ".join(map(_said, graph.trace.symbols[value])) for value in op.outputs)
    kind = graph.naming.flow.kind[op.id]
    return Call(op.name, kind, op.effect, operands, exact(kept), tuple(f"({shape})" for shape in shapes))


def _said(text: str) -> str:
    return text.removeprefix(UNSOLVED).replace("*", "·")


def _tells_nothing(op: Op, name: str) -> bool:
    """Whether an argument says how it was run, not what: where, at which size, with which depth of warnings."""
    only_end = op.name == "arange" and name in ("arg0", "end") and op.attribute("arg1") is None
    return name == "device" or name.startswith("_") or name in _SIZED.get(op.name, ()) or only_end


def _sized(key: Plain, shape: tuple[int, ...], texts: tuple[str, ...]) -> Plain:
    """An index in which a slice that ends with the sequence says so: `x[:, :16]` is `x[:, :S]` in a run of 16 tokens.

    >>> _sized((("slice", None, None, None), ("slice", 0, 16, None)), (2, 16), ("B", "S"))
    (('slice', None, None, None), ('slice', 0, 'S', None))
    """
    items = key if isinstance(key, tuple) and key[:1] != ("slice",) else (key,)
    made: list[Plain] = []
    axis = 0
    for place, item in enumerate(items):
        if item == "...":
            axis = len(shape) - sum(not isinstance(after, int) for after in items[place + 1 :])
        elif not isinstance(item, int):
            made.append(_ended(item, shape[axis], texts[axis]) if axis < len(shape) else item)
            axis += 1
            continue
        made.append(item)
    return tuple(made) if items is key else made[0]


def _ended(item: Plain, size: int, text: str) -> Plain:
    """A slice from the beginning that is as long as an axis that varies, with its end named after the axis."""
    if isinstance(item, tuple) and item[:1] == ("slice",) and item[1] in (None, 0) and item[2] == size:
        return item if text.isdigit() or text.startswith(UNSOLVED) else ("slice", item[1], _said(text), item[3])
    return item


def _exact(value: object) -> Plain:
    if isinstance(value, (list, tuple)):
        return tuple(map(_exact, value))
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
