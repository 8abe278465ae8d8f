"""An upgrade of transformers: what is answered from the store, and what has to be run again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.api.store import TraceStore
from inspector.records import Scenario
from inspector.source import resolve

ROOT = Path(inspector.__file__).parents[1]

CHECK = """
import sys
from inspector.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sorted({"torch", "transformers", "numpy"} & sys.modules.keys()), file=sys.stderr)
"""


def run(cache: Path, *args: str, beside: Path | None = None) -> tuple[int, str, list[str]]:
    """A command in a process of its own: (exit code, stdout, which heavy packages it imported).

    beside: a folder that Python looks into before its own.
    """
    path = os.pathsep.join(str(folder) for folder in (beside, ROOT) if folder)
    env = {**os.environ, "INSPECTOR_CACHE_DIR": str(cache), "PYTHONPATH": path, "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK, *args], env=env, capture_output=True, encoding="utf-8", check=False, timeout=120
    )
    return done.returncode, done.stdout, done.stderr.split("\n")[-2].split()


@pytest.fixture
def kept(tmp_path: Path, trace_of: Callable[..., Any]) -> Path:
    """A folder with the lock of gpt2, and a store that holds its run."""
    TraceStore(tmp_path / "traces").put(resolve("gpt2").identity() or {}, Scenario(), trace_of("preset:gpt2"), [])
    code, out, imported = run(tmp_path, "lock", "gpt2")
    assert (code, imported) == (0, [])
    (tmp_path / "gpt2.arch.json").write_text(out)
    return tmp_path


def test_a_stored_run_is_locked_and_checked_without_torch(kept: Path) -> None:
    code, out, imported = run(kept, "check", str(kept / "gpt2.arch.json"))

    assert (code, imported) == (0, [])
    assert "gpt2 is as locked" in out


def test_the_name_in_a_lock_need_not_be_known(kept: Path) -> None:
    """The config is in the lock: neither the catalogue nor the Hub is asked."""
    document = json.loads((kept / "gpt2.arch.json").read_text())

    assert document["config"]["model_type"] == "gpt2"
    assert run(kept, "check", str(kept / "gpt2.arch.json"), "gpt2")[0] == 0


def overlay(folder: Path, patch: Callable[[str], str] | None) -> Path:
    """A folder with transformers in it, all links but the file of GPT-2, which is a copy and may be patched."""
    spec = find_spec("transformers")
    assert spec is not None
    installed = Path(next(iter(spec.submodule_search_locations or ())))
    (folder / "transformers" / "models" / "gpt2").mkdir(parents=True, exist_ok=True)
    for source in (installed, installed / "models", installed / "models" / "gpt2"):
        for path in source.iterdir():
            target = folder / "transformers" / path.relative_to(installed)
            if not target.exists() and path.name != "__pycache__":
                target.symlink_to(path)
    for info in installed.parent.glob("transformers-*.dist-info"):
        (folder / info.name).symlink_to(info)
    target = folder / "transformers" / "models" / "gpt2" / "modeling_gpt2.py"
    text = target.read_text("utf-8")
    target.unlink()
    target.write_text(patch(text) if patch else text, "utf-8")
    os.utime(target, (1, 1))  # as old as an installed file is
    return folder


def unscaled(text: str) -> str:
    """What a refactoring may forget."""
    scaled = "self.scaling = self.head_dim**-0.5"
    assert scaled in text
    return text.replace(scaled, "self.scaling = 1.0")


@pytest.mark.slow
def test_what_an_upgrade_changed_is_said(tmp_path: Path, tiny_gpt2: dict[str, Any]) -> None:
    """Locked under the installed transformers, checked under one in which a file differs."""
    (tmp_path / "mine.json").write_text(json.dumps(tiny_gpt2))
    lock = str(tmp_path / "mine.arch.json")
    assert run(tmp_path, "lock", str(tmp_path / "mine.json"), "-o", lock)[0] == 0

    equal = overlay(tmp_path / "equal", None)
    code, out, imported = run(tmp_path, "check", lock, beside=equal)
    assert (code, imported) == (0, []), "every digest matches, so the store answers"

    # The very file that was digested is another one now.
    patched = equal / "transformers" / "models" / "gpt2" / "modeling_gpt2.py"
    patched.write_text(unscaled(patched.read_text("utf-8")), "utf-8")
    os.utime(patched, (1, 1))
    code, out, imported = run(tmp_path, "check", lock, beside=equal)
    assert code == 1
    assert "torch" in imported
    assert "mine is not as locked: 1 breaking" in out
    assert "attention.scale" in out

    # And back: the store has forgotten nothing that still holds.
    shutil.rmtree(equal)
    assert run(tmp_path, "check", lock)[0] == 0


OTHER = os.environ.get("INSPECTOR_OTHER_TRANSFORMERS", "")
"""A folder that `pip install --target FOLDER --no-deps transformers==... huggingface_hub==...` filled, where there is
one, with what these two need and this environment lacks."""


@pytest.mark.slow
@pytest.mark.skipif(not OTHER, reason="INSPECTOR_OTHER_TRANSFORMERS names no folder with another transformers")
@pytest.mark.parametrize("model", ["gpt2", "bert-base-uncased", "llama-3-8b", "mixtral-8x7b", "qwen3-8b"])
def test_two_versions_of_transformers(model: str, tmp_path: Path) -> None:
    """These are the same models in 5.17 and 5.23: whatever is found is a false alarm."""
    lock = str(tmp_path / "model.arch.json")
    assert run(tmp_path, "lock", model, "-o", lock, beside=Path(OTHER))[0] == 0
    code, out, _ = run(tmp_path, "check", lock, "--format", "json")
    (row,) = json.loads(out)["rows"]

    assert code == 0
    assert row["locked"]["tool"]["transformers"] != json.loads(out)["tool"]["transformers"]
    assert row["severities"] == {"breaking": 0, "notable": 0, "cosmetic": 0}
