"""Before the first block: tables that are looked up, and their sum."""

from __future__ import annotations

__all__ = ["added", "first_row", "position", "token"]

from inspector.records import Op
from inspector.reference import embeddings
from inspector.reference.layout import viewed
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.look import TURNING, Flowing, Leaf, Look, Reading, draft
from inspector.verification.readings.plain import add


def token(look: Look, stage: Stage) -> Reading:
    """The row of each id."""
    found = _lookup(look, stage)
    if isinstance(found, str):
        return _first_segment(look, stage) or found
    ids, table = found
    function = embeddings.segment if stage.role == "segment" else embeddings.token
    names = ("token_type_ids_BS", "table_ND") if stage.role == "segment" else ("ids_BS", "table_VD")
    return [draft(function, **dict(zip(names, (ids, table), strict=True)))]


def _first_segment(look: Look, stage: Stage) -> Reading | None:
    """Nobody named segments, and the model keeps zeros for them: the first row at every position."""
    names = [op.name for op in look.live(stage) if look.flow.kind[op.id] != "view"]
    tables = [value for value in stage.parameters if look.values[value].kind == "parameter"]
    places = [value for value in stage.inputs if look.values[value].dtype.startswith("int")]
    if stage.role != "segment" or names != ["gather", "embedding"] or len(tables) != 1 or len(places) != 1:
        return None
    batch = look.shape(stage.outputs[0])[0]
    table = look.read(tables[0])
    return [draft(embeddings.first_segment, position_ids_BS=look.read(places[0]), table_ND=table, batch=batch)]


def position(look: Look, stage: Stage) -> Reading:
    """The row of each position; an offset that is added inside the stage is part of it."""
    found = _lookup(look, stage)
    if isinstance(found, str):
        rows = _rows(look, stage)
        return found if rows is None else rows
    ids, table = found
    offset = _offset(look, stage)
    if offset is None:
        return "its positions are changed in a way that is not known"
    return [draft(embeddings.position, position_ids_BS=ids, table_PD=table, offset=look.usual(offset, 0))]


def first_row(look: Look, stage: Stage) -> Reading:
    """The row of each segment."""
    return token(look, stage)


def added(look: Look, stage: Stage) -> Reading:
    """The sum of the embeddings."""
    return add(look, stage)


def _lookup(look: Look, stage: Stage) -> tuple[Flowing | Leaf, Flowing | Leaf] | str:
    """(ids, table) of the one lookup in the stage."""
    names = ("embedding", "index_select", "getitem", "gather")
    found = [op for op in look.live(stage) if op.name in names and len(op.inputs) == 2]
    others = [op.name for op in look.live(stage) if op not in found and look.flow.kind[op.id] != "select"]
    others = [name for name in others if not (stage.role == "position" and name == "add")]
    if len(found) == 1 and {look.flow.size(found[0].outputs[0])} != {
        look.flow.size(value) for value in look.told(stage)
    }:
        return "a lookup of which some is taken, or that is copied"
    if len(found) != 1 or others:
        return f"a lookup with {' '.join(others)}" if others else "several lookups in one"
    ids, table = _operands(found[0])
    border = {*stage.inputs, *stage.parameters}
    made = _behind(look, ids, border)
    if table not in border or made is None:
        return "its table or ids are prepared in a way that is not known"
    return look.read(made), look.read(table)


def _behind(look: Look, value: int, border: set[int]) -> int | None:
    while value not in border:
        op = look.flow.maker(value)
        if op is None or not op.inputs or (look.flow.kind[op.id] not in ("view", "plumb") and op.name != "add"):
            return None
        if op.name in TURNING:
            return None
        value = op.inputs[0]
    return value


def _operands(op: Op) -> tuple[int, int]:
    if op.name == "embedding":
        named = dict(op.operands)
        return named.get("input", op.inputs[0]), named.get("weight", op.inputs[1])
    return op.inputs[1], op.inputs[0]


def _offset(look: Look, stage: Stage) -> int | None:
    total = 0
    for op in look.live(stage):
        if op.name == "add":
            number = op.attribute("other")
            if not isinstance(number, int):
                return None
            total += number
    return total


def _rows(look: Look, stage: Stage) -> Reading | None:
    """A stretch of a table, taken as it stands."""
    if len(stage.parameters) != 1 or stage.inputs or look.live(stage):
        return None
    return [draft(viewed, x=look.read(stage.parameters[0]), shape=look.shape(stage.outputs[0]))]
