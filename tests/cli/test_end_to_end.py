"""The command on a real model, with nothing replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import inspector
from inspector.api.schemas import schema


def shapes(cache: Path, *options: str) -> tuple[str, set[str]]:
    """What `inspector shapes gpt2` printed, and the packages it imported."""
    env = {**os.environ, "INSPECTOR_CACHE_DIR": str(cache), "PYTHONPATH": str(Path(inspector.__file__).parents[1])}
    line = [sys.executable, "-X", "importtime", "-m", "inspector", "shapes", "gpt2", *options]
    done = subprocess.run(line, check=True, capture_output=True, encoding="utf-8", timeout=300, env=env)
    return done.stdout, {part.rpartition("|")[2].strip() for part in done.stderr.splitlines()}


@pytest.mark.slow
def test_a_second_answer_is_the_same_and_needs_no_torch(tmp_path: Path) -> None:
    first, before = shapes(tmp_path, "--format", "json")
    second, after = shapes(tmp_path, "--format", "json")

    assert {"torch", "transformers"} <= before
    assert {"torch", "transformers", "numpy", "pandas", "networkx", "rich"} & after == set()
    assert first == second
    Draft202012Validator(schema("shapes")).validate(json.loads(first))
    assert json.loads(first)["summary"]["parameters"] == 124_439_808
