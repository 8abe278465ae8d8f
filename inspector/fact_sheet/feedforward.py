"""Facts of the feed-forward part and of the experts."""

from __future__ import annotations

__all__ = ["FACTS"]

from collections.abc import Iterator

from inspector.fact_sheet.scene import Kind, Scene, Seen, Unseen
from inspector.stage_graph import Stage
from inspector.stage_graph.attributes import attribute
from inspector.stage_graph.functions import function_of

_DENSE = {"activation": ("mlp.activation",), "down": ("mlp.down_proj",), "gate": ("mlp.multiply", "mlp.split_up_gate")}
_EXPERTS = {"activation": ("moe.expert_activation",), "down": ("moe.expert_down",), "gate": ("moe.expert_multiply",)}


def dense(scene: Scene) -> Iterator[Seen | Unseen]:
    """Gate, non-linearity and width; of experts where a block has no other feed-forward."""
    for kind in scene.kinds:
        sections = scene.sections(kind)
        roles = _DENSE if "mlp" in sections else _EXPERTS if "moe" in sections else {}
        down = scene.stages(kind, *roles["down"]) if roles else []
        if not down:
            continue
        gates = scene.stages(kind, *roles["gate"])
        yield Seen("mlp.gated", bool(gates), scene.ids(gates or down), kind)
        yield from _activation(scene, kind, scene.stages(kind, *roles["activation"]))
        width = _width(scene, down[0])
        if width:
            yield Seen("mlp.width", width, scene.ids(down[:1]), kind)


def _activation(scene: Scene, kind: Kind, stages: list[Stage]) -> Iterator[Seen | Unseen]:
    if not stages:
        yield Unseen("mlp.activation", "no non-linearity was recognised between up and down")
        return
    name = attribute(scene.graph, stages[0], "function")
    if name is None:  # what joins the rows of several experts and halves them is no part of the function
        calls = [op for op in scene.ops(stages[:1]) if scene.flow.kind[op.id] == "other"]
        name = function_of(calls) or f"other: {' '.join(op.name for op in calls)}"
    yield Seen("mlp.activation", name, scene.ids(stages[:1]), kind)


def _width(scene: Scene, stage: Stage) -> int | None:
    """The last axis of what the down projection reads; of a convolution the one with the channels."""
    for op in scene.ops([stage]):
        if scene.flow.weighted[op.id]:
            value = next(value for value in scene.flow.factors(op) if scene.flow.on_act(value))
            return scene.shape(value)[1 if op.name.startswith("conv") else -1]
    return None


def experts(scene: Scene) -> Iterator[Seen | Unseen]:
    """How many there are, how many a token visits, and how its router decides."""
    for kind in scene.where("moe"):
        routers, choices = scene.stages(kind, "moe.router"), scene.stages(kind, "moe.top_k", "moe.dispatch")
        if not routers:
            yield Unseen("moe.experts", "no router was recognised")
            continue
        weighted = [op for op in scene.ops(routers) if scene.flow.weighted[op.id]]
        if weighted:
            yield Seen("moe.experts", scene.shape(weighted[-1].outputs[0])[-1], (weighted[-1].id,), kind)
        # Experts may be chosen by group first: the last choice is that of the experts.
        tops = [op for op in scene.ops(choices) if op.name in ("topk", "argmax", "max")]
        top = max(tops, key=lambda op: op.id, default=None)
        if top is not None:
            # A choice of one, made several times, is as many experts; each is made without those before it.
            one_by_one = sum(op.name == top.name and _layer(scene, op.id) == _layer(scene, top.id) for op in tops)
            active = scene.shape(top.outputs[0])[-1] if top.name == "topk" else one_by_one
            yield Seen("moe.active", active, (top.id,), kind)
            yield from _router(scene, kind, top.id)
        shared = scene.stages(kind, "moe.shared_expert")
        yield from _shared(scene, kind, shared)


def _layer(scene: Scene, op: int) -> int | None:
    return scene.naming.parts[op].layer


def _shared(scene: Scene, kind: Kind, shared: list[Stage]) -> Iterator[Seen]:
    """Shared experts lie side by side in one feed-forward: their number is its width in widths of one expert."""
    one = [width for stage in scene.stages(kind, "moe.expert_down") if (width := _width(scene, stage))]
    both = [width for stage in shared if (width := _width_of_last(scene, stage))]
    count = max(1, both[-1] // one[0]) if both and one and both[-1] % one[0] == 0 else len(both[:1])
    yield Seen("moe.shared", count, scene.ids(shared), kind)


def _width_of_last(scene: Scene, stage: Stage) -> int | None:
    weighted = [op for op in scene.ops([stage]) if scene.flow.weighted[op.id]]
    wide = [op for op in weighted if scene.shape(op.outputs[0])[-1] > 1]
    if not wide:
        return None
    factors = scene.flow.factors(wide[-1])
    value = next(value for value in factors if scene.flow.on_act(value))
    weights = [scene.shape(value) for value in factors if not scene.flow.on_act(value)]
    side_by_side = weights[0][0] if weights and len(weights[0]) == 3 else 1
    return scene.shape(value)[-1] * side_by_side


def _router(scene: Scene, kind: Kind, choice: int) -> Iterator[Seen]:
    scores = scene.ops(scene.stages(kind, "moe.router_score", "moe.router", "moe.top_k"))
    squash = next((op for op in scores if op.name in ("softmax", "sigmoid")), None)
    if squash is not None:
        before = squash.id < choice
        name = "sigmoid" if squash.name == "sigmoid" else "softmax-then-topk" if before else "topk-then-softmax"
        yield Seen("moe.router", name, (squash.id, choice), kind)
        after = scene.ops(scene.stages(kind, "moe.router_score", "moe.dispatch", "moe.combine"))
        sums = [op.id for op in after if op.id > choice and op.name == "sum" and _divides(scene, op.outputs[0])]
        one = name == "topk-then-softmax"  # a softmax of the chosen ones adds up to one
        yield Seen("moe.normalised", bool(sums) or one, tuple(sums) or (squash.id,), kind)


def _divides(scene: Scene, value: int) -> bool:
    """Whether something is divided by `value`, give or take a small number."""
    for op in scene.flow.consumers(value):
        if op.name == "div" and op.inputs[-1] == value:
            return True
        if op.name in ("add", "clamp", "to") and _divides(scene, op.outputs[0]):
            return True
    return False


FACTS = (dense, experts)
