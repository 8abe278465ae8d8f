"""Locks of small models, made once per session, and hands that change them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.api.check import Check
from inspector.api.lock import Lock
from inspector.cli import main
from inspector.fact_sheet.recorded import recorded
from inspector.records import Scenario
from inspector.stage_graph.export.lock import Locked, _digest, lock_document, read_lock, written
from inspector.stage_graph.export.sizeless import standard
from inspector.stage_graph.record import GraphRecord

TINY_GPT2 = {
    "model_type": "gpt2",
    "vocab_size": 99,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 128,
    "n_inner": 96,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.fixture(scope="session")
def lock_of(trace_of: Callable[..., Any]) -> Callable[..., Lock]:
    """The lock of a small model, `lock_of("gpt2", Scenario(batch=5), layer_norm_epsilon=1e-3)`; without a config."""

    def made(name: str, scenario: Scenario | None = None, **changes: Any) -> Lock:
        asked = scenario or Scenario()
        document = lock_document(Locked(recorded(trace_of(name, standard(asked), **changes)), None, asked.head))
        return Lock(read_lock(document))

    return made


@pytest.fixture
def changed(lock_of: Callable[..., Lock]) -> Callable[..., GraphRecord]:
    """The record of a lock with one node changed: `changed("gpt2", "0-1.mlp.up_proj", module="x")`."""

    def made(name: str, id: str, **fields: Any) -> GraphRecord:
        record = lock_of(name).record
        assert id in record.place
        return replace(record, nodes=tuple(replace(n, **fields) if n.id == id else n for n in record.nodes))

    return made


@pytest.fixture(scope="session")
def tiny_gpt2() -> dict[str, Any]:
    """The config.json of a model small enough to run in no time."""
    return dict(TINY_GPT2)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, tiny_gpt2: dict[str, Any]) -> Path:
    """A folder with a config, its lock, and a config that differs in eps."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "mine.json").write_text(json.dumps(tiny_gpt2))
    (folder / "eps.json").write_text(json.dumps({**tiny_gpt2, "layer_norm_epsilon": 1e-3}))
    inspector.lock(str(folder / "mine.json"), trace_cache=False).save(folder / "mine.arch.json")
    return folder


@pytest.fixture
def locked(tiny: Path, tmp_path: Path) -> Path:
    """A copy of that lock that a test may spoil."""
    path = tmp_path / "mine.arch.json"
    path.write_bytes((tiny / "mine.arch.json").read_bytes())
    return path


@pytest.fixture(scope="session")
def same(tiny: Path) -> Check:
    return inspector.check(tiny / "mine.arch.json")


@pytest.fixture(scope="session")
def differing(tiny: Path) -> Check:
    return inspector.check(tiny / "mine.arch.json", str(tiny / "eps.json"))


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """One lock that holds, one that is broken, one of another architecture than its config; and files that are none."""
    good = (tiny / "mine.arch.json").read_text("utf-8")
    document = json.loads(good)
    eps = inspector.lock(str(tiny / "eps.json"))
    other = json.loads(eps.to_json())
    other["config"] = document["config"]
    other["digest"] = _digest({key: value for key, value in other.items() if key != "digest"})
    (tmp_path / "good.arch.json").write_text(good)
    (tmp_path / "moved.arch.json").write_text(written(other))
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / ".good.arch.json.1.part").write_text("{")
    return tmp_path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`command("check", "x.arch.json")`: (exit code, stdout, stderr)."""

    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([*args, *(("--no-trace-cache",) if args[0] in ("lock", "check") else ())])
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return run
