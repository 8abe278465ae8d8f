"""Stages that only move elements: heads split and merged, fused projections cut, keys shared, caches extended."""

from __future__ import annotations

__all__ = ["cache_update", "merge_heads", "repeat_kv", "split_heads", "split_qkv", "split_up_gate"]

import itertools
import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from inspector.reference.cache import append, append_and_keep
from inspector.reference.heads import repeat_kv as repeated
from inspector.reference.layout import arrange, pieces, viewed
from inspector.reference.projections import split_gate_up
from inspector.reference.projections import split_qkv as fused_parts
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.look import Draft, Look, Reading, Said, draft
from inspector.verification.readings.moving import handed_on, moves
from inspector.verification.readings.shapes import shaped

_SPLIT = ("B S (H K) -> B H S K", "B S H K -> B H S K", "B S (H K) -> B H K S", "B S H K -> B H K S")
_MERGE = ("B H S K -> B S (H K)", "B S H K -> B S (H K)", "S B H K -> S B (H K)")
"""The heads side by side, each with its own columns (Vaswani et al. 2017, section 3.2.2)."""

_OTHER = (
    "S B (H K) -> B H S K",
    "S B (H K) -> S B H K",
    "B H S K -> S B (H K)",
    "B H S K -> B H K S",
    "B S D -> S B D",
    "S B D -> B S D",
    "S B H K -> B H S K",
    "B H S K -> B S H K",
)
_INVERTED = ("B S (K H) -> B H S K", "B H S K -> B S (K H)")


def split_heads(look: Look, stage: Stage) -> Reading:
    """The width cut into heads."""
    return _pattern(look, stage, (*_SPLIT, *_OTHER))


def merge_heads(look: Look, stage: Stage) -> Reading:
    """The heads side by side again."""
    return _pattern(look, stage, (*_MERGE, *_OTHER))


def _pattern(look: Look, stage: Stage, usual: Iterable[str]) -> Reading:
    acts = look.acts(stage)
    if len(acts) != 1:
        return "several activations enter"
    found = moves(look, stage, acts[0])
    if found is None:
        return "it does more than move elements"
    if all(tensor.numel() and handed_on(tensor) for tensor in found.values()):
        (shape, *_) = [look.shape(value) for value in found]
        return [draft(viewed, x=look.read(acts[0]), shape=shape)]
    for shape in _shapes(look, stage, acts[0]):
        coded = _coded(look, acts[0]).reshape(shape)
        before, x = shaped(look, acts[0], shape)
        for pattern, given in itertools.product((*usual, *_INVERTED), _sizes(look, stage, acts[0])):
            one = draft(arrange, x=x, pattern=Said(pattern, pattern not in _INVERTED), **given)
            if _gives(one, coded, found):
                return [*before, one]
    return _cut(look, stage, acts[0], found) or "it moves elements in a way that has no name here"


def _sizes(look: Look, stage: Stage, source: int) -> list[dict[str, int]]:
    """What may be the number of heads, and of the batch where the two are one axis."""
    seen = {size for value in (*stage.outputs, source) for size in look.shape(value)}
    claimed = look.facts.get("attention.heads")
    seen |= {claimed} if isinstance(claimed, int) else set()
    wide = [{"H": size} for size in sorted(seen) if size > 0]
    return [{}, *wide, *({"K": size} for size in sorted(seen))]


def _shapes(look: Look, stage: Stage, source: int) -> list[tuple[int, ...]]:
    """The shapes in which the stage looks at what enters, its own first."""
    shapes = [look.shape(source), *(look.shape(value) for op in look.graph.ops(stage) for value in op.inputs)]
    return [shape for shape in dict.fromkeys(shapes) if math.prod(shape) == math.prod(shapes[0])]


def _coded(look: Look, source: int) -> Tensor:
    return torch.arange(math.prod(look.shape(source))).reshape(look.shape(source))


def _gives(one: Draft, coded: Tensor, found: Mapping[int, Tensor], argument: str = "x") -> bool:
    """Whether the call moves every element as the stage does; in which shape they end up decides nothing."""
    try:
        numbers = {name: said.value for name, said in one.numbers.items()}
        made = one.function(**{next(iter(one.tensors), argument): coded}, **numbers)
    except (ValueError, RuntimeError, IndexError, TypeError):
        return False
    given = made if isinstance(made, tuple) else (made,)
    return all(any(_equal(part, tensor) for part in given) for tensor in found.values())


def _equal(one: Tensor, two: Tensor) -> bool:
    return one.numel() == two.numel() and torch.equal(one.reshape(-1), two.reshape(-1))


# parts


def split_qkv(look: Look, stage: Stage) -> Reading:
    """Queries, keys and values of one projection, in the layouts that have a name; else the parts as they are cut."""
    return _parts(look, stage, _fused(look))


def _fused(look: Look) -> Iterable[Callable[..., Draft]]:
    heads = look.facts.get("attention.heads")
    groups = look.facts.get("attention.kv_heads") or heads
    if not isinstance(heads, int) or not isinstance(groups, int):
        return
    for layout in ("stacked", "per_head", "grouped"):
        numbers = {"heads": heads, "groups": groups, "layout": Said(layout, claimed=False)}
        yield lambda x, numbers=numbers: draft(fused_parts, x_BSD=x, **numbers)


def split_up_gate(look: Look, stage: Stage) -> Reading:
    """Gate and up of one projection."""
    options = [
        lambda x, layout=layout: draft(split_gate_up, x=x, layout=Said(layout, claimed=False))
        for layout in ("halves", "interleaved")
    ]
    return _parts(look, stage, options)


