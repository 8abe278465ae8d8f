"""Facts of positions: where a token stands, and how that enters."""

from __future__ import annotations

__all__ = ["FACTS", "claimed_values", "scaling_fits"]

from collections.abc import Iterator

from inspector.fact_sheet.across import reads_another
from inspector.fact_sheet.attention import counted
from inspector.fact_sheet.scene import Kind, Scene, Seen, Unseen
from inspector.records import Plain
from inspector.roles.flow import PAR
from inspector.roles.rope import Rope
from inspector.stage_graph.frequencies import Frequencies, frequencies, reproduces, scaling, theta
from inspector.stage_graph.lanes import turned

_BIASES = {"positions.alibi": "alibi", "positions.relative_bias": "relative"}


def position_kind(scene: Scene) -> Iterator[Seen]:
    """For all blocks by a table that is added to the tokens, in the block by rotation or bias, or both (MPNet)."""
    outer = _added(scene)
    looking = [kind for kind in scene.where("attention") if not reads_another(scene, kind)]
    for kind in looking:  # places in another sequence say nothing of places in this one
        ropes = scene.stages(kind, "attention.rope")
        inner = ("rope", scene.ids(ropes)) if ropes else _bias(scene, kind)
        ways = [way for way in (outer, inner) if way is not None]
        ops = tuple(op for _, shown in ways for op in shown)
        yield Seen("position.kind", " + ".join(name for name, _ in ways) or "none", ops, kind)
    if outer and not looking:  # tokens that are mixed in another way
        yield Seen("position.kind", *outer)


def _bias(scene: Scene, kind: Kind) -> tuple[str, tuple[int, ...]] | None:
    for stage in scene.stages(kind, "attention.position_bias", "attention.scores", "attention.mask"):
        for value in scene.control(stage.inputs):
            maker = scene.flow.maker(value)
            path = scene.naming.parts[maker.id].path if maker is not None else ""
            if path in _BIASES:
                return _BIASES[path], scene.ids([stage])
        if stage.path == "attention.position_bias" or any(_learned(scene, value) for value in stage.inputs):
            return "relative", scene.ids([stage])
    return None


def _learned(scene: Scene, value: int) -> bool:
    """What is added to the scores and depends on a parameter, but on no token, depends on the place."""
    return not scene.flow.on_act(value) and bool(scene.flow.taint[value] & PAR)


def _added(scene: Scene) -> tuple[str, tuple[int, ...]] | None:
    """A table that is learned is a parameter; any other was computed."""
    added = [stage for stage in scene.outside if "embedding.position" in (stage.path, *stage.also)]
    stages = added or scene.stages(None, "positions.sinusoid")
    if not stages:
        return None
    tables = [
        scene.trace.values[value] for stage in stages for value in stage.parameters if len(scene.shape(value)) > 1
    ]
    learned = any(table.kind == "parameter" for table in tables)
    return ("learned" if learned else "sinusoidal"), scene.ids(stages)


def rope(scene: Scene) -> Iterator[Seen | Unseen]:
    """What is turned, by elements; how fast, by the numbers in the tables."""
    for kind in scene.where("attention"):
        stages = scene.stages(kind, "attention.rope")
        ropes = scene.ropes(stages)
        if not ropes:
            continue
        what = turned(scene.flow, ropes[0])
        if what is None:
            for name in ("dim", "fraction", "layout", "theta", "scaling"):
                yield Unseen(f"position.rope.{name}", "the rotation could not be followed element by element")
            continue
        ops = ropes[0].ops
        heads = counted(scene, kind)
        yield Seen("position.rope.dim", what.size, ops, kind)
        yield Seen("position.rope.fraction", what.size / (heads[2] if heads else what.width), ops, kind)
        yield Seen("position.rope.layout", what.layout, ops, kind)
        yield from _speed(scene, kind, ropes[0], what.size)


def _speed(scene: Scene, kind: Kind, turning: Rope, count: int) -> Iterator[Seen | Unseen]:
    found = frequencies(scene.graph, turning, count)
    base = None if found is None else theta(found)
    if found is None or base is None:
        yield Unseen("position.rope.theta", "the contents of the tables are not known")
        yield Unseen("position.rope.scaling", "the contents of the tables are not known")
        return
    base = _as_claimed(scene, found) or base
    yield Seen("position.rope.theta", base, found.ops, kind)
    yield Seen("position.rope.scaling", scaling(found, base), found.ops, kind)


def _as_claimed(scene: Scene, found: Frequencies) -> float | None:
    """The claimed base where the claimed scaling gives these frequencies with it: as good a reading as any.

    The tables cannot tell it from another one that fits too; of few pairs all but the first may be scaled.
    """
    bases, scalings = (scene.trace.claims.get(f"position.rope.{name}") for name in ("theta", "scaling"))
    for base in claimed_values(bases):
        for claim in (("default",), *claimed_values(scalings)):
            if isinstance(base, (int, float)) and reproduces(claim, found, float(base)):
                return float(base)
    return None


def claimed_values(claim: Plain) -> tuple[Plain, ...]:
    """The values of a claim: one, or one for each kind of layer where it is (kind, value) pairs."""
    pairs = [item for item in claim if isinstance(item, tuple) and len(item) == 2] if isinstance(claim, tuple) else []
    return tuple(pair[1] for pair in pairs) if pairs and claim == tuple(pairs) else (claim,)


def scaling_fits(scene: Scene, kind: Kind, claim: Plain) -> bool | None:
    """Whether a claimed scaling gives the frequencies that this kind of block turns by."""
    ropes = scene.ropes(scene.stages(kind, "attention.rope"))
    what = turned(scene.flow, ropes[0]) if ropes else None
    found = frequencies(scene.graph, ropes[0], what.size) if what else None
    base = (_as_claimed(scene, found) or theta(found)) if found else None
    return None if found is None or base is None else reproduces(claim, found, base)


FACTS = (position_kind, rope)
