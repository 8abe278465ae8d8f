"""How attention moves shapes, step by step, for somebody who learns it: every shape and number from models that ran."""

from __future__ import annotations

__all__ = ["PICTURES", "STEPS", "document"]

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from inspector.axes import AXES
from inspector.messages import language, messages, say
from inspector.render.document import (
    Block,
    Cell,
    Column,
    Document,
    Figures,
    Group,
    Heading,
    Pairs,
    Paragraph,
    Span,
    Table,
    cell,
    line,
)
from inspector.reporting import words
from inspector.reporting.pictures import Painter
from inspector.reporting.pictures_attention import fusion, heads
from inspector.reporting.pictures_flow import norms, positions
from inspector.reporting.pictures_masks import masks
from inspector.reporting.report_material import Material, Portrait
from inspector.reporting.report_tables import costs
from inspector.stage_graph.record import GraphNode
from inspector.stage_graph.tensors import TensorView


class Step(NamedTuple):
    """One step: its sentences are the messages `learn_NAME`. parts: the stages it is about, in the order to read them.

    picture: that shows it. fact: whose phrase among the findings says how a model does it.
    """

    name: str
    parts: tuple[str, ...]
    picture: Painter | None = None
    fact: str = ""


def _attention(*roles: str) -> tuple[str, ...]:
    return tuple(f"attention.{role}" for role in roles)


STEPS = (
    Step("tokens", tuple(f"embedding.{role}" for role in ("token", "segment", "position", "add"))),
    Step("projections", _attention("q_proj", "k_proj", "v_proj", "qkv_proj", "split_qkv"), fusion),
    Step("heads", _attention("split_heads")),
    Step("positions", ("embedding.position", "positions.rope_table", "attention.rope"), positions, "position.kind"),
    Step("sharing", _attention("cache_update", "repeat_kv"), heads),
    Step("scores", _attention("scores", "scale")),
    Step("mask", ("mask.build", *_attention("mask", "softmax")), masks, "attention.direction"),
    Step("values", _attention("weighted_sum", "merge_heads", "o_proj")),
    Step("stream", _attention("norm", "residual", "post_norm"), norms, "norm.placement"),
)

PICTURES = tuple(step.picture for step in STEPS if step.picture)


def document(found: Material) -> Document:
    """The whole walk: the letters, the steps, what it costs, what to try next."""
    return tuple(_blocks(found))


def _blocks(found: Material) -> Iterator[Block]:
    yield Heading(1, line(say("learn.title")))
    yield Paragraph(line(say("learn.lead", names=words.joined(found.names))))
    yield Heading(2, line(say("learn.letters")))
    yield Paragraph(line(say("learn.reading")))
    yield _letters(found)
    for number, step in enumerate(STEPS, 1):
        yield from _step(found, number, step)
    yield Heading(2, line(say("learn.cost")))
    yield Paragraph(line(say("learn.cost_why")))
    yield costs(found)
    yield Heading(2, line(say("learn.next")))
    yield Pairs(tuple((say(f"learn_try.{name}"), cell(command)) for name, command in _TRY))


_TRY = (
    ("own", "inspector shapes gpt2 --section attention"),
    ("decode", "inspector shapes llama-3-8b --past 16 --seq 1"),
    ("window", "inspector report gemma-2-2b mistral-7b-v0.1 --output-dir out"),
    ("proof", "inspector parity gpt2"),
)


def _letters(found: Material) -> Table:
    columns = (
        Column(say("learn.letter")),
        Column(say("learn.name")),
        Column(say("learn.counts"), prose=True),
        *(Column(name, "right") for name in found.names),
    )
    asked = [letter for letter in AXES if letter in "BST" or any(_sizes(each, letter) for each in found.portraits)]
    rows = tuple(
        (
            cell(Span(letter, letter)),
            cell(words.meaning("axis", letter)),
            cell(words.meaning("axis_meaning", letter)),
            *(
                cell(*_sizes(each, letter)) or cell(say("learn.chosen") if letter in "BST" else "–")
                for each in found.portraits
            ),
        )
        for letter in asked
    )
    return Table(columns, (Group(line(), 1, rows),))


def _sizes(portrait: Portrait, letter: str) -> list[str]:
    return [f"{size:,}" for size in portrait.side.sizes.get(letter, ())]


