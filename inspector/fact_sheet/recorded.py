"""Facts as a graph keeps them: what is saved can then be held against another model without a run."""

from __future__ import annotations

__all__ = ["graph_facts", "recorded"]

from collections.abc import Mapping
from dataclasses import replace

from inspector.fact_sheet.facts import Fact
from inspector.fact_sheet.scene import Scene
from inspector.fact_sheet.sheet import fact_sheet
from inspector.records import Trace
from inspector.stage_graph.calls import exact
from inspector.stage_graph.folded import record_of
from inspector.stage_graph.record import GraphFact, GraphRecord


def recorded(trace: Trace, scene: Scene | None = None) -> GraphRecord:
    """The graph of `trace`, equal blocks folded, with the facts in it. scene: the same, named and folded already.

    >>> from inspector.records import ModelInfo, Scenario
    >>> recorded(Trace(ModelInfo("none", None, "None", 0, 0), Scenario(), (), (), (), ())).facts[-1].id
    'cost.flops_other'
    """
    scene = scene or Scene(trace)
    record = record_of(scene.folded)
    return replace(record, facts=graph_facts(scene, _nodes(scene, record)))


def graph_facts(scene: Scene, nodes: Mapping[int, str] | None = None) -> tuple[GraphFact, ...]:
    """The facts of a scene. nodes: op id -> id of the node that stands for it, where there are nodes."""
    return tuple(_kept(fact, nodes or {}) for fact in fact_sheet(scene.trace, scene).facts)


def _kept(fact: Fact, nodes: Mapping[int, str]) -> GraphFact:
    shown = tuple(dict.fromkeys(nodes[op] for op in fact.evidence.ops if op in nodes))
    ((_, value),) = exact([("value", fact.value)])
    held = (fact.claim, fact.agrees, fact.explained)
    return GraphFact(fact.id, value, fact.unit, fact.layers, shown, fact.formula, *held)


def _nodes(scene: Scene, record: GraphRecord) -> dict[int, str]:
    """Op id -> id of its node, of the first of equal blocks: the nodes of a record are those stages in their order."""
    first = {block.layers[0] for blocks in scene.folded.blocks for block in blocks}
    shown = [stage for stage in scene.graph.stages if stage.layer is None or stage.layer in first]
    return {op: node.id for stage, node in zip(shown, record.nodes, strict=True) for op in stage.ops}
