"""Whole forwards against the models of transformers, with weights off their special values.

Everything is compared, queries that see no key among it: transformers' eager attention gives them all keys alike.
"""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from inspector.errors import ModelAtFault
from inspector.reference.cache import Cache
from inspector.reference.models import FORWARDS, forward_of
from inspector.reference.steps import Composition
from inspector.reference.weights import NotCovered
from tests.reference.variants import BATCH, DECODERS, LENGTH, REFUSED, SHAPES, TWO_SIDED, VARIANTS


def ids(length=LENGTH, seed=1):
    return torch.randint(4, 90, (BATCH, length), generator=torch.Generator().manual_seed(seed))


def padding(side, length=LENGTH):
    mask = torch.ones(BATCH, length, dtype=torch.long)
    if side == "left":
        mask[0, :4] = 0
    elif side == "right":
        mask[1, -5:] = 0
    elif side == "holes":
        mask[0, :2], mask[2, 5] = 0, 0
    return mask


def asked(made, inputs):
    """With another text of another length for a decoder that looks across, where there is one."""
    if not made.config["is_encoder_decoder"] or "decoder_input_ids" in inputs:
        return inputs
    return {**inputs, "decoder_input_ids": ids(LENGTH - 4, seed=9)}


def theirs(made, **inputs):
    with torch.no_grad():
        return made.module(**asked(made, inputs))


def ours(made, cache=None, head=True, config=None, **inputs):
    forward = forward_of(made.config["model_type"])
    return forward(made.weights, config or made.config, asked(made, inputs), Composition(), cache, head=head)


def distance(actual, expected):
    """The largest difference, as a share of the largest value."""
    return ((actual - expected.double()).abs().max() / expected.abs().max()).item()


ENCODED = "encoder_outputs.last_hidden_state"
"""As a forward of two sides is given what its encoder made before."""

CLOSE = 4e-6
"""fp32 against float64, through two layers. The smallest effect that a test here looks for is larger."""


def close(model_type):
    """Where scores are not scaled, or embeddings are and not normalised, scores are large and rounded as much."""
    return 20 * CLOSE if model_type in ("marian", "mt5", "t5") else CLOSE


@pytest.mark.parametrize("side", ["none", "left", "right", "holes"])
@pytest.mark.parametrize("model_type", FORWARDS)
def test_a_prefill_is_that_of_transformers(made, model_type, side):
    model = made(model_type)
    inputs = {"input_ids": ids()} | ({} if side == "none" else {"attention_mask": padding(side)})

    actual, expected = ours(model, **inputs), theirs(model, **inputs)

    assert distance(actual.logits, expected.logits) < close(model_type)
    if side != "none":  # and the padding is seen
        assert distance(ours(model, input_ids=ids()).logits, expected.logits) > 100 * close(model_type)


@pytest.mark.parametrize(
    ("model_type", "changes"), VARIANTS, ids=[f"{t}-{next(iter(c))}{i}" for i, (t, c) in enumerate(VARIANTS)]
)
def test_a_claim_that_changes_the_maths_is_honoured(made, model_type, changes):
    """And with the number that the type has by default, the same weights give something else."""
    model, default = made(model_type, **changes), made(model_type)
    expected = theirs(model, input_ids=ids()).logits

    assert distance(ours(model, input_ids=ids()).logits, expected) < close(model_type)
    assert distance(ours(model, input_ids=ids(), config=default.config).logits, expected) > 10 * close(model_type)


@pytest.mark.parametrize(("model_type", "changes"), SHAPES, ids=[f"{t}-{c}" for t, c in SHAPES])
def test_a_claim_about_sizes_or_weights_is_honoured(made, model_type, changes):
    model = made(model_type, **changes)

    assert distance(ours(model, input_ids=ids()).logits, theirs(model, input_ids=ids()).logits) < close(model_type)


