"""The flag sweep: `python tests/survey/flags.py [TYPE ...] [-o FILE] [--jobs N]`.

Each switch of each small config is thrown once. What then happens is one of four things:

changed     a fact, or a row of the diff, says so
no effect   the same weights give the same answers, to the bit, and there are no other weights, nor others shared
invalid     the config or the model refuses it
unseen      the answers are others, and neither a fact nor a row says so: a fault of inspector

Resumable: FILE holds one line per type, and a type that is in it is not asked again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
sys.path.insert(0, str(Path(__file__).parent))

import flips as switches

from inspector.records import Scenario

RUN = Scenario(2, 31, 0, "eager", "float32", "cpu", weights="random")
DIFFERENT = ("changed", "moved", "only-a", "only-b", "re-expressed")


class Small:
    """A small model of a config: its module, its answers to the same tokens, and its trace when it is asked for."""

    def __init__(self, config: Any, weights: dict[str, Any] | None = None) -> None:
        import torch

        from inspector.source.build import text_config
        from inspector.source.claims import claims_of
        from inspector.source.configured import ConfigSubject
        from inspector.source.tiny import randomise
        from inspector.tracing.run import outputs_of

        claims = claims_of(text_config(config), {})
        self.subject = ConfigSubject("twin", config.model_type, "a twin", claims, (), None, config)
        settled, _ = self.subject.settle(RUN)
        self.module = self.subject.make(settled)
        randomise(self.module, 0)
        self.shapes = {name: tuple(value.shape) for name, value in self.module.state_dict().items()}
        self.own = len(list(self.module.parameters()))
        self._take(weights or {})
        with torch.no_grad():
            output = self.module(**self.subject.inputs(self.module, settled))
        self.answers = {name: value for name, value in outputs_of(output) if value.is_floating_point()}

    def _take(self, weights: dict[str, Any]) -> None:
        """The other's weights, wherever they fit."""
        own = self.module.state_dict()
        fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
        self.module.load_state_dict(fitting, strict=False)

    def trace(self) -> Any:
        from inspector.api.twins import on_meta_or_cpu

        return on_meta_or_cpu(self.subject, Scenario())


class Known:
    """What is said of a trace: its facts, and its side of a diff."""

    def __init__(self, small: Small) -> None:
        from inspector.comparison.sides import side_of
        from inspector.fact_sheet.scene import Scene
        from inspector.fact_sheet.sheet import fact_sheet

        trace = small.trace()
        sheet = fact_sheet(trace, Scene(trace))
        self.facts = {(fact.id, fact.layers): fact.value for fact in sheet.facts}
        self.side = side_of(trace)

    def differs(self, other: Known) -> list[str]:
        """The facts that are others, else the rows of the diff."""
        from inspector.comparison.judge import compare

        keys = self.facts.keys() | other.facts.keys()
        found = sorted({id for id, layers in keys if self.facts.get((id, layers)) != other.facts.get((id, layers))})
        if found:
            return found
        return sorted({f"row {row.path}" for row in compare(self.side, other.side).rows if row.status in DIFFERENT})


def swept(model_type: str) -> list[dict[str, Any]]:
    """What each switch of a type does."""
    from inspector.source import resolve, subject_of
    from inspector.source.build import quiet
    from inspector.source.tiny import twin_of

    with quiet():
        twin, _ = twin_of(subject_of(resolve(f"model_type:{model_type}")), Scenario())
        base = Small(twin.config)
        known = Known(base)
        return [_thrown(base, known, twin.config, flip) for flip in switches.flips(twin.config)]


def _thrown(base: Small, known: Known, config: Any, flip: switches.Flip) -> dict[str, Any]:
    row = {"key": flip.key, "old": flip.old, "new": flip.new}
    try:
        other = Small(switches.thrown(config, flip), base.module.state_dict())
    except Exception as error:  # a switch may break transformers anywhere
        return row | {"result": "invalid", "why": f"{type(error).__name__}: {str(error)[:120]}"}
    moved = _moved(base, other)
    if not moved and (base.shapes, base.own) == (other.shapes, other.own):
        return row | {"result": "no effect"}
    try:
        seen = known.differs(Known(other))
    except Exception as error:  # one that runs and cannot be described is a fault of inspector
        return row | {"result": "unseen", "why": f"{type(error).__name__}: {str(error)[:200]}", "moved": moved}
    return row | {"result": "changed" if seen else "unseen", "seen": seen[:6], "moved": moved}


def _moved(base: Small, other: Small) -> list[str]:
    """The answers that both give and that are not the same."""
    import torch

    both = [name for name in base.answers if name in other.answers]
    return [name for name in both if not torch.equal(base.answers[name], other.answers[name])][:4]


def summary(found: dict[str, Any]) -> str:
    rows = [row | {"type": name} for name, all_rows in found.items() for row in all_rows if "result" in row]
    counts = Counter(row["result"] for row in rows)
    lines = [f"{len(found)} types, {len(rows)} flips: {', '.join(f'{n} {what}' for what, n in counts.most_common())}"]
    for what in ("unseen", "invalid", "no effect"):
        keys = Counter(f"{row['key']} {row['old']} -> {row['new']}" for row in rows if row["result"] == what)
        lines += ["", f"{what}:", *(f"  {count:4} {key}" for key, count in keys.most_common(60))]
    lines += ["", "unseen, by type:"]
    lines += [
        f"  {row['type']:24} {row['key']} {row['old']} -> {row['new']}  {row.get('why', '')} {row.get('moved')}"
        for row in rows
        if row["result"] == "unseen"
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=300)
    asked = parser.parse_args()
    from inspector.api.survey_pool import Lost, answers
    from inspector.source.types import KINDS

    known = asked.output.read_text("utf-8").splitlines() if asked.output.exists() else []
    found = {line["type"]: line["flips"] for line in map(json.loads, known)}
    import inspector.comparison.judge
    import inspector.comparison.sides
    import inspector.fact_sheet.sheet
    import inspector.source.tiny  # noqa: F401 - loaded before the copies are made

    left = [name for name in asked.types or KINDS if name not in found]
    with asked.output.open("a", encoding="utf-8") as file:
        for name, rows in answers(_swept, left, jobs=asked.jobs, seconds=asked.seconds):
            found[name] = [{"why": rows.reason}] if isinstance(rows, Lost) else rows
            file.write(json.dumps({"type": name, "flips": found[name]}) + "\n")
            file.flush()
            print(name, dict(Counter(row.get("result", "lost") for row in found[name])), file=sys.stderr, flush=True)
    print(summary(dict(sorted(found.items()))))


def _swept(name: str) -> Iterator[list[dict[str, Any]]]:
    try:
        yield swept(name)
    except Exception as error:  # a type that does not run has no switches
        yield [{"why": f"{type(error).__name__}: {str(error)[:200]}"}]


if __name__ == "__main__":
    main()
