"""What a composition says of itself: complete enough to be run again from its steps alone, and free on meta."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import torch

from inspector.records import Scenario
from inspector.reference import experts
from inspector.reference.activations import activate
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add
from inspector.reference.masks import allowed
from inspector.reference.models import FORWARDS, forward_of
from inspector.reference.norms import rms_norm
from inspector.reference.positions import alibi_bias, relative_buckets, sinusoid
from inspector.reference.projections import split_qkv
from inspector.reference.steps import Composition, Source, replay
from inspector.source import subject_of
from inspector.source.resolve import resolve

GOLDEN = Path(__file__).parent.parent / "roles" / "golden"

ROPE = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 2.0, "original_max_position_embeddings": 8}
LISTS = {"short_factor": [1.0] * 8, "long_factor": [3.0] * 8}
CASES = [
    ("bert", {}),
    ("bart", {"scale_embedding": True}),
    ("bert", {"is_decoder": True}),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    ("llama", {"rope_parameters": {**ROPE, **LISTS}, "attention_bias": True}),
    ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
]


def texts(model, length, past, device):
    """What enters; the decoder of an encoder-decoder goes on, while what it looks across to stays."""
    ids = torch.arange(2 * length).reshape(2, length).to(device)
    if not model.config["is_encoder_decoder"]:
        return {"input_ids": ids, "attention_mask": torch.ones(2, past + length).to(device)}
    source = {"attention_mask": torch.ones(2, 7).to(device), "decoder_input_ids": ids}
    if past:
        return source | {"encoder_outputs.last_hidden_state": torch.ones(2, 7, 64).to(device)}
    return source | {"input_ids": torch.arange(14).reshape(2, 7).to(device)}


def composed(model, device="cpu", *, keep=False, **more):
    """Prefill and then three tokens more, by two compositions. Encoders have the first alone."""
    forward, made = forward_of(model.config["model_type"]), []
    weights = {name: tensor.to(device) for name, tensor in model.weights.items()}
    cache = None
    for length in (5, 3):
        run, past = Composition(keep=keep), 5 if cache else 0
        inputs = texts(model, length, past, device)
        answer = forward(weights, model.config, inputs, run, cache, head=True)
        made.append((run, weights, inputs, cache, answer))
        cache = answer.cache
        if cache is None:
            break
    return made


@pytest.mark.parametrize(("model_type", "changes"), CASES)
def test_meta_tensors_yield_the_same_steps(made, model_type, changes):
    model = made(model_type, **changes)
    real, free = composed(model), composed(model, "meta")

    assert [run.steps for run, *_ in free] == [run.steps for run, *_ in real]
    assert all(len(run.steps) > 30 for run, *_ in real)


def test_another_claim_yields_other_steps(made):
    """Equal steps would mean nothing if they were equal always."""
    one, other = (composed(made("llama", rms_norm_eps=eps), "meta")[0][0].steps for eps in (1e-6, 1e-5))

    assert {step.name for step, changed in zip(one, other, strict=True) if step != changed} == {
        "attention.norm",
        "mlp.norm",
        "head.norm",
    }


@pytest.mark.parametrize(("model_type", "changes"), CASES)
def test_the_forward_can_be_run_from_its_steps_alone(made, model_type, changes):
    """So sources and attributes leave nothing out."""
    for run, weights, inputs, cache, answer in composed(made(model_type, **changes), keep=True):
        known = {}

        def fetch(source):
            if source.kind == "step":
                return known[source.ref, source.output]  # noqa: B023 - used in this round of the loop only
            if source.kind == "cache":
                layer, _, part = source.ref.partition(".")
                kept = {
                    "k": cache.keys,  # noqa: B023 - likewise
                    "v": cache.values,  # noqa: B023 - likewise
                    "k across": cache.cross_keys,  # noqa: B023 - likewise
                    "v across": cache.cross_values,  # noqa: B023 - likewise
                }
                return kept[part][int(layer)]
            return (weights if source.kind == "weight" else inputs)[source.ref]  # noqa: B023 - likewise

        for step in run.steps:
            outputs = replay(step, {name: fetch(source) for name, source in step.sources})
            known |= {(step.index, number): tensor for number, tensor in enumerate(outputs)}
            for replayed, kept in zip(outputs, step.outputs, strict=True):
                assert torch.equal(replayed, kept), step.name

        assert torch.equal(known[run.steps[-1].index, 0], answer.logits)


@pytest.mark.parametrize("model_type", FORWARDS)
def test_every_weight_is_claimed_by_a_step_and_every_step_is_used(made, model_type):
    model = made(model_type)
    run, *_ = composed(model, "meta")[0]
    sources = [source for step in run.steps for _, source in step.sources]
    claimed = {source.ref for source in sources if source.kind == "weight"}
    used = {source.ref for source in sources if source.kind == "step"}
    own = model.module.state_dict()
    read = {own[name].data_ptr() for name in claimed}
    copies = {name for name, tensor in own.items() if tensor.data_ptr() in read} - claimed
    cached = {step.index for step in run.steps if "cache_update" in step.name}
    last = {len(run.steps) - 1}

    assert set(model.weights) - claimed == copies  # a tied weight is claimed by one of its names
    assert claimed <= set(model.weights)
    assert set(range(len(run.steps))) - used - cached == last


def test_tied_weights_have_the_name_that_the_claim_gives(made):
    tied, untied = (composed(made("gpt2", tie_word_embeddings=tie), "meta")[0][0].steps[-1] for tie in (True, False))

    assert dict(tied.sources)["weight"] == Source("weight", "transformer.wte.weight")
    assert dict(untied.sources)["weight"] == Source("weight", "lm_head.weight")


def test_one_tensor_under_two_names_is_told_apart():
    run, tensor = Composition(), torch.ones(2)
    a, b = run.enter("weight", "a", tensor), run.enter("weight", "b", tensor)
    run("mlp.residual", add, residual=b, x=a)

    assert run.steps[0].sources == (("residual", Source("weight", "b")), ("x", Source("weight", "a")))


def test_a_function_that_hands_back_its_argument_is_a_source_of_its_own():
    run = Composition()
    x = run.enter("input", "x", torch.ones(2))
    y = run("mlp.activation", activate, x=x, kind="linear")
    run("mlp.residual", add, residual=x, x=y)

    assert run.steps[1].sources == (("residual", Source("input", "x")), ("x", Source("step", 0)))


def test_attributes_hold_defaults_and_absences_but_no_place_or_precision(made):
    steps = {step.name: step for step in composed(made("llama"), "meta")[0][0].steps}

    assert steps["attention.norm"].attributes == (("eps", 1e-6), ("offset", 0.0))
    assert steps["attention.q_proj.q"].attributes == (("bias", None), ("layout", "out_in"))
    assert steps["attention.rope.k"].attributes == (("layout", "half"), ("dims", None))
    assert dict(steps["positions.rope_table"].attributes) == {
        "layout": "half",
        "heads": 1,
        "dim": 16,
        "theta": 10000.0,
        "kind": "default",
        "factor": 1.0,
    }
    assert steps["mask.build"].attribute("direction") == "causal"
    with pytest.raises(KeyError):
        steps["mask.build"].attribute("device")


def test_a_tensor_of_unknown_origin_is_refused():
    run = Composition()

    with pytest.raises(ValueError, match=r"attention\.norm: x is a tensor of unknown origin"):
        run("attention.norm", rms_norm, x=torch.ones(2))
    assert run.steps == []
    assert run.calls == Counter()


def test_calls_are_counted(made):
    run, *_ = composed(made("gpt2"))[0]

    assert run.calls["inspector.reference.norms:layer_norm"] == 5
    assert run.calls.total() == len(run.steps)


def test_outputs_are_kept_only_when_asked_for(made):
    (loose, *_), *_ = composed(made("gpt2"))
    (kept, *_), *_ = composed(made("gpt2"), keep=True)

    assert {step.outputs for step in loose.steps} == {()}
    assert all(step.outputs for step in kept.steps)


def test_functions_without_a_forward_run_on_meta_too():
    with torch.device("meta"):
        x, places = torch.empty(5, 8), torch.arange(5)
        route = experts.sigmoid_router(torch.empty(5, 6), 2, torch.empty(6))
        made = [
            alibi_bias(places, 3),
            relative_buckets(places[:, None] - places),
            sinusoid(places[None], 8),
            allowed(places, places, "prefix", chunk=2, prefix=torch.ones(2), padding_BT=torch.ones(2, 5)),
            experts.mixture(x, experts.spread(route, 6), [torch.tanh] * 6),
            split_qkv(torch.empty(1, 5, 18), 3, layout="per_head")[2],
        ]

    assert [tuple(tensor.shape) for tensor in made] == [(3, 1, 5), (5, 5), (1, 5, 8), (2, 1, 5, 5), (5, 8), (1, 5, 6)]
    assert all(tensor.is_meta for tensor in made)


# The golden lists


class Row:
    """One row of a golden list: the stage, how often it stands, the shapes it makes, the numbers it has."""

    def __init__(self, line: str) -> None:
        self.repeat = int(line[1:4]) if line.startswith("x") else 0
        self.name = line[4:].split(maxsplit=1)[0]
        made = line.partition("->")[2]
        self.shapes = [match for match in re.findall(r"\(([^)]*)\)", made.split("  ")[0]) if match]
        self.claims = dict(re.findall(r"\b(\w+)=(\S+)", made))


def rows_of(path):
    rows = [Row(line) for line in path.read_text("utf-8").splitlines()[1:]]
    return [row for row in rows if not re.search(r"\.dropout$|^control\.|^layout\.", row.name)]


def unfolded(rows):
    """The rows of a block as often as the block stands, one block after the other."""
    block = [row for row in rows if row.repeat]
    first = rows.index(block[0])
    return rows[:first] + block * block[0].repeat + rows[first + len(block) :]


def claimed(name, run, *, head):
    """The steps of the reference at full size, on meta."""
    subject = subject_of(resolve(name))
    module = subject.make(Scenario(head=head))
    weights, config = dict(module.state_dict()), subject.config.to_dict()
    inputs = {"input_ids": torch.empty(2, 16, dtype=torch.long, device="meta")}
    forward, cache = forward_of(config["model_type"]), None
    if run == "decode":
        cache = forward(weights, config, inputs, Composition(), None).cache
        inputs = {"input_ids": torch.empty(2, 1, dtype=torch.long, device="meta")}
    if run != "unpadded":
        keys = 17 if run == "decode" else 16
        inputs["attention_mask"] = torch.empty(2, keys, dtype=torch.long, device="meta")
    composition = Composition(keep=True)
    forward(weights, config, inputs, composition, cache, head=head)
    return composition.steps


def size(text, run):
    letters = {"B": 2, "S": 16, "P": 16, "T": 17 if run == "decode" else 16}
    product = 1
    for part in text.split("·"):
        product *= letters[part] if part in letters else int(part)
    return product


SAME = {
    "eps": lambda step: step.attribute("eps"),
    "factor": lambda step: step.attribute("factor"),
    "theta": lambda step: step.attribute("theta"),
    "layout": lambda step: step.attribute("layout"),
    "function": lambda step: step.attribute("kind"),
    "bias": lambda step: any(name.startswith("bias") for name, _ in step.sources),
}
"""What a row says of a stage, where it says it -> where a step claims the same."""

LISTS_OF_STAGES = sorted(path.name.removesuffix(".txt") for path in GOLDEN.glob("*.eager.*.txt"))


@pytest.mark.parametrize("case", LISTS_OF_STAGES)
def test_stages_shapes_and_numbers_are_those_of_the_golden_list(case):
    name, _, run = case.split(".")
    rows = unfolded(rows_of(GOLDEN / f"{case}.txt"))
    steps = claimed(name, run, head=rows[-1].name == "head.lm_head")

    assert [step.name for step in steps] == [row.name for row in rows]
    for step, row in zip(steps, rows, strict=True):
        expected = [tuple(size(part, run) for part in shape.split(", ")) for shape in row.shapes]
        for tensor in step.outputs if step.name != "positions.ids" else ():  # the list counts an unsqueeze to it
            assert any(_spreads(tuple(tensor.shape), shape) for shape in expected), (step.name, tensor.shape, expected)
        for claim, value in row.claims.items():
            if claim in SAME:
                assert str(SAME[claim](step)) == value, (step.name, claim)


def test_there_are_golden_lists_and_they_hold_numbers():
    rows = [row for case in LISTS_OF_STAGES for row in rows_of(GOLDEN / f"{case}.txt")]

    assert len(LISTS_OF_STAGES) == 8
    assert sum(bool({"eps", "factor"} & row.claims.keys()) for row in rows) > 20


def _spreads(shape, wanted):
    """Equal, or 1 where the list has the batch: a mask without padding is the same for every row."""
    return len(shape) <= len(wanted) and torch.broadcast_shapes(shape, wanted) == torch.Size(wanted)


def test_a_cache_of_another_length_moves_positions_and_masks(made):
    model = made("gpt2")
    cache = Cache(*[tuple(torch.zeros(2, 4, 7, 16, dtype=torch.float64) for _ in range(2))] * 2)
    run = Composition()
    forward_of("gpt2")(model.weights, model.config, {"input_ids": torch.ones(2, 3, dtype=torch.long)}, run, cache)
    steps = {step.name: step for step in run.steps}

    assert steps["positions.ids"].attributes == (("length", 3), ("past", 7), ("padding_BT", None))
    assert steps["mask.build"].attribute("past") == 7
    assert dict(steps["attention.cache_update.v"].sources)["past_BGPK"] == Source("cache", "1.v")
