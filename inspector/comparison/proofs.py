"""Proves in numbers that two spellings are one function: the recorded ops of both are run on the same values.

The weights of the one are copied across to the other (transposed, or row by row where one weight holds several), the
same random inputs go into both, and what comes out is compared, in float64: it is the maths that is in
question, not the rounding. What cannot be run so stays proved by algebra, and says so.
"""

from __future__ import annotations

__all__ = ["Proof", "prove"]

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from inspector.alignment.parts import Part
from inspector.comparison.changes import Row
from inspector.comparison.replay import Unprovable, call
from inspector.records import Trace

_LARGEST = 2**25
"""Elements of one weight beyond which a proof costs more than it tells."""

_TOLERANCE = 1e-9


class Proof(NamedTuple):
    """What was run: the largest difference and the largest value, over so many elements."""

    difference: float
    magnitude: float
    elements: int

    @property
    def holds(self) -> bool:
        return self.difference <= _TOLERANCE * max(1.0, self.magnitude)

    def __str__(self) -> str:
        verdict = "proved numerically" if self.holds else "refuted numerically"
        return f"{verdict}: {self.elements:,} values, largest difference {self.difference:.1e} in float64"


def prove(row: Row, a: Trace, b: Trace) -> Proof | None:
    """Run both sides of a re-expressed row; None where that cannot be done."""
    rule = _FORMS.get(row.form)
    if rule is None or row.status != "re-expressed":
        return None
    try:
        with torch.no_grad():
            return rule(Stage(a, row.a), Stage(b, row.b))
    except (Unprovable, KeyError, IndexError, RuntimeError, TypeError, ValueError):
        return None  # shapes or ops that the replay does not know: algebra has to do


class Stage:
    """The ops of one side of a row, ready to be run."""

    def __init__(self, trace: Trace, parts: Sequence[Part]) -> None:
        self.trace, self.parts = trace, parts
        own = {index for part in parts for index in part.ops}
        self.ops = [trace.ops[index] for index in sorted(own | _bridges(trace, own))]
        self.made = {value for op in self.ops if op.effect != "noop" for value in op.outputs}
        read = dict.fromkeys(value for op in self.ops for value in op.inputs if value not in self.made)
        kinds = {value: trace.values[value].kind for value in read}
        self.weights = [value for value in read if kinds[value] == "parameter"]
        self.fixed = [value for value in read if value in trace.concrete and value not in self.weights]
        self.inputs = [value for value in read if value not in self.weights and value not in self.fixed]

    def shape(self, value: int) -> tuple[int, ...]:
        return self.trace.values[value].shape

    def run(self, values: dict[int, Tensor]) -> dict[int, Tensor]:
        known = {**{value: _contents(self.trace, value) for value in self.fixed}, **values}
        for op in self.ops:
            if op.effect == "noop":
                continue
            results = call(op, known, self.shape(op.outputs[0]))
            known |= dict(zip(op.outputs, results, strict=False))
        return known

    @property
    def result(self) -> int:
        """What the last op that works makes."""
        return next(op.outputs[0] for op in reversed(self.ops) if op.effect != "noop")

    def readers(self, value: int) -> set[int]:
        return {op.id for op in self.trace.ops if value in op.inputs}


def _bridges(trace: Trace, own: set[int]) -> set[int]:
    """Views that lead from one of these ops to another: heads may be cut apart before queries and keys are."""
    found: set[int] = set()
    for value in (value for index in own for value in trace.ops[index].inputs):
        path: list[int] = []
        maker = trace.values[value].producer
        while maker is not None and maker not in own and trace.ops[maker].effect == "view":
            path.append(maker)
            maker = trace.values[trace.ops[maker].inputs[0]].producer
        if maker in own:
            found.update(path)
    return found


def _contents(trace: Trace, value: int) -> Tensor:
    known = trace.concrete[value]
    if not known.kept or math.prod(known.shape) > _LARGEST:
        raise Unprovable("contents were not kept")
    flat = torch.tensor(known.flat(), dtype=torch.bool if known.dtype == "bool" else torch.float64)
    return flat.reshape(known.shape)


def _random(shape: Iterable[int], seed: int) -> Tensor:
    size = tuple(shape)
    if math.prod(size) > _LARGEST:
        raise Unprovable("too large")
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _difference(one: Tensor, two: Tensor, where: Tensor | None = None) -> Proof:
    if one.numel() != two.numel():
        raise Unprovable("results of different size")
    gap, size = (one.reshape(-1) - two.reshape(-1)).abs(), one.abs().reshape(-1)
    if where is not None:
        kept = where.expand(one.shape).reshape(-1)
        gap, size = gap[kept], size[kept]
    return Proof(float(gap.max()), float(size.max()), gap.numel())


# forms


def _one_to_one(a: Stage, b: Stage) -> Proof:
    """One stage on each side; of a product of two activations, whichever of them is written first."""
    found = _same_order(a, b)
    if not found.holds and len(a.inputs) == 2 and not a.weights and {part.role for part in a.parts} == {"scores"}:
        b.inputs.reverse()
        again = _same_order(a, b)
        return again if again.holds else found
    return found


