"""Two runs held against each other: another implementation, or the same model under other settings."""

from __future__ import annotations

__all__ = ["Versus", "against", "compare"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from inspector.api.results import Result
from inspector.errors import UsageError
from inspector.records import Scenario

if TYPE_CHECKING:
    from inspector.render.document import Document
    from inspector.source.prepared import Prepared
    from inspector.verification.against.report import AgainstReport, AgainstRow
    from inspector.verification.verify import Running

Progress = Callable[[str], None]
_EXITS = {"pass": 0, "fail": 1, "incomplete": 3}
_WORST = ("fail", "incomplete", "pass")


@dataclass(frozen=True, slots=True, repr=False)
class Versus(Result):
    """What came of holding two runs, or several pairs of them, against each other.

    >>> import inspector
    >>> found = inspector.parity("gpt2", twin=True, compare="eager,sdpa")  # doctest: +SKIP
    >>> found.verdict, found.first_failure  # doctest: +SKIP
    ('pass', None)

    reports: one for each pair; titles: what each compares. every: show every stage by itself in text too.
    """

    reports: tuple[AgainstReport, ...]
    titles: tuple[str, ...]
    every: bool = False

    @property
    def rows(self) -> tuple[AgainstRow, ...]:
        """One row per stage, in reading order, of all pairs."""
        return tuple(row for report in self.reports for row in report.rows)

    @property
    def verdict(self) -> str:
        """`pass`, `fail`, or `incomplete` where something was not compared: the worst of all pairs."""
        found = {report.verdict for report in self.reports}
        return next(verdict for verdict in _WORST if verdict in found)

    @property
    def first_failure(self) -> AgainstRow | None:
        """The first stage that diverges."""
        return next((row for report in self.reports for row in report.failures), None)

    @property
    def exit_code(self) -> int:
        """0 pass · 1 fail · 3 incomplete."""
        return _EXITS[self.verdict]

    def document(self) -> Document:
        from inspector.reporting.versus_view import document

        return document(self.reports, self.titles, every=self.every)

    def envelope(self) -> dict[str, Any]:
        from inspector.reporting.versus_view import envelope

        return envelope(self.reports, self.titles)

    def records(self) -> list[dict[str, object]]:
        from inspector.reporting.versus_view import records

        return records(self.reports, self.titles)

    def __repr__(self) -> str:
        from inspector.render.escape import visible

        return f"<Versus of {visible(', '.join(self.titles))}: {self.verdict}>"


def against(
    model: Any,
    other: Any,
    inputs: Any,
    scenario: Scenario,
    weights: str | None,
    *,
    twin: bool,
    progress: Progress | None,
) -> tuple[AgainstReport, str]:
    """Another implementation, with the weights of the first in it, on the same tokens."""
    from inspector.source.prepared import prepare
    from inspector.tracing.run import at_fault, unchanged
    from inspector.tracing.steady import require_steady
    from inspector.verification.against.run import against as held_against

    one = _prepared(model, inputs, scenario, weights, twin=twin, progress=progress)
    two = prepare(other, None, replace(scenario, padding="none"), None)
    if not _takes_padding(two) and scenario.padding != "none":
        one = replace(one, scenario=replace(one.scenario, padding="none"), notes=(*one.notes, _UNPADDED))
    two = replace(two, scenario=one.scenario)
    if progress:
        progress("comparing stage by stage")
    running = _running(two, like=one)
    with at_fault(two.subject, f"running on what {one.subject.name} reads"):
        with unchanged(two.module):
            notes = require_steady(two.module, running.inputs)
        report = held_against(_running(one), running)
    return _noted(report, one.notes, notes), f"{one.subject.name} and {two.subject.name}"


def _noted(report: AgainstReport, *notes: tuple[str, ...]) -> AgainstReport:
    """With what there is to say of the models, once."""
    return replace(report, notes=tuple(dict.fromkeys(chain(*notes, report.notes))))


_UNPADDED = "no padding: the other implementation takes no attention_mask"


def compare(
    model: Any,
    settings: str | Sequence[str],
    inputs: Any,
    scenario: Scenario,
    weights: str | None,
    *,
    twin: bool,
    progress: Progress | None,
) -> list[tuple[AgainstReport, str]]:
    """The same model under the first setting and under each of the others: kernels, formats, devices, modes, caches."""
    names = _settings(settings)
    if set(names) == {"prefill", "decode"}:
        return _decoding(model, inputs, scenario, weights, twin=twin, progress=progress)
    if set(names) == {"dynamic", "static"}:
        return _caches(model, inputs, scenario, weights, twin=twin, progress=progress)
    from inspector.verification.against.run import compare as compared

    field = _field(names)
    runs = [
        _prepared(model, inputs, _under(scenario, field, name), weights, twin=twin, progress=progress) for name in names
    ]
    first = runs[0]
    return [
        (_noted(compared(_running(first), _running(run)), first.notes, run.notes), f"{names[0]} and {name}")
        for run, name in zip(runs[1:], names[1:], strict=True)
    ]


def _settings(settings: str | Sequence[str]) -> list[str]:
    given = settings.split(",") if isinstance(settings, str) else list(settings)
    names = list(dict.fromkeys(name.strip() for name in given if name.strip()))
    if len(names) < 2:
        raise UsageError(f"two settings are compared, but got {settings!r}", hint="eager,sdpa or float32,bfloat16")
    return names


def _field(names: Sequence[str]) -> str:
    """Which part of a scenario all of the settings are of."""
    kinds = {_kind(name) for name in names}
    if len(kinds) > 1:
        raise UsageError(f"settings of one kind are compared, but got {', '.join(names)}")
    return kinds.pop()


def _under(scenario: Scenario, field: str, name: str) -> Scenario:
    changed: dict[str, Any] = {field: name}
    return replace(scenario, **changed)


def _kind(name: str) -> str:
    if name.startswith(("float", "bfloat", "fp", "bf", "half")):
        return "dtype"
    return "device" if name.partition(":")[0] in ("cpu", "cuda", "mps", "xpu") else "attention"


def _decoding(
    model: Any, inputs: Any, scenario: Scenario, weights: str | None, *, twin: bool, progress: Progress | None
) -> list[tuple[AgainstReport, str]]:
    from inspector.verification.against.cache import decode_steps

    found = _prepared(model, inputs, scenario, weights, twin=twin, progress=progress)
    reports = decode_steps(lambda asked: _running(replace(found, scenario=asked)), found.scenario)
    return [
        (
            _noted(one, found.notes),
            f"the whole forward and a step of {one.scenarios[1].seq} after {one.scenarios[1].past}",
        )
        for one in reports
    ]


_ROOM = 5
"""Slots of a static cache that stay empty: nobody may see them."""


def _caches(
    model: Any, inputs: Any, scenario: Scenario, weights: str | None, *, twin: bool, progress: Progress | None
) -> list[tuple[AgainstReport, str]]:
    """A cache of fixed size against one that grows: a whole forward, and the step that reads the last token."""
    from inspector.source.inputs import accepted
    from inspector.verification.against.layout import Room
    from inspector.verification.against.run import against as held_against

    found = _prepared(model, inputs, scenario, weights, twin=twin, progress=progress)
    total = found.scenario.past + found.scenario.seq
    names, config, size = accepted(found.module), getattr(found.module, "config", None), total + _ROOM
    steps = (
        [found.scenario]
        if found.scenario.past
        else [found.scenario, found.scenario.resized(scenario.batch, 1, total - 1)]
    )
    pairs = []
    for step in steps:
        grows = _running(replace(found, scenario=step))
        room = partial(_with_room, grows.inputs, config, names, size)
        report = held_against(replace(grows, inputs=room), grows, weights="keep", window=Room(size))
        title = f"a static cache of {size} slots and a dynamic one, {step.seq} new tokens after {step.past}"
        pairs.append((_noted(report, found.notes), title))
    return pairs


def _with_room(
    inputs: Callable[[], Mapping[str, Any]], config: Any, names: tuple[str, ...], size: int
) -> dict[str, Any]:
    from inspector.source.caches import with_static_cache

    return with_static_cache(inputs(), config, names, size)


def _prepared(
    model: Any, inputs: Any, scenario: Scenario, weights: str | None, *, twin: bool, progress: Progress | None
) -> Prepared:
    from inspector.api.checking import steady
    from inspector.source.prepared import prepare

    if progress:
        progress("building the model")
    found = prepare(model, inputs, scenario, weights, twin=twin)
    return replace(found, notes=(*found.notes, *steady(found)))


def _running(found: Prepared, like: Prepared | None = None) -> Running:
    """The model, ready to be run; on the inputs of another one, by the names that it has for them."""
    from inspector.tracing.run import model_info
    from inspector.verification.verify import Running

    inputs = found.inputs if like is None else lambda: _renamed(found.module, like.inputs())
    info = replace(model_info(found.subject, found.module), model_type=found.model_type)
    return Running(found.module, inputs, found.scenario, info, found.subject.claims)


def _renamed(module: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """What a forward takes of the inputs, by name; the tokens, and inputs that somebody declared, else by place."""
    from inspector.source.inputs import accepted

    names = accepted(module)
    given = {name: value for name, value in inputs.items() if name in names}
    placed = ["input_ids"] if "input_ids" in inputs else list(inputs)
    left = [inputs[name] for name in placed if name not in given]
    return {**dict(zip((name for name in names if name not in given), left, strict=False)), **given}


def _takes_padding(found: Prepared) -> bool:
    from inspector.source.inputs import accepted

    return "attention_mask" in accepted(found.module)