@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_a_head_that_is_claimed_to_be_tied_reads_the_token_table(made, model_type):
    model = made(model_type, tie_word_embeddings=False)
    config = model.config | {"tie_word_embeddings": True}

    assert distance(ours(model, input_ids=ids(), config=config).logits, theirs(model, input_ids=ids()).logits) > 0.1


def test_every_decoder_is_among_them():
    encoders = {"roberta", "distilbert"}
    assert {FORWARDS[name] for name in (*TWO_SIDED, *(name for name, _ in DECODERS))} | encoders == set(
        FORWARDS.values()
    )


@pytest.mark.parametrize("side", ["none", "left", "right"])
@pytest.mark.parametrize(
    ("model_type", "changes"),
    DECODERS,
    ids=[name for name, _ in DECODERS],
)
def test_steps_after_the_prefill_are_those_of_transformers(made, model_type, changes, side):
    """A prompt, one token, a few at once, one again; and the cache holds the same keys and values."""
    model = made(model_type, **changes)
    cache, past, mask = None, None, padding(side)
    for number, length in enumerate([LENGTH, 1, 3, 1]):
        mask = mask if number == 0 else torch.cat([mask, torch.ones(BATCH, length, dtype=torch.long)], dim=1)
        given = {"input_ids": ids(length, seed=number)} | ({} if side == "none" else {"attention_mask": mask})
        actual = ours(model, cache=cache, **given)
        expected = theirs(model, **given, past_key_values=past, use_cache=True)
        cache, past = actual.cache, expected.past_key_values

        assert distance(actual.logits, expected.logits) < close(model_type)
        for layer in range(2):
            assert distance(cache.keys[layer], past.layers[layer].keys) < close(model_type)
            assert distance(cache.values[layer], past.layers[layer].values) < close(model_type)


@pytest.mark.parametrize("side", ["none", "left", "right"])
@pytest.mark.parametrize("model_type", TWO_SIDED)
def test_steps_of_a_decoder_that_looks_across_are_those_of_transformers(made, model_type, side):
    """What the encoder made is looked at once: its keys and values are kept, and nothing is projected again."""
    model = made(model_type)
    source = {} if side == "none" else {"attention_mask": padding(side)}
    texts = [ids(length, seed=number) for number, length in enumerate([5, 1, 3, 1])]
    actual = ours(model, input_ids=ids(), decoder_input_ids=texts[0], **source)
    expected = theirs(model, input_ids=ids(), decoder_input_ids=texts[0], use_cache=True, **source)
    hidden = expected.encoder_last_hidden_state
    for tokens in texts[1:]:
        given = {"decoder_input_ids": tokens, **source}
        actual = ours(model, cache=actual.cache, **given, **{ENCODED: torch.full_like(hidden, torch.nan)})
        expected = theirs(
            model, **given, past_key_values=expected.past_key_values, encoder_outputs=(hidden,), use_cache=True
        )
        own, across = expected.past_key_values.self_attention_cache, expected.past_key_values.cross_attention_cache

        assert distance(actual.logits, expected.logits) < close(model_type)
        for layer in range(2):
            assert distance(actual.cache.keys[layer], own.layers[layer].keys) < close(model_type)
            assert distance(actual.cache.values[layer], own.layers[layer].values) < close(model_type)
            assert distance(actual.cache.cross_keys[layer], across.layers[layer].keys) < close(model_type)
            assert distance(actual.cache.cross_values[layer], across.layers[layer].values) < close(model_type)


@pytest.mark.parametrize("model_type", TWO_SIDED)
def test_what_an_encoder_made_before_may_be_given(made, model_type):
    model, source = made(model_type), {"attention_mask": padding("left")}
    expected = theirs(model, input_ids=ids(), **source)
    hidden = expected.encoder_last_hidden_state.double()

    actual = ours(model, **{ENCODED: hidden}, **source)

    assert distance(actual.logits, expected.logits) < close(model_type)
    assert distance(ours(model, **{ENCODED: hidden.flip(0)}, **source).logits, expected.logits) > 100 * close(
        model_type
    )


