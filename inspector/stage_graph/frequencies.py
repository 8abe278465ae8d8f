"""How fast each pair of elements turns with the position, and which base and scaling that comes from."""

from __future__ import annotations

__all__ = ["Frequencies", "frequencies", "reproduces", "scaling", "theta"]

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from inspector.records import Concrete, Plain
from inspector.roles.rope import Rope
from inspector.stage_graph.behind import behind
from inspector.stage_graph.stages import StageGraph

_BY_DTYPE = {"bfloat16": 4e-3, "float16": 5e-4}


class Frequencies(NamedTuple):
    """Radians per position, fastest pair first, each within `error` of what was executed (a fraction).

    amplitude: what cosines and sines are multiplied by. ops: where the numbers enter.
    """

    radians: tuple[float, ...]
    error: float
    amplitude: float
    ops: tuple[int, ...]


def frequencies(graph: StageGraph, rope: Rope, turned: int) -> Frequencies | None:
    """Of `turned` elements: from the vector of frequencies that the tables are made of, else from the tables."""
    reached = list(behind(graph, rope.tables))
    tables = [known for value in reached if (known := _table(graph, value, turned)) is not None]
    for value in reached:
        known = graph.trace.concrete.get(value)
        if known is not None and known.kept and known.shape in ((turned // 2,), (turned,)):
            radians = tuple(float(number) for number in known.flat()[: turned // 2])
            if all(number > 0 for number in radians):
                users = tuple(op.id for op in graph.naming.flow.consumers(value))
                error = max(_BY_DTYPE.get(known.dtype, 0.0), 1e-5)
                return Frequencies(_sorted(radians), error, _amplitude(tables, graph, reached), users)
    return _from_tables(tables, rope, turned)


def _sorted(radians: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted(radians, reverse=True))


def _table(graph: StageGraph, value: int, turned: int) -> Concrete | None:
    """The contents of `value` where they can be a table: rows of positions, columns of pairs; no axes of one."""
    known = graph.trace.concrete.get(value)
    if known is None or not known.kept or known.dtype.startswith(("int", "bool")):
        return None
    shape = tuple(size for size in known.shape if size != 1)
    return known._replace(shape=shape) if len(shape) > 1 and shape[-1] in (turned, turned // 2) else None


def _rows(table: Concrete) -> list[list[float]]:
    """The rows of the last sequence of the batch: the first may be padded."""
    flat, width = [float(number) for number in table.flat()], table.shape[-1]
    rows = [flat[start : start + width] for start in range(0, len(flat), width)]
    return rows[-table.shape[-2] :]


def _amplitude(tables: Sequence[Concrete], graph: StageGraph, reached: Sequence[int]) -> float:
    """The number on the way to the tables; where there is none, the cosine of nothing."""
    makers = [graph.naming.flow.maker(value) for value in reached]
    factors = [op.attribute("other") for op in makers if op is not None and op.name == "mul" and len(op.inputs) == 1]
    for factor in factors:
        if isinstance(factor, (int, float)):
            return float(factor)
    for table in tables:
        first = _rows(table)[0]
        if first[0] != 0 and all(math.isclose(number, first[0], rel_tol=1e-6) for number in first):
            return first[0]
    return 1.0


def _from_tables(tables: Sequence[Concrete], rope: Rope, turned: int) -> Frequencies | None:
    """From a cosine and a sine table: angles of rows that count up from nothing."""
    cosines = next((rows for table in tables if (rows := _rows(table))[0][0] > 0), None)
    sines = next((rows for table in tables if (rows := _rows(table))[0][0] == 0), None)
    if cosines is None or sines is None:
        return None
    half = turned // 2
    columns = _distinct(cosines, half)
    radians = tuple(_speed([row[c] for row in cosines], [row[c] for row in sines]) for c in columns)
    if len(radians) != half or any(number <= 0 for number in radians):
        return None
    error = max(_BY_DTYPE.get(table.dtype, 2e-6) for table in tables)
    return Frequencies(_sorted(radians), error, cosines[0][0], rope.ops)


def _distinct(rows: list[list[float]], half: int) -> range:
    """The columns that turn differently: a table may hold each twice, side by side or one half after the other."""
    width = len(rows[0])
    if width == half:
        return range(half)
    return range(0, width, 2) if all(row[0] == row[1] for row in rows) else range(half)


def _speed(cosines: list[float], sines: list[float]) -> float:
    """Radians per row: the longest arc that has not gone round."""
    first = math.atan2(sines[1], cosines[1])
    far = max(1, min(len(cosines) - 1, int(1.5 / first))) if first > 0 else len(cosines) - 1
    return math.atan2(sines[far], cosines[far]) / far


# base


def theta(found: Frequencies) -> float | None:
    """The base: the shortest number that gives the fast pairs, which no scaling touches."""
    size = len(found.radians)
    if size < 2:
        return None
    first = found.radians[0]
    best = None
    for index in range(1, size):
        guess = (first / found.radians[index]) ** (size / index)
        if best is not None and not math.isclose(guess, best, rel_tol=_slack(found.error, size, index)):
            break
        best = guess
    return None if best is None else _shortest(best, found)


def _slack(error: float, size: int, index: int) -> float:
    return 4 * error * size / index + 1e-9


def _unscaled(base: float, size: int) -> list[float]:
    return [base ** (-index / size) for index in range(size)]


def _shortest(guess: float, found: Frequencies) -> float:
    """The number with the fewest digits that is as near as can be told."""
    size = len(found.radians)
    steps = [index for index in range(1, size) if _on_line(guess, found, index)]
    slack = _slack(found.error, size, max(steps, default=1))
    for digits in range(1, 9):
        short = float(f"{guess:.{digits - 1}e}")
        if math.isclose(short, guess, rel_tol=slack):
            return short
    return guess


def _on_line(base: float, found: Frequencies, index: int) -> bool:
    first = found.radians[0]
    expected = first * base ** (-index / len(found.radians))
    return math.isclose(expected, found.radians[index], rel_tol=8 * found.error)


# scaling


def scaling(found: Frequencies, base: float) -> Plain:
    """The type of scaling and its factors, as far as the frequencies show them: ("llama3", ("factor", 8.0))."""
    shares = [seen / plain for seen, plain in zip(found.radians, _unscaled(base, len(found.radians)), strict=True)]
    slack = 8 * found.error
    kind: tuple[Plain, ...]
    if all(math.isclose(share, shares[0], rel_tol=slack) for share in shares):
        kind = (
            ("default",) if math.isclose(shares[0], 1, rel_tol=slack) else ("linear", ("factor", _round(1 / shares[0])))
        )
    else:
        name = _ramp(found, shares, slack)
        borders = _borders(shares, slack) if name == "yarn" and found.error < _EXACT else ()
        kind = (name, ("factor", _round(1 / shares[-1])), *borders)
    if not math.isclose(found.amplitude, 1, rel_tol=1e-6):
        kind = (*kind, ("attention_factor", found.amplitude))
    return kind


def _round(number: float) -> float:
    return float(f"{number:.4g}")


def _ramp(found: Frequencies, shares: Sequence[float], slack: float) -> str:
    """llama3 blends by wavelength, yarn by the number of the pair: whichever goes up in equal steps."""
    low, high = min(shares), max(shares)
    inside = [i for i, share in enumerate(shares) if low * (1 + slack) < share < high * (1 - slack)]
    falling = all(before >= after * (1 - slack) for before, after in pairwise(shares))
    if not falling or not math.isclose(high, 1, rel_tol=slack):
        return "longrope"
    if len(inside) < 3:
        return "yarn"
    by_number = _straight(inside, [shares[i] for i in inside])
    by_speed = _straight([found.radians[i] / shares[i] for i in inside], [shares[i] for i in inside])
    return "yarn" if by_number < by_speed else "llama3"


_EXACT = 1e-4
"""How well frequencies must be known for the ends of a ramp to be told."""


def _borders(shares: Sequence[float], slack: float) -> tuple[tuple[Plain, ...], ...]:
    """The numbers of the pairs where a ramp begins and ends: whole ones where YaRN cuts them, as it does by default."""
    low, high = min(shares), max(shares)
    inside = [i for i, share in enumerate(shares) if low * (1 + slack) < share < high * (1 - slack)]
    if len(inside) < 2:
        return ()
    first, last = inside[0], inside[-1]
    done = [(high - shares[i]) / (high - low) for i in (first, last)]
    step = (done[1] - done[0]) / (last - first)
    begins = first - done[0] / step
    return ("low", _round(begins)), ("high", _round(begins + 1 / step))


def _straight(xs: Sequence[float], ys: Sequence[float]) -> float:
    """How far the points lie off the line through the outer two."""
    slope = (ys[-1] - ys[0]) / (xs[-1] - xs[0])
    return max(abs(y - ys[0] - slope * (x - xs[0])) for x, y in zip(xs, ys, strict=True))


# what a claimed scaling would give


def reproduces(claim: Plain, found: Frequencies, base: float) -> bool | None:
    """Whether the claimed type with the claimed factors gives these frequencies; None for a type not known here."""
    if not isinstance(claim, tuple) or not claim:
        return None
    factors = {str(pair[0]): pair[1] for pair in claim[1:] if isinstance(pair, tuple) and len(pair) == 2}
    rule = _SCALINGS.get(str(claim[0]))
    if rule is None:
        return None
    expected = list(rule(_unscaled(base, len(found.radians)), factors, base))
    slack = 8 * found.error + 1e-5
    return all(math.isclose(a, b, rel_tol=slack) for a, b in zip(expected, found.radians, strict=True))


Factors = Mapping[str, Plain]


def _get(factors: Factors, name: str, default: float) -> float:
    value = factors.get(name)
    return float(value) if isinstance(value, (int, float)) else default


def _linear(radians: list[float], factors: Factors, base: float) -> Iterator[float]:
    return (speed / _get(factors, "factor", 1.0) for speed in radians)


def _llama3(radians: list[float], factors: Factors, base: float) -> Iterator[float]:
    factor, context = _get(factors, "factor", 1), _get(factors, "original_max_position_embeddings", 1)
    low, high = _get(factors, "low_freq_factor", 1), _get(factors, "high_freq_factor", 1)
    for speed in radians:
        turns = context * speed / (2 * math.pi)
        kept = 1.0 if turns > high else 0.0 if turns < low else (turns - low) / (high - low)
        yield speed * (kept + (1 - kept) / factor)


def _yarn(radians: list[float], factors: Factors, base: float) -> Iterator[float]:
    factor, context = _get(factors, "factor", 1), _get(factors, "original_max_position_embeddings", 1)
    size = len(radians)

    def pair_of(turns: float) -> float:
        return size * math.log(context / (turns * 2 * math.pi)) / math.log(base)

    low, high = pair_of(_get(factors, "beta_fast", 32)), pair_of(_get(factors, "beta_slow", 1))
    if factors.get("truncate") is not False:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * size - 1)
    high += 1e-3 if low == high else 0
    for index, speed in enumerate(radians):
        blend = min(max((index - low) / (high - low), 0.0), 1.0)
        yield speed * (1 - blend) + speed / factor * blend


_SCALINGS = {"default": lambda radians, _, __: radians, "linear": _linear, "llama3": _llama3, "yarn": _yarn}
"""Type -> the frequencies that it makes of the plain ones, written from its definition."""
