"""Facts of the model as a whole: its family, its sizes, its pattern of layers, and what it costs."""

from __future__ import annotations

__all__ = ["COSTS", "FACTS"]

from collections import Counter
from collections.abc import Iterable, Iterator
from math import prod

from inspector.costs import cache_bytes_per_token, total_flops
from inspector.fact_sheet.across import crosses
from inspector.fact_sheet.feedforward import experts
from inspector.fact_sheet.masks import Visible, visible
from inspector.fact_sheet.scene import Kind, Scene, Seen, Unseen
from inspector.stage_graph import Stage

_TABLES = ("embedding.token", "embedding.position", "embedding.segment")


def family(scene: Scene) -> Iterator[Seen | Unseen]:
    """By who sees whom: both ways an encoder, back only a decoder, both and across the two together."""
    across = [kind for kind in scene.kinds if crosses(scene, kind)]
    if across:
        yield Seen("model.family", "encoder-decoder", scene.ids(scene.stages(across[0], "attention.k_proj")))
        return
    seen = [visible(scene, kind) for kind in scene.where("attention")]
    directions = {found.direction for found in seen if isinstance(found, Visible)}
    ops = tuple(op for found in seen if isinstance(found, Visible) for op in found.ops)
    if any(isinstance(found, str) for found in seen) or "" in directions:
        yield Unseen("model.family", next((found for found in seen if isinstance(found, str)), "the mask has no name"))
    elif directions:
        yield Seen("model.family", "encoder" if "bidirectional" in directions else "decoder", ops[:1])
    elif any(True for _ in scene.where("ssm")):
        yield Seen("model.family", "decoder")


def parameters(scene: Scene) -> Iterator[Seen]:
    """Unique ones; of the embedding tables; and those that one token uses."""
    model = scene.trace.model
    yield Seen("model.parameters", model.parameters)
    yield Seen("model.parameters.untied", model.untied)
    stages = scene.stages(None, *_TABLES)
    yield Seen("model.parameters.embedding", _elements(scene, stages), scene.ids(stages))
    counts = {seen.place: seen.value for seen in experts(scene) if isinstance(seen, Seen) and seen.id == "moe.experts"}
    visits = {seen.place: seen.value for seen in experts(scene) if isinstance(seen, Seen) and seen.id == "moe.active"}
    idle = 0
    for kind in scene.where("moe"):
        one, many, used = _experts(scene, kind), counts.get(kind), visits.get(kind)
        if isinstance(many, int) and isinstance(used, int) and many:
            idle += len(kind.layers) * (one - one * used // many)
    if counts:
        yield Seen("model.parameters.active", model.parameters - idle)


def _experts(scene: Scene, kind: Kind) -> int:
    stages = [s for s in kind.stages if s.section == "moe" and s.role.startswith("expert_")]
    return _elements(scene, stages)


def _elements(scene: Scene, stages: Iterable[Stage]) -> int:
    found = {value for stage in stages for value in stage.parameters}
    return sum(prod(scene.shape(value)) for value in found if scene.trace.values[value].kind == "parameter")


def sizes(scene: Scene) -> Iterator[Seen]:
    yield from _depth(scene)
    width = _width(scene)
    if width:
        yield Seen("model.width", width)
    for stage in scene.stages(None, "embedding.token"):
        tables = [value for value in stage.parameters if len(scene.shape(value)) == 2]
        if tables:
            yield Seen("model.vocabulary", max(scene.shape(value)[0] for value in tables), scene.ids([stage]))
            break
    if scene.graph.layers:
        yield Seen("model.layer_pattern", scene.folded.pattern)


def _width(scene: Scene) -> int | None:
    """The width of most of the stream; of streams side by side of the widest, and of copies in one axis of one."""
    sums = [residual.result for residual in scene.naming.residuals if not residual.nested]
    widths = Counter(scene.channels(value) for value in sums or scene.naming.trunk if scene.shape(value))
    if not widths:
        return None
    width = max(widths, key=lambda width: (widths[width], width))
    start = scene.flow.maker(min(scene.naming.trunk))
    if start is None or start.name != "repeat":
        return width
    return width // max(1, scene.channels(start.outputs[0]) // scene.channels(start.inputs[0]))


def _depth(scene: Scene) -> Iterator[Seen]:
    """Of two stacks together, and of the one that writes."""
    writing = sum(len(kind.layers) for kind in scene.kinds if crosses(scene, kind))
    reading = scene.graph.layers - writing
    both = writing and reading
    yield Seen("model.layers", scene.graph.layers, formula=f"{reading} + {writing}" if both else "")
    if both:
        yield Seen("model.layers.decoder", writing)


FACTS = (family, parameters, sizes)


def cache(scene: Scene) -> Iterator[Seen]:
    """What is kept for the next forward grows by this much with each token: all layers together, then by kind."""
    stored = {kind: _growth(scene, kind) for kind in scene.kinds}
    total = sum(growth * len(kind.layers) for kind, (growth, _) in stored.items())
    if total:
        first = next(ops for growth, ops in stored.values() if growth)
        yield Seen("cache.bytes_per_token", total, first, unit=f"bytes ({scene.trace.scenario.dtype})")
    if total and len({growth for growth, _ in stored.values()}) > 1:
        for kind, (growth, ops) in stored.items():
            yield Seen("cache.bytes_per_token.layer", growth, ops, kind, unit=f"bytes ({scene.trace.scenario.dtype})")


def _growth(scene: Scene, kind: Kind) -> tuple[int, tuple[int, ...]]:
    """Bytes of one block. A block with a window keeps a fixed number of tokens: there what comes in counts.

    The last few columns that a convolution keeps are joined to nothing, and grow with no token.
    """
    total = 0
    ops: list[int] = []
    for stage in kind.stages:
        if stage.role != "cache_update":
            continue
        for value in stage.outputs:
            joined = any(scene.trace.ops[index].name == "cat" for index in stage.ops)
            kept = (value, *stage.inputs) if joined else (value,)
            growth = max(cache_bytes_per_token(scene.trace.values[v], scene.trace.symbols[v]) for v in kept)
            if value in scene.flow.leaving and growth:
                total += growth
                ops.extend(scene.ids([stage]))
    return total, tuple(dict.fromkeys(ops))


def flops(scene: Scene) -> Iterator[Seen]:
    """Of this run: contractions, each part's share of them, and the rest."""
    total = total_flops(scene.trace.ops, scene.trace)
    yield Seen("cost.flops", total.contraction, unit="FLOPs")
    yield Seen("cost.flops_other", total.other, unit="FLOPs")
    parts: Counter[str] = Counter()
    shown: dict[str, list[int]] = {}
    for stage in scene.graph.stages:
        cost = total_flops(scene.graph.ops(stage), scene.trace).contraction
        if cost:
            parts[stage.path] += cost
            shown.setdefault(stage.path, list(scene.ids([stage])))
    for path, cost in parts.most_common():
        yield Seen(f"cost.flops.{path}", cost, tuple(shown[path]), unit="FLOPs")


COSTS = (cache, flops)
