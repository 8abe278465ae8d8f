"""Mistakes in embeddings and positions: which row is looked up, what is added, and how far a pair is turned.

Shapes: B batch, S new tokens, H heads, K head width, R elements that are turned, D width.
"""

from __future__ import annotations

__all__ = ["POSITIONS"]

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from inspector.reference.rope import rotate as _rotate
from inspector.verification.mutants.ground import Target
from inspector.verification.mutants.mutant import Mutant
from inspector.verification.mutants.seen import seen_in

_IDS = ("positions.position_ids",)
_ROTATE = ("rope.rotate",)


# what is looked up


_LOOKUPS = (
    Mutant(
        "token-of-the-next-row",
        ("embeddings.token",),
        "each token reads the row after its own",
        "https://github.com/huggingface/transformers/issues/2506",
        lambda ids_BS, table_VD: functional.embedding((ids_BS + 1) % table_VD.shape[0], table_VD),
    ),
    Mutant(
        "tokens-shifted",
        ("embeddings.token",),
        "each place reads the token before it",
        "https://github.com/huggingface/transformers/issues/2506",
        lambda ids_BS, table_VD: functional.embedding(ids_BS.roll(1, 1), table_VD) if ids_BS.shape[1] > 1 else None,
    ),
    Mutant(
        "position-row-off-by-two",
        ("embeddings.position",),
        "the table is read two rows further on",
        seen_in(34),
        lambda position_ids_BS, table_PD, offset: functional.embedding(position_ids_BS + offset + 2, table_PD),
    ),
    Mutant(
        "position-row-of-zero",
        ("embeddings.position",),
        "every place reads the first row",
        seen_in(34),
        lambda position_ids_BS, table_PD, offset: functional.embedding(position_ids_BS * 0, table_PD),
        told_at=("positions.ids",),
        equivalent=lambda target: _all_zero(target, "position_ids_BS"),
    ),
    Mutant(
        "segment-row-of-zero",
        ("embeddings.segment",),
        "every token reads the row of segment 0",
        seen_in(35),
        lambda token_type_ids_BS, table_ND: functional.embedding(token_type_ids_BS * 0, table_ND),
        equivalent=lambda target: _all_zero(target, "token_type_ids_BS"),
    ),
    Mutant(
        "segment-row-of-one",
        ("embeddings.first_segment",),
        "every token reads the row of segment 1",
        seen_in(35),
        lambda position_ids_BS, table_ND, batch: (
            table_ND[1].expand(batch, position_ids_BS.shape[-1], -1) if len(table_ND) > 1 else None
        ),
    ),
    Mutant(
        "embedding-without-segment",
        ("embeddings.add_embeddings",),
        "the segments are looked up and not added",
        seen_in(35),
        lambda token_BSD, segment_BSD=None, position_BSD=None: (
            None if segment_BSD is None or position_BSD is None else token_BSD + position_BSD
        ),
        told_at=("embedding.segment",),
    ),
    Mutant(
        "embedding-without-position",
        ("embeddings.add_embeddings",),
        "the positions are looked up and not added",
        seen_in(34),
        lambda token_BSD, segment_BSD=None, position_BSD=None: (
            None if position_BSD is None else token_BSD * 1.0 if segment_BSD is None else token_BSD + segment_BSD
        ),
        told_at=("positions.ids", "embedding.position"),
    ),
    Mutant(
        "embedding-scaled",
        ("embeddings.add_embeddings", "embeddings.token"),
        "the embeddings are multiplied by the root of the width",
        seen_in(5, 42),
        lambda ids_BS=None, table_VD=None, token_BSD=None, segment_BSD=None, position_BSD=None: _scaled(
            [functional.embedding(ids_BS, table_VD)] if token_BSD is None else [token_BSD, segment_BSD, position_BSD]
        ),
    ),
    Mutant(
        "embedding-not-scaled",
        ("embeddings.scale_embedding",),
        "the embeddings are not multiplied by the root of the width",
        seen_in(5, 42),
        lambda x_BSD, factor: x_BSD if factor != 1.0 else None,
    ),
)


def _scaled(parts: list[Tensor | None]) -> Tensor:
    total = sum(part for part in parts if part is not None)
    assert isinstance(total, Tensor)
    return total * float(total.shape[-1] ** 0.5)


def _all_zero(target: Target, argument: str) -> str:
    source = dict(target.step.sources)[argument]
    known, inputs = target.ground.claimed.known, target.ground.claimed.inputs
    ids = inputs.get(str(source.ref)) if source.kind == "input" else known.get((int(source.ref), source.output))
    return "all of them are zero as it is" if ids is not None and not bool(ids.any()) else ""


# numbers of places


def _counted(length: int, past: int, shift: int = 0) -> Tensor:
    return torch.arange(past + shift, past + shift + length).unsqueeze(0)


_NUMBERS = (
    Mutant(
        "positions-off-by-one",
        _IDS,
        "places are counted from 1",
        seen_in(34),
        lambda length, past, **_: _counted(length, past, 1),
    ),
    Mutant(
        "positions-start-again",
        _IDS,
        "places are counted from 0 though there is a past",
        seen_in(16, 34),
        lambda length, past, **_: _counted(length, 0) if past else None,
    ),
    Mutant(
        "positions-backwards",
        _IDS,
        "the last token stands first",
        seen_in(34),
        lambda length, past, **_: _counted(length, past).flip(1) if length > 1 else None,
    ),
)