@pytest.mark.parametrize("model_type", TWO_SIDED)
def test_what_a_decoder_may_not_see_of_its_own_is_hidden(made, model_type):
    """A mask of its own, too: padding in what was generated."""
    model, mask = made(model_type), torch.ones(BATCH, LENGTH - 4, dtype=torch.long)
    mask[1, 3:5] = 0
    expected = theirs(model, input_ids=ids(), decoder_attention_mask=mask)

    assert distance(ours(model, input_ids=ids(), decoder_attention_mask=mask).logits, expected.logits) < close(
        model_type
    )
    assert distance(ours(model, input_ids=ids()).logits, expected.logits) > 100 * close(model_type)


@pytest.mark.parametrize(
    ("model_type", "changes"), [("gpt2", {}), ("llama", {}), ("gemma2", {}), ("mistral", {"sliding_window": 5})]
)
def test_cached_steps_are_one_long_forward(made, model_type, changes):
    """Of the reference itself, and to the precision of float64."""
    model, tokens = made(model_type, **changes), ids()
    whole = ours(model, input_ids=tokens)
    first = ours(model, input_ids=tokens[:, :6])
    rest = ours(model, cache=first.cache, input_ids=tokens[:, 6:])

    assert first.cache.length == 6
    assert distance(rest.logits, whole.logits[:, 6:]) < 1e-12


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "roberta", "distilbert", "electra"])
def test_in_float64_nothing_is_left_between_them(made, model_type):
    """None of these has a part that is kept in fp32, so the model in float64 is a second witness."""
    model = made(model_type)
    double = model._replace(module=deepcopy(model.module).double())
    inputs = {"input_ids": ids(), "attention_mask": padding("left")}

    assert distance(ours(model, **inputs).logits, theirs(double, **inputs).logits) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("model_type", FORWARDS)
def test_a_forward_keeps_the_precision_it_is_given(made, model_type, dtype):
    model, run = made(model_type), Composition(keep=True)
    weights = {name: tensor.to(dtype) for name, tensor in model.weights.items()}
    inputs = asked(model, {"input_ids": ids(), "attention_mask": padding("left")})
    forward_of(model_type)(weights, model.config, inputs, run)
    kinds = {tensor.dtype for step in run.steps for tensor in step.outputs if tensor.is_floating_point()}

    assert kinds == {dtype}


@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_segments_are_looked_up(made, model_type):
    model = made(model_type)
    kinds = torch.tensor([[0] * 5 + [1] * 6]).expand(BATCH, -1)
    expected = theirs(model, input_ids=ids(), token_type_ids=kinds).logits

    assert distance(ours(model, input_ids=ids(), token_type_ids=kinds).logits, expected) < close(model_type)
    assert distance(ours(model, input_ids=ids()).logits, expected) > 100 * close(model_type)


@pytest.mark.parametrize(
    "model_type", [name for name in FORWARDS if name not in {"bloom", *TWO_SIDED}]
)  # which take none
def test_positions_that_are_given_are_used(made, model_type):
    model = made(model_type)
    places = (torch.arange(LENGTH) * 3 % 17)[None].expand(BATCH, -1)
    inputs = {"input_ids": ids(), "attention_mask": padding("none")}
    expected = theirs(model, **inputs, position_ids=places).logits

    assert distance(ours(model, **inputs, position_ids=places).logits, expected) < close(model_type)
    assert distance(ours(model, **inputs).logits, expected) > 100 * close(model_type)


def test_positions_are_counted_from_behind_the_padding_id(made):
    """And over tokens that are not padding, wherever padding stands."""
    model, tokens = made("roberta", pad_token_id=3), ids()
    tokens[0, :4], tokens[1, 7] = 3, 3
    expected = theirs(model, input_ids=tokens).logits

    assert distance(ours(model, input_ids=tokens).logits, expected) < CLOSE
    for wrong in (0, 2):
        assert (
            distance(ours(model, input_ids=tokens, config=model.config | {"pad_token_id": wrong}).logits, expected)
            > 0.1
        )


