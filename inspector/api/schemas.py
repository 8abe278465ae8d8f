"""JSON Schemas of the documents that `--format json` writes.

Written by hand, as the contract that they are. A document may hold nothing that its schema does not name: fields are
only ever added, and here first.
"""

from __future__ import annotations

__all__ = ["SCHEMAS", "schema"]

from typing import Any

from inspector.errors import UsageError

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
MAYBE_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
FRACTION: Schema = {"type": "number", "minimum": 0, "maximum": 1}


def schema(name: str) -> Schema:
    """The JSON Schema of one kind of document.

    >>> schema("shapes")["title"]
    'inspector/shapes/1'
    """
    if name not in SCHEMAS:
        raise UsageError(f"there is no schema named {name!r}", hint=f"there is {', '.join(SCHEMAS)}")
    return SCHEMAS[name]


def _array(items: Schema, at_least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": at_least}


def _object(properties: dict[str, Schema], description: str = "") -> Schema:
    """Every field is required and no other is allowed."""
    made: Schema = {"type": "object", "properties": properties}
    made |= {"required": sorted(properties), "additionalProperties": False}
    return made | ({"description": description} if description else {})


def _said(kind: Schema, description: str) -> Schema:
    return kind | {"description": description}


def _document(title: str, properties: dict[str, Schema]) -> Schema:
    head: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return head | _object({"schema": {"const": title}, **properties})


_TOOL = {"type": "object", "additionalProperties": TEXT, "required": ["inspector"], "description": "package -> version"}

_SCENARIO = _object(
    {
        "mode": {"enum": ["prefill", "decode"]},
        "batch": COUNT,
        "seq": _said(COUNT, "new tokens of this forward"),
        "past": _said(COUNT, "tokens already in the KV cache"),
        "attention": TEXT,
        "dtype": TEXT,
        "device": TEXT,
        "padding": {"enum": ["none", "left", "right"]},
        "seed": {"type": "integer"},
        "weights": {"enum": ["none", "random", "checkpoint"]},
        "head": _said({"type": ["boolean", "null"]}, "null: the class that people mean by the model's name"),
        "experts": MAYBE_TEXT,
    }
)

_SUMMARY = _object(
    {
        "ops": COUNT,
        "stages": COUNT,
        "unknown": _said(COUNT, "ops without a role"),
        "specific": _said(FRACTION, "fraction of the activation plane's ops whose role names a part"),
        "orphans": _said(COUNT, "tensors that came from nowhere that was watched"),
        "parameters": COUNT,
        "flops": _said(COUNT, "contractions, 2·m·n·k each"),
        "flops_other": COUNT,
        "cache_bytes_per_token": MAYBE_COUNT,
        "unsolved_dims": COUNT,
    },
    "of the whole forward pass, every layer; of several runs: counts added up, lowest `specific`, largest sizes",
)

_CACHE = _object({"layers": TEXT, "name": TEXT, "symbolic": TEXT, "bytes_per_token": _said(COUNT, "of one layer")})

_MODEL = _object(
    {
        "name": TEXT,
        "model_type": MAYBE_TEXT,
        "class": TEXT,
        "parameters": _said(COUNT, "unique"),
        "untied": _said(COUNT, "tied tensors counted each time"),
        "scenario": _SCENARIO,
        "axes": _said({"type": "object", "additionalProperties": COUNT}, "letter -> size"),
        "blocks": _said(_array(TEXT), "the folded groups, in order"),
        "cache": _array(_CACHE),
        "notes": _array(TEXT),
        "summary": _SUMMARY,
    }
)

_TENSOR = _object(
    {
        "name": TEXT,
        "shape": _array(COUNT),
        "symbolic": TEXT,
        "axes": _said(_array(TEXT), "one per dimension; empty where no part of the architecture names it"),
        "dtype": TEXT,
        "device": TEXT,
    }
)

_ROW = _object(
    {
        "id": TEXT,
        "model": _said(COUNT, "index into `models`"),
        "section": TEXT,
        "layers": _said(TEXT, '"0-11", "0-40:2", "" outside the blocks'),
        "repeat": {"type": "integer", "minimum": 1},
        "block": _said(MAYBE_COUNT, "index into the model's `blocks`"),
        "role": TEXT,
        "also": _array(TEXT),
        "operand": TEXT,
        "op": TEXT,
        "module": TEXT,
        "inputs": _array(_TENSOR),
        "outputs": _array(_TENSOR),
        "weights": _said(_array(_TENSOR), "the parameters and buffers it reads"),
        "parameters": COUNT,
        "flops": COUNT,
        "ops": _said(_array(COUNT), "ids in the trace, of the first of the equal stages"),
        "attributes": {"type": "object"},
    }
)

_PRESET = _object(
    {
        "name": TEXT,
        "model_type": TEXT,
        "parameters": COUNT,
        "cache_bytes_per_token": MAYBE_COUNT,
        "aliases": _array(TEXT),
        "hub": TEXT,
        "source": _said(TEXT, "where the count of parameters is published"),
    }
)

_CALL = _object(
    {
        "name": TEXT,
        "kind": TEXT,
        "effect": {"enum": ["", "view", "inplace", "noop"]},
        "operands": _said(
            _array(_object({"name": TEXT, "from": TEXT})),
            "argument, and what it is: input.0, weight.1 of the node, or the result of its call.2",
        ),
        "attributes": {"type": "object"},
        "outputs": _said(_array(TEXT), "symbolic shapes"),
    },
    "one call into torch inside the stage",
)

_NODE = _object(
    {
        **{name: kind for name, kind in _ROW["properties"].items() if name not in ("model", "ops", "block")},
        "block": _said(MAYBE_COUNT, "index into the graph's `blocks`"),
        "calls": _array(_CALL),
    },
    "one stage, standing for the equal ones in `layers`",
)

_EDGE = _object(
    {
        "source": TEXT,
        "target": TEXT,
        "key": _said(COUNT, "its number among the edges between the same two nodes"),
        "output": _said(COUNT, "index into the outputs of the source"),
        "input": _said(COUNT, "index into the inputs of the target"),
        "stream": _said({"type": "boolean"}, "it is the residual stream"),
        "between": _said({"type": "boolean"}, "it goes to a later layer; only such an edge can close a cycle"),
        "source_layers": _said(TEXT, "for which layers of the source it holds, in the order of `target_layers`"),
        "target_layers": TEXT,
    }
)

_WHOLE = _object(
    {
        "name": TEXT,
        "pattern": _said(TEXT, "the blocks in words"),
        "axes": _array(_object({"axis": TEXT, "name": TEXT, "size": COUNT})),
        "blocks": _array(
            _object(
                {
                    "name": _said(TEXT, "what tells this kind of block from the others"),
                    "text": TEXT,
                    "layers": TEXT,
                    "numbers": _said(_array(TEXT), "per layer, what {} stands for in modules and weights"),
                }
            )
        ),
        "outputs": _said(
            _array(_object({"name": TEXT, "node": TEXT, "output": COUNT, "layers": TEXT})), "what the model returns"
        ),
        "claims": _object(
            {"facts": _array(_object({"id": TEXT, "value": {}, "where": TEXT})), "unread": _array(TEXT)},
            "what the model says of itself",
        ),
    }
)

_DRAWN_MODEL = _object(
    {
        **{name: _MODEL["properties"][name] for name in ("name", "model_type", "class", "parameters", "untied")},
        "source": _said(TEXT, "where the config stands, in words"),
        "scenario": _SCENARIO,
        "notes": _array(TEXT),
    }
)

_ASKED_MODEL = _object(
    {
        **{name: _MODEL["properties"][name] for name in ("name", "model_type", "class", "parameters", "untied")},
        "scenario": _SCENARIO,
        "notes": _array(TEXT),
    }
)

_VERDICT: Schema = {"type": ["boolean", "null"]}

_FACT = _object(
    {
        "id": TEXT,
        "value": _said({}, "number, word, truth value, list or null (none)"),
        "unit": TEXT,
        "formula": _said(TEXT, "what the value is made of, where a formula fits"),
        "layers": _said(TEXT, '"" for all of them, "0-10:2", or the section of a part outside the blocks'),
        "evidence": _object(
            {
                "ops": _said(_array(COUNT), "ids in the trace, of the first of the equal blocks"),
                "shown": _said(TEXT, "the parts those ops play"),
                "probes": _said(_array(_object({"name": TEXT, "value": {}})), "experiments and what came of them"),
            }
        ),
        "claim": {"oneOf": [{"type": "null"}, _object({"where": TEXT, "value": {}})]},
        "agrees": _said(_VERDICT, "whether execution and claim agree"),
        "probed": _said(_VERDICT, "whether graph and experiments agree"),
        "conflict": {"type": "boolean"},
    }
)

_COMPARED = _object(
    {
        **{name: _MODEL["properties"][name] for name in ("name", "model_type", "class", "parameters", "untied")},
        "scenario": _SCENARIO,
        "axes": _said({"type": "object", "additionalProperties": _array(COUNT)}, "letter -> sizes found"),
        "layers": COUNT,
        "pattern": _said(TEXT, "the blocks in words"),
        "flops": _said(MAYBE_COUNT, "contractions of this run"),
        "cache_bytes_per_token": MAYBE_COUNT,
        "notes": _array(TEXT),
    }
)

_STAGE = _object(
    {
        "id": TEXT,
        "section": TEXT,
        "role": TEXT,
        "operand": TEXT,
        "layers": TEXT,
        "module": _said(TEXT, "{} for the number of the layer"),
        "op": _said(TEXT, "the functions that compute, in order"),
        "outputs": _said(_array(TEXT), "symbolic shapes"),
        "axes": _said(_array(_array(TEXT)), "the same with axis letters"),
        "attributes": {"type": "object"},
    }
)

_STATUSES = ("same", "renamed", "re-expressed", "changed", "moved", "only-a", "only-b")
_SEVERITY_COUNTS = _object(dict.fromkeys(("breaking", "notable", "cosmetic"), COUNT))

_ALIGNED = _object(
    {
        "id": TEXT,
        "status": {"enum": list(_STATUSES)},
        "a": _array(_STAGE),
        "b": _array(_STAGE),
        "changes": _array(_object({"name": TEXT, "a": {}, "b": {}})),
        "reason": _said(TEXT, "why the stages belong together, or how their equality is known"),
        "score": _said(FRACTION, "how much speaks for the match"),
    }
)

_FINDING = _object(
    {
        "rule": TEXT,
        "severity": {"enum": ["breaking", "notable", "cosmetic"]},
        "sentence": TEXT,
        "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{12}$"},
        "a": {},
        "b": {},
        "rows": _said(_array(TEXT), "ids of the rows that show it"),
    }
)

