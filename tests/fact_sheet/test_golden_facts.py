"""The facts of BERT, GPT-2 and Llama at full size, committed and read by a person, and published figures.

After a change that is meant, run `UPDATE_GOLDEN=1 pytest tests/fact_sheet/test_golden_facts.py`, read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inspector.fact_sheet.facts import Fact, FactSheet
from inspector.records import Scenario
from inspector.source.catalogue import find

GOLDEN = Path(__file__).parent / "golden"


def listing(sheet: FactSheet) -> str:
    facts = [fact for fact in sheet.facts if not fact.id.startswith("cost.")]
    return "".join(map(_line, facts)) + "".join(f"? {fact}: {reason}\n" for fact, reason in sheet.unanswered)


def _line(fact: Fact) -> str:
    value = f"{fact.value}{f' = {fact.formula}' if fact.formula else ''} {fact.unit}".strip()
    verdict = {True: "as claimed", False: "CONFLICT", None: ""}[fact.agrees]
    return f"{fact.id:28}{value:34}{verdict:12}{fact.evidence.shown}".rstrip() + "\n"


@pytest.mark.parametrize("model", ["bert-base-uncased", "gpt2", "llama-3-8b"])
def test_the_facts_are_the_ones_that_were_read(facts_of, model):
    found, file = listing(facts_of(f"preset:{model}")), GOLDEN / f"{model}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(found, encoding="utf-8")

    assert found == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("model", ["distilbert-base-uncased", "pythia-70m", "llama-3.2-1b", "qwen3-0.6b", "smollm3-3b"])
def test_published_figures_are_met(facts_of, model):
    preset, sheet = find(model), facts_of(f"preset:{model}")

    assert preset is not None
    assert (sheet.get("model.parameters"), sheet.get("cache.bytes_per_token")) == (
        preset.parameters,
        preset.cache_bytes_per_token,
    )
    assert not sheet.conflicts


def test_bytes_are_of_the_format_that_ran(facts_of):
    sheet = facts_of("preset:pythia-70m", Scenario(dtype="float32"))

    assert sheet.get("cache.bytes_per_token") == 2 * 12_288
    assert not sheet.conflicts


@pytest.mark.slow
def test_falcon_stores_every_head(facts_of):
    """Published is 8 key/value heads of 64 in 80 layers; transformers repeats them to 232 before it stores them."""
    sheet = facts_of("preset:falcon-180b")
    (conflict,) = sheet.explained

    assert not sheet.conflicts
    assert "before they are kept" in conflict.explained
    assert (sheet.get("attention.kind"), sheet.get("attention.kv_heads")) == ("gqa", 8)
    assert conflict.id == "cache.bytes_per_token"
    assert (conflict.value, conflict.claim[1]) == (2 * 80 * 232 * 64 * 2, 2 * 80 * 8 * 64 * 2)


@pytest.mark.slow
def test_gpt_oss_is_what_its_config_says_in_several_keys(facts_of):
    """One key says silu; with the gate's two numbers it is x·sigmoid(1.702·x), clamped. Its frequencies are yarn's."""
    sheet = facts_of("preset:gpt-oss-20b")

    assert not sheet.conflicts
    assert sheet.get("mlp.activation") == "quick_gelu clamped"
    ramp = ("low", 8.093), ("high", 17.4)  # cut to no whole pairs: its config says truncate = false
    factor = ("attention_factor", 1.3465735902799727)
    assert sheet.get("position.rope.scaling") == ("yarn", ("factor", 32.0), *ramp, factor)
    assert (sheet.get("moe.experts"), sheet.get("moe.active"), sheet.get("moe.router")) == (32, 4, "topk-then-softmax")
    assert (sheet.get("attention.sinks"), sheet.get("bias.mlp")) == (True, True)
