"""Each product of matrices as an einsum: which axes are walked in step, which are used again, which are summed away."""

from __future__ import annotations

__all__ = ["Equation", "equation"]

from collections.abc import Callable, Iterable
from string import ascii_lowercase
from typing import NamedTuple

from inspector.costs.cost import Shapes
from inspector.costs.einsum import parsed, spelled
from inspector.records import Op


class Equation(NamedTuple):
    """What a contraction does, with one letter per axis; `torch.einsum` of the terms gives the product itself.

    slots: which operands of the op the terms speak of. added: operand and its term, for what is added to the product.
    batch: axes that two factors share and the result keeps. broadcast: axes of the result for which a factor is used
    again, because it has size 1 there, or lacks the axis. summed: axes that the result lacks.
    chosen: axes of which each row visits one member (the experts of a grouped product).
    """

    slots: tuple[int, ...]
    terms: tuple[str, ...]
    result: str
    batch: str = ""
    broadcast: str = ""
    summed: str = ""
    added: tuple[tuple[int, str], ...] = ()
    chosen: str = ""

    @property
    def text(self) -> str:
        """As `torch.einsum` takes it."""
        return f"{','.join(self.terms)}->{self.result}"


def equation(op: Op, inputs: Shapes) -> Equation | None:
    """The equation of one op on operands of these shapes; None for what is no product of matrices.

    >>> scores = Op(0, "matmul", "", "", "", (), (), (), (), "")
    >>> found = equation(scores, [(2, 12, 16, 64), (2, 12, 64, 16)])
    >>> found.text, found.batch, found.summed
    ('abcd,abde->abce', 'ab', 'd')

    A convolution slides one operand over the other, which no einsum says: it has none.
    """
    rule = _RULES.get(op.name)
    return rule(op, inputs) if rule is not None else None


def _sorted(
    slots: tuple[int, ...], terms: tuple[str, ...], result: str, shapes: Shapes, leading: Iterable[str] = ()
) -> Equation:
    """The axes by what becomes of them. leading: axes that every factor has, or is used again for."""
    letters = dict.fromkeys("".join(terms))
    sizes: dict[str, set[int]] = {letter: set() for letter in letters}
    for slot, term in zip(slots, terms, strict=True):
        for letter, size in zip(term, shapes[slot], strict=True):
            sizes[letter].add(size)
    lacking = {letter for letter in leading if any(letter not in term for term in terms)}
    again = {letter for letter in result if letter in lacking or (1 in sizes[letter] and len(sizes[letter]) > 1)}
    shared = {letter for letter in result if sum(letter in term for term in terms) > 1}
    return Equation(
        slots,
        terms,
        result,
        batch="".join(letter for letter in result if letter in shared - again),
        broadcast="".join(letter for letter in result if letter in again),
        summed="".join(letter for letter in letters if letter not in result),
    )


def _product(first: int, inputs: Shapes) -> Equation:
    """All six cases of `torch.matmul`: the last axis of the left is summed with the last but one of the right."""
    left, right = inputs[first], inputs[first + 1]
    ranks = (max(len(left) - 2, 0), max(len(right) - 2, 0))
    leading = ascii_lowercase[: max(ranks)]
    row, inner, column = list(ascii_lowercase[max(ranks) : max(ranks) + 3])
    one = inner if len(left) == 1 else leading[len(leading) - ranks[0] :] + row + inner
    two = inner if len(right) == 1 else leading[len(leading) - ranks[1] :] + inner + column
    result = leading + (row if len(left) > 1 else "") + (column if len(right) > 1 else "")
    return _sorted((first, first + 1), (one, two), result, inputs, leading)


def _matmul(op: Op, inputs: Shapes) -> Equation:
    return _product(0, inputs)


def _plus(op: Op, inputs: Shapes) -> Equation:
    """`addmm`, `addmv`, `baddbmm`: a product, and what stands before it is added."""
    found = _product(len(inputs) - 2, inputs)
    return found._replace(added=_added(inputs, 0, found.result)) if len(inputs) > 2 else found


def _addbmm(op: Op, inputs: Shapes) -> Equation:
    first = len(inputs) - 2
    found = _sorted((first, first + 1), ("abc", "acd"), "bd", inputs)
    return found._replace(added=_added(inputs, 0, "bd")) if first else found


