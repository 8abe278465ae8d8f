"""Which dimensions follow the batch, the sequence and the past, and how.

The same forward is traced at several sizes and each dimension is held against a short list of forms, simplest first:
three sizes fix its constant, two more must agree. A dimension that fits no form is shown as its number, and counted.
"""

from __future__ import annotations

__all__ = ["Sizes", "sample_sizes", "solve", "transfer"]

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from inspector.records import Op, Scenario, Value
from inspector.tracing.texts import UNSOLVED


class Sizes(NamedTuple):
    """Batch, sequence and past of one run."""

    B: int
    S: int
    P: int


_SOLVE = ((2, 7, 5), (3, 11, 3), (5, 13, 17))
_REFUTE = ((2, 17, 11), (7, 19, 7))


def sample_sizes(scenario: Scenario, beyond: int = 0) -> list[Sizes]:
    """The runs to trace for `scenario`: three to solve, two to refute. `beyond` lifts them over windows and chunks.

    One new token is decoding as people mean it, so a sequence of 1 after a past stays 1.

    >>> sample_sizes(Scenario())[:2]
    [Sizes(B=2, S=7, P=0), Sizes(B=3, S=11, P=0)]
    """
    fixed = scenario.past > 0 and scenario.seq == 1
    runs = []
    for batch, seq, past in _SOLVE + _REFUTE:
        lifted = (seq, past + beyond) if scenario.past else (seq + beyond, 0)
        # Long sequences make large masks: a small batch is enough to tell B apart.
        runs.append(Sizes(min(batch, 4) if beyond else batch, 1 if fixed else lifted[0], lifted[1]))
    return runs


_UNITS: tuple[tuple[str, Callable[[Sizes], int]], ...] = (
    ("B", lambda z: z.B),
    ("S", lambda z: z.S),
    ("P", lambda z: z.P),
    ("T", lambda z: z.P + z.S),
    ("B*S", lambda z: z.B * z.S),
    ("B*P", lambda z: z.B * z.P),
    ("B*T", lambda z: z.B * (z.P + z.S)),
    ("S*T", lambda z: z.S * (z.P + z.S)),
    ("B*S*T", lambda z: z.B * z.S * (z.P + z.S)),
)


def _forms(observed: Sequence[int], runs: Sequence[Sizes]) -> Iterator[tuple[str, list[int]]]:
    """Each form that the first run allows, with what it says for every run."""
    first, size = runs[0], observed[0]
    past = first.P > 0
    units = [(name, unit) for name, unit in _UNITS if past or ("P" not in name and "T" not in name)]
    for name, unit in units:
        yield name, [unit(run) for run in runs]
    for name, unit in units:
        if unit(first) and size % unit(first) == 0:
            factor = size // unit(first)
            yield f"{factor}*{name}", [factor * unit(run) for run in runs]
    for name, unit in units:
        offset = size - unit(first)
        yield f"{name}{offset:+d}", [unit(run) + offset for run in runs]
    for name, unit in units:  # two unknowns: slope and offset
        span = unit(runs[1]) - unit(first)
        if span and (observed[1] - size) % span == 0:
            slope = (observed[1] - size) // span
            offset = size - slope * unit(first)
            yield f"{slope}*{name}{offset:+d}", [slope * unit(run) + offset for run in runs]


def _solve_dim(observed: tuple[int, ...], runs: Sequence[Sizes]) -> str:
    if len(set(observed)) == 1:
        return str(observed[0])
    for name, said in _forms(observed, runs):
        if tuple(said) == observed:
            return name
    return f"{UNSOLVED}{observed[-1]}"


