"""What one check can tell by the value alone, and what a wrong value looks like."""

from __future__ import annotations

import math

import pytest
import torch

from inspector.reference.activations import activate
from inspector.reference.attention import apply_mask, scale, scores, softmax, weighted_sum
from inspector.reference.feedforward import add
from inspector.reference.heads import repeat_kv
from inspector.reference.layout import viewed
from inspector.reference.masks import build_mask
from inspector.reference.norms import rms_norm
from inspector.reference.projections import linear, split_qkv
from inspector.reference.rope import rope_table, rotate
from inspector.reference.steps import Composition
from inspector.verification.mutants.power import DETECTABLE, effects, looks_like, power, sampled
from inspector.verification.values import Values, values_of


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def case(name, function, numbers=None, **tensors) -> Values:
    """One step of that name on these tensors, as the checker has it."""
    run = Composition()
    entered = {key: run.enter("input", key, tensor) for key, tensor in tensors.items()}
    run(name, function, layer=0, **entered, **(numbers or {}))
    operands = {source: tensors[key] for key, source in run.steps[0].sources}
    return values_of(run.steps, operands, {}, composite=False)


def test_a_scale_is_told_from_its_mistakes():
    values = case("attention.scale", scale, {"factor": 0.25}, scores_BHST=draw(2, 4, 7, 7))
    found = power(values, torch.float32)

    assert (found.killed, found.total, found.alive) == (7, 7, ())


def test_a_bound_in_half_precision_lets_small_mistakes_through():
    values = case("attention.scale", scale, {"factor": 0.25}, scores_BHST=draw(2, 4, 7, 7))

    assert power(values, torch.bfloat16).alive == ("scale-one-percent-off",)
    assert power(values, torch.bfloat16, numbers={"factor"}).alive == ()


def test_what_rounds_to_half_precision_is_no_mistake_in_it():
    values = case("attention.residual", add, residual=draw(2, 5, 8), x=draw(2, 5, 8, seed=1))

    assert "residual-in-half-precision" in effects(values, torch.float32)
    assert "residual-in-half-precision" not in effects(values, torch.bfloat16)


def test_a_bias_of_zeros_cannot_be_missed():
    x, weight = draw(3, 5, 8), draw(6, 8, seed=1)
    without = case("mlp.up_proj", linear, x=x, weight=weight, bias=torch.zeros(6, dtype=torch.float64))
    with_one = case("mlp.up_proj", linear, x=x, weight=weight, bias=draw(6, seed=2))

    assert {"bias-missing", "bias-twice"} == set(power(without, torch.float32).alive)
    assert power(with_one, torch.float32).alive == ()


def test_a_shift_that_cancels_has_no_effect():
    found = effects(case("attention.softmax", softmax, scores_BHST=draw(2, 4, 7, 7)), torch.float32)

    assert found["softmax-not-shifted"] < 1
    assert all(kappa > DETECTABLE for name, kappa in found.items() if name != "softmax-not-shifted")


def test_a_row_that_sees_no_key_shows_the_shift():
    hidden = torch.where(torch.ones(7, 7).tril(-1) > 0, draw(1, 1, 7, 7), -torch.inf)

    assert (
        effects(case("attention.softmax", softmax, scores_BHST=hidden), torch.float32)["softmax-not-shifted"]
        == math.inf
    )


def test_what_moves_is_told_bit_by_bit():
    shared = case("attention.repeat_kv.k", repeat_kv, {"heads": 4}, x_BGTK=draw(2, 2, 5, 8))
    alone = case("attention.repeat_kv.k", repeat_kv, {"heads": 4}, x_BGTK=draw(2, 4, 5, 8))
    parts = case("attention.split_qkv", split_qkv, {"heads": 4}, x_BSD=draw(2, 5, 96))

    assert effects(shared, torch.float32) == dict.fromkeys(("kv-heads-tiled", "kv-heads-of-another-group"), math.inf)
    assert "kv-heads-tiled" not in effects(alone, torch.float32)
    assert power(parts, torch.float32).alive == ()


def test_masks_and_tables_are_told():
    mask = case(
        "mask.build", build_mask, {"length": 7}, attention_mask_BT=torch.tensor([[0, 0, 1, 1, 1, 1, 1], [1] * 7])
    )
    table = case("positions.rope_table", rope_table, {"dim": 8, "theta": 1e4}, position_ids_BS=torch.arange(9)[None])

    assert (power(mask, torch.float32).killed, power(mask, torch.float32).alive) == (6, ())
    assert power(table, torch.float32).alive == ()


def test_tables_that_a_stage_cuts_out_first_are_told_apart_one_by_one():
    """That each is the other is a mistake, though each of them is one of what is expected."""
    run, places = Composition(), torch.arange(9)[None, :, None]
    entered = run.enter("input", "places", places)
    flat = run("positions.rope_table", viewed, x=entered, shape=(1, 9))
    run("positions.rope_table", rope_table, position_ids_BS=flat, dim=8, theta=1e4)
    values = values_of(run.steps, {run.steps[0].sources[0][1]: places}, {}, composite=False)

    assert "rope-cos-and-sin-swapped" in effects(values, torch.float32)
    assert power(values, torch.float32).alive == ()