def _same_order(a: Stage, b: Stage) -> Proof:
    """The same weights, transposed where the other side stores them so; inputs in the order in which they are read."""
    if len(a.inputs) != len(b.inputs) or len(a.weights) != len(b.weights) or not a.inputs:
        raise Unprovable("not the same inputs")
    values_a = {value: _random(a.shape(value), seed) for seed, value in enumerate(a.inputs)}
    values_b = {two: values_a[one].reshape(b.shape(two)) for one, two in zip(a.inputs, b.inputs, strict=True)}
    ways_a, ways_b = _transposed(a), _transposed(b)
    for one, two in _matched(a, b):
        weight = _random(a.shape(one), 100 + one)
        values_a[one] = weight
        turned = (one in ways_a) != (two in ways_b)
        values_b[two] = weight.T if turned else weight
        if tuple(values_b[two].shape) != b.shape(two):
            raise Unprovable("weights of different size")
    return _difference(a.run(values_a)[a.result], b.run(values_b)[b.result])


def _matched(a: Stage, b: Stage) -> Iterable[tuple[int, int]]:
    """Matrices with matrices and vectors with vectors, in the order in which they are read as weight, then bias."""
    return zip(_ordered(a), _ordered(b), strict=True)


def _ordered(side: Stage) -> list[int]:
    return sorted(side.weights, key=lambda value: (-len(side.shape(value)), _argument(side, value)))


def _argument(side: Stage, value: int) -> int:
    """Weights before biases: what is multiplied comes before what is added."""
    for op in side.ops:
        for name, operand in op.operands:
            if operand == value:
                return 1 if name == "bias" or op.name == "add" or (op.name == "addmm" and name == "input") else 0
    return 0


def _transposed(side: Stage) -> set[int]:
    """Matrices that are stored (in, out)."""
    return {
        value
        for op in side.ops
        if op.name in ("addmm", "matmul", "mm")
        for name, value in op.operands
        if name in ("mat2", "other") and value in side.weights
    }


def _kernel(a: Stage, b: Stage) -> Proof:
    """Scores to weighted sum, on the same queries, keys and values; rows that may look nowhere have no answer."""
    q, k, v = (side for side in zip(_attended(a), _attended(b), strict=True))
    values: list[dict[int, Tensor]] = [{}, {}]
    for seed, (one, two) in enumerate((q, k, v)):
        made = (
            _random(a.shape(one), seed)
            if math.prod(a.shape(one)) <= math.prod(b.shape(two))
            else _random(b.shape(two), seed)
        )
        values[0][one], values[1][two] = _spread(made, a.shape(one)), _spread(made, b.shape(two))
    seen = _seen(a) & _seen(b)
    return _difference(a.run(values[0])[a.result], b.run(values[1])[b.result], seen)


