"""Code that is no class of transformers: what a tutorial writes, and torch's own modules."""

from __future__ import annotations

import json
from collections import Counter

import pytest

import inspector
from inspector.cli import main
from inspector.errors import InspectorError
from inspector.vocabulary import UNKNOWN

X = "x:BxSx32:float32"
IDS = "ids:BxS:int64"
QKV = ("q:BxSx16", "k:BxSx16", "v:BxSx16")


def roles(name, *inputs, **options):
    return [
        f"{row.section}.{row.role}" + (f".{row.operand}" if row.operand else "")
        for row in inspector.shapes(f"tutorial:{name}", inputs, **options).rows
    ]


def test_a_function_of_tensors():
    table = inspector.shapes("tutorial:attention", QKV)

    assert roles("attention", *QKV) == [f"attention.{role}" for role in "scores scale softmax weighted_sum".split()]
    assert [view.symbolic for view in table.rows[0].inputs] == ["(B, S, 16)", "(B, S, 16)"]
    assert table.rows[0].outputs[0].symbolic == "(B, S, T)"
    assert table.summary.unsolved_dims == 0


def test_attention_without_projections():
    assert roles("no_projections", X) == ["attention.scores", "attention.softmax", "attention.weighted_sum"]
    found = inspector.facts("tutorial:no_projections", X)
    assert (found.get("attention.scale"), found.get("attention.heads")) == (1.0, 1)
    assert found.get("attention.direction") == "bidirectional"


def test_a_mask_by_hand():
    assert "mask.build" in roles("causal", *QKV)
    assert inspector.facts("tutorial:causal", QKV).get("attention.direction") == "causal"


def test_a_single_head():
    found = inspector.facts("tutorial:single", X)

    assert {"attention.q_proj.q", "attention.k_proj.k", "attention.v_proj.v"} < set(roles("single", X))
    assert [found.get(f"attention.{name}") for name in ("kind", "heads", "head_dim", "scale", "direction")] == [
        "mha", 1, 16, 0.25, "causal"
    ]  # fmt: skip


SPELLINGS = ("looped", "viewed", "fused", "kernel", "paired", "einsum")


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_named_whole_and_is_one_architecture(name):
    result = inspector.shapes(f"tutorial:{name}", IDS)
    found = inspector.facts(f"tutorial:{name}", IDS, probes=False)

    assert (result.summary.unknown, result.summary.specific, result.summary.unsolved_dims) == (0, 1.0, 0)
    said = {key: found.get(f"attention.{key}") for key in ("kind", "heads", "kv_heads", "head_dim", "direction")}
    assert said == {"kind": "mha", "heads": 4, "kv_heads": 4, "head_dim": 8, "direction": "causal"}
    assert found.get("attention.scale") == pytest.approx(8**-0.5)
    assert found.get("model.family") == "decoder"


def differ(one, two, inputs=IDS, **options):
    return inspector.diff(f"tutorial:{one}", f"tutorial:{two}", inputs=inputs, **options)


@pytest.mark.parametrize("other", [name for name in SPELLINGS if name != "viewed"])
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_every_spelling_is_another_one_re_expressed(other, device):
    options = {} if device == "meta" else {"device": "cpu", "dtype": "float32"}
    for result in (differ("viewed", other, **options), differ(other, "viewed", **options)):
        counts = Counter(row.status for row in result.rows)
        absent = [row for row in result.rows if row.status.startswith("only")]
        assert counts["re-expressed"] >= 1
        assert counts["changed"] == counts["moved"] == 0
        assert {part.path for row in absent for part in row.parts} <= {"mask.build"}  # a kernel needs none
        assert {finding.severity for finding in result.findings} <= {"cosmetic"}


@pytest.mark.parametrize(
    ("other", "row"),
    [("looped", "heads"), ("fused", "qkv"), ("paired", "kv"), ("kernel", "kernel"), ("einsum", "attention.scores")],
)
def test_the_proof_is_numeric_where_there_are_numbers(other, row):
    result = differ("viewed", other, device="cpu", dtype="float32")
    reasons = [item.reason for item in result.rows if item.path == row]

    assert reasons
    assert all("proved numerically" in reason for reason in reasons)


def test_a_head_that_reads_other_rows_is_no_re_expression(monkeypatch):
    """What the proof rests on: with the heads in another order it does not hold."""
    import torch

    split = torch.Tensor.split

    def turned(self, size, dim=0):
        return split(self, size, dim)[::-1] if isinstance(size, list) and len(size) == 4 else split(self, size, dim)

    monkeypatch.setattr(torch.Tensor, "split", turned)
    (row,) = [row for row in differ("viewed", "looped", device="cpu", dtype="float32").rows if row.path == "heads"]

    assert "refuted numerically" in row.reason
    assert row.status == "changed"


def test_functions_without_a_block_are_compared():
    result = differ("attention", "causal", inputs=QKV)

    assert any(finding.rule == "attention.direction" for finding in result.findings)
    assert {row.status for row in result.rows if row.path == "attention.scores"} <= {"same", "re-expressed"}


TORCH = {
    "encoder_layer": ("src:BxSx32",),
    "encoder": ("src:BxSx32",),
    "decoder": ("tgt:BxSx32", "memory:Bx9x32"),
    "transformer": ("src:Bx9x32", "tgt:BxSx32"),
    "multihead": (X,),
    "multihead_alone": ("query:BxSx32", "key:BxSx32", "value:BxSx32"),
}


