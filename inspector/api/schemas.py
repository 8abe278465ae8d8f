"""JSON Schemas of the documents that `--format json` writes.

Written by hand, as the contract that they are. A document may hold nothing that its schema does not name: fields are
only ever added, and here first.
"""

from __future__ import annotations

__all__ = ["SCHEMAS", "schema"]

from inspector.api.explain_schemas import SIGNATURE, explain_schema
from inspector.api.generate_schemas import GENERATE
from inspector.api.lock_schemas import lock_schemas
from inspector.api.parity_schemas import PARITY
from inspector.api.report_schemas import report_schema
from inspector.api.schema_parts import (
    ASKED_MODEL,
    COUNT,
    FRACTION,
    MAYBE_COUNT,
    MAYBE_TEXT,
    SCENARIO,
    TEXT,
    TOOL,
    Schema,
    array,
    document,
    record,
    said,
)
from inspector.api.survey_schemas import COVERAGE
from inspector.errors import UsageError


def schema(name: str) -> Schema:
    """The JSON Schema of one kind of document.

    >>> schema("shapes")["title"]
    'inspector/shapes/1'
    """
    if name not in SCHEMAS:
        raise UsageError(f"there is no schema named {name!r}", hint=f"there is {', '.join(SCHEMAS)}")
    return SCHEMAS[name]


_SUMMARY = record(
    {
        "ops": COUNT,
        "stages": COUNT,
        "unknown": said(COUNT, "ops without a role"),
        "specific": said(FRACTION, "fraction of the activation plane's ops whose role names a part"),
        "orphans": said(COUNT, "tensors that came from nowhere that was watched"),
        "parameters": COUNT,
        "flops": said(COUNT, "contractions, 2·m·n·k each"),
        "flops_other": COUNT,
        "cache_bytes_per_token": MAYBE_COUNT,
        "unsolved_dims": COUNT,
    },
    "of the whole forward pass, every layer; of several runs: counts added up, lowest `specific`, largest sizes",
)

_CACHE = record({"layers": TEXT, "name": TEXT, "symbolic": TEXT, "bytes_per_token": said(COUNT, "of one layer")})

_MODEL = record(
    {
        "name": TEXT,
        "model_type": MAYBE_TEXT,
        "class": TEXT,
        "parameters": said(COUNT, "unique"),
        "untied": said(COUNT, "tied tensors counted each time"),
        "scenario": SCENARIO,
        "axes": said({"type": "object", "additionalProperties": COUNT}, "letter -> size"),
        "blocks": said(array(TEXT), "the folded groups, in order"),
        "cache": array(_CACHE),
        "notes": array(TEXT),
        "summary": _SUMMARY,
    }
)

_TENSOR = record(
    {
        "name": TEXT,
        "shape": array(COUNT),
        "symbolic": TEXT,
        "axes": said(array(TEXT), "one per dimension; empty where no part of the architecture names it"),
        "dtype": TEXT,
        "device": TEXT,
    }
)

_ROW = record(
    {
        "id": TEXT,
        "model": said(COUNT, "index into `models`"),
        "section": TEXT,
        "layers": said(TEXT, '"0-11", "0-40:2", "" outside the blocks'),
        "repeat": {"type": "integer", "minimum": 1},
        "block": said(MAYBE_COUNT, "index into the model's `blocks`"),
        "role": TEXT,
        "also": array(TEXT),
        "operand": TEXT,
        "op": TEXT,
        "module": TEXT,
        "inputs": array(_TENSOR),
        "outputs": array(_TENSOR),
        "weights": said(array(_TENSOR), "the parameters and buffers it reads"),
        "parameters": COUNT,
        "flops": COUNT,
        "ops": said(array(COUNT), "ids in the trace, of the first of the equal stages"),
        "attributes": {"type": "object"},
        "signature": said(SIGNATURE, "of its product of matrices; null where it has none, or several (see the ops)"),
    }
)

_PRESET = record(
    {
        "name": TEXT,
        "model_type": TEXT,
        "parameters": COUNT,
        "cache_bytes_per_token": MAYBE_COUNT,
        "aliases": array(TEXT),
        "hub": TEXT,
        "source": said(TEXT, "where the count of parameters is published"),
    }
)

