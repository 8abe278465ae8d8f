"""Inputs that a model's own tokens never bring about, put to one stage of each kind.

With ordinary tokens an epsilon is far below what it is added to, scores are far below a cap, and positions are few: a
wrong epsilon, cap or table then changes nothing. So the calls of a stage are made again, on the model's own device and
in its own number format, on rows as small as epsilon, on scores around the cap, on every number that the format has.
"""

from __future__ import annotations

__all__ = ["Made", "Special"]

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inspector.reference.steps import Source, Step
from inspector.stage_graph.attributes import attributes
from inspector.stage_graph.stages import Stage
from inspector.tracing.tape import Tape, Taping
from inspector.verification.plan import Plan
from inspector.verification.values import Judged, Values, function_of, judged, values_of

Numbers = Mapping[str, Any]
Maker = Callable[[Tensor, Numbers], Iterator[Tensor]]
"""Tensors in the shape and the format of what a stage read, by the numbers that are claimed of it."""


class Made(NamedTuple):
    """What a stage gave on inputs that were made for it. inputs: what they are, in words."""

    inputs: str
    values: Values
    got: Tensor
    judged: Judged


class Special:
    """Runs stages again on inputs made for them: the first of all with one function and one set of numbers."""

    def __init__(self, plan: Plan) -> None:
        watcher = plan.run.watcher
        assert isinstance(watcher, Taping)
        self._plan, self._tape = plan, Tape(watcher)
        self._asked: set[tuple[object, ...]] = set()
        self._refused: dict[tuple[object, ...], tuple[str, str]] = {}

    def of(
        self, stage: Stage, steps: Sequence[Step], last: tuple[Values, Tensor], held: Callable[[int], Tensor]
    ) -> list[Made]:
        """What came of it; nothing where no inputs are known to be special, or they were put to such a stage before.

        last: the stage as it was judged on what it read. held: value id -> its tensor.
        """
        known = _MAKERS.get(function_of(steps[-1]))
        if known is None or self.were_put_to(stage, steps) or (len(steps) > 1 and not _is_elementwise(steps)):
            return []
        values, words, maker = last[0], *known
        moving = [source for _, source in steps[0].sources if source.kind != "weight"]
        entry = self._entry(stage, values.operands[moving[0]], held) if len(moving) == 1 else None
        if entry is None:
            self._refused.setdefault(self._kind(stage, steps), (stage.path, words))
            return []
        tensors = list(maker(held(entry), dict(steps[0].attributes)))
        made = [one for tensor in tensors for one in self._on(stage, values, held, (entry, moving[0], tensor), words)]
        if made:
            self._asked.add(self._kind(stage, steps))
        elif tensors:
            self._refused.setdefault(self._kind(stage, steps), (stage.path, words))
        return made

    def notes(self) -> Iterator[str]:
        """The kinds of stages that could not be run again on what was made for them, in words."""
        found: dict[str, dict[str, None]] = {}
        for kind, (path, words) in self._refused.items():
            if kind not in self._asked:
                found.setdefault(words, {})[path] = None
        for words, paths in sorted(found.items()):
            yield f"could not be given {words}, only what the tokens bring about: {', '.join(sorted(paths))}"

    def were_put_to(self, stage: Stage, steps: Sequence[Step]) -> bool:
        """Whether a stage that is written in the same way and claims the same was given them."""
        return self._kind(stage, steps) in self._asked

    def _kind(self, stage: Stage, steps: Sequence[Step]) -> tuple[object, ...]:
        graph = self._plan.graph
        written = tuple(
            (op.name, op.attributes, tuple(graph.trace.values[value].dtype for value in op.inputs))
            for op in graph.ops(stage)
        )
        claimed = tuple((step.function, step.attributes) for step in steps)
        return stage.path, claimed, written, attributes(graph, stage)

    def _entry(self, stage: Stage, operand: Tensor, held: Callable[[int], Tensor]) -> int | None:
        """The value that is the operand, element for element, where nothing else could be."""
        found = [value for value in stage.inputs if held(value).numel() == operand.numel()]
        same = [value for value in found if torch.equal(held(value).to(operand.dtype).reshape(operand.shape), operand)]
        return same[0] if len(same) == 1 else None

    def _on(
        self,
        stage: Stage,
        values: Values,
        held: Callable[[int], Tensor],
        entry: tuple[int, Source, Tensor],
        words: str,
    ) -> Iterator[Made]:
        value, source, tensor = entry
        raw = self._plan.raw
        records = sorted(self._plan.run.seen.order[op] for op in stage.ops)
        given = {raw[one]: held(one) for one in stage.inputs} | {raw[value]: tensor}
        try:
            made = self._tape.play(records, given)
        except (KeyError, IndexError, RuntimeError):  # it needs what is not at hand, or looks up what no table has
            return
        operands = {**values.operands, source: tensor.reshape(values.operands[source].shape)}
        again = values_of(values.steps, operands, {}, composite=values.composite)
        shapes = {expected.shape for expected in again.expected.values()}
        for output in stage.outputs:
            got = made[raw[output]]
            if output not in stage.inputs and (got.shape in shapes or got.numel() == next(iter(shapes)).numel()):
                yield Made(words, again, got, judged(again, got))


