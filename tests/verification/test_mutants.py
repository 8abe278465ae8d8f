"""Every mistake of the catalogue, made in small models: is it told, and at its place?"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch

import inspector.verification.mutants as package
from inspector.records import Padding, Scenario
from inspector.source import subject_of
from inspector.source.resolve import resolve
from inspector.source.tiny import randomise, twin_of
from inspector.tracing.run import model_info
from inspector.verification.claims import claimed_by
from inspector.verification.mutants.apply import Edits, edits_of, mutated
from inspector.verification.mutants.catalogue import CATALOGUE
from inspector.verification.mutants.kernel import KERNEL
from inspector.verification.mutants.report import MutantReport, MutantRow
from inspector.verification.mutants.run import ground_of, run_mutants
from inspector.verification.verify import Running, verify

ENCODER, FUSED, GATED = "bert-base-uncased", "gpt2", "llama-3-8b"
NAMES = (ENCODER, FUSED, GATED)
SCALED = "llama-3.1-8b"
"""The slow ones of its rotations are stretched."""


@cache
def twin(name: str):
    return twin_of(subject_of(resolve(name)), Scenario(head=name != ENCODER))


def running(name: str, seq: int = 15, past: int = 0, attention: str = "eager", pad: Padding = "left") -> Running:
    """The twin with its right weights, whatever a test did to them before."""
    subject, module = twin(name)
    module.config._attn_implementation = attention
    scenario = Scenario(3, seq, past, device="cpu", dtype="float32", weights="random", attention=attention, padding=pad)
    return Running(
        module, lambda: subject.inputs(module, scenario), scenario, model_info(subject, module), subject.claims
    )


def claims(name: str):
    subject, module = twin(name)
    return lambda inputs: claimed_by(subject.model_type, module, module.config.to_dict(), inputs)


@cache
def report(name: str) -> MutantReport:
    return run_mutants(running(name), claims(name))


# the catalogue


def test_there_are_sixty_and_more_and_each_says_what_it_is():
    names = [mutant.name for mutant in CATALOGUE]

    assert len(names) >= 60
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]+([-'][a-z0-9]+)*", name) for name in names)
    assert all(mutant.says and mutant.functions and (mutant.formula or mutant.change) for mutant in CATALOGUE)
    assert all(re.search(r"#\d+|https://|rotate_half|contributing", mutant.mirrors) for mutant in CATALOGUE)


def test_the_catalogue_names_no_model():
    files = [path for path in Path(package.__file__).parent.glob("*.py") if path.name != "seen.py"]  # names of projects
    text = "\n".join(path.read_text("utf-8") for path in files)
    code = re.sub(r"https://\S+", "", text)

    assert not re.search(r"\b(bert|gpt2|gpt-2|llama|gemma)\b", code, re.IGNORECASE)


def test_every_mutant_can_be_made_somewhere():
    absent = set.intersection(*({*report(name).absent} for name in NAMES))
    decoding = {"cache-in-front", "cache-last-token-lost", "cache-slot-empty", "positions-start-again"}
    elsewhere = {"embedding-not-scaled", "segment-row-of-zero"}  # in what scales its embeddings, or is given segments

    scaled = {"rope-scaling-missing", "rope-scaled-linearly"}  # below, in what has a scaling
    assert absent == decoding | elsewhere | scaled | {mutant.name for mutant in KERNEL}


def test_a_scaling_of_rotations_may_be_left_out_or_be_another():
    mutants = [mutant for mutant in CATALOGUE if mutant.name.startswith(("rope-scaling", "rope-scaled"))]
    found = run_mutants(running(SCALED), claims(SCALED), mutants=mutants)

    assert [(row.name, row.at) for row in found.rows] == [
        ("rope-scaling-missing", "positions.rope_table"),
        ("rope-scaled-linearly", "positions.rope_table"),
    ]


# what is told


@pytest.mark.parametrize("name", NAMES)
def test_every_mistake_is_told_at_its_place(name):
    found = report(name)

    assert found.total >= 60
    assert [row.name for row in found.survivors] == []
    assert [(row.name, row.stage, row.at) for row in found.rows if not row.equivalent and not row.localised] == []
    assert [row.error for row in found.rows if row.error] == []
    assert found.verdict == "pass"


def test_what_is_no_mistake_comes_with_its_proof():
    proven = {name: {row.name for row in report(name).rows if row.equivalent} for name in NAMES}

    assert proven == {ENCODER: {"softmax-not-shifted", "stream-doubled-in-place"}, FUSED: set(), GATED: set()}
    assert all(row.equivalent[:1].isalpha() for name in NAMES for row in report(name).rows if row.equivalent)


@pytest.mark.parametrize("name", [FUSED, GATED])
def test_a_decode_step_has_mistakes_of_its_own(name):
    wanted = ("cache-", "positions-", "mask-sees", "rope-keys", "rope-counted", "values-scored", "keys-summed")
    mutants = [mutant for mutant in CATALOGUE if mutant.name.startswith(wanted)]
    found = run_mutants(running(name, seq=1, past=9), claims(name), mutants=mutants)
    told = {row.name: row for row in found.rows}

    assert {"cache-in-front", "cache-last-token-lost", "cache-slot-empty", "positions-start-again"} <= told.keys()
    assert told["mask-sees-the-next-key"].equivalent
    assert [row.name for row in found.rows if not row.equivalent and not row.localised] == []


def test_two_new_tokens_after_a_past_show_an_upper_left_mask():
    mutants = [mutant for mutant in CATALOGUE if mutant.name in ("mask-sees-the-next-key", "mask-hides-itself")]
    found = run_mutants(running(GATED, seq=3, past=9), claims(GATED), mutants=mutants)

    assert [row.at for row in found.rows] == ["mask.build", "mask.build"]


# what is right


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", NAMES)
def test_a_right_model_has_no_failure(name, seed):
    module = twin(name)[1]
    kept = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    try:
        randomise(module, seed)
        found = verify(running(name), claims(name))
    finally:
        module.load_state_dict(kept)

    assert found.failures == ()
    assert found.verdict == "pass"


# how mistakes are made


def _answer(run: Running) -> torch.Tensor:
    with torch.no_grad():
        return next(iter(run.module(**run.inputs()).values()))


@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_afterwards_what_it_was(name):
    run = running(name)
    before, kept = _answer(run), dict(vars(run.module))
    run_mutants(run, claims(name), mutants=CATALOGUE[::9])

    assert torch.equal(_answer(run), before)
    assert vars(run.module) == kept


def test_the_model_is_what_it_was_also_when_it_raises():
    run = running(FUSED)
    ground = ground_of(run, claims(FUSED))

    def broken(call):
        raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        mutated(run.module, ground, Edits({10: broken})),
    ):
        verify(run, claims(FUSED))

    assert "forward" not in vars(run.module)
    assert verify(run, claims(FUSED)).verdict == "pass"


def test_a_forward_of_ones_own_is_put_back():
    run = running(FUSED)
    ground, own = ground_of(run, claims(FUSED)), run.module.forward
    run.module.forward = own
    try:
        with mutated(run.module, ground, Edits({})):
            assert run.module.forward is not own

        assert vars(run.module)["forward"] is own
    finally:
        del run.module.forward


def test_what_nobody_watches_stays_right():
    run = running(GATED)
    ground, before = ground_of(run, claims(GATED)), _answer(run)
    mutant = next(one for one in CATALOGUE if one.name == "scale-missing")
    target = ground.find("attention.scale", 1)

    with mutated(run.module, ground, edits_of(target, mutant)) as made:
        assert torch.equal(_answer(run), before)
        assert not made
        found = verify(run, claims(GATED)).first_failure

    assert found.where == "layer 1 attention.scale"
    assert found.culprit == "nothing ran for it, and the reference forward of llama has it"


def test_a_model_that_raises_is_no_catch():
    def broken(target):
        def edit(call):
            raise ZeroDivisionError("no")

        return Edits({target.reads[0]: edit})

    mutant = CATALOGUE[0].__class__("broken", ("attention.scale",), "it raises", "bug 1", change=broken)
    (row,) = run_mutants(running(FUSED), claims(FUSED), mutants=[mutant]).rows

    assert (row.caught, row.localised, row.error) == (False, False, "ZeroDivisionError: no")
    assert row.survived


def test_progress_is_told_and_an_absent_mutant_is_named():
    said: list[str] = []
    mutants = [one for one in CATALOGUE if one.name in ("scale-missing", "pooler-without-tanh")]
    found = run_mutants(running(FUSED), claims(FUSED), said.append, mutants)

    assert said == ["pooler-without-tanh", "scale-missing"]
    assert found.absent == ("pooler-without-tanh",)
    assert (found.total, found.caught, found.localised, found.equivalent) == (1, 1, 1, 0)


def test_a_report_counts_only_mistakes():
    info = report(FUSED).model
    told = MutantRow("a", "x", caught=True, localised=True)
    same = MutantRow("b", "x", equivalent="nothing changes")
    lost = MutantRow("c", "x")

    assert MutantReport(info, Scenario(), (told, same)).verdict == "pass"
    assert MutantReport(info, Scenario(), (told, same, lost)).verdict == "fail"
    assert MutantReport(info, Scenario(), (same,)).verdict == "incomplete"
