"""Tensors as a table shows them: where they come from, and each dimension with its text and its axis."""

from __future__ import annotations

__all__ = ["Dim", "TensorView", "Views"]

from collections.abc import Iterable
from typing import NamedTuple

from inspector.axes import AXES
from inspector.stage_graph.axes import AxisNames
from inspector.stage_graph.stages import StageGraph
from inspector.tracing.texts import UNSOLVED


class Dim(NamedTuple):
    """One dimension: its size in this run, its text ("B", "768", "12·64") and its axis letters ("B", "D", "H·K").

    `axis` is "" where no part of the architecture names the dimension.
    """

    size: int
    text: str
    axis: str


class TensorView(NamedTuple):
    """One tensor that enters or leaves a stage. `name` says where it comes from: a role path, an input, a parameter."""

    name: str
    dims: tuple[Dim, ...]
    dtype: str
    device: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(dim.size for dim in self.dims)

    @property
    def symbolic(self) -> str:
        """The shape as it is printed: `(B, 12, S, T)`."""
        return "(" + ", ".join(dim.text for dim in self.dims) + ")"


class Views:
    """Makes the views of one graph's values."""

    def __init__(self, graph: StageGraph, axes: AxisNames) -> None:
        self.trace = graph.trace
        self._graph, self._axes = graph, axes
        self._left = {value: name for name, value in graph.trace.outputs}
        self._entered = {value: name for name, value in graph.trace.inputs}

    def inputs(self, values: Iterable[int]) -> tuple[TensorView, ...]:
        return tuple(self.view(value, self._source(value)) for value in self._distinct(values))

    def outputs(self, values: Iterable[int]) -> tuple[TensorView, ...]:
        return tuple(self.view(value, self._left.get(value, "")) for value in self._distinct(values))

    def weights(self, values: Iterable[int]) -> tuple[TensorView, ...]:
        return tuple(self.view(value, self.trace.values[value].name or "") for value in values)

    def view(self, value: int, name: str) -> TensorView:
        record = self.trace.values[value]
        return TensorView(name, self._dims(value), record.dtype, record.device)

    def constants(self) -> tuple[tuple[str, int], ...]:
        """(letter, size) of the named axes that have one size throughout, in the order of the vocabulary."""
        sizes: dict[str, set[int]] = {}
        for letter, size in self._axes.sizes():
            sizes.setdefault(letter, set()).add(size)
        return tuple(
            (letter, size)
            for letter in AXES
            if letter not in ("B", "S", "P", "T") and letter in sizes
            for size in sorted(sizes[letter])
        )

    def _source(self, value: int) -> str:
        """The stage that made it, or the name of the input."""
        maker = self._graph.maker.get(value)
        if maker is not None:
            return self._graph.stages[maker].name
        return self.entered(value)

    def entered(self, value: int) -> str:
        """The name of a value that no op made."""
        return self._entered.get(value) or self.trace.values[value].name or ""

    def slots(self, values: Iterable[int]) -> dict[int, int]:
        """Value -> place among the views shown for `values`.

        What is another view of one that is there shares its place: a table is shown once, not once per layer.
        """
        flow = self._graph.naming.flow
        seen: dict[tuple[int, tuple[int, ...]], int] = {}
        return {
            value: seen.setdefault((flow.through(value, ("plumb", "view")), self.trace.values[value].shape), len(seen))
            for value in values
        }

    def _distinct(self, values: Iterable[int]) -> list[int]:
        first: dict[int, int] = {}
        for value, slot in self.slots(values).items():
            first.setdefault(slot, value)
        return list(first.values())

    def _dims(self, value: int) -> tuple[Dim, ...]:
        shape, texts, letters = self.trace.values[value].shape, self.trace.symbols[value], self._axes.of(value)
        return tuple(
            [
                _dim(size, text, letter, self._axes.parts(value, axis) if "·" in letter else ())
                for axis, (size, text, letter) in enumerate(zip(shape, texts, letters, strict=True))
            ]
        )


def _dim(size: int, text: str, letter: str, parts: tuple[int, ...]) -> Dim:
    """parts: sizes of the axes that a product of letters is joined of."""
    if text.startswith(UNSOLVED):
        return Dim(size, text.removeprefix(UNSOLVED), letter)
    if text.isdigit():
        joined = "·".join(map(str, parts)) if len(parts) > 1 else text
        return Dim(size, joined, letter)
    shown = "T" if letter == "T" else text.replace("*", "·")
    return Dim(size, shown, shown if shown in AXES or "·" in shown else letter)
