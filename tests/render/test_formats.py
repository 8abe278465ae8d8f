"""Each format, on GPT-2 as a person wrote it down and on strings that try to break out."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from inspector.api.results import Result, Shapes
from inspector.axes import AXES
from inspector.render.styles import STYLES

GOLDEN = Path(__file__).parent / "golden"
ANSI = re.compile(r"\x1b\[[0-9;]*m")
FORMATS = {
    "terminal-80.txt": lambda result: result.to_terminal(width=80, color=False),
    "terminal-200.txt": lambda result: result.to_terminal(width=200, color=False),
    "pipe.txt": Result.to_text,
    "table.md": Result.to_markdown,
    "rows.csv": Result.to_csv,
    "rows.json": Result.to_json,
    "page.html": Result.to_html,
    "fragment.html": Result._repr_html_,
}


@pytest.fixture(params=["one", "several", "hostile"])
def result(request: pytest.FixtureRequest, tables: SimpleNamespace) -> Shapes:
    made = {"one": [tables.gpt2()], "several": [tables.gpt2(), tables.gpt2("sdpa")], "hostile": [tables.hostile()]}
    return Shapes(tuple(made[request.param]))


@pytest.mark.parametrize("name", ["terminal-80.txt", "terminal-200.txt", "pipe.txt", "table.md", "rows.csv"])
def test_the_bytes_are_the_ones_a_person_read(name: str, tables: SimpleNamespace) -> None:
    """Run with UPDATE_GOLDEN=1 after a change that is meant, and read what changed."""
    printed = FORMATS[name](Shapes((tables.gpt2(),)))
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / name).write_text(printed, encoding="utf-8")

    assert printed == (GOLDEN / name).read_text(encoding="utf-8")


def test_side_by_side_is_the_one_a_person_read(tables: SimpleNamespace) -> None:
    printed = Shapes((tables.gpt2(), tables.gpt2("sdpa"))).to_terminal(width=80, color=False)
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / "side-by-side-80.txt").write_text(printed, encoding="utf-8")

    assert printed == (GOLDEN / "side-by-side-80.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_foreign_reaches_the_reader_as_a_control(name: str, result: Shapes) -> None:
    printed = FORMATS[name](result)

    assert [char for char in printed if not char.isprintable() and char != "\n"] == []


@pytest.mark.parametrize("width", [40, 60, 80, 100, 132, 200])
def test_a_terminal_line_never_exceeds_the_width(width: int, result: Shapes) -> None:
    lines = result.to_terminal(width=width, color=False).splitlines()

    assert [text for text in lines if len(text) > width] == []


@pytest.mark.parametrize("width", [40, 80, 200, None])
def test_a_terminal_says_what_it_leaves_out(width: int | None, tables: SimpleNamespace) -> None:
    printed = " ".join(Shapes((tables.gpt2(),)).to_terminal(width=width, color=False).split())
    titles = ["role", "module", "input", "output", "in numbers", "op", "dtype", "parameters", "FLOPs"]

    assert [title for title in titles if title not in printed] == []
    assert ("no room" in printed) == (width in (40, 80))


def test_colour_changes_nothing_but_colour(result: Shapes) -> None:
    coloured = result.to_terminal(width=80, color=True)

    assert "\x1b[" in coloured
    assert ANSI.sub("", coloured) == result.to_terminal(width=80, color=False)


def test_an_op_without_a_part_stands_under_no_heading_that_says_otherwise(tables: SimpleNamespace) -> None:
    """Not under the mask that was built before it, nor under layout; between two steps of attention it stays."""
    shape = "B S 768 -> B S 768"
    inside = {"layers": "0-11", "repeat": 12, "block": 0}
    rows = (
        tables.row("mask.build", "where", "", "B S -> B 1 S T"),
        tables.row("unknown", "bessel_j0", "", shape),
        tables.row("layout.cast", "to", "", shape, **inside),
        tables.row("unknown", "bessel_j1", "", shape, **inside),
        tables.row("attention.norm", "layer_norm", "", shape, **inside),
        tables.row("unknown", "bessel_y0", "", shape, **inside),
        tables.row("attention.q_proj", "linear", "", shape, **inside),
    )
    lines = Shapes((tables.table_of(*rows),)).to_text().splitlines()
    words = [text.split()[0] for text in lines if text.strip()]

    start = words.index("mask")
    assert words[start : start + 12] == [
        *("mask", "build", "unknown", "unknown", "block", "layout", "cast"),
        *("unknown", "unknown", "attention", "norm", "unknown"),
    ]
    assert words[start + 12] == "q_proj"


def test_an_axis_has_its_colour(tables: SimpleNamespace) -> None:
    coloured = Shapes((tables.gpt2(),)).to_terminal(width=80, color=True)

    assert "(\x1b[90mB\x1b[0m, \x1b[33m12\x1b[0m, \x1b[31mS\x1b[0m, \x1b[36m64\x1b[0m)" in coloured
    assert "\x1b[33m12\x1b[0m·\x1b[36m64\x1b[0m" in coloured


def test_every_axis_has_a_style() -> None:
    assert [letter for letter in AXES if letter not in STYLES] == []


def test_shapes_are_not_taken_for_markup(tables: SimpleNamespace) -> None:
    table = tables.table_of(tables.row("mlp.norm", "[bold][/][red]x", "[link=x]", "B S 768 -> B S 768"))
    printed = Shapes((table,)).to_terminal(width=200, color=False)

    assert "[bold][/][red]x" in printed
    assert "[link=x]" in printed


def test_a_pipe_gets_one_line_per_row(tables: SimpleNamespace) -> None:
    lines = Shapes((tables.gpt2(),)).to_text().splitlines()
    (scores,) = [text for text in lines if text.strip().startswith("scores")]

    assert "(B, 12, S, 64), (B, 12, 64, T)" in scores
    assert "2×12×16×64, 2×12×64×16 → 2×12×16×16" in scores


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
@pytest.mark.parametrize("form", ["to_text", "to_terminal"])
def test_a_stream_that_cannot_say_it_gets_ascii(form: str, encoding: str, result: Shapes) -> None:
    printed = ANSI.sub("", getattr(result, form)(encoding=encoding))

    printed.encode(encoding)
    assert ("→" in printed, "->" in printed) == ((False, True) if len(result.tables) == 1 else (False, False))


def test_ascii_is_aligned_too(tables: SimpleNamespace) -> None:
    lines = Shapes((tables.gpt2(),)).to_text(encoding="ascii").splitlines()
    ends = {len(text) for text in lines if text.endswith("FLOPs") or text.strip().startswith(("qkv_proj", "lm_head"))}

    assert len(ends) == 1


def test_markdown_rows_have_one_number_of_cells(result: Shapes) -> None:
    lines = [text for text in result.to_markdown().splitlines() if text.startswith("|")]
    bars = {len(re.findall(r"(?<!\\)\|", text)) for text in lines}

    assert bars == ({5, 8} if len(result.tables) == 3 else {5, 10} if len(result.tables) == 1 else {5, 6})


def test_markdown_says_strings_as_they_are(tables: SimpleNamespace) -> None:
    from markdown_it import MarkdownIt

    shown = MarkdownIt("commonmark").enable("table").render(Shapes((tables.hostile(),)).to_markdown())

    assert "<script" not in shown
    assert "</script>" not in shown
    assert "<b>" not in shown
    assert "\\u202egnp.exe [bold]\\n=1+1" in Text.of(shown)


def test_csv_is_read_back(result: Shapes) -> None:
    rows = list(csv.DictReader(io.StringIO(result.to_csv())))

    assert len(rows) == len(result.rows)
    assert {row["attention"] for row in rows} == {table.scenario.attention for table in result.tables}
    assert rows[0]["output_shapes"] == "x".join(map(str, result.rows[0].outputs[0].shape))


def test_csv_runs_no_formula(tables: SimpleNamespace) -> None:
    table = tables.table_of(tables.row("mlp.norm", "=HYPERLINK(1)", "@x", "B S 768 -> B S 768"))
    (row,) = csv.DictReader(io.StringIO(Shapes((table,)).to_csv()))

    assert (row["op"], row["module"]) == ("'=HYPERLINK(1)", "'@x")


def test_json_is_ascii_sorted_and_repeatable(result: Shapes) -> None:
    printed = result.to_json()
    document = json.loads(printed)

    assert printed.isascii()
    assert printed == result.to_json()
    assert list(document) == ["schema", *sorted(set(document) - {"schema"})]
    assert [list(row) for row in document["rows"]] == [sorted(row) for row in document["rows"]]
    assert "Infinity" not in printed


@pytest.mark.parametrize("name", ["page.html", "fragment.html"])
def test_html_is_well_formed_and_runs_nothing(name: str, result: Shapes) -> None:
    seen = Text.parse(FORMATS[name](result))

    assert seen.open == []
    assert "script" not in seen.tags
    assert [key for key in seen.attributes if key == "id" or key.startswith("on") or key in ("src", "href")] == []


def test_html_says_strings_as_they_are(tables: SimpleNamespace) -> None:
    assert r"</script><b>x|y`z` \x1b[31mred\x07 \u202egnp.exe [bold]\n=1+1" in Text.of(
        Shapes((tables.hostile(),)).to_html()
    )


def test_a_page_allows_nothing_from_outside(tables: SimpleNamespace) -> None:
    printed = Shapes((tables.gpt2(),)).to_html()

    assert "default-src 'none'" in printed
    assert "script-src" not in printed
    assert not re.search(r"https?://|url\(|@import", printed)


def test_a_fragment_styles_nothing_but_itself(tables: SimpleNamespace) -> None:
    printed = Shapes((tables.gpt2(),))._repr_html_()
    rules = re.findall(r"^(.*?)\s*\{", re.search(r"<style>(.*?)</style>", printed, re.DOTALL)[1], re.MULTILINE)

    assert len(rules) > 10
    assert [part for rule in rules for part in rule.split(", ") if not part.startswith(".inspector")] == []
    assert not re.search(r"(?<!-)color: (?!inherit)", printed)
    assert len(printed) < 100_000


class Text(HTMLParser):
    """What an HTML document says, with which tags, and which of them are left open."""

    def __init__(self) -> None:
        super().__init__()
        self.said, self.tags, self.attributes, self.open = [], set(), set(), []

    @classmethod
    def parse(cls, html: str) -> Text:
        parser = cls()
        parser.feed(html)
        parser.close()
        return parser

    @classmethod
    def of(cls, html: str) -> str:
        return "".join(cls.parse(html).said)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)
