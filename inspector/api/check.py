"""The verb `check`: what has become of a model since it was locked, and whether that matters."""

from __future__ import annotations

__all__ = ["ArchitectureError", "Check", "assert_same_architecture", "check", "is_lock"]

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.api.asking import at_least
from inspector.api.lock import Lock, config_of, lock, locked, origin_of, trusts_files
from inspector.api.results import Result, spoken
from inspector.errors import InspectorError, UsageError
from inspector.records import Scenario
from inspector.stage_graph.export.lock import SCHEMA, Locked
from inspector.stage_graph.export.sizeless import standard

if TYPE_CHECKING:
    from inspector.comparison.changes import Row
    from inspector.comparison.held import Held
    from inspector.comparison.judge import Finding
    from inspector.comparison.rules import Severity
    from inspector.render.document import Document

ENDING = ".arch.json"
"""By which a lock is known among the files of a folder."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, repr=False)
class Check(Result):
    """What came of holding locks against their models.

    >>> import inspector
    >>> found = inspector.check("gpt2.arch.json")  # doctest: +SKIP
    >>> found.verdict, found.exit_code, found.findings  # doctest: +SKIP
    ('same', 0, ())

    held: one for each lock. every: show rows that are equal one by one.
    """

    held: tuple[Held, ...]
    every: bool = False

    @property
    def rows(self) -> tuple[Row, ...]:
        """The aligned parts of all locks, in dataflow order."""
        return tuple(row for one in self.held if one.comparison for row in one.comparison.rows)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the differences mean, the worst first."""
        return tuple(finding for one in self.held for finding in one.findings)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What differs in words, and after that of each lock how it stands."""
        from inspector.reporting.check_view import sentence

        said = tuple(finding.sentence for finding in self.findings if finding.severity != "cosmetic")
        return (*said, *map(sentence, self.held))

    @property
    def verdict(self) -> str:
        """`same`, `differs` or `unanswered`: of several locks the worst."""
        verdicts = {one.verdict for one in self.held}
        return next((verdict for verdict in ("unanswered", "differs", "same") if verdict in verdicts), "unanswered")

    @property
    def exit_code(self) -> int:
        """0 as locked, or nothing that counts · 1 a finding at or above `fail_on` · 3 could not answer."""
        from inspector.comparison.held import worst

        return worst(self.held)

    def document(self) -> Document:
        from inspector.reporting.check_view import document

        return document(self.held, every=self.every)

    def envelope(self) -> dict[str, Any]:
        from inspector.api.fingerprint import versions
        from inspector.reporting.check_view import envelope

        return envelope(self.held, {name: version for name, version in versions().items() if name != "python"})

    def records(self) -> list[dict[str, object]]:
        from inspector.reporting.check_view import records

        return records(self.held)

    def to_summary(self, max_bytes: int, *, lang: str = "en") -> str:
        """Markdown within so many bytes: what fails first, rows and then findings left out where there is no room."""
        from inspector.reporting.check_view import summary

        with spoken(lang):
            return summary(self.held, max_bytes)

    def __repr__(self) -> str:
        from inspector.render.escape import visible
        from inspector.reporting.words import counted

        names = ", ".join(visible(one.name or one.lock) for one in self.held)
        return f"<Check of {names}: {self.verdict}, {counted(len(self.findings), 'finding')}>"


class ArchitectureError(AssertionError):
    """A model is not as it was locked, or that could not be found out. result: all that is known."""

    def __init__(self, text: str, result: Check) -> None:
        super().__init__(text)
        self.result = result


def check(
    lock: Any,
    model: Any = None,
    inputs: Any = None,
    *,
    fail_on: Severity = "notable",
    update: bool = False,
    every: bool = False,
    seq: int | None = None,
    device: str | None = None,
    trace_cache: bool = True,
    progress: Progress | None = None,
) -> Check:
    """Run a model again and say what differs from its lock.

    >>> import inspector
    >>> inspector.check("gpt2.arch.json").verdict  # doctest: +SKIP
    'same'
    >>> inspector.check("gpt2.arch.json", my_gpt2).sentences  # doctest: +SKIP

    lock: a file, a folder of `*.arch.json`, several of them in a list, a Lock, or a document read from JSON.
    model: what to hold against one lock, with `inputs` as for `shapes`; without it, it is built from the config in the
        lock. It is run as the lock says: attention, number format, padding, head, prefill or decoding.
    fail_on: the least severity that is a failure: breaking, notable or cosmetic.
    update: write the lock anew. every: show equal rows one by one.
    seq: fewer tokens than the usual 16, for a model that cannot take those. device: where it has to run.

    Of one lock, what prevents an answer is raised; of several it is said of that lock, and the others are checked.
    """
    _require_severity(fail_on)
    several, locks = _locks(lock)
    if model is not None and len(locks) != 1:
        raise UsageError(
            f"a model is held against one lock, but got {len(locks)} locks",
            hint="leave the model out, or name one lock",
        )
    if model is None and inputs is not None:
        raise UsageError(
            "the config in a lock makes its own inputs", hint="leave inputs away, or name the model's code"
        )
    if update and not all(isinstance(one, (str, os.PathLike)) for one in locks):
        raise UsageError("a lock that is in no file cannot be updated", hint="give its file")
    seq = None if seq is None else at_least(1, seq=seq)
    ask = _Ask(model, inputs, fail_on, update, seq, device, trace_cache and trusts_files(), progress)
    return Check(tuple(_or_why(ask, one) if several else ask.held(one) for one in locks), every)


def assert_same_architecture(lock_or_model: Any, model: Any = None, inputs: Any = None, **options: Any) -> Check:
    """Do nothing where `check` finds nothing that counts, and else raise an AssertionError that says what differs.

    >>> import inspector
    >>> inspector.assert_same_architecture("gpt2.arch.json", my_gpt2)  # doctest: +SKIP
    >>> inspector.assert_same_architecture(my_gpt2, my_faster_gpt2)  # doctest: +SKIP

    lock_or_model: a lock, or a model, with the same `inputs`, that is locked first. The options are those of `check`.
    """
    __tracebackhide__ = True  # pytest then shows the line that asked
    then = lock_or_model
    if not isinstance(then, (Lock, Mapping, os.PathLike)) and not (isinstance(then, str) and is_lock(then)):
        run = {name: value for name, value in options.items() if name in ("seq", "device") and value}
        then = lock(then, inputs if not isinstance(then, str) else None, **run)
    result = check(then, model, inputs, **options)
    if result.exit_code:
        raise ArchitectureError(result.to_text().rstrip(), result)
    return result


def is_lock(name: str) -> bool:
    """Whether a name on the command line means a lock, or a folder of locks, and not a model.

    >>> is_lock("gpt2"), is_lock("gpt2.arch.json")
    (False, True)
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return not (path / "config.json").is_file() and any(path.glob(f"*{ENDING}"))
    if name.endswith(ENDING) or not path.is_file():
        return name.endswith(ENDING)
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    schema = document.get("schema") if isinstance(document, dict) else None
    return isinstance(schema, str) and schema.startswith(SCHEMA.rpartition("/")[0])


