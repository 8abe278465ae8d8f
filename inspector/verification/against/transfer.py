"""The weights of one implementation, copied into another through the stages that they share.

How a weight is stored is not guessed from its shape. Stages are run on numbered weights: what comes out says which
entry of which parameter stands for which input and output. So transposed, fused and per-head layouts are one case.
"""

from __future__ import annotations

__all__ = ["Transfer", "transfer"]

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from inspector.errors import ModelAtFault
from inspector.stage_graph.stages import Stage
from inspector.verification.against.bounds import is_linear
from inspector.verification.against.flow import Flow
from inspector.verification.against.groups import Group
from inspector.verification.against.layout import relaid
from inspector.verification.against.sides import Side, axis_sizes

_PROJECTION = ("linear", "addmm", "matmul", "mm", "bmm", "einsum", "baddbmm")


class Copy(NamedTuple):
    """Entries `there` of parameter `target` of B get the entries `here` of `source` of A; None stands for all."""

    target: int
    source: int
    there: Tensor | None = None
    here: Tensor | None = None


class Transfer(NamedTuple):
    """What is copied where. problems: what does not fit, all of it. ungiven, unused: parameters without counterpart."""

    copies: tuple[Copy, ...]
    problems: tuple[str, ...]
    ungiven: tuple[str, ...]
    unused: tuple[str, ...]

    def apply(self, a: Side, b: Side) -> None:
        """Write into the parameters of B; ModelAtFault with every problem where something does not fit."""
        if self.problems:
            raise ModelAtFault("the weights of A do not fit into B", why="\n".join(self.problems))
        with torch.no_grad():
            for copy in self.copies:
                source, target = _tensor(a, copy.source), _tensor(b, copy.target)
                if copy.here is None or copy.there is None:
                    target.copy_(source)
                else:
                    flat = source.flatten()[copy.here.to(source.device)].to(target.device, target.dtype)
                    target.view(-1)[copy.there.to(target.device)] = flat


def transfer(a: Side, b: Side, groups: Sequence[Group], flow: Flow) -> Transfer:
    """Find out what has to be copied where; nothing is written yet."""
    copies: list[Copy] = []
    problems: list[str] = []
    for group in groups:
        if group.a and group.b and (a.weights(group.a) or b.weights(group.b)):
            for found in _group(a, b, group, flow):
                (problems if isinstance(found, str) else copies).append(found)  # type: ignore[arg-type]
    problems += _conflicts(a, b, copies)
    given, used = {copy.target for copy in copies}, {copy.source for copy in copies}
    missing = bool(problems)
    ungiven = tuple(name for value, name in _all(b) if value not in given) if not missing else ()
    unused = tuple(name for value, name in _all(a) if value not in used) if not missing else ()
    return Transfer(tuple(copies), tuple(dict.fromkeys(problems)), ungiven, unused)


def _all(side: Side) -> Iterator[tuple[int | None, str]]:
    """Every parameter of the module, with its value where a stage reads it."""
    read = {side.name(value): value for stage in side.graph.stages for value in side.weights((stage,))}
    for name, _ in side.running.module.named_parameters():
        yield read.get(name), name


def _tensor(side: Side, value: int) -> Tensor:
    return side.tape.leaves[side.plan.raw[value]]


def _group(a: Side, b: Side, group: Group, flow: Flow) -> Iterator[Copy | str]:
    ones, twos = a.weights(group.a), b.weights(group.b)
    both = (a, group.a), (b, group.b)
    if all(_is_projection(side, stages) and is_linear(stages) for side, stages in both) and not all(
        _is_plain(side, stages) for side, stages in both
    ):
        yield from _projected(a, b, group, flow)
        return
    rest = list(twos)
    for one in ones:  # fused weights of one size are taken to be stored alike: to store them otherwise is another model
        two = next((two for two in rest if _kind(b, group.b, two) == _kind(a, group.a, one)), None)
        if two is None:
            continue
        rest.remove(two)
        if _turned(a, group.a, one) != _turned(b, group.b, two):
            yield from _transposed(a, b, one, two)
        elif a.shape(one) == b.shape(two):
            yield Copy(two, one)
        else:
            yield f"{b.name(two)} of B is {b.shape(two)}, and {a.name(one)} of A is {a.shape(one)}"