_CALL = record(
    {
        "name": TEXT,
        "kind": TEXT,
        "effect": {"enum": ["", "view", "inplace", "noop"]},
        "operands": said(
            array(record({"name": TEXT, "from": TEXT})),
            "argument, and what it is: input.0, weight.1 of the node, or the result of its call.2",
        ),
        "attributes": {"type": "object"},
        "outputs": said(array(TEXT), "symbolic shapes"),
    },
    "one call into torch inside the stage",
)

_NODE = record(
    {
        **{
            name: kind
            for name, kind in _ROW["properties"].items()
            if name not in ("model", "ops", "block", "signature")
        },
        "block": said(MAYBE_COUNT, "index into the graph's `blocks`"),
        "calls": array(_CALL),
    },
    "one stage, standing for the equal ones in `layers`",
)

_EDGE = record(
    {
        "source": TEXT,
        "target": TEXT,
        "key": said(COUNT, "its number among the edges between the same two nodes"),
        "output": said(COUNT, "index into the outputs of the source"),
        "input": said(COUNT, "index into the inputs of the target"),
        "stream": said({"type": "boolean"}, "it is the residual stream"),
        "between": said({"type": "boolean"}, "it goes to a later layer; only such an edge can close a cycle"),
        "source_layers": said(TEXT, "for which layers of the source it holds, in the order of `target_layers`"),
        "target_layers": TEXT,
    }
)

_VERDICT: Schema = {"type": ["boolean", "null"]}

_CLAIM: Schema = {"oneOf": [{"type": "null"}, record({"where": TEXT, "value": {}})]}

_FOUND = {
    "id": TEXT,
    "value": said({}, "number, word, truth value, list or null (none)"),
    "unit": TEXT,
    "formula": said(TEXT, "what the value is made of, where a formula fits"),
    "layers": said(TEXT, '"" for all of them, "0-10:2", or the section of a part outside the blocks'),
    "claim": _CLAIM,
    "agrees": said(_VERDICT, "whether execution and claim agree"),
}

_EXPLAINED = said(TEXT, "why it is not as claimed, where that is known")

_GRAPH_FACT = record(
    {**_FOUND, "nodes": said(array(TEXT), "ids of the nodes that show it"), "explained": _EXPLAINED},
    later=["explained"],
)

_WHOLE = record(
    {
        "name": TEXT,
        "pattern": said(TEXT, "the blocks in words"),
        "axes": array(record({"axis": TEXT, "name": TEXT, "size": COUNT})),
        "blocks": array(
            record(
                {
                    "name": said(TEXT, "what tells this kind of block from the others"),
                    "text": TEXT,
                    "layers": TEXT,
                    "numbers": said(array(TEXT), "per layer, what {} stands for in modules and weights"),
                }
            )
        ),
        "outputs": said(
            array(record({"name": TEXT, "node": TEXT, "output": COUNT, "layers": TEXT})), "what the model returns"
        ),
        "claims": record(
            {
                "facts": array(record({"id": TEXT, "value": {}, "where": TEXT})),
                "unread": array(TEXT),
                "explained": said(
                    array(record({"id": TEXT, "value": {}, "why": TEXT})), "what is known to run otherwise, and why"
                ),
            },
            "what the model says of itself",
            later=["explained"],
        ),
        "facts": said(
            {
                "oneOf": [
                    {"type": "null"},
                    array(_GRAPH_FACT),
                ]
            },
            "what was found out about the model; null where nobody asked",
        ),
    }
)

_DRAWN_MODEL = record(
    {
        **{name: _MODEL["properties"][name] for name in ("name", "model_type", "class", "parameters", "untied")},
        "source": said(TEXT, "where the config stands, in words"),
        "scenario": SCENARIO,
        "notes": array(TEXT),
    }
)

_FACT = record(
    {
        **_FOUND,
        "evidence": record(
            {
                "ops": said(array(COUNT), "ids in the trace, of the first of the equal blocks"),
                "shown": said(TEXT, "the parts those ops play"),
                "probes": said(array(record({"name": TEXT, "value": {}})), "experiments and what came of them"),
            }
        ),
        "probed": said(_VERDICT, "whether graph and experiments agree"),
        "conflict": said({"type": "boolean"}, "not as claimed for no known reason, or not as an experiment says"),
        "explained": _EXPLAINED,
    }
)

