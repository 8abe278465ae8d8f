"""Facts of attention: who sees whom, in how many heads, at which scale."""

from __future__ import annotations

__all__ = ["FACTS"]

import math
from collections.abc import Iterator
from typing import NamedTuple

from inspector.fact_sheet.across import crosses, kept_of_another, products, reads_another
from inspector.fact_sheet.masks import visible
from inspector.fact_sheet.scene import Kind, Scene, Seen, Unseen
from inspector.records import Op, Plain
from inspector.roles.flow import CONTRACT, FUSED_ATTENTION
from inspector.stage_graph import Stage
from inspector.stage_graph.attributes import attribute

SECTIONS = ("attention", "cross_attention")
_MIXERS = ("attention", "ssm")


def direction_and_window(scene: Scene) -> Iterator[Seen | Unseen]:
    """From the contents of the mask that is added to the scores, or from what the fused kernel was told."""
    for kind in scene.where("attention"):
        if reads_another(scene, kind):  # of the other sequence all is seen
            continue
        seen = visible(scene, kind)
        if isinstance(seen, str):
            yield Unseen("attention.direction", seen)
            yield Unseen("attention.window", seen)
            continue
        kept = kept_of_another(scene, kind) if seen.window is None else None
        if kept is not None:
            seen = seen._replace(window=kept[0], ops=kept[1])
        if seen.direction:
            yield Seen("attention.direction", seen.direction, seen.ops, kind)
        else:
            yield Unseen("attention.direction", "the mask follows no pattern that is known by name")
        if not seen.direction and seen.window is None:
            yield Unseen("attention.window", "the mask follows no pattern that is known by name")
        elif seen.window is not None or not seen.hidden_window:
            yield Seen("attention.window", seen.window, seen.ops, kind, unit="tokens" if seen.window else "")
        else:
            yield Unseen("attention.window", seen.hidden_window)


def heads(scene: Scene) -> Iterator[Seen | Unseen]:
    """Counted on the operands of query times key: the keys before they are repeated."""
    for kind in scene.kinds:
        sections = scene.sections(kind)
        if "attention" not in sections:
            yield Seen("attention.kind", "linear" if "ssm" in sections else "none", (), kind)
            continue
        found = counted(scene, kind)
        if found is None:
            yield Unseen("attention.heads", "no product of queries and keys was recognised")
            continue
        queries, groups, width, ops = found
        latent = scene.stages(kind, "attention.kv_down", "attention.kv_up")
        many = "mha" if queries == groups else "mqa" if groups == 1 else "gqa"
        yield Seen("attention.kind", "mla" if latent else many, scene.ids(latent) or ops, kind)
        yield Seen("attention.heads", queries, ops[-1:], kind)
        yield Seen("attention.kv_heads", groups, ops, kind)
        yield Seen("attention.head_dim", width, ops[-1:], kind)


def counted(scene: Scene, kind: Kind) -> tuple[int, int, int, tuple[int, ...]] | None:
    """(query heads, key/value heads, head width, ops that show it)."""
    found = next(products(scene, kind), None)
    if found is None:
        return None
    query, key, op = found
    repeats = scene.stages(kind, "attention.repeat_kv")
    width, batch = scene.shape(query)[-1], scene.trace.scenario.batch
    before = next((stage for stage in repeats if stage.operand == "k"), None)
    keys = next((v for v in before.inputs if scene.flow.on_act(v)), key) if before else key
    if scene.shape(keys)[-1] != width:  # a part of the key alone is shared
        before, keys = None, key
    length = _length(scene, op)
    made, keyed = (_projected(scene, kind, tag, value) for tag, value in (("q", query), ("k", key)))
    rows = _at_most(made, _heads_of(scene, made, query, width), width)
    groups = scene.flow.size(keys) // (batch * length * width) if length else rows
    groups = _at_most(keyed, groups, width)
    loop = looped(scene, kind)
    # What is joined may also be stretches of the sequence, each with all heads: then the bound holds for the whole.
    rows = _at_most(made if _is_one(scene, kind, "q") else None, rows * loop, width)
    groups *= loop if _own_keys(scene, kind) else 1
    groups = _at_most(keyed if _is_one(scene, kind, "k") else None, groups, width)
    return rows, groups, width, (*(scene.ids([before]) if before else ()), op.id)


