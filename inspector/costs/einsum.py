"""The cost of an einsum, read from its equation."""

from __future__ import annotations

__all__ = ["einsum", "parsed", "spelled"]

from collections import Counter
from collections.abc import Iterable
from math import prod
from string import ascii_letters

from inspector.costs.cost import Cost, Shapes
from inspector.records import Op


def einsum(op: Op, inputs: Shapes, outputs: Shapes) -> Cost | None:
    """Operands are contracted from left to right, two at a time, as torch does without an optimiser.

    An axis that only one side has and nobody needs later is summed away first, one addition per element. Where no axis
    is left to sum over, the pair is a product of elements, not of matrices. None for the form that names axes by lists
    of numbers.
    """
    equation = spelled(op)
    if equation is None:
        return None
    terms, result = parsed(equation, inputs)
    sizes = _sizes(terms, inputs)

    def size(axes: Iterable[str]) -> int:
        return prod(sizes[axis] for axis in axes)

    contraction, other, left = 0, 0, set(terms[0])
    for position, term in enumerate(terms[1:], start=2):
        right, later = set(term), set(result).union(*terms[position:])
        shared = (left & right) | later  # an axis that is not: only one side has it, and nobody needs it
        other += sum(size(side) for side in (left, right) if side - shared)
        both = (left | right) & shared
        if both <= later:
            other += size(both)
        else:
            contraction += 2 * size(both)
        left = both & later
    other += size(left) if left - set(result) else 0
    return Cost(contraction, other)


def _sizes(terms: list[str], inputs: Shapes) -> dict[str, int]:
    """Axis -> its size; where one operand has 1 for it, that operand is broadcast."""
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, inputs, strict=True):
        for axis, size in zip(term, shape, strict=True):
            sizes[axis] = size if sizes.get(axis, 1) == 1 else sizes[axis]
    return sizes


def spelled(op: Op) -> str | None:
    """The equation of an einsum without its blanks; None for the form that names axes by lists of numbers."""
    said = [item for _, value in op.attributes for item in (value if isinstance(value, tuple) else (value,))]
    equation = next((item for item in said if isinstance(item, str)), None)
    return equation and equation.replace(" ", "")


def parsed(equation: str, inputs: Shapes) -> tuple[list[str], str]:
    """Operand terms and result, with letters that the equation does not use in place of each ellipsis.

    >>> parsed("...ij,jk", [(5, 2, 3), (3, 4)])
    (['aij', 'jk'], 'aik')
    """
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if not arrow:
        result = _implied_result(left)
    hidden = [len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, inputs, strict=True)]
    rank = max((count for count, term in zip(hidden, terms, strict=True) if "..." in term), default=0)
    letters = "".join(letter for letter in ascii_letters if letter not in equation)[:rank]
    expanded = [term.replace("...", letters[rank - count :]) for term, count in zip(terms, hidden, strict=True)]
    return expanded, result.replace("...", letters)


def _implied_result(terms: str) -> str:
    """Without an arrow the result is the ellipsis, then every letter that occurs once, in alphabetical order."""
    counts = Counter(terms.replace("...", "").replace(",", ""))
    return ("..." if "..." in terms else "") + "".join(sorted(letter for letter in counts if counts[letter] == 1))
