"""The catalogue of models: as a document, as an envelope, as flat records."""

from __future__ import annotations

__all__ = ["document", "envelope", "records"]

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import inspector
from inspector.messages import say
from inspector.render.document import Column, Document, Group, Heading, Note, Paragraph, Span, Table, cell, line
from inspector.reporting import words
from inspector.source.catalogue import Preset


def _columns() -> tuple[Column, ...]:
    return (
        Column(say("label.name")),
        Column(say("label.parameters"), "right"),
        Column(say("label.cache bytes per token"), "right", rank=2),
        Column(say("models.aliases"), rank=1, least=24),
        Column(say("models.hub"), rank=3),
    )


def document(presets: Sequence[Preset]) -> Document:
    """The models by architecture."""
    groups = tuple(
        Group(line(Span(model_type, "title")), 1, tuple(_row(preset) for preset in family))
        for model_type, family in groupby(presets, key=lambda preset: preset.model_type)
    )
    return (
        Heading(1, line(say("models.known", models=words.counted(len(presets), "model")))),
        Paragraph(line(say("models.use"))),
        Table(_columns(), groups),
        Note(line(say("models.others"))),
    )


def _row(preset: Preset) -> tuple[Any, ...]:
    return (
        cell(preset.name),
        cell(f"{preset.parameters:,}"),
        cell(words.number(preset.cache_bytes_per_token or 0)),
        cell(", ".join(preset.aliases)),
        cell(preset.hub),
    )


def envelope(presets: Sequence[Preset]) -> dict[str, Any]:
    """The envelope `inspector/models/1`. Nothing in it depends on torch or transformers: no versions of theirs."""
    return {"schema": "inspector/models/1", "tool": {"inspector": inspector.__version__}, "rows": records(presets)}


def records(presets: Sequence[Preset]) -> list[dict[str, object]]:
    return [
        {
            "name": preset.name,
            "model_type": preset.model_type,
            "parameters": preset.parameters,
            "cache_bytes_per_token": preset.cache_bytes_per_token,
            "aliases": list(preset.aliases),
            "hub": preset.hub,
            "source": preset.source,
        }
        for preset in presets
    ]