def _spread(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Key/value heads repeated for their group where the other side did not yet."""
    return value if tuple(value.shape) == shape else value.repeat_interleave(shape[1] // value.shape[1], 1)


def _attended(side: Stage) -> tuple[int, int, int]:
    """The values that queries, keys and values come from."""
    fused = next((op for op in side.ops if op.name == "scaled_dot_product_attention"), None)
    if fused is not None:
        query, key, value = fused.inputs[:3]
    else:
        products = [op for op in side.ops if op.name in ("matmul", "bmm")]
        query, key, value = *products[0].inputs[:2], products[-1].inputs[1]
    return _entering(side, query), _entering(side, key), _entering(side, value)


def _entering(side: Stage, value: int) -> int:
    """Back through the ops of the side to the value that enters."""
    makers = {made: op for op in side.ops if op.effect != "noop" for made in op.outputs}
    while value in makers:
        value = makers[value].inputs[0]
    return value


def _seen(side: Stage) -> Tensor:
    """Queries that may look at something."""
    seen = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    for op in side.ops:
        for value in op.inputs:
            if value in side.fixed and (mask := _contents(side.trace, value)).dim() >= 2:
                hides = op.name == "masked_fill"
                kept = ~mask.bool() if hides else mask if mask.dtype is torch.bool else mask > -1e30
                seen = seen & kept.any(-1, keepdim=True)
    return seen


def _stacked(a: Stage, b: Stage) -> Proof:
    """One weight here, several there: the rows are found by running the stacked side on numbered rows."""
    few, many = (a, b) if len(a.weights) < len(b.weights) else (b, a)
    matrices = [value for value in few.weights if len(few.shape(value)) == 2]
    if len(matrices) != 1 or len(few.inputs) != 1 or len(many.inputs) != 1:
        raise Unprovable("not one weight against several")
    (stacked,) = matrices
    biases = [value for value in few.weights if value != stacked]
    wide, turned = few.shape(stacked), stacked in _transposed(few)
    rows = wide[1] if turned else wide[0]
    entering = few.inputs[0]
    shape = few.shape(entering)

    def run(source: Tensor, weight: Tensor, bias: Tensor) -> dict[int, Tensor]:
        return few.run({entering: source, stacked: weight.T if turned else weight, **dict.fromkeys(biases, bias)})

    def numbered(by_token: Tensor, by_row: Tensor) -> dict[int, Tensor]:
        """What comes out of each place is the number of its token times that of its row."""
        source, weight = torch.zeros(shape, dtype=torch.float64), torch.zeros(rows, shape[-1], dtype=torch.float64)
        source[..., 0], weight[:, 0] = by_token.reshape(shape[:-1]), by_row
        return run(source, weight, torch.zeros(rows, dtype=torch.float64))

    tokens = math.prod(shape[:-1])
    token_of = numbered(torch.arange(tokens, dtype=torch.float64), torch.ones(rows, dtype=torch.float64))
    row_of = numbered(torch.ones(tokens, dtype=torch.float64), torch.arange(rows, dtype=torch.float64))
    given = Given(_random(shape, 0), _random((rows, shape[-1]), 1), _random((rows,), 2))
    ran = run(given.source, given.weight, given.bias)
    inside = {op.id for op in few.ops}
    pieces = [value for op in few.ops for value in op.outputs if not few.readers(value) & inside]
    return _against(many, [Piece(*_token_by_token(token_of[p], row_of[p], ran[p], tokens)) for p in pieces], given)


class Piece(NamedTuple):
    """What was cut out for one projection: its rows of the stacked weight, and its values token by token."""

    rows: Tensor
    values: Tensor


def _token_by_token(token_of: Tensor, row_of: Tensor, ran: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Whether the heads come before the tokens or after, and the rows of a head lie side by side or not."""
    order = token_of.reshape(-1).argsort(stable=True)
    rows = row_of.reshape(-1)[order][: len(order) // tokens]
    return rows.round().long(), ran.reshape(-1)[order]


class Given(NamedTuple):
    """What both sides are run on; weight and bias of all rows together, stored (out, in)."""

    source: Tensor
    weight: Tensor
    bias: Tensor


def _against(many: Stage, pieces: Sequence[Piece], given: Given) -> Proof:
    """Each separate projection, run with its rows of the stacked weight, against the piece that was cut out for it."""
    works = [op for op in many.ops if set(op.inputs) & set(many.weights)]
    if len(pieces) != len(works):
        raise Unprovable("not as many pieces as projections")
    values = {many.inputs[0]: given.source.reshape(many.shape(many.inputs[0]))}
    turned = _transposed(many)
    for op, piece in zip(works, pieces, strict=True):
        for value in set(op.inputs) & set(many.weights):
            matrix = len(many.shape(value)) == 2
            own = given.weight[piece.rows] if matrix else given.bias[piece.rows]
            values[value] = own.T if matrix and value in turned else own
    known = many.run(values)
    proofs = [_difference(known[op.outputs[0]], piece.values) for op, piece in zip(works, pieces, strict=True)]
    return Proof(max(p.difference for p in proofs), max(p.magnitude for p in proofs), sum(p.elements for p in proofs))


def _heads(a: Stage, b: Stage) -> Proof:
    """Each head by itself against all at once: the rows of a head are its rows of the weights of all."""
    one, many = (a, b) if len(a.weights) < len(b.weights) else (b, a)
    if len(one.inputs) != 1 or len(many.inputs) != 1:
        raise Unprovable("not one input")
    source = _random(one.shape(one.inputs[0]), 0)
    values = {one.inputs[0]: source}, {many.inputs[0]: source.reshape(many.shape(many.inputs[0]))}
    for seed, role in enumerate(("q_proj", "k_proj", "v_proj")):
        (whole,), pieces = _projected(one, role), _projected(many, role)
        for place, (full, parts) in enumerate(zip(whole, zip(*pieces, strict=True), strict=True)):
            weight = _random(one.shape(full), 10 * seed + place + 1)
            values[0][full] = weight
            sizes = [many.shape(part)[0] for part in parts]
            for part, rows in zip(parts, weight.split(sizes), strict=True):
                values[1][part] = rows
    return _difference(one.run(values[0])[one.result], many.run(values[1])[many.result])


def _projected(side: Stage, role: str) -> list[list[int]]:
    """The weights of each stage of a role, stored (out, in): weight, then bias."""
    if _transposed(side):
        raise Unprovable("weights stored (in, out)")
    found = []
    for part in side.parts:
        if part.role == role:
            read = dict.fromkeys(value for index in part.ops for value in side.trace.ops[index].inputs)
            found.append([value for value in read if value in side.weights])
    return found


_FORMS: dict[str, Callable[[Stage, Stage], Proof]] = {
    "": _one_to_one,
    "kernel": _kernel,
    "heads": _heads,
    "qkv": _stacked,
    "kv": _stacked,
    "up_gate": _stacked,
}