def _is_projection(side: Side, stages: Sequence[Stage]) -> bool:
    weights = set(side.weights(stages))
    return any(op.name in _PROJECTION and weights & set(op.inputs) for op in side.ops(stages))


def _is_plain(side: Side, stages: Sequence[Stage]) -> bool:
    """One matrix, in a product that says how it is stored, and one result of that: no need to run it."""
    heavy = [stage for stage in stages if side.weights((stage,))]
    matrices = [value for value in side.weights(stages) if len(side.shape(value)) > 1]
    products = [op.name for op in side.ops(heavy) if op.name in _PROJECTION]
    whole = len(heavy) == 1 and len(side.leaving(heavy)) == 1
    return whole and len(matrices) == 1 and products in (["linear"], ["addmm"], ["matmul"], ["mm"])


def _kind(side: Side, stages: Sequence[Stage], value: int) -> str:
    """What a parameter is for: a bias is added, a weight is multiplied with."""
    for op in side.ops(stages):
        for name, operand in op.operands:
            if operand == value:
                added = op.name == "add" or (op.name in ("addmm", "baddbmm") and name == "input")
                return "bias" if name == "bias" or added else "weight"
    return "weight"


def _turned(side: Side, stages: Sequence[Stage], value: int) -> bool:
    """Whether a matrix is stored (in, out)."""
    return any(
        operand == value and name in ("mat2", "other")
        for op in side.ops(stages)
        if op.name in ("addmm", "matmul", "mm")
        for name, operand in op.operands
    )


def _transposed(a: Side, b: Side, one: int, two: int) -> Iterator[Copy | str]:
    shape = b.shape(two)
    if a.shape(one) != shape[::-1]:
        yield f"{b.name(two)} of B is {shape}, and {a.name(one)} of A is {a.shape(one)}, transposed"
        return
    here = torch.arange(_bare(a, one)).reshape(a.shape(one)).T.flatten()
    yield Copy(two, one, torch.arange(_bare(b, two)), here)


# projections


def _projected(a: Side, b: Side, group: Group, flow: Flow) -> Iterator[Copy | str]:
    pairs = flow.outputs(group)
    sides = (Probe(a, group.a), Probe(b, group.b))
    if any(probe.source is None for probe in sides) or not pairs:
        yield f"{group.first.name} has several inputs, and its weights are not copied"
        return
    if sides[0].width != sides[1].width or any(_bare(a, one) != _bare(b, two) for one, two in pairs):
        yield from _misfits(a, b, group)
        return
    numbers = [[probe.run(what) for what in ("first", "second", "bias")] for probe in sides]
    for one, two in pairs:
        mine, theirs = ([found[value] for found in side] for side, value in zip(numbers, (one, two), strict=True))
        yield from _entries(sides, mine, theirs, axis_sizes(a, b))


def _bare(side: Side, value: int) -> int:
    return int(torch.Size(side.shape(value)).numel())


def _misfits(a: Side, b: Side, group: Group) -> Iterator[str]:
    """The weights of a pair of stages that are of other sizes."""
    ones = ", ".join(f"{a.name(value)} {a.shape(value)}" for value in a.weights(group.a))
    twos = ", ".join(f"{b.name(value)} {b.shape(value)}" for value in b.weights(group.b))
    yield f"{twos} of B cannot hold {ones} of A"


def _entries(
    probes: Sequence[Probe], mine: Sequence[Tensor], theirs: Sequence[Tensor], sizes: Sequence[int]
) -> Iterator[Copy | str]:
    """For each output the entries of both weights, for all inputs, and of both biases."""
    shaped = [relaid(tensor, mine[0].shape, sizes) for tensor in theirs]
    if any(tensor is None for tensor in shaped):
        yield f"outputs of {probes[1].said} cannot be laid out as those of {probes[0].said}"
        return
    rows = torch.stack([x.flatten().round().long() for x in (*mine, *[s for s in shaped if s is not None])], 1)
    _, which = torch.unique(rows[:, 0], return_inverse=True)
    rows = rows[torch.empty(int(which.max()) + 1, dtype=torch.long).scatter_(0, which, torch.arange(len(rows)))]
    one, two = (rows[:, :3], rows[:, 3:])
    steps = torch.arange(probes[0].width)
    here = _walk(one, steps)
    there = _walk(two, steps)
    yield from _paired(probes, here, there)
    both = (one[:, 2] > 0) & (two[:, 2] > 0)
    yield from _paired(probes, one[both, 2] - 1, two[both, 2] - 1)


