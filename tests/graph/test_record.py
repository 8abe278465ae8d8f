"""The comparable graph: what stands in it, that its links hold, and that it is the same wherever it is made."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

import inspector
from inspector.api.graph import Graph
from inspector.api.serial import to_document as saved_trace
from inspector.records import Scenario
from inspector.shape_table.build import shape_table
from inspector.stage_graph.export.node_link import to_document
from inspector.stage_graph.record import GraphRecord

MODELS = ("bert", "gpt2", "llama", "gemma3_text")
ROOT = Path(inspector.__file__).parents[1]


def loops(record: GraphRecord) -> nx.MultiDiGraph:
    graph = Graph(record).networkx()
    graph.remove_edges_from([edge[:3] for edge in graph.edges(keys=True, data="between") if edge[3]])
    return graph


def test_the_folded_graph_of_gpt2(record_for: Any) -> None:
    record = record_for("preset:gpt2")

    assert (len(record.nodes), len(record.edges), record.pattern) == (33, 37, "12")
    assert [(block.text, block.layers) for block in record.blocks] == [("x12", tuple(range(12)))]
    assert record.blocks[0].numbers == tuple(map(str, range(12)))
    assert record.axes == (("D", 768), ("H", 12), ("K", 64), ("F", 3072), ("V", 50257))


def test_a_node_tells_its_maths(record_for: Any) -> None:
    record = record_for("preset:gpt2")
    qkv, act = record.node("0-11.attention.qkv_proj"), record.node("0-11.mlp.activation")

    assert (qkv.path, qkv.name, qkv.repeat, qkv.span) == ("attention.qkv_proj", "attention.qkv_proj", 12, "0-11")
    assert qkv.module == "transformer.h.{}.attn.c_attn"
    assert [view.name for view in qkv.weights] == [
        f"transformer.h.{{}}.attn.c_attn.{name}" for name in ("bias", "weight")
    ]
    assert [call.name for call in qkv.calls] == ["view", "addmm", "view"]
    assert qkv.calls[1].operands == (("input", "weight.0"), ("mat1", "call.0"), ("mat2", "weight.1"))
    assert [call.attribute("other") for call in act.calls if call.name == "mul"] == [
        0.5,
        0.044715,
        0.7978845608028654,
        None,
    ]
    assert record.node("0-11.attention.norm").attribute("eps") == 1e-05
    assert record.node("0-11.attention.split_heads.k").outputs[0].symbolic == "(B, 12, S, 64)"
    assert [dim.axis for dim in record.node("0-11.attention.scores").outputs[0].dims] == ["B", "H", "S", "T"]


def test_the_stream_goes_from_block_to_block(record_for: Any) -> None:
    incoming = record_for("preset:gpt2").incoming["0-11.attention.norm"]

    assert [(edge.source, edge.between, edge.stream) for edge in incoming] == [
        ("model.embedding.add", False, True),
        ("0-11.mlp.residual", True, True),
    ]
    assert [(edge.source_layers, edge.target_layers) for edge in incoming] == [
        ((), (0,)),
        (tuple(range(11)), tuple(range(1, 12))),
    ]


def test_what_the_model_returns(record_for: Any) -> None:
    outputs = {output.name: (output.node, output.layers) for output in record_for("preset:gpt2").outputs}

    assert outputs == {
        "past_key_values.layers.{}.keys": ("0-11.attention.cache_update.k", tuple(range(12))),
        "past_key_values.layers.{}.values": ("0-11.attention.cache_update.v", tuple(range(12))),
        "logits": ("model.head.lm_head", ()),
    }


@pytest.mark.parametrize("model", MODELS)
def test_every_link_leads_somewhere(record_for: Any, model: str) -> None:
    record = record_for(model)

    assert len({node.id for node in record.nodes}) == len(record.nodes)
    for edge in record.edges:
        source, target = record.node(edge.source), record.node(edge.target)
        assert edge.output < len(source.outputs)
        assert edge.input < len(target.inputs)
        assert set(edge.source_layers) <= set(source.layers)
        assert set(edge.target_layers) <= set(target.layers)
        assert source.outputs[edge.output].dtype == target.inputs[edge.input].dtype
    for node in record.nodes:
        sizes = {"input": len(node.inputs), "weight": len(node.weights), "call": len(node.calls)}
        for place, call in enumerate(node.calls):
            for _, operand in call.operands:
                kind, number = operand.split(".")[:2]
                assert int(number) < (place if kind == "call" else sizes[kind])


@pytest.mark.parametrize("model", MODELS)
def test_only_edges_between_blocks_close_a_cycle(record_for: Any, model: str) -> None:
    record = record_for(model)

    assert nx.is_directed_acyclic_graph(loops(record))
    assert not nx.is_directed_acyclic_graph(Graph(record).networkx())


@pytest.mark.parametrize("model", MODELS)
def test_every_stage_is_read_or_returned(record_for: Any, model: str) -> None:
    """Idle dropouts hand on what they got, so nobody reads from them; anything else without readers is a lost edge."""
    record = record_for(model)
    returned = {output.node for output in record.outputs}
    loose = [node.role for node in record.nodes if not record.outgoing[node.id] and node.id not in returned]

    assert set(loose) <= {"dropout", "unused", "branch"}


@pytest.mark.parametrize("model", ["preset:gpt2", "gemma3_text"])
def test_ids_are_those_of_the_shapes_table(trace_of: Any, record_for: Any, model: str) -> None:
    rows = {row.id.removeprefix("model."): row for row in shape_table(trace_of(model)).rows}
    nodes = {node.id.removeprefix("model."): node for node in record_for(model).nodes}

    assert list(rows) == list(nodes)
    assert [row.attributes for row in rows.values()] == [node.attributes for node in nodes.values()]
    assert [row.parameters * row.repeat for row in rows.values()] == [n.parameters * n.repeat for n in nodes.values()]


def test_a_model_with_two_kinds_of_block(record_for: Any) -> None:
    record = record_for("gemma3_text")

    assert [(block.name, block.layers) for block in record.blocks] == [
        ("sliding", (0, 1, 2, 3, 4, 6, 7, 8, 9, 10)),
        ("causal", (5, 11)),
    ]
    assert {node.block for node in record.nodes} == {None, 0, 1}
    assert record.node("0-4,6-10.attention.mask").attribute("kind") == "sliding"
    assert record.node("5-11/6.attention.mask").attribute("kind") == "causal"


def structure(document: Any) -> Any:
    """Without what a size decides: the scenario, FLOPs, the facts of cost and sizes in numbers."""
    if isinstance(document, dict):
        return {key: structure(value) for key, value in document.items() if key not in ("scenario", "flops", "shape")}
    if isinstance(document, list):
        kept = [item for item in document if not (isinstance(item, dict) and item.get("id", "").startswith("cost."))]
        return [structure(item) for item in kept]
    return document


@pytest.mark.parametrize("model", MODELS)
def test_the_structure_is_the_same_at_every_size(record_for: Any, model: str) -> None:
    one, two = (to_document(record_for(model, Scenario(batch=batch, seq=seq))) for batch, seq in ((2, 16), (3, 31)))

    assert one != two
    assert structure(one) == structure(two)


def test_the_structure_is_not_that_of_another_model(record_for: Any) -> None:
    one, two = (to_document(record_for("gpt2", **changes)) for changes in ({}, {"layer_norm_epsilon": 1e-3}))

    assert structure(one) != structure(two)


FORMATS = ("json", "graphml", "dot", "mermaid", "model_explorer", "text", "csv")

WRITE = f"""
import hashlib, json, sys
from inspector.api.graph import Graph
from inspector.api.serial import from_document
from inspector.fact_sheet.recorded import recorded
graph = Graph(recorded(from_document(json.load(sys.stdin))))
print([hashlib.sha256(getattr(graph, "to_" + name)().encode()).hexdigest() for name in {FORMATS}])
print("torch" in sys.modules or "transformers" in sys.modules)
"""


def test_the_bytes_are_the_same_under_every_hash_seed(trace_of: Any, record_for: Any) -> None:
    trace = json.dumps(saved_trace(trace_of("gemma3_text")))
    here = [
        hashlib.sha256(getattr(Graph(record_for("gemma3_text")), f"to_{name}")().encode()).hexdigest()
        for name in FORMATS
    ]
    for seed in ("0", "1", "4242"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", WRITE], input=trace, env=env, capture_output=True, text=True, check=True
        )

        assert done.stdout == f"{here}\nFalse\n"
