"""Greedy decoding as tables: the shapes of each step, and the proof that the cache changes nothing."""

from __future__ import annotations

__all__ = ["document", "envelope", "records"]

import math
from collections.abc import Iterator, Sequence
from typing import Any

from inspector.messages import say
from inspector.render.document import (
    Block,
    Cell,
    Column,
    Document,
    Group,
    Heading,
    Note,
    Pairs,
    Paragraph,
    Span,
    Table,
    cell,
    line,
)
from inspector.reporting import words
from inspector.shape_table.generation import Generation, Kept, Token
from inspector.stage_graph.fields import model_fields

_STYLES = {"same": "", "tie": "warning", "fail": "warning"}


def document(made: Generation) -> Document:
    """What `--generate` prints."""
    return (*_header(made), *_shapes(made), *_costs(made), *_summary(made))


def _header(made: Generation) -> Iterator[Block]:
    model = made.model
    yield Heading(1, line(model.name or model.class_name))
    yield Paragraph(line(words.described(model)))
    key = "generate.broken" if made.first_failure else "generate.pass"
    worst = next((step for step in made.steps if step.verdict == "fail"), max(made.steps, key=_difference))
    told = say(
        key,
        difference=_figure(worst.difference),
        step=worst.number,
        allowed=_figure(made.allowed),
        dtype=made.scenario.dtype,
    )
    yield Paragraph(line(Span(told, "warning" if made.first_failure else "title")))
    tokens, prompt = words.counted(len(made.steps), "token"), words.counted(made.scenario.seq, "token")
    how = "generate.run_said" if made.steps[0].ids[1] == made.scenario.seq else "generate.run_decoder"
    run = cell(say(how, tokens=tokens, prompt=prompt), *words.scenario(made.scenario))
    yield Pairs(((say("generate.run"), run), *_texts(made)))


def _difference(step: Token) -> float:
    return step.difference


def _texts(made: Generation) -> Iterator[tuple[str, Cell]]:
    for prompt, continuation in made.texts:
        yield say("generate.text"), cell(line(Span(prompt, "muted"), continuation))


def _shapes(made: Generation) -> Iterator[Block]:
    yield Heading(2, line(say("generate.shapes")))
    yield Paragraph(line(say("generate.shapes_said")))
    columns = (
        Column(say("generate.step"), "right"),
        Column(say("generate.ids")),
        Column(say("generate.whole_ids")),
        *(Column(_title(kept), rank=min(place, 3), least=10) for place, kept in enumerate(made.kept)),
        Column(say("generate.bytes"), "right"),
    )
    rows = tuple(
        (
            cell(str(step.number)),
            cell(_shape(step.ids)),
            cell(_shape(step.whole_ids)),
            *(cell(_shape(kept.shapes[place])) for kept in made.kept),
            cell(f"{step.cache_bytes:,}"),
        )
        for place, step in enumerate(made.steps)
    )
    yield Table(columns, (Group(line(), 1, rows),))


def _title(kept: Kept) -> str:
    names = say("generate.and").join(kept.names)
    if not kept.layers:
        return say("generate.held_all", names=names)
    return say("generate.held_one" if kept.layers.isdigit() else "generate.held", names=names, layers=kept.layers)


def _costs(made: Generation) -> Iterator[Block]:
    yield Heading(2, line(say("generate.cost")))
    columns = (
        Column(say("generate.step"), "right"),
        Column(say("generate.tokens"), least=12),
        Column(say("generate.flops"), "right"),
        Column(say("generate.whole_flops"), "right"),
        Column(say("generate.difference"), "right"),
        Column(say("generate.verdict")),
    )
    yield Table(columns, (Group(line(), 1, tuple(map(_cost, made.steps))),))


def _cost(step: Token) -> tuple[Cell, ...]:
    chosen = ", ".join(
        str(one) if one == two else f"{one} / {two}" for one, two in zip(step.tokens, step.whole_tokens, strict=True)
    )
    return (
        cell(str(step.number)),
        cell(chosen),
        cell(f"{step.flops:,}"),
        cell(f"{step.whole_flops:,}"),
        cell(_figure(step.difference)),
        cell(line(Span(say(f"generate.{step.verdict}"), _STYLES[step.verdict]))),
    )


