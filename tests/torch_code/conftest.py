"""The tutorial's code is asked as a user asks: by `module:name`, from its folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Names are looked up in the working directory, as in a shell."""
    monkeypatch.chdir(Path(__file__).parent)