def test_tables_with_an_angle_for_each_pair_have_the_same_mistakes():
    tables = {layout: rope_table(torch.arange(5)[None], dim=8, layout=layout) for layout in ("half", "single")}
    turned, made = {}, {}
    for layout, (cos, sin) in tables.items():
        values = case("attention.rope.q", rotate, x_BHSK=draw(2, 3, 5, 8), cos_B1SR=cos, sin_B1SR=sin)
        turned[layout] = effects(values, torch.float32)
        numbers = {"dim": 8, "theta": 1e4, "layout": layout}
        made[layout] = effects(
            case("positions.rope_table", rope_table, numbers, position_ids_BS=torch.arange(9)[None]), torch.float32
        )

    assert turned["half"].keys() == turned["single"].keys()
    assert made["half"].keys() == made["single"].keys()


@pytest.mark.parametrize(("dims", "known"), [(4, False), (6, True), (None, True)])
def test_a_half_that_stays_as_it_was_is_no_mistake_where_no_more_is_turned(dims, known):
    cos, sin = rope_table(torch.arange(5)[None], dim=dims or 8)
    values = case("attention.rope.q", rotate, {"dims": dims}, x_BHSK=draw(2, 3, 5, 8), cos_B1SR=cos, sin_B1SR=sin)

    assert ("rope-first-half-alone" in effects(values, torch.float32)) is known


def kernel(length: int = 7) -> Values:
    """Scores, scale, mask, softmax and sum in one, as a fused kernel has them."""
    run = Composition()
    tensors = {name: draw(2, 4, length, 8, seed=seed) for seed, name in enumerate("qkv")}
    tensors["allowed"] = torch.ones(length, length).tril() > 0
    q, k, v, allowed = (run.enter("input", name, tensor) for name, tensor in tensors.items())
    s = run("attention.scores", scores, layer=0, q_BHSK=q, k_BHTK=k)
    s = run("attention.scale", scale, layer=0, scores_BHST=s, factor=8**-0.5)
    s = run("attention.mask", apply_mask, layer=0, scores_BHST=s, allowed=allowed)
    p = run("attention.softmax", softmax, layer=0, scores_BHST=s)
    run("attention.weighted_sum", weighted_sum, layer=0, weights_BHST=p, v_BHTK=v)
    sources = {source.ref: source for step in run.steps for _, source in step.sources if source.kind == "input"}
    return values_of(run.steps, {sources[name]: tensor for name, tensor in tensors.items()}, {}, composite=False)


def test_in_a_kernel_each_part_may_be_the_wrong_one():
    found = effects(kernel(), torch.float32)

    assert {"scale-missing", "mask-not-applied", "softmax-over-queries", "weights-transposed"} <= found.keys()
    assert [name for name, kappa in found.items() if kappa < DETECTABLE] == ["softmax-not-shifted"]


@pytest.mark.parametrize("length", [300])
def test_large_stages_are_measured_on_a_sample(length):
    norm = case("attention.norm", rms_norm, {"eps": 1e-6}, x=draw(4, length, 16), weight=draw(16))
    wide = case("head.lm_head", linear, x=draw(4, length, 16), weight=draw(5000, 16))

    assert max(t.numel() for t in sampled(norm).expected.values()) <= 2 * 128 * 16
    assert max(t.numel() for t in sampled(wide).expected.values()) <= 2 * 128 * 512
    assert next(iter(sampled(kernel(length)).expected.values())).shape == (2, 4, 128, length)
    assert power(norm, torch.float32, {"eps"}).killed >= 8


@pytest.mark.parametrize("factor", [0.5, 0.25**2, 1.0])
def test_a_wrong_value_looks_like_the_mistake_that_makes_it(factor):
    x = draw(2, 4, 7, 7)
    values = case("attention.scale", scale, {"factor": 0.25}, scores_BHST=x)
    names = {0.5: "scale-of-model-width", 0.25**2: "scale-squared", 1.0: "scale-missing"}
    wrong = {0.5: x * 0.125, 0.25**2: x * 0.25**2, 1.0: x}[factor]

    assert looks_like(values, wrong.to(torch.float32)) in {names[factor], "scale-over-layer-number"}
    assert looks_like(values, (x * 0.25).to(torch.float32)) == ""
    assert looks_like(values, (x * 17).to(torch.float32)) == ""


def test_an_activation_is_recognised():
    x = draw(2, 5, 96)
    values = case("mlp.activation", activate, {"kind": "gelu_tanh"}, x=x)

    assert looks_like(values, torch.nn.functional.gelu(x).to(torch.float32)) == "activation-gelu-by-erf"


def test_a_kernel_without_a_scale_is_recognised():
    values = kernel()
    q, k, v, allowed = values.operands.values()
    s = (q @ k.transpose(2, 3)).masked_fill(~allowed, -torch.inf)

    assert looks_like(values, (s.softmax(-1) @ v).to(torch.float32)) == "scale-missing"
