"""One side of a comparison: a folded graph as plain stages with their maths, shapes and neighbours."""

from __future__ import annotations

__all__ = ["STEM", "leading", "letters", "side_of", "sizes_of"]

from collections.abc import Iterable, Sequence
from dataclasses import replace

from inspector.alignment.parts import Part, Scope, Side
from inspector.comparison.maths import maths_of
from inspector.fact_sheet.recorded import graph_facts
from inspector.fact_sheet.scene import Scene
from inspector.records import Trace
from inspector.stage_graph import AxisNames, Block, FoldedGraph, Stage
from inspector.stage_graph.tensors import Dim, TensorView, Views

STEM = frozenset({"embedding", "positions", "mask", "control"})


def side_of(trace: Trace, unfolded: bool = False) -> Side:
    """The architecture that `trace` shows, equal blocks folded unless every layer is asked for by itself."""
    scene = Scene(trace)
    return replace(Extraction(scene.folded, unfolded).side(), facts=graph_facts(scene))


class Extraction:
    """Reads one folded graph."""

    def __init__(self, folded: FoldedGraph, unfolded: bool) -> None:
        self.folded, self.graph, self.trace = folded, folded.graph, folded.graph.trace
        self.kinds = _unfolded(folded) if unfolded else _kinds(folded)
        shown = {kind.layers[0] for kind in self.kinds}
        self.stages: dict[int | None, list[Stage]] = {}
        for stage in self.graph.stages:
            if stage.layer is None or stage.layer in shown:
                self.stages.setdefault(stage.layer, []).append(stage)
        chosen = self.graph.ops_around(stage for stages in self.stages.values() for stage in stages)
        self.views = Views(self.graph, AxisNames(self.graph, chosen))
        self.sizes = sizes_of(self.views.constants())
        self.readers = self._readers()

    def side(self) -> Side:
        outside = self.stages.get(None, [])
        stem = [stage for stage in outside if stage.section in STEM]
        head = [stage for stage in outside if stage.section not in STEM]
        blocks = [self._scope("block", self.stages[kind.layers[0]], kind) for kind in self.kinds]
        scopes = [self._scope("stem", stem), *blocks, self._scope("head", head)]
        return Side(
            model=self.trace.model,
            scenario=self.trace.scenario,
            scopes=tuple(scope for scope in scopes if scope.parts),
            depth=self.graph.layers,
            pattern=self.folded.pattern,
            sizes=self.sizes,
            notes=self.trace.notes,
        )

    def _scope(self, place: str, stages: Sequence[Stage], kind: Block | None = None) -> Scope:
        seen: dict[str, int] = {}
        parts = []
        for stage in stages:
            part = self._part(stage, kind)
            seen[part.id] = seen.get(part.id, 0) + 1
            parts.append(part if seen[part.id] == 1 else replace(part, id=f"{part.id}.{seen[part.id]}"))
        return Scope(
            place, tuple(parts), kind.layers if kind else (), kind.span if kind else "", kind.name if kind else ""
        )

    def _part(self, stage: Stage, kind: Block | None) -> Part:
        outputs = leading(self.views.outputs(stage.outputs))
        weights = [value for value in stage.parameters if self.trace.values[value].kind == "parameter"]
        layers, maths = kind.span if kind else "", maths_of(self.graph, stage, self.sizes)
        return Part(
            id=f"{layers.replace(':', '/') or 'model'}.{stage.name}",
            path=stage.path,
            operand=stage.operand,
            also=stage.also,
            layers=layers,
            module=_anywhere(self.graph.module(stage), stage.layer),
            maths=maths,
            spelling=self._spelling(stage),
            shapes=tuple(letters(view.dims, self.sizes) for view in outputs),
            printed=tuple(view.symbolic for view in outputs),
            weights=tuple(letters(view.dims, self.sizes) for view in self.views.weights(weights)),
            feeds=tuple(sorted({name for name in map(self._source, stage.inputs) if name})),
            readers=self.readers.get(stage.index, ()),
            idle=self._idle(stage) or (stage.role == "scale" and not maths),
            ops=stage.ops,
        )

    def _idle(self, stage: Stage) -> bool:
        """Only calls that give back what they got; also what only looks at the ids, or makes a norm's weight ready."""
        flow = self.graph.naming.flow
        aside = stage.section == "embedding" or stage.role.endswith("norm")
        apart = aside and not any(map(flow.on_act, stage.outputs))
        return apart or all(op.effect == "noop" for op in self.graph.ops(stage))

    def _spelling(self, stage: Stage) -> str:
        """Ops that compute; casts and views are how, not what."""
        kind = self.graph.naming.flow.kind
        names = [
            op.name for op in self.graph.ops(stage) if op.effect != "noop" and kind[op.id] not in ("plumb", "view")
        ]
        return " ".join(names)

    def _source(self, value: int) -> str:
        maker = self.graph.maker.get(value)
        return self.graph.stages[maker].name if maker is not None else ""

    def _readers(self) -> dict[int, tuple[str, ...]]:
        names: dict[int, set[str]] = {}
        for stages in self.stages.values():
            for stage in stages:
                for value in stage.inputs:
                    maker = self.graph.maker.get(value)
                    if maker is not None:
                        names.setdefault(maker, set()).add(stage.name)
        return {maker: tuple(sorted(found)) for maker, found in names.items()}


def leading(outputs: Iterable[TensorView]) -> list[TensorView]:
    """The outputs of a stage, numbers first: counts and masks that it makes beside them are not what it hands on."""
    return sorted(outputs, key=lambda view: not view.dtype.startswith(("float", "bfloat")))


def letters(dims: Iterable[Dim], sizes: dict[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Letters where the architecture names the axis. One head size, one count of heads: one letter."""
    grouped = "G" in sizes and sizes["G"] != sizes.get("H")
    one_width = sizes.get("Kv") in (None, sizes.get("K"))
    made = []
    for dim in dims:
        axis = dim.axis.replace("Kv", "K") if one_width else dim.axis
        made.append((axis if grouped else axis.replace("G", "H")) or dim.text)
    return tuple(made)


def _kinds(folded: FoldedGraph) -> list[Block]:
    """One block per kind, whichever groups it stands in."""
    layers: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for block in (block for blocks in folded.blocks for block in blocks):
        layers.setdefault(block.kind, []).extend(block.layers)
        names[block.kind] = block.name
    return [Block(kind, names[kind], tuple(sorted(found))) for kind, found in layers.items()]


def _unfolded(folded: FoldedGraph) -> list[Block]:
    return [Block(kind.kind, kind.name, (layer,)) for kind in _kinds(folded) for layer in kind.layers]


def sizes_of(constants: Iterable[tuple[str, int]]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for letter, size in constants:
        found[letter] = (*found.get(letter, ()), size)
    return found


def _anywhere(module: str, layer: int | None) -> str:
    """The module path without the number of its layer."""
    if layer is None:
        return module
    return ".".join("{}" if part.isdigit() else part for part in module.split("."))
