"""The flag sweep can tell its four answers apart."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def sweep():
    """`flags.py`, as it runs, with a small GPT-2 and a small Llama."""
    before = list(sys.path)
    found = SimpleNamespace(**runpy.run_path(str(HERE / "flags.py")))
    sys.path[:] = before
    return found


@pytest.fixture(scope="module")
def small(sweep):
    from inspector.records import Scenario
    from inspector.source import resolve, subject_of
    from inspector.source.tiny import twin_of

    def made(name):
        config = twin_of(subject_of(resolve(f"model_type:{name}")), Scenario())[0].config
        base = sweep.Small(config)
        return SimpleNamespace(config=config, base=base, known=sweep.Known(base))

    return {name: made(name) for name in ("gpt2", "llama")}


def throw(sweep, one, key, new):
    flip = sweep.switches.Flip(0, key, None, new)
    return sweep._thrown(one.base, one.known, one.config, flip)


def test_every_boolean_and_every_word_with_another_is_a_switch(sweep, small):
    found = {(flip.key, flip.new) for flip in sweep.switches.flips(small["llama"].config)}

    assert {("attention_bias", True), ("mlp_bias", True)} <= found
    assert "hidden_act" in {key for key, _ in found}
    assert ("rope_parameters.rope_type", "linear") in found
    assert not {key for key, _ in found} & set(sweep.switches.ELSEWHERE)


@pytest.mark.parametrize(
    ("name", "key", "new", "said"),
    [
        ("llama", "attention_bias", True, "bias.qkv"),
        ("llama", "hidden_act", "relu", "mlp.activation"),
        ("llama", "rope_parameters.rope_type", "linear", "position.rope.scaling"),
        ("gpt2", "scale_attn_weights", False, "attention.scale"),
        ("gpt2", "tie_word_embeddings", False, "embedding.tied"),
    ],
)
def test_a_switch_that_does_something_is_told_by_a_fact(sweep, small, name, key, new, said):
    row = throw(sweep, small[name], key, new)

    assert row["result"] == "changed"
    assert said in row["seen"]


def test_one_without_effect_and_one_that_is_refused(sweep, small):
    assert throw(sweep, small["gpt2"], "use_cache", False)["result"] == "no effect"
    refused = throw(sweep, small["gpt2"], "activation_function", "no such function")
    assert (refused["result"], refused["why"]) == ("invalid", refused["why"])
    assert "no such function" in refused["why"]


def test_what_nobody_tells_is_a_fault_of_ours(sweep, small, monkeypatch):
    """A sheet of facts and a diff that see nothing: the answers move all the same."""
    monkeypatch.setattr(sweep.Known, "differs", lambda self, other: [])
    row = throw(sweep, small["llama"], "attention_bias", True)

    assert (row["result"], bool(row["moved"])) == ("unseen", True)


def test_what_cannot_be_described_is_a_fault_of_ours(sweep, small, monkeypatch):
    monkeypatch.setattr(sweep.Known, "differs", lambda self, other: 1 / 0)

    assert throw(sweep, small["llama"], "mlp_bias", True)["result"] == "unseen"
