"""JSON Schemas of what `inspector parity` writes and reads."""

from __future__ import annotations

__all__ = ["PARITY"]

from inspector.api.schema_parts import (
    ASKED_MODEL,
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

_NUMBER = said(
    {"oneOf": [{"type": ["number", "null"]}, {"enum": ["inf", "-inf", "nan"]}]},
    "null where nothing was measured; what JSON cannot say as a number is said as a word",
)
_PARITY_VERDICTS = ("pass", "fail", "undetermined", "unclaimed", "unchecked", "exempt")
_PLAIN: Schema = said({}, "number, word, truth value, list or null")
_RUN_VERDICT: Schema = {"enum": ["pass", "fail", "incomplete"]}
_NAMES = array(TEXT)

_MEASURED = record(
    {
        "index": said(array(COUNT), "which element is furthest from what is allowed"),
        "got": _NUMBER,
        "expected": _NUMBER,
        "allowed": _NUMBER,
        "over": said(COUNT, "elements beyond what is allowed"),
        "elements": COUNT,
    }
)

_SPECIAL = record(
    {
        "inputs": said(TEXT, "what was made, in words"),
        "elements": COUNT,
        "rho": _NUMBER,
        "max_abs_error": _NUMBER,
        "worst": {"oneOf": [{"type": "null"}, _MEASURED]},
    }
)

_CHECKED_STAGE = record(
    {
        "stage": said(TEXT, "as messages call it: layer 3 attention.rope.k"),
        "layer": MAYBE_COUNT,
        "role": TEXT,
        "operand": TEXT,
        "verdict": {"enum": list(_PARITY_VERDICTS)},
        "check": said(MAYBE_TEXT, "bound (elementwise), exact (bit by bit), set (of indices)"),
        "rho": said(_NUMBER, "largest error as a share of what is allowed; it passes up to 1"),
        "max_abs_error": _NUMBER,
        "worst": {"oneOf": [{"type": "null"}, _MEASURED]},
        "dtype": TEXT,
        "module": TEXT,
        "attributes": array(record({"name": TEXT, "claimed": _PLAIN, "executed": _PLAIN, "where": TEXT})),
        "wiring": said(
            array(record({"argument": TEXT, "claimed": TEXT, "executed": TEXT, "intact": {"type": "boolean"}})),
            "where each input comes from, and whether it still held what it was made with",
        ),
        "mutants": {
            "oneOf": [
                {"type": "null"},
                record({"killed": COUNT, "total": COUNT, "alive": said(_NAMES, "those that cannot be told")}),
            ]
        },
        "culprit": said(TEXT, "what is wrong or missing, in words"),
        "finding": said(TEXT, "a true excess that is known, or the waiver of a failure"),
        "looks_like": said(TEXT, "the wrong formula that gives what the stage gave"),
        "special": said(
            {"oneOf": [{"type": "null"}, _SPECIAL]},
            "what it gave on inputs made for it; asked of one stage of each kind",
        ),
    }
)

_CHECKED_MODEL = record(
    {
        **ASKED_MODEL["properties"],
        "reference": said(TEXT, "who claims wiring and attributes"),
        "flags": said({"type": "object"}, "settings of torch that change arithmetic"),
    }
)

_CHECKED = record(
    {
        **dict.fromkeys(_PARITY_VERDICTS, COUNT),
        "findings": COUNT,
        "verdict": _RUN_VERDICT,
        "first_failure": said(MAYBE_TEXT, "a stage of `rows`"),
        "elements": said(COUNT, "values that were compared"),
        "calls": said(COUNT, "calls of the reference"),
        "uncovered": said(_NAMES, "parameters that no checked stage reads"),
        "power": {"type": "object", "additionalProperties": _NUMBER},
        "whole": said({"type": "object"}, "from end to end: shown, never judged"),
    }
)

_MISTAKE = record(
    {
        **dict.fromkeys(("name", "stage", "says", "mirrors", "culprit", "error"), TEXT),
        "caught": {"type": "boolean"},
        "at": said(TEXT, "the first stage that failed"),
        "localised": said({"type": "boolean"}, "that is where the mistake is, or where its reader rightly tells it"),
        "equivalent": said({"type": "boolean"}, "it is no mistake in this model"),
        "reason": said(TEXT, "why it is none"),
    }
)

_PART = array(
    record({"name": TEXT, "module": TEXT, "source": said(TEXT, "where its class is written, file:line")}),
)

_PAIRED_STAGE = record(
    {
        "pair": said(COUNT, "index into `pairs`"),
        "stage": TEXT,
        "layer": MAYBE_COUNT,
        "role": TEXT,
        "operand": TEXT,
        "verdict": {"enum": list(_PARITY_VERDICTS)},
        "rho": said(_NUMBER, "largest difference as a share of what both sides may be off by"),
        "max_abs_error": _NUMBER,
        "a": _PART,
        "b": _PART,
        "dtypes": _NAMES,
        "differences": array(record({"name": TEXT, "a": _PLAIN, "b": _PLAIN})),
        "culprit": said(TEXT, "what differs, in words"),
        "reason": said(TEXT, "why it was not compared"),
    }
)

_PAIR = record(
    {
        "title": TEXT,
        "verdict": _RUN_VERDICT,
        "sentence": TEXT,
        "replayed": said({"enum": ["a", "b"]}, "whose stages ran on what the other read"),
        "whole": said(array(record({"name": TEXT, "value": _NUMBER, "unit": TEXT})), "end to end: shown, never judged"),
        "ungiven": said(_NAMES, "parameters of B that got nothing of A"),
        "unused": said(_NAMES, "parameters of A that B has no place for"),
        "notes": _NAMES,
    }
)

PARITY: dict[str, Schema] = {
    "parity": document(
        "inspector/parity/1",
        {
            "tool": TOOL,
            "models": array(_CHECKED_MODEL, 1) | {"maxItems": 1},
            "rows": array(_CHECKED_STAGE),
            "summary": _CHECKED,
        },
    ),
    "parity-mutants": document(
        "inspector/parity-mutants/1",
        {
            "tool": TOOL,
            "models": array(ASKED_MODEL, 1) | {"maxItems": 1},
            "rows": array(_MISTAKE),
            "summary": record(
                {
                    **dict.fromkeys(("total", "equivalent", "caught", "localised"), COUNT),
                    "verdict": _RUN_VERDICT,
                    "absent": said(_NAMES, "mistakes that cannot be made in this model"),
                }
            ),
        },
    ),
    "parity-against": document(
        "inspector/parity-against/1",
        {
            "tool": TOOL,
            "models": said(array(ASKED_MODEL, 2), "A and B of each pair"),
            "pairs": array(_PAIR, 1),
            "rows": array(_PAIRED_STAGE),
            "summary": record(
                {
                    **dict.fromkeys(_PARITY_VERDICTS, COUNT),
                    "verdict": _RUN_VERDICT,
                    "first_failure": MAYBE_TEXT,
                    "elements": COUNT,
                }
            ),
        },
    ),
    "parity-baseline": document(
        "inspector/parity-baseline/1",
        {
            "tool": TOOL,
            "models": array(
                record({name: kind for name, kind in ASKED_MODEL["properties"].items() if name != "notes"}), 1
            )
            | {"maxItems": 1},
            "rows": array(record({"stage": TEXT, "rho": {"type": ["number", "null"]}})),
            "waivers": said(
                array(
                    record(
                        {
                            "stage": said(TEXT, "a stage as messages call it, or a pattern: layer * mlp.activation"),
                            "reason": {"type": "string", "minLength": 1},
                            "expires": said(TEXT, "the version from which the failure counts again: transformers 5.30"),
                        }
                    )
                ),
                "written by hand, and kept when the file is updated",
            ),
        },
    ),
}
"""Kind of document -> its JSON Schema."""
