"""What the public verbs return: data first, and the same answer in every format."""

from __future__ import annotations

__all__ = ["Models", "Result", "Shapes", "spoken"]

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspector.errors import UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pandas as pd

    from inspector.render.document import Document
    from inspector.shape_table.rows import ShapeRow, ShapeSummary, ShapeTable
    from inspector.source.catalogue import Preset


class Result(ABC):
    """An answer as a document, as a JSON envelope and as flat records; every format is made of one of these.

    The formats are imported when they are asked for: `--format json` must not wait for a template engine.
    """

    __slots__ = ()

    @abstractmethod
    def document(self) -> Document:
        """The answer as blocks that any format can print."""

    @abstractmethod
    def envelope(self) -> dict[str, Any]:
        """The answer as JSON-ready values, `schema` first."""

    @abstractmethod
    def records(self) -> list[dict[str, object]]:
        """The answer as flat rows, all with the same keys."""

    def to_frame(self) -> pd.DataFrame:
        """A pandas data frame, one line per record."""
        import pandas as pd

        return pd.DataFrame(self.records())

    def to_text(self, *, encoding: str = "utf-8", lang: str = "en") -> str:
        """Aligned plain text, never cut. lang: of what is said, here and below: "en" or "zh"."""
        from inspector.render.plain import text

        with spoken(lang):
            return text(self.document(), encoding=encoding)

    def to_terminal(
        self, *, width: int | None = None, color: bool = True, encoding: str = "utf-8", lang: str = "en"
    ) -> str:
        """Text for a person at a terminal of `width` columns."""
        from inspector.render.terminal import terminal

        with spoken(lang):
            return terminal(self.document(), width=width, color=color, encoding=encoding)

    def to_markdown(self, *, lang: str = "en") -> str:
        """GitHub-flavoured Markdown."""
        from inspector.render.markdown import markdown

        with spoken(lang):
            return markdown(self.document())

    def to_html(self, *, lang: str = "en") -> str:
        """A page that opens from disk and needs nothing else."""
        from inspector.render.html import page

        with spoken(lang):
            return page(self.document())

    def to_csv(self) -> str:
        """Flat records below a header."""
        from inspector.render.csv import csv

        return csv(self.records())

    def to_json(self) -> str:
        """The envelope: the same input and versions give the same bytes, and all of them are ASCII."""
        schema, rest = {"schema": self.envelope()["schema"]}, self.envelope()
        return json.dumps(schema | {key: _sorted(rest[key]) for key in sorted(rest)}, indent=2, allow_nan=False) + "\n"

    def _repr_html_(self) -> str:
        from inspector.render.html import fragment

        return fragment(self.document())


@dataclass(frozen=True, slots=True, repr=False)
class Shapes(Result):
    """Shapes of one model, in one run or (`attention="eager,sdpa"`) in several.

    >>> import inspector
    >>> inspector.shapes("gpt2").summary.parameters  # doctest: +SKIP
    124439808
    """

    tables: tuple[ShapeTable, ...]

    @property
    def table(self) -> ShapeTable:
        """The table of the first run."""
        return self.tables[0]

    @property
    def rows(self) -> tuple[ShapeRow, ...]:
        """The rows of all runs, one run after another."""
        return tuple(row for table in self.tables for row in table.rows)

    @property
    def summary(self) -> ShapeSummary:
        """The counts; of several runs, added up."""
        from inspector.reporting.envelope import combined

        return combined([table.summary for table in self.tables])

    def document(self) -> Document:
        from inspector.reporting.views import shapes

        return shapes(self.tables)

    def envelope(self) -> dict[str, Any]:
        from inspector.reporting.envelope import shapes

        return shapes(self.tables)

    def records(self) -> list[dict[str, object]]:
        from inspector.reporting.envelope import records

        return records(self.tables)

    def __repr__(self) -> str:
        from inspector.render.escape import visible
        from inspector.reporting.words import counted

        name, runs = visible(self.table.model.name), " and ".join(table.scenario.attention for table in self.tables)
        counts = f"{counted(len(self.rows), 'row')}, {counted(self.summary.unknown, 'unknown op')}"
        return f"<Shapes of {name}, {runs}: {counts}>"


@dataclass(frozen=True, slots=True, repr=False)
class Models(Result):
    """The models that are known by name.

    >>> import inspector
    >>> "gpt2" in inspector.models().names
    True
    """

    presets: tuple[Preset, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(preset.name for preset in self.presets)

    def document(self) -> Document:
        from inspector.reporting.catalogue import document

        return document(self.presets)

    def envelope(self) -> dict[str, Any]:
        from inspector.reporting.catalogue import envelope

        return envelope(self.presets)

    def records(self) -> list[dict[str, object]]:
        from inspector.reporting.catalogue import records

        return records(self.presets)

    def __repr__(self) -> str:
        return f"<Models: {len(self.presets)} models>"


def spoken(lang: str) -> AbstractContextManager[None]:
    """What is said inside is said in this language: "en", or "zh" ("zh-CN" is the same)."""
    from inspector.messages import LANGUAGES, speaking

    named = {tag.lower(): code for code, tag in LANGUAGES.items()}
    code = named.get(lang.lower().replace("_", "-"), lang)
    if code not in LANGUAGES:
        raise UsageError(f"there is no language {lang!r}", hint=f"there is {', '.join(LANGUAGES)}")
    return speaking(code)


def _sorted(value: Any) -> Any:
    """The value with sorted keys; numbers that JSON cannot say (`-inf`) as text."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_sorted(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value
