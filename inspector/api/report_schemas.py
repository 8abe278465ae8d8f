"""The JSON Schema of a report; what a pair of its models has is what a diff has."""

from __future__ import annotations

__all__ = ["report_schema"]

from inspector.api.schema_parts import COUNT, MAYBE_COUNT, TEXT, TOOL, Schema, array, document, record, said
from inspector.verification.report import VERDICTS

_COST = record(
    {
        "parameters": said(COUNT, "unique"),
        "flops": said(MAYBE_COUNT, "contractions of this run"),
        "cache_bytes_per_token": said(MAYBE_COUNT, "null: it keeps no cache"),
        "cache_bytes": said(
            {"type": "object", "additionalProperties": MAYBE_COUNT}, "tokens of one sequence -> bytes of cache"
        ),
        "position_rows": said(MAYBE_COUNT, "rows of the position table, beyond which there is no place for a token"),
    }
)

_PARITY = record(
    {
        "verdict": {"enum": ["pass", "fail", "incomplete"]},
        "stages": record(dict.fromkeys(VERDICTS, COUNT), "how many got each verdict"),
        "elements": said(COUNT, "values that were compared"),
        "first_failure": said({"type": ["string", "null"]}, "the stage in which things go wrong"),
        "uncovered": said(array(TEXT), "parameters that no checked stage reads"),
    }
)

_BOX = record({"name": TEXT, "said": TEXT, "lane": {"enum": ["", "q", "k", "v"]}, "shape": TEXT}, "one stage")


def _row(status: Schema) -> Schema:
    mark = record({"status": status, "said": array(TEXT), "link": said(TEXT, "id of a row, or empty"), "reason": TEXT})
    return record(
        {
            "id": TEXT,
            "fold": said(TEXT, "where it stands: embeddings, block ×12/attention"),
            "part": TEXT,
            "models": said(array(array(_BOX), 1), "per model, its stages"),
            "marks": said(array(array(mark)), "per pair, how the two relate"),
        }
    )


def _model(compared: Schema, fact: Schema) -> Schema:
    """A model of a report has what a model of a diff has, and more."""
    own = ("name", "model_type", "class", "parameters", "untied", "scenario", "axes", "layers", "pattern", "notes")
    more = {
        "label": said(TEXT, "what it is called in this report"),
        "facts": array(fact),
        "cost": _COST,
        "parity": said({"anyOf": [_PARITY, {"type": "null"}]}, "null: not asked for, or there was nothing to run"),
    }
    return record({**{name: compared["properties"][name] for name in own}, **more})


def report_schema(diff: Schema, fact: Schema) -> Schema:
    """The schema, from that of a diff and that of a fact in a graph."""
    parts = diff["properties"]
    pair = record(
        {"a": COUNT, "b": COUNT, **{name: parts[name] for name in ("rows", "findings", "summary")}},
        "two neighbours in `models`",
    )
    status = parts["rows"]["items"]["properties"]["status"]
    summary = record({"rows": COUNT, "differing": COUNT, "sentences": array(TEXT)})
    return document(
        "inspector/report/1",
        {
            "tool": TOOL,
            "models": array(_model(parts["models"]["items"], fact), 1),
            "rows": array(_row(status)),
            "pairs": array(pair),
            "summary": summary,
        },
    )
