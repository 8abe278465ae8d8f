"""JSON Schema of what `inspector shapes --generate --format json` writes."""

from __future__ import annotations

__all__ = ["GENERATE"]

from inspector.api.schema_parts import (
    ASKED_MODEL,
    COUNT,
    MAYBE_COUNT,
    TEXT,
    TOOL,
    Schema,
    array,
    document,
    record,
    said,
)

_FIGURE: Schema = {"type": ["number", "string"], "description": "a number, or nan or inf as text"}
_IDS = array(COUNT)

_KEPT = record(
    {
        "names": array(TEXT, 1),
        "layers": said(TEXT, '"0-11"; "" for what belongs to no layer'),
        "dtype": TEXT,
        "shape": said(_IDS, "of each of them, after this step"),
        "bytes": said(COUNT, "of all of them"),
    }
)

_STEP = record(
    {
        "step": {"type": "integer", "minimum": 1},
        "ids": record({"cached": _IDS, "whole": _IDS}, "shape of what is read, with a cache and without"),
        "tokens": record({"cached": _IDS, "whole": _IDS}, "the id that is chosen in each sequence"),
        "flops": record({"cached": COUNT, "whole": COUNT}, "contractions of this forward"),
        "kept": array(_KEPT),
        "cache_bytes": COUNT,
        "max_abs_difference": said(_FIGURE, "between the scores of the two ways"),
        "gaps": said(array(_FIGURE), "by how much the best token leads, per sequence"),
        "verdict": {"enum": ["same", "tie", "fail"]},
    }
)

GENERATE = document(
    "inspector/generate/1",
    {
        "tool": TOOL,
        "models": array(ASKED_MODEL, 1) | {"maxItems": 1},
        "rows": array(_STEP, 1),
        "texts": array(record({"prompt": TEXT, "continuation": TEXT})),
        "summary": record(
            {
                "tokens": COUNT,
                "verdict": {"enum": ["pass", "fail"]},
                "first_failure": said(MAYBE_COUNT, "number of the first step at which the two ways differ"),
                "max_abs_difference": _FIGURE,
                "allowed": said(_FIGURE, "how far the scores may be apart"),
                "noise": said({"type": ["number", "string", "null"]}, "what the format costs; null: not measured"),
                "ties": said(COUNT, "steps at which the two ways choose differently, and each is right"),
                "close": said(COUNT, "tokens that lead by less than is allowed"),
                "flops": record({"cached": COUNT, "whole": COUNT}),
                "cache_bytes": said(COUNT, "after the last step"),
            }
        ),
    },
)
