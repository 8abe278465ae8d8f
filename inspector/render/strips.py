"""Models side by side: one strip for each part of their architecture, folded by what holds them."""

from __future__ import annotations

__all__ = ["Box", "Fold", "Lane", "Mark", "Rows", "Strip"]

from typing import NamedTuple

from inspector.render.text import Cell, Line


class Box(NamedTuple):
    """One stage in a row. name: what the model calls it. said: what it computes. lane: "q", "k", "v", "" for all.

    facts: label and value, shown on demand. idle: it hands on what it got. style: the status it is painted in.
    """

    name: str
    said: str
    shape: Line
    lane: str = ""
    idle: bool = False
    facts: tuple[tuple[str, Cell], ...] = ()
    style: str = ""


class Lane(NamedTuple):
    """What one model has in one row. track: what runs through the row: "one" line, "lanes" (three) or nothing.

    skip: what the residual line does here: "start", "pass", "end". fan: where the lanes part ("top"), and join
    ("bottom").
    """

    boxes: tuple[Box, ...]
    track: str = ""
    skip: str = ""
    fan: str = ""


class Mark(NamedTuple):
    """How two neighbours of a row relate. said: what changed. link: id of the row where what moved is found again."""

    sign: str
    status: str
    said: tuple[str, ...] = ()
    link: str = ""
    why: str = ""


class Strip(NamedTuple):
    """One row: a part of the architecture, one lane for each model, the marks between them. quiet: all alike."""

    id: str
    part: str
    meaning: str
    lanes: tuple[Lane, ...]
    marks: tuple[tuple[Mark, ...], ...]
    quiet: bool


class Fold(NamedTuple):
    """Rows, and folds inside, under one heading. tracks: of each model, for what runs past when it is closed."""

    title: str
    said: str
    items: tuple[Strip | Fold, ...]
    tracks: tuple[Lane, ...] = ()


class Rows(NamedTuple):
    """Models side by side, one row for each part of their architecture."""

    names: tuple[str, ...]
    folds: tuple[Fold, ...]
