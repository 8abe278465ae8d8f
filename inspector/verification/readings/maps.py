"""Projections: an activation times a weight, with the weight stored either way round."""

from __future__ import annotations

__all__ = ["projection"]

import math
import re
from typing import NamedTuple

import torch

from inspector.records import Op
from inspector.reference.feedforward import add
from inspector.reference.layout import arrange, pieces, viewed
from inspector.reference.projections import linear, linear_heads, product_of
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.composed import turned
from inspector.verification.readings.look import Draft, Flowing, Inner, Leaf, Look, Reading, Said, draft
from inspector.verification.readings.moving import between, handed_on, places
from inspector.verification.readings.shapes import shaped

Tensorlike = Flowing | Leaf | Inner


class _Map(NamedTuple):
    """x: what flows in, of `width`. root: the weight at the stage's border. used: the weight as the product reads it.

    bias: added by the product itself. later: added by an op of its own, which rounds once more.
    """

    op: Op
    x: Tensorlike
    width: int
    root: int
    used: int
    bias: Flowing | Leaf | None
    later: Flowing | Leaf | None


def projection(look: Look, stage: Stage) -> Reading:
    """Wx + b on the last axis of what enters."""
    products = [op for op in look.graph.ops(stage) if look.flow.weighted[op.id]]
    if len(products) != 1:
        return "several projections in one" if products else "no projection is in it"
    if len(look.told(stage)) > 1:
        return "a projection that gives more than one value"
    entering, weight = _factors(look, products[0])
    border = look.border(stage, entering)
    source = border if border is not None else next((value for value in stage.inputs if look.flow.on_act(value)), None)
    if source is None:
        return "it reads no activation"
    before = [] if border is not None else _before(look, stage, source, entering)
    if before is None:
        return "what it does before the product is not known"
    root = look.border_of_weight(stage, weight)
    biases = _biases(look, stage, products[0])
    if root is None or isinstance(biases, str):
        return biases if isinstance(biases, str) else "its weight is prepared in a way that is not known"
    axes = slice(None) if products[0].name == "conv1d" else slice(-1, None)  # of a projection the last alone matters
    if not before and look.shape(source)[axes] != look.shape(entering)[axes]:
        before, x = shaped(look, source, look.shape(entering))
    else:
        x = Inner(0) if before else look.read(source)
    found = _mapped(look, _Map(products[0], x, look.shape(entering)[-1], root, weight, *biases), len(before))
    return found if isinstance(found, str) else _given(look, stage, [*before, *found])


def _given(look: Look, stage: Stage, drafts: list[Draft]) -> Reading:
    """The calls, and where the result leaves with its axes in other places (sequence before batch) those for that."""
    told = look.told(stage) or list(stage.outputs[:1])
    made = look.live(stage)[-1].outputs[0]
    if told == [made]:
        return drafts
    found = between(look, stage.ops, made, told[0])
    return drafts if found is not None and handed_on(found) else turned(look, stage, made, drafts)


def _factors(look: Look, product: Op) -> tuple[int, int]:
    """(what flows in, the weight as the product reads it)."""
    factors = look.flow.factors(product)
    weight = next(value for value in factors if look.flow.weight(value) is not None)
    return next(value for value in factors if value != weight), weight


