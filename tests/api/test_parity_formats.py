"""A parity report in every format, from reports made by hand."""

from __future__ import annotations

import json
import math
import re
from types import SimpleNamespace

import pytest
from jsonschema import Draft202012Validator

from inspector.api.parity import Mutation, Parity
from inspector.api.schemas import schema
from inspector.reporting.failures import complaint
from inspector.reporting.ladder import folded, ladder


def valid(name: str, text: str) -> dict:
    document = json.loads(text)
    Draft202012Validator(schema(name)).validate(document)
    return document


def test_layers_that_agree_are_one_rung(made: SimpleNamespace) -> None:
    folds = folded(made.report().rows)

    assert [(fold.name, len(fold.rows), fold.layers) for fold in folds] == [
        ("embedding.token", 1, ""),
        ("control.unused", 1, ""),
        ("attention.scores", 12, "0-11"),
        ("attention.scale", 12, "0-11"),
        ("head.norm", 1, ""),
    ]
    assert folds[2].worst.layer == 11


def test_a_layer_that_fails_is_a_rung_of_its_own(made: SimpleNamespace) -> None:
    rows = [made.row("attention.scale", layer, 0.1) for layer in (0, 1, 2, 4, 5)]
    found = ladder([*rows[:3], made.broken(3), *rows[3:]])
    ((_, rungs),) = found.groups

    assert ["".join(span.text for span in rung.label) for rung in rungs] == [
        "attention.scale  layers 0-2, 4-5",
        "attention.scale  layer 3",
    ]
    assert [rung.style for rung in rungs] == ["good", "warning"]


def test_two_stages_of_one_name_in_a_layer_stay_two(made: SimpleNamespace) -> None:
    rows = [made.row("attention.dropout", layer, 0.0) for layer in (0, 0, 1, 1)]

    assert [len(fold.rows) for fold in folded(rows)] == [2, 2]


def test_a_pass_in_80_columns(made: SimpleNamespace) -> None:
    printed = Parity(made.report()).to_terminal(width=80, color=False)

    assert max(map(len, printed.splitlines())) <= 80
    assert (
        printed
        == """\
tiny
tiny: 26 stages checked against float64, all within what float32 allows.

GPT2LMHeadModel (gpt2), 1,000 parameters

run         prefill: 3 sequences of 31 tokens, one row padded on the left,
            eager attention, float32 on cpu, random weights, seed 0
stages      26 pass, 1 exempt
compared    12,345 elements, 26 calls of the reference
claimed by  the reference forward of gpt2
rho         the largest error as a share of what is allowed; 1 is the limit

stage                    rho  0.001    1   100  verdict  worst in

before the blocks
  embedding.token          0           │        pass

blocks ×12
  ×12 attention.scores  0.21  ███████  │        pass     layer 11
  ×12 attention.scale      0           │        pass

after the blocks
  head.norm             0.07  ██████   │        pass
"""
    )


def test_a_failure_says_what_was_required_and_what_came(made: SimpleNamespace) -> None:
    printed = Parity(made.report(made.row("embedding.token", None, 0.0), made.broken())).to_terminal(
        width=80, color=False
    )

    assert printed.splitlines()[1:3] == [
        "tiny: 1 of 2 stages fails. First divergence: layer 3 attention.scale: factor is",
        "1.0, claimed is 0.25.",
    ]
    assert (
        printed[printed.index("what fails") :]
        == """\
what fails

layer 3 attention.scale
what is wrong  factor is 1.0, claimed is 0.25; 90 of 120 values differ
required       factor 0.25 (config n_embd)
came           factor 1
wired to       scores: layer 2 attention.scores
claimed        scores: layer 3 attention.scores
values         90 of 120 differ (75.0 %),
               worst at (0, 1, 2, 3): got 4, expected 1, off by 3, allowed 1e-06
               (rho 3e+06)
looks like     the scores are not scaled at all
module         transformer.h.3.attn, float32
"""
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("attention.scale", None, "unchecked")], "tiny: none of its 1 stage was checked. That is no verdict."),
        (
            [("head.norm", 0.5, "pass"), ("attention.scale", None, "unchecked")],
            "tiny: 1 stage checked, all within what float32 allows; but 1 unchecked: incomplete.",
        ),
        (
            [("head.norm", 0.5, "pass"), ("attention.scale", 0.5, "undetermined")],
            (
                "tiny: 2 stages checked against float64, all within what float32 allows; "
                "1 of them cannot be told from wrong ones in float32."
            ),
        ),
    ],
)
def test_what_is_open_is_said_first(made: SimpleNamespace, rows: list, expected: str) -> None:
    found = made.report(*(made.row(path, None, rho, verdict) for path, rho, verdict in rows))

    assert Parity(found).to_text().splitlines()[1] == expected