def _parts(look: Look, stage: Stage, options: Iterable[Callable[..., Draft]]) -> Reading:
    acts = look.acts(stage)
    if len(acts) != 1:
        return "several activations enter"
    found = moves(look, stage, acts[0])
    if found is None:
        return "it does more than move elements"
    coded = _coded(look, acts[0])
    for option in options:
        one = option(look.read(acts[0]))
        if _gives(one, coded, found):
            return [one]
    cut = _cut(look, stage, acts[0], found)
    return cut or _pattern(look, stage, _SPLIT)


def _cut(look: Look, stage: Stage, source: int, found: Mapping[int, Tensor]) -> list[Draft] | None:
    """Each output a stretch of one axis, of the source as it is or in the shape in which the stage cuts it."""
    for shape in _shapes(look, stage, source):
        for axis in range(-1, -len(shape) - 1, -1):
            bounds = [_bounds(_coded(look, source).reshape(shape), axis, tensor) for tensor in found.values()]
            if None not in bounds:
                said = Said(tuple(bounds), claimed=False)
                seen = shape if shape != look.shape(source) else None
                return [draft(pieces, x=look.read(source), bounds=said, axis=axis, shape=seen)]
    return None


def _bounds(coded: Tensor, axis: int, part: Tensor) -> tuple[int, int, int] | None:
    """(from, up to, step) of the stretch of an axis that gives these places in this order."""
    width = coded.shape[axis]
    rest = coded.numel() // width
    if not part.numel():
        return (width, width, 1)  # a part of no width: some configs leave one of two kinds of columns out
    if part.numel() % rest:
        return None
    count = part.numel() // rest
    along = coded.movedim(axis, 0)
    starts = (along.reshape(width, -1) == part.reshape(-1)[0]).any(-1).nonzero()
    for step in (1, 2, width // count):
        start = int(starts[0]) if starts.numel() else 0
        taken = along[start : start + (count - 1) * step + 1 : step].movedim(0, axis)
        if taken.shape[axis] == count and _equal(taken, part):
            return (start, start + (count - 1) * step + 1, step)
    return None


# keys and values


def repeat_kv(look: Look, stage: Stage) -> Reading:
    """Neighbouring query heads share a head of keys and values."""
    acts = look.acts(stage)
    if len(acts) != 1 or not stage.outputs or not look.shape(acts[0]):
        return "several activations enter"
    size, grown = look.flow.size(acts[0]), look.flow.size(stage.outputs[0])
    shape = look.shape(acts[0])
    if len(shape) < 3 or not size:
        return "keys of two axes"
    if grown == size:
        return _pattern(look, stage, _SPLIT)
    maker = look.flow.maker(acts[0])
    if maker is not None and maker.name in ("chunk", "split") and maker.attribute("dim", 0) in (1, 1 - len(shape)):
        return "heads that were cut in two are shared in a way of their own"
    if _chosen(look, stage):
        return "keys are shared by heads that are chosen for each token"
    heads = look.said("attention.heads", shape[1] * (grown // size))
    if heads.value != shape[1] * (grown // size):
        heads = Said(shape[1] * (grown // size), claimed=False)
    return [draft(repeated, x_BGTK=look.read(acts[0]), heads=heads)]


def _chosen(look: Look, stage: Stage) -> bool:
    """Whether heads are experts: what attention gives is sorted by a choice that depends on the token."""
    merged = look.beside(stage, f"{stage.section}.merge_heads", f"{stage.section}.o_proj")
    picks = (op for other in merged for op in look.live(other) if op.name == "getitem" and len(op.inputs) > 1)
    return any(look.flow.on_act(op.inputs[1]) for op in picks)


def cache_update(look: Look, stage: Stage) -> Reading:
    """The new keys or values behind the old ones; a window keeps the last of them for the next step."""
    acts = look.acts(stage)
    if not acts or any(op.name in ("index_copy", "setitem", "scatter") for op in look.live(stage)):
        return "a cache that is written in place"
    past = [value for value in stage.inputs if value not in acts[:1] and len(look.shape(value)) == 4]
    past = [value for value in past if 0 not in look.shape(value)]
    new = max(acts, key=lambda value: look.values[value].producer is not None)
    old = next((value for value in (*past, *acts) if value != new), None)
    kept = [value for value in stage.outputs if len(look.shape(value)) != 4 or 0 in look.shape(value)]
    whole = look.shape(new)
    if len(whole) != 4 or kept or any(look.shape(value)[1::2] != whole[1::2] for value in stage.outputs):
        return "what it keeps has other axes"
    grown = whole[2] + (0 if old is None else look.shape(old)[2])
    if all(look.shape(value)[2] != grown for value in stage.outputs):
        return "it keeps no more than the last tokens"
    tensors = {"new_BGSK": look.read(new), "past_BGPK": None if old is None else look.read(old)}
    lengths = sorted({look.shape(value)[2] for value in stage.outputs if len(look.shape(value)) == 4})
    if len(lengths) < 2:
        return [draft(append, **tensors)]
    return [draft(append_and_keep, **tensors, keeps=_kept(look, lengths[0]))]


def _kept(look: Look, executed: int) -> Said:
    """A window of so many tokens, itself among them, needs one less of those before."""
    window = look.facts.get("attention.window")
    return Said(window - 1, claimed=True) if isinstance(window, int) else Said(executed, claimed=False)
