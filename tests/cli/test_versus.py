"""`inspector parity --against` and `--compare`: which of two runs gives something else, and where."""

from __future__ import annotations

import json

import jsonschema
import pytest

import inspector
from inspector.api.schemas import schema
from inspector.errors import UsageError

MODELS = """
import torch
from transformers import GPT2Config, GPT2LMHeadModel

def build(**changes):
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=48, n_head=3, vocab_size=101, **changes)).eval()

def without_scale():
    model = build()
    for block in model.transformer.h:
        block.attn.scaling = 1.0
    return model

def narrow():
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=24, n_head=3, vocab_size=101)).eval()

def noisy():
    model = build()
    model.transformer.drop.forward = lambda x: x + torch.rand_like(x)
    return model

def small_vocabulary():
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=48, n_head=3, vocab_size=7)).eval()
"""


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    (tmp_path / "versus_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("settings", ["eager,sdpa", "float32,bfloat16", "prefill,decode", "dynamic,static"])
def test_settings_that_agree(settings):
    found = inspector.parity("llama-3-8b", twin=True, compare=settings)
    assert (found.verdict, found.exit_code, found.first_failure) == ("pass", 0, None)
    assert sum(row.verdict == "pass" for row in found.rows) > 40
    document = json.loads(found.to_json())
    jsonschema.validate(document, schema("parity-against"))
    assert document["summary"]["elements"] > 10_000


def test_another_implementation_that_agrees():
    found = inspector.parity("versus_models:build", against="versus_models:build")
    assert found.verdict == "pass"
    assert "no stage diverges" in found.to_text()


def test_the_first_stage_that_diverges_is_named():
    found = inspector.parity("versus_models:build", against="versus_models:without_scale")
    assert found.exit_code == 1
    assert found.first_failure.where == "layer 0 attention.fused"
    text = found.to_text()
    assert "factor is 1.0 in B and 0.25 in A" in text
    assert text.count("transformer.h.0.attn") >= 2
    assert "modeling_gpt2.py:" in text
    for form in (found.to_markdown(), found.to_html()):
        assert "attention.fused" in form
    jsonschema.validate(json.loads(found.to_json()), schema("parity-against"))


def compared_caches(monkeypatch, wrong):
    """The caches compared, with a layer of the static one that gives something wrong."""
    from transformers.cache_utils import StaticLayer

    right = StaticLayer.update
    monkeypatch.setattr(StaticLayer, "update", lambda layer, *given, **more: wrong(right, layer, *given, **more))
    return inspector.parity("llama-3-8b", twin=True, compare="dynamic,static")


def test_empty_slots_of_a_static_cache_that_are_seen(monkeypatch):
    from transformers.cache_utils import StaticLayer

    seen_all = lambda layer, length: (layer.max_cache_len, layer.max_cache_len - length)  # noqa: E731
    monkeypatch.setattr(StaticLayer, "get_mask_sizes", seen_all)
    found = inspector.parity("llama-3-8b", twin=True, compare="dynamic,static")
    assert found.exit_code == 1
    assert found.first_failure.path in ("mask.build", "attention.mask")


def test_a_static_cache_that_writes_into_the_wrong_slot(monkeypatch):
    found = compared_caches(monkeypatch, lambda right, *given: tuple(kept.roll(1, -2) for kept in right(*given)))
    assert found.exit_code == 1
    assert found.first_failure.path == "attention.cache_update"


@pytest.mark.parametrize(
    ("model", "said"), [("bert-base-uncased", "no cache is given"), ("mistral-7b-v0.1", "not every layer keeps 36")]
)
def test_models_without_a_static_cache(model, said):
    with pytest.raises(UsageError, match=said):
        inspector.parity(model, twin=True, compare="static,dynamic")


@pytest.mark.parametrize("question", [{"against": "versus_models:build"}, {"compare": "eager,sdpa"}])
def test_a_model_left_in_training_mode(question):
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=48, n_head=3, vocab_size=101)).train()
    with pytest.raises(inspector.errors.TraceFailed, match="training mode"):
        inspector.parity(model, **question)


def test_another_implementation_left_in_training_mode():
    with pytest.raises(inspector.errors.TraceFailed, match="same output twice"):
        inspector.parity("versus_models:build", against="versus_models:noisy")


def test_a_comparison_says_that_a_twin_was_run():
    found = inspector.parity("llama-3-8b", twin=True, compare="eager,sdpa")
    assert "a small twin of the same config was run" in found.to_text()


def test_sizes_that_do_not_fit_are_listed_at_once():
    with pytest.raises(inspector.errors.ModelAtFault) as raised:
        inspector.parity("versus_models:build", against="versus_models:narrow")
    assert str(raised.value).count("24") > 3


def test_tokens_that_the_other_does_not_know():
    with pytest.raises(inspector.errors.TraceFailed, match="running on what versus_models:build reads failed"):
        inspector.parity("versus_models:build", against="versus_models:small_vocabulary")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"compare": "eager"}, "two settings are compared"),
        ({"compare": "eager,float32"}, "settings of one kind"),
        ({"compare": "eager,sdpa", "against": "gpt2"}, "two questions"),
        ({"compare": "eager,sdpa", "mutants": True}, "two questions"),
        ({"against": "gpt2", "strict": True}, "judged by itself"),
        ({"compare": "eager,nonsense"}, "nonsense"),
    ],
)
def test_what_cannot_be_asked(options, said):
    with pytest.raises(UsageError, match=said):
        inspector.parity("gpt2", twin=True, **options)