@pytest.mark.parametrize(
    ("verdicts", "strict", "code"),
    [
        (["pass"], False, 0),
        (["pass", "fail"], False, 1),
        (["pass", "unchecked"], False, 3),
        (["pass", "unclaimed"], False, 3),
        (["exempt"], False, 3),
        (["pass", "undetermined"], False, 0),
        (["pass", "undetermined"], True, 1),
        (["pass", "unchecked", "undetermined"], True, 3),
        (["pass"], True, 0),
    ],
)
def test_exit_codes(made: SimpleNamespace, verdicts: list[str], strict: bool, code: int) -> None:
    rows = [made.row("mlp.norm", layer, 0.5, verdict) for layer, verdict in enumerate(verdicts)]

    assert Parity(made.report(*rows), strict=strict).exit_code == code


def test_a_parameter_that_nobody_reads_is_incomplete(made: SimpleNamespace) -> None:
    found = Parity(made.report(uncovered=("h.0.extra",)))

    assert (found.verdict, found.exit_code) == ("incomplete", 3)
    assert "1 parameter read by no check: incomplete" in found.to_text()
    assert "h.0.extra" in found.to_text()


def test_json_is_valid_and_says_what_numbers_cannot(made: SimpleNamespace) -> None:
    endless = made.row("mlp.norm", 0, math.inf, "fail")
    document = valid("parity", Parity(made.report(made.broken(), endless)).to_json())
    rows = {row["stage"]: row for row in document["rows"]}

    assert document["summary"]["first_failure"] == "layer 0 mlp.norm"
    assert (document["summary"]["fail"], document["summary"]["verdict"]) == (2, "fail")
    assert rows["layer 0 mlp.norm"]["rho"] == "inf"
    assert rows["layer 3 attention.scale"]["worst"]["index"] == [0, 1, 2, 3]
    assert rows["layer 3 attention.scale"]["mutants"] == {"killed": 3, "total": 4, "alive": ["scale-one-percent-off"]}
    assert rows["layer 3 attention.scale"]["attributes"] == [
        {"name": "factor", "claimed": 0.25, "executed": 1.0, "where": "config n_embd"}
    ]


def test_markdown_has_every_stage_in_a_part_that_unfolds(made: SimpleNamespace) -> None:
    text = Parity(made.report()).to_markdown()
    head, _, rest = text.partition("<details><summary>every stage</summary>\n\n|")

    assert "`layer 7 attention.scores`" not in head
    assert "`layer 7 attention.scores`" in rest
    assert "| `×12 attention.scores`" in head
    assert len(text) < 60_000


def test_html_draws_a_ladder_without_a_script(made: SimpleNamespace) -> None:
    page = Parity(made.report(made.broken(), made.row("mlp.norm", 3, 0.1))).to_html()

    assert page.count("<svg") == 1
    assert "<script" not in page
    assert re.search(r'<g class="rung is-warning"><title>attention.scale: 3e\+06, fail</title>', page)
    assert 'class="limit" x1="516.0"' in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")


def test_foreign_names_do_nothing(made: SimpleNamespace) -> None:
    evil = '<script>alert("x")</script>\x1b[31m'
    found = Parity(made.report(made.row(evil, 0, 0.5, "fail", culprit=evil, module=evil, finding=evil), notes=(evil,)))

    assert "<script" not in found.to_html()
    assert "<script" not in found._repr_html_()
    for text in (found.to_terminal(color=False), found.to_text(), found.to_markdown(), found.to_csv()):
        assert "\x1b" not in text


def test_ascii_is_enough(made: SimpleNamespace) -> None:
    printed = Parity(made.report()).to_text(encoding="ascii")

    assert "x12 attention.scores" in printed
    assert "#######  |" in printed
    assert printed.isascii()


