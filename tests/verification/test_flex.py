"""flex_attention, whose mask is a function: checked as any other kernel, with its mistakes told where they are."""

from __future__ import annotations

import pytest
from transformers import masking_utils

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler, of its own parts

FLEX = {"attention": "flex_attention", "dtype": "float32"}
MODES = [{}, {"past": 13, "seq": 1}, {"past": 13, "seq": 4}]
RUNS = [("bert", {}), *(("llama", mode) for mode in MODES)]
SCALED = {"bert": "encoder.layer.1.attention.self", "llama": "model.layers.1.self_attn"}


def failing(report):
    return [row.where for row in report.rows if row.verdict == "fail"]


@pytest.mark.parametrize("padding", ["none", "left", "right"])
@pytest.mark.parametrize(("name", "mode"), RUNS)
def test_what_is_right_passes(verified, name, mode, padding):
    report = verified(name, **FLEX, **mode, padding=padding)

    assert (failing(report), report.verdict) == ([], "pass")
    assert [row.where for row in report.rows if row.path == "attention.fused"] == [
        f"layer {layer} attention.fused" for layer in (0, 1)
    ]


def test_a_causal_function_that_sees_one_too_many_is_told(ready, report_of, monkeypatch):
    monkeypatch.setattr(masking_utils, "causal_mask_function", lambda b, h, q_idx, kv_idx: kv_idx <= q_idx + 1)
    report = report_of(ready("llama", **FLEX))

    assert failing(report)[0] == "mask.build"


@pytest.mark.parametrize("name", SCALED)
def test_a_doubled_scale_is_told(ready, report_of, name):
    run = ready(name, **FLEX)
    run.module.get_submodule(SCALED[name]).scaling *= 2
    report = report_of(run)
    (row,) = [row for row in report.rows if row.verdict == "fail"]

    assert row.where == "layer 1 attention.fused"
    assert row.culprit.startswith("factor is 0.5, claimed is 0.25")
