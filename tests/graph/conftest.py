from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inspector.fact_sheet.recorded import recorded
from inspector.records import Claims, ModelInfo, Scenario
from inspector.stage_graph.record import Call, GraphBlock, GraphEdge, GraphFact, GraphNode, GraphOutput, GraphRecord
from inspector.stage_graph.tensors import Dim, TensorView

HOSTILE = 'a "b] `c`\n</script> <d> & {e} \\n ; -->\x1b[31m\u202e%%'
"""What a stranger may call a model or a module."""


@pytest.fixture(scope="session")
def record_for(trace_of: Callable[..., Any]) -> Callable[..., GraphRecord]:
    """The folded graph of a small model or a catalogue entry with its facts, as `trace_of`."""
    return lambda name, *args, **changes: recorded(trace_of(name, *args, **changes))


@pytest.fixture(scope="session")
def hostile() -> GraphRecord:
    """Two layers and a head, everything that a stranger names named so as to hurt."""
    x = TensorView("", (Dim(2, "B", "B"), Dim(8, "2·4", "H·K")), "bfloat16", "meta")
    scalar = TensorView(HOSTILE, (), "float32", "cpu")
    call = Call(HOSTILE, "other", "", (("input", "input.0"),), (("dim", (-1, None)), ("value", "-inf")), ("(B, 8)",))
    numbers = {"eps": 1e-05, HOSTILE: HOSTILE, "exact": True}
    common: dict[str, Any] = {"also": (), "op": HOSTILE, "module": HOSTILE, "parameters": 8, "flops": 4}
    common |= {"calls": (call,), "weights": (scalar,), "attributes": tuple(sorted(numbers.items()))}
    inside, outside = {"layers": (0, 1), "block": 0}, {"layers": (), "block": None}
    add = GraphNode("0-1.mlp.residual", "mlp", "residual", "", inputs=(x,), outputs=(x, x), **inside, **common)
    head = GraphNode("model.unknown", "unknown", "unknown", "", inputs=(x, x), outputs=(scalar,), **outside, **common)
    return GraphRecord(
        model=ModelInfo(HOSTILE, None, HOSTILE, 16, 16, HOSTILE),
        scenario=Scenario(past=3, seq=1, head=False),
        nodes=(add, head),
        edges=(
            GraphEdge(add.id, add.id, 1, 0, True, True, (0,), (1,)),
            GraphEdge(add.id, head.id, 0, 0, False, False, (1,), ()),
            GraphEdge(add.id, head.id, 1, 1, True, False, (1,), ()),
        ),
        blocks=(GraphBlock(HOSTILE, f"{HOSTILE} x2", (0, 1), ("0", "1")),),
        outputs=(GraphOutput(HOSTILE, head.id, 0, ()),),
        axes=(("H", 2), ("K", 4)),
        pattern=HOSTILE,
        claims=Claims((("attention.heads", 2, HOSTILE), ("attention.window", (1, None), "config")), (HOSTILE,)),
        notes=(HOSTILE,),
        tool=(("inspector", "0.1.0"),),
        facts=(GraphFact(HOSTILE, (HOSTILE, 1), HOSTILE, "0-1", (add.id,), HOSTILE, (HOSTILE, HOSTILE), False),),
    )
