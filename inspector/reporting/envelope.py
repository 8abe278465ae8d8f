"""Results as JSON-ready records: the envelope of `inspector shapes --format json`, and flat rows for CSV and pandas."""

from __future__ import annotations

__all__ = ["combined", "model_entry", "records", "shapes", "signature_fields"]

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from inspector.shape_table.rows import ShapeRow, ShapeSummary, ShapeTable
from inspector.shape_table.signatures import Signature
from inspector.stage_graph.fields import model_fields, tensor_fields
from inspector.stage_graph.tensors import TensorView


def shapes(tables: Sequence[ShapeTable]) -> dict[str, Any]:
    """The envelope: `schema` first, then `tool`, one entry in `models` per run, the rows of all, and the summary.

    A row's `model` is the index of its run in `models`.
    """
    return {
        "schema": "inspector/shapes/1",
        "tool": dict(tables[0].tool),
        "models": [model_entry(table) for table in tables],
        "rows": [_row(row, index) for index, table in enumerate(tables) for row in table.rows],
        "summary": asdict(combined([table.summary for table in tables])),
    }


def combined(summaries: Sequence[ShapeSummary]) -> ShapeSummary:
    """One summary that hides no gap of any run: counts added up, the lowest `specific`, the largest sizes."""
    cache = [summary.cache_bytes_per_token for summary in summaries if summary.cache_bytes_per_token is not None]
    return ShapeSummary(
        **{name: sum(getattr(summary, name) for summary in summaries) for name in _ADDED},
        specific=min(summary.specific for summary in summaries),
        parameters=max(summary.parameters for summary in summaries),
        cache_bytes_per_token=max(cache, default=None),
    )


_CACHE = ("layers", "name", "symbolic", "bytes_per_token")
_ADDED = ("ops", "stages", "unknown", "orphans", "flops", "flops_other", "unsolved_dims")


def records(tables: Sequence[ShapeTable]) -> list[dict[str, object]]:
    """Flat rows in the order of the table; the runs follow one another."""
    return [_record(table, row) for table in tables for row in table.rows]


def model_entry(table: ShapeTable) -> dict[str, Any]:
    """What is said of a model and of its whole run."""
    return {
        **model_fields(table.model, table.scenario),
        "axes": dict(table.axes),
        "blocks": list(table.blocks),
        "cache": [dict(zip(_CACHE, entry, strict=True)) for entry in table.cache],
        "notes": list(table.notes),
        "summary": asdict(table.summary),
    }


def _row(row: ShapeRow, model: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "model": model,
        "section": row.section,
        "layers": row.layers,
        "repeat": row.repeat,
        "block": row.block,
        "role": row.role,
        "also": list(row.also),
        "operand": row.operand,
        "op": row.op,
        "module": row.module,
        "inputs": [tensor_fields(view) for view in row.inputs],
        "outputs": [tensor_fields(view) for view in row.outputs],
        "weights": [tensor_fields(view) for view in row.weights],
        "parameters": row.parameters,
        "flops": row.flops,
        "ops": list(row.ops),
        "attributes": dict(row.attributes),
        "signature": signature_fields(row.signature),
    }


def signature_fields(signature: Signature | None) -> dict[str, Any] | None:
    """The axes of a product, in words and one by one; None for what is none."""
    if signature is None:
        return None
    return {"text": signature.text, "flops": signature.formula, **signature._asdict()}


def _record(table: ShapeTable, row: ShapeRow) -> dict[str, object]:
    return {
        "model": table.model.name,
        "attention": table.scenario.attention,
        "section": row.section,
        "layers": row.layers,
        "repeat": row.repeat,
        "role": row.role,
        "also": " ".join(row.also),
        "operand": row.operand,
        "op": row.op,
        "module": row.module,
        **_tensors("input", row.inputs),
        **_tensors("output", row.outputs),
        "signature": row.signature.text if row.signature else "",
        "parameters": row.parameters,
        "flops": row.flops,
    }


def _tensors(side: str, views: Sequence[TensorView]) -> dict[str, object]:
    return {
        f"{side}s": "; ".join(view.symbolic for view in views),
        f"{side}_shapes": "; ".join("x".join(map(str, view.shape)) or "()" for view in views),
        f"{side}_dtypes": "; ".join(view.dtype for view in views),
    }