def _step(found: Material, number: int, step: Step) -> Iterator[Block]:
    of = f"learn_{step.name}"
    yield Heading(2, line(say("learn.step", n=number, title=say(f"{of}.title"))))
    yield Pairs(tuple((say(f"learn.{name}"), cell(say(f"{of}.{name}"))) for name in ("in", "out", "why")))
    yield _table(found, step)
    yield Pairs(tuple((portrait.name, cell(_each(portrait, step))) for portrait in found.portraits))
    figures = tuple(
        figure for portrait in found.portraits for figure in (step.picture(portrait) if step.picture else ())
    )
    if figures:
        yield Figures(line(say("learn.picture")), figures)
    yield Paragraph(line(Span(say("learn.think", question=say(f"{of}.think")), "muted")))


def _table(found: Material, step: Step) -> Table:
    """One line per stage, one column per model: what goes in, what comes out."""
    columns = (
        Column(say("label.part"), least=16),
        Column(say("label.meaning"), prose=True),
        *(Column(name, least=16) for name in found.names),
    )
    return Table(columns, (Group(line(), 1, tuple(_rows(found, step))),))


def _rows(found: Material, step: Step) -> Iterator[tuple[Cell, ...]]:
    for path in step.parts:
        section, _, role = path.partition(".")
        made = [_shapes(portrait, path) for portrait in found.portraits]
        if any(made):
            yield cell(path), cell(words.meaning(f"role_{section}", role)), *(one or cell("–") for one in made)


def _shapes(portrait: Portrait, path: str) -> Cell:
    """A line for each different way in which a model's first block does this."""
    nodes = [node for node in portrait.record.nodes if node.path == path and node.block in (None, 0) and node.outputs]
    told: dict[str, list[str]] = {}
    for node in nodes:
        told.setdefault(_moved(node), []).append(node.operand)
    return cell(*(f"{' '.join(filter(None, operands))}: {said}".removeprefix(": ") for said, operands in told.items()))


def _moved(node: GraphNode) -> str:
    before, after = (_runs(views) for views in (node.inputs, node.outputs))
    return f"{before} → {after}" if before else f"→ {after}"


def _runs(views: tuple[TensorView, ...]) -> str:
    """Equal neighbours once, and how many there are: `(B, S, 768) ×2`."""
    runs = [(text, len(list(same))) for text, same in groupby(view.symbolic for view in views)]
    return ", ".join(f"{text} ×{count}" if count > 1 else text for text, count in runs)


def _each(portrait: Portrait, step: Step) -> str:
    """How one model does it: as its fact is said among the findings, or in the step's own words."""
    if step.fact:
        phrases = messages(language())[step.fact]
        fact = portrait.fact(step.fact)
        return str(phrases[str(fact.value)]).format(name=portrait.name) if fact else ""
    said = messages(language())[f"learn_{step.name}"]
    kind = next(key for key in (f"each_{_kind(portrait, step)}", "each") if key in said)
    return say(f"learn_{step.name}.{kind}", **_numbers(portrait))


def _kind(portrait: Portrait, step: Step) -> str:
    if step.name == "sharing":
        shared = portrait.number("attention.heads") != portrait.number("attention.kv_heads")
        return "none" if portrait.number("cache.bytes_per_token") is None else "shared" if shared else "own"
    fact = portrait.fact("attention.qkv")
    return str(fact.value) if fact else ""


def _numbers(portrait: Portrait) -> dict[str, str]:
    """The sizes that sentences speak of."""
    head, many = portrait.number("attention.head_dim") or 0, portrait.number("attention.heads") or 0
    shared = portrait.number("attention.kv_heads") or many
    found = {"width": portrait.number("model.width"), "vocabulary": portrait.number("model.vocabulary")}
    found |= {"heads": many, "kv_heads": shared, "head": head, "q": many * head, "kv": shared * head}
    found |= {"group": many // (shared or 1), "cache": portrait.number("cache.bytes_per_token")}
    scale = portrait.fact("attention.scale")
    numbers = {name: "–" if value is None else f"{value:,}" for name, value in found.items()}
    return {"name": portrait.name, "scale": f"{scale.value:.4g}" if scale else "–", **numbers}
