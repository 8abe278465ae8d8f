"""`inspector shapes --explain`: every product of matrices in words."""

from __future__ import annotations

import json
import re

import pytest
import torch
from jsonschema import Draft202012Validator
from torch.nn import functional

import inspector
from inspector.api.explain import Explained
from inspector.api.schemas import schema
from inspector.api.verbs import shapes
from inspector.errors import UsageError
from inspector.messages import messages, speaking
from inspector.records import Scenario
from inspector.shape_table.build import shape_table


def explained(trace):
    return Explained((shape_table(trace, ops=True),))


@pytest.fixture(scope="module")
def gpt2(trace_of):
    return explained(trace_of("preset:gpt2"))


def said(result):
    return dict(zip((row.role for row in result.products), result.sentences, strict=True))


def test_scores_and_weighted_sum(gpt2):
    told = said(gpt2)

    assert told["scores"] == (
        "for each of B sequences and H heads, every query (S) is held against every key (T); K is summed: "
        "2·B·H·S·T·K FLOPs"
    )
    assert told["weighted_sum"].startswith("for each of B sequences and H heads, every query (S) takes the values (K)")
    assert "T is summed: 2·B·H·S·K·T FLOPs" in told["weighted_sum"]
    assert told["o_proj"] == (
        "for each of B sequences and S tokens, H·K numbers become D, each a sum over H·K; then a vector of D is added: "
        "2·B·S·D·H·K FLOPs"
    )


def test_one_kernel_is_two_products(trace_of):
    told = said(explained(trace_of("preset:llama-3-8b", Scenario(attention="sdpa", padding="none"))))

    assert "one kernel holds every query (S) against every key (T), with K summed" in told["fused"]
    assert "with T summed; one factor is used again for each of H heads" in told["fused"]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_every_letter_of_a_signature_is_introduced(attention, trace_of):
    result = explained(trace_of("preset:gpt2", Scenario(attention=attention)))
    (axes,) = [text for text in result.to_text().splitlines() if text.startswith("axes ")]
    letters = {axis for row in result.products for term in row.signature.inputs for axis in term}

    assert {axis for axis in letters if not axis.isdigit() and "·" not in axis} <= set(re.findall(r"(\w+)=", axes))
    assert ("Kv=64 value head dim" in axes) == (attention == "sdpa")


def test_rows_per_op_are_no_answer_in_words():
    with pytest.raises(UsageError, match="--explain does not go with --ops"):
        shapes("gpt2", explain=True, ops=True)


@pytest.mark.parametrize(
    ("function", "inputs", "sentence"),
    [
        (torch.dot, ((4,), (4,)), "all is summed to one number: 4 is summed: 2·4 FLOPs"),
        (torch.mv, ((3, 4), (4,)), "for each of 3, 4 numbers become one: 4 is summed: 2·3·4 FLOPs"),
        (
            torch.outer,
            ((3,), (4,)),
            "for each of 3 and 4, every pair is multiplied, and nothing is summed: 2·3·4 FLOPs",
        ),
        (functional.linear, ((2, 3), (5, 3)), "for each of 2, 3 numbers become 5, each a sum over 3: 2·2·5·3 FLOPs"),
        (
            torch.matmul,
            ((6, 2, 3), (3, 4)),
            (
                "for each of 6 and 2, 3 numbers become 4, each a sum over 3; one factor is used again for each of 6: "
                "2·6·2·4·3 FLOPs"
            ),
        ),
    ],
)
def test_products_without_a_part(function, inputs, sentence):
    result = shapes(function, tuple(map(torch.ones, inputs)), explain=True)

    assert result.sentences == (sentence,)


def test_keys_may_stand_on_the_left():
    def mixed(q, k, v):
        return (k @ q.transpose(-1, -2)).softmax(-2).transpose(-1, -2) @ v

    result = shapes(mixed, ["q:BxSx8", "k:Bx5x8", "v:Bx5x8"], explain=True)

    assert "every query (S) is held against every key (T)" in said(result)["scores"]


def test_what_is_no_product_is_counted(gpt2):
    table = gpt2.table
    result = shapes(torch.nn.Conv1d(4, 4, 3), (torch.ones(2, 4, 9),), explain=True)

    assert sum(row.flops * row.repeat for row in gpt2.products) == table.summary.flops
    assert f"of the {table.summary.ops} ops" in gpt2.to_text()
    assert result.products == ()
    assert "no einsum says: they have no signature" in result.to_text()


def test_every_format(gpt2):
    document = json.loads(gpt2.to_json())
    Draft202012Validator(schema("explain")).validate(document)

    scores = next(row for row in document["rows"] if row["role"] == "scores")
    assert scores["signature"]["text"] == "b h s k, b h t k -> b h s t" or scores["signature"]["text"].count("k") == 2
    assert scores["signature"]["batch"] == ["B", "H"]
    assert scores["signature"]["summed"] == ["K"]
    assert "scores" in gpt2.to_markdown()
    assert len(gpt2.to_frame()) == len(gpt2.products)
    assert max(map(len, gpt2.to_terminal(width=80, color=False).splitlines())) <= 80


def test_the_op_view_has_a_column_and_a_field(trace_of):
    from inspector.api.results import Shapes

    result = Shapes((shape_table(trace_of("preset:gpt2"), ops=True),))
    document = json.loads(result.to_json())
    Draft202012Validator(schema("shapes")).validate(document)

    assert "signature" in result.to_text()
    assert "b h s t, b h t k -> b h s k" in result.to_text()
    assert {row["signature"] is None for row in document["rows"]} == {True, False}
    assert "signature" not in Shapes((shape_table(trace_of("preset:gpt2")),)).to_text()
    assert "b h s t, b h t k -> b h s k" in result.to_csv()


def test_one_run_at_a_time():
    with pytest.raises(UsageError, match="one run is explained at a time"):
        inspector.shapes("gpt2", attention="eager,sdpa", explain=True)


def test_both_languages_say_all_of_it(gpt2):
    chinese = gpt2.to_text(lang="zh")
    with speaking("zh"):
        document = gpt2.to_json()

    assert "每个查询（S）与每个键（T）相比" in chinese
    assert document == gpt2.to_json()  # data is English
    for section in ("explain", "generate"):
        assert messages("en")[section].keys() == messages("zh")[section].keys()
