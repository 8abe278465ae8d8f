"""What one side of a comparison says of its stages."""

from __future__ import annotations

from dataclasses import replace

from inspector.comparison.saved import _part
from inspector.comparison.sides import Extraction, leading, sizes_of
from inspector.roles import infer
from inspector.stage_graph import build, fold_graph
from inspector.stage_graph.folded import record_of


def folded(trace):
    return fold_graph(build(trace, infer(trace)))


def test_counts_and_masks_beside_the_numbers_are_not_what_a_stage_hands_on(trace_of):
    """Tokens go to their experts with how many go to each; which is made first varies from version to version."""
    graph = folded(trace_of("mixtral"))
    record = record_of(graph)
    node = next(node for node in record.nodes if node.role == "dispatch")
    stage = next(stage for stage in graph.graph.stages if stage.path == "moe.dispatch")
    side, sizes = Extraction(graph, unfolded=False), sizes_of(record.axes)

    assert {view.dtype for view in node.outputs} > {"bfloat16"}
    parts = [
        *(_part(record, replace(node, outputs=outputs), sizes) for outputs in (node.outputs, node.outputs[::-1])),
        *(side._part(replace(stage, outputs=outputs), None) for outputs in (stage.outputs, stage.outputs[::-1])),
    ]
    assert all(len(part.shapes) == len(node.outputs) for part in parts)
    assert {view.dtype for view in leading(node.outputs)[:1]} == {"bfloat16"}
    for part in parts[1::2]:
        assert set(part.shapes[:2]) == set(parts[0].shapes[:2])