@pytest.mark.parametrize("name", TORCH)
def test_torchs_own_modules(name):
    result = inspector.shapes(f"tutorial:{name}", TORCH[name])
    found = inspector.facts(f"tutorial:{name}", TORCH[name], probes=False)

    assert any("fused encoder fast path" in note for note in result.table.notes)
    assert result.summary.unknown <= 1  # a mean of the weights, a norm after the last norm: counted, and said
    assert result.summary.unsolved_dims == 0
    assert (found.get("attention.heads"), found.get("attention.head_dim")) == (4, 8)
    assert inspector.graph(f"tutorial:{name}", TORCH[name]).record.nodes


def test_torchs_decoder_looks_at_another_sequence():
    found = inspector.facts("tutorial:decoder", TORCH["decoder"], probes=False)

    assert found.get("attention.cross") is True
    assert "cross_attention.q_proj.q" in roles("decoder", *TORCH["decoder"])


def test_torchs_encoder_layers_are_folded():
    assert {row.repeat for row in inspector.shapes("tutorial:encoder", TORCH["encoder"]).rows} == {2}


@pytest.mark.parametrize("name", ["viewed", "kernel", "single"])
def test_parity_checks_what_it_has_readings_of(name):
    result = inspector.parity(f"tutorial:{name}", X if name == "single" else "ids:BxS:int64<65", batch=2, seq=9)

    assert result.verdict == "incomplete"  # nothing claims the wiring of code
    assert not [row for row in result.rows if row.verdict == "fail"]
    assert sum(row.verdict == "unclaimed" for row in result.rows) >= 5


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return ended.value.code


@pytest.mark.parametrize("verb", ["shapes", "facts", "graph", "lock"])
def test_every_verb_takes_inputs(verb, capsys):
    assert run(verb, "tutorial:viewed", "--input", IDS, "-q") == 0
    assert capsys.readouterr().out


def test_the_command_line_of_two_models(capsys):
    inputs = ["--input", "ids:2x16:int64<65"]
    assert run("diff", "tutorial:viewed", "tutorial:fused", *inputs, "--format", "json", "-q") == 0
    assert json.loads(capsys.readouterr().out)["summary"]["re-expressed"] == 1
    assert run("parity", "tutorial:viewed", *inputs, "-q") == 3
    assert "ids:2x16:int64<65" not in capsys.readouterr().err


def test_a_lock_of_code_is_checked_with_the_same_inputs(tmp_path, capsys):
    lock = str(tmp_path / "mine.arch.json")
    assert run("lock", "tutorial:viewed", "--input", IDS, "-q", "-o", lock) == 0
    assert run("check", lock, "tutorial:viewed", "--input", IDS, "-q") == 0
    assert "tutorial:viewed is as locked" in capsys.readouterr().out
    assert run("check", lock, "--input", IDS, "-q") == 2
    assert "the config in a lock makes its own inputs" in capsys.readouterr().err


def test_a_report_of_code(tmp_path, capsys):
    inputs, names = ["--input", "ids:BxS:int64<65"], ["tutorial:viewed", "tutorial:fused"]
    assert run("report", *names, *inputs, "--parity", "-q", "--output-dir", str(tmp_path)) == 0
    document = json.loads((tmp_path / "report.json").read_text())
    assert [model["name"] for model in document["models"]] == names
    assert "parity" in (tmp_path / "report.md").read_text()
    assert run("report", "gpt2", *inputs, "-q") == 2
    assert "no model here is code" in capsys.readouterr().err


def test_sizes_that_are_numbers_stay_numbers():
    table = inspector.shapes("tutorial:viewed", "ids:1x16:int64").table

    assert (table.scenario.batch, table.scenario.seq) == (1, 16)
    assert any("the inputs are fixed" in note for note in table.notes)
    assert table.summary.unsolved_dims > 0


@pytest.mark.parametrize(
    ("model", "inputs", "said"),
    [
        ("tutorial:viewed", "ids:BxS:int63", "torch has no dtype 'int63'"),
        ("tutorial:viewed", "ids:BxQ:int64", "'BxQ' is no shape"),
        ("tutorial:viewed", "ids:BxS:float32<5", "a limit is for whole numbers"),
        ("tutorial:viewed", ["x:BxS", "BxS"], "some inputs have a name and some have not"),
        ("tutorial:viewed", ["x:BxS", "x:BxS"], "the input x is given twice"),
        ("tutorial:viewed", "tokens:BxS:int64", "takes ids, not tokens"),
        ("tutorial:attention", None, "takes q, k, v, and nothing says what to give it"),
        ("gpt2", IDS, "gpt2 makes its own inputs"),
    ],
)
def test_what_declares_nothing_is_refused(model, inputs, said):
    with pytest.raises(InspectorError, match=said):
        inspector.shapes(model, inputs)


def test_inputs_of_models_that_make_their_own_are_refused():
    with pytest.raises(InspectorError, match="neither model is code"):
        inspector.diff("gpt2", "bert-base-uncased", inputs=IDS)


def test_a_live_module_takes_words_too():
    import torch

    assert inspector.shapes(torch.nn.Linear(8, 4), "BxSx8").rows[0].outputs[0].symbolic == "(B, S, 4)"


def test_code_that_names_no_device_runs_on_meta():
    trace = inspector.shapes("tutorial:viewed", IDS).table

    assert trace.scenario.device == "meta"
    assert UNKNOWN not in {row.section for row in trace.rows}