# rotations


def _partner(x: Tensor, layout: str) -> Tensor:
    if layout == "half":
        return torch.cat((-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]), -1)
    return torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)


def _as_if(x_BHSK: Tensor, cos_B1SR: Tensor, sin_B1SR: Tensor, layout: str = "half", **part: Any) -> Tensor:
    """The right formula, as a model writes it. part: which elements of a head are turned, where it is not all."""
    if not _is_whole(x_BHSK, part):
        return _rotate(x_BHSK, cos_B1SR, sin_B1SR, layout, **part)  # type: ignore[arg-type]
    cos, sin = (_for_each(table, layout, x_BHSK.shape[-1]) for table in (cos_B1SR, sin_B1SR))
    return x_BHSK * cos + _partner(x_BHSK, layout) * sin


def _for_each(table: Tensor, layout: str, width: int) -> Tensor:
    """A table with an entry for each element of a head, where it has one for each pair."""
    if table.shape[-1] == width:
        return table
    return torch.cat((table, table), -1) if layout == "half" else table.repeat_interleave(2, -1)


def _is_whole(x: Tensor, part: Mapping[str, Any]) -> bool:
    return part.get("dims") in (None, x.shape[-1]) and not part.get("start") and part.get("into") is None


def _pairs_otherwise(x_BHSK: Tensor, cos_B1SR: Tensor, sin_B1SR: Tensor, layout: str, **part: Any) -> Tensor:
    other = "interleaved" if layout == "half" else "half"
    return _as_if(x_BHSK, cos_B1SR, sin_B1SR, other, **part)


def _backwards(x_BHSK: Tensor, cos_B1SR: Tensor, sin_B1SR: Tensor, layout: str, **part: Any) -> Tensor:
    return _as_if(x_BHSK, cos_B1SR, -sin_B1SR, layout, **part)


def _unsigned(x_BHSK: Tensor, cos_B1SR: Tensor, sin_B1SR: Tensor, layout: str, **part: Any) -> Tensor | None:
    if layout != "half" or not _is_whole(x_BHSK, part):
        return None
    half = x_BHSK.shape[-1] // 2
    cos, sin = (_for_each(table, layout, 2 * half) for table in (cos_B1SR, sin_B1SR))
    return x_BHSK * cos + torch.cat((x_BHSK[..., half:], x_BHSK[..., :half]), -1) * sin


def _half_turned(x_BHSK: Tensor, cos_B1SR: Tensor, sin_B1SR: Tensor, layout: str, **part: Any) -> Tensor:
    x, cos, sin = (tensor.to(torch.bfloat16) for tensor in (x_BHSK, cos_B1SR, sin_B1SR))
    return _as_if(x, cos, sin, layout, **part).to(x_BHSK.dtype)


def _first_half_alone(x_BHSK: Tensor, cos_B1SR: Tensor, sin_B1SR: Tensor, layout: str, **part: Any) -> Tensor | None:
    y, width = _as_if(x_BHSK, cos_B1SR, sin_B1SR, layout, **part), x_BHSK.shape[-1] // 2
    if (part.get("dims") or x_BHSK.shape[-1]) <= width:
        return None  # no more is turned anyhow
    return torch.cat((y[..., :width], x_BHSK[..., width:]), -1)


def _turned_twice(x_BHSK: Tensor, cos_B1SR: Tensor, sin_B1SR: Tensor, layout: str, **part: Any) -> Tensor:
    return _as_if(_as_if(x_BHSK, cos_B1SR, sin_B1SR, layout, **part), cos_B1SR, sin_B1SR, layout, **part)


_ROTATIONS = (
    Mutant(
        "rope-pairs-otherwise",
        _ROTATE,
        "neighbours are turned where halves are, or halves",
        seen_in(1, 3),
        _pairs_otherwise,
    ),
    Mutant("rope-backwards", _ROTATE, "pairs are turned the other way", seen_in(3), _backwards),
    Mutant("rope-sign-missing", _ROTATE, "the halves are swapped and neither is negated", seen_in(3), _unsigned),
    Mutant(
        "rope-in-half-precision", _ROTATE, "the rotation is computed in bfloat16", seen_in(4), _half_turned, halves=True
    ),
    Mutant(
        "rope-first-half-alone", _ROTATE, "the second half of each head stays as it was", seen_in(10), _first_half_alone
    ),
    Mutant("rope-twice", _ROTATE, "what is turned is turned again", seen_in(16), _turned_twice),
    Mutant(
        "rope-queries-not-turned",
        _ROTATE,
        "the queries are not turned",
        seen_in(16),
        lambda x_BHSK, **_: x_BHSK,
        roles=("attention.rope.q",),
    ),
    Mutant(
        "rope-keys-not-turned",
        _ROTATE,
        "the keys are not turned",
        seen_in(16),
        lambda x_BHSK, **_: x_BHSK,
        roles=("attention.rope.k",),
    ),
)

POSITIONS = (*_LOOKUPS, *_NUMBERS, *_ROTATIONS)
