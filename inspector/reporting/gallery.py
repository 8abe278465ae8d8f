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

from inspector.reporting.report_files import PICTURES, drawings, html, in_markdown
from inspector.reporting.report_material import Values, material, slug
from inspector.stage_graph.record import GraphRecord

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


def files(seen: Mapping[str, Seen]) -> dict[str, bytes]:
    """Path -> contents of every file, from what was seen of every model."""
    return {path: text.encode() for path, text in _files(seen)}


def _files(seen: Mapping[str, Seen]) -> Iterator[tuple[str, str]]:
    listed = entries()
    yield "README.md", _index(listed, seen)
    for entry in listed:
        found = material([seen[name] for name in entry.models])
        yield f"{entry.name}.md", in_markdown(found, pictures=PICTURES, versions=False)
        yield f"{entry.name}.html", html(found, versions=False)
    for name in seen:
        alone = material([seen[name]])
        yield f"models/{slug(name)}.md", in_markdown(alone, pictures=f"../{PICTURES}", versions=False)
        yield from ((f"{PICTURES}/{picture}", text) for picture, text in drawings(alone))


def _index(listed: Sequence[Entry], seen: Mapping[str, Seen]) -> str:
    """The table of contents. It alone is written without a document: links are what that has no word for."""
    each = [f"* [{name}](models/{slug(name)}.md)" for name in seen]
    parts = [_LEAD, *map(_entry, listed), "## Shapes of each", "\n".join(each)]
    return "\n\n".join(parts) + "\n"


_LEAD = """# Reports

Made by `inspector report --all` from runs without weights, and held against a fresh run by
`inspector report --all --check`, byte for byte. Structure, shapes and counts are exact; nothing here was measured, and
nothing was typed by hand."""


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
