"""`inspector lock` and `inspector check`: what they print, how they end, what they refuse."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import inspector
from inspector.api.check import ArchitectureError, Check
from inspector.api.lock import Lock
from inspector.api.schemas import schema
from inspector.errors import InspectorError, SchemaError, UsageError

Command = Callable[..., tuple[int, str, str]]


def test_a_lock_is_built_again_from_its_config(same: Check) -> None:
    assert (same.verdict, same.exit_code, same.findings) == ("same", 0, ())
    assert same.sentences == (f"mine is as locked: {len(same.rows)} of {len(same.rows)} parts are the same.",)
    assert {row.status for row in same.rows} == {"same"}
    assert repr(same) == "<Check of mine: same, 0 findings>"


def test_what_differs_is_said_first(differing: Check) -> None:
    assert (differing.verdict, differing.exit_code) == ("differs", 1)
    assert [finding.rule for finding in differing.findings] == ["norm.eps"]
    assert differing.sentences[-1] == "eps is not mine as locked: 1 notable finding."
    assert differing.to_text().splitlines()[:2] == ["mine.arch.json", differing.sentences[-1]]
    assert "0.001" in differing.sentences[0]


def test_the_commands_do_what_the_verbs_do(command: Command, tiny: Path, same: Check) -> None:
    code, out, err = command("lock", str(tiny / "mine.json"))
    assert (code, err) == (0, "")
    assert out == (tiny / "mine.arch.json").read_text("utf-8")

    code, out, err = command("check", str(tiny / "mine.arch.json"))
    assert (code, out, err) == (0, same.to_text(), "")


EXITS = [
    ((), 1),
    (("--fail-on", "cosmetic"), 1),
    (("--fail-on", "breaking"), 0),
    (("--fail-on", "worst"), 2),
    (("--seq", "0"), 2),
    (("--step-summary",), 2),
]


@pytest.mark.parametrize(("options", "code"), EXITS)
def test_how_it_ends(
    command: Command, tiny: Path, options: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    assert command("check", str(tiny / "mine.arch.json"), str(tiny / "eps.json"), *options)[0] == code


def test_update_writes_the_lock_anew(command: Command, locked: Path, tiny: Path) -> None:
    code, out, _ = command("check", str(locked), str(tiny / "eps.json"), "--update")

    assert code == 0
    assert "mine.arch.json is written anew: 1 notable finding." in out
    assert Lock.load(locked).config["layer_norm_epsilon"] == 1e-3
    assert command("check", str(locked))[0] == 0
    assert [path.name for path in locked.parent.iterdir()] == ["mine.arch.json"]


def test_an_update_that_changes_nothing_gives_the_same_bytes(command: Command, locked: Path) -> None:
    before = locked.read_bytes()

    assert command("check", str(locked), "--update")[0] == 0
    assert locked.read_bytes() == before


def test_a_lock_that_cannot_be_answered_is_not_updated(command: Command, locked: Path) -> None:
    locked.write_text("{}")

    assert command("check", str(locked), "--update")[0] == 3
    assert locked.read_text() == "{}"


def test_a_killed_run_leaves_the_file_as_it_was(locked: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    before = locked.read_bytes()

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        inspector.check(locked, str(tiny / "eps.json"), update=True)

    assert locked.read_bytes() == before


# what is refused

REFUSED = {
    "missing": (None, "there is no lock"),
    "empty": ("", "is not JSON"),
    "newer": ('{"schema": "inspector/lock/2"}', "which this inspector does not read"),
    "another document": ('{"schema": "inspector/graph/1"}', "not a lock"),
    "tampered": (lambda text: text.replace('"n_layer": 2', '"n_layer": 3'), "was changed after it was made"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_lock_exits_with_3(command: Command, locked: Path, kind: str) -> None:
    text, said = REFUSED[kind]
    if text is None:
        locked.unlink()
    else:
        locked.write_text(text(locked.read_text()) if callable(text) else text)
    code, out, err = command("check", str(locked))

    assert (code, out) == (3, "")
    assert said in err
    assert err.count("\n") <= 3


def test_a_lock_of_code_needs_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    (tmp_path / "hidden_model.py").write_text(
        "raise_if_imported = []\n"
        "def build():\n"
        "    from transformers import GPT2Config, GPT2LMHeadModel\n"
        "    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=9, n_positions=64))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    path = str(tmp_path / "code.arch.json")
    assert command("lock", "hidden_model:build", "-o", path)[0] == 0
    monkeypatch.delitem(sys.modules, "hidden_model")

    code, out, err = command("check", path)
    assert (code, out) == (3, "")
    assert "code.arch.json holds no config: hidden_model:build was made by code" in err
    assert "a name inside a lock is never imported" in err
    assert "hidden_model" not in sys.modules

    assert command("check", path, "hidden_model:build")[0] == 0


def test_a_lock_of_a_hub_id_asks_the_hub_no_more(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny / "0123456789abcdef"
    folder.mkdir()
    (folder / "config.json").write_text((tiny / "mine.json").read_text())
    asked: list[tuple[str, str | None]] = []

    def fetched(repo: str, revision: str | None) -> Path:
        asked.append((repo, revision))
        return folder / "config.json"

    monkeypatch.setattr("inspector.source.hub.fetch_config", fetched)
    lock = inspector.lock("owner/mine@main")
    assert set(asked) == {("owner/mine", "main")}
    asked.clear()

    assert (lock.name, lock.record.model.source) == ("owner/mine@main", "Hub at 0123456789ab")
    assert inspector.check(lock).verdict == "same"
    assert asked == []


def test_what_holds_no_transformer_cannot_be_locked() -> None:
    from torch import nn, ones

    with pytest.raises(InspectorError, match="no transformer block") as caught:
        inspector.lock(nn.Linear(8, 8), (ones(2, 3, 8),))
    assert caught.value.exit_code == 3


def test_a_lock_is_of_one_kind_of_attention() -> None:
    with pytest.raises(UsageError, match="a lock is of one kind of attention"):
        inspector.lock("gpt2", attention="eager,sdpa")


def test_a_severity_that_is_none_is_refused(tiny: Path) -> None:
    with pytest.raises(UsageError, match="there is no severity 'worst'"):
        inspector.check(tiny / "mine.arch.json", fail_on="worst")  # type: ignore[arg-type]


def test_another_run_than_the_standard_one_is_checked_as_it_was_locked(tiny: Path, tmp_path: Path) -> None:
    lock = inspector.lock(str(tiny / "mine.json"), past=9, seq=1, attention="sdpa", dtype="float32", head=False)
    found = inspector.check(lock)

    assert (found.verdict, found.exit_code) == ("same", 0)
    run = found.held[0].now.record.scenario
    assert (run.mode, run.seq, run.attention, run.dtype, run.head) == ("decode", 1, "sdpa", "float32", False)
    assert (
        lock.to_json()
        == inspector.lock(
            str(tiny / "mine.json"), past=30, batch=1, seq=1, attention="sdpa", dtype="float32", head=False
        ).to_json()
    )


def test_a_check_may_run_elsewhere(tiny: Path) -> None:
    assert inspector.check(tiny / "mine.arch.json", device="cpu", seq=8).verdict == "same"


# several locks


def test_a_folder_stands_for_its_locks(command: Command, folder: Path) -> None:
    code, out, _ = command("check", str(folder), "--format", "json")
    document = json.loads(out)
    Draft202012Validator(schema("check")).validate(document)

    assert code == document["summary"]["exit_code"] == 1
    assert [(row["lock"], row["verdict"], row["exit_code"]) for row in document["rows"]] == [
        ("good.arch.json", "same", 0),
        ("moved.arch.json", "differs", 1),
    ]
    assert str(folder) not in out


def test_the_worst_exit_code_is_that_of_all(command: Command, folder: Path) -> None:
    (folder / "broken.arch.json").write_text("{")
    names = [str(folder / f"{name}.arch.json") for name in ("good", "moved", "broken", "missing")]
    code, out, _ = command("check", *names)

    assert code == 3
    assert out.startswith("4 locks\n1 same, 1 fails, 2 unanswered\n")
    assert "norm.eps" in out
    assert "there is no lock missing.arch.json" in out
    assert command("check", *names[:2])[0] == 1
    assert command("check", names[0], names[0])[0] == 0


def test_a_folder_without_locks_is_no_answer(command: Command, tmp_path: Path) -> None:
    code, out, err = command("check", str(tmp_path))

    assert (code, out) == (3, "")
    assert "there is no lock in the folder" in err


def test_a_model_is_held_against_one_lock(command: Command, folder: Path, tiny: Path) -> None:
    good, moved = str(folder / "good.arch.json"), str(folder / "moved.arch.json")

    assert command("check", good, moved, str(tiny / "mine.json"))[0] == 2
    assert command("check", str(tiny / "mine.json"), good)[0] == 2
    assert command("check", str(folder), str(tiny / "mine.json"))[0] == 2
    assert command("check", good, str(tiny / "mine.json"))[0] == 0


# from Python


def test_assert_same_architecture_raises_what_the_command_prints(tiny: Path, differing: Check) -> None:
    assert inspector.assert_same_architecture(tiny / "mine.arch.json").verdict == "same"
    with pytest.raises(ArchitectureError) as caught:
        inspector.assert_same_architecture(str(tiny / "mine.arch.json"), str(tiny / "eps.json"))

    assert str(caught.value) == differing.to_text().rstrip()
    assert caught.value.result.findings == differing.findings
    assert isinstance(caught.value, AssertionError)


def test_two_models_can_be_held_against_one_another(tiny: Path) -> None:
    names = [str(tiny / f"{name}.json") for name in ("mine", "eps")]

    assert inspector.assert_same_architecture(names[0], names[0]).exit_code == 0
    with pytest.raises(ArchitectureError, match="eps is not mine as locked"):
        inspector.assert_same_architecture(*names)


def test_code_that_was_patched_in_memory_is_seen(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on disk is not what would run, and the store knows only the disk."""
    from torch.nn.functional import relu
    from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

    monkeypatch.setattr(GPT2MLP, "forward", lambda self, x: self.c_proj(relu(self.c_fc(x))))
    found = inspector.check(tiny / "mine.arch.json")

    assert found.exit_code == 1
    assert ("mlp.activation", "breaking") in [(finding.rule, finding.severity) for finding in found.findings]


def test_a_lock_is_a_side_of_a_diff_and_a_graph(tiny: Path) -> None:
    lock = str(tiny / "mine.arch.json")

    assert inspector.diff(lock, str(tiny / "mine.json"), trace_cache=False).findings == ()
    assert inspector.graph(lock).record == Lock.load(lock).record


def test_a_document_and_a_lock_are_checked_as_a_file_is(tiny: Path) -> None:
    lock = Lock.load(tiny / "mine.arch.json")

    assert inspector.check(lock).verdict == inspector.check(json.loads(lock.to_json())).verdict == "same"
    with pytest.raises(UsageError, match="in no file"):
        inspector.check(lock, update=True)
    with pytest.raises(SchemaError):
        inspector.check({})
