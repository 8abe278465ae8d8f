"""Names every op of a trace: the rules in their order."""

from __future__ import annotations

__all__ = ["Naming", "infer"]

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from inspector.records import Trace
from inspector.roles.attention import find_attentions, name_attention
from inspector.roles.blocks import AFFINE, name_bottlenecks, name_first_norms, name_regions, number_layers
from inspector.roles.context import Attention, Context
from inspector.roles.control import name_control
from inspector.roles.cross import name_cross_attentions
from inspector.roles.embeddings import name_stem
from inspector.roles.flow import Flow
from inspector.roles.head import ends_stream, name_head, name_last_norm, name_side_heads
from inspector.roles.layers import opening
from inspector.roles.leftovers import name_idle, name_leftovers
from inspector.roles.norms import Norm, find_norms
from inspector.roles.parts import Parts
from inspector.roles.rope import Rope, find_ropes
from inspector.roles.sides import name_sides
from inspector.roles.streams import name_alternating, name_copies, name_ends, name_streams
from inspector.roles.trunk import Residual, find_residuals, rows_of


class Naming(NamedTuple):
    """What the rules found: the part of every op, and the idioms and the stream that the parts rest on."""

    parts: Parts
    flow: Flow
    norms: tuple[Norm, ...]
    ropes: tuple[Rope, ...]
    attentions: tuple[Attention, ...]
    residuals: tuple[Residual, ...]
    trunk: frozenset[int]


def infer(trace: Trace) -> Naming:
    """The part of every op. Reads dataflow, shapes and numbers; no name of a model, class or attribute decides."""
    flow = Flow(trace)
    context = Context(flow, Parts(len(trace.ops)))
    for rule in RULES:
        rule(context)
    return Naming(
        context.parts,
        flow,
        tuple(context.norms),
        tuple(context.ropes),
        tuple(context.attentions),
        tuple(context.residuals),
        frozenset(context.trunk),
    )


def _idioms(context: Context) -> None:
    """Norms and rotations: single things that later walks step over."""
    context.norms = find_norms(context.flow)
    context.ropes = find_ropes(context.flow)
    context.norm_of = {op: norm for norm in context.norms for op in norm.ops}
    context.norm_into = {norm.result: norm for norm in context.norms}
    context.rope_of = {op: rope for rope in context.ropes for op in rope.ops}


def _trunk(context: Context) -> None:
    """The residual stream. A norm belongs to it when the stream goes on from the norm's result."""
    sources = {norm.result: norm.source for norm in context.norms}
    context.residuals = find_residuals(context.flow, sources)
    outer = [residual for residual in context.residuals if not residual.nested]
    context.trunk = {residual.result for residual in outer}
    skips = {residual.skip for residual in outer}
    made = {norm.result for norm in context.norms}
    flow = context.flow
    skips |= {
        value for skip in skips for value in (*flow.stripping(skip), rows_of(flow, skip)) if value in made
    }  # masked after the norm, or cut to some tokens
    context.trunk |= skips
    after: dict[int, int] = {}  # sum -> the norm of it, that which the stream goes on from first
    for norm in sorted(context.norms, key=lambda norm: norm.result in skips):
        after[flow.through(norm.source, ("plumb", "view"))] = norm.result
    for stream in _streams(outer):
        post = [residual for residual in stream if after.get(residual.result) in skips]
        last = after.get(stream[0].result)
        if last is not None and len(post) * 2 >= len(stream):  # no block comes after it to show that it is the stream
            context.trunk.add(last)
        ends = (after.get(residual.result) for residual in stream)
        starts = [end if end in context.trunk else residual.result for residual, end in zip(stream, ends, strict=True)]
        context.trunk |= _scaled_as_before(context, *starts)


def _scaled_as_before(context: Context, last: int, *earlier: int) -> set[int]:
    """What the last sum of a stream becomes, scaled and shifted as one before it was."""
    flow = context.flow
    known = {names for start in earlier for names, value in _scaled(flow, start) if value in context.trunk}
    return {value for names, value in _scaled(flow, last) if names in known}


def _scaled(flow: Flow, value: int) -> Iterator[tuple[tuple[str, ...], int]]:
    """(names of the ops, value) for each scaling and shift behind a value, or for what keeps it within bounds."""
    bounded = flow.bounding(value)
    if bounded is not None:
        yield (bounded.name,), bounded.outputs[0]
        return
    names: tuple[str, ...] = ()
    while (op := flow.only_consumer(value)) is not None and op.name in AFFINE and len(flow.act_inputs(op)) == 1:
        value, names = op.outputs[0], (*names, op.name)
        yield names, value


def _streams(outer: Sequence[Residual]) -> Iterator[list[Residual]]:
    """The adds of each stream, from its last one back."""
    parents = {id(residual.parent) for residual in outer}
    for end in outer:
        if id(end) in parents:
            continue
        stream = [end]
        while stream[-1].parent is not None:
            stream.append(stream[-1].parent)
        yield stream


def _attentions(context: Context) -> None:
    context.attentions = find_attentions(context)
    for attention in context.attentions:
        name_attention(context, attention)
    name_sides(context)
    name_cross_attentions(context)


def _name_side_stems(context: Context, outer: list[Residual]) -> None:
    """What is made of the tokens before the first block and read inside blocks: embeddings for each layer."""
    flow, parts = context.flow, context.parts
    inside = {index for residual in outer for index in residual.region}
    read = {value for index in inside for value in flow.act_inputs(flow.ops[index])} - context.trunk
    for value in sorted(read):
        maker = flow.maker(value)
        if maker is not None and maker.id < outer[0].op and maker.id not in inside and not parts.taken(maker.id):
            name_stem(context, value)


def _read_by(context: Context, ops: Sequence[int]) -> list[int]:
    """What the projections of an attention read, before its norm, where that is no stream yet: the embeddings."""
    flow = context.flow
    sources = {
        flow.unit(flow.ops[index])[1]
        for index in ops
        if flow.weighted[index] and context.parts[index].section == "attention"
    }
    entering = {context.norm_into[value].source if value in context.norm_into else value for value in sources}
    made_inside = {value for index in ops if context.parts.taken(index) for value in flow.ops[index].outputs}
    return sorted(entering - context.trunk - made_inside)


def _stem_and_head(context: Context) -> None:
    outer = [residual for residual in context.residuals if not residual.nested]
    for residual in outer:
        norm = context.norm_into.get(residual.skip)
        if residual.parent is None and (norm is None or norm.source not in context.trunk):
            name_stem(context, residual.skip)
            for value in _read_by(context, opening(context, residual)):
                name_stem(context, value)
    if outer:
        _name_side_stems(context, outer)
    parents = {id(residual.parent) for residual in outer}
    opened = {op for residual in outer for op in opening(context, residual)}
    for residual in outer[:-1]:
        if id(residual) not in parents:  # the end of another stream: an encoder's last norm
            name_last_norm(context, residual.result, opened)
    for residual in reversed(outer):
        if residual is outer[-1] or (id(residual) not in parents and ends_stream(context, residual.result)):
            name_head(context, residual.result)
    name_side_heads(context)


RULES: tuple[Callable[[Context], None], ...] = (
    _idioms,
    _trunk,
    name_streams,
    name_alternating,
    name_ends,
    _attentions,
    name_bottlenecks,
    name_regions,
    _stem_and_head,
    name_copies,
    name_first_norms,
    name_control,
    name_leftovers,
    name_control,  # for what feeds the leftovers
    name_idle,
    number_layers,
)
"""Order matters: idioms first, what has an anchor next, and the rest by its neighbours."""
