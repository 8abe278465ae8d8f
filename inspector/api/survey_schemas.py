"""JSON Schema of what `inspector models --coverage` writes."""

from __future__ import annotations

__all__ = ["COVERAGE"]

from inspector.api.schema_parts import (
    COUNT,
    MAYBE_COUNT,
    MAYBE_TEXT,
    TEXT,
    TOOL,
    Schema,
    array,
    document,
    record,
    said,
)

_PERCENT: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 100}
_ANY: Schema = {"type": ["number", "boolean", "null"]}

_ROW = record(
    {
        "model_type": TEXT,
        "traced": said({"type": "boolean"}, "whether a small twin of the default config ran and was watched"),
        "device": said({"enum": ["meta", "cpu", None]}, "where: cpu where meta could not"),
        "parameters": said(MAYBE_COUNT, "of the twin"),
        "ops": MAYBE_COUNT,
        "role_percent": said(_PERCENT, "of all ops, those with a role"),
        "specific_percent": said(_PERCENT, "of the ops in blocks outside recurrences, those whose role names a part"),
        "scan": said(MAYBE_COUNT, "ops inside recurrences, each declared as one"),
        "unknown": said(MAYBE_COUNT, "ops without a role"),
        "softmax": said({"type": ["boolean", "null"]}, "whether it has softmax attention"),
        "label_exam": said(_PERCENT, "roles that agree with parameter names; null where nobody held them against any"),
        "stages": said(MAYBE_COUNT, "that could be verified"),
        "stages_verified": said(_PERCENT, "of these, those whose values agree with a float64 reference"),
        "stages_failed": said(MAYBE_COUNT, "of these, those whose values do not"),
        "pattern": said(MAYBE_TEXT, "the folded layers"),
        "facts": MAYBE_COUNT,
        "conflicts": said(array(TEXT), "facts that are not as the config claims"),
        "explained": said(array(TEXT), "facts that are not, for a known reason"),
        "reason": said(TEXT, "why a figure is missing, or why it was run on the CPU"),
        "label_mismatches": said(array(TEXT), "roles that do not agree with parameter names, and why"),
    },
    later=["explained", "label_mismatches"],
)

_WORSE = record({"model_type": TEXT, "field": TEXT, "before": _ANY, "now": _ANY})

_SUMMARY = record(
    {
        **dict.fromkeys(("types", "traced", "ops", "unknown", "stages_failed", "worse"), COUNT),
        "conflicts": said(COUNT, "facts that are not as the configs claim"),
        "explained": said(COUNT, "facts that are not, for a known reason"),
        **dict.fromkeys(("role_percent", "specific_percent", "label_exam", "stages_verified"), _PERCENT),
        "compared": said(MAYBE_COUNT, "rows that were held against a baseline; null without one"),
    },
    later=["conflicts", "explained"],
)

COVERAGE = document(
    "inspector/coverage/1", {"tool": TOOL, "rows": array(_ROW), "worse": array(_WORSE), "summary": _SUMMARY}
)
