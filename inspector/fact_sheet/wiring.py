"""Facts of what holds the parts together: biases, layout, embeddings, head."""

from __future__ import annotations

__all__ = ["FACTS"]

import math
from collections.abc import Iterator, Sequence

from inspector.fact_sheet.attention import cap
from inspector.fact_sheet.scene import Kind, Scene, Seen, Unseen
from inspector.records import Plain
from inspector.stage_graph import Stage
from inspector.stage_graph.attributes import attribute

_BIASED = (
    ("bias.qkv", ("q_proj", "k_proj", "v_proj", "qkv_proj", "kv_proj"), ("attention",)),
    ("bias.qkv", ("q_down", "q_up", "kv_down", "kv_up"), ("attention",)),
    ("bias.o", ("o_proj",), ("attention",)),
    ("bias.mlp", ("up_proj", "gate_proj", "up_gate_proj", "down_proj"), ("mlp",)),
    ("bias.mlp", ("expert_up", "expert_gate", "expert_down"), ("moe",)),
)


def biases(scene: Scene) -> Iterator[Seen]:
    """Whether something is added after the product; of several projections, which ones where not all."""
    for name, roles, sections in _BIASED:
        for kind in scene.kinds:
            stages = scene.stages(kind, *(f"{section}.{role}" for section in sections for role in roles))
            later = _added_later(scene, kind, stages) if roles[-1] == "kv_proj" else {}
            if later:  # of what a fused projection makes, each part may have one of its own (DeBERTa)
                yield Seen(name, " ".join(f"{operand}_proj" for operand in later), tuple(later.values()), kind)
            elif stages:
                yield Seen(name, _which(scene, stages), scene.ids(stages), kind)
    heads = scene.stages(None, "head.lm_head")
    if heads:
        yield Seen("bias.lm_head", _which(scene, heads), scene.ids(heads))


def _which(scene: Scene, stages: Sequence[Stage]) -> Plain:
    having = [stage.role for stage in stages if attribute(scene.graph, stage, "bias")]
    return bool(having) if len(having) in (0, len(stages)) else " ".join(sorted(set(having)))


def _added_later(scene: Scene, kind: Kind, stages: Sequence[Stage]) -> dict[str, int]:
    """Operand -> the op that adds a vector to it, where its heads were split off a product without a bias first."""
    made = {value for stage in stages if not attribute(scene.graph, stage, "bias") for value in stage.outputs}
    found = {}
    for op in scene.ops(scene.stages(kind, "attention.scale", "attention.weighted_sum", "attention.scores")):
        if op.name != "add" or len(op.inputs) != 2 or scene.flow.weight(op.inputs[1]) is None:
            continue
        split = scene.flow.through(op.inputs[0], ("plumb", "view", "select"))
        if split in made and scene.flow.only_consumer(op.inputs[0]) is op:
            part = scene.naming.parts[op.id]
            found["v" if part.role == "weighted_sum" else part.operand or "q"] = op.id
    return dict(sorted(found.items()))


def layout(scene: Scene) -> Iterator[Seen]:
    """Sequential where the feed-forward depends on attention's output."""
    for kind in scene.kinds:
        outputs = scene.ids(scene.stages(kind, "attention.o_proj", "ssm.out_proj"))
        inputs = scene.stages(kind, "mlp.up_proj", "mlp.gate_proj", "mlp.up_gate_proj", "moe.router")
        if outputs and inputs:
            depends = _reaches(scene, kind, outputs, set(scene.ids(inputs)))
            yield Seen("block.layout", "sequential" if depends else "parallel", (*outputs, *scene.ids(inputs)), kind)


def _reaches(scene: Scene, kind: Kind, sources: Sequence[int], goals: set[int]) -> bool:
    """Whether a path inside the block leads from the sources to a goal."""
    inside = {op for stage in kind.stages for op in stage.ops}
    todo, seen = list(sources), set(sources)
    while todo:
        for value in scene.trace.ops[todo.pop()].outputs:
            for op in scene.flow.consumers(value):
                if op.id in goals:
                    return True
                if op.id in inside and op.id not in seen:
                    seen.add(op.id)
                    todo.append(op.id)
    return False


def embeddings(scene: Scene) -> Iterator[Seen | Unseen]:
    """Whether the token table is the output projection too, what the embeddings are scaled by, and segments."""
    tokens, heads = scene.stages(None, "embedding.token"), scene.stages(None, "head.lm_head")
    if tokens and heads:
        tables = [_weights(scene, stages) for stages in (tokens, heads)]
        yield Seen("embedding.tied", bool(tables[0] & tables[1]), scene.ids([*tokens, *heads]))
    else:
        yield Unseen(
            "embedding.tied", "what ran has no output projection" if tokens else "no token table was recognised"
        )
    scales = scene.stages(None, "embedding.scale")
    factor = factor_of(scene, scales)
    yield Seen("embedding.scale", factor, scene.ids(scales), formula=_root(scene, factor))
    segments = scene.stages(None, "embedding.segment")
    yield Seen("embedding.segments", bool(segments), scene.ids(segments))


def _weights(scene: Scene, stages: Sequence[Stage]) -> set[int]:
    """Weights with two axes that the ops of some stages use."""
    roots = {scene.flow.weight(value) for op in scene.ops(stages) for value in op.inputs}
    return {root for root in roots if root is not None and len(scene.shape(root)) > 1}


def factor_of(scene: Scene, stages: Sequence[Stage]) -> Plain:
    """By what a value is multiplied that goes through the stages; all such products where there are several ways.

    Two stacks scale their embeddings one each: what went through one does not go through the other.
    """
    factors = {
        stage.ops[-1]: factor
        for stage in stages
        if isinstance(factor := attribute(scene.graph, stage, "factor"), float)
    }
    before = {op: _upstream(scene, op) & factors.keys() for op in factors}
    ends = factors.keys() - set[int]().union(*before.values())
    products = dict.fromkeys(math.prod(factors[op] for op in sorted({end, *before[end]})) for end in sorted(ends))
    return next(iter(products)) if len(products) == 1 else tuple(products) or None


def _upstream(scene: Scene, op: int) -> set[int]:
    """The ops outside the blocks that an op's activations come through."""
    todo, seen = [op], set[int]()
    while todo:
        for value in scene.flow.act_inputs(scene.trace.ops[todo.pop()]):
            maker = scene.flow.maker(value)
            if maker is not None and maker.id not in seen and scene.naming.parts[maker.id].layer is None:
                seen.add(maker.id)
                todo.append(maker.id)
    return seen


def _root(scene: Scene, factor: Plain) -> str:
    """sqrt(D), which a format of few digits rounds."""
    streams = [value for value in scene.naming.trunk if scene.shape(value)]
    if not isinstance(factor, float) or not streams:
        return ""
    width = scene.shape(min(streams))[-1]
    return f"sqrt({width})" if math.isclose(factor, math.sqrt(width), rel_tol=2**-8) else ""


def head(scene: Scene) -> Iterator[Seen | Unseen]:
    """What is done to the logits. Of a model without its head it is not known."""
    caps, scales = scene.stages(None, "head.softcap"), scene.stages(None, "head.scale")
    for name, value, stages in (
        ("head.softcap", cap(scene, caps), caps),
        ("head.scale", factor_of(scene, scales), scales),
    ):
        if value is None and scene.trace.claims.get(name) is not None and not scene.has(None, "head.lm_head"):
            yield Unseen(name, "what ran has no output projection")
        else:
            yield Seen(name, value, scene.ids(stages))


FACTS = (biases, layout, embeddings, head)
