"""One model under two settings: kernels and number formats differ in rounding, and in nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inspector.errors import UsageError
from inspector.records import Scenario
from inspector.source import subject_of
from inspector.source.resolve import resolve
from inspector.source.tiny import twin_of
from inspector.tracing.run import model_info
from inspector.verification.against.cache import decode_steps
from inspector.verification.against.run import compare
from inspector.verification.verify import Running

MODELS = ("gpt2", "bert-base-uncased", "llama-3-8b")


def twin(name: str, attention: str = "eager", dtype: str = "float32", seed: int = 0) -> tuple[Any, Any]:
    made, module = twin_of(
        subject_of(resolve(name)), Scenario(seed=seed, head=None if name.startswith("bert") else True)
    )
    module.config._attn_implementation = attention
    for parameter in module.parameters():  # buffers stay: tables of rotary frequencies are never cast
        parameter.data = parameter.data.to(getattr(torch, dtype))
    return made, module


def at(made: Any, module: Any, scenario: Scenario) -> Running:
    return Running(module, lambda: made.inputs(module, scenario), scenario, model_info(made, module), made.claims)


def run_of(name: str, attention: str = "eager", dtype: str = "float32", seed: int = 0) -> Running:
    scenario = Scenario(batch=3, seq=31, attention=attention, dtype=dtype, device="cpu", seed=seed)
    return at(*twin(name, attention, dtype, seed), scenario)


def said(report: Any) -> list[str]:
    return [row.sentence for row in report.rows if row.verdict in ("fail", "unchecked")]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", MODELS)
def test_a_kernel_does_not_diverge_from_its_steps(name: str, dtype: str) -> None:
    report = compare(run_of(name, "eager", dtype), run_of(name, "sdpa", dtype))

    assert said(report) == []
    fused = [row for row in report.rows if row.path == "attention.fused"]
    assert len(fused) == 2
    assert all(row.rho is not None and 0 < row.rho < 1 for row in fused)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("name", MODELS)
def test_no_false_divergence_at_other_seeds(name: str, seed: int) -> None:
    for dtype in ("float32", "bfloat16", "float16"):
        report = compare(run_of(name, "eager", dtype, seed), run_of(name, "sdpa", dtype, seed))
        assert said(report) == []


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", MODELS)
def test_formats_differ_in_rounding_alone(name: str, dtype: str) -> None:
    """The finer side runs on the coarser one's numbers, whichever of the two is called A."""
    one, two = run_of(name), run_of(name, dtype=dtype)

    report = compare(one, two)
    mirrored = compare(two, one)

    assert (said(report), said(mirrored)) == ([], [])
    assert (report.replayed, mirrored.replayed) == ("a", "b")
    assert report.whole[0].value > 1e-3  # the answers are apart, and that is no verdict


def test_frequencies_in_half_precision_are_named() -> None:
    """`model.to(bfloat16)` casts the table of rotary frequencies too: positions far apart collide."""
    made, module = twin("llama-3-8b")
    module.to(torch.bfloat16)
    cast = at(made, module, Scenario(batch=3, seq=31, dtype="bfloat16", device="cpu"))

    report = compare(run_of("llama-3-8b"), cast)

    assert report.first_failure is not None
    assert report.first_failure.where == "positions.rope_table"


@pytest.mark.parametrize("factor", [1.0, 0.25 * 1.001])
def test_a_kernel_with_another_scale_is_named(factor: float) -> None:
    made, module = twin("gpt2", "sdpa")
    module.transformer.h[1].attn.scaling = factor
    b = at(made, module, Scenario(batch=3, seq=31, attention="sdpa", device="cpu", dtype="float32"))

    report = compare(run_of("gpt2"), b)

    assert [row.where for row in report.failures] == ["layer 1 attention.fused"]
    assert f"factor is {factor} in B and 0.25 in A" in report.sentence
    assert report.failures[0].rho is not None
    assert report.failures[0].rho > 10


def test_a_model_does_not_diverge_from_itself() -> None:
    report = compare(run_of("llama-3-8b"), run_of("llama-3-8b"))

    assert said(report) == []
    assert all(row.rho == 0 for row in report.rows if row.rho is not None)
    assert all(figure.value == 0 for figure in report.whole)


# the cache


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["gpt2", "llama-3-8b"])
def test_decode_steps_give_what_the_full_forward_gives(name: str, attention: str) -> None:
    made, module = twin(name, attention)
    scenario = Scenario(batch=3, seq=19, attention=attention, device="cpu", dtype="float32")

    reports = decode_steps(lambda asked: at(made, module, asked), scenario)

    assert [(report.scenarios[1].past, report.scenarios[1].seq) for report in reports] == [(13, 1), (14, 3), (17, 2)]
    for report in reports:
        assert said(report) == []
        kept = [row for row in report.rows if row.path == "attention.cache_update"]
        assert [row.verdict for row in kept] == ["pass"] * 4
        assert report.whole[0].value < 1e-4


def test_positions_that_begin_anew_are_named() -> None:
    made, module = twin("gpt2")

    def wrong(asked: Scenario) -> Running:
        run = at(made, module, asked)
        if not asked.past:
            return run
        anew = torch.arange(asked.seq).expand(asked.batch, -1)
        return Running(module, lambda: {**run.inputs(), "position_ids": anew}, asked, run.info, run.claims)

    report = decode_steps(wrong, Scenario(batch=3, seq=19, device="cpu", dtype="float32"), chunks=(3,))[0]

    assert report.first_failure is not None
    assert report.first_failure.where == "embedding.position"


def test_a_cache_that_forgets_a_token_is_named() -> None:
    made, module = twin("llama-3-8b")

    def wrong(asked: Scenario) -> Running:
        run = at(made, module, asked)

        def inputs() -> dict[str, Any]:
            given = run.inputs()
            if "past_key_values" in given:
                for layer in given["past_key_values"].layers:
                    layer.keys = layer.keys.roll(1, dims=2)
            return given

        return Running(module, inputs, asked, run.info, run.claims)

    report = decode_steps(wrong, Scenario(batch=3, seq=19, device="cpu", dtype="float32"), chunks=(1,))[0]

    assert report.first_failure is not None
    assert report.first_failure.where == "layer 0 attention.cache_update.k"


def test_too_few_tokens_for_the_steps() -> None:
    with pytest.raises(UsageError, match="4 tokens are too few for steps of 1, 3, 2"):
        decode_steps(lambda asked: run_of("gpt2"), Scenario(seq=4))
