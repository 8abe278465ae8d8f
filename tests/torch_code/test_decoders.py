"""Decoders with options that few checkpoints have: cross-attention, scores in another order, caches of two sides."""

from __future__ import annotations

import pytest
import transformers

import inspector

SMALL = {"vocab_size": 101, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def gpt2(**options):
    config = transformers.GPT2Config(n_embd=48, n_layer=3, n_head=4, n_positions=64, **SMALL, **options)
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def bert(**options):
    config = transformers.BertConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        vocab_size=101,
        max_position_embeddings=64,
        **options,
    )
    return transformers.BertLMHeadModel._from_config(config, attn_implementation="eager").eval()


IDS = ["input_ids:BxS:int64<90"]
BOTH = [*IDS, "encoder_hidden_states:Bx9x48:float32"]


@pytest.mark.parametrize(
    ("model", "projections"),
    [
        (lambda: bert(is_decoder=True, add_cross_attention=True), {"q_proj", "k_proj", "v_proj"}),
        (lambda: gpt2(add_cross_attention=True), {"q_proj", "kv_proj", "split_qkv"}),
    ],
    ids=["bert", "gpt2"],
)
def test_cross_attention_reads_the_other_sequence(model, projections):
    model = model()
    result = inspector.shapes(model, BOTH)
    crossing = [row for row in result.rows if row.section == "cross_attention"]
    found = inspector.facts(model, BOTH, probes=False)

    assert (result.summary.unknown, result.summary.unsolved_dims) == (0, 0)
    assert projections <= {row.role for row in crossing}
    assert {row.layers for row in crossing} == {f"0-{model.config.num_hidden_layers - 1}"}
    (scores,) = [row for row in crossing if row.role == "scores"]
    assert scores.outputs[0].shape == (2, 4, 16, 9)
    assert (found.get("attention.cross"), found.get("attention.direction")) == (True, "causal")
    assert found.get("model.layers") == model.config.num_hidden_layers


def test_a_decoder_with_cross_attention_is_another_architecture():
    def run(model, inputs):
        from inspector.api.traces import Source
        from inspector.records import Scenario

        return Source(model, inputs).trace(Scenario())

    result = inspector.diff(run(gpt2(), IDS), run(gpt2(add_cross_attention=True), BOTH))

    assert next(finding.rule for finding in result.findings if finding.severity == "breaking") == "attention.cross"
    added = [row for row in result.rows if row.status == "only-b"]
    assert {part.section for row in added for part in row.parts} == {"cross_attention"}


def test_scores_in_another_order_are_the_same_function():
    one, two = gpt2(), gpt2(reorder_and_upcast_attn=True)
    a, b = (inspector.facts(model, IDS, probes=False) for model in (one, two))

    assert a.get("attention.scale") == pytest.approx(b.get("attention.scale"))
    found = {row.role for row in inspector.shapes(two, IDS, role="attention.scores").rows}
    assert found == {"scores"}
    assert inspector.shapes(two, IDS).summary.unknown == 0
    (made,) = [row.signature for row in inspector.shapes(two, IDS, role="attention.scores").rows]
    assert made.summed == ("K",)


def test_a_scale_of_each_layer_is_a_fact_of_each_layer():
    found = inspector.facts(gpt2(scale_attn_by_inverse_layer_idx=True), IDS, probes=False)
    scales = {fact.layers: fact.value for fact in found.rows if fact.id == "attention.scale"}

    assert scales == {str(layer): pytest.approx(12**-0.5 / (layer + 1)) for layer in range(3)}


@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_a_step_of_a_decoder_with_an_encoder_behind_it(model_type):
    configs = {
        "t5": transformers.T5Config(d_model=48, d_kv=12, d_ff=64, num_layers=2, num_heads=4, **SMALL),
        "bart": transformers.BartConfig(
            d_model=48,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_position_embeddings=64,
            **SMALL,
        ),
    }
    model = transformers.AutoModelForSeq2SeqLM.from_config(configs[model_type], attn_implementation="eager").eval()
    result = inspector.shapes(model, past=9, seq=1)
    updates = {row.section: row for row in result.rows if row.role == "cache_update" and row.operand == "k"}

    assert result.summary.unknown == 0
    assert [view.symbolic for view in updates["attention"].outputs] == ["(B, 4, T, 12)"]
    assert not any(row.section == "cross_attention" and row.role in ("k_proj", "v_proj") for row in result.rows)
    assert inspector.shapes(model, generate=3).passed
