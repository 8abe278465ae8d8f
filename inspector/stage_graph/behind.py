"""What a value is made of, off the activation plane: masks, tables and numbers are found by walking back to them."""

from __future__ import annotations

__all__ = ["behind"]

from collections.abc import Iterable, Iterator

from inspector.stage_graph.stages import StageGraph


def behind(graph: StageGraph, start: Iterable[int], most: int = 200) -> Iterator[int]:
    """`start` and the values that they are computed from, nearest first, without what depends on a token."""
    flow = graph.naming.flow
    todo = [value for value in start if not flow.on_act(value)]
    seen = set(todo)
    yield from todo
    while todo and len(seen) < most:
        maker = flow.maker(todo.pop(0))
        for value in maker.inputs if maker is not None else ():
            if value not in seen and not flow.on_act(value):
                seen.add(value)
                todo.append(value)
                yield value
