"""Two exams: names decide nothing, and names agree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inspector.errors import InspectorError
from inspector.records import Scenario, Trace
from inspector.roles import infer
from inspector.source import resolve, subject_of
from inspector.source.tiny import twin_of
from inspector.tracing import observe
from inspector.vocabulary import UNKNOWN

SIXTEEN = (
    "roberta distilbert electra opt bloom gpt_neox gptj mistral qwen2 qwen3 gemma2 phi3 olmo2 cohere stablelm falcon"
).split()
ENCODERS = {"roberta", "distilbert", "electra", "bert"}
MAY_LACK_SDPA = {"bloom", "gptj", "gemma2"}
"""Types for which some versions of transformers have no sdpa."""


def without_names(trace: Trace) -> Trace:
    return replace(
        trace,
        model=replace(trace.model, name="", model_type=None, class_name=""),
        ops=tuple(op._replace(module="", module_class="", call="") for op in trace.ops),
        values=tuple(value._replace(name=None) for value in trace.values),
        inputs=tuple(("", value) for _, value in trace.inputs),
        outputs=tuple(("", value) for _, value in trace.outputs),
    )


def parts(trace):
    naming = infer(trace)
    return [naming.parts[op] for op in range(len(naming.parts))]


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama", *SIXTEEN])
def test_deleting_every_name_changes_no_role(trace_of, model_type):
    trace = trace_of(model_type)

    assert parts(without_names(trace)) == parts(trace)


SCENARIOS = [
    Scenario(attention=attention, past=past, seq=seq)
    for attention in ("eager", "sdpa")
    for past, seq in ((0, 16), (16, 1))
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: f"{s.attention}-{s.mode}")
@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama", *SIXTEEN])
def test_names_agree_with_what_structure_found(trace_of, exam, model_type, scenario):
    if scenario.past and model_type in ENCODERS:
        pytest.skip("an encoder has no decode step")
    try:
        trace = trace_of(model_type, scenario)
    except InspectorError as error:
        if model_type not in MAY_LACK_SDPA or "does not support an attention implementation" not in str(error):
            raise
        pytest.skip("this version of transformers has no sdpa for this type")
    naming = infer(trace)

    assert list(exam.uses(trace, naming))
    assert exam.mismatches(trace, naming) == []
    assert [op for op in trace.ops if naming.parts[op.id].path == UNKNOWN] == []
    assert exam.block_specific(trace, naming) >= 0.99, exam.rest(trace, naming)


def test_the_exam_can_fail(trace_of, exam):
    trace = trace_of("llama")
    renames = {"q_proj": "k_proj", "k_proj": "q_proj"}
    swapped = replace(trace, values=tuple(value._replace(name=_swap(value.name, renames)) for value in trace.values))

    wrong = exam.mismatches(swapped, infer(swapped))

    assert {(expected, found) for _, expected, found in wrong} == {
        ("attention.k_proj", "attention.q_proj"),
        ("attention.q_proj", "attention.k_proj"),
    }


def test_every_mismatch_has_a_reason_and_one_without_says_so(trace_of, exam):
    listed = exam.reason_of(
        "roformer", ("encoder.embed_positions.weight", "embedding.position", "positions.rope_table")
    )
    assert "rotates" in listed
    assert exam.reason_of("roformer", ("encoder.embed_positions.weight", "embedding.position", "unknown")) == ""
    assert (
        exam.reason_of("bert", ("encoder.embed_positions.weight", "embedding.position", "positions.rope_table")) == ""
    )
    trace = trace_of("llama")
    renames = {"q_proj": "k_proj", "k_proj": "q_proj"}
    swapped = replace(trace, values=tuple(value._replace(name=_swap(value.name, renames)) for value in trace.values))

    told = exam.explained(swapped, infer(swapped))

    assert sorted(told) == [
        f"model.layers.*.self_attn.{name}_proj.weight ({len(exam.mismatches(swapped, infer(swapped))) // 2}): "
        f"attention.{name}_proj by its name, attention.{other}_proj by what it does: no reason is known"
        for name, other in (("k", "q"), ("q", "k"))
    ]


@pytest.mark.parametrize("model_type", ["mra", "minimax", "roformer", "gemma4"])
def test_the_types_whose_names_say_something_else_are_all_explained(exam, model_type):
    twin, _ = twin_of(subject_of(resolve(f"model_type:{model_type}")), Scenario())
    trace = observe(twin, Scenario())
    naming = infer(trace)

    assert exam.mismatches(trace, naming)  # one that is right by now is to be taken off the list
    assert not any("no reason is known" in text for text in exam.explained(trace, naming))


def _swap(name, renames):
    if name is None:
        return None
    return ".".join(renames.get(part, part) for part in name.split("."))


@pytest.mark.parametrize("model_type", ["gemma2", "opt", "falcon", "phi3", "cohere"])
def test_what_prepares_a_block_belongs_to_it(trace_of, model_type):
    """`1 + w` and `w.T` are the block's, and so is the view that gives its sum the sequence axis back."""
    naming = infer(trace_of(model_type))
    outside = {naming.parts[op].path for op in range(len(naming.parts)) if naming.parts[op].layer is None}

    assert not {path for path in outside if path.startswith(("attention.", "mlp."))}
