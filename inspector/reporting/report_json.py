"""A report as the envelope `inspector/report/1`, and as flat records."""

from __future__ import annotations

__all__ = ["envelope", "records"]

from collections.abc import Iterator
from typing import Any

from inspector.render.document import Fold, Lane, Strip
from inspector.reporting import diff_view
from inspector.reporting.report_material import Material, Portrait
from inspector.reporting.report_parity import fields
from inspector.reporting.report_rows import rows
from inspector.reporting.report_tables import COST_TOKENS, bytes_at, position_rows
from inspector.stage_graph.fields import model_fields


def envelope(found: Material) -> dict[str, Any]:
    """`models` in the order given; `pairs[i]` compares `models[i]` with `models[i + 1]`; `rows` hold all of them."""
    strips = list(_strips(found))
    return {
        "schema": "inspector/report/1",
        "tool": found.tool,
        "models": [_model(portrait) for portrait in found.portraits],
        "rows": [_row(fold, strip) for fold, strip in strips],
        "pairs": [_pair(found, place) for place in range(len(found.comparisons))],
        "summary": {
            "rows": len(strips),
            "differing": sum(not strip.quiet for _, strip in strips),
            "sentences": [sentence for pair in found.comparisons for sentence in pair.sentences],
        },
    }


def _strips(found: Material) -> Iterator[tuple[str, Strip]]:
    for fold in rows(found).folds:
        yield from _inside(fold, fold.title)


def _inside(fold: Fold, title: str) -> Iterator[tuple[str, Strip]]:
    for item in fold.items:
        if isinstance(item, Fold):
            yield from _inside(item, f"{title}/{item.title}")
        else:
            yield title, item


def _model(portrait: Portrait) -> dict[str, Any]:
    return {
        **model_fields(portrait.record.model, portrait.record.scenario),
        "label": portrait.name,
        "axes": {letter: list(sizes) for letter, sizes in portrait.side.sizes.items()},
        "layers": portrait.record.layers,
        "pattern": portrait.record.pattern,
        "facts": [_fact(fact) for fact in portrait.facts],
        "cost": {
            "parameters": portrait.record.model.parameters,
            "flops": portrait.number("cost.flops"),
            "cache_bytes_per_token": portrait.number("cache.bytes_per_token"),
            "cache_bytes": {str(tokens): bytes_at(portrait, tokens) for tokens in COST_TOKENS},
            "position_rows": position_rows(portrait),
        },
        "parity": fields(portrait.parity),
        "notes": list(portrait.record.notes),
    }


def _fact(fact: Any) -> dict[str, Any]:
    claim = None if fact.claim is None else {"where": fact.claim[0], "value": fact.claim[1]}
    return {**fact._asdict(), "nodes": list(fact.nodes), "claim": claim}


def _row(fold: str, strip: Strip) -> dict[str, Any]:
    return {
        "id": strip.id,
        "fold": fold,
        "part": strip.part,
        "models": [_lane(lane) for lane in strip.lanes],
        "marks": [
            [{"status": mark.status, "said": list(mark.said), "link": mark.link, "reason": mark.why} for mark in pair]
            for pair in strip.marks
        ],
    }


def _lane(lane: Lane) -> list[dict[str, Any]]:
    return [
        {
            "name": box.name,
            "said": box.said,
            "lane": box.lane,
            "shape": "".join(span.text for span in box.shape),
        }
        for box in lane.boxes
    ]


def _pair(found: Material, place: int) -> dict[str, Any]:
    comparison = found.comparisons[place]
    whole = diff_view.envelope(comparison, comparison.findings, comparison.rows, {})
    return {"a": place, "b": place + 1, **{name: whole[name] for name in ("findings", "rows", "summary")}}


def records(found: Material) -> list[dict[str, object]]:
    """One flat record per row; for each model its boxes, and how it relates to the one before."""
    made = []
    for fold, strip in _strips(found):
        record: dict[str, object] = {"fold": fold, "part": strip.part}
        for place, (name, lane) in enumerate(zip(found.names, strip.lanes, strict=True)):
            if place:
                record[f"{name} status"] = "; ".join(mark.status for mark in strip.marks[place - 1])
            record[name] = "; ".join(
                " ".join(filter(None, (box.lane, box.name, box.said, "".join(span.text for span in box.shape))))
                for box in lane.boxes
            )
        made.append(record)
    return made
