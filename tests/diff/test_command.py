"""`inspector diff`: what it prints, how it ends, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from jsonschema import Draft202012Validator, ValidationError
from rich.cells import cell_len

import inspector
from inspector.api.diff import Diff, diff
from inspector.api.schemas import schema
from inspector.cli import main
from inspector.errors import InspectorError, UsageError
from inspector.records import Trace


@pytest.fixture(scope="module")
def answer(traced: Callable[..., Trace]) -> Diff:
    return diff(traced("bert"), traced("gpt2"))


@pytest.fixture(scope="module")
def equal(traced: Callable[..., Trace]) -> Diff:
    return diff(traced("llama"), traced("llama"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, traced: Callable[..., Trace], capsys: pytest.CaptureFixture[str]):
    """`command("bert", "gpt2", "--all")` on small models: (exit code, stdout, stderr)."""

    def opened(model: str, **_: object) -> SimpleNamespace:
        return SimpleNamespace(trace=lambda asked: traced(model, asked.attention))

    monkeypatch.setattr("inspector.api.traces.Source", opened)

    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["diff", *args])
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return run


def test_sentences_come_first_then_findings_then_rows(answer):
    text = answer.to_text()

    first = text.index(
        "tiny gpt2 masks the future: a token sees itself and what came before. tiny bert sees both sides."
    )
    assert first < text.index("are written otherwise and") < text.index("\nfindings") < text.index("side by side")


def test_a_status_is_a_sign_and_a_word(answer):
    text = answer.to_text()

    for status in ("⇄ re-expressed", "~ changed", "↕ moved", "− only-a", "+ only-b", "≈ equal"):
        assert status in text


def test_equal_rows_are_counted_unless_all_are_asked_for(traced):
    folded, every = (diff(traced("llama"), traced("llama"), every=every).to_text() for every in (False, True))

    assert "parts" in folded
    assert "= same" not in folded
    assert every.count("= same") == len(diff(traced("llama"), traced("llama")).rows)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_it_fits_the_terminal(answer, width):
    printed = answer.to_terminal(width=width, color=False)

    assert max(map(cell_len, printed.splitlines())) <= width
    assert "kind full → causal" in " ".join(printed.split())


def test_no_colour_carries_what_no_word_says(answer):
    assert "\x1b" not in answer.to_terminal(width=100, color=False)
    assert "\x1b" in answer.to_terminal(width=100, color=True)


def test_ascii_streams_get_ascii(answer):
    assert answer.to_text(encoding="ascii").isascii()
    assert answer.to_terminal(width=100, color=False, encoding="ascii").isascii()


def test_json_is_valid_and_says_the_same(answer):
    document = json.loads(answer.to_json())
    Draft202012Validator(schema("diff")).validate(document)

    assert document["schema"] == "inspector/diff/1"
    assert document["summary"]["moved"] == 2
    assert document["summary"]["aligned"] == 1.0
    assert document["summary"]["findings"]["breaking"] == 5
    assert document["summary"]["sentences"] == list(answer.sentences)
    assert [row["id"] for row in document["rows"]] == [row.id for row in answer.rows]
    assert {row for finding in document["findings"] for row in finding["rows"]} <= {row.id for row in answer.rows}


BREAKS = [
    lambda document: document["rows"][0].update(status="similar"),
    lambda document: document["findings"][0].update(fingerprint="abc"),
    lambda document: document["findings"][0].pop("severity"),
    lambda document: document["summary"].update(extra=1),
    lambda document: document["models"].pop(),
]


@pytest.mark.parametrize("spoil", BREAKS)
def test_a_broken_document_is_invalid(answer, spoil):
    document = json.loads(answer.to_json())
    spoil(document)

    with pytest.raises(ValidationError):
        Draft202012Validator(schema("diff")).validate(document)


def test_every_format_can_be_written(answer):
    assert answer.to_markdown().startswith("# tiny bert and tiny gpt2\n")
    assert "<table" in answer.to_html()
    assert "<table" in answer._repr_html_()
    assert len(list(csv.DictReader(io.StringIO(answer.to_csv())))) == len(answer.rows)
    assert list(answer.to_frame()["status"]) == [row.status for row in answer.rows]
    assert (
        repr(answer) == f"<Diff of tiny bert and tiny gpt2: {len(answer.rows)} rows, {len(answer.findings)} findings>"
    )


def test_equal_models_say_so(equal):
    assert equal.findings == ()
    assert not equal.differs
    assert equal.sentences == ("tiny llama and tiny llama compute the same: all 34 parts are equal.",)


def test_rules_choose_findings_and_their_rows(traced):
    found = diff(traced("bert"), traced("gpt2"), rules="norm.*")

    assert {finding.rule for finding in found.findings} == {"norm.placement", "norm.eps", "norm.final"}
    assert {row.path for row in found.rows} == {"attention.norm", "mlp.norm", "embedding.norm", "head.norm"}


def test_severity_is_the_least_that_is_shown(traced):
    found = [
        {f.severity for f in diff(traced("bert"), traced("gpt2"), severity=least).findings}
        for least in ("breaking", "notable")
    ]

    assert found == [{"breaking"}, {"breaking", "notable"}]


REFUSED = [
    ({"rules": "nrom.*"}, "no rule is named 'nrom.*'"),
    ({"severity": "bad"}, "there is no severity 'bad'"),
    ({"attention": ""}, "one or two kinds of attention"),
    ({"batch": 0}, "batch must be at least 1"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_what_cannot_be_met_is_refused(options, said):
    with pytest.raises(UsageError, match=said):
        diff("gpt2", "bert", **options)


def test_one_model_needs_two_attentions():
    with pytest.raises(UsageError, match="only one model") as caught:
        diff("gpt2")
    assert "--attention eager,sdpa" in caught.value.hint


def test_what_holds_no_transformer_is_refused(traced):
    from torch import nn, ones

    with pytest.raises(InspectorError, match="no transformer block") as caught:
        diff(_only(nn.Linear(8, 8), (ones(2, 3, 8),)), traced("bert"))
    assert caught.value.exit_code == 3


def _only(module, inputs) -> Trace:
    from inspector.records import Scenario
    from inspector.source import live_subject
    from inspector.tracing import observe

    return observe(live_subject(module, inputs), Scenario())


EXITS = [
    (("bert", "gpt2"), 0),
    (("bert", "gpt2", "--exit-code"), 1),
    (("llama", "llama", "--exit-code"), 0),
    (("llama", "--attention", "eager,sdpa", "--exit-code"), 1),
    (("llama", "--attention", "eager,sdpa", "--fail-on", "notable"), 0),
    (("llama", "--attention", "eager,sdpa", "--fail-on", "cosmetic"), 1),
    (("bert", "gpt2", "--fail-on", "breaking"), 1),
    (("bert", "gpt2", "--rules", "graph.storage", "--fail-on", "notable"), 0),
    (("roberta", "bert", "--fail-on", "breaking"), 0),
    (("roberta", "bert", "--fail-on", "notable"), 1),
    (("bert",), 2),
    (("bert", "gpt2", "--rules", "no.such"), 2),
    (("bert", "gpt2", "--severity", "worst"), 2),
]


@pytest.mark.parametrize(("args", "code"), EXITS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_how_it_ends(command, args, code):
    ended, out, err = command(*args)

    assert ended == code
    assert bool(out) == (code != 2)
    assert bool(err) == (code == 2)


def test_the_command_writes_what_the_verb_answers(command, answer):
    _, out, _ = command("bert", "gpt2", "--format", "json")

    assert json.loads(out)["findings"] == json.loads(answer.to_json())["findings"]


def test_it_is_a_public_verb():
    assert inspector.diff is diff
