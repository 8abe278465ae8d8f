"""What happens before the first block: lookups, their sum, its scale, norm and projection."""

from __future__ import annotations

__all__ = ["name_stem"]

from collections.abc import Sequence
from itertools import pairwise

from inspector.records import Concrete, Op
from inspector.roles.context import Context
from inspector.roles.flow import ACT, IDS, PAR

_LOOKUPS = frozenset({"embedding", "embedding_bag", "index_select", "getitem"})

_MEASURING = frozenset({"pow", "square", "mean", "sqrt", "rsqrt", "clamp"})
"""What tells the length of a vector, to scale another to it."""

_REPLACING = frozenset({"where", "masked_fill", "masked_scatter"})


def name_stem(context: Context, start: int) -> None:
    """Name everything that `start`, the value that enters the first block, is made of."""
    flow, parts = context.flow, context.parts
    ops = _ancestors(context, start)
    if any(_is_in_blocks(context, value) for op in ops for value in op.inputs):
        if any(flow.weighted[op.id] for op in ops):  # norms alone adapt nothing: a sum between them is no residual
            parts.claim([op.id for op in ops], "block.adapter", rule="from the stream back to it, beside the sublayers")
        scalings = [op.id for op in ops if flow.kind[op.id] == "other"]
        if all(
            flow.ops[index].name in ("mul", "div") and len(flow.act_inputs(flow.ops[index])) == 1 for index in scalings
        ):
            parts.claim(scalings, "block.scale", rule="scales what a sublayer made, with which a stream begins")
        return
    lookups = [op for op in ops if _is_lookup(context, op)]
    kinds = _lookup_kinds(context, lookups)
    for op in ops:
        _name_tables(context, op)
    for op in ops:
        norm = context.norm_of.get(op.id)
        if op.id in kinds:
            parts.claim([op.id], f"embedding.{kinds[op.id]}", rule="lookup classified by the contents of its index")
        elif norm is not None:
            parts.claim(norm.ops, "embedding.norm", rule="norm before the first block")
        elif flow.weighted[op.id]:
            parts.claim(flow.unit(op)[0], "embedding.projection", rule="weighted contraction before the first block")
        elif op.name in ("add", "sum"):
            parts.claim([op.id], "embedding.add", rule="sum before the first block")
        elif op.name in ("mul", "div") or (op.name in _MEASURING and flow.on_act(op.outputs[0])):
            parts.claim([op.id], "embedding.scale", rule="scaling before the first block")
        elif op.name in _REPLACING:
            parts.claim([op.id], "embedding.replace", rule="other vectors in the place of some tokens'")
        elif op.name == "pad":
            parts.claim([op.id], "embedding.pad", rule="rows of zeros before or behind the sequence")


def _name_tables(context: Context, op: Op) -> None:
    """Name a table that `op` adds to tokens by where they stand: one that was computed, or a part of a learned one."""
    flow, parts = context.flow, context.parts
    if op.name != "add":
        return
    for value in op.inputs:
        if flow.on_act(value) or not _has_rows(context, value):
            continue
        made = _from_table(context, value)
        if any(flow.kind[index] == "select" for index in made):
            parts.claim(made, "embedding.position", rule="rows for the places of a sequence, added to its tokens")
        elif flow.producer[value] is None:
            also = ("embedding.position",)
            parts.claim([op.id], "embedding.add", also=also, rule="a whole table, with a row for each place")
        elif not flow.taint[value] & PAR:
            parts.claim(made, "positions.sinusoid", rule="one vector for each place, computed from nothing but places")


def _has_rows(context: Context, value: int) -> bool:
    """Whether `value` has a vector for each of several places."""
    shape = context.flow.values[value].shape
    return len(shape) > 1 and shape[-2] > 1 and shape[-1] > 1


