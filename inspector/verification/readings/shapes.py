"""Views that a stage begins with: the same elements in the shape that a reference function takes."""

from __future__ import annotations

__all__ = ["in_shape_of", "shaped"]

import math

from inspector.reference.layout import viewed
from inspector.verification.readings.look import Draft, Flowing, Inner, Leaf, Look, draft


def shaped(
    look: Look, value: int, shape: tuple[int, ...], place: int = 0
) -> tuple[list[Draft], Flowing | Leaf | Inner]:
    """`value` in a shape of as many elements: the calls for it, the first of them at `place`, and what they give."""
    if look.shape(value) == shape or math.prod(look.shape(value)) != math.prod(shape):
        return [], look.read(value)
    return [draft(viewed, x=look.read(value), shape=shape)], Inner(place)


def in_shape_of(look: Look, value: int, width: int) -> tuple[list[Draft], Flowing | Leaf | Inner]:
    """`value` with a last axis of `width`."""
    shape = look.shape(value)
    if shape[-1] == width or math.prod(shape) % width:
        return [], look.read(value)
    return shaped(look, value, (math.prod(shape) // width, width))
