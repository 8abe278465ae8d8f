"""What a README shows as output is what the command prints: Chinese and English have the same commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from inspector.cli import cli
from inspector.reference.models import FORWARDS

ROOT = Path(__file__).parents[2]
CHINESE = (ROOT / "README.zh-CN.md").read_text("utf-8")

_SHOWN = re.compile(r"```\n\$ inspector ([^\n]+)\n(.*?)```", re.DOTALL)


def shown() -> Iterator[tuple[str, list[str]]]:
    """(command, lines) of every output; `...` stands for lines that are left out."""
    for command, text in _SHOWN.findall(CHINESE):
        yield command, [line for line in text.splitlines() if line.strip() not in ("", "...")]


def commands(text: str) -> set[str]:
    """The commands of the blocks of usage, without what they are told."""
    blocks = re.findall(r"```\n(inspector .*?)```", text, re.DOTALL)
    lines = (line.partition("#")[0].strip() for block in blocks for line in block.splitlines())
    return {line.replace(" --lang zh", "") for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize(("command", "lines"), list(shown()), ids=[command for command, _ in shown()])
def test_what_is_shown_is_what_is_printed(
    command: str, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "gpt2.arch.json" in command:
        CliRunner().invoke(cli, ["lock", "gpt2", "-o", "gpt2.arch.json"], standalone_mode=False)
    result = CliRunner().invoke(cli, [*shlex.split(command), "--color", "never"], standalone_mode=False)
    printed = result.output.splitlines()

    assert result.exception is None
    assert lines
    assert [line for line in lines if line not in printed] == []


def test_both_show_the_same_commands() -> None:
    english = commands((ROOT / "README.md").read_text("utf-8"))

    assert english - commands(CHINESE) == set()


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_types_with_a_whole_forward_are_all_named(name: str) -> None:
    text = " ".join((ROOT / name).read_text("utf-8").split())

    assert f" {' '.join(sorted(FORWARDS))}" in text.replace("。", " ").replace(".", " ")


def test_each_leads_to_the_other_and_links_lead_somewhere() -> None:
    assert "[English](README.md)" in CHINESE.splitlines()[0]
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", CHINESE):
        assert (ROOT / target).exists(), target
