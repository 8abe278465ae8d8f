from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def exam() -> SimpleNamespace:
    """The label exam of `exam.py`."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "exam.py")))
