"""The flag sweep can tell its four answers apart, and its page says each of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).parent
COMMITTED = HERE.parents[1] / "reports" / "measured"


@pytest.fixture(scope="module")
def sweep():
    """The modules of the sweep, which are no package: `flags`, `flips`, `reads`, `flags_page`."""
    before = list(sys.path)
    sys.path.insert(0, str(HERE))
    import flags
    import flags_page
    import flips
    import reads

    yield SimpleNamespace(flags=flags, page=flags_page, flips=flips, reads=reads)
    sys.path[:] = before


@pytest.fixture(scope="module")
def bases(sweep):
    """The small config of a type, in each reading, made once."""
    from inspector.records import Scenario
    from inspector.source import resolve, subject_of
    from inspector.source.tiny import twin_of

    made = {}

    def base(name):
        if name not in made:
            config = twin_of(subject_of(resolve(f"model_type:{name}")), Scenario())[0].config
            made[name] = sweep.flags.Bases(sweep.flips.exercised(config))
        return made[name]

    return base


@pytest.fixture(scope="module")
def throw(sweep, bases):
    """What one of the switches of a type does; `new` tells apart those of one key."""

    def thrown(name, key, new=None):
        mine = [flip for flip in sweep.flips.flips(bases(name).config) if flip.name == key and new in (None, flip.new)]
        return sweep.flags.thrown(bases(name), mine[0])

    return thrown


def test_every_boolean_and_every_word_with_another_is_a_switch(sweep, bases):
    found = {(flip.name, flip.new) for flip in sweep.flips.flips(bases("llama").config)}

    assert {("attention_bias", True), ("mlp_bias", True)} <= found
    assert "hidden_act" in {key for key, _ in found}
    assert not {key for key, _ in found} & set(sweep.flips.ELSEWHERE)


def test_every_kind_of_rotation_but_its_own_is_tried(sweep, bases):
    kinds = {flip.new for flip in sweep.flips.flips(bases("llama").config) if flip.key == "rope_parameters.rope_type"}

    assert kinds == {"linear", "dynamic", "yarn", "longrope", "llama3"}


def test_what_is_off_because_nothing_is_stated_is_a_switch(sweep, bases):
    found = {flip.key: flip for flip in sweep.flips.flips(bases("deberta-v2").config)}

    assert found["pos_att_type"].new == ["c2p", "p2c"]
    assert dict(found["pos_att_type"].beside) == {"relative_attention": True}
    assert found["share_att_key"].new is True


def test_a_list_with_a_word_for_each_layer_changes_in_the_last(sweep, bases):
    flip = next(flip for flip in sweep.flips.flips(bases("qwen2").config) if flip.key == "layer_types")

    assert flip.new == [*flip.old[:-1], "sliding_attention"]
    assert dict(flip.beside) == {"use_sliding_window": True, "sliding_window": 8}


def test_parts_that_read_no_text_have_no_switches(sweep, bases):
    parts = {flip.part for flip in sweep.flips.flips(bases("llava").config)}

    assert parts == {(), ("text_config",)}


@pytest.mark.parametrize(
    ("name", "key", "new", "reading", "said"),
    [
        ("llama", "attention_bias", True, "prefill", "bias.qkv"),
        ("llama", "hidden_act", None, "prefill", "mlp.activation"),
        ("llama", "rope_parameters.rope_type", "longrope", "prefill", "position.rope.scaling"),
        ("gpt2", "scale_attn_weights", False, "prefill", "attention.scale"),
        ("gpt2", "tie_word_embeddings", False, "prefill", "embedding.tied"),
        ("gpt2", "reorder_and_upcast_attn", True, "bfloat16", "attention.softmax_dtype"),
        ("bert", "tie_word_embeddings", False, "head", "embedding.tied"),
        ("mamba", "use_bias", True, "prefill", "row ssm.in_proj"),
        ("big_bird", "attention_type", "original_full", "prefill", "attention.direction"),
        ("deberta-v2", "pos_att_type", None, "prefill", "position.kind"),
    ],
)
def test_a_switch_that_does_something_is_told_by_a_fact_or_a_row(throw, name, key, new, reading, said):
    row = throw(name, key, new)

    assert (row["result"], row["reading"]) == ("changed", reading)
    assert said in row["seen"]


def test_one_without_effect_says_why(sweep, throw, bases):
    cache, summary = throw("gpt2", "use_cache"), throw("gpt2", "summary_type")

    assert (cache["result"], summary["result"]) == ("no effect", "no effect")
    assert summary["why"] == "no code of the run reads it"
    assert sweep.page.shown(cache, "gpt2") == "says what is handed back besides, not what is computed"
    flip = sweep.flips.Flip((), "layer_norm_epsilon", 1e-5, 1e-5)
    assert sweep.flags.thrown(bases("gpt2"), flip)["why"] == "the config takes it back"


def test_what_a_switch_needs_besides_is_on_both_sides(throw):
    """Relative attention alone moves much; with it on both sides, what is left is what the switch does."""
    row = throw("deberta-v2", "norm_rel_ebd")

    assert (row["result"], row["beside"]["relative_attention"]) == ("changed", True)
    assert "position.kind" not in row["seen"]


def test_one_that_is_refused_says_why(sweep, bases):
    flip = sweep.flips.Flip((), "activation_function", "gelu_new", "no such function")
    row = sweep.flags.thrown(bases("gpt2"), flip)

    assert row["result"] == "invalid"
    assert "no such function" in row["why"]


def test_what_nobody_tells_is_a_fault_of_ours(sweep, throw, monkeypatch):
    """A sheet of facts and a diff that see nothing: the answers move all the same."""
    monkeypatch.setattr(sweep.flags.Known, "differs", lambda self, other: [])
    row = throw("llama", "attention_bias")

    assert (row["result"], bool(row["moved"])) == ("unseen", True)


def test_what_cannot_be_described_is_a_fault_of_ours(sweep, throw, monkeypatch):
    monkeypatch.setattr(sweep.flags.Known, "differs", lambda self, other: 1 / 0)

    assert throw("llama", "mlp_bias")["result"] == "unseen"


def test_a_read_is_where_the_model_reads_it_and_not_the_config(sweep):
    from transformers import LlamaConfig, LlamaModel

    # By way of a document, as the sweep makes them: what only says which class it is is no difference.
    small = LlamaConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=11, intermediate_size=8)
    config = LlamaConfig.from_dict(small.to_dict())
    assert sweep.reads.differing(config, LlamaConfig.from_dict({**config.to_dict(), "mlp_bias": True})) == {"mlp_bias"}

    with sweep.reads.reads() as found:
        config.get_text_config()
        assert "mlp_bias" not in found
        LlamaModel(config)

    assert found["mlp_bias"].startswith("models/llama/modeling_llama.py:")


def test_one_of_each_family_comes_first(sweep):
    assert sweep.flags.most_unlike_first(["gemma", "gemma2", "llama", "llama4_text"]) == [
        "gemma", "llama", "gemma2", "llama4_text"
    ]  # fmt: skip


@pytest.fixture
def found(sweep):
    rows = [
        {"key": "mlp_bias", "old": False, "new": True, "result": "changed", "seen": ["bias.mlp"], "reading": "prefill"},
        {"key": "flag", "old": True, "new": False, "result": "unseen", "moved": ["logits"], "reading": "prefill"},
    ]
    lines = {name: {"type": name, "tool": {"torch": "2"}, "flips": rows, "seconds": 7} for name in ("b", "a")}
    return sweep.page.envelope(lines)


def test_the_page_lists_each_switch_with_what_shows_it(sweep, found):
    text = sweep.page.page(found)

    assert "| mlp\\_bias | no | yes | bias.mlp | a, b |" in text
    assert "| flag | yes | no | logits moved | a, b |" in text
    assert [row["type"] for row in found["rows"]] == ["a", "b"]
    assert json.loads(sweep.page.as_json(found)) == found


def test_a_switch_that_is_told_of_no_more_is_worse(sweep, found):
    now = json.loads(json.dumps(found))
    now["rows"][0]["flips"][0]["result"] = "no effect"
    now["rows"][1]["flips"][0]["result"] = "unseen"

    assert sweep.page.worse(now, found) == [
        "a mlp_bias true: changed -> no effect",
        "b mlp_bias true: changed -> unseen",
    ]
    assert sweep.page.worse(found, found) == []