def _before(look: Look, stage: Stage, source: int, entering: int) -> list[Draft] | None:
    """What happens to an input before the product: nothing, or some places of the sequence are taken."""
    if entering == source:
        return []
    found = places(look, stage, source, entering)
    if found is None:
        return None
    if handed_on(found):
        return []
    shape = look.shape(source)
    if len(shape) != 3:
        return None
    every = torch.arange(math.prod(shape)).reshape(shape)
    for start in range(shape[1]):
        part = every[:, start : start + max(found.numel() // (shape[0] * shape[2]), 1)]
        if torch.equal(part.reshape(-1), found.reshape(-1)):
            bounds = Said(((start, start + part.shape[1], 1),), claimed=True)
            return [draft(pieces, x=look.read(source), bounds=bounds, axis=1)]
    return None


def _mapped(look: Look, one: _Map, place: int) -> Reading:
    """The product, whose calls begin at `place`."""
    shape, matrix = look.shape(one.root), look.read(one.root)
    if one.op.name == "einsum" and len(shape) == 3 and one.later is None:
        if _axes(one.op) != "into heads":
            return "a product with a weight of three axes that is none of the known ones"
        return [draft(linear_heads, x=one.x, weight=matrix, bias=one.bias)]
    if len(shape) == 2 and len(look.shape(one.used)) != 2:
        return "a weight of several matrices"
    if len(shape) != 2:
        fits = one.op.name == "conv1d" and math.prod(shape[2:]) == 1 and one.op.attribute("groups", 1) == 1
        return _pointwise(one, matrix, (shape[0], shape[1]), place) if fits else f"a weight of {len(shape)} axes"
    layout = _layout(look, one)
    if one.later is None:
        return [draft(linear, x=one.x, weight=matrix, bias=one.bias, layout=layout)]
    function = product_of if one.bias is None else linear
    product = draft(function, x=one.x, weight=matrix, bias=one.bias, layout=layout)
    return [product, draft(add, residual=Inner(place), x=one.later)]


def _axes(op: Op) -> str | None:
    """What an einsum with a weight of three axes sums over: the first of them, and the heads are made of the rest."""
    args = op.attribute("args")
    equation = args[0] if isinstance(args, tuple) and args else None
    if not isinstance(equation, str) or not _EINSUM.fullmatch(equation.replace(" ", "")):
        return None
    x, weight, y = re.split(",|->", equation.replace(" ", ""))
    return "into heads" if y == x[:-1] + weight[1:] and x[-1] == weight[0] else None


_EINSUM = re.compile(r"[a-zA-Z.]+,[a-zA-Z]{3}->[a-zA-Z.]+")


def _pointwise(one: _Map, matrix: Tensorlike, flat: tuple[int, int], place: int) -> Reading:
    """A convolution of width one is a projection of the channels, which stand at axis 1."""
    return [
        draft(arrange, x=one.x, pattern="B D S -> B S D"),
        draft(viewed, x=matrix, shape=flat),
        draft(linear, x=Inner(place), weight=Inner(place + 1), bias=one.bias, layout="out_in"),
        draft(arrange, x=Inner(place + 2), pattern="B S D -> B D S"),
    ]


def _biases(look: Look, stage: Stage, product: Op) -> tuple[Flowing | Leaf | None, Flowing | Leaf | None] | str:
    """(what the product adds, what an op of its own adds)."""
    flow, named = look.flow, dict(product.operands)
    factors = set(flow.factors(product))
    own = [value for value in named.values() if value not in factors and flow.weight(value) is not None]
    later: list[int] = []
    for op in look.live(stage):
        if op.id == product.id or (flow.kind[op.id] == "select" and op.id < product.id):
            continue
        added = [value for value in op.inputs if flow.weight(value) is not None]
        if op.name not in ("add", "add_") or len(added) != 1 or later:
            return f"a projection with {op.name}"
        later = added
    roots = [None if not found else look.border_of_weight(stage, found[0]) for found in (own, later)]
    if any(found and root is None for found, root in zip((own, later), roots, strict=True)):
        return "its bias is prepared in a way that is not known"
    first, second = (None if root is None else look.read(root) for root in roots)
    return first, second


def _layout(look: Look, one: _Map) -> Said:
    """Which axis of the weight is read along: said by the shape where it is not square, else by the model's others."""
    out, into = look.shape(one.root)
    if out != into:
        return Said("out_in" if into == one.width else "in_out", claimed=True)
    executed = "out_in" if (one.op.name == "linear") != _is_turned(look, one.used, one.root) else "in_out"
    return look.usual(executed, look.orientation)


def _is_turned(look: Look, weight: int, root: int) -> bool:
    """Whether an odd number of transpositions lies between a weight and its use."""
    turns, value = 0, weight
    while value != root and (op := look.flow.maker(value)) is not None:
        turns += op.name in ("t", "mT", "transpose", "adjoint", "permute")
        value = op.inputs[0]
    return turns % 2 == 1
