"""Numbers, layers and scenarios as a reader says them."""

from __future__ import annotations

__all__ = ["counted", "layers", "number", "scaled", "scenario"]

from inspector.records import Scenario

_UNITS = ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"))


def number(value: int) -> str:
    """With separators; nothing for zero, so that a column shows what counts.

    >>> number(124439808), number(0)
    ('124,439,808', '')
    """
    return f"{value:,}" if value else ""


def counted(value: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "op"), counted(2345, "op")
    ('1 op', '2,345 ops')
    """
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def scaled(value: int, unit: str) -> str:
    """Three figures and a prefix.

    >>> scaled(7_969_177_600, "FLOPs"), scaled(950, "FLOPs")
    ('7.97 GFLOPs', '950 FLOPs')
    """
    for size, prefix in _UNITS:
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}" if value < 1000 * size else f"{value // size:,} {prefix}{unit}"
    return f"{value:,} {unit}"


def layers(span: str) -> str:
    """Which layers a folded group stands for.

    >>> layers("0-11"), layers("0-40:2"), layers("3"), layers("")
    ('layers 0-11', 'layers 0-40, every 2nd', 'layer 3', '')
    """
    ranges, _, step = span.partition(":")
    if not span:
        return ""
    many = "-" in span or "," in span
    every = {"2": "2nd", "3": "3rd"}.get(step, f"{step}th")
    return f"layer{'s' if many else ''} {ranges}" + (f", every {every}" if step else "")


def scenario(run: Scenario) -> tuple[str, ...]:
    """How the model was run, as a list of phrases.

    >>> scenario(Scenario())[:2]
    ('prefill: 2 sequences of 16 tokens', 'one row padded on the left')
    """
    rows = counted(run.batch, "sequence")
    sizes = f"{rows} of {counted(run.seq, 'token')}"
    if run.past:
        sizes = f"{rows}, {counted(run.seq, 'new token')} after {run.past:,} in the cache"
    weights = {"none": "no weights", "random": f"random weights, seed {run.seed}", "checkpoint": "its own weights"}
    phrases = [
        f"{run.mode}: {sizes}",
        "no padding" if run.padding == "none" else f"one row padded on the {run.padding}",
        f"{run.attention} attention",
        f"{run.dtype} on {run.device}, {weights.get(run.weights, run.weights)}",
    ]
    if run.experts:
        phrases.append(f"{run.experts} experts")
    return tuple(phrases)