def _summary(made: Generation) -> Iterator[Block]:
    cached, whole = (sum(getattr(step, name) for step in made.steps) for name in ("flops", "whole_flops"))
    yield Heading(2, line(say("generate.summary")))
    said = cell(
        say("generate.total_said", cached=f"{cached:,}", whole=f"{whole:,}"),
        say("generate.saved", factor=f"{whole / cached:.3g}") if cached else "",
    )
    last = say("generate.cache_said", bytes=f"{made.steps[-1].cache_bytes:,}")
    yield Pairs(((say("generate.total"), said), (say("generate.cache"), cell(last))))
    yield from (Note(line(text)) for text in (*_notes(made), *words.notes(made.notes)))


def _notes(made: Generation) -> Iterator[str]:
    if made.noise is None:
        yield say("generate.no_noise")
    else:
        yield say("generate.noise", noise=_figure(made.noise))
    if made.ties:
        yield say("generate.ties", steps=words.counted(made.ties, "step"))
    if made.close:
        yield say("generate.close", tokens=words.counted(made.close, "token"))
    yield say("generate.end")


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _figure(value: float) -> str:
    return f"{value:.2g}"


def envelope(made: Generation) -> dict[str, Any]:
    """The envelope of `--generate --format json`."""
    rows = [_row(made, place, step) for place, step in enumerate(made.steps)]
    return {
        "schema": "inspector/generate/1",
        "tool": dict(made.tool),
        "models": [{**model_fields(made.model, made.scenario), "notes": list(made.notes)}],
        "rows": rows,
        "texts": [{"prompt": prompt, "continuation": text} for prompt, text in made.texts],
        "summary": {
            "tokens": len(rows),
            "verdict": made.verdict,
            "first_failure": made.first_failure,
            "max_abs_difference": max((step.difference for step in made.steps), key=_badness),
            "allowed": made.allowed,
            "noise": made.noise,
            "ties": made.ties,
            "close": made.close,
            "flops": {side: sum(row["flops"][side] for row in rows) for side in ("cached", "whole")},
            "cache_bytes": made.steps[-1].cache_bytes,
        },
    }


def _badness(difference: float) -> tuple[bool, float]:
    """A NaN is worse than any number."""
    return math.isnan(difference), difference


def _row(made: Generation, place: int, step: Token) -> dict[str, Any]:
    return {
        "step": step.number,
        "ids": {"cached": list(step.ids), "whole": list(step.whole_ids)},
        "tokens": {"cached": list(step.tokens), "whole": list(step.whole_tokens)},
        "flops": {"cached": step.flops, "whole": step.whole_flops},
        "kept": [
            {
                "names": list(kept.names),
                "layers": kept.layers,
                "dtype": kept.dtype,
                "shape": list(kept.shapes[place]),
                "bytes": kept.bytes[place],
            }
            for kept in made.kept
        ],
        "cache_bytes": step.cache_bytes,
        "max_abs_difference": step.difference,
        "gaps": list(step.gaps),
        "verdict": step.verdict,
    }


def records(made: Generation) -> list[dict[str, object]]:
    """Flat rows, one per step."""
    return [
        {
            "step": step.number,
            "ids": "x".join(map(str, step.ids)),
            "ids_without_cache": "x".join(map(str, step.whole_ids)),
            "tokens": " ".join(map(str, step.tokens)),
            "tokens_without_cache": " ".join(map(str, step.whole_tokens)),
            **{_flat(kept): "x".join(map(str, kept.shapes[place])) for kept in made.kept},
            "cache_bytes": step.cache_bytes,
            "flops": step.flops,
            "flops_without_cache": step.whole_flops,
            "max_abs_difference": step.difference,
            "verdict": step.verdict,
        }
        for place, step in enumerate(made.steps)
    ]


def _flat(kept: Kept) -> str:
    return " ".join(filter(None, ("/".join(kept.names), kept.layers)))