def _from_table(context: Context, value: int) -> list[int]:
    """The ops from a table to `value`: views, and the choice of rows. The last op alone where it was computed."""
    flow = context.flow
    ops: list[int] = []
    while (op := flow.maker(value)) is not None and flow.kind[op.id] in ("plumb", "view", "select"):
        ops.append(op.id)
        value = op.inputs[0]
        if flow.kind[op.id] == "select":
            break
    return ops or ([op.id] if op is not None else [])


def _is_in_blocks(context: Context, value: int) -> bool:
    """Whether `value` is a sum of the stream, or what a sublayer made: then a block came before."""
    maker = context.flow.maker(value)
    if maker is None:
        return False
    made = context.parts[maker.id].section in _SUBLAYERS and context.flow.on_act(value)
    return made or any(value == one.result for one in context.residuals)


_SUBLAYERS = frozenset({"attention", "cross_attention", "ssm", "mlp", "moe", "block"})


def _ancestors(context: Context, start: int) -> list[Op]:
    """Ops that make `start`, in order, down to where only ids, positions and bare weights are left."""
    flow = context.flow
    ops: set[int] = set()
    stack = [start]
    while stack:
        op = flow.maker(stack.pop())
        if op is None or op.id in ops or context.parts.taken(op.id):
            continue
        ops.add(op.id)
        if not _is_lookup(context, op):
            made = [value for value in op.inputs if flow.taint[value] & (PAR | ACT)]
            stack.extend(value for value in made if not _is_bare(context, value))
    return [flow.ops[index] for index in sorted(ops)]


def _is_bare(context: Context, value: int) -> bool:
    """Whether `value` is a weight, turned and cut at most: not rows of a table that was put together first."""
    flow = context.flow
    if flow.weight(value) is None:
        return False
    stack = [value]
    while stack:
        op = flow.maker(stack.pop())
        if op is not None and flow.kind[op.id] in ("plumb", "view", "select", "join"):
            if op.name == "index_select":
                return False
            stack.extend(op.inputs)
    return True


def _is_lookup(context: Context, op: Op) -> bool:
    """Rows of a table, chosen by integers."""
    flow = context.flow
    if op.name not in _LOOKUPS or len(op.inputs) < 2:
        return False
    return flow.values[_index(op)].dtype.startswith("int")


def _index(op: Op) -> int:
    return op.inputs[0] if op.name.startswith("embedding") else op.inputs[1]


def _table(op: Op) -> int:
    return op.inputs[1] if op.name.startswith("embedding") else op.inputs[0]


def _lookup_kinds(context: Context, lookups: Sequence[Op]) -> dict[int, str]:
    """Position: the index counts, or is a place in a plane. Of the others the largest table holds the tokens, far
    smaller ones the segments.
    """
    flow = context.flow
    kinds = {op.id: "position" for op in (*_positions(context, lookups), *_places(context, lookups))}
    others = [op for op in lookups if op.id not in kinds]
    rows = {op.id: flow.values[_table(op)].shape[0] for op in others if flow.taint[_index(op)] & IDS}
    for op in others:
        told = op.id in rows and rows[op.id] * 8 >= max(rows.values())  # one fixed row for all tokens tells none apart
        kinds[op.id] = "token" if told else "segment"
    return kinds


def _positions(context: Context, lookups: Sequence[Op]) -> list[Op]:
    """The lookups of positions. Token ids that happen to count up are told by what else there is: positions that the
    model counts itself, or no other lookup that could be the tokens'.
    """
    flow = context.flow
    found = [op for op in lookups if _is_position(context, _index(op))]
    given = [op for op in found if flow.values[flow.through(_index(op), ("plumb", "view"))].kind == "input"]
    if len(given) < len(found):
        return [op for op in found if op not in given]
    if given and len(found) == len(lookups):
        tokens = max(given, key=lambda op: flow.values[_table(op)].shape[0])
        return [op for op in found if op is not tokens]
    return found


