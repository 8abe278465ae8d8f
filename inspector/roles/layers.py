"""Which block each residual add belongs to.

A block begins where tokens are mixed. What stands before the first mixing, and again before every later one, belongs to
the block that follows; streams side by side share their blocks; a sum between two stacks is in none.
"""

from __future__ import annotations

__all__ = ["layers_of", "opening"]

from collections.abc import Sequence
from typing import NamedTuple

from inspector.roles.context import Context
from inspector.roles.trunk import Residual

_MIXING = frozenset({"attention", "ssm"})
_FEEDING = frozenset({"mlp", "moe"})
_RECURRENT = frozenset({"scan", "state_update"})


class _Step(NamedTuple):
    """One residual add. place: among all. section: the sublayer that it closes. stream: the first add of its chain."""

    place: int
    residual: Residual
    section: str
    stream: int


def layers_of(context: Context, outer: Sequence[Residual], sections: Sequence[str]) -> list[int | None]:
    """The number of the block of each residual add, None for what is part of no block."""
    steps = _steps(outer, sections)
    blocks: list[list[_Step]] = []
    beside: list[_Step] = []
    for step in steps:
        if _is_alone(context, step, steps, blocks):
            beside.append(step)
        elif not blocks or _begins(context, step, steps, blocks[-1]):
            blocks.append([step])
        else:
            blocks[-1].append(step)
    inside = (_inside(context, block) for block in _from_preludes(blocks))
    numbers = {step.place: layer for layer, block in enumerate(inside) for step in block}
    return [numbers.get(step.place) for step in steps]


def _steps(outer: Sequence[Residual], sections: Sequence[str]) -> list[_Step]:
    streams: dict[int, int] = {}
    for place, residual in enumerate(outer):
        streams[id(residual)] = place if residual.parent is None else streams.get(id(residual.parent), place)
    return [
        _Step(place, residual, section, streams[id(residual)])
        for place, (residual, section) in enumerate(zip(outer, sections, strict=True))
    ]


def _begins(context: Context, step: _Step, steps: Sequence[_Step], block: list[_Step]) -> bool:
    """Whether a block begins with this residual, and does not go on."""
    residual, fed = step.residual, any(other.section in _FEEDING for other in block)
    if step.section == "cross_attention":
        return fed or (residual.parent is None and not _side_by_side(step, steps, block))
    if step.section not in _MIXING:
        own = residual.parent is None and step.section != "block"
        return own and not (_depends(context, residual, block) and not _mixed_since(context, residual, block))
    if any(residual.skip == other.residual.skip for other in block):
        return False  # the sum before was no stream: it goes into this sublayer, and the stream goes on beside it
    if fed:
        return True
    return not (
        _side_by_side(step, steps, block)
        or _convolves(context, step, block)
        or (all(other.section in ("cross_attention", "block") for other in block) and _follows(step, block))
    )


def _depends(context: Context, residual: Residual, block: Sequence[_Step]) -> bool:
    """Whether the branch is made of a sum of the block."""
    flow, goals = context.flow, {other.residual.result for other in block}
    stack, seen = [residual.branch], {residual.branch}
    while stack:
        maker = flow.maker(stack.pop())
        for value in () if maker is None else flow.act_inputs(maker):
            if value in goals:
                return True
            if value > min(goals) and value not in seen:
                seen.add(value)
                stack.append(value)
    return False


def _mixed_since(context: Context, residual: Residual, block: Sequence[_Step]) -> bool:
    """Whether tokens meet between the block and the residual in an attention whose sum is no residual add.

    So they may where no attention is known at all.
    """
    if not context.attentions:
        return True
    inside = {index for other in block for index in other.residual.region}
    return any(
        block[-1].residual.op < attention.anchor < residual.op and attention.anchor not in inside
        for attention in context.attentions
    )


def _side_by_side(step: _Step, steps: Sequence[_Step], block: Sequence[_Step]) -> bool:
    """Whether two streams take turns, and this one has its turn in a block that the other has begun."""
    others = {other.stream for other in block}
    later = [other.stream for other in steps[step.place + 1 :]]
    turn = next((place for place, stream in enumerate(later) if stream in others), None)
    return step.stream not in others and turn is not None and step.stream in later[turn:]


def _convolves(context: Context, step: _Step, block: Sequence[_Step]) -> bool:
    """Whether it is a convolution right behind the attention of the block (Conformer), and no recurrence."""
    roles = {context.parts[index].role for index in step.residual.region}
    return (
        step.section == "ssm"
        and block[-1].section == "attention"
        and block[-1].residual is step.residual.parent
        and not roles & _RECURRENT
    )


def _follows(step: _Step, block: Sequence[_Step]) -> bool:
    return any(step.residual.parent is other.residual for other in block)


def _is_alone(context: Context, step: _Step, steps: Sequence[_Step], blocks: Sequence[list[_Step]]) -> bool:
    """Whether it feeds what a block gave forward once, behind the blocks (what refines an output)."""
    if not blocks or step.section not in _FEEDING or step.residual.parent is not None:
        return False
    if any(other.residual.parent is step.residual for other in steps):
        return False
    block = blocks[-1]
    return _depends(context, step.residual, block) and not _mixed_since(context, step.residual, block)


def _from_preludes(blocks: list[list[_Step]]) -> list[list[_Step]]:
    """The blocks with what stands before their mixing, where the first one begins so and each later one could.

    Of the last one nothing is left over then: where all blocks end alike, they begin with their mixing.
    """
    first = [step.section for step in blocks[0]] if blocks else []
    middle, last = blocks[1:-1], blocks[-1] if blocks else []
    if not middle or _MIXING & set(first) or not all(block[0].section in _MIXING for block in blocks[1:]):
        return blocks
    rest = {tuple(step.section for step in block[: -len(first)]) for block in middle}
    ends = all([step.section for step in block[-len(first) :]] == first for block in middle)
    if not ends or tuple(step.section for step in last) not in rest:
        return blocks
    heads = [blocks[0], *(block[-len(first) :] for block in middle)]
    bodies = [*(block[: -len(first)] for block in middle), last]
    return [[*head, *body] for head, body in zip(heads, bodies, strict=True)]


def _inside(context: Context, block: Sequence[_Step]) -> list[_Step]:
    """The adds of a block, without those that work on nothing and bring back what is none of the block's."""
    weighted = context.flow.weighted
    found = []
    for step in block:
        own = {value for other in block if other is not step for value in (other.residual.result, other.residual.skip)}
        works = step.section != "block" or any(weighted[index] for index in step.residual.region)
        if works or step.residual.skip in own:
            found.append(step)
    return found


def opening(context: Context, residual: Residual) -> list[int]:
    """The sublayer that makes the value a stream begins with, where it is added to nothing: an attention among it."""
    if residual.parent is not None:
        return []
    flow, parts = context.flow, context.parts
    ops, stack = set[int](), [residual.skip]
    while stack:
        op = flow.maker(stack.pop())
        if op is None or op.id in ops or parts[op.id].section in ("embedding", "positions", "mask", "head"):
            continue
        ops.add(op.id)
        stack.extend(value for value in flow.act_inputs(op) if value not in context.trunk)
    opens = any(attention.anchor in ops for attention in context.attentions)
    return sorted(ops) if opens else []
