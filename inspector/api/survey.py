"""The survey: what is known of every model type of transformers that reads token ids."""

from __future__ import annotations

__all__ = ["Coverage", "coverage"]

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.api.files import write_whole
from inspector.api.fingerprint import sources_digest, versions
from inspector.api.results import Result
from inspector.api.store import default_directory
from inspector.api.survey_baseline import read, worse
from inspector.api.survey_row import Exam, surveying
from inspector.errors import UsageError
from inspector.reporting.coverage_rows import Row, Worse

if TYPE_CHECKING:
    from inspector.render.document import Document

_GZIP = 31

SECONDS = 120
"""How long one type may take."""


@dataclass(frozen=True, slots=True, repr=False)
class Coverage(Result):
    """One row per model type, and what is worse than it was.

    >>> coverage(["gpt2"], trace_cache=False).rows[0].role_percent
    100.0

    compared: how many rows were held against a baseline; None without one.
    """

    rows: tuple[Row, ...]
    worse: tuple[Worse, ...] = ()
    compared: int | None = None

    @property
    def exit_code(self) -> int:
        """0 · 1 a row is worse than in the baseline · 3 nothing was traced, or nothing compared."""
        if self.worse:
            return 1
        return 0 if any(row.traced for row in self.rows) and self.compared != 0 else 3

    def document(self) -> Document:
        from inspector.reporting.coverage import document

        return document(self.rows, self.worse, self.compared)

    def envelope(self) -> dict[str, Any]:
        from inspector.reporting.coverage import envelope

        tool = {name: version for name, version in versions().items() if name != "python"}
        return envelope(self.rows, self.worse, self.compared, tool)

    def records(self) -> list[dict[str, object]]:
        from inspector.reporting.coverage import records

        return records(self.rows)

    def __repr__(self) -> str:
        traced = sum(row.traced for row in self.rows)
        return f"<Coverage: {traced} of {len(self.rows)} types traced, {len(self.worse)} worse>"


def coverage(
    types: Sequence[str] = (),
    *,
    sample: int | None = None,
    jobs: int | None = None,
    seconds: float = SECONDS,
    baseline: str | os.PathLike[str] | None = None,
    exam: Exam | None = None,
    trace_cache: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Coverage:
    """Make a small twin of each model type, and say how much of it is traced, named and verified.

    >>> coverage(["bert"], trace_cache=False)
    <Coverage: 1 of 1 types traced, 0 worse>

    types: all that read token ids unless given. sample: only every n-th, and one of each kind of attention.
    jobs: processes at once, by default one per core. seconds: how long one type may take.
    baseline: a file that this wrote as JSON: rows that are worse than there are named.
    exam: holds roles against names that people gave; without, that column stays empty.
    trace_cache: a row that was found by the same versions and the same inspector is not found out again.
    """
    before = read(baseline) if baseline is not None else None
    names = _names(types, sample, progress)
    store = _Store(exam) if trace_cache else None
    rows = {name: row for name in names if store and (row := store.get(name))}
    for name, row in _found([name for name in names if name not in rows], jobs, seconds, exam):
        rows[name] = row
        if store and not row.reason.startswith(_LOST):
            store.put(row)
        if progress:
            progress(f"{len(rows):,} of {len(names):,} types surveyed, the last was {name}")
    ordered = tuple(rows[name] for name in names)
    found, compared = worse(ordered, before) if before is not None else ((), None)
    return Coverage(ordered, tuple(found), compared)


_LOST = "the row was not finished: "


def _found(names: Sequence[str], jobs: int | None, seconds: float, exam: Exam | None) -> Iterator[tuple[str, Row]]:
    from inspector.api.survey_pool import Lost, answers

    if not names:
        return
    _load()
    at_once = jobs or os.cpu_count() or 1
    for name, row in answers(_Asking(exam), names, jobs=at_once, seconds=seconds):
        yield name, replace(row.last or Row(name), reason=f"{_LOST}{row.reason}") if isinstance(row, Lost) else row


@dataclass(frozen=True)
class _Asking:
    exam: Exam | None

    def __call__(self, name: str) -> Iterator[Row]:
        return surveying(name, self.exam)


def _load() -> None:
    """What every process needs, loaded once before the copies are made."""
    import inspector.fact_sheet.sheet
    import inspector.source.tiny
    import inspector.verification.readings
    import inspector.verification.verify  # noqa: F401


def _names(types: Sequence[str], sample: int | None, progress: Callable[[str], None] | None) -> tuple[str, ...]:
    if types and sample:
        raise UsageError("a sample is one of all types", hint="leave the types out, or --sample")
    from inspector.source.nearest import model_types, nearest_types

    for name in types:
        if name not in model_types():
            raise UsageError(f"transformers has no model type {name!r}", why=nearest_types(name))
    if types:
        return tuple(dict.fromkeys(types))
    if progress:
        progress("looking which of all model types read token ids (half a minute)")
    from inspector.source.types import reading_ids
    from inspector.source.types import sample as sampled

    every = reading_ids()
    return sampled(every, sample) if sample else every


class _Store:
    """Rows that were found before, by the same versions, the same inspector and the same exam."""

    def __init__(self, exam: Exam | None) -> None:
        key = {"versions": versions(), "sources": sources_digest(), "exam": getattr(exam, "digest", exam is not None)}
        self._sources = key["sources"]
        self._digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]

    def get(self, name: str) -> Row | None:
        try:
            found = json.loads(zlib.decompress(self._path(name).read_bytes(), wbits=_GZIP))
            lists = {name: tuple(found[name]) for name in ("conflicts", "explained", "label_mismatches")}
            return Row(**{**found, **lists})
        except (OSError, ValueError, TypeError, KeyError, zlib.error):  # absent, torn, foreign: it is found out again
            return None

    def put(self, row: Row) -> None:
        if sources_digest() != self._sources:  # it was found by code that is no longer there
            return
        with suppress(OSError):  # a full or read-only disk costs time, not the answer
            path = self._path(row.model_type)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, zlib.compress(json.dumps(asdict(row)).encode(), wbits=_GZIP))

    def _path(self, name: str) -> Path:
        """Beside the traces, and named as they are: what clears or bounds that folder does so to rows too."""
        return default_directory() / f"coverage-{self._digest}-{name}.json.gz"
