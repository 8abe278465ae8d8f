"""What a parity run gave before: rho of each stage, and failures that are excused for a while, each with a reason.

    {"schema": "inspector/parity-baseline/1",
     "tool": {...}, "models": [{..., "scenario": {...}}],
     "rows": [{"stage": "layer 0 attention.scores", "rho": 0.167}],
     "waivers": [{"stage": "layer * mlp.activation", "reason": "...", "expires": "transformers 5.30"}]}

The waivers are written by hand: a stage is named as in a report, or by a pattern of such names.
"""

from __future__ import annotations

__all__ = ["Baseline", "Waiver", "apply", "identified", "load", "save"]

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from inspector.errors import SchemaError, UsageError
from inspector.stage_graph.fields import model_fields
from inspector.verification.report import Report, Row

SCHEMA = "inspector/parity-baseline/1"

_NOTICED = 0.05
"""Below it, a rho that doubles is still far from anything."""

_NAMED = 5


class Waiver(NamedTuple):
    """A failure that is known. expires: the version from which it counts again, "transformers 5.30" or our own."""

    stage: str
    reason: str
    expires: str


@dataclass(frozen=True)
class Baseline:
    """What a file holds. rows: stage -> rho, None where none was measured. model: of which run, as in a report."""

    model: dict[str, Any]
    rows: dict[str, float | None]
    waivers: tuple[Waiver, ...] = ()


def load(path: str | os.PathLike[str]) -> Baseline:
    """Read a baseline. UsageError where there is no such file, SchemaError where it is something else."""
    file = Path(path)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        hint = "write one with --update-baseline" if isinstance(error, FileNotFoundError) else ""
        raise UsageError(
            f"cannot read the baseline {file.name}", why=error.strerror or str(error), hint=hint
        ) from error
    except ValueError as error:
        raise SchemaError(f"{file.name} is no baseline", why=f"it is not JSON: {error}") from error
    try:
        if document["schema"] != SCHEMA:
            raise SchemaError(f"{file.name} is no baseline", why=f"it is {document['schema']!r}, not {SCHEMA!r}")
        waivers = tuple(Waiver(*(str(one[key]) for key in Waiver._fields)) for one in document["waivers"])
        rows = {str(row["stage"]): _number(row["rho"]) for row in document["rows"]}
        found = Baseline(dict(document["models"][0]), rows, waivers)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise SchemaError(f"{file.name} is no baseline", why=f"{type(error).__name__}: {error}") from error
    for waiver in found.waivers:
        _check(waiver, file.name)
    return found


def save(path: str | os.PathLike[str], report: Report, waivers: Sequence[Waiver] = ()) -> None:
    """Write the baseline of a run beside the file and then over it: nobody ever reads half of one."""
    document = {
        "schema": SCHEMA,
        "tool": dict(report.tool),
        "models": [model_fields(report.model, report.scenario)],
        "rows": [{"stage": stage, "rho": _rounded(row.rho)} for stage, row in identified(report.rows) if _kept(row)],
        "waivers": [waiver._asdict() for waiver in waivers],
    }
    target = Path(path).resolve()  # a link stays a link
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        beside.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        beside.replace(target)
    except OSError as error:
        raise UsageError(f"cannot write the baseline {target.name}", why=error.strerror or str(error)) from error
    finally:
        beside.unlink(missing_ok=True)


def apply(report: Report, baseline: Baseline, *, name: str = "the baseline") -> Report:
    """The report with its waived failures excused, and with notes on what is not as it was."""
    _require_same(report, baseline, name)
    versions = dict(report.tool)
    live = [waiver for waiver in baseline.waivers if not _expired(waiver, versions)]
    rows, notes, used = list[Row](), list[str](), set[Waiver]()
    for stage, row in identified(report.rows):
        matching = [waiver for waiver in baseline.waivers if fnmatchcase(stage, waiver.stage)]
        used.update(matching)
        rows.append(_judged(row, matching, live))
    notes += _drifted(report, baseline, name)
    stages = {stage for stage, _ in identified(report.rows)}
    if gone := [stage for stage in baseline.rows if stage not in stages]:
        notes.append(f"stages of {name} that did not run: {_some(gone)}")
    if idle := [waiver.stage for waiver in baseline.waivers if waiver not in used]:
        notes.append(f"waivers of {name} that excuse no stage of this run: {_some(idle)}")
    return replace(report, rows=tuple(rows), notes=(*notes, *report.notes))


def identified(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Each stage with its name, which is its alone: the second of one name in a layer is `#2`."""
    seen: Counter[str] = Counter()
    for row in rows:
        seen[row.where] += 1
        yield row.where if seen[row.where] == 1 else f"{row.where} #{seen[row.where]}", row


def _judged(row: Row, matching: Sequence[Waiver], live: Sequence[Waiver]) -> Row:
    """A failure with what its waiver says: excused and listed, or a failure again."""
    if row.verdict != "fail" or not matching:
        return row
    waiver = next((waiver for waiver in matching if waiver in live), matching[0])
    if waiver in live:
        return replace(row, verdict="exempt", finding=f"waived until {waiver.expires}: {waiver.reason} ({row.culprit})")
    return replace(row, culprit=f"{row.culprit}; its waiver ({waiver.reason}) expired with {waiver.expires}")


def _drifted(report: Report, baseline: Baseline, name: str) -> Iterator[str]:
    for stage, row in identified(report.rows):
        before, now = baseline.rows.get(stage), row.rho
        if before is not None and now is not None and now > _NOTICED and now > 2 * before and row.verdict != "fail":
            yield f"rho of {stage} is {now:.3g}, more than twice the {before:.3g} of {name}"


def _require_same(report: Report, baseline: Baseline, name: str) -> None:
    """Figures of another run say nothing about this one."""
    here = model_fields(report.model, report.scenario)
    before = {**baseline.model, **baseline.model.get("scenario", {})}
    differing = [
        f"{key} {before.get(key)} against {value}"
        for key, value in {**here, **here["scenario"]}.items()
        if key != "scenario" and before.get(key) != value
    ]
    if differing:
        raise UsageError(
            f"{name} is of another run", why=_some(differing), hint="use one file for each run, or --update-baseline"
        )


_VERSION = re.compile(r"(?:(?P<package>[A-Za-z]\w*) +)?(?P<version>\d+(?:\.\d+)*)")


def _check(waiver: Waiver, file: str) -> None:
    if not waiver.reason.strip():
        raise SchemaError(f"the waiver of {waiver.stage} in {file} gives no reason")
    match = _VERSION.fullmatch(waiver.expires)
    if match is None or match["package"] not in (None, "inspector", "torch", "transformers"):
        raise SchemaError(
            f"the waiver of {waiver.stage} in {file} does not say when it expires",
            why=f'"transformers 5.30" or a version of inspector is needed, but it is {waiver.expires!r}',
        )


def _expired(waiver: Waiver, versions: dict[str, str]) -> bool:
    match = _VERSION.fullmatch(waiver.expires)
    assert match is not None
    installed = versions.get(match["package"] or "inspector", "")
    return bool(installed) and _release(installed) >= _release(match["version"])


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version: a preview of 5.30 counts as 5.30, and 5.30.0 too."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    found = [int(part) for part in numbers[0].split(".")] if numbers else []
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def _kept(row: Row) -> bool:
    return row.verdict not in ("fail", "exempt")


def _rounded(rho: float | None) -> float | None:
    """Three figures: another processor differs in the last bit, and the file would change for nothing."""
    return None if rho is None or not math.isfinite(rho) else float(f"{rho:.3g}")


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