def solve(shapes: Sequence[Sequence[tuple[int, ...]]], runs: Sequence[Sizes]) -> list[tuple[str, ...]]:
    """One text per dimension of every value. `shapes[r][v]` is the shape of value v in run r; the last run is shown.

    >>> runs = [Sizes(2, 7, 0), Sizes(3, 11, 0), Sizes(5, 13, 0), Sizes(2, 17, 0), Sizes(7, 19, 0)]
    >>> solve([[(run.B, run.S, 2 * run.S + 1, 64)] for run in runs], runs)
    [('B', 'S', '2*S+1', '64')]
    """
    known: dict[tuple[int, ...], str] = {}

    def text(observed: tuple[int, ...]) -> str:
        if observed not in known:
            known[observed] = _solve_dim(observed, runs)
        return known[observed]

    solved = []
    for one_value in zip(*shapes, strict=True):
        if len({len(shape) for shape in one_value}) > 1:
            solved.append(tuple(f"{UNSOLVED}{size}" for size in one_value[-1]))
        else:
            solved.append(tuple(map(text, zip(*one_value, strict=True))))
    return solved


_WINDOWS = (12, 6, 2, 0)


def transfer(
    ops: Sequence[Op],
    values: Sequence[Value],
    small_ops: Sequence[Op],
    small_values: Sequence[Value],
    small_symbols: Sequence[tuple[str, ...]],
) -> list[tuple[str, ...]]:
    """Carry the symbols of a shallow model over to the same model at full depth, run at the same size.

    An op of the deep model is an op of the shallow one when both stand among the same neighbours. Where neighbours
    differ, fewer of them are asked for; where even then two answers are possible, the dimension counts as unsolved.
    """
    symbols: dict[int, tuple[str, ...]] = {}
    numbers: dict[object, int] = {}
    touched, small_touched = list(map(_touched, ops)), list(map(_touched, small_ops))
    deep = _signatures(ops, touched, values, numbers)
    shallow = _signatures(small_ops, small_touched, small_values, numbers)
    left = list(range(len(ops)))
    for reach in _WINDOWS:
        known = _answers(shallow, small_touched, small_symbols, reach)
        missed = []
        for index in left:
            answer = known.get(_window(deep, index, reach))
            if answer is None:
                missed.append(index)
            else:
                symbols.update(zip(touched[index], answer, strict=True))
        left = missed
    return [symbols.get(value.id) or _untraced(value) for value in values]


def _untraced(value: Value) -> tuple[str, ...]:
    """Parameters and buffers that no op of the shallow model touched are constants; others did not solve."""
    fixed = value.kind in ("parameter", "buffer", "constant")
    return tuple(str(size) if fixed else f"{UNSOLVED}{size}" for size in value.shape)


def _touched(op: Op) -> tuple[int, ...]:
    return (*op.inputs, *(value for _, value in op.donors), *op.outputs)


def _signatures(
    ops: Sequence[Op], touched: Sequence[tuple[int, ...]], values: Sequence[Value], numbers: dict[object, int]
) -> list[int]:
    """What each op is, without its place: its call, its arguments, the shapes it touches. Equal ones get one number."""
    shapes = [value.shape for value in values]
    signatures = []
    for op, ids in zip(ops, touched, strict=True):
        met = tuple([shapes[value] for value in ids])
        signatures.append(numbers.setdefault((op.call, op.attributes, met, op.effect == "noop"), len(numbers)))
    return signatures


def _window(signatures: Sequence[int], index: int, reach: int) -> tuple[int, ...]:
    return (min(index, reach), *signatures[max(0, index - reach) : index + reach + 1])


def _answers(
    signatures: Sequence[int], touched: Sequence[tuple[int, ...]], symbols: Sequence[tuple[str, ...]], reach: int
) -> dict[tuple[int, ...], tuple[tuple[str, ...], ...] | None]:
    """Window -> symbols of the values its op touches; None where two ops with one window disagree."""
    known: dict[tuple[int, ...], tuple[tuple[str, ...], ...] | None] = {}
    for index, ids in enumerate(touched):
        key = _window(signatures, index, reach)
        answer = tuple([symbols[value] for value in ids])
        known[key] = answer if known.get(key, answer) == answer else None
    return known
