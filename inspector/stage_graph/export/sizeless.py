"""A saved graph without what belongs to one run of it: sizes of batch and sequence, device, costs, claims.

Works on documents, not on records: what is left out here is filled in again, and then `saved` reads and checks the
whole as it does any graph.
"""

from __future__ import annotations

__all__ = ["STANDARD", "sized", "sizeless", "standard"]

import re
from collections.abc import Mapping
from math import prod
from typing import Any

from inspector.records import Scenario
from inspector.stage_graph.export.node_link import SCHEMA
from inspector.stage_graph.spans import layers_of

STANDARD = {"batch": 2, "seq": 16, "past": 16}
"""The run that a graph without sizes is made with, and read as."""

_FORM = re.compile(r"(?P<factors>[\dBSPT]+(?:·[\dBSPT]+)*)(?P<offset>[+-]\d+)?")

_RUN = ("mode", "attention", "dtype", "padding", "head")
_MODEL = ("name", "model_type", "class", "parameters", "untied", "source")
_NODE = ("id", "section", "role", "operand", "block", "also", "op", "module", "parameters", "attributes")
_EDGE = ("source", "target", "output", "input", "stream", "between", "source_layers", "target_layers")
_FACT = ("id", "value", "unit", "layers", "formula")
_TENSOR = ("name", "symbolic", "axes", "dtype")
_SIDES = ("inputs", "outputs", "weights")

_DEVICE = re.compile(r"(meta|cpu|cuda|mps|xpu)(:\d+)?")

_Row = Mapping[str, Any]


def standard(asked: Scenario) -> Scenario:
    """The run that says what this one would, on the sizes that all locks share.

    A number that a model computes from the past stays a number in its graph, and a batch of one needs no padding; so
    both are always the same. A shorter sequence is kept, for models that cannot take more.

    >>> run = standard(Scenario(batch=9, seq=1, past=100))
    >>> run.batch, run.seq, run.past
    (2, 1, 16)
    """
    return asked.resized(STANDARD["batch"], min(asked.seq, STANDARD["seq"]), STANDARD["past"] if asked.past else 0)


def sizeless(graph: _Row) -> dict[str, Any]:
    """What of a document `inspector/graph/1` is the same at every batch and sequence, on every device.

    >>> from inspector.records import ModelInfo, Scenario
    >>> from inspector.stage_graph.export.node_link import to_document
    >>> from inspector.stage_graph.record import GraphRecord
    >>> record = GraphRecord(ModelInfo("mine", None, "Mine", 0, 0), Scenario(batch=9, seq=99), (), ())
    >>> sizeless(to_document(record))["models"][0]["run"]["tokens"]
    'several'
    """
    (model,) = graph["models"]
    whole, run = graph["graph"], model["scenario"]
    return {
        "tool": dict(graph["tool"]),
        "models": [{**_some(model, _MODEL), "run": {**_some(run, _RUN), "tokens": _tokens(run["seq"])}}],
        "graph": {
            "pattern": whole["pattern"],
            "axes": [_some(axis, ("axis", "size")) for axis in whole["axes"]],
            "blocks": whole["blocks"],
            "outputs": whole["outputs"],
            # The cost of a run is that of its sizes. Where nobody looked for facts, there are none to leave out.
            "facts": [_some(fact, _FACT) for fact in whole["facts"] or () if not fact["id"].startswith("cost.")],
        },
        "nodes": [_node(node) for node in graph["nodes"]],
        "edges": [_some(edge, _EDGE) for edge in graph["edges"]],
    }


def _tokens(seq: int) -> str:
    """A sequence of one is another graph than a longer one: nothing is masked, and the 1 is a constant."""
    return "one" if seq == 1 else "several"


