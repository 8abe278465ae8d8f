"""Numeric proofs: what is written otherwise is run on the same numbers, and what is another function is found out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from inspector.comparison import proofs
from inspector.comparison.judge import compare
from inspector.comparison.proofs import prove
from inspector.comparison.sides import side_of
from inspector.records import Scenario
from inspector.source import live_subject
from inspector.tracing import observe


def rows_of(a, b):
    return {row.path: row for row in compare(side_of(a), side_of(b)).rows if row.a and row.b}


PROVED = [
    ("bert", "eager", "gpt2", "eager", "qkv"),
    ("bert", "eager", "gpt2", "eager", "attention.o_proj"),
    ("bert", "eager", "gpt2", "eager", "mlp.up_proj"),
    ("glm", "eager", "llama", "eager", "up_gate"),
    ("llama", "eager", "llama", "sdpa", "kernel"),
    ("gpt_neox", "eager", "bert", "eager", "qkv"),
    ("phi3", "eager", "llama", "eager", "qkv"),
    ("bert", "eager", "bert", "sdpa", "kernel"),
    ("gpt2", "eager", "gpt2", "sdpa", "kernel"),
]


@pytest.mark.parametrize(("one", "first", "two", "second", "path"), PROVED)
def test_what_is_written_otherwise_gives_the_same_numbers(traced, one, first, two, second, path):
    a, b = traced(one, first), traced(two, second)
    row = rows_of(a, b)[path]

    proof = prove(row, a, b)
    assert row.status == "re-expressed"
    assert proof.holds
    assert proof.elements > 1000
    assert proof.magnitude > 0.1  # not all zero
    assert prove(replace(row, a=row.b, b=row.a), b, a).holds


def test_grouped_rows_of_one_weight_are_found(traced):
    """Each head's query, key and value side by side in one weight, as the rows of three."""
    a = traced("falcon", multi_query=False)
    b = traced("llama", num_key_value_heads=4)

    assert prove(rows_of(a, b)["qkv"], a, b).holds


def test_other_rows_are_refuted(traced, monkeypatch):
    """The control: the same weight, its rows taken in another order."""
    a, b = traced("gpt_neox"), traced("bert")
    row, found = rows_of(a, b)["qkv"], proofs._token_by_token
    monkeypatch.setattr(proofs, "_token_by_token", lambda *args: (found(*args)[0].flip(0), found(*args)[1]))

    assert not prove(row, a, b).holds


def test_another_function_is_refuted(traced):
    """The control: gelu and its approximation, claimed to be the same."""
    a, b = traced("bert"), traced("gpt2")
    row = replace(rows_of(a, b)["mlp.activation"], status="re-expressed", form="")

    proof = prove(row, a, b)
    assert not proof.holds
    assert 1e-5 < proof.difference < 1e-2


def test_another_mask_is_refuted(traced):
    """BERT's scores in GPT-2's kernel: the one sees the future, the other does not."""
    a, b = traced("bert"), traced("gpt2", "sdpa")
    row = replace(rows_of(a, b)["kernel"], status="re-expressed")

    assert not prove(row, a, b).holds


def test_a_refuted_row_is_no_longer_called_the_same(traced):
    class Refuted:
        holds = False

        def __str__(self) -> str:
            return "refuted"

    found = compare(side_of(traced("llama")), side_of(traced("llama", "sdpa")), lambda row: Refuted())
    (row,) = [row for row in found.rows if row.form == "kernel"]

    assert row.status == "changed"
    assert row.reason.endswith("refuted")
    assert "graph.unexplained" in {finding.rule for finding in found.findings}


def test_the_reason_says_how_it_is_known(traced):
    a, b = traced("llama"), traced("llama", "sdpa")
    by_algebra = compare(side_of(a), side_of(b))
    in_numbers = compare(side_of(a), side_of(b), lambda row: prove(row, a, b))

    (one,), (two,) = ([row for row in found.rows if row.form == "kernel"] for found in (by_algebra, in_numbers))
    assert "; by algebra: softmax(scale · q kᵀ + mask) v" in one.reason
    assert "; proved numerically: 1," in two.reason


RUN = Scenario(device="cpu", dtype="float32", weights="random")


@pytest.mark.parametrize("kernel", [nn.RMSNorm, nn.LayerNorm])
def test_a_norm_in_one_kernel_is_the_norm_step_by_step(kernel):
    """The final norm of Llama (or Cohere) by hand, and the same as one call."""
    name = "llama" if kernel is nn.RMSNorm else "cohere"
    by_hand, by_kernel = (model(name) for _ in range(2))
    width, eps = by_kernel.config.hidden_size, by_kernel.model.norm.variance_epsilon
    options = {} if kernel is nn.RMSNorm else {"bias": False}
    by_kernel.model.norm = kernel(width, eps=eps, **options)
    a, b = observe(live_subject(by_hand), RUN), observe(live_subject(by_kernel), RUN)

    row = rows_of(a, b)["head.norm"]
    assert (row.status, row.a[0].spelling != row.b[0].spelling) == ("re-expressed", True)
    assert prove(row, a, b).holds


def model(name):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"vocab_size": 99, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    config = AutoConfig.for_model(name, **sizes, num_attention_heads=4, num_key_value_heads=2, pad_token_id=0)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
