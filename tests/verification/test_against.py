"""Two implementations against each other: the right one passes, and each classic mistake is named where it is made."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inspector.errors import InspectorError, ModelAtFault, UsageError
from inspector.records import ModelInfo, Scenario
from inspector.source.tiny import randomise
from inspector.verification.against.report import AgainstReport
from inspector.verification.against.run import against
from inspector.verification.verify import Running
from tests.verification.by_hand import bert, gpt, torchs

BATCH, LENGTH = 3, 31


def run_of(module: nn.Module, inputs: dict[str, Any], name: str = "mine") -> Running:
    scenario = Scenario(batch=BATCH, seq=LENGTH, device="cpu", dtype="float32")
    return Running(module.eval(), lambda: dict(inputs), scenario, ModelInfo(name, None, type(module).__name__, 0, 0))


def seeded(module: nn.Module, seed: int = 7) -> nn.Module:
    randomise(module, seed)
    return module


@cache
def tokens() -> Tensor:
    return torch.randint(2, 101, (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))


@cache
def mask() -> Tensor:
    padding = torch.ones(BATCH, LENGTH, dtype=torch.long)
    padding[0, :3] = 0
    return padding


def gpt2() -> Running:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=101, n_positions=64, n_embd=64, n_layer=2, n_head=4, attn_implementation="eager")
    return run_of(seeded(GPT2LMHeadModel(config), 0), {"input_ids": tokens()}, "gpt2")


def encoder(**kwargs: Any) -> Running:
    from transformers import BertConfig, BertModel

    sizes = {"vocab_size": 101, "max_position_embeddings": 64, "hidden_size": 64, "intermediate_size": 96}
    config = BertConfig(**sizes, num_hidden_layers=2, num_attention_heads=4, attn_implementation="eager")
    module = BertModel(config, **kwargs)
    return run_of(seeded(module, 0), {"input_ids": tokens(), "attention_mask": mask()}, "bert")


def by_hand(bug: str = "", **sizes: Any) -> Running:
    return run_of(seeded(gpt.GPT(gpt.Sizes(bug=bug, **sizes))), {"input_ids": tokens()})


def bert_by_hand(bug: str = "", *, pooled: bool = True) -> Running:
    module = seeded(bert.Bert(bert.Sizes(bug=bug), pooled=pooled))
    return run_of(module, {"input_ids": tokens(), "attention_mask": mask()})


def first(report: AgainstReport) -> str:
    assert report.first_failure is not None
    return report.first_failure.where


@pytest.mark.parametrize(("a", "b"), [(gpt2, by_hand), (encoder, bert_by_hand)])
def test_a_right_one_does_not_diverge(a: Callable[[], Running], b: Callable[[], Running]) -> None:
    report = against(a(), b())

    assert [row.sentence for row in report.rows if row.verdict in ("fail", "unchecked")] == []
    assert report.verdict == "pass"
    assert report.sentence == "no stage diverges"
    assert report.elements > 100_000
    assert (report.ungiven, report.unused) == ((), ())
    assert report.whole[0].value < 1e-4


def test_no_number_is_judged_by_itself() -> None:
    """Weights of its own make every stage with weights diverge, and no other."""
    report = against(gpt2(), by_hand(), weights="keep")

    weighted = {"token", "position", "norm", "qkv_proj", "o_proj", "up_proj", "down_proj", "lm_head"}
    assert {row.path.partition(".")[2] for row in report.failures} <= weighted
    assert first(report) == "embedding.token"


GPT_BUGS = {
    "no scale": ("layer 0 attention.scale", "B has no such stage"),
    "other gelu": ("layer 0 mlp.activation", "function is gelu in B and gelu_tanh in A"),
    "post norm": ("layer 0 attention.norm", "it reads layer 0 attention.residual where A reads embedding.add"),
    "eps": ("layer 0 attention.norm", "eps is 1e-06 in B and 1e-05 in A"),
    "heads not transposed": ("layer 0 attention.merge_heads", "values differ"),
    "mask off by one": ("mask.build", "90 of 2,883 pairs of query and key are masked otherwise"),
    "residual from norm": ("layer 0 attention.residual", "where A reads embedding.add"),
    "qkv order": ("layer 0 attention.split_qkv", "values differ"),
    "no last norm": ("head.norm", "B has no such stage"),
}


@pytest.mark.parametrize("bug", GPT_BUGS)
def test_a_mistake_in_a_decoder_is_named_where_it_is(bug: str) -> None:
    report = against(gpt2(), by_hand(bug))
    where, said = GPT_BUGS[bug]

    assert report.verdict == "fail"
    assert first(report) == where
    assert said in report.sentence


BERT_BUGS = {
    "no scale": ("layer 0 attention.scale", "B has no such stage"),
    "other gelu": ("layer 0 mlp.activation", "function is gelu_tanh in B and gelu in A"),
    "eps": ("layer 0 attention.post_norm", "eps is 1e-05 in B and 1e-12 in A"),
    "pre norm": ("layer 0 attention.post_norm", "it reads embedding.norm where A reads layer 0 attention.residual"),
    "heads not transposed": ("layer 0 attention.merge_heads", "values differ"),
    "no segments": ("embedding.segment", "B has no such stage"),
}


@pytest.mark.parametrize("bug", BERT_BUGS)
def test_a_mistake_in_an_encoder_is_named_where_it_is(bug: str) -> None:
    report = against(encoder(), bert_by_hand(bug))
    where, said = BERT_BUGS[bug]

    assert first(report) == where
    assert said in report.sentence


def test_scores_that_are_hidden_before_they_are_scaled_are_the_same() -> None:
    report = against(gpt2(), by_hand(masked_first=True))
    rows = [row for row in report.rows if row.reason == "the same jobs in another order, which changes nothing"]

    assert [row.where for row in rows] == ["layer 0 attention.scale", "layer 1 attention.scale"]
    assert report.verdict == "pass"


MASKED_FIRST = {
    "scale doubled": ("layer 0 attention.scale", "factor is 0.5 in B and 0.25 in A"),
    "mask off by one": ("mask.build", "90 of 2,883 pairs of query and key are masked otherwise"),
}


@pytest.mark.parametrize("bug", MASKED_FIRST)
def test_and_are_not_where_one_of_the_two_is_wrong(bug: str) -> None:
    report = against(gpt2(), by_hand(bug, masked_first=True))
    where, said = MASKED_FIRST[bug]

    assert first(report) == where
    assert said in report.sentence
    assert "layer 0 attention.scale" in {row.where for row in report.failures}


def test_every_planted_bug_is_tried() -> None:
    assert set(gpt.BUGS) == {*GPT_BUGS, *MASKED_FIRST}
    assert set(bert.BUGS) == set(BERT_BUGS)


def test_both_modules_are_named_with_their_lines() -> None:
    report = against(gpt2(), by_hand("qkv order"))

    row = report.first_failure
    assert row is not None
    assert (row.a[0].module, row.b[0].module) == ("transformer.h.0.attn", "blocks.0.attn")
    assert row.a[0].source.startswith("transformers/models/gpt2/modeling_gpt2.py:")
    assert row.b[0].source.startswith("tests/verification/by_hand/gpt.py:")


def test_a_head_that_is_not_tied_is_a_difference() -> None:
    sizes = gpt.Sizes()
    b = run_of(seeded(gpt.GPT(sizes, tied=False)), {"input_ids": tokens()})

    report = against(gpt2(), b)

    assert [row.where for row in report.failures] == ["head.lm_head"]
    assert "weight shared with is None in B and embedding.token in A" in report.sentence


# fused and separate weights, and torch's own encoder


def torch_bert(bug: str = "") -> Running:
    module = seeded(torchs.TorchBert(bert.Sizes(bug=bug)))
    return run_of(module, {"input_ids": tokens(), "attention_mask": mask()}, "torch")


def test_separate_projections_go_into_a_fused_one_and_back() -> None:
    there = against(encoder(add_pooling_layer=False), torch_bert())
    again = against(torch_bert(), bert_by_hand(pooled=False))

    for report in (there, again):
        assert [row.sentence for row in report.rows if row.verdict in ("fail", "unchecked")] == []
        assert report.ungiven == ()


def test_another_activation_in_torchs_encoder() -> None:
    report = against(encoder(add_pooling_layer=False), torch_bert("other activation"))

    assert [row.where for row in report.failures] == ["layer 0 mlp.activation", "layer 1 mlp.activation"]
    assert "function is relu in B and gelu in A" in report.sentence


# bad input


def test_all_sizes_that_do_not_fit_are_listed_at_once() -> None:
    with pytest.raises(ModelAtFault) as raised:
        against(gpt2(), by_hand(width=32, ffn=96))

    lines = str(raised.value).splitlines()
    assert lines[0] == "the weights of A do not fit into B"
    assert "wte.weight of B is (101, 32), and transformer.wte.weight of A is (101, 64)" in lines
    assert any(line.endswith("is (64, 192), transposed") for line in lines)
    assert len(lines) == 29


def test_nothing_in_common_is_never_a_pass() -> None:
    class Odd(nn.Module):
        def forward(self, input_ids: Tensor) -> Tensor:
            return input_ids.float().cumsum(-1)

    with pytest.raises(InspectorError, match="mine has no stage in common with gpt2") as raised:
        against(gpt2(), run_of(Odd(), {"input_ids": tokens()}))
    assert raised.value.exit_code == 3


def test_other_tokens_are_refused() -> None:
    b = run_of(seeded(gpt.GPT(gpt.Sizes())), {"input_ids": tokens().flip(0)})

    with pytest.raises(UsageError, match="A and B are given different input_ids"):
        against(gpt2(), b)


def test_a_deeper_model_has_stages_that_the_other_has_not() -> None:
    report = against(gpt2(), by_hand(layers=3))

    assert first(report) == "layer 2 attention.norm"
    assert {row.layer for row in report.failures} == {2}
    assert all(name.startswith("blocks.2.") for name in report.ungiven)
