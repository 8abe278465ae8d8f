"""The gallery of reports that is kept in the repository: made from a list, the same bytes each time.

Only what is exact is in it: structure, shapes and counts. Versions stand in no file, because a version that changes
nothing must change no byte; which versions were used when it was last made is in the repository's constraints.
"""

from __future__ import annotations

__all__ = ["Entry", "entries", "files"]

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from inspector.messages import LANGUAGES, say, speaking
from inspector.render.markdown import Page, markdown
from inspector.render.svg import svg
from inspector.reporting import tutorial
from inspector.reporting.report_files import PICTURES, THEMES, drawings, html, in_markdown
from inspector.reporting.report_material import Values, material, slug
from inspector.reporting.report_view import figures
from inspector.stage_graph.record import GraphRecord
from inspector.verification.report import Report

Seen = tuple[GraphRecord, Values]


class Entry(NamedTuple):
    """One report: its file name, what it is about, its models, what to look at, and its pictures in the index."""

    name: str
    title: str
    models: tuple[str, ...]
    look: str
    pictures: tuple[str, ...]


def entries() -> tuple[Entry, ...]:
    """The reports of the gallery.

    >>> entries()[0].name
    'bert-gpt2'
    """
    listed = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))["report"]
    return tuple(
        Entry(one["name"], one["title"], tuple(one["models"]), one["look"], tuple(one["pictures"])) for one in listed
    )


def files(seen: Mapping[str, Seen], checked: Mapping[str, Report | None] | None = None) -> dict[str, bytes]:
    """Path -> contents of every file, from what was seen of every model and what came of checking it."""
    return {path: text.encode() for path, text in _files(seen, checked or {})}


def _files(seen: Mapping[str, Seen], checked: Mapping[str, Report | None]) -> Iterator[tuple[str, str]]:
    listed = entries()
    yield "README.md", _index(listed, seen)
    for entry in listed:
        found = material([seen[name] for name in entry.models], [checked.get(name) for name in entry.models])
        yield f"{entry.name}.md", in_markdown(found, pictures=PICTURES, exact=True)
        yield f"{entry.name}.html", html(found, exact=True)
    yield from _tutorials(seen)
    for name in seen:
        alone = material([seen[name]], [checked.get(name)])
        yield f"models/{slug(name)}.md", in_markdown(alone, pictures=f"../{PICTURES}", exact=True)
        yield from ((f"{PICTURES}/{picture}", text) for picture, text in drawings(alone))


def _tutorials(seen: Mapping[str, Seen]) -> Iterator[tuple[str, str]]:
    """The walk through attention, in every language, each with pictures in its own."""
    found = material([seen[name] for name in LEARNT])
    for code, tag in LANGUAGES.items():
        folder = PICTURES if code == "en" else f"{PICTURES}/{code}"
        with speaking(code):
            whole = tutorial.document(found)
            yield _tutorial(tag), markdown(whole, Page("github", folder, compact=True))
            for figure in figures(whole) if code != "en" else ():
                yield from ((f"{folder}/{figure.name}-{theme}.svg", svg(figure, theme)) for theme in THEMES)


def _called(code: str) -> str:
    with speaking(code):
        return say("learn.language")


def _tutorial(tag: str) -> str:
    return "attention-shapes.md" if tag == "en" else f"attention-shapes.{tag}.md"


LEARNT = ("bert-base-uncased", "gpt2", "llama-3-8b")
"""The models of the tutorial."""


def _index(listed: Sequence[Entry], seen: Mapping[str, Seen]) -> str:
    """The table of contents. It alone is written without a document: links are what that has no word for."""
    each = [f"* [{name}](models/{slug(name)}.md)" for name in seen]
    walks = " · ".join(f"[{_called(code)}]({_tutorial(tag)})" for code, tag in LANGUAGES.items())
    parts = [_LEAD, _WALK.format(walks=walks), *map(_entry, listed), "## Shapes of each", "\n".join(each)]
    return "\n\n".join(parts) + "\n"


_LEAD = """# Reports

Made by `inspector report --all` from runs without weights, and held against a fresh run by
`inspector report --all --check`, byte for byte. Structure, shapes and counts are exact; nothing here was measured, and
nothing was typed by hand."""


_WALK = """## For learners: how attention moves shapes

One walk through a block of BERT, GPT-2 and Llama-3, step by step: what goes in, what comes out, why.

{walks}"""


def _entry(entry: Entry) -> str:
    models = ", ".join(f"`{name}`" for name in entry.models)
    shown = "\n".join(map(_picture, entry.pictures))
    links = (
        f"[In Markdown]({entry.name}.md) · [as a page]({entry.name}.html) (download and open it: keys, filter, hover)"
    )
    return f"## {entry.title}\n\n{models}. {entry.look}\n\n{shown}\n\n{links}"


def _picture(name: str) -> str:
    light, dark = (f"{PICTURES}/{name}-{theme}.svg" for theme in ("light", "dark"))
    image = f'<img src="{light}" alt="{name.replace("-", " ")}" width="260">'
    return f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">{image}</picture>'
