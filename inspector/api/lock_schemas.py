"""JSON Schemas of what `inspector lock` writes, and of what `inspector check` says of it."""

from __future__ import annotations

__all__ = ["lock_schemas"]

from inspector.api.schema_parts import COUNT, MAYBE_COUNT, TEXT, TOOL, Schema, array, document, record, said

_EXIT = said({"enum": [0, 1, 2, 3]}, "as the command's")
_FLAG: Schema = {"type": "boolean"}
_NOTHING: Schema = {"type": "null"}

_RUN = record(
    {
        "mode": {"enum": ["prefill", "decode"]},
        "tokens": said({"enum": ["one", "several"]}, "new tokens of a forward: one is another graph than several"),
        "attention": TEXT,
        "dtype": TEXT,
        "padding": {"enum": ["none", "left", "right"]},
        "head": said({"type": ["boolean", "null"]}, "null: the class that people mean by the model's name"),
    },
    "how the model is run; in which sizes and where makes no difference",
)


def lock_schemas(
    whole: Schema, node: Schema, edge: Schema, model: Schema, *, diff: tuple[Schema, Schema, Schema]
) -> dict[str, Schema]:
    """Kind of document -> its schema, from those of a saved graph and of a diff (model, row, finding).

    >>> from inspector.api.schemas import schema
    >>> schema("lock")["title"]
    'inspector/lock/1'
    """
    return {"lock": _lock(whole, node, edge, model), "check": _check(*diff)}


def _without(schema: Schema, *names: str, **more: Schema) -> Schema:
    kept = {name: kind for name, kind in schema["properties"].items() if name not in names}
    return record({**kept, **more})


def _lock(whole: Schema, node: Schema, edge: Schema, model: Schema) -> Schema:
    parts = node["properties"]
    tensors = {
        side: array(_without(parts[side]["items"], "shape", "device")) for side in ("inputs", "outputs", "weights")
    }
    of_whole = whole["properties"]
    facts = of_whole["facts"]["oneOf"][1]["items"]
    graph = {
        "pattern": of_whole["pattern"],
        "axes": array(_without(of_whole["axes"]["items"], "name")),
        "blocks": of_whole["blocks"],
        "outputs": of_whole["outputs"],
        "facts": array(_without(facts, "nodes", "claim", "agrees", "explained")),
    }
    return document(
        "inspector/lock/1",
        {
            "digest": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
            "config": said({"type": ["object", "null"]}, "to build the model from; null of one that code made"),
            "tool": TOOL,
            "models": array(_without(model, "scenario", "notes", run=_RUN), 1) | {"maxItems": 1},
            "graph": record(graph),
            "nodes": array(_without(node, "layers", "repeat", "flops", **tensors)),
            "edges": array(_without(edge, "key")),
        },
    )


def _check(model: Schema, row: Schema, finding: Schema) -> Schema:
    held = {
        "lock": said(TEXT, "name of the file, without its folder"),
        "model": said(MAYBE_COUNT, "index into `models`"),
        "locked": {"oneOf": [_NOTHING, record({"name": TEXT, "tool": TOOL})]},
        "verdict": {"enum": ["same", "differs", "unanswered"]},
        "fail_on": {"enum": ["breaking", "notable", "cosmetic"]},
        "exit_code": _EXIT,
        "updated": said(_FLAG, "the lock was written anew"),
        "sentence": TEXT,
        "error": {"oneOf": [_NOTHING, record({"what": TEXT, "why": TEXT, "hint": TEXT})]},
        "parts": said(array(row), "a: as locked, b: now"),
        "findings": array(finding),
        "statuses": said({"type": "object", "additionalProperties": COUNT}, "parts of each status"),
        "severities": record(dict.fromkeys(("breaking", "notable", "cosmetic"), COUNT)),
    }
    summary = {**dict.fromkeys(("locks", "same", "differs", "unanswered", "failing"), COUNT), "exit_code": _EXIT}
    return document(
        "inspector/check/1",
        {
            "tool": TOOL,
            "models": said(array(model), "those that could be run, as they are now"),
            "rows": said(array(record(held)), "one per lock"),
            "summary": record(summary),
        },
    )