def _added(inputs: Shapes, slot: int, result: str) -> tuple[tuple[int, str], ...]:
    """What is added lines up with the result from the right."""
    rank = len(inputs[slot])
    return ((slot, result[len(result) - rank :]),)


def _linear(op: Op, inputs: Shapes) -> Equation:
    rows, inner, column = ascii_lowercase[: len(inputs[0]) - 1], "y", "z"
    weight = column + inner if len(inputs[1]) == 2 else inner
    result = rows + weight[:-1]
    found = _sorted((0, 1), (rows + inner, weight), result, inputs)
    return found._replace(added=_added(inputs, 2, result)) if len(inputs) > 2 else found


def _inner(op: Op, inputs: Shapes) -> Equation:
    """The last axes of both are summed; every other pair of axes is in the result."""
    left = ascii_lowercase[: len(inputs[0]) - 1]
    right = ascii_lowercase[len(left) : len(left) + len(inputs[1]) - 1]
    return _sorted((0, 1), (left + "z", right + "z"), left + right, inputs)


def _outer(op: Op, inputs: Shapes) -> Equation:
    return _sorted((0, 1), ("a", "b"), "ab", inputs)


def _tensordot(op: Op, inputs: Shapes) -> Equation | None:
    """`dims` is a number of axes, last of the left with first of the right, or a list of axes for each."""
    dims, (left, right) = op.attribute("dims", 2), map(len, inputs[:2])
    if isinstance(dims, int):
        pairs = [(left - dims + axis, axis) for axis in range(dims)]
    elif isinstance(dims, tuple) and len(dims) == 2 and all(isinstance(side, tuple) for side in dims):
        pairs = [(one % left, two % right) for one, two in zip(*dims, strict=True)]  # type: ignore[arg-type,misc,operator]
    else:
        return None
    one, two = list(ascii_lowercase[:left]), list(ascii_lowercase[left : left + right])
    for mine, other in pairs:
        two[other] = one[mine]
    result = "".join(letter for letter in one + two if (letter in one) != (letter in two))
    return _sorted((0, 1), ("".join(one), "".join(two)), result, inputs)


def _grouped(op: Op, inputs: Shapes) -> Equation | None:
    """Rows sorted by group, and one matrix for each group: a row meets the matrix of its own group alone."""
    ranks = len(inputs[0]), len(inputs[1])
    if ranks == (3, 3):
        return _sorted((0, 1), ("abc", "acd"), "abd", inputs)
    if ranks == (2, 3):
        return _sorted((0, 1), ("bc", "acd"), "bd", inputs)._replace(summed="c", chosen="a")
    return None


def _einsum(op: Op, inputs: Shapes) -> Equation | None:
    said = spelled(op)
    if said is None:
        return None
    terms, result = parsed(said, inputs)
    hidden = [letter for letter in dict.fromkeys("".join(terms)) if letter not in said]  # those of an ellipsis
    return _sorted(tuple(range(len(terms))), tuple(terms), result, inputs, hidden)


def _attention(op: Op, inputs: Shapes) -> Equation:
    """Two products in one kernel: over the width of a head, and over the keys. Mask and softmax are no products."""
    query, key = inputs[0], inputs[1]
    leading = ascii_lowercase[: len(query) - 2]
    groups = leading
    if leading and key[-3] not in (1, query[-3]):  # grouped queries: several heads use one key/value head
        groups = leading[:-1] + "g"
    found = _sorted((0, 1, 2), (leading + "sk", groups + "tk", groups + "tv"), leading + "sv", inputs, leading)
    return found._replace(summed="kt")


_RULES: dict[str, Callable[[Op, Shapes], Equation | None]] = {
    "linear": _linear,
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "vdot"), _matmul),
    **dict.fromkeys(("addmm", "addmv", "baddbmm"), _plus),
    "addbmm": _addbmm,
    "inner": _inner,
    **dict.fromkeys(("outer", "ger"), _outer),
    "tensordot": _tensordot,
    "einsum": _einsum,
    "grouped_mm": _grouped,
    "scaled_dot_product_attention": _attention,
}
"""Canonical op name -> the rule that writes its equation."""
