"""JSON Schemas of signatures, and of what `inspector shapes --explain --format json` writes."""

from __future__ import annotations

__all__ = ["SIGNATURE", "explain_schema"]

from inspector.api.schema_parts import COUNT, TEXT, TOOL, Schema, array, document, record, said

_AXES = array(TEXT)

_SIGNATURE = record(
    {
        "text": said(TEXT, "as einsum and einops write it: b h s k, b h t k -> b h s t"),
        "inputs": said(array(_AXES), "axes of each factor: letters of the tables, or a size; 1 is stretched"),
        "output": _AXES,
        "batch": said(_AXES, "two factors have it, and the result keeps it"),
        "broadcast": said(_AXES, "a factor has size 1 there, or lacks it, and is used again"),
        "summed": _AXES,
        "added": said(array(_AXES), "what is added to the product"),
        "chosen": said(_AXES, "each row visits one of it"),
        "product": said(_AXES, "two times their sizes is the FLOPs; empty where no one product says it"),
        "flops": said(TEXT, "the same as a formula"),
    }
)

SIGNATURE: Schema = {"oneOf": [{"type": "null"}, _SIGNATURE]}


def explain_schema(model: Schema) -> Schema:
    """Schema of a whole document. model: of an entry in `models`, as for shapes."""
    row = record(
        {
            **dict.fromkeys(("id", "section", "role", "operand", "layers", "op", "module", "sentence"), TEXT),
            "repeat": {"type": "integer", "minimum": 1},
            "flops": said(COUNT, "of one of the equal ones"),
            "signature": _SIGNATURE,
        }
    )
    counts = ("products", "flops", "uncovered_flops", "ops", "unknown", "orphans", "unsolved_dims")
    return document(
        "inspector/explain/1",
        {
            "tool": TOOL,
            "models": array(model, 1) | {"maxItems": 1},
            "rows": array(row),
            "summary": record(dict.fromkeys(counts, COUNT)),
        },
    )
