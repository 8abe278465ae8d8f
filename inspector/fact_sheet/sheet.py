"""From a trace to its fact sheet: all fact functions are asked, equal answers joined, claims held against them."""

from __future__ import annotations

__all__ = ["fact_sheet"]

from collections.abc import Callable, Iterable, Iterator, Sequence

from inspector.fact_sheet import attention, feedforward, norms, positions, routed, whole, wiring
from inspector.fact_sheet.agreement import agrees
from inspector.fact_sheet.facts import Evidence, Fact, FactSheet
from inspector.fact_sheet.scene import Kind, Scene, Seen, Unseen
from inspector.records import Plain, Trace
from inspector.stage_graph.spans import span
from inspector.vocabulary import FACTS

Function = Callable[[Scene], Iterable[Seen | Unseen]]

FUNCTIONS: tuple[Function, ...] = (
    *whole.FACTS,
    *attention.FACTS,
    *positions.FACTS,
    *norms.FACTS,
    *feedforward.FACTS,
    *routed.FACTS,
    *wiring.FACTS,
    *whole.COSTS,
)
"""One small function per group of facts. A new fact is one more function, and its line in the vocabulary."""


def fact_sheet(trace: Trace, scene: Scene | None = None) -> FactSheet:
    """Every fact that the ops of `trace` show. `scene`: the same trace, named and folded already.

    >>> from inspector.records import ModelInfo, Scenario
    >>> empty = Trace(ModelInfo("none", None, "None", 0, 0), Scenario(), (), (), (), ())
    >>> fact_sheet(empty).get("model.layers")
    0
    """
    scene = scene or Scene(trace)
    found = [item for function in FUNCTIONS for item in function(scene)]
    facts = list(_facts(scene, [item for item in found if isinstance(item, Seen)]))
    said = {fact.id for fact in facts}
    open_ = dict.fromkeys((item.id, item.reason) for item in found if isinstance(item, Unseen))
    open_ |= dict.fromkeys(_unmet(trace, said | {fact for fact, _ in open_}))
    return FactSheet(
        model=trace.model,
        scenario=trace.scenario,
        facts=tuple(sorted(facts, key=_place)),
        unanswered=tuple(sorted(open_, key=lambda item: _order(item[0]))),
        notes=trace.notes,
        tool=trace.tool,
    )


def _place(fact: Fact) -> tuple[int, int]:
    return _order(fact.id), -1 if not fact.layers else 0


def _order(fact: str) -> int:
    """Reading order; a part's share of the FLOPs after all the rest."""
    ids = list(FACTS)
    return ids.index(fact) if fact in FACTS else len(ids)


def _unmet(trace: Trace, said: set[str]) -> Iterator[tuple[str, str]]:
    """Claims of what nothing showed."""
    for fact, value, where in trace.claims.facts:
        if fact not in said:
            yield fact, f"{where} says {_text(value)}, and nothing that ran shows it"


def _text(value: Plain) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _facts(scene: Scene, seen: Sequence[Seen]) -> Iterator[Fact]:
    """One fact for each different answer to a question."""
    groups: dict[str, list[Seen]] = {}
    for item in seen:
        groups.setdefault(item.id, []).append(item)
    for items in groups.values():
        for same in _joined(items):
            yield _fact(scene, same, alone=len({(item.value, item.formula) for item in items}) == 1)


def _joined(items: Iterable[Seen]) -> Iterable[list[Seen]]:
    """Equal answers of several kinds of blocks together; of the parts outside them only what differs from all."""
    found: dict[object, list[Seen]] = {}
    for item in sorted(items, key=lambda item: isinstance(item.place, str)):
        same = found.get(item.value)
        if isinstance(item.place, str) and same is None:
            found[item.value, item.place] = [item]
        elif same is None:
            found[item.value] = [item]
        else:
            same.append(item)
    return found.values()


def _fact(scene: Scene, same: list[Seen], *, alone: bool) -> Fact:
    first = same[0]
    ops = first.ops
    claims = {fact: (where, value) for fact, value, where in scene.trace.claims.facts}
    claim = claims.get(first.id)
    verdicts = [] if claim is None else [agrees(scene, item, claim[1]) for item in same]
    verdict = False if False in verdicts else True if True in verdicts else None
    return Fact(
        id=first.id,
        value=first.value,
        unit=first.unit,
        layers=_layers(scene, same, alone=alone),
        evidence=Evidence(ops=ops, shown=scene.said(ops)),
        claim=claim,
        agrees=verdict,
        formula=first.formula,
        explained=_reason(scene, first) if verdict is False else "",
    )


def _reason(scene: Scene, seen: Seen) -> str:
    """Why this value is not the claimed one, where that is known of exactly this value."""
    known = [(value, why) for fact, value, why in scene.trace.claims.explained if fact == seen.id]
    return next((why for value, why in known if agrees(scene, seen, value)), "")


def _layers(scene: Scene, same: Sequence[Seen], *, alone: bool) -> str:
    """Which layers, unless all layers answer alike."""
    kinds = [item.place for item in same if isinstance(item.place, Kind)]
    if alone and len(kinds) in (0, len(scene.kinds)):
        return ""
    numbers = sorted(layer for kind in kinds for layer in kind.layers)
    if len(numbers) == scene.graph.layers:
        return ""
    return span(numbers) if numbers else next((item.place for item in same if isinstance(item.place, str)), "")
