"""A trace becomes JSON and comes back the same."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan

import pytest

from inspector.api.serial import from_document, to_document
from inspector.errors import SchemaError
from inspector.records import Claims, Concrete, ModelInfo, Op, Scenario, Trace, Value

VALUES = (
    Value(0, "input", "input_ids", (2, 4), "int64", "cpu", None),
    Value(1, "parameter", "wte.weight", (100, 8), "bfloat16", "meta", None),
    Value(2, "op", None, (2, 4, 8), "bfloat16", "meta", 0),
    Value(3, "op", None, (), "bool", "meta", 1),
)
OPS = (
    Op(0, "embedding", "F.embedding", "wte", "Embedding", (("input", 0), ("weight", 1)), (), (), (2,), ""),
    Op(
        1,
        "masked_fill",
        "Tensor.masked_fill",
        "h.0",
        "Block",
        (("input", 2),),
        (("other", 1),),
        (("value", -inf), ("index", (None, ("slice", None, 4, None), (True, 1, 1.0))), ("dtype", "float32")),
        (3,),
        "inplace",
    ),
)
TRACE = Trace(
    model=ModelInfo("tiny", None, "Tiny", 800, 1600, "hand-made"),
    scenario=Scenario(batch=3, past=5, seq=1, head=False),
    ops=OPS,
    values=VALUES,
    inputs=(("input_ids", 0),),
    outputs=(("logits", 2), ("past_key_values.layers.0.keys", 3)),
    symbols=(("B", "S"), ("100", "8"), ("B", "S", "8"), ()),
    concrete={
        0: Concrete((2, 4), "int64", (1, 2, -3), (3, 4, 1), "ab12"),
        3: Concrete((), "float32", (-inf,), (1,), ""),
    },
    claims=Claims((("norm.eps", 1e-5, "config.layer_norm_epsilon"), ("mlp.gated", None, "config")), ("unknown_key",)),
    notes=("sequence raised to 20",),
    tool=(("torch", "2.13.0"),),
)


def through_json(trace):
    return from_document(json.loads(json.dumps(to_document(trace))))


def test_every_record_comes_back_the_same():
    back = through_json(TRACE)

    assert back == TRACE
    assert repr(back) == repr(TRACE)  # tells 1, 1.0 and True apart, and a list from a tuple


def test_nan_comes_back():
    op = OPS[0]._replace(attributes=(("value", nan),))
    back = through_json(replace(TRACE, ops=(op, OPS[1])))

    assert repr(back.ops[0].attributes) == "(('value', nan),)"


def damaged(**changes):
    return {**json.loads(json.dumps(to_document(TRACE))), **changes}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        damaged(schema="inspector/trace/0"),
        damaged(schema=None),
        damaged(ops=[[0, "linear"]]),
        damaged(ops=[["0", *OPS[0][1:]], OPS[1]]),
        damaged(ops=OPS[:1] * 2),
        damaged(values=VALUES[:3]),
        damaged(values=VALUES[1:]),
        damaged(values=7),
        damaged(inputs=[["input_ids", 9]]),
        damaged(scenario={"batch": 2, "colour": "red"}),
        damaged(concrete=[[9, TRACE.concrete[0]]]),
        damaged(concrete=[["zero", TRACE.concrete[0]]]),
        {key: value for key, value in damaged().items() if key != "symbols"},
    ],
)
def test_what_is_no_trace_is_refused(document):
    with pytest.raises(SchemaError):
        from_document(document)


def test_an_undamaged_document_is_accepted():
    """The negative control of the refusals above."""
    assert from_document(damaged()) == TRACE