def _require_severity(fail_on: str) -> None:
    from inspector.comparison.rules import SEVERITIES

    if fail_on not in SEVERITIES:
        raise UsageError(f"there is no severity {fail_on!r}", hint=f"there is {', '.join(SEVERITIES)}")


def _locks(lock: Any) -> tuple[bool, list[Any]]:
    """Whether several were asked for, and all of them; a folder stands for the locks in it."""
    if isinstance(lock, Sequence) and not isinstance(lock, str):
        return True, [one for part in lock for one in _locks(part)[1]]
    if not isinstance(lock, (str, os.PathLike)) or not (folder := Path(lock).expanduser()).is_dir():
        return False, [lock]
    found = sorted(path for path in folder.glob(f"*{ENDING}") if path.is_file())
    if not found:
        raise InspectorError(f"there is no lock in the folder {folder.name}", why=f"none of its files ends in {ENDING}")
    return True, list(found)


@dataclass(frozen=True, slots=True)
class _Ask:
    """What is asked of each lock."""

    model: Any
    inputs: Any
    fail_on: Severity
    update: bool
    seq: int | None
    device: str | None
    stored: bool
    progress: Progress | None

    def held(self, lock: Any) -> Held:
        from inspector.comparison.held import Held
        from inspector.comparison.lock import compare_locked

        name = Path(lock).name if isinstance(lock, (str, os.PathLike)) else "the lock"
        then = _opened(lock)
        now = self._now(then, name)
        found = compare_locked(then.record, now.record)
        if self.update:
            Lock(now).save(Path(lock).expanduser())
        return Held(name, self.fail_on, then, now, found, updated=self.update)

    def _now(self, then: Locked, name: str) -> Locked:
        from inspector.api.traces import Source

        given = self.model is not None
        model = self.model if given else origin_of(then, name)
        weights = "none" if self._scenario(then).weights == "none" else "random"
        source = Source(model, self.inputs, weights=weights, stored=self.stored, progress=self.progress)
        return locked(source, self._scenario(then), config_of(model) if given else then.config)

    def _scenario(self, then: Locked) -> Scenario:
        """As the lock was made, on the usual sizes unless others are asked for."""
        asked = replace(then.record.scenario, head=then.head)
        asked = standard(asked.resized(asked.batch, self.seq or asked.seq, asked.past))
        if self.device in (None, "meta"):
            return asked
        return replace(asked, device=str(self.device), weights="random")


def _opened(lock: Any) -> Locked:
    if isinstance(lock, Lock):
        return lock.locked
    if isinstance(lock, (str, os.PathLike)):
        return Lock.load(Path(lock).expanduser()).locked
    return Lock.read(lock).locked


def _or_why(ask: _Ask, lock: Any) -> Held:
    """One of several locks: what prevents its check is no reason not to check the others."""
    from inspector.comparison.held import Held

    try:
        return ask.held(lock)
    except InspectorError as error:
        name = Path(lock).name if isinstance(lock, (str, os.PathLike)) else "the lock"
        return Held(name, ask.fail_on, error=error)
