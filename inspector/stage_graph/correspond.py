"""Which axes of an op's operands and result are one and the same."""

from __future__ import annotations

__all__ = ["Apart", "Link", "correspond"]

from collections.abc import Callable, Sequence
from typing import NamedTuple

from inspector.records import Op

Shape = tuple[int, ...]
Slot = tuple[int, int]
"""(operand number, or -1 for the result; axis)."""


class Apart(NamedTuple):
    """What a product of attention does not link.

    made: the axis of the scores (from the right) that is a new one, that of the keys; None for the weighted sum, which
    does not link the axis it sums over.
    """

    made: int | None


class Link(NamedTuple):
    """`places` are one axis, or, with `whole`, they are the parts that the axis `whole` is joined of."""

    places: tuple[Slot, ...]
    whole: Slot | None = None
    every_output: bool = False


def correspond(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    """The links of one op."""
    rule = _RULES.get(op.name)
    if rule is not None:
        return rule(op, inputs, output, apart)
    return _aligned(op, inputs, output, apart)


def _aligned(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    """Element by element: axes counted from the right, where the sizes agree."""
    return [
        Link(((slot, len(shape) - back), (-1, len(output) - back)))
        for slot, shape in enumerate(inputs)
        for back in range(1, min(len(shape), len(output)) + 1)
        if shape[-back] == output[-back] and shape[-back] > 1
    ]


def _same_rank(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    """Axes in their places, where the sizes agree; every part of a split alike."""
    if not inputs or len(inputs[0]) != len(output):
        return []
    return [
        Link(((0, axis), (-1, axis)), every_output=True) for axis, size in enumerate(output) if size == inputs[0][axis]
    ]


def _linear(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    source, weight = inputs[0], inputs[1]
    links = [Link(((0, axis), (-1, axis))) for axis in range(len(source) - 1)]
    links += [Link(((0, len(source) - 1), (1, len(weight) - 1))), Link(((1, 0), (-1, len(output) - 1)))]
    return links + [Link(((2, 0), (-1, len(output) - 1))) for _ in inputs[2:3]]


def _addmm(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    left = len(inputs) - 2  # behind what is added
    added = inputs[0] if left else ()
    bias = [Link(((0, len(added) - 1), (-1, 1)))] if added and added[-1] == output[1] else []
    return [Link(((left, 0), (-1, 0))), Link(((left, 1), (left + 1, 0))), Link(((left + 1, 1), (-1, 1))), *bias]


def _matmul(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    first = len(inputs) - 2  # behind what is added
    left, right = inputs[first], inputs[first + 1]
    if len(left) < 2 or len(right) < 2:
        return []
    links = _batch(first, left, right, output)
    if apart is None or apart.made != -2:
        links.append(Link(((first, len(left) - 2), (-1, len(output) - 2))))
    if apart is None or apart.made != -1:
        links.append(Link(((first + 1, len(right) - 1), (-1, len(output) - 1))))
    if apart is None or apart.made is not None:
        links.append(Link(((first, len(left) - 1), (first + 1, len(right) - 2))))
    return links


def _einsum(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    """One axis per letter."""
    said = op.attribute("args", op.attribute("equation"))
    equation = said[0] if isinstance(said, tuple) and said else said
    if not isinstance(equation, str) or "->" not in equation or "." in equation:
        return []
    terms, result = equation.replace(" ", "").split("->")
    places: dict[str, list[Slot]] = {}
    for slot, term in enumerate(terms.split(",")):
        for axis, letter in enumerate(term):
            places.setdefault(letter, []).append((slot, axis))
    summed = [] if apart is not None and apart.made is None else [letter for letter in places if letter not in result]
    links = [Link(tuple(places[letter])) for letter in summed]
    for axis, letter in enumerate(result):
        if apart is None or apart.made != axis - len(result):
            links.append(Link((*places[letter], (-1, axis))))
    return links


def _batch(first: int, left: Shape, right: Shape, output: Shape) -> list[Link]:
    return [
        Link(((slot, len(shape) - back), (-1, len(output) - back)))
        for slot, shape in ((first, left), (first + 1, right))
        for back in range(3, len(shape) + 1)
        if shape[-back] == output[-back] and output[-back] > 1
    ]


def _attention(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    query, key, value = inputs[:3]
    rank = len(output)
    links = [Link(((0, axis), (-1, axis))) for axis in range(rank - 1)]
    links += [Link(((0, rank - 1), (1, len(key) - 1))), Link(((2, len(value) - 1), (-1, rank - 1)))]
    return links + [
        Link(((slot, axis), (-1, axis)))
        for slot, shape in ((1, key), (2, value))
        for axis in range(rank - 2)
        if len(shape) == rank and shape[axis] == query[axis] and shape[axis] > 1
    ]


def _embedding(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    index = inputs[0]
    return [
        *(Link(((0, axis), (-1, axis))) for axis in range(len(index))),
        Link(((1, len(inputs[1]) - 1), (-1, len(output) - 1))),
    ]


def _transpose(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    order = _order(op, len(output))
    return [Link(((0, before), (-1, after))) for after, before in enumerate(order)]


def _order(op: Op, rank: int) -> list[int]:
    """For each axis of the result, the operand's axis it was."""
    order = list(range(rank))
    if op.name == "permute":
        said = op.attribute("dim", op.attribute("dims"))
        given = [axis % rank for axis in said if isinstance(axis, int)] if isinstance(said, tuple) else []
        return given if len(given) == rank else []
    one, two = (rank - 2, rank - 1)
    if op.name == "transpose":
        said_one, said_two = op.attribute("dim0"), op.attribute("dim1")
        one, two = (said % rank if isinstance(said, int) else at for said, at in ((said_one, one), (said_two, two)))
    elif op.name == "t":
        return order[::-1]
    order[one], order[two] = order[two], order[one]
    return order


def _reshape(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    """Axes that are kept, cut in parts, or joined of parts, by walking both shapes to equal products."""
    shape = inputs[0]
    links: list[Link] = []
    i = j = 0
    while i < len(shape) and j < len(output):
        one, two = [i], [j]
        left, right = shape[i], output[j]
        while left != right:
            if left < right and i + 1 < len(shape):
                i += 1
                left *= shape[i]
                one.append(i)
            elif j + 1 < len(output):
                j += 1
                right *= output[j]
                two.append(j)
            else:
                return links
        links.extend(_block(_counting(shape, one), _counting(output, two)))
        i, j = i + 1, j + 1
    return links


def _counting(shape: Shape, axes: list[int]) -> list[int]:
    """Axes of size 1 are no parts, unless there is nothing else."""
    return [axis for axis in axes if shape[axis] != 1] or axes[:1]


def _block(one: list[int], two: list[int]) -> list[Link]:
    if len(one) == 1 and len(two) == 1:
        return [Link(((0, one[0]), (-1, two[0])))]
    if len(one) == 1:
        return [Link(tuple((-1, axis) for axis in two), whole=(0, one[0]))]
    if len(two) == 1:
        return [Link(tuple((0, axis) for axis in one), whole=(-1, two[0]))]
    return []


def _index(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    """Indexing with slices, numbers and new axes. Indexing with tensors says nothing about axes."""
    if len(inputs) != 1:
        return []
    key = op.attribute("key")
    items = list(key) if isinstance(key, tuple) and key[:1] != ("slice",) else [key]
    taken = sum(item is not None and item != "..." for item in items)
    if "..." not in items:
        items.append("...")
    at = items.index("...")
    items[at : at + 1] = [("slice", None, None, None)] * (len(inputs[0]) - taken)
    links, before, after = [], 0, 0
    for item in items:
        if item is None:
            after += 1
        elif isinstance(item, int):
            before += 1
        else:
            if before < len(inputs[0]) and after < len(output) and inputs[0][before] == output[after]:
                links.append(Link(((0, before), (-1, after))))
            before, after = before + 1, after + 1
    return links


def _unsqueeze(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    dim = op.attribute("dim", 0)
    new = dim % len(output) if isinstance(dim, int) else 0
    kept = [axis for axis in range(len(output)) if axis != new]
    return [Link(((0, before), (-1, after))) for before, after in enumerate(kept)]


def _join(op: Op, inputs: Sequence[Shape], output: Shape, apart: Apart | None) -> list[Link]:
    """Along all axes but the one that is joined."""
    dim = op.attribute("dim", 0)
    joined = dim % len(output) if isinstance(dim, int) and output else 0
    return [
        Link(((slot, axis), (-1, axis)))
        for slot, shape in enumerate(inputs)
        if len(shape) == len(output)
        for axis in range(len(output))
        if axis != joined and shape[axis] == output[axis]
    ]


Rule = Callable[[Op, Sequence[Shape], Shape, Apart | None], list[Link]]

_RULES: dict[str, Rule] = {
    "addmm": _addmm,
    "baddbmm": _matmul,
    "bmm": _matmul,
    "cat": _join,
    "chunk": _same_rank,
    "einsum": _einsum,
    "embedding": _embedding,
    "flatten": _reshape,
    "getitem": _index,
    "linear": _linear,
    "mT": _transpose,
    "matmul": _matmul,
    "mm": _matmul,
    "permute": _transpose,
    "reshape": _reshape,
    "scaled_dot_product_attention": _attention,
    "split": _same_rank,
    "squeeze": _reshape,
    "sum": _same_rank,
    "mean": _same_rank,
    "t": _transpose,
    "transpose": _transpose,
    "unflatten": _reshape,
    "unsqueeze": _unsqueeze,
    "view": _reshape,
}
