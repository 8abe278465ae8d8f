"""A mask that hides nothing claims what no mask claims; one that hides a single pair does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers.models.bert import modeling_bert

from inspector.verification.verify import Running

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler, of its own parts

KINDS = ["eager", "sdpa", "flex_attention"]


def failing(report):
    return [(row.where, row.culprit) for row in report.rows if row.verdict == "fail"]


def given(run: Running, **more) -> Running:
    return replace(run, inputs=lambda: {**run.inputs(), **more})


@pytest.mark.parametrize("attention", KINDS)
def test_all_ones_and_no_mask_are_one_claim(ready, report_of, attention):
    """With all ones the claim has a mask and some kernels get none; without, flex_attention makes one all the same."""
    bare = ready("bert", attention=attention, padding="none")
    ones = given(bare, attention_mask=torch.ones(3, 31, dtype=torch.long))

    for run in (bare, ones):
        report = report_of(run)
        assert (failing(report), report.verdict) == ([], "pass")


def made(monkeypatch, hidden):
    """BERT makes a mask where it is given none, and hides these (query, key) in it."""

    def always(self, attention_mask, encoder_attention_mask, embedding_output, *_, **__):
        length = embedding_output.shape[1]
        mask = torch.zeros(1, 1, length, length, dtype=embedding_output.dtype)
        for query, key in hidden:
            mask[0, 0, query, key] = torch.finfo(mask.dtype).min
        return mask, None

    monkeypatch.setattr(modeling_bert.BertModel, "_create_attention_masks", always)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_zeros_that_are_added_hide_nothing(ready, report_of, monkeypatch, attention):
    made(monkeypatch, [])
    report = report_of(ready("bert", attention=attention, padding="none"))
    (row,) = [row for row in report.rows if row.path == "mask.build"]

    assert (failing(report), report.verdict) == ([], "pass")
    assert (row.verdict, row.check.kind) == ("pass", "set")
    masks = [row.verdict for row in report.rows if row.path == "attention.mask"]
    assert masks == (["pass", "pass"] if attention == "eager" else [])


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_one_hidden_pair_is_told(ready, report_of, monkeypatch, attention):
    made(monkeypatch, [(3, 5)])
    report = report_of(ready("bert", attention=attention, padding="none"))
    (where, culprit), *others = failing(report)

    assert where == "mask.build"
    assert culprit.startswith("it ran, and the reference forward of bert has no such stage; 1 of 961 pairs")
    path = "mask" if attention == "eager" else "fused"
    assert {f"layer {layer} attention.{path}" for layer in (0, 1)} <= {where for where, _ in others}


def test_a_number_that_is_no_choice_is_told(ready, report_of, monkeypatch):
    """Neither hidden nor as it was: a bias of -1 on one pair."""
    made(monkeypatch, [])
    inner = modeling_bert.BertModel._create_attention_masks

    def nudged(*args, **kwargs):
        mask, _ = inner(*args, **kwargs)
        mask[0, 0, 3, 5] = -1.0
        return mask, None

    monkeypatch.setattr(modeling_bert.BertModel, "_create_attention_masks", nudged)

    assert failing(report_of(ready("bert", padding="none")))[0][0] == "mask.build"
