"""The page in a real browser: no error, no request, keys that work, no serious finding of axe, light and dark.

Needs the packages of the extra `test`, which bring playwright and axe along, and a Chromium or Chrome: the one that
INSPECTOR_CHROMIUM names, one on the PATH, or playwright's own. What is missing is said in the reason of the skip.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from inspector.api.report import Report

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")

ROWS = ".row:not([hidden])"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def installed() -> str | None:
    """A browser of this machine; None where only playwright may have one."""
    return os.environ.get("INSPECTOR_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        try:
            made = driver.chromium.launch(executable_path=installed(), args=["--no-sandbox", "--disable-gpu"])
        except playwright.Error as error:
            pytest.skip(f"there is no browser: {str(error).splitlines()[0]}")
        yield made
        made.close()


@pytest.fixture(scope="module")
def pages(reported: Callable[..., Report], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Language -> the page of a report in it."""
    folder = tmp_path_factory.mktemp("page")
    made = reported("preset:bert-base-uncased", "preset:gpt2", "preset:llama-3-8b")
    paths = {lang: folder / f"{lang}.html" for lang in ("en", "zh")}
    for lang, path in paths.items():
        path.write_text(made.to_html(lang=lang), "utf-8")
    return paths


@pytest.fixture(scope="module")
def page_file(pages: dict[str, Path]) -> Path:
    return pages["en"]


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Callable[..., Any]]:
    """A page that fails the test if it complains or asks for anything."""
    contexts = []
    heard: list[str] = []

    def open_(path: Path = page_file, **options: Any) -> Any:
        contexts.append(browser.new_context(reduced_motion="reduce", **options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("console", lambda message: heard.append(message.text))
        page.on("request", lambda request: heard.append(request.url) if not request.url.startswith("file:") else None)
        page.on("dialog", lambda dialog: heard.append(dialog.message))
        page.goto(path.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert heard == []


def press(page: Any, *keys: str) -> str:
    for key in keys:
        page.keyboard.press(key)
    return str(page.evaluate("document.activeElement.id"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_it_opens_and_fits(
    lang: str, scheme: str, width: int, opened: Callable[..., Any], pages: dict[str, Path]
) -> None:
    page = opened(pages[lang], color_scheme=scheme, viewport={"width": width, "height": 900})
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"

    assert light == (scheme == "light")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


OUTSIDE = """[...document.querySelectorAll('.box .shape')].filter(shape => {
  const range = document.createRange(); range.selectNodeContents(shape);
  const text = range.getBoundingClientRect(), box = shape.closest('.box').getBoundingClientRect();
  return text.right > box.right || text.left < box.left;
}).map(shape => shape.textContent)"""


@pytest.mark.parametrize("width", [1000, 1280])
def test_shapes_stay_in_their_boxes(width: int, opened: Callable[..., Any]) -> None:
    assert opened(viewport={"width": width, "height": 900}).evaluate(OUTSIDE) == []


def test_a_hostile_page_runs_nothing(hostile: Report, opened: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(hostile.to_html(), "utf-8")

    assert opened(path).locator("img, iframe, script[src], link").count() == 0


def test_n_and_p_go_from_difference_to_difference(opened: Callable[..., Any]) -> None:
    page = opened()
    differing = page.evaluate("[...document.querySelectorAll('.row:not(.quiet)')].map(row => row.id)")

    assert [press(page, "n") for _ in range(3)] == differing[:3]
    assert press(page, "p") == differing[1]
    assert press(page, "p", "p") == differing[-1]


def test_a_row_with_the_focus_says_all_that_is_known(opened: Callable[..., Any]) -> None:
    page = opened()
    panel = page.locator(f'[id="{press(page, "n")}"] .panel')

    assert panel.is_visible()
    assert "module" in panel.inner_text()
    press(page, "Enter", "j")
    assert panel.is_visible()
    press(page, "Escape")
    assert panel.is_hidden()


def test_the_other_keys(opened: Callable[..., Any]) -> None:
    page = opened()
    every = page.locator(ROWS).count()

    press(page, "/")
    page.keyboard.type("softmax")
    assert 0 < page.locator(ROWS).count() < every
    press(page, "Escape")
    assert page.locator(ROWS).count() == every
    press(page, "d")
    assert page.evaluate("document.documentElement.classList.contains('dim')")
    press(page, "t")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    press(page, "?")
    assert page.locator("dialog").is_visible()
    press(page, "Escape", "e")
    assert page.locator("details[open]").count() == 0
    assert page.evaluate(f"document.getElementById('{press(page, 'n')}').offsetParent !== null")


def test_without_script_all_of_it_is_there(opened: Callable[..., Any]) -> None:
    page = opened(java_script_enabled=False)

    assert page.locator(".tools").is_hidden()
    assert page.get_by_text("matmul").first.is_visible()


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core, which the package axe-playwright-python brings along."""
    pytest.importorskip("axe_playwright_python", reason="the package axe-playwright-python is not installed")
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


SERIOUS = """axe.run().then(result => result.violations
  .filter(one => ["serious", "critical"].includes(one.impact)).map(one => one.id))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(scheme: str, width: int, opened: Callable[..., Any], axe: str) -> None:
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True)
    page.evaluate(axe)

    assert page.evaluate(SERIOUS) == []


def test_axe_would_find_something(opened: Callable[..., Any], axe: str, tmp_path: Path) -> None:
    """A page whose muted text is too pale for its ground, and whose field has no name."""
    path = tmp_path / "bad.html"
    path.write_text(
        '<!doctype html><title>x</title><p style="color: #ccc; background: #fff">too pale</p><input>', "utf-8"
    )
    page = opened(path, bypass_csp=True)
    page.evaluate(axe)

    assert {"color-contrast", "label"} <= set(page.evaluate(SERIOUS))
