"""One report in every format: what is said, how large it is, and that no string breaks out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator
from markdown_it import MarkdownIt

from inspector.api.report import Report
from inspector.api.schemas import schema
from inspector.errors import UsageError
from inspector.render.html import _ASSETS
from inspector.reporting.report_files import drawings, in_markdown
from inspector.reporting.report_material import material
from inspector.reporting.report_tables import bytes_at
from inspector.reporting.report_view import LEVELS

VOID = {"meta", "link", "img", "br", "input", "hr", "source"}
SHAPES = {"rect", "path", "circle", "line"}
PRINTERS: dict[str, Callable[[Report], str]] = {
    "html": Report.to_html,
    "markdown": Report.to_markdown,
    "json": Report.to_json,
    "csv": Report.to_csv,
    "text": Report.to_text,
    "terminal": lambda report: report.to_terminal(width=100, color=False),
    "notebook": lambda report: report._repr_html_(),
    "pictures": lambda report: "\n".join(text for _, text in drawings(report.material)),
}


class Page(HTMLParser):
    """What a browser would see: elements, attributes, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID | SHAPES:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="session")
def three(reported: Callable[..., Report]) -> Report:
    return reported("preset:bert-base-uncased", "preset:gpt2", "preset:llama-3-8b")


@pytest.mark.parametrize("name", PRINTERS)
def test_the_same_bytes_each_time(name: str, three: Report) -> None:
    assert PRINTERS[name](three) == PRINTERS[name](three)


@pytest.mark.parametrize("name", PRINTERS)
def test_nothing_foreign_reaches_the_reader_as_a_control(name: str, hostile: Report) -> None:
    printed = PRINTERS[name](hostile)

    assert "onerror" in printed  # it is there, and harmless
    assert [char for char in printed if not char.isprintable() and char != "\n"] == []


@pytest.mark.parametrize("name", ["html", "notebook"])
def test_html_is_well_formed_and_says_strings_as_they_are(name: str, hostile: Report) -> None:
    page = Page(PRINTERS[name](hostile))

    assert page.open == []
    assert page.tags.count("script") == (name == "html")
    assert "img" not in page.tags
    assert not [key for key, _ in page.attributes if key.startswith("on") or key == "src"]
    assert [value for key, value in page.attributes if key == "href" and not str(value).startswith("#")] == []
    assert "</script><img src=x onerror=alert(1)>|`a`" in "".join(page.words)


