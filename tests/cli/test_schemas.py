"""Every document that is written is valid; a broken one is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

import inspector
from inspector.api.results import Shapes
from inspector.api.schemas import SCHEMAS, schema
from inspector.errors import UsageError


def valid(name: str, document: Any) -> None:
    Draft202012Validator(schema(name)).validate(document)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])

    assert SCHEMAS[name]["title"] == f"inspector/{name}/1"


def test_an_unknown_schema_is_refused() -> None:
    with pytest.raises(UsageError, match="no schema named 'shape'") as caught:
        schema("shape")

    assert caught.value.hint == f"there is {', '.join(SCHEMAS)}"


def test_shapes_are_valid(tables: SimpleNamespace) -> None:
    for result in ([tables.gpt2()], [tables.gpt2(), tables.gpt2("sdpa")], [tables.hostile()]):
        valid("shapes", json.loads(Shapes(tuple(result)).to_json()))


def test_models_are_valid() -> None:
    document = json.loads(inspector.models().to_json())

    valid("models", document)
    assert "gpt2" in [row["name"] for row in document["rows"]]


def _set(*path: Any, value: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        *to, last = path
        for step in to:
            document = document[step]
        document[last] = value

    return change


BREAKS = {
    "another version": _set("schema", value="inspector/shapes/2"),
    "no rows": lambda document: document.pop("rows"),
    "no models": _set("models", value=[]),
    "an unknown field": _set("date", value="2026-01-01"),
    "an unknown field of a row": _set("rows", 0, "path", value="/tmp/x"),
    "a missing field of a row": lambda document: document["rows"][0].pop("role"),
    "a shape of text": _set("rows", 0, "inputs", 0, "shape", value=["B"]),
    "negative parameters": _set("rows", 0, "parameters", value=-1),
    "a fraction above one": _set("summary", "specific", value=99.6),
    "an unknown mode": _set("models", 0, "scenario", "mode", value="training"),
    "a number for a name": _set("models", 0, "name", value=1),
    "no version of ours": _set("tool", value={"torch": "2.13.0"}),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_document_is_refused(name: str, tables: SimpleNamespace) -> None:
    document = copy.deepcopy(json.loads(Shapes((tables.gpt2(),)).to_json()))
    BREAKS[name](document)

    with pytest.raises(ValidationError):
        valid("shapes", document)