_COMPARED = record(
    {
        **{name: _MODEL["properties"][name] for name in ("name", "model_type", "class", "parameters", "untied")},
        "scenario": SCENARIO,
        "axes": said({"type": "object", "additionalProperties": array(COUNT)}, "letter -> sizes found"),
        "layers": COUNT,
        "pattern": said(TEXT, "the blocks in words"),
        "flops": said(MAYBE_COUNT, "contractions of this run"),
        "cache_bytes_per_token": MAYBE_COUNT,
        "notes": array(TEXT),
    }
)

_STAGE = record(
    {
        "id": TEXT,
        "section": TEXT,
        "role": TEXT,
        "operand": TEXT,
        "layers": TEXT,
        "module": said(TEXT, "{} for the number of the layer"),
        "op": said(TEXT, "the functions that compute, in order"),
        "outputs": said(array(TEXT), "symbolic shapes"),
        "axes": said(array(array(TEXT)), "the same with axis letters"),
        "attributes": {"type": "object"},
    }
)

_STATUSES = ("same", "renamed", "re-expressed", "changed", "moved", "only-a", "only-b")
_SEVERITY_COUNTS = record(dict.fromkeys(("breaking", "notable", "cosmetic"), COUNT))

_ALIGNED = record(
    {
        "id": TEXT,
        "status": {"enum": list(_STATUSES)},
        "a": array(_STAGE),
        "b": array(_STAGE),
        "changes": array(record({"name": TEXT, "a": {}, "b": {}})),
        "reason": said(TEXT, "why the stages belong together, or how their equality is known"),
        "score": said(FRACTION, "how much speaks for the match"),
    }
)

_FINDING = record(
    {
        "rule": TEXT,
        "severity": {"enum": ["breaking", "notable", "cosmetic"]},
        "sentence": TEXT,
        "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{12}$"},
        "a": {},
        "b": {},
        "rows": said(array(TEXT), "ids of the rows that show it"),
    }
)

_DIFFERENCES = record(
    {
        **dict.fromkeys(_STATUSES, COUNT),
        "aligned": said(FRACTION, "stages with a part that found a counterpart, or whose absence a finding explains"),
        "findings": _SEVERITY_COUNTS,
        "sentences": array(TEXT, 1),
    }
)

SCHEMAS: dict[str, Schema] = {
    "shapes": document(
        "inspector/shapes/1",
        {"tool": TOOL, "models": array(_MODEL, 1), "rows": array(_ROW), "summary": _SUMMARY},
    ),
    "graph": document(
        "inspector/graph/1",
        {
            "tool": TOOL,
            "models": array(_DRAWN_MODEL, 1) | {"maxItems": 1},
            "directed": {"const": True},
            "multigraph": {"const": True},
            "graph": _WHOLE,
            "nodes": array(_NODE),
            "edges": array(_EDGE),
            "summary": record(dict.fromkeys(("nodes", "edges", "stages", "parameters", "flops"), COUNT)),
        },
    ),
    "facts": document(
        "inspector/facts/1",
        {
            "tool": TOOL,
            "models": array(ASKED_MODEL, 1) | {"maxItems": 1},
            "rows": array(_FACT),
            "unanswered": array(record({"id": TEXT, "reason": TEXT})),
            "summary": record(dict.fromkeys(("facts", "claims", "conflicts", "explained", "unanswered"), COUNT)),
        },
    ),
    "diff": document(
        "inspector/diff/1",
        {
            "tool": TOOL,
            "models": array(_COMPARED, 2) | {"maxItems": 2},
            "rows": array(_ALIGNED),
            "findings": array(_FINDING),
            "summary": _DIFFERENCES,
        },
    ),
    **lock_schemas(_WHOLE, _NODE, _EDGE, _DRAWN_MODEL, diff=(_COMPARED, _ALIGNED, _FINDING)),
    "explain": explain_schema(_MODEL),
    "generate": GENERATE,
    "models": document("inspector/models/1", {"tool": TOOL, "rows": array(_PRESET)}),
    "coverage": COVERAGE,
    **PARITY,
}
"""Kind of document -> its JSON Schema (draft 2020-12)."""

SCHEMAS["report"] = report_schema(SCHEMAS["diff"], _GRAPH_FACT)