def _walk(rows: Tensor, steps: Tensor) -> Tensor:
    """From the entries of the first two inputs to those of all."""
    first, second = rows[:, 0] - 1, rows[:, 1] - 1
    return (first[:, None] + (second - first)[:, None] * steps).flatten()


def _paired(probes: Sequence[Probe], here: Tensor, there: Tensor) -> Iterator[Copy]:
    """Entries, counted through all parameters of a side, as entries of one parameter each."""
    for source, low, high in probes[0].spans:
        for target, lowest, highest in probes[1].spans:
            chosen = (here >= low) & (here < high) & (there >= lowest) & (there < highest)
            if bool(chosen.any()):
                yield Copy(target, source, there[chosen] - lowest, here[chosen] - low)


class Probe:
    """A projection that is run on numbered weights."""

    def __init__(self, side: Side, stages: Sequence[Stage]) -> None:
        self.side, self.stages = side, stages
        self.weights = side.weights(stages)
        read = side.entering(stages)
        self.source = read[0] if len(read) == 1 else None
        self.said = stages[0].name

    @property
    def width(self) -> int:
        return self.side.shape(self.source or 0)[-1]

    @property
    def spans(self) -> list[tuple[int, int, int]]:
        """(parameter, its first number, one past its last), numbers counted through all of them."""
        found, start = [], 0
        for value in self.weights:
            size = _bare(self.side, value)
            found.append((value, start, start + size))
            start += size
        return found

    def run(self, what: str) -> dict[int, Tensor]:
        """What comes out, counted from 1, where only one input is 1, or where only biases are not 0."""
        assert self.source is not None
        x = torch.zeros(self.side.shape(self.source), dtype=torch.float64)
        if what != "bias":
            x[..., 0 if what == "first" else 1] = 1
        numbered = {}
        for value, start, end in self.spans:
            shape = self.side.shape(value)
            live = (_kind(self.side, self.stages, value) == "bias") == (what == "bias")
            numbers = torch.arange(start + 1, end + 1, dtype=torch.float64) if live else torch.zeros(end - start)
            numbered[id(_tensor(self.side, value))] = numbers.to(torch.float64).reshape(shape)
        raw = self.side.plan.raw
        fixed = {value: tensor.cpu() for value, tensor in self.side.tape.fixed.items()}
        played = self.side.tape.play(
            self.side.records(self.stages),
            fixed | {raw[self.source]: x},
            lambda leaf: numbered.get(id(leaf), leaf.cpu().to(torch.float64)),
        )
        place = self.side.plan.run.seen.place
        return {place[value]: tensor for value, tensor in played.items() if value in place}


def _conflicts(a: Side, b: Side, copies: Iterable[Copy]) -> Iterator[str]:
    """Parameters of B that two different ones of A would have to be copied into."""
    whole: dict[int, Copy] = {}
    for copy in copies:
        before = whole.setdefault(copy.target, copy)
        if before.source != copy.source and _overlap(before, copy) and not _equal(a, before, copy):
            both = f"{a.name(before.source)} and {a.name(copy.source)} of A"
            yield f"{b.name(copy.target)} of B would get both {both}, which differ"


def _overlap(one: Copy, two: Copy) -> bool:
    if one.there is None or two.there is None:
        return True
    return bool(torch.isin(one.there, two.there).any())


def _equal(a: Side, one: Copy, two: Copy) -> bool:
    first, second = _tensor(a, one.source), _tensor(a, two.source)
    return first.shape == second.shape and torch.equal(first, second)
