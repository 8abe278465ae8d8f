"""What only the contents of a tensor show: a mask's pattern, the base of rotary tables, how positions are numbered.

Where the contents were not kept nothing is said.
"""

from __future__ import annotations

__all__ = ["mask", "positions", "rope_table", "single"]

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise

from inspector.records import Concrete
from inspector.roles.rope import Rope
from inspector.stage_graph.behind import behind
from inspector.stage_graph.frequencies import frequencies, scaling, theta
from inspector.stage_graph.lanes import turned
from inspector.stage_graph.masks import describe
from inspector.stage_graph.stages import Stage, StageGraph

Found = dict[str, object]


def single(graph: StageGraph, values: Iterable[int]) -> Iterator[float]:
    """The numbers that tensors of one element hold."""
    for value in values:
        known = graph.trace.concrete.get(value)
        if known is not None and known.kept and math.prod(known.shape) == 1:
            yield float(known.values[0])


def mask(graph: StageGraph, stage: Stage) -> Found:
    """Of the mask that the stage builds."""
    for value in stage.outputs:
        known = graph.trace.concrete.get(value)
        if known is not None and len(known.shape) > 2:
            kind = describe(known)
            return {"kind": kind.kind, "size": kind.size}
    return {}


def rope_table(graph: StageGraph, stage: Stage) -> Found:
    """Base and scaling of the rotation that reads the table."""
    rope = _reader(graph, stage)
    what = turned(graph.naming.flow, rope) if rope is not None else None
    found = frequencies(graph, rope, what.size) if rope is not None and what is not None else None
    base = theta(found) if found is not None else None
    if found is None or base is None:
        return {}
    kind = scaling(found, base)
    return {"theta": base, "scaling": kind if kind != ("default",) else "default"}


def _reader(graph: StageGraph, stage: Stage) -> Rope | None:
    """The first rotation whose tables the stage makes."""
    made = set(stage.outputs)
    return next((rope for rope in graph.naming.ropes if not made.isdisjoint(behind(graph, rope.tables))), None)


def positions(graph: StageGraph, stage: Stage) -> Found:
    """Whether the table of positions is learned, which of its rows comes first, and whether padding takes one."""
    found: Found = {"learned": any(graph.trace.values[value].kind == "parameter" for value in stage.parameters)}
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
