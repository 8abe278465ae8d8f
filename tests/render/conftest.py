from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def tables() -> SimpleNamespace:
    """The hand-made tables of `tables.py`."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "tables.py")))
