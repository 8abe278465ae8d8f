"""`action.yml`: its inputs are used and no script is made of them; its shell does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import inspector

ROOT = Path(inspector.__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS: dict[str, dict[str, Any]] = {step["name"]: step for step in ACTION["runs"]["steps"] if "run" in step}
DEFAULTS = {name: entry["default"] for name, entry in ACTION["inputs"].items()}

STUB = """#!/bin/sh
printf '%s\\n' "$@" > "$ARGUMENTS"
for argument in "$@"; do
  if [ "$argument" = --step-summary ]; then echo "# said" >> "$GITHUB_STEP_SUMMARY"; fi
done
exit ${CODE:-0}
"""


def test_it_is_a_composite_action() -> None:
    assert ACTION["runs"]["using"] == "composite"
    assert all({"description", "default"} <= entry.keys() for entry in ACTION["inputs"].values())
    assert all(step["shell"] == "bash" for step in STEPS.values())


def test_every_input_is_used_and_none_is_put_into_a_script() -> None:
    text = (ROOT / "action.yml").read_text("utf-8")
    used = set(re.findall(r"inputs\.([\w-]+)", text))

    assert used == set(ACTION["inputs"])
    assert [name for name, step in STEPS.items() if "${{" in step["run"]] == []


@pytest.fixture
def step(tmp_path: Path) -> Any:
    """`step("Check", {"locks": ...})`: (exit code, arguments of python, summary, outputs). Its python takes notes."""
    stub = tmp_path / "bin" / "python"
    stub.parent.mkdir()
    stub.write_text(STUB)
    stub.chmod(0o755)

    def run(name: str, given: dict[str, str], code: int = 0) -> tuple[int, list[str], str, str]:
        values = {**DEFAULTS, **given}
        env = {
            key: values[re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", said)[1]]
            for key, said in STEPS[name]["env"].items()
        }
        env |= {
            "PATH": f"{stub.parent}{os.pathsep}{os.environ['PATH']}",
            "CODE": str(code),
            "GITHUB_ACTION_PATH": "/the action",
        }
        files = {key: str(tmp_path / key) for key in ("ARGUMENTS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
        for path in files.values():
            Path(path).write_text("")
        # As GitHub runs a step whose shell is bash.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"]]
        done = subprocess.run(command, env={**env, **files}, cwd=tmp_path, check=False, capture_output=True, timeout=30)
        assert done.stderr == b""
        said = [Path(files[key]).read_text() for key in ("ARGUMENTS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")]
        return done.returncode, said[0].splitlines(), said[1], said[2]

    return run


def checked(*names: str, least: str = "notable") -> list[str]:
    return ["-m", "inspector", "check", "--step-summary", "--fail-on", least, "--color", "never", "--", *names]


def test_without_inputs_the_folder_of_locks_is_checked(step: Any) -> None:
    assert step("Check", {}) == (0, checked("locks"), "# said\n", "exit-code=0\n")


def test_patterns_are_expanded_and_names_kept_whole(step: Any, tmp_path: Path) -> None:
    for name in ("b two.arch.json", "a.arch.json", "notes.md"):
        (tmp_path / name).touch()
    _, arguments, _, _ = step("Check", {"locks": "*.arch.json\n\nno/*.such\n", "fail-on": "breaking"})

    assert arguments == checked("a.arch.json", "b two.arch.json", "no/*.such", least="breaking")


def test_a_model_comes_after_its_lock(step: Any) -> None:
    assert step("Check", {"locks": "a.arch.json", "model": "gpt2"})[1] == checked("a.arch.json", "gpt2")


@pytest.mark.parametrize("code", [1, 2, 3])
def test_the_step_ends_as_the_check_did(step: Any, code: int) -> None:
    ended, _, _, outputs = step("Check", {}, code)

    assert (ended, outputs) == (code, f"exit-code={code}\n")


EVIL = '"; touch evil; echo "$(touch evil)`touch evil`'


@pytest.mark.parametrize(
    ("name", "field"), [("Check", "locks"), ("Check", "model"), ("Check", "fail-on"), ("Diff", "diff")]
)
def test_text_of_an_input_is_never_run(step: Any, tmp_path: Path, name: str, field: str) -> None:
    _, arguments, _, _ = step(name, {field: EVIL})

    assert EVIL in arguments
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("field", ["package", "pip-arguments"])
def test_nor_of_what_is_to_be_installed(step: Any, tmp_path: Path, field: str) -> None:
    _, arguments, _, _ = step("Install", {field: f"{EVIL}; touch evil & $(touch evil) * ~"})

    assert "$(touch" in " ".join(arguments)
    assert "*" in " ".join(arguments).split()
    assert not (tmp_path / "evil").exists()


def test_what_is_installed(step: Any) -> None:
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]

    assert step("Install", {})[1] == [*pip, "/the action"]
    assert step("Install", {"package": "transformer-inspector", "pip-arguments": "-c c.txt 'x'"})[1] == [
        *(*pip, "transformer-inspector", "-c", "c.txt", "'x'")
    ]


def test_two_models_are_compared(step: Any) -> None:
    code, arguments, summary, _ = step("Diff", {"diff": "bert-base-uncased\ngpt2\n"})

    assert (code, summary) == (0, "# said\n")
    assert arguments == [
        "-m",
        "inspector",
        "diff",
        "--step-summary",
        "--color",
        "never",
        "--",
        "bert-base-uncased",
        "gpt2",
    ]


def test_the_options_that_it_gives_are_there() -> None:
    from inspector.cli.check import command as check
    from inspector.cli.diff import command as diff

    for command, options in (
        (check, ("--step-summary", "--fail-on", "--color")),
        (diff, ("--step-summary", "--color")),
    ):
        known = {name for parameter in command.params for name in parameter.opts}
        assert set(options) <= known


def test_the_command_itself_writes_the_page(tmp_path: Path) -> None:
    """The shell of the step with the real command: a lock that is missing is said, and is no success."""
    page, outputs = tmp_path / "page.md", tmp_path / "outputs"
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    env = {"LOCKS": "no.arch.json", "MODEL": "", "FAIL_ON": "notable", "GITHUB_STEP_SUMMARY": str(page)}
    env |= {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_OUTPUT": str(outputs),
        "PYTHONPATH": str(ROOT),
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS["Check"]["run"]]
    done = subprocess.run(command, env=env, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60)

    assert done.returncode == 3
    assert "there is no lock no.arch.json" in done.stderr
    assert "there is no lock no.arch.json" in page.read_text("utf-8")
    assert outputs.read_text() == "exit-code=3\n"


def test_the_workflow_in_the_readme_uses_inputs_that_there_are() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (workflow,) = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)]
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    (ours,) = [step for step in steps if "inspector" in step["uses"]]

    assert set(ours["with"]) <= set(ACTION["inputs"])


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_workflows_are_yaml_and_use_what_there_is(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text("utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]

    assert all(set(step.get("with", {})) <= set(ACTION["inputs"]) for step in steps if step.get("uses") == "./")
