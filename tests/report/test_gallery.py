"""The gallery in reports/ is what a fresh run makes, byte for byte."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inspector.api.fingerprint import versions
from inspector.api.report import check_gallery
from inspector.reporting.gallery import entries

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports"


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))


@pytest.mark.slow
def test_a_fresh_run_makes_the_same_bytes() -> None:
    """`inspector report --all` after a change that is meant, and read what changed."""
    here, there = versions(), pinned()
    other = [name for name in ("torch", "transformers") if here[name].partition("+")[0] != there[name]]
    if other:
        pytest.skip(f"the gallery is of the pinned versions, and {' and '.join(other)} differ here")

    assert check_gallery(REPORTS) == []


def test_every_entry_is_there_and_in_the_index() -> None:
    index = (REPORTS / "README.md").read_text("utf-8")

    assert len(entries()) >= 4
    for entry in entries():
        assert (REPORTS / f"{entry.name}.md").is_file()
        assert f"({entry.name}.md)" in index


def test_every_link_and_picture_leads_to_a_file() -> None:
    for path in REPORTS.rglob("*.md"):
        text = path.read_text("utf-8")
        for target in re.findall(r'(?:\]\(|src="|srcset=")([^)":]+)[)"]', text):
            assert (path.parent / target).is_file(), f"{path.name}: {target}"


def test_nothing_in_it_changes_with_time_place_or_version() -> None:
    """What is measured names its machine and versions, and lies in a folder of its own."""
    for path in REPORTS.rglob("*"):
        if path.is_file() and "measured" not in path.parts:
            text = path.read_text("utf-8")
            assert not re.search(r"\b20[2-9]\d-\d\d-\d\d\b|/(home|root|tmp|work|Users)/", text), path.name
            assert versions()["transformers"] not in text, path.name


def test_a_gallery_that_is_not_there_is_not_what_it_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"README.md": b"x", "pictures/a.svg": b"y"}
    monkeypatch.setattr("inspector.api.report.gallery", lambda **_: made)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.svg").write_bytes(b"z")
    (tmp_path / "old.md").write_bytes(b"")

    assert check_gallery(tmp_path) == ["README.md: missing", "old.md: not of the gallery", "pictures/a.svg: differs"]
