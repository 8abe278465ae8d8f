"""Inputs made for a stage: what ordinary tokens never bring about is told all the same, and a right stage passes."""

from __future__ import annotations

import pytest
import torch

RIGHT = {
    "bert": {"rows as small as epsilon", "scores far from zero", "numbers of every size"},
    "gpt2": {"rows as small as epsilon", "scores far from zero", "numbers of every size"},
    "llama": {"rows as small as epsilon", "scores far from zero", "numbers of every size", "far positions"},
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes_on_them(verified, name, dtype):
    found = verified(name, dtype=dtype)
    assert found.failures == ()
    special = [row.special for row in found.rows if row.special is not None]
    assert {one.what for one in special} == RIGHT[name]
    assert all(0 < one.check.rho <= 1 and one.elements > 100 for one in special)


def test_every_number_of_a_small_format_is_tried(verified):
    found = verified("llama", dtype="float16")
    activation = next(row.special for row in found.rows if row.path == "mlp.activation")
    finite = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.float16)
    assert activation.elements >= int((finite.abs() <= 64).sum())


def patched(run, owner, name, make):
    """The run, with one function of one of its modules replaced: `make` is given the one that was there."""
    module = run.module.get_submodule(owner)
    setattr(module, name, make(getattr(module, name)))
    return run


def positions_in_half(forward):
    """Exact up to 256, and then every second position only."""
    return lambda x, position_ids: forward(x, position_ids.to(torch.bfloat16).to(torch.float32))


def test_positions_that_collide_far_out(ready, report_of):
    run = patched(ready("llama"), "model.rotary_emb", "forward", positions_in_half)
    failed = report_of(run).failures
    assert [row.where for row in failed] == ["positions.rope_table"]
    assert failed[0].culprit.startswith("given far positions, ")
    assert failed[0].check.rho <= 1  # on the positions that were there it is right
    assert failed[0].special.check.rho > 1


def test_an_activation_that_is_cut_off(ready, report_of):
    run = patched(ready("llama"), "model.layers.1.mlp.act_fn", "forward", lambda act: lambda x: act(x.clamp(max=40.0)))
    failed = report_of(run).first_failure
    assert failed.where in ("layer 1 mlp.activation", "layer 1 mlp.gate_proj")


def epsilon_outside(norm):
    def forward(x):
        away = x - x.mean(-1, keepdim=True)
        return away / (away.pow(2).mean(-1, keepdim=True).sqrt() + norm.eps) * norm.weight + norm.bias

    return forward


def by_logarithm(norm):
    """The same norm in a spelling of its own."""

    def forward(x):
        away = x - x.mean(-1, keepdim=True)
        share = torch.exp(-0.5 * torch.log(away.pow(2).mean(-1, keepdim=True) + norm.eps))
        return away * share * norm.weight + norm.bias

    return forward


NORM = "encoder.layer.1.attention.output.LayerNorm"


def with_norm(run, make):
    """One norm written in another way; its epsilon is 1e-12, which ordinary rows do not show."""
    norm = run.module.get_submodule(NORM)
    assert norm.eps == 1e-12
    norm.forward = make(norm)
    return run


def test_an_epsilon_outside_the_root(ready, report_of):
    failures = report_of(with_norm(ready("bert"), epsilon_outside), power=True).failures
    assert [row.where for row in failures] == ["layer 1 attention.post_norm"]
    assert failures[0].culprit.startswith("given rows as small as epsilon, ")
    assert failures[0].check.rho <= 1  # on the rows that were there it is right
    assert failures[0].looks_like == "norm-eps-outside-the-root"


def test_a_right_norm_in_an_unknown_spelling_is_no_failure(ready, report_of):
    found = report_of(with_norm(ready("bert"), by_logarithm))
    assert found.failures == ()
    rows = {row.where: row for row in found.rows if row.module == NORM}
    assert {row.verdict for row in rows.values()} == {"pass"}
    assert any(row.special and row.special.what == "rows as small as epsilon" for row in rows.values())


def test_a_norm_that_could_not_be_asked_is_undetermined(ready, report_of, monkeypatch):
    monkeypatch.setattr("inspector.verification.special._MAKERS", {})
    found = report_of(with_norm(ready("bert"), by_logarithm))
    vague = [row for row in found.rows if row.verdict == "undetermined"]
    assert [row.module for row in vague] == [NORM]
    assert "could not be given rows as small as epsilon" in vague[0].culprit


def test_one_stage_of_each_kind_is_asked(verified):
    found = verified("llama")
    asked = [row.where for row in found.rows if row.special is not None]
    assert asked.count("layer 0 attention.norm") == 1
    assert "layer 1 attention.norm" not in asked


def test_what_could_not_be_asked_is_named(ready, report_of, monkeypatch):
    from inspector.tracing.tape import Tape

    assert not any("could not be given" in note for note in report_of(ready("llama")).notes)

    def lost(*_):
        raise KeyError("a value that was not kept")

    monkeypatch.setattr(Tape, "play", lost)
    said = [note for note in report_of(ready("llama")).notes if "could not be given" in note]
    assert len(said) == 4
    assert said[0].startswith("could not be given far positions")
    assert said[0].endswith(": positions.rope_table")
    assert "attention.norm, head.norm, mlp.norm" in said[2]
