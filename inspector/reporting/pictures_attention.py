"""Pictures of heads: how they share keys and values, and how one product is cut in three."""

from __future__ import annotations

__all__ = ["fusion", "heads"]

from collections.abc import Iterator, Sequence

from inspector.messages import say
from inspector.render.document import Drawing, Figure, Shape
from inspector.reporting import words
from inspector.reporting.pictures_ink import label, rect, rects, wire, wires
from inspector.reporting.report_material import Portrait, slug

_WIDTH = 320


def heads(portrait: Portrait) -> Iterator[Figure]:
    """Query heads above, key/value heads below, lines for who reads whom."""
    queries, shared = portrait.number("attention.heads"), portrait.number("attention.kv_heads")
    if not queries or not shared or queries % shared:
        return
    kind = portrait.fact("attention.kind")
    name = f" ({str(kind.value).upper()})" if kind else ""
    group = queries // shared
    each = say("heads.own") if group == 1 else say("heads.shared", group=group)
    title = f"{portrait.name}: {say('heads.title', queries=queries, shared=shared)}{name}"
    text = say("heads.text", queries=queries, shared=shared, each=each)
    yield Figure(f"{slug(portrait.name)}-heads", title, text, _heads(queries, shared))


def _heads(queries: int, shared: int) -> Drawing:
    shapes: list[Shape] = []
    for y, count, colour in ((20, queries, "q"), (84, shared, "k")):
        step = _WIDTH / count
        gap = min(3.0, step / 5)
        shapes.append(rects(((at * step, y, step - gap, 18) for at in range(count)), colour))
    q, k = _WIDTH / queries, _WIDTH / shared
    ends = (((at + 0.5) * q, 39, (at * shared // queries + 0.5) * k, 83) for at in range(queries))
    shapes.append(wires(ends, width=1))
    shapes += [*_counts(queries, shared)]
    return Drawing(_WIDTH, 124, tuple(shapes))


def _counts(queries: int, shared: int) -> tuple[Shape, Shape]:
    return label(0, 13, say("heads.queries", n=queries), "q"), label(0, 117, say("heads.keys", n=shared), "k")


def fusion(portrait: Portrait) -> Iterator[Figure]:
    """The weights of queries, keys and values as bars, to scale: one, or three."""
    bars = _bars(portrait)
    if not bars:
        return
    sizes = {"q": portrait.number("attention.heads"), "k": portrait.number("attention.kv_heads")}
    head = portrait.number("attention.head_dim") or 0
    q, k = (sizes["q"] or 0) * head, (sizes["k"] or 0) * head
    widths = {"q": q, "k": k, "v": k}
    fact = portrait.fact("attention.qkv")
    word = str(fact.value) if fact else ""
    heads = words.counted(q // head if head else 0, "head")
    text = say("fusion.one" if len(bars) == 1 else "fusion.three", heads=heads, q=f"{q:,}", k=f"{k:,}")
    yield Figure(f"{slug(portrait.name)}-qkv", f"{portrait.name}: {word}", text, _fused(bars, widths))


def _bars(portrait: Portrait) -> list[str]:
    fact = portrait.fact("attention.qkv")
    known = {"separate": ["q", "k", "v"], "fused": ["qkv"]}
    found = known.get(str(fact.value), []) if fact else []
    return found if all(portrait.number(f"attention.{name}") for name in ("heads", "kv_heads", "head_dim")) else []


def _fused(bars: Sequence[str], widths: dict[str, int]) -> Drawing:
    """Bars side by side: with a gap where the weights are apart, with a dashed cut where they are one."""
    whole = sum(widths.values()) or 1
    gap = 14 if len(bars) > 1 else 0
    room = _WIDTH - 2 - 2 * gap
    shapes: list[Shape] = []
    x = 1.0
    for name, width in widths.items():
        size = room * width / whole
        shapes += [rect(x, 20, size, 34, name), label(x + size / 2, 70, f"{name} {width:,}", "ink", "middle")]
        if gap == 0 and x > 1:
            shapes.append(wire((x, 16), (x, 58), stroke="paper", dashed=True))
        x += size + gap
    if gap == 0:
        shapes.append(rect(1, 20, _WIDTH - 2, 34, "none", "ink"))
    title = say("fusion.one projection" if gap == 0 else "fusion.three projections")
    return Drawing(_WIDTH, 78, (label(0, 13, title, "muted"), *shapes))
