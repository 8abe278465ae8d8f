"""Layers taken out of their folded block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inspector.api.graph import Graph
from inspector.errors import UsageError
from inspector.folding import Group
from inspector.records import Trace
from inspector.roles import infer
from inspector.stage_graph import Block, FoldedGraph, build, fold_graph
from inspector.stage_graph.folded import record_of
from inspector.stage_graph.record import GraphRecord
from inspector.stage_graph.unfolded import unfold


def never_folded(trace: Trace) -> GraphRecord:
    """The graph made with every layer as a block of its own."""
    graph = build(trace, infer(trace))
    folded = fold_graph(graph)
    names = {layer: block.name for blocks in folded.blocks for block in blocks for layer in block.layers}
    blocks = tuple((Block(layer, names[layer], (layer,)),) for layer in range(graph.layers))
    groups = tuple(Group(layer, (layer,), 1) for layer in range(graph.layers))
    return record_of(FoldedGraph(graph, groups, blocks, folded.pattern))


@pytest.mark.parametrize("model", ["preset:gpt2", "preset:bert-base-uncased", "preset:llama-3-8b", "gemma3_text"])
def test_unfolded_is_what_was_never_folded(trace_of: Any, record_for: Any, model: str) -> None:
    """Module paths, names of weights, wiring, shapes, what is returned: all of it comes back."""
    folded, apart = record_for(model), never_folded(trace_of(model))
    unfolded = unfold(folded)

    assert len(folded.nodes) < len(apart.nodes)
    assert unfolded.nodes == apart.nodes
    assert unfolded.edges == apart.edges
    assert unfolded.outputs == apart.outputs
    assert [block.layers for block in unfolded.blocks] == [block.layers for block in apart.blocks]


def test_counts(record_for: Any) -> None:
    folded = record_for("preset:gpt2")
    unfolded = unfold(folded)
    inside = [node for node in folded.nodes if node.layers]

    assert len(unfolded.nodes) == len(folded.nodes) + 11 * len(inside)
    assert len(unfolded.edges) == sum(max(len(e.source_layers), len(e.target_layers), 1) for e in folded.edges)
    assert sum(node.parameters for node in unfolded.nodes) == sum(n.parameters * n.repeat for n in folded.nodes)


def test_some_layers_and_the_rest_folded(record_for: Any) -> None:
    folded = record_for("preset:gpt2")
    record = unfold(folded, [0, 5])

    assert [block.layers for block in record.blocks] == [(0,), (1, 2, 3, 4, 6, 7, 8, 9, 10, 11), (5,)]
    assert record.node("5.attention.qkv_proj").module == "transformer.h.5.attn.c_attn"
    assert record.node("1-4,6-11.attention.qkv_proj").module == "transformer.h.{}.attn.c_attn"
    assert [view.name for view in record.node("5.attention.norm").inputs] == ["mlp.residual"]
    assert [view.name for view in record.node("0.attention.norm").inputs] == ["embedding.add"]
    into = [(edge.source, edge.source_layers) for edge in record.incoming["5.attention.norm"]]
    assert into == [("1-4,6-11.mlp.residual", (4,))]


def test_unfolding_by_steps_is_unfolding_at_once(record_for: Any) -> None:
    folded = record_for("preset:gpt2")
    steps = unfold(unfold(folded, [3]), range(12))

    assert steps.nodes == unfold(folded).nodes
    assert steps.edges == unfold(folded).edges


def test_nothing_to_unfold(record_for: Any) -> None:
    folded = record_for("gpt2")

    assert unfold(folded, []) is folded
    assert unfold(unfold(folded)) == unfold(folded)


def test_names_without_a_number_stay(hostile: GraphRecord) -> None:
    block = replace(hostile.blocks[0], numbers=())
    nodes = tuple(replace(node, module="h.{}") for node in hostile.nodes)

    assert unfold(replace(hostile, nodes=nodes, blocks=(block,))).nodes[0].module == "h.{}"


def test_layers_that_are_not_there(record_for: Any) -> None:
    with pytest.raises(UsageError, match="tiny gpt2 has no layer 2,7,9") as caught:
        unfold(record_for("gpt2"), [1, 9, 7, 2])

    assert caught.value.why == "it has 0-1"


@pytest.mark.parametrize("layers", ["0,", "1-", "two", "0--1", "3-1"])
def test_layers_that_are_none(record_for: Any, layers: str) -> None:
    with pytest.raises(UsageError, match="cannot unfold"):
        Graph(record_for("gpt2")).unfold(layers)


def test_layers_as_text(record_for: Any) -> None:
    graph = Graph(record_for("preset:gpt2"))

    assert graph.unfold("0, 4-6").record == unfold(graph.record, [0, 4, 5, 6])
    assert graph.unfold("all").record == unfold(graph.record)
