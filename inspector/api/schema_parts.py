"""What the JSON Schemas are made of."""

from __future__ import annotations

__all__ = [
    "ASKED_MODEL",
    "COUNT",
    "FRACTION",
    "MAYBE_COUNT",
    "MAYBE_TEXT",
    "SCENARIO",
    "TEXT",
    "TOOL",
    "Schema",
    "array",
    "document",
    "record",
    "said",
]

from collections.abc import Collection
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
MAYBE_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
FRACTION: Schema = {"type": "number", "minimum": 0, "maximum": 1}


def array(items: Schema, at_least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": at_least}


def record(properties: dict[str, Schema], description: str = "", later: Collection[str] = ()) -> Schema:
    """Every field is required and no other is allowed. later: fields that documents written before have not."""
    made: Schema = {"type": "object", "properties": properties}
    made |= {"required": sorted(properties.keys() - set(later)), "additionalProperties": False}
    return made | ({"description": description} if description else {})


def said(kind: Schema, description: str) -> Schema:
    return kind | {"description": description}


def document(title: str, properties: dict[str, Schema]) -> Schema:
    head: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return head | record({"schema": {"const": title}, **properties})


TOOL = {"type": "object", "additionalProperties": TEXT, "required": ["inspector"], "description": "package -> version"}

SCENARIO = record(
    {
        "mode": {"enum": ["prefill", "decode"]},
        "batch": COUNT,
        "seq": said(COUNT, "new tokens of this forward"),
        "past": said(COUNT, "tokens already in the KV cache"),
        "attention": TEXT,
        "dtype": TEXT,
        "device": TEXT,
        "padding": {"enum": ["none", "left", "right"]},
        "seed": {"type": "integer"},
        "weights": {"enum": ["none", "random", "checkpoint"]},
        "head": said({"type": ["boolean", "null"]}, "null: the class that people mean by the model's name"),
        "experts": MAYBE_TEXT,
    }
)

ASKED_MODEL = record(
    {
        "name": TEXT,
        "model_type": MAYBE_TEXT,
        "class": TEXT,
        "parameters": said(COUNT, "unique"),
        "untied": said(COUNT, "tied tensors counted each time"),
        "scenario": SCENARIO,
        "notes": array(TEXT),
    }
)
