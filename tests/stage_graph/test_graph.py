"""Stages, their order, their axes, and the blocks they fold into."""

from __future__ import annotations

import pytest

from inspector.records import Scenario
from inspector.roles import infer
from inspector.stage_graph import AxisNames, build, fold_graph


def graph_of(trace):
    return build(trace, infer(trace))


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama", "gpt_neox", "gemma2"])
def test_every_op_is_in_one_stage(trace_of, model_type):
    graph = graph_of(trace_of(model_type))

    assert sorted(op for stage in graph.stages for op in stage.ops) == [op.id for op in graph.trace.ops]


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama", "gpt_neox", "gemma2"])
def test_what_feeds_a_stage_comes_before_it(trace_of, model_type):
    graph = graph_of(trace_of(model_type))

    assert graph.edges
    assert all(edge.source < edge.target for edge in graph.edges)


def named(trace, path, operand=""):
    graph = graph_of(trace)
    stage = next(stage for stage in graph.stages if (stage.path, stage.operand) == (path, operand))
    axes = AxisNames(graph, (op.id for op in trace.ops))
    return [axes.of(value) for value in stage.inputs], [axes.of(value) for value in stage.outputs]


def test_axes_are_named_by_where_they_come_from(trace_of):
    """In llama D, H·K and 64 are all one number; in the shapes they are not."""
    llama = trace_of("llama")

    assert named(llama, "attention.q_proj", "q") == ([("", "", "D")], [("", "", "H·K")])
    assert named(llama, "attention.k_proj", "k")[1] == [("", "", "G·K")]
    assert named(llama, "attention.repeat_kv", "k") == ([("", "G", "T", "K")], [("", "H", "T", "K")])
    assert named(llama, "attention.scores")[1] == [("", "H", "", "T")]
    assert named(llama, "attention.merge_heads") == ([("", "H", "", "K")], [("", "", "H·K")])
    assert named(llama, "mlp.multiply")[1] == [("", "", "F")]
    assert named(llama, "head.lm_head")[1] == [("", "", "V")]


def test_equal_numbers_do_not_make_equal_axes(trace_of):
    same = trace_of("llama", num_attention_heads=16, num_key_value_heads=16, head_dim=16, hidden_size=16)

    assert named(same, "attention.scores")[1] == [("", "H", "", "T")]
    assert named(same, "attention.o_proj") == ([("", "", "H·K")], [("", "", "D")])


@pytest.mark.parametrize(
    ("model_type", "changes", "pattern"),
    [
        ("gpt2", {"n_layer": 5}, "5"),
        ("llama", {"num_hidden_layers": 7}, "7"),
        ("bert", {"num_hidden_layers": 3}, "3"),
        ("gemma2", {"num_hidden_layers": 6}, "[sliding, causal] x3"),
        ("gemma3_text", {}, "[5 sliding, causal] x2"),
    ],
)
def test_equal_blocks_fold(trace_of, model_type, changes, pattern):
    trace = trace_of(model_type, Scenario(seq=24), **changes)

    assert fold_graph(graph_of(trace)).pattern == pattern


def test_one_different_number_is_a_different_block(trace_of):
    trace = trace_of("gpt2", n_layer=4, scale_attn_by_inverse_layer_idx=True)

    assert len(fold_graph(graph_of(trace)).groups) > 1


def test_layers_of_a_block_are_written_short(trace_of):
    folded = fold_graph(graph_of(trace_of("gemma3_text", Scenario(seq=24))))

    assert [block.span for block in folded.blocks[0]] == ["0-4,6-10", "5-11:6"]