def test_a_window_lets_go_of_what_stands_before_it(made):
    """And a cache says how many tokens it has seen, though no layer holds them all."""
    model = made("mistral", sliding_window=5)
    first = ours(model, input_ids=ids())

    assert (first.cache.length, first.cache.keys[0].shape[2]) == (LENGTH, 4)
    forgetful = first.cache._replace(seen=None)
    rest = [ours(model, cache=cache, input_ids=ids(2)).logits for cache in (first.cache, forgetful)]
    assert distance(*rest) > 1e-3  # positions would start again


def test_the_pooler_reads_the_first_token(made):
    model = made("bert", head=False)
    inputs = {"input_ids": ids(), "attention_mask": padding("left")}
    actual, expected = ours(model, head=False, **inputs), theirs(model, **inputs)

    assert distance(actual.pooler_output, expected.pooler_output) < CLOSE
    assert distance(actual.last_hidden_state, expected.last_hidden_state) < CLOSE
    assert (actual.logits, actual.cache) == (None, None)


@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_base_models_and_their_tied_heads(made, model_type):
    """Weights of the base model are found without a prefix; a tied head needs no weight of its own."""
    model = made(model_type, head=False, tie_word_embeddings=True)
    hidden = theirs(model, input_ids=ids()).last_hidden_state
    table = next(tensor for name, tensor in model.weights.items() if name in ("wte.weight", "embed_tokens.weight"))

    actual = ours(model, input_ids=ids())

    assert distance(actual.last_hidden_state, hidden) < close(model_type)
    assert distance(actual.logits, actual.last_hidden_state @ table.T) < 1e-12
    assert ours(model, input_ids=ids(), head=False).logits is None


def test_without_a_cache_none_is_kept(made):
    model = made("llama")

    assert ours(model, input_ids=ids(), config=model.config | {"use_cache": False}).cache is None
    assert isinstance(ours(model, input_ids=ids()).cache, Cache)


@pytest.mark.parametrize(("model_type", "claims", "inputs", "error", "message"), REFUSED)
def test_what_is_not_covered_is_refused(made, model_type, claims, inputs, error, message):
    model = made(model_type)

    with pytest.raises(error, match=message):
        ours(model, config=model.config | claims, input_ids=ids(), **inputs)


@pytest.mark.parametrize("model_type", ["distilbert", "roberta"])
def test_a_past_that_cannot_be_continued_is_refused(made, model_type):
    model = made(model_type)
    past = Cache((torch.zeros(BATCH, 4, 5, 16),) * 2, (torch.zeros(BATCH, 4, 5, 16),) * 2)

    with pytest.raises(NotCovered, match=r"no cache|after a past"):
        ours(model, cache=past, input_ids=ids())


@pytest.mark.parametrize("model_type", TWO_SIDED)
def test_one_side_alone_is_refused(made, model_type):
    model, forward = made(model_type), forward_of(model_type)

    with pytest.raises(NotCovered, match="reads decoder_input_ids, but got none"):
        forward(model.weights, model.config, {"input_ids": ids()}, Composition())
    with pytest.raises(NotCovered, match="reads input_ids or encoder_outputs, but got neither"):
        forward(model.weights, model.config, {"decoder_input_ids": ids()}, Composition())


def test_no_tokens_and_foreign_weights_are_refused(made):
    model = made("llama")

    with pytest.raises(NotCovered, match="reads input_ids, but got none"):
        ours(model)
    with pytest.raises(ModelAtFault, match=r"hold no wte\.weight"):
        forward_of("gpt2")(model.weights, model.config, {"input_ids": ids()}, Composition())


def test_types_without_a_reference_have_none():
    assert [forward_of(name) for name in ("mamba", "", None)] == [None] * 3
