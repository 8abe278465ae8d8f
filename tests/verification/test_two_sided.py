"""Encoder-decoders: a mistake in the encoder, in the decoder, and in how one looks across to the other is told there.

That they pass as they are is in `test_forwards.py`, with all the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from inspector.verification.claims import claimed_by
from inspector.verification.mutants.catalogue import CATALOGUE
from inspector.verification.mutants.run import run_mutants
from inspector.verification.report import Report
from inspector.verification.verify import Running, verify


class Bug(NamedTuple):
    """One mistake: in which type, what is done, at which stage it has to be told, and in which words.

    first: the stage that is told first, where that is another one, which the mistake brings along.
    """

    name: str
    plant: Callable[[Any], None]
    where: str
    culprit: str = ""
    first: str = ""


def _set(part: Any, name: str, value: Any) -> None:
    setattr(part, name, value)


def _at_itself(attention: Any) -> None:
    right = attention.forward

    def wrong(*args: Any, **more: Any) -> Any:
        return right(*args, **{**more, "key_value_states": args[0] if args else more["hidden_states"]})

    attention.forward = wrong


def _without(attention: Any, name: str) -> None:
    right = attention.forward
    attention.forward = lambda *args, **more: right(*args, **{**more, name: None})


def _later(positions: Any) -> None:
    right = positions.forward
    positions.forward = lambda shape, past=0, **more: right(shape, past + 2)


def _zeros(attention: Any) -> None:
    """Adds nothing for distance, and hands the right bias on."""
    right = attention.forward

    def wrong(x: Any, *args: Any, **more: Any) -> Any:
        bias = more["position_bias"]
        answer = right(x, *args, **{**more, "position_bias": torch.zeros_like(bias)})
        return (answer[0], bias, *answer[2:])

    attention.forward = wrong


def _biased(decoder: Any) -> None:
    """The second block looks across with what it adds for distance where it looks at itself."""
    own, across = decoder.block[1].layer[0].SelfAttention, decoder.block[1].layer[1].EncDecAttention
    right, there, kept = own.forward, across.forward, []

    def keeping(*args: Any, **more: Any) -> Any:
        kept[:] = [more["position_bias"]]
        return right(*args, **more)

    own.forward = keeping
    across.forward = lambda *args, **more: there(*args, **{**more, "position_bias": kept[0]})


BUGS = {
    "a norm of the encoder is skipped": Bug(
        "bart",
        lambda m: _set(m.model.encoder.layers[1], "final_layer_norm", nn.Identity()),
        "layer 1 mlp.post_norm",
        "nothing ran for it",
    ),
    "another scale where the decoder looks at itself": Bug(
        "bart",
        lambda m: _set(m.model.decoder.layers[1].self_attn, "scaling", 0.5),
        "layer 3 attention.scale",
        "factor is 0.5",
    ),
    "the decoder looks at itself where it should look across": Bug(
        "bart",
        lambda m: _at_itself(m.model.decoder.layers[1].encoder_attn),
        "layer 3 cross_attention.k_proj.k",
        "x comes from layer 3 attention.post_norm, claimed is layer 1 mlp.post_norm",
    ),
    "the decoder sees the encoder's padding": Bug(
        "bart",
        lambda m: _without(m.model.decoder.layers[1].encoder_attn, "attention_mask"),
        "layer 3 cross_attention.mask",
        "nothing ran for it",
    ),
    "the encoder sees its padding": Bug(
        "bart",
        lambda m: _without(m.model.encoder.layers[1].self_attn, "attention_mask"),
        "layer 1 attention.mask",
        "nothing ran for it",
    ),
    "rows of the encoder's positions are one too low": Bug(
        "bart", lambda m: _set(m.model.encoder.embed_positions, "offset", 1), "positions.ids", "values differ"
    ),
    "positions of T5's decoder look both ways": Bug(
        "t5",
        lambda m: _set(m.decoder.block[0].layer[0].SelfAttention, "is_decoder", False),
        "positions.relative_bias",
        "values differ",
    ),
    "T5's encoder scales its scores": Bug(
        "t5",
        lambda m: _set(m.encoder.block[1].layer[0].SelfAttention, "scaling", 0.25),
        "layer 1 attention.scale",
        "factor is 0.25",
    ),
    "T5's decoder adds no bias where it looks at itself": Bug(
        "t5",
        lambda m: _zeros(m.decoder.block[1].layer[0].SelfAttention),
        "layer 3 attention.mask",
        "bias comes from mask.build (2), claimed is positions.relative_bias (2)",
        "mask.build",
    ),
    "T5 looks across with the bias of its own positions": Bug(
        "t5",
        lambda m: _biased(m.decoder),
        "layer 3 cross_attention.mask",
        "positions.relative_bias",
    ),
    "T5 looks across through the wrong norm": Bug(
        "t5",
        lambda m: _set(m.decoder.block[1].layer[1], "layer_norm", m.decoder.block[1].layer[0].layer_norm),
        "layer 3 cross_attention.norm",
        "weight comes from",
    ),
    "T5's words are not scaled": Bug(
        "t5", lambda m: _set(m.config, "scale_decoder_outputs", False), "head.scale", "nothing ran for it"
    ),
    "mT5's gate is as it comes": Bug(
        "mt5",
        lambda m: _set(m.encoder.block[1].layer[1].DenseReluDense, "act", nn.Identity()),
        "layer 1 mlp.activation",
        "nothing ran for it",
    ),
    "mT5 looks across to what is not normalised": Bug(
        "mt5",
        lambda m: _set(m.encoder, "final_layer_norm", nn.Identity()),
        "head.norm",
        "claimed is encoder.final_layer_norm.weight",
    ),
    "mBART's encoder ends without a norm": Bug(
        "mbart",
        lambda m: _set(m.model.encoder, "layer_norm", nn.Identity()),
        "head.norm",
        "nothing ran for it",
    ),
    "mBART looks across with what is not normalised": Bug(
        "mbart",
        lambda m: _set(m.model.decoder.layers[1], "encoder_attn_layer_norm", nn.Identity()),
        "layer 3 cross_attention.norm",
        "nothing ran for it",
    ),
    "mBART scales as half a head": Bug(
        "mbart",
        lambda m: _set(m.model.decoder.layers[1].self_attn, "scaling", 0.5),
        "layer 3 attention.scale",
        "factor is 0.5",
    ),
    "PEGASUS counts positions from two": Bug(
        "pegasus", lambda m: _later(m.model.encoder.embed_positions), "positions.ids", "values differ"
    ),
    "PEGASUS scales as half a head": Bug(
        "pegasus",
        lambda m: _set(m.model.decoder.layers[1].self_attn, "scaling", 0.5),
        "layer 3 attention.scale",
        "factor is 0.5",
    ),
    "PEGASUS looks across to itself": Bug(
        "pegasus",
        lambda m: _at_itself(m.model.decoder.layers[1].encoder_attn),
        "layer 3 cross_attention.k_proj.k",
        "claimed is head.norm",
    ),
    "Marian's encoder skips a norm": Bug(
        "marian",
        lambda m: _set(m.model.encoder.layers[0], "self_attn_layer_norm", nn.Identity()),
        "layer 0 attention.post_norm",
        "nothing ran for it",
    ),
    "Marian scales as half a head": Bug(
        "marian",
        lambda m: _set(m.model.decoder.layers[1].self_attn, "scaling", 0.5),
        "layer 3 attention.scale",
        "factor is 0.5",
    ),
    "Marian sees the encoder's padding": Bug(
        "marian",
        lambda m: _without(m.model.decoder.layers[1].encoder_attn, "attention_mask"),
        "layer 3 cross_attention.mask",
        "nothing ran for it",
    ),
    "words have no bias": Bug(
        "bart", lambda m: _set(m, "final_logits_bias", torch.zeros(1, 99)), "head.lm_head", "values differ"
    ),
}


def _claims(run: Running) -> Any:
    module: Any = run.module
    return claimed_by(run.info.model_type, module, module.config.to_dict(), run.inputs())


@pytest.mark.parametrize("bug", BUGS)
def test_a_mistake_is_told_where_it_is(ready, bug):
    one = BUGS[bug]
    run = ready(one.name)
    claimed = _claims(run)
    one.plant(run.module)

    report = verify(run, lambda _: claimed)

    told = [row.where for row in report.failures if one.culprit in row.culprit]
    assert report.failures[0].where == (one.first or one.where)
    assert one.where in told, [(row.where, row.culprit) for row in report.failures]


def _of_another_layer(run: Running) -> Report:
    """A step in which the second block looks across with the keys that the first one keeps."""
    module: Any = run.module
    attention = module.model.decoder.layers[1].encoder_attn
    right, claimed, inputs = attention.forward, _claims(run), [run.inputs() for _ in range(2)]

    def wrong(*args: Any, **more: Any) -> Any:
        layers = more["past_key_values"].cross_attention_cache.layers
        layers[1].keys = layers[0].keys
        return right(*args, **more)

    attention.forward = wrong
    return verify(replace(run, inputs=inputs.pop), lambda _: claimed)


def test_keys_of_another_layers_memory_are_told(ready):
    """In a later step nothing is projected that would tell them."""
    report = _of_another_layer(ready("bart", past=13, seq=1))

    assert [row.where for row in report.failures] == ["layer 1 cross_attention.scores"]
    assert "past keys of layer 0 of the other sequence" in report.failures[0].culprit
    assert report.uncovered == ()


def test_what_filled_a_memory_takes_no_part_and_that_is_said(ready, report_of):
    report = report_of(ready("bart", past=13, seq=1))

    assert report.verdict == "pass"
    assert any(note.endswith("take no part in this step: what they gave before is remembered") for note in report.notes)
    assert not any("take no part" in note for note in report_of(ready("bart")).notes)


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_a_decoder_that_is_given_what_it_looks_across_to(ready, report_of, name):
    """Its blocks are the only ones then, and are numbered from the first."""
    from transformers.modeling_outputs import BaseModelOutput

    run = ready(name)
    given = {key: value for key, value in run.inputs().items() if key != "input_ids"}
    hidden = torch.randn(3, 31, 64, generator=torch.Generator().manual_seed(0))
    report = report_of(replace(run, inputs=lambda: {**given, "encoder_outputs": BaseModelOutput(hidden.clone())}))

    assert [(row.where, row.culprit) for row in report.rows if row.verdict not in ("pass", "exempt")] == []
    assert (report.verdict, report.uncovered) == ("pass", ())
    assert {row.layer for row in report.rows} == {None, 0, 1}
    key = next(row for row in report.rows if row.where == "layer 0 cross_attention.k_proj.k")
    assert ("x", "input encoder_outputs.last_hidden_state") in {(link.argument, link.executed) for link in key.wiring}


def test_an_encoder_alone_is_checked_stage_by_stage():
    """A type with a whole forward has classes that it does not cover, and they are no less checked than others."""
    from transformers import T5Config, T5EncoderModel

    import inspector

    model = T5EncoderModel(T5Config(vocab_size=99, d_model=64, d_kv=16, d_ff=96, num_layers=2, num_heads=4)).eval()
    found = inspector.parity(model, {"input_ids": torch.arange(4, 16).reshape(2, 6)})

    assert found.verdict == "incomplete"
    assert [row.where for row in found.rows if row.verdict == "fail"] == []
    assert any("reads decoder_input_ids, but got none" in note for note in found.report.notes)


def test_words_so_many_that_they_are_judged_in_pieces(ready):
    """Their bias is cut as their table is, in the check and where its power is measured."""
    run = ready("bart", {"vocab_size": 9001})
    report = verify(run, lambda _: _claims(run), power=True)
    row = next(row for row in report.rows if row.path == "head.lm_head")

    assert (row.verdict, row.culprit) == ("pass", "")
    assert row.mutants is not None
    assert row.mutants.alive == ()


def test_what_takes_no_part_by_nobodys_claim_is_uncovered(ready):
    run = ready("bart", past=13, seq=1)
    report = verify(run, lambda _: replace(_claims(run), spared=frozenset()))

    assert "model.encoder.layers.0.fc1.weight" in report.uncovered
    assert "model.decoder.layers.1.encoder_attn.v_proj.bias" in report.uncovered
    assert "model.decoder.layers.1.encoder_attn.q_proj.bias" not in report.uncovered
    assert report.verdict == "incomplete"


@pytest.mark.parametrize(
    ("name", "attention", "past"),
    [("bart", "eager", 0), ("bart", "sdpa", 13), ("t5", "eager", 0), ("t5", "sdpa", 0), ("t5", "eager", 13)],
)
def test_every_known_mistake_is_caught(ready, name, attention, past):
    """Those of the last block are made in the decoder; one that has no number is made in the encoder's embeddings."""
    run = ready(name, attention=attention, past=past, seq=7)
    found = run_mutants(run, lambda _: _claims(run), mutants=CATALOGUE)

    assert [row.name for row in found.survivors] == []
    assert [row.name for row in found.rows if row.error] == []
    lost = {row.name for row in found.rows if not row.localised and not row.equivalent}
    near = {"mask-after-softmax", "residual-from-the-layer-before"}  # of which a bias makes another stage the first
    assert lost <= (near if name == "t5" else set())
    assert len(found.rows) > 60
