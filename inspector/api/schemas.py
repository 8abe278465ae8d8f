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

SCHEMAS: dict[str, Schema] = {
    "shapes": _document(
        "inspector/shapes/1",
        {"tool": _TOOL, "models": _array(_MODEL, 1), "rows": _array(_ROW), "summary": _SUMMARY},
    ),
    "models": _document("inspector/models/1", {"tool": _TOOL, "rows": _array(_PRESET)}),
}
"""Kind of document -> its JSON Schema (draft 2020-12)."""