def test_a_page_needs_nothing_from_outside(three: Report) -> None:
    printed = three.to_html()
    ids = [value for key, value in Page(printed).attributes if key == "id"]

    assert re.search(
        r"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:", printed
    )
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest|import\(", printed)
    assert len(ids) == len(set(ids))


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_page_of_three_models_is_under_300_kb(lang: str, three: Report, reported: Callable[..., Report]) -> None:
    """Also where one of them has two kinds of blocks, low-rank attention and experts."""
    large = reported("preset:gpt2", "preset:llama-3-8b", "preset:model_type:deepseek_v3")

    assert len(three.to_html(lang=lang).encode()) < 230_000
    assert len(large.to_html(lang=lang).encode()) < 290_000


def test_a_page_reads_without_script_and_style(three: Report) -> None:
    """Headings, folds and tables are elements, and nothing is made by script."""
    page = Page(three.to_html())
    text = re.sub(r"\s+", " ", "".join(page.words))

    assert page.tags.count("h1") == 1
    assert page.tags.count("details") >= 8
    assert "hidden" not in [key for key, _ in page.attributes][:-1] or page.tags.count("details")
    for said in ("qkv_proj", "⇄ re-expressed", "word_embeddings", "attention.kind = gqa", "gpt2 masks the future"):
        assert said in text


def test_the_script_is_small_and_vanilla() -> None:
    script = (_ASSETS / "report.js").read_text("utf-8")

    assert len(script.splitlines()) < 200
    assert "innerHTML" not in script


@pytest.mark.parametrize("flavor", ["github", "hf", "plain"])
def test_markdown_says_strings_as_they_are(flavor: str, hostile: Report) -> None:
    printed = in_markdown(hostile.material, flavor=flavor, pictures="pictures")
    shown = MarkdownIt("commonmark").enable("table").render(printed)
    source = re.sub(r"<(/?)(details|summary|picture|source|img|br|code)\b", "", shown)

    assert "<script" not in shown
    assert "</script>" not in shown
    assert "onerror=alert(1)>" not in shown.replace("onerror=alert(1)&gt;", "")
    assert not re.search(r'<a href="y"', shown)
    assert "<svg" not in source


@pytest.mark.parametrize("flavor", ["github", "hf", "plain"])
def test_every_row_of_a_table_has_as_many_cells(flavor: str, hostile: Report) -> None:
    printed = re.sub(r"```mermaid.*?```", "", in_markdown(hostile.material, flavor=flavor), flags=re.DOTALL)
    for table in re.findall(r"(?:^\|.*\n)+", printed, re.MULTILINE):
        bars = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(bars) == 1, table[:200]


def test_flavours_use_what_their_readers_draw(three: Report) -> None:
    made = {flavor: in_markdown(three.material, flavor=flavor, pictures="p") for flavor in ("github", "hf", "plain")}
    has = {
        flavor: [name for name in ("```mermaid", "<details>", "<picture>", "<img", "![") if name in text]
        for flavor, text in made.items()
    }

    assert has == {
        "github": ["```mermaid", "<details>", "<picture>", "<img"],
        "hf": ["<details>", "<img"],
        "plain": ["!["],
    }


def test_mermaid_is_within_its_limits_and_holds_no_fence(hostile: Report) -> None:
    diagrams = re.findall(r"```mermaid\n(.*?)\n```", hostile.to_markdown(), re.DOTALL)

    assert len(diagrams) == 2
    for diagram in diagrams:
        assert len(diagram) < 50_000
        assert diagram.count("-->") + diagram.count("==>") < 500
        assert "`" not in diagram


@pytest.mark.parametrize("most", [60_000, 40_000, 30_000, 20_000])
def test_markdown_keeps_to_its_size_and_says_what_it_left_out(most: int, three: Report) -> None:
    printed = replace(three, most=most).to_markdown(pictures="pictures")
    whole = three.to_markdown(pictures="pictures")

    assert len(printed.encode()) <= most
    assert ("To save room this leaves out rows and facts that are alike" in printed) == (printed != whole)
    assert "gpt2 masks the future" in printed
    assert "## cost" in printed


def test_a_size_that_cannot_be_kept_is_refused(three: Report) -> None:
    with pytest.raises(UsageError, match="cannot be said in 1,000 bytes") as caught:
        replace(three, most=1000).to_markdown()

    assert LEVELS[-1] in caught.value.why


def test_json_is_valid_and_says_what_the_tables_say(three: Report, hostile: Report) -> None:
    for report in (three, hostile):
        Draft202012Validator(schema("report")).validate(json.loads(report.to_json()))
    document = json.loads(three.to_json())

    assert [model["cost"]["cache_bytes"]["8192"] for model in document["models"]] == [None, 301_989_888, 1 << 30]
    assert [(pair["a"], pair["b"]) for pair in document["pairs"]] == [(0, 1), (1, 2)]
    assert document["summary"]["differing"] == sum(
        any(mark["status"] not in ("same", "renamed") for pair in row["marks"] for mark in pair)
        for row in document["rows"]
    )


def test_the_cost_table(three: Report) -> None:
    text = three.to_text()

    for said in ("109,482,240", "8,030,261,248", "no cache", "beyond its 1,024 positions", "1 GiB", "16 GiB", "36 MiB"):
        assert said in text


def test_a_window_bounds_the_cache(reported: Callable[..., Report]) -> None:
    """gemma2, two layers: one keeps a window of 8, the other everything."""
    (portrait,) = reported("gemma2").material.portraits
    each = (portrait.number("cache.bytes_per_token") or 0) // 2

    assert bytes_at(portrait, 4) == 8 * each
    assert bytes_at(portrait, 100) == 108 * each


def test_files_are_saved_whole_and_pictures_are_where_they_are_looked_for(three: Report, tmp_path: Path) -> None:
    paths = three.save(tmp_path / "new" / "out", name="trio")
    printed = (tmp_path / "new" / "out" / "trio.md").read_text("utf-8")
    named = set(re.findall(r'(?:src|srcset)="([^"]+)"', printed))

    assert {path.name for path in paths if path.suffix != ".svg"} == {"trio.md", "trio.html", "trio.json"}
    assert named == {path.relative_to(tmp_path / "new" / "out").as_posix() for path in paths if path.suffix == ".svg"}
    assert list(tmp_path.rglob("*.part")) == []
    assert (tmp_path / "new" / "out" / "trio.json").read_text("utf-8") == three.to_json()


def test_a_hostile_name_is_no_path(hostile: Report, tmp_path: Path) -> None:
    for path in hostile.save(tmp_path):
        assert path.parent in (tmp_path, tmp_path / "pictures")
        assert re.fullmatch(r"[a-z0-9.-]+", path.name)
        if path.suffix == ".svg":
            ElementTree.parse(path)


def test_what_cannot_be_written_is_a_usage_error(three: Report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match="cannot write"):
        three.save(tmp_path / "file")


def test_what_is_not_as_claimed_is_told_with_its_reason(seen: Any) -> None:
    record, values = seen("llama")
    facts = [
        fact._replace(claim=("config key", 3), agrees=False, explained="nothing reads it")
        if fact.id == "model.layers"
        else fact
        for fact in record.facts
    ]
    printed = Report(material([(replace(record, facts=tuple(facts)), values)])).to_markdown()

    assert "2, but config key says 3 (nothing reads it)" in printed
