"""The command line: what it passes on, how it fails, and where it writes."""

from __future__ import annotations

import inspect
import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import inspector
from inspector.api.results import Shapes
from inspector.cli import COMMANDS, cli, main
from inspector.errors import InspectorError, ModelNotFound, UsageError

VERB = inspect.signature(inspector.shapes)
BY_HAND = (sys.executable, str(Path(__file__).parent / "by_hand.py"))
ENV = {**os.environ, "PYTHONPATH": str(Path(inspector.__file__).parents[1])}
HEAVY = ("torch", "transformers", "numpy", "pandas", "networkx", "rich", "jinja2", "tabulate")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tables: SimpleNamespace) -> dict[str, Any]:
    """`inspector shapes` answered by hand; holds what the command passed on."""
    passed: dict[str, Any] = {}

    def shapes(model: str, **options: Any) -> Shapes:
        passed.update(options, model=model)
        if error := passed.get("raise"):
            raise error
        return Shapes((tables.gpt2(),))

    monkeypatch.setattr("inspector.api.verbs.shapes", shapes)
    return passed


def run(*args: str) -> int:
    """Exit code of one command."""
    with pytest.raises(SystemExit) as caught:
        main(args)
    return int(caught.value.code or 0)


def shell(command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """One line of shell, in which `$I` is the command; its answer is made by hand."""
    called = " ".join(f'"{part}"' for part in BY_HAND)
    return subprocess.run(
        ["bash", "-c", command.replace("$I", called)],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env={**ENV, "PYTHONUTF8": "1", **env},
    )


def test_options_reach_the_verb(asked: dict[str, Any]) -> None:
    line = "shapes gpt2 --batch 3 --seq 5 --past 7 --layer 2 --role rope --section mlp --ops --no-head --pad right"
    line += " --twin --explain --generate 4 --text hello --input ids:BxS:int64"
    code = run(*line.split(), *"--attention eager,sdpa --dtype float32 --device cpu --seed 9 --no-trace-cache".split())

    expected = {
        "batch": 3,
        "seq": 5,
        "past": 7,
        "layer": 2,
        "role": "rope",
        "section": "mlp",
        "ops": True,
        "head": False,
    }
    expected |= {"pad": "right", "attention": "eager,sdpa", "dtype": "float32", "device": "cpu", "seed": 9}
    expected |= {"trace_cache": False, "weights": None, "model": "gpt2", "progress": None}
    expected |= {"twin": True, "explain": True, "generate": 4, "text": "hello", "inputs": ("ids:BxS:int64",)}
    assert code == 0
    assert asked == expected


def test_defaults_are_those_of_the_verb(asked: dict[str, Any]) -> None:
    run("shapes", "gpt2")
    defaults = {parameter.name: parameter.default for parameter in VERB.parameters.values()}

    assert asked == defaults | {"model": "gpt2"}


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("no such device", why="there is cpu", hint="leave out --device"), 2, "there is cpu"),
        (ModelNotFound("no model is named 'gtp2'", why="did you mean gpt2?"), 3, "did you mean gpt2?"),
        (InspectorError("x\x1b[2Jy"), 3, r"inspector: x\x1b[2Jy"),
        (KeyError("boom"), 3, "unexpected KeyError: 'boom'"),
        (RuntimeError("first\nsecond"), 3, "unexpected RuntimeError: first\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_each_kind_of_failure_has_its_code(
    error: BaseException, code: int, said: str, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asked["raise"] = error

    assert run("shapes", "gpt2") == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err
    assert "\x1b" not in err


def test_a_message_has_one_line_each_for_what_why_and_hint(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asked["raise"] = UsageError("no such device", why="there is cpu", hint="leave out --device")
    run("shapes", "gpt2")

    assert capsys.readouterr().err == "inspector: no such device\n  there is cpu\n  leave out --device\n"


@pytest.mark.parametrize("error", [UsageError("no"), KeyError("boom")])
def test_debug_shows_the_traceback(
    error: Exception, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INSPECTOR_DEBUG", "1")
    asked["raise"] = error
    run("shapes", "gpt2")

    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("shpaes gpt2", "Did you mean 'shapes'?"),
        ("shapes gpt2 --bacth 3", "'--batch'"),
        ("shapes gpt2 --batch 0", "0 is not in the range"),
        ("shapes gpt2 --format tsv", "'tsv' is not one of"),
        ("shapes", "Missing argument 'MODEL'"),
        ("schema graphs", "'graphs' is not one of"),
    ],
)
def test_wrong_usage_is_two(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"inspector {inspector.__version__}\n"
    for command in ([], *([name] for name in COMMANDS)):
        assert run(*command, "--help") == 0
        assert "Usage: inspector" in capsys.readouterr().out


def test_help_of_a_command_begins_as_the_list_says(capsys: pytest.CaptureFixture[str]) -> None:
    import click

    context = click.Context(cli)
    helped = {name: cli.get_command(context, name) for name in COMMANDS}

    assert [name for name, command in helped.items() if not command or not command.help] == []


@pytest.mark.parametrize("format", ["text", "json", "markdown", "html", "csv"])
def test_every_format_on_stdout_and_in_a_file(
    format: str, asked: dict[str, Any], tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = tmp_path / "answer"

    assert run("shapes", "gpt2", "--format", format) == 0
    printed = capsysbinary.readouterr().out
    assert run("shapes", "gpt2", "--format", format, "-o", str(file)) == 0
    assert capsysbinary.readouterr().out == b""
    assert file.read_bytes() == printed
    assert b"\x1b" not in printed
    assert run("shapes", "gpt2", "--format", format, "-o", "-") == 0
    assert capsysbinary.readouterr().out == printed


def test_what_the_models_own_code_prints_is_no_part_of_the_answer(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand = inspector.api.verbs.shapes

    def shapes(model: str, **options: Any) -> Shapes:
        print("building the model")  # noqa: T201 - as a factory or a forward does
        return by_hand(model, **options)

    monkeypatch.setattr("inspector.api.verbs.shapes", shapes)
    assert run("shapes", "gpt2", "--format", "json") == 0
    out, err = capsys.readouterr()

    assert json.loads(out)["schema"] == "inspector/shapes/1"
    assert err == "building the model\n"


def test_json_on_stdout_is_json(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run("shapes", "gpt2", "--format", "json")

    assert json.loads(capsys.readouterr().out)["schema"] == "inspector/shapes/1"


@pytest.mark.parametrize(
    ("options", "env", "colour"),
    [
        ((), {}, False),
        ((), {"FORCE_COLOR": "1"}, True),
        ((), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
        (("--color", "never"), {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colour_is_decided_by_option_then_environment_then_stream(
    options: tuple[str, ...],
    env: dict[str, str],
    colour: bool,
    asked: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    run("shapes", "gpt2", *options)

    assert ("\x1b[" in capsys.readouterr().out) == colour


@pytest.mark.parametrize(("term", "colour"), [("xterm-256color", True), ("dumb", False)])
def test_a_terminal_gets_its_width_and_its_colours(term: str, colour: bool) -> None:
    """`script` gives the command a terminal of its own."""
    env = {"TERM": term, "COLUMNS": "80", "NO_COLOR": "", "FORCE_COLOR": ""}
    done = shell("script -qec '$I shapes gpt2' /dev/null", **env)
    if done.returncode == 127:
        pytest.skip("needs script(1)")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).splitlines()

    assert ("\x1b[" in done.stdout) == colour
    assert "no room at this width" in done.stdout
    assert max(map(len, lines)) <= 80


def test_a_pipe_is_never_cut() -> None:
    done = shell("$I shapes gpt2 | cat", COLUMNS="40")

    assert done.returncode == 0
    assert "transformer.h.{}.attn.c_attn  (B, S, 768)" in done.stdout
    assert "no room" not in done.stdout


def test_a_stream_without_the_letters_gets_ascii() -> None:
    done = shell("$I shapes gpt2", PYTHONIOENCODING="ascii", PYTHONUTF8="0")

    assert "block x12" in done.stdout
    assert done.stdout.isascii()


def test_a_closed_pipe_ends_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        done = subprocess.run(
            [*BY_HAND, "models"], check=False, stdout=out, stderr=subprocess.PIPE, env=ENV, timeout=60
        )

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_is_told() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    done = shell("$I models > /dev/full")

    assert done.returncode == 2
    assert done.stderr == "inspector: cannot write standard output\n  No space left on device\n"


def test_ctrl_c_ends_without_a_traceback() -> None:
    with subprocess.Popen([*BY_HAND, "shapes", "sleeper"], env=ENV, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "asleep\n"
        process.send_signal(signal.SIGINT)

        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 130


@pytest.mark.parametrize("where", ["missing/answer", "."])
def test_a_place_that_cannot_be_written_is_two(
    where: str, asked: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("shapes", "gpt2", "-o", str(tmp_path / where)) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_whole_or_not_at_all(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "answer"
    file.write_text("before")

    def fails(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fails)

    assert run("shapes", "gpt2", "-o", str(file)) == 2
    assert file.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["answer"]


def test_a_file_keeps_its_mode_and_a_link_stays_a_link(asked: dict[str, Any], tmp_path: Path) -> None:
    file, link = tmp_path / "answer", tmp_path / "link"
    file.write_text("before")
    file.chmod(0o640)
    link.symlink_to(file)

    assert run("shapes", "gpt2", "-o", str(link)) == 0
    assert link.is_symlink()
    assert "embedding" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_device_is_written_to_and_not_replaced(asked: dict[str, Any]) -> None:
    assert run("shapes", "gpt2", "-o", os.devnull) == 0
    assert not stat.S_ISREG(Path(os.devnull).stat().st_mode)


def test_models_are_completed() -> None:
    env = {"_INSPECTOR_COMPLETE": "bash_complete", "COMP_WORDS": "inspector shapes gpt2-", "COMP_CWORD": "2"}
    done = shell("$I", **env)

    assert done.stdout.split() == ["plain,gpt2-medium", "plain,gpt2-large", "plain,gpt2-xl"]


def test_schema_prints_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema", "shapes") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "inspector/shapes/1"


def test_the_cache_is_found_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INSPECTOR_CACHE_DIR", str(tmp_path))
    run("cache", "dir")
    folder = Path(capsys.readouterr().out.strip())
    folder.mkdir(parents=True)
    (folder / "one.json.gz").write_bytes(b"")

    assert run("cache", "clear") == 0
    assert capsys.readouterr() == ("", "1 stored trace removed\n")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("line", ["--help", "shapes --help", "--version", "schema shapes"])
def test_help_imports_nothing_heavy(line: str) -> None:
    assert _imported(line) == set()


def test_models_in_a_pipe_imports_only_what_prints_it() -> None:
    assert _imported("models") == {"tabulate"}
    assert _imported("models --format json") == set()


def test_importing_inspector_imports_nothing_heavy() -> None:
    done = shell(f"'{sys.executable}' -c 'import sys, inspector; print(*sys.modules)'")

    assert "inspector" in done.stdout.split()
    assert {"click", "json", "dataclasses", *HEAVY} & set(done.stdout.split()) == set()


def _imported(line: str) -> set[str]:
    """The heavy packages that one command imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "inspector", *line.split()],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=ENV,
    )
    names = {part.rpartition("|")[2].strip().partition(".")[0] for part in done.stderr.splitlines()}
    assert "click" in names
    return names & set(HEAVY)
