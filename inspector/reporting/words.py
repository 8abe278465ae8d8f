"""Numbers, layers, lists and scenarios as a reader says them, in the language that is spoken."""

from __future__ import annotations

__all__ = [
    "counted",
    "described",
    "glossed",
    "joined",
    "layers",
    "listed",
    "meaning",
    "mistake",
    "notes",
    "number",
    "ranges",
    "scaled",
    "scenario",
    "severity",
    "stage",
]

from collections.abc import Iterable

from inspector.axes import AXES
from inspector.comparison.rules import SEVERITIES
from inspector.messages import again, language, messages, say
from inspector.records import ModelInfo, Scenario
from inspector.render.document import Line, Span, line
from inspector.vocabulary import FACTS, ROLES, SECTIONS

_UNITS = ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"))


def number(value: int) -> str:
    """With separators; nothing for zero, so that a column shows what counts.

    >>> number(124439808), number(0)
    ('124,439,808', '')
    """
    return f"{value:,}" if value else ""


def counted(value: int, noun: str) -> str:
    """A number with its noun, an id of `[count]`: there its two forms stand side by side, where it has two.

    >>> counted(1, "op"), counted(2345, "op")
    ('1 op', '2,345 ops')
    """
    one, _, many = str(messages(language())["count"][noun]).partition("|")
    return (one if value == 1 or not many else many).format(n=f"{value:,}")


def scaled(value: int, unit: str) -> str:
    """Three figures and a prefix.

    >>> scaled(7_969_177_600, "FLOPs"), scaled(950, "FLOPs")
    ('7.97 GFLOPs', '950 FLOPs')
    """
    for size, prefix in _UNITS:
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}" if value < 1000 * size else f"{value // size:,} {prefix}{unit}"
    return f"{value:,} {unit}"


def listed(items: Iterable[str]) -> str:
    """Items one after another.

    >>> listed(["a", "b"])
    'a, b'
    """
    return say("joint.list").join(items)


def joined(items: Iterable[str]) -> str:
    """Items one after another, the last joined by a word.

    >>> joined(["a", "b", "c"]), joined(["a"])
    ('a, b and c', 'a')
    """
    *first, last = items
    return say("joint.and").join((listed(first), last)) if first else last


def layers(span: str) -> str:
    """Which layers a folded group stands for.

    >>> layers("0-11"), layers("0-40:2"), layers("3"), layers("")
    ('layers 0-11', 'layers 0-40, every 2nd', 'layer 3', '')
    """
    if not span:
        return ""
    return say(f"layers.{'many' if '-' in span or ',' in span else 'one'}", span=ranges(span))


def ranges(span: str) -> str:
    """The same without a noun.

    >>> ranges("0-40:2"), ranges("3")
    ('0-40, every 2nd', '3')
    """
    all_of_them, _, step = span.partition(":")
    ordinal = step if step in ("2", "3") else "other"
    return say("layers.every", span=all_of_them, step=say(f"ordinal.{ordinal}", n=step)) if step else all_of_them


def described(model: ModelInfo, *, kind: bool = True) -> str:
    """The class, its type and its size: `GPT2LMHeadModel (gpt2), 124,439,808 parameters`."""
    of = f" ({model.model_type})" if kind and model.model_type else ""
    return say("run.model", name=f"{model.class_name}{of}", parameters=counted(model.parameters, "parameter"))


def stage(where: str) -> str:
    """A stage of one layer, as reports of parity call it.

    >>> stage("layer 3 attention.rope.k"), stage("head.norm")
    ('layer 3 attention.rope.k', 'head.norm')
    """
    return again(where, "stage_of")


def notes(stored: Iterable[str]) -> tuple[str, ...]:
    """Notes on a run, which are kept in English.

    >>> notes(["no padding: the prompt is one token"])
    ('no padding: the prompt is one token',)
    """
    return tuple(again(note, "note") for note in stored)


def scenario(run: Scenario) -> tuple[str, ...]:
    """How the model was run, as a list of phrases.

    >>> scenario(Scenario())[:2]
    ('prefill: 2 sequences of 16 tokens', 'one row padded on the left')
    """
    rows = counted(run.batch, "sequence")
    sizes = say("run.sizes", rows=rows, tokens=counted(run.seq, "token"))
    if run.past:
        sizes = say("run.past", rows=rows, tokens=counted(run.seq, "new token"), past=f"{run.past:,}")
    known = run.weights in ("none", "random", "checkpoint")
    weights = say(f"weights.{run.weights}", seed=run.seed) if known else run.weights
    phrases = [
        say("run.mode", mode=run.mode, sizes=sizes),
        say(f"padding.{run.padding}"),
        say("run.attention", attention=run.attention),
        say("run.numbers", dtype=run.dtype, device=run.device, weights=weights),
    ]
    if run.experts:
        phrases.append(say("run.experts", experts=run.experts))
    return tuple(phrases)


_ENGLISH: dict[str, dict[str, str]] = {
    "section": SECTIONS,
    "fact_meaning": FACTS,
    "severity": {str(name): meaning for name, meaning in SEVERITIES.items()},
    "axis": {letter: axis.name for letter, axis in AXES.items()},
    "axis_meaning": {letter: axis.meaning for letter, axis in AXES.items()},
    **{f"role_{section}": roles for section, roles in ROLES.items() if section != "cross_attention"},
}
"""What an id means, in English: it stands where the ids are defined. Other languages have it among their messages."""


def meaning(of: str, id: str) -> str:
    """What an id of the vocabulary means; "" of what has none.

    >>> meaning("section", "mlp"), meaning("role_mlp", "norm"), meaning("section", "elsewhere")
    ('each token by itself', "normalise the sublayer's input", '')
    """
    known = _ENGLISH if language() == "en" else messages(language())
    return str(known.get(of.replace("cross_", ""), {}).get(id, ""))


def severity(name: str) -> Line:
    """The heading of findings of one severity."""
    return line(Span(name, "title"), Span(f"  {meaning('severity', name)}", "muted"))


def mistake(name: str) -> str:
    """What a known mistake is, "" where its name or what is kept of it says that in the language that is spoken."""
    return str(messages(language()).get("mistake", {}).get(name, ""))


def glossed() -> bool:
    """Whether what an id means stands beside it in tables: an English reader sees it in the id itself."""
    return language() != "en"