_DIFFERENCES = _object(
    {
        **dict.fromkeys(_STATUSES, COUNT),
        "aligned": _said(FRACTION, "stages with a part that found a counterpart, or whose absence a finding explains"),
        "findings": _SEVERITY_COUNTS,
        "sentences": _array(TEXT, 1),
    }
)

SCHEMAS: dict[str, Schema] = {
    "shapes": _document(
        "inspector/shapes/1",
        {"tool": _TOOL, "models": _array(_MODEL, 1), "rows": _array(_ROW), "summary": _SUMMARY},
    ),
    "graph": _document(
        "inspector/graph/1",
        {
            "tool": _TOOL,
            "models": _array(_DRAWN_MODEL, 1) | {"maxItems": 1},
            "directed": {"const": True},
            "multigraph": {"const": True},
            "graph": _WHOLE,
            "nodes": _array(_NODE),
            "edges": _array(_EDGE),
            "summary": _object(dict.fromkeys(("nodes", "edges", "stages", "parameters", "flops"), COUNT)),
        },
    ),
    "facts": _document(
        "inspector/facts/1",
        {
            "tool": _TOOL,
            "models": _array(_ASKED_MODEL, 1) | {"maxItems": 1},
            "rows": _array(_FACT),
            "unanswered": _array(_object({"id": TEXT, "reason": TEXT})),
            "summary": _object(dict.fromkeys(("facts", "claims", "conflicts", "unanswered"), COUNT)),
        },
    ),
    "diff": _document(
        "inspector/diff/1",
        {
            "tool": _TOOL,
            "models": _array(_COMPARED, 2) | {"maxItems": 2},
            "rows": _array(_ALIGNED),
            "findings": _array(_FINDING),
            "summary": _DIFFERENCES,
        },
    ),
    "models": _document("inspector/models/1", {"tool": _TOOL, "rows": _array(_PRESET)}),
}
"""Kind of document -> its JSON Schema (draft 2020-12)."""
