"""Pictures: they show what ran, in both themes, and are the same bytes each time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.cells import cell_len

from inspector.messages import speaking
from inspector.render.document import Figure
from inspector.render.svg import COLOURS, inline, svg
from inspector.reporting.pictures import pictures
from inspector.reporting.pictures_flow import norms, positions
from inspector.reporting.pictures_masks import masks
from inspector.reporting.report_material import Material, Portrait, Values

NAMES = ("bert", "gpt2", "llama", "gemma2", "bloom", "mixtral", "olmo2", "gptj", "bart")
SVG = "{http://www.w3.org/2000/svg}"


def drawn(found: Material) -> list[Figure]:
    return [figure for figures in pictures(found.portraits) for figure in figures.figures]


def seen(figure: Figure) -> set[tuple[int, int]]:
    """The (query, key) cells that a picture of a mask fills."""
    (filled,) = [shape for shape in figure.drawing.shapes if shape.fill == "seen"]
    runs = re.findall(r"M(\d+) (\d+)h(\d+)", str(dict(filled.at)["d"]))
    cells = [((int(y) - 22) // 14, (int(x) - 34) // 14, int(width) // 14) for x, y, width in runs]
    return {(query, key) for query, first, count in cells for key in range(first, first + count)}


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_drawing_with_a_name_in_both_themes(name: str, found: Callable[..., Material]) -> None:
    figures = drawn(found(name))

    assert len({figure.name for figure in figures}) == len(figures) >= 2
    for figure in figures:
        for theme in ("light", "dark"):
            root = ElementTree.fromstring(svg(figure, theme))
            assert root.get("role") == "img"
            assert (root[0].tag, root[0].text) == (f"{SVG}title", figure.title)
            assert (root[1].tag, root[1].text) == (f"{SVG}desc", figure.description)
            ground = root[2]
            assert ground.get("fill") == COLOURS["paper"][theme == "dark"]
            assert (ground.get("width"), ground.get("height")) == (root.get("width"), root.get("height"))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_no_style_that_only_browsers_know(name: str, found: Callable[..., Material]) -> None:
    for figure in drawn(found(name)):
        assert not re.search(r"class=|style|var\(|light-dark|url\(|href", svg(figure, "light").partition("<desc>")[2])
        assert "nan" not in svg(figure, "light").lower()
        assert "inf" not in re.sub(r"<(title|desc)>.*?</\1>", "", svg(figure, "light"))


def test_masks_are_the_traced_ones(found: Callable[..., Material]) -> None:
    full, causal = (next(masks(found(name).portraits[0])) for name in ("bert", "gpt2"))
    every = {(query, key) for query in range(16) for key in range(16)}

    assert seen(full) == every
    assert seen(causal) == {(query, key) for query, key in every if key <= query}
    assert "traced values" in causal.description


def test_each_kind_of_mask_has_a_picture(found: Callable[..., Material]) -> None:
    """gemma2 alternates between a window of 8 and all that came before."""
    figures = list(masks(found("gemma2").portraits[0]))
    cells = {len(seen(figure)) for figure in figures}

    assert len(figures) == 2
    assert any("at most 7 tokens before it" in figure.description for figure in figures)
    assert 16 * 17 // 2 in cells


def test_a_long_run_is_drawn_in_coarser_cells(found: Callable[..., Material]) -> None:
    """A window of 128 in 144 tokens, nine by nine to a cell: what is seen in part is pale, on both edges."""
    spans = tuple((max(0, query - 127), query) for query in range(144))
    portrait = replace(found("gpt2").portraits[0], values=Values(masks=(("0", spans),)))
    (figure,) = masks(portrait)
    (pale,) = [str(dict(shape.at)["d"]) for shape in figure.drawing.shapes if shape.fill == "part"]

    assert pale.count("M") == 16 + 2
    assert {key for query, key in seen(figure) if query == 15} == set(range(2, 15))
    assert "9 by 9" in figure.description


def test_a_saved_graph_is_drawn_from_the_pattern_it_names(found: Callable[..., Material]) -> None:
    portrait = replace(found("gpt2").portraits[0], values=Values())
    (figure,) = masks(portrait)

    assert seen(figure) == {(query, key) for query in range(16) for key in range(query + 1)}
    assert "the pattern that the graph names" in figure.description


def test_dials_turn_by_theta(found: Callable[..., Material]) -> None:
    (figure,) = positions(found("llama").portraits[0])
    wires = [dict(shape.at)["d"] for shape in figure.drawing.shapes if shape.kind == "path"]
    x, y = map(float, str(wires[1]).partition("L")[2].split(","))

    assert len(wires) == 4 * 7
    assert (x, y) == pytest.approx((40 + 32 * math.cos(1), 44 - 32 * math.sin(1)), abs=0.006)


def _placed(figure: Figure) -> list[tuple[Any, ...]]:
    return [
        tuple(dict(shape.at)[name] for name in ("x", "y")) for shape in figure.drawing.shapes if shape.fill == "norm"
    ]


@pytest.mark.parametrize(("name", "on_stream", "count"), [("bert", True, 2), ("gpt2", False, 2), ("gemma2", False, 4)])
def test_norms_stand_on_the_stream_or_on_the_branch(
    name: str, on_stream: bool, count: int, found: Callable[..., Material]
) -> None:
    (figure,) = norms(found(name).portraits[0])
    places = _placed(figure)

    assert len(places) == count
    assert {y < 24 < y + 18 for _, y in places} == {on_stream}


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", ["bert", "gpt2", "gemma2"])
def test_a_norm_has_room_for_its_name(name: str, lang: str, found: Callable[..., Material]) -> None:
    """A Chinese character is as wide as its type is large, a Latin letter two thirds of that at most."""
    with speaking(lang):
        (figure,) = norms(found(name).portraits[0])
    shapes = figure.drawing.shapes
    boxes = [dict(one.at) for one in shapes if one.fill == "norm"]
    texts = [(one.text, dict(one.at)) for box, one in pairwise(shapes) if box.fill == "norm"]

    assert len(texts) == len(boxes) >= 2
    for box, (text, at) in zip(boxes, texts, strict=True):
        assert cell_len(text) * float(at["font-size"]) / (2 if lang == "zh" else 1.5) <= float(box["width"])
        assert float(box["x"]) + float(box["width"]) <= figure.drawing.width


def test_a_page_repaints_by_class(found: Callable[..., Material]) -> None:
    (figure,) = norms(found("gpt2").portraits[0])

    assert 'class="f-norm"' in inline(figure)
    assert "#" not in inline(figure)


def elements(text: str) -> list[tuple[str, dict[str, str], str | None]]:
    """(element, attributes with those of its group, text) of a picture, without colours and a line's usual width."""
    found = []
    for element in ElementTree.fromstring(text.replace(' xmlns="http://www.w3.org/2000/svg"', "")):
        group = element.attrib if element.tag == "g" else {}
        for shape in element if element.tag == "g" else [element]:
            said = {**group, **shape.attrib}
            plain = {name: value for name, value in said.items() if name not in ("class", "fill", "stroke")}
            found.append((shape.tag, {k: v for k, v in plain.items() if (k, v) != ("stroke-width", "1")}, shape.text))
    return found


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_a_page_draws_what_a_file_draws(name: str, found: Callable[..., Material]) -> None:
    """There elements that look alike share a group."""
    figures = drawn(found(name))

    assert len(figures) > 4
    assert any("<g" in inline(figure) for figure in figures)
    for figure in figures:
        title, description, _ground, *shapes = elements(svg(figure, "light"))
        assert elements(inline(figure)) == [title, description, *shapes]


def test_a_model_that_shows_nothing_has_no_pictures(found: Callable[..., Material]) -> None:
    portrait = found("gpt2").portraits[0]
    bare = Portrait("bare", replace(portrait.record, facts=(), nodes=(), blocks=()), portrait.side)

    assert list(pictures([bare])) == []
