"""The signature of a contraction in axes: `b h s k, b h t k -> b h s t`, each letter by where the axis comes from."""

from __future__ import annotations

__all__ = ["Signature", "signature"]

from collections.abc import Iterable, Sequence
from math import prod
from typing import NamedTuple

from inspector.costs import flops
from inspector.costs.equations import Equation, equation
from inspector.records import Op
from inspector.stage_graph.tensors import Dim, Views


class Signature(NamedTuple):
    """Which axes a product has and what becomes of each. Letters are those of the tables; a constant that no part of
    the architecture names is its number; `1` is an axis that is stretched; `D'` is another axis of the same name.

    batch: walked in step by two factors. broadcast: a factor is used again for each of it. summed: gone in the result.
    added: terms of what is added to the product. chosen: each row visits one of it.
    product: the letters whose sizes, times two, are the FLOPs; () where that is not their number (several products).
    """

    inputs: tuple[tuple[str, ...], ...]
    output: tuple[str, ...]
    batch: tuple[str, ...]
    broadcast: tuple[str, ...]
    summed: tuple[str, ...]
    added: tuple[tuple[str, ...], ...] = ()
    chosen: tuple[str, ...] = ()
    product: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As einsum and einops write it, with what is added behind: `b s d, f d -> b s f, + f`."""
        left = ", ".join(map(_term, self.inputs))
        return f"{left} -> {_term(self.output)}" + "".join(f", + {_term(term)}" for term in self.added)

    @property
    def formula(self) -> str:
        """The FLOPs in letters: `2·B·H·S·T·K`; "" where one product of letters does not say it."""
        return "·".join(("2", *self.product)) if self.product else ""


def signature(views: Views, op: Op) -> Signature | None:
    """The signature of one op; None for what is no product of matrices."""
    values = views.trace.values
    found = equation(op, [values[value].shape for value in op.inputs])
    if found is None:
        return None
    dims = [views.view(value, "").dims for value in (*op.inputs, op.outputs[0])]
    sizes = _sizes(found, dims)
    names = _distinct(_names(found, dims))

    def term(letters: str, slot: int) -> tuple[str, ...]:
        return tuple(
            "1" if dim.size == 1 < sizes[letter] else names[letter]
            for letter, dim in zip(letters, dims[slot], strict=True)
        )

    def named(letters: str) -> tuple[str, ...]:
        return tuple(names[letter] for letter in letters)

    whole = dict.fromkeys(found.result + found.summed)
    one_product = (
        len(found.terms) == 2 and 2 * prod(sizes[axis] for axis in whole) == flops(op, views.trace).contraction
    )
    return Signature(
        inputs=tuple(term(letters, slot) for slot, letters in zip(found.slots, found.terms, strict=True)),
        output=named(found.result),
        batch=named(found.batch),
        broadcast=named(found.broadcast),
        summed=named(found.summed),
        added=tuple(term(letters, slot) for slot, letters in found.added),
        chosen=named(found.chosen),
        product=named("".join(whole)) if one_product else (),
    )


def _places(found: Equation, dims: Sequence[tuple[Dim, ...]]) -> Iterable[tuple[str, Dim]]:
    """Every axis of the factors and of the result, with its letter in the equation."""
    for slot, letters in (*zip(found.slots, found.terms, strict=True), (-1, found.result), *found.added):
        yield from zip(letters, dims[slot], strict=True)


def _sizes(found: Equation, dims: Sequence[tuple[Dim, ...]]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for letter, dim in _places(found, dims):
        sizes[letter] = max(sizes.get(letter, 0), dim.size)
    return sizes


def _names(found: Equation, dims: Sequence[tuple[Dim, ...]]) -> dict[str, list[str]]:
    """What each axis is called at the places where it stands; its size in symbols comes last."""
    names: dict[str, list[str]] = {}
    plain: dict[str, list[str]] = {}
    for letter, dim in _places(found, dims):
        names.setdefault(letter, []).extend([dim.axis] if dim.axis else [])
        plain.setdefault(letter, []).append(dim.text)
    for found_names in names.values():  # in one kernel both heads' widths meet, and are two axes, of one size or not
        found_names.extend(["Kv"] if "K" in found_names else [])
    return {letter: names[letter] + sorted(plain[letter], key=lambda text: text == "1")[:1] for letter in names}


def _distinct(names: dict[str, list[str]]) -> dict[str, str]:
    """Two axes of one name are told apart: by another name that one of them has, else a pooler takes D to D'."""
    taken: set[str] = set()
    found = {}
    for letter, said in names.items():
        name = next((name for name in said if name not in taken), said[0])
        while name in taken:
            name += "'"
        taken.add(name)
        found[letter] = name
    return found


def _term(axes: Sequence[str]) -> str:
    """`b s (h k)`, as einops writes axes and joined axes; `()` for a single number."""
    return " ".join(f"({' '.join(axis.split('·'))})" if "·" in axis else axis for axis in axes).lower() or "()"