def _places(context: Context, lookups: Sequence[Op]) -> list[Op]:
    """The lookups of places in a plane (LayoutLM): columns of one input, of which some go by the same table.

    A box has two sides in each direction; codebooks side by side have a table, or rows of one, for each.
    """
    columns = {op.id: _columns(context, _index(op)) for op in lookups}
    tables: dict[tuple[int, int], set[tuple[int, ...]]] = {}
    for op in lookups:
        for source, picked in columns[op.id].items():
            tables.setdefault((source, _table(op)), set()).add(tuple(sorted(picked)))
    planes = {source for (source, _), picked in tables.items() if len(picked) > 1}
    found = [op for op in lookups if planes & columns[op.id].keys()]
    return found if len(found) < len(lookups) else []


def _columns(context: Context, index: int) -> dict[int, set[int]]:
    """Value -> which of its columns an index is, or is computed from."""
    flow = context.flow
    found: dict[int, set[int]] = {}
    stack = [index]
    while stack:
        op = flow.maker(stack.pop())
        if op is None:
            continue
        key = op.attribute("key") if op.name == "getitem" else None
        if isinstance(key, tuple) and len(key) > 1 and type(key[-1]) is int:
            found.setdefault(op.inputs[0], set()).add(key[-1])
        elif flow.kind[op.id] in ("view", "plumb") or op.name in _MEASURING_SIDES:
            stack.extend(op.inputs)
    return found


_MEASURING_SIDES = frozenset({"sub", "clip", "clamp"})


def _is_position(context: Context, index: int) -> bool:
    """Whether an index says where a token stands: by its contents, or by how it was counted."""
    flow = context.flow
    contents = context.concrete(index)
    if contents is not None and counts_up(contents):
        return True
    if _is_counted(context, index):
        return True
    if contents is None or not contents.shape or flow.taint[index] & IDS:
        return False
    return any(contents.values)


def _is_counted(context: Context, index: int) -> bool:
    """Whether `arange` or `cumsum` made the contents, and no token did (a hash of some tokens is no place).

    What an index picks from decides, not what it picks by; and what is counted before the ids of the text (prompts)
    says nothing of these.
    """
    flow = context.flow
    seen, stack, counted = {index}, [index], False
    while stack:
        value = stack.pop()
        op = flow.maker(value)
        if op is None:
            if _is_text(context, value):
                return False
            continue
        if op.name in ("arange", "cumsum"):
            counted = True
            continue
        if op.name in _COMPARING:
            continue
        sources = op.inputs[:1] if flow.kind[op.id] == "select" else op.inputs
        if op.name == "cat":  # a prompt that counts up, before tokens that do not
            sources = tuple(item for item in sources if flow.taint[item] & IDS) or sources
        for item in sources:
            if item not in seen:
                seen.add(item)
                stack.append(item)
    return counted


_COMPARING = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})


def _is_text(context: Context, value: int) -> bool:
    """Whether `value` comes in and is looked up as it is, and does not count up: the ids of tokens."""
    flow = context.flow
    if flow.values[value].kind != "input" or not flow.values[value].dtype.startswith("int"):
        return False
    contents = context.concrete(value)
    looked_up = any(op.name in _LOOKUPS and len(op.inputs) > 1 and _index(op) == value for op in flow.consumers(value))
    return looked_up and not (contents is not None and counts_up(contents))


def counts_up(contents: Concrete) -> bool:
    """Whether every row counts up by one, once any constant padding at its ends is left out.

    >>> counts_up(Concrete((1, 5), "int64", (1, 2, 3, 4), (2, 1, 1, 1), ""))
    True
    """
    if not contents.shape or contents.shape[-1] < 1:
        return False
    width, flat = contents.shape[-1], contents.flat()
    rows = [flat[start : start + width] for start in range(0, len(flat), width)]
    return all(_row_counts_up(row) for row in rows)


def _row_counts_up(row: list[float | int | bool]) -> bool:
    steps = [after - before for before, after in pairwise(row)]
    while steps and steps[0] == 0:
        steps.pop(0)
    while steps and steps[-1] == 0:
        steps.pop()
    if steps and steps[-1] != 1:  # the one step to the padding
        steps.pop()
    return bool(steps) and all(step == 1 for step in steps)