_ELEMENTWISE = frozenset({"activations.activate", "activations.clamp", "activations.shift"})


def _is_elementwise(steps: Sequence[Step]) -> bool:
    """Whether each step but the first reads the one before it alone, and no element anything but itself."""
    reads = [[source for _, source in step.sources] for step in steps]
    chained = all(read == [Source("step", before.index)] for before, read in zip(steps, reads[1:], strict=False))
    return chained and {function_of(step) for step in steps} <= _ELEMENTWISE


# what is special


def _rows(x: Tensor, numbers: Numbers, *, centred: bool) -> Iterator[Tensor]:
    """Rows around the root of epsilon, and of zeros; and large ones."""
    eps = numbers.get("eps")
    if not isinstance(eps, float):
        return
    rows = x.to(torch.float64)
    rows = rows - rows.mean(-1, keepdim=True) if centred else rows
    size = rows.pow(2).mean(-1, keepdim=True).sqrt().clamp(min=1e-30)
    sizes = torch.tensor([0.0, 0.1, 0.3, 1.0, 3.0, 10.0], dtype=torch.float64) * math.sqrt(eps)
    wanted = torch.cat((sizes, torch.tensor([100.0], dtype=torch.float64)))
    yield (rows / size * _shuffled(wanted, size.shape, x.device)).to(x.dtype)


def _numbers(x: Tensor, _: Numbers) -> Iterator[Tensor]:
    """Every number of a 16-bit format up to a size beyond which nothing bends; else a grid of them."""
    if x.dtype in (torch.float16, torch.bfloat16):
        every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(x.dtype).to(torch.float64)
        found = every[every.isfinite() & (every.abs() <= _FLAT)]
    else:
        small = torch.logspace(-12, math.log10(_FLAT), 2048, dtype=torch.float64)
        found = torch.cat((torch.linspace(-_FLAT, _FLAT, 4096, dtype=torch.float64), small, -small))
    for part in found.split(x.numel()):
        yield part.repeat(math.ceil(x.numel() / part.numel()))[: x.numel()].reshape(x.shape).to(x.device, x.dtype)


_FLAT = 64.0
"""Beyond it every non-linearity is zero, the identity, a power or saturated."""


def _around_cap(x: Tensor, numbers: Numbers) -> Iterator[Tensor]:
    """From minus four to four times the cap."""
    cap = numbers.get("cap")
    if isinstance(cap, (int, float)):
        yield torch.linspace(-4 * cap, 4 * cap, x.numel(), dtype=torch.float64).reshape(x.shape).to(x.device, x.dtype)


def _far_from_zero(x: Tensor, _: Numbers) -> Iterator[Tensor]:
    """Rows of scores moved up or down, which changes no probability; hidden ones stay hidden."""
    hidden = x <= torch.finfo(x.dtype).min / 2
    shift = _shuffled(torch.tensor([-_SHIFT, 0.0, _SHIFT], dtype=torch.float64), x.shape[:-1], x.device)
    yield torch.where(hidden, x, (x.to(torch.float64) + shift[..., None]).to(x.dtype))


_SHIFT = 300.0
"""exp(300) is beyond single precision."""


def _far_positions(x: Tensor, numbers: Numbers) -> Iterator[Tensor]:
    """Near and far ones; where the length decides how they are turned, none that would decide otherwise."""
    if x.is_floating_point():
        return
    by_length = numbers.get("kind") in _BY_LENGTH
    limit = int(numbers.get("original") or x.max() + 1) if by_length else max(_PLACES) + 1
    for end in (limit, _NEAR):  # a table that is looked up has an end
        places = torch.tensor([place for place in _PLACES if place < min(end, limit)], device=x.device)
        yield places.repeat(math.ceil(x.numel() / len(places)))[: x.numel()].reshape(x.shape)


_BY_LENGTH = frozenset({"dynamic", "longrope"})
_NEAR = 2048
_PLACES = (131_071, 0, 1, 2, 3, 255, 256, 257, 2047, 2048, 4095, 4096, 4097, 8191, 8192, 32_767, 32_768, 65_537)


def _shuffled(choices: Tensor, shape: Sequence[int], device: torch.device) -> Tensor:
    """One of the choices for each place, in no order that a sample of every n-th could miss."""
    count = math.prod(shape)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return choices[order % len(choices)].reshape(tuple(shape)).to(device)


_MAKERS: dict[str, tuple[str, Maker]] = {
    "norms.rms_norm": ("rows as small as epsilon", lambda x, numbers: _rows(x, numbers, centred=False)),
    "norms.layer_norm": ("rows as small as epsilon", lambda x, numbers: _rows(x, numbers, centred=True)),
    "activations.activate": ("numbers of every size", _numbers),
    "activations.clamp": ("numbers of every size", _numbers),
    "activations.shift": ("numbers of every size", _numbers),
    "attention.softcap": ("scores around the cap", _around_cap),
    "attention.softmax": ("scores far from zero", _far_from_zero),
    "rope.rope_table": ("far positions", _far_positions),
    "rope.complex_table": ("far positions", _far_positions),
}
"""Reference function -> what is special for it, in words, and how it is made."""