def _some(row: _Row, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _node(node: _Row) -> dict[str, Any]:
    tensors = {side: [_some(view, _TENSOR) for view in node[side]] for side in _SIDES}
    return {**_some(node, _NODE), "calls": _calls(node["calls"]), **tensors}


def _calls(calls: list[_Row]) -> list[dict[str, Any]]:
    """Each view once: a table that is looked at anew in every layer would fill a line per layer with the same."""
    made: list[dict[str, Any]] = []
    places: list[int] = []
    for call in calls:
        operands = [{**one, "from": _moved(one["from"], places)} for one in call["operands"]]
        kept = {**_call(call), "operands": operands}
        if call["effect"] == "view" and kept in made:
            places.append(made.index(kept))
        else:
            places.append(len(made))
            made.append(kept)
    return made


def _moved(source: str, places: list[int]) -> str:
    """`call.7.1` where the seventh call now stands."""
    kind, _, rest = source.partition(".")
    place, dot, output = rest.partition(".")
    return f"call.{places[int(place)]}{dot}{output}" if kind == "call" else source


def _call(call: _Row) -> dict[str, Any]:
    """Without the device that a tensor is moved to: `x.to(y.device)` names it like any other argument."""
    kept = {name: value for name, value in call["attributes"].items() if not _is_device(value)}
    return {**call, "attributes": kept}


def _is_device(value: Any) -> bool:
    return isinstance(value, str) and _DEVICE.fullmatch(value) is not None


def sized(rows: _Row) -> dict[str, Any]:
    """The document `inspector/graph/1` of such rows, as a run on the standard sizes would give it."""
    (model,) = rows["models"]
    whole, sizes = rows["graph"], _sizes(model["run"])
    spans = [block["layers"] for block in whole["blocks"]]
    return {
        "schema": SCHEMA,
        "tool": rows["tool"],
        "models": [{**_some(model, _MODEL), "scenario": _scenario(model["run"]), "notes": []}],
        "graph": {
            **whole,
            "claims": {"facts": [], "unread": []},
            "facts": [{**fact, "nodes": [], "claim": None, "agrees": None} for fact in whole["facts"]],
        },
        "nodes": [_whole_node(node, spans, sizes) for node in rows["nodes"]],
        "edges": rows["edges"],
    }


def _scenario(run: _Row) -> dict[str, Any]:
    sizes = {**STANDARD, "seq": 1} if run["tokens"] == "one" else dict(STANDARD)
    sizes |= {} if run["mode"] == "decode" else {"past": 0}
    asked = {name: run[name] for name in _RUN if name != "mode"}
    return {**sizes, **asked, "device": "meta", "seed": 0, "weights": "none", "experts": None}


def _sizes(run: _Row) -> dict[str, int]:
    scenario = _scenario(run)
    batch, seq, past = scenario["batch"], scenario["seq"], scenario["past"]
    return {"B": batch, "S": seq, "P": past, "T": past + seq}


def _whole_node(node: _Row, spans: list[str], sizes: Mapping[str, int]) -> dict[str, Any]:
    span = "" if node["block"] is None else spans[node["block"]]
    views = {side: [_whole_tensor(view, sizes) for view in node[side]] for side in _SIDES}
    return {**node, **views, "layers": span, "repeat": len(layers_of(span)) or 1, "flops": 0}


def _whole_tensor(view: _Row, sizes: Mapping[str, int]) -> dict[str, Any]:
    inner = view["symbolic"].removeprefix("(").removesuffix(")")
    shape = [size(text, sizes) for text in inner.split(", ")] if inner else []
    return {**view, "shape": shape, "device": "meta"}


def size(text: str, sizes: Mapping[str, int]) -> int:
    """The size of a dimension from its text.

    >>> size("12·64", {}), size("2·S+1", {"S": 16})
    (768, 33)
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError(f"{text!r} is no dimension")
    factors = (int(factor) if factor.isdigit() else sizes[factor] for factor in form["factors"].split("·"))
    return max(prod(factors) + int(form["offset"] or 0), 0)