def _heads_of(scene: Scene, made: Projected | None, query: int, width: int) -> int:
    """What is left of the queries' elements for each token that they were projected from.

    A block may read a sequence of another length than the inputs': pooled, with prompts before it, of the encoder.
    """
    size, batch = scene.flow.size(query), scene.trace.scenario.batch
    tokens = made.tokens if made else batch * scene.trace.scenario.seq
    rows, rest = divmod(size, tokens * width)
    return rows if not rest else size // (batch * scene.shape(query)[-2] * width)


def _at_most(made: Projected | None, heads: int, width: int) -> int:
    """No more heads than the projection made: pieces of a sequence that overlap hold some of its tokens twice."""
    if made is None or heads * width <= made.features or made.features % width:
        return heads
    return made.features // width


def _is_one(scene: Scene, kind: Kind, tag: str) -> bool:
    """Whether one projection makes the queries or keys of all heads."""
    return len(_projections(scene, kind, tag)) == 1


def _projections(scene: Scene, kind: Kind, tag: str) -> list[Op]:
    return [op for op in scene.ops(scene.stages(kind, f"attention.{tag}_proj")) if scene.flow.weighted[op.id]]


class Projected(NamedTuple):
    """What the projection of queries or keys gives."""

    tokens: int
    features: int


def _projected(scene: Scene, kind: Kind, tag: str, value: int) -> Projected | None:
    """Of the one projection behind `value`; None without such a one. Streams side by side have one each."""
    ops = _projections(scene, kind, tag)
    if len(ops) > 1:
        ops = [op for op in ops if op.id in scene.weighed_behind(value)]
    if len(ops) != 1 or ops[0].name not in CONTRACT or ops[0].name.startswith("conv"):  # tokens last
        return None
    read = next(value for value in scene.flow.factors(ops[0]) if scene.flow.on_act(value))
    tokens = scene.flow.size(read) // scene.shape(read)[-1]
    return Projected(tokens, scene.flow.size(ops[0].outputs[0]) // tokens)


def looped(scene: Scene, kind: Kind) -> int:
    """How many attentions are joined to one: heads may be computed one after the other."""
    for op in scene.ops(scene.stages(kind, "attention.merge_heads")):
        if op.name in ("cat", "stack") and len(op.inputs) > 1:
            makers = [scene.flow.maker(scene.flow.through(value, ("plumb", "view"))) for value in op.inputs]
            roles = {scene.naming.parts[maker.id].path if maker is not None else "" for maker in makers}
            if roles <= {"attention.weighted_sum", "attention.fused"}:
                return len(op.inputs) if _queries(scene, kind) > 1 else 1  # of one, values alone are in parts
    return 1


def _own_keys(scene: Scene, kind: Kind) -> bool:
    """Whether each of several attentions has keys of its own."""
    stages = scene.stages(kind, "attention.k_proj")
    return len(stages) != 1


def _queries(scene: Scene, kind: Kind) -> int:
    """How many different values are queries of a block."""
    return len({scene.flow.through(query, ("plumb", "view")) for query, _, _ in products(scene, kind)})


def _length(scene: Scene, op: Op) -> int:
    """How many keys there are."""
    return scene.shape(op.inputs[1])[-2] if op.name == FUSED_ATTENTION else scene.shape(op.outputs[0])[-1]


def scale(scene: Scene) -> Iterator[Seen | Unseen]:
    """The product of all factors on queries, keys and scores: it does not matter where they stand."""
    for kind in scene.where("attention"):
        found = counted(scene, kind)
        factor, ops = _factor(scene, kind)
        if factor is None:
            yield Unseen("attention.scale", "a factor of the scores depends on weights")
        elif found is not None:
            yield Seen("attention.scale", factor, ops or found[3][-1:], kind, _formula(factor, found[2]))


def _factor(scene: Scene, kind: Kind) -> tuple[float | None, tuple[int, ...]]:
    product, used, loop = 1.0, [], looped(scene, kind)
    stages = [
        stage
        for role in ("scale", "scores", "fused")
        for found in [scene.stages(kind, f"attention.{role}")]
        for stage in found[: max(1, len(found) // loop)]  # of heads one after the other, those of one
    ]
    for op in scene.ops(stages):
        number = _of_op(scene, op)
        if number is None:
            return None, ()
        if number != 1.0:
            used.append(op.id)
        product *= number
    return product, tuple(used)


def _of_op(scene: Scene, op: Op) -> float | None:
    """By what an op multiplies the scores; None where that is not known."""
    if op.name == FUSED_ATTENTION:
        given = op.attribute("scale")
        return float(given) if isinstance(given, (int, float)) else scene.shape(op.inputs[0])[-1] ** -0.5
    if op.name in ("mul", "div"):
        number = op.attribute("other", op.attribute("input"))
        if not isinstance(number, (int, float)):
            number = next((scene.number(value) for value in op.inputs if not scene.flow.on_act(value)), None)
        return None if number is None else float(number) if op.name == "mul" else 1 / float(number)
    alpha = op.attribute("alpha", 1)
    return float(alpha) if op.name in ("baddbmm", "addmm") and isinstance(alpha, (int, float)) else 1.0


def _formula(factor: float, width: int) -> str:
    if math.isclose(factor * math.sqrt(width), 1, rel_tol=2e-3):
        return f"1/sqrt({width})"
    under = 1 / factor**2
    whole = round(under)
    return f"1/sqrt({whole})" if factor < 1 and math.isclose(under, whole, rel_tol=1e-6) else ""


def projections(scene: Scene) -> Iterator[Seen]:
    """Which projections make queries, keys and values."""
    forms = (
        ("low-rank", ("attention.q_down", "attention.kv_down", "attention.kv_up")),
        ("fused", ("attention.qkv_proj",)),
        ("kv-fused", ("attention.kv_proj",)),
        ("separate", ("attention.q_proj", "attention.k_proj", "attention.v_proj")),
    )
    for kind in scene.where("attention"):
        for name, paths in forms:
            stages = scene.stages(kind, *paths)
            if stages:
                yield Seen("attention.qkv", name, scene.ids(stages), kind)
                break


def qk_norm(scene: Scene) -> Iterator[Seen]:
    """Whether queries and keys are normalised, over a head or over all, and on which side of the rotation."""
    for kind in scene.where("attention"):
        stages = scene.stages(kind, "attention.q_norm", "attention.k_norm")
        norms = scene.norms(stages)
        if not norms:
            yield Seen("attention.qk_norm", "none", (), kind)
            continue
        found = counted(scene, kind)
        per_head = found is not None and scene.shape(norms[0].source)[-1] == found[2]
        words = f"{norms[0].kind}/{'head' if per_head else 'full'}{_side(scene, kind, norms[0].source)}"
        only = {stage.role[0] for stage in stages}
        yield Seen(
            "attention.qk_norm", words + (f" {only.pop()} only" if len(only) == 1 else ""), scene.ids(stages), kind
        )


def _side(scene: Scene, kind: Kind, source: int) -> str:
    """Whether a rotation lies before the norm."""
    ropes = scene.ropes(kind.stages)
    if not ropes:
        return ""
    value = source
    while (op := scene.flow.maker(value)) is not None and not scene.flow.weighted[op.id]:
        if scene.rotates(op.id):
            return " after-rope"
        value = next(iter(scene.flow.act_inputs(op)), op.inputs[0])
    return " before-rope"


def extras(scene: Scene) -> Iterator[Seen | Unseen]:
    """Softcap, sinks and gate, and the number format of the softmax."""
    for kind in scene.where("attention"):
        caps = scene.stages(kind, "attention.softcap")
        yield Seen("attention.softcap", cap(scene, caps), scene.ids(caps), kind)
        for name, role in (("attention.sinks", "sink"), ("attention.gate", "gate")):
            stages = scene.stages(kind, f"attention.{role}")
            yield Seen(name, bool(stages), scene.ids(stages), kind)
        yield from _softmax(scene, kind)


def cap(scene: Scene, stages: list[Stage]) -> Plain:
    """c of c·tanh(x/c), None where nothing is squashed."""
    return next((attribute(scene.graph, stage, "cap") for stage in stages), None)


def _softmax(scene: Scene, kind: Kind) -> Iterator[Seen | Unseen]:
    for op in scene.ops(scene.stages(kind, "attention.softmax")):
        if op.name == "softmax":
            yield Seen("attention.softmax_dtype", scene.trace.values[op.outputs[0]].dtype, (op.id,), kind)
            return
    if scene.has(kind, "attention.fused"):
        yield Unseen("attention.softmax_dtype", "it happens inside one kernel")


def cross(scene: Scene) -> Iterator[Seen]:
    """Whether a block looks at another sequence: queries and keys come from different ones."""
    found = [kind for kind in scene.kinds if crosses(scene, kind)]
    if any(section in scene.sections(kind) for kind in scene.kinds for section in SECTIONS):
        stages = scene.stages(found[0], "attention.k_proj", "cross_attention.k_proj") if found else []
        yield Seen("attention.cross", bool(found), scene.ids(stages))


FACTS = (direction_and_window, heads, scale, projections, qk_norm, extras, cross)
