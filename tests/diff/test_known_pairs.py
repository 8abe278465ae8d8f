"""Pairs that everyone knows: which rules fire, what the first sentences say, and what happens to each stage."""

from __future__ import annotations

import pytest

from inspector.comparison.judge import compare

GPT2_TO_LLAMA = {
    *("position.kind", "norm.kind", "norm.bias", "mlp.gated", "mlp.activation", "mlp.width"),
    *("attention.kind", "attention.kv_heads", "attention.heads", "attention.head_dim", "attention.qkv"),
    *("attention.softmax_dtype", "bias.qkv", "bias.o", "bias.mlp", "embedding.tied"),
    *("model.layers", "model.width", "model.vocabulary", "graph.storage", "graph.dropout"),
}
"""GPT-2's eps is Llama 3's: norm.eps is silent."""

PAIRS = {
    ("preset:bert-base-uncased", "preset:gpt2"): {
        *("attention.direction", "model.family", "norm.placement", "norm.eps", "norm.final", "mlp.activation"),
        *("attention.qkv", "embedding.segments", "embedding.norm", "model.vocabulary"),
        *("graph.pooler", "graph.lm_head", "graph.position_table", "graph.cache", "graph.storage"),
    },
    ("preset:gpt2", "preset:llama-3-8b"): GPT2_TO_LLAMA,
    ("preset:bert-base-uncased", "preset:llama-3-8b"): {
        *("attention.direction", "model.family", "norm.placement", "norm.eps", "norm.final", "norm.kind", "norm.bias"),
        *("mlp.gated", "mlp.activation", "mlp.width", "position.kind"),
        *("attention.kind", "attention.kv_heads", "attention.heads", "attention.head_dim", "attention.softmax_dtype"),
        *("bias.qkv", "bias.o", "bias.mlp", "embedding.segments", "embedding.norm"),
        *("model.layers", "model.width", "model.vocabulary"),
        *("graph.pooler", "graph.lm_head", "graph.cache", "graph.dropout"),
    },
    ("preset:llama-2-7b", "preset:llama-3-8b"): {
        *("attention.kind", "attention.kv_heads", "position.rope.theta", "mlp.width", "model.vocabulary"),
    },
}


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_exactly_these_rules_fire(compared, names):
    """And every stage with a part found a counterpart, or one of them says why not."""
    found = compared(*names)

    assert sorted(PAIRS[names]) == sorted(finding.rule for finding in found.findings)
    assert found.aligned == 1.0


def test_the_first_sentence_says_who_sees_whom(compared):
    found = compared("preset:bert-base-uncased", "preset:gpt2")

    assert found.sentences[0] == (
        "gpt2 masks the future: a token sees itself and what came before. bert-base-uncased sees both sides."
    )


def test_grouped_heads_are_said_with_what_they_save(compared):
    found = compared("preset:llama-2-7b", "preset:llama-3-8b")

    assert found.sentences[0] == (
        "llama-3-8b shares each key/value head among 4 query heads (GQA); llama-2-7b gives each query head its own "
        "(MHA): 131,072 against 524,288 bytes of cache per token."
    )


def test_what_each_norm_computes_is_said(compared):
    (finding,) = [finding for finding in compared("gpt2", "llama").findings if finding.rule == "norm.kind"]

    assert "subtract the mean, divide by the standard deviation" in finding.sentence
    assert "divide by the root mean square" in finding.sentence


def by_status(found):
    rows: dict[str, set[str]] = {}
    for row in found.rows:
        rows.setdefault(row.status, set()).add(row.path)
    return rows


def test_bert_and_gpt2_row_by_row(compared):
    """The picture of the two: what moved, what is only here or there, what is written otherwise."""
    rows = by_status(compared("preset:bert-base-uncased", "preset:gpt2"))

    assert rows["moved"] == {"attention.norm", "mlp.norm"}
    assert rows["only-a"] == {"embedding.segment", "embedding.norm", "head.pooler"}
    assert rows["only-b"] == {"attention.cache_update", "head.norm", "head.lm_head"}
    assert rows["changed"] == {"embedding.add", "mask", "attention.mask", "mlp.activation"}
    assert rows["re-expressed"] == {"positions.ids", "qkv", "attention.o_proj", "mlp.up_proj", "mlp.down_proj"}
    assert "same" not in rows


@pytest.mark.parametrize("model", ["llama", "bert", "gpt2", "opt", "gemma3_text", "gpt_neox", "qwen2_moe"])
def test_one_model_in_two_attentions(side, model):
    """Every stage is the same or re-expressed, and the one finding says so."""
    found = compare(side(model), side(model, "sdpa"))

    assert {status for status, count in found.statuses.items() if count} == {"same", "re-expressed"}
    assert "kernel" in {row.path for row in found.rows}
    assert [finding.rule for finding in found.findings] == ["graph.kernel"]
    assert found.findings[0].severity == "cosmetic"
    assert found.aligned == 1.0


def test_the_kernel_takes_the_place_of_each_step(side):
    found = compare(side("llama"), side("llama", "sdpa"))
    (row,) = [row for row in found.rows if row.form == "kernel"]

    assert [part.role for part in row.a] == ["scores", "scale", "mask", "softmax", "dropout", "weighted_sum"]
    assert [part.role for part in row.b] == ["fused"]


def test_another_scale_inside_the_kernel_is_seen(side):
    """The control: the same pair with another scale is not re-expressed."""
    found = compare(side("granite", num_key_value_heads=4), side("llama", "sdpa", num_key_value_heads=4))
    (row,) = [row for row in found.rows if row.form == "kernel"]

    assert row.status == "changed"
    assert "attention.scale" in {finding.rule for finding in found.findings}
