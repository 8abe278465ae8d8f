"""The flag sweep: `python tests/survey/flags.py [TYPE ...] -o FILE [--jobs N] [--minutes M]`.

Each switch of each small config is thrown once. What then happens is one of four things:

changed     a fact, or a row of the diff, says so
no effect   the same weights give the same answers, to the bit, in every reading, and there are no other weights, nor
            others shared
invalid     the config or the model refuses it
unseen      the answers are others, and neither a fact nor a row says so: a fault of inspector

A reading is one way to run the model: `READINGS`. Without types: all that the committed coverage traces, the most
unlike first. Resumable: FILE holds one line per type, and a type that was found with these versions is not asked again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
sys.path.insert(0, str(Path(__file__).parent))

import flips as switches
from reads import differing, reads

from inspector.api.fingerprint import versions
from inspector.api.survey_pool import Lost, answers
from inspector.records import Scenario
from inspector.vocabulary import UNKNOWN

MEASURED = Path(__file__).parents[2] / "reports" / "measured"
COUNTS = ("cost.", "cache.", "model.parameters")
"""What the facts begin with that are sums: they tell that something is another, and not what."""

DIFFERENT = ("changed", "moved", "only-a", "only-b", "re-expressed")


class Reading(NamedTuple):
    """One way to run a model, and how it is traced then."""

    name: str
    run: Scenario
    trace: Scenario


RUN = Scenario(2, 31, 0, "eager", "float32", "cpu", weights="random")
READINGS = (
    Reading("prefill", RUN, Scenario()),
    Reading("bfloat16", replace(RUN, dtype="bfloat16"), Scenario()),
    Reading("decode", replace(RUN, seq=1, past=30), Scenario(past=16, seq=1)),
    Reading("head", replace(RUN, head=True), Scenario(head=True)),
)


class Small:
    """A small model of a config: its module, its answers to the same tokens, and its trace when it is asked for."""

    def __init__(self, config: Any, reading: Reading = READINGS[0], weights: dict[str, Any] | None = None) -> None:
        import torch

        from inspector.source.build import text_config
        from inspector.source.claims import claims_of
        from inspector.source.configured import ConfigSubject
        from inspector.source.tiny import randomise
        from inspector.tracing.run import outputs_of

        claims = claims_of(text_config(config), {})
        self.subject = ConfigSubject("twin", config.model_type, "a twin", claims, (), None, config)
        self.reading = reading
        settled, _ = self.subject.settle(reading.run)
        with reads() as self.reads:
            self.module = self.subject.make(settled)
            randomise(self.module, 0)
            self._take(weights or {})
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)  # a forward may draw: noise that it removes again, say
                output = self.module(**self.subject.inputs(self.module, settled))
        self.head = bool(settled.head)
        self.shapes = {name: tuple(value.shape) for name, value in self.module.state_dict().items()}
        self.own = len(list(self.module.parameters()))
        self.answers = {name: value for name, value in outputs_of(output) if value.is_floating_point()}

    def _take(self, weights: dict[str, Any]) -> None:
        """The other's weights, wherever they fit."""
        own = self.module.state_dict()
        fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
        self.module.load_state_dict(fitting, strict=False)

    def trace(self) -> Any:
        from inspector.api.twins import on_meta_or_cpu

        return on_meta_or_cpu(self.subject, self.reading.trace)


class Known:
    """What is said of a trace: its facts, and its side of a diff."""

    def __init__(self, small: Small) -> None:
        from inspector.comparison.sides import side_of
        from inspector.fact_sheet.scene import Scene
        from inspector.fact_sheet.sheet import fact_sheet

        trace = small.trace()
        scene = Scene(trace)
        sheet = fact_sheet(trace, scene)
        self.unknown = sum(part.path == UNKNOWN for part in scene.naming.parts)
        self.facts = {(fact.id, fact.layers): fact.value for fact in sheet.facts}
        self.side = side_of(trace)

    def differs(self, other: Known) -> list[str]:
        """The facts that are others; where these are mere counts, the rows of the diff too, and first."""
        from inspector.comparison.judge import compare

        keys = self.facts.keys() | other.facts.keys()
        found = {id for id, layers in keys if self.facts.get((id, layers)) != other.facts.get((id, layers))}
        telling = sorted(id for id in found if not id.startswith(COUNTS))
        if not telling:
            rows = compare(self.side, other.side).rows
            telling = sorted({f"row {row.path}" for row in rows if row.status in DIFFERENT})
        return [*telling, *sorted(id for id in found if id.startswith(COUNTS))]