def test_colour_only_repeats_a_word(made: SimpleNamespace) -> None:
    found = Parity(made.report(made.broken(), made.row("mlp.norm", 3, 0.1)))
    coloured = found.to_terminal(width=100, color=True)

    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == found.to_terminal(width=100, color=False)
    assert "\x1b[1;31mfail" in coloured
    assert "\x1b[32mpass" in coloured


def test_flat_rows(made: SimpleNamespace) -> None:
    frame = Parity(made.report(made.broken())).to_frame()

    assert frame.loc[0, ["layer", "role", "verdict", "killed"]].tolist() == [3, "attention.scale", "fail", 3]


def test_a_notebook_shows_the_ladder(made: SimpleNamespace) -> None:
    found = Parity(made.report())

    assert repr(found) == "<Parity of tiny: pass, 26 pass, 1 exempt>"
    assert found._repr_html_().startswith('<div class="inspector">')
    assert "<svg" in found._repr_html_()
    assert "every stage" not in found._repr_html_()


def test_what_an_assertion_says(made: SimpleNamespace) -> None:
    rows = [made.broken(layer) for layer in (3, 4, 5)]

    assert (
        complaint(made.report(made.row("mlp.norm", 0, 0.1), *rows, notes=("a note",)))
        == """\
tiny fails parity in 3 stages of 4, the first is layer 3 attention.scale
  layer 3 attention.scale (transformer.h.3.attn), and likewise in 2 more layers
    what is wrong: factor is 1.0, claimed is 0.25; 90 of 120 values differ
    required: factor 0.25 (config n_embd)
    came: factor 1
    wired to: scores: layer 2 attention.scores
    claimed: scores: layer 3 attention.scores
    values: 90 of 120 differ (75.0 %), worst at (0, 1, 2, 3): got 4, expected 1, off by 3, allowed 1e-06 (rho 3e+06)
    looks like: the scores are not scaled at all
  run: prefill: 3 sequences of 31 tokens, one row padded on the left, eager attention, float32 on cpu, random weights, \
seed 0
  note: a note"""
    )


def test_what_an_assertion_says_of_a_gap(made: SimpleNamespace) -> None:
    rows = [made.row("mlp.norm", 0, 0.1), made.row("mlp.up_proj", 0, None, "unchecked", culprit="no reference")]
    lines = complaint(made.report(*rows)).splitlines()

    assert lines[:2] == [
        "tiny has no verdict: 1 stage of 2 is unchecked or unclaimed",
        "  layer 0 mlp.up_proj: no reference",
    ]


def test_mistakes_are_sorted_worst_first(made: SimpleNamespace) -> None:
    from inspector.verification.mutants.report import MutantRow

    rows = (
        MutantRow("a-caught", "mlp.norm", caught=True, at="mlp.norm"),
        MutantRow("b-elsewhere", "mlp.norm", caught=True, at="mlp.up_proj"),
        MutantRow("c-survived", "mlp.norm"),
        MutantRow("d-same", "mlp.norm", equivalent="the bias is zero"),
    )
    found = Mutation(made.mutants(*rows))
    order = [line.split()[0] for line in found.to_text().splitlines() if line.startswith("    ") and "-" in line]

    assert (found.verdict, found.exit_code, found.first_failure.name) == ("fail", 1, "c-survived")
    assert order == ["c-survived", "b-elsewhere", "a-caught", "d-same"]
    assert "of 3 mistakes, 2 are caught, 1 of them at their stage; 1 more would change nothing here." in found.to_text()


def test_mistakes_as_json(made: SimpleNamespace) -> None:
    found = Mutation(made.mutants(), ("a note",), (("inspector", "0.1.0"),))
    document = valid("parity-mutants", found.to_json())

    assert found.exit_code == 0
    assert document["summary"] == {
        "total": 3,
        "equivalent": 1,
        "caught": 2,
        "localised": 2,
        "verdict": "pass",
        "absent": ["rope-backwards"],
    }
    assert [row["caught"] for row in document["rows"]] == [True, False, True]
    assert repr(found) == "<Mutation of tiny: pass, 3 mistakes, 2 caught, 1 equivalent>"