class Bases:
    """The config whose switches are thrown, in each reading, as it is asked for."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self._small: dict[str, Small | None] = {"prefill": Small(config)}
        self._known: dict[str, Known] = {}
        self._beside: dict[str, Bases] = {}

    def small(self, reading: Reading) -> Small | None:
        """None where it does not run so, or is the same as in prefill: its head is on already."""
        if reading.name not in self._small:
            self._small[reading.name] = self._made(reading)
        return self._small[reading.name]

    def _made(self, reading: Reading) -> Small | None:
        if reading.run.head and self._small["prefill"].head:
            return None
        try:
            return Small(self.config, reading)
        except Exception:  # an encoder has no step of decoding, a model may have no head
            return None

    def beside(self, flip: switches.Flip) -> Bases:
        """The ones that a switch is thrown in: these, unless it needs something besides. Kept for the next one."""
        if not flip.beside:
            return self
        key = repr((flip.part, flip.beside))
        if key not in self._beside:
            self._beside = {key: Bases(switches.prepared(self.config, flip))}
        return self._beside[key]

    def known(self, reading: Reading) -> Known:
        same = next(one for one in READINGS if one.trace == reading.trace)
        if same.name not in self._known:
            self._known[same.name] = Known(self.small(same))
        return self._known[same.name]


def swept(model_type: str) -> Iterator[dict[str, Any]]:
    """What each switch of a type does."""
    from inspector.source import resolve, subject_of
    from inspector.source.build import quiet
    from inspector.source.tiny import twin_of

    with quiet():
        twin, _ = twin_of(subject_of(resolve(f"model_type:{model_type}")), Scenario())
        bases = Bases(switches.exercised(twin.config))
        for flip in switches.flips(bases.config):
            yield thrown(bases, flip)


def thrown(bases: Bases, flip: switches.Flip) -> dict[str, Any]:
    """What one switch does: in the first reading that shows it, else none."""
    row = {"key": flip.name, "old": flip.old, "new": flip.new}
    row |= {name: dict(said) for name, said in (("along", flip.along), ("beside", flip.beside)) if said}
    places, name = dict[str, str](), "config"
    try:
        bases = bases.beside(flip)
        config = switches.thrown(bases.config, flip)
        keys = differing(bases.config, config)
        for reading in READINGS:
            if (base := bases.small(reading)) is None:
                continue
            name, read = reading.name, {key: base.reads[key] for key in sorted(keys) if key in base.reads}
            places |= read
            if name != "prefill" and (not read or switches.is_mute(flip)):
                continue
            other = Small(config, reading, base.module.state_dict())
            if moved := _moved(base, other):
                return row | _seen(bases, other, reading, moved)
    except Exception as error:  # a switch may break transformers anywhere
        return row | {"result": "invalid", "why": _said(error), "reading": name}
    return row | {"result": "no effect", "why": _silence(config, flip, keys, places)}


def _moved(base: Small, other: Small) -> list[str]:
    """The answers that both give and that are not the same; `weights` where there are others."""
    import torch

    both = [name for name in base.answers if name in other.answers]
    moved = [name for name in both if not torch.equal(base.answers[name], other.answers[name])][:4]
    return moved or ["weights"] * ((base.shapes, base.own) != (other.shapes, other.own))


def _seen(bases: Bases, other: Small, reading: Reading, moved: list[str]) -> dict[str, Any]:
    """Whether a fact or a row says that answers moved."""
    found: dict[str, Any] = {"reading": reading.name, "moved": moved}
    try:
        before, after = bases.known(reading), Known(other)
        seen = before.differs(after)
    except Exception as error:  # one that runs and cannot be described is a fault of inspector
        return {"result": "unseen", "why": _said(error), **found}
    if after.unknown > before.unknown:
        found["unknown"] = after.unknown - before.unknown
    return {"result": "changed" if seen else "unseen", "seen": seen[:6], **found}


def _silence(config: Any, flip: switches.Flip, keys: set[str], places: dict[str, str]) -> str:
    """Why a switch does nothing, as far as it can be watched."""
    own = flip.key.partition(".")[0]
    own = config.attribute_map.get(own, own)
    if own not in keys:
        return "the config takes it back"
    if not places:
        return "no code of the run reads it"
    return f"read at {places.get(own) or next(iter(places.values()))}, with the same answers"


def _said(error: BaseException) -> str:
    """What was wrong in the first place, in one line."""
    from inspector.errors import InspectorError
    from inspector.source.build import first_line

    if isinstance(error, InspectorError):
        return (error.why or error.what).strip().partition("\n")[0][:200]
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {first_line(error)}"[:200]


def most_unlike_first(names: Iterable[str]) -> list[str]:
    """One of each family, then a second one of each, and so on; a family's names begin with one word.

    >>> most_unlike_first(["gemma", "gemma2", "llama", "llama4"])
    ['gemma', 'llama', 'gemma2', 'llama4']
    """
    families: dict[str, list[str]] = {}
    for name in sorted(names):
        families.setdefault(re.split(r"[^a-z]", name)[0], []).append(name)
    return [name for turn in itertools.zip_longest(*families.values()) for name in turn if name]


def traced() -> list[str]:
    """All types that the committed coverage traces."""
    rows = json.loads((MEASURED / "coverage.json").read_text("utf-8"))["rows"]
    return [row["model_type"] for row in rows if row["traced"]]


def read(file: Path) -> dict[str, dict[str, Any]]:
    """The lines of these versions, by type; the last one of a type counts."""
    lines = map(json.loads, file.read_text("utf-8").splitlines()) if file.exists() else ()
    return {line["type"]: line for line in lines if line["tool"] == versions()}


def lines(names: list[str], jobs: int, seconds: float) -> Iterator[dict[str, Any]]:
    """One line per type, as they are found."""
    import inspector.comparison.judge
    import inspector.comparison.sides
    import inspector.fact_sheet.sheet
    import inspector.source.tiny  # noqa: F401 - loaded before the copies are made

    for name, said in answers(_swept, names, jobs=jobs, seconds=seconds):
        lost = {"why": said.reason} if isinstance(said, Lost) else {}
        line = (said.last or {"flips": [], "seconds": seconds}) if isinstance(said, Lost) else said
        yield {"type": name, "tool": versions(), **line, **lost}


def _swept(name: str) -> Iterator[dict[str, Any]]:
    """All that is known so far, after each switch."""
    began, rows = time.monotonic(), list[dict[str, Any]]()

    def line(**more: str) -> dict[str, Any]:
        return {"flips": rows, "seconds": round(time.monotonic() - began, 1), **more}

    try:
        for row in swept(name):
            rows.append(row)
            yield line()
        yield line()
    except Exception as error:  # a type that does not run has no switches
        yield line(why=_said(error))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("types", nargs="*")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--sample", type=int, help="every n-th type, and one of each kind of attention")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=600, help="for each type")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after these no type is begun")
    asked = parser.parse_args()
    from inspector.source.types import sample

    until, found = time.monotonic() + 60 * asked.minutes, read(asked.output)
    all_types = sample(traced(), asked.sample) if asked.sample else traced()
    left = [name for name in asked.types or most_unlike_first(all_types) if name not in found]
    with asked.output.open("a", encoding="utf-8") as file:
        for line in lines(left, asked.jobs, asked.seconds):
            file.write(json.dumps(line) + "\n")
            file.flush()
            counts = dict(Counter(row["result"] for row in line["flips"]))
            print(line["type"], counts, line["seconds"], line.get("why", ""), file=sys.stderr, flush=True)
            if time.monotonic() > until:
                break
    return 0


if __name__ == "__main__":
    sys.exit(main())
