"""Holds what was executed against what is claimed. Both may say one thing in two ways."""

from __future__ import annotations

__all__ = ["agrees"]

import math
from collections.abc import Callable

from inspector.fact_sheet.across import crosses
from inspector.fact_sheet.masks import visible
from inspector.fact_sheet.positions import claimed_values, scaling_fits
from inspector.fact_sheet.scene import Kind, Scene, Seen
from inspector.records import Plain
from inspector.stage_graph.functions import KNOWN


def agrees(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """Whether the value is as claimed; None where the two cannot be held against each other."""
    rule = _RULES.get(seen.id)
    if rule is not None:
        return rule(scene, seen, claim)
    return same(seen.value, claim)


def same(value: Plain, claim: Plain) -> bool:
    """Equal, up to how a number is written.

    >>> same(1e-05, 1e-5), same(True, 1), same(32, 32.0), same("gelu", "gelu_tanh"), same(("a", 1), ("a", 1.0))
    (True, True, True, False, True)
    """
    if isinstance(value, tuple) and isinstance(claim, tuple):
        return len(value) == len(claim) and all(same(*pair) for pair in zip(value, claim, strict=True))
    if isinstance(value, (int, float)) and isinstance(claim, (int, float)):
        return math.isclose(value, claim, rel_tol=1e-6)
    return value == claim


def _kind_of_heads(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """How many heads there are says nothing of blocks whose mixer is no attention with a softmax."""
    return None if seen.value in ("linear", "none") else same(seen.value, claim)


def _in_this_format(scene: Scene, seen: Seen, claim: Plain) -> bool:
    """A number that the model holds as a tensor is rounded to that tensor's format."""
    if isinstance(seen.value, (int, float)) and isinstance(claim, (int, float)):
        coarse = "16" in scene.trace.scenario.dtype
        return math.isclose(seen.value, claim, rel_tol=2**-8 if coarse else 1e-6)
    return same(seen.value, claim)


def _scaled_cache(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """Published for two bytes an element."""
    bytes_each = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}.get(scene.trace.scenario.dtype)
    if bytes_each is None or not isinstance(seen.value, int) or not isinstance(claim, (int, float)):
        return None
    return same(seen.value * 2, claim * bytes_each)


def _table(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """A table that was filled with sines once is a table: without its contents it could be either.

    A claim for each layer is read at the layers of this kind. Of two ways together a claim names one.
    """
    ways = str(seen.value).split(" + ")
    if len(ways) > 1:
        found = [_table(scene, seen._replace(value=way), claim) for way in ways]
        return True if True in found else None if None in found else False
    if isinstance(claim, tuple):
        return _claimed_of(scene, seen, claim) <= {seen.value}
    if (seen.value, claim) == ("none", "rope") and _kinds_apart(scene, seen):
        return None
    return None if {seen.value, claim} == {"learned", "sinusoidal"} else same(seen.value, claim)


def _kinds_apart(scene: Scene, seen: Seen) -> bool:
    """Whether a config lists all of these layers as of other kinds than any layer that turns its queries.

    How fast layers turn is stated once, and speaks of those that do: often the ones with a window only.
    """
    kinds = scene.trace.claims.get("model.layer_pattern")
    if not isinstance(kinds, tuple):
        return False
    turning = [Seen(seen.id, "rope", (), kind) for kind in scene.kinds if scene.has(kind, "attention.rope")]
    said = [_claimed_of(scene, other, kinds) for other in turning]
    return bool(said) and not _claimed_of(scene, seen, kinds) & set[Plain]().union(*said)


def _claimed_of(scene: Scene, seen: Seen, claim: tuple[Plain, ...]) -> set[Plain]:
    """What a claim for each layer says of the layers of this kind; each of two stacks counts its own from zero, unless
    the claim has a value for all layers of both.
    """
    place = seen.place
    if not isinstance(place, Kind):
        return set()
    of_both = len(claim) == scene.graph.layers
    first = _first_writing(scene) if crosses(scene, place) and not of_both else 0
    return {claim[layer - first] for layer in place.layers if layer - first < len(claim)}


def _first_writing(scene: Scene) -> int:
    """The first layer of a stack that looks at another and follows it; 0 where such layers lie among others."""
    writing = {layer for kind in scene.kinds if crosses(scene, kind) for layer in kind.layers}
    first = min(writing, default=0)
    return first if len(writing) == scene.graph.layers - first else 0


Rule = Callable[[Scene, Seen, Plain], bool | None]


def _of_each(rule: Rule) -> Rule:
    """The same rule, where a claim may also list a value for each layer: then it speaks of the layers of this kind."""

    def held(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
        if not isinstance(claim, tuple):
            return rule(scene, seen, claim)
        verdicts = {rule(scene, seen, one) for one in _claimed_of(scene, seen, claim)}
        return False if False in verdicts or not verdicts else True if True in verdicts else None

    return held


def _plainly(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    return same(seen.value, claim)


def _any_kind(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """One value, or (kind of layer, value) pairs of which one must be it."""
    return any(same(seen.value, one) for one in claimed_values(claim))


def _fraction(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """Where a head has a part of its own for positions, a claim may be of that part alone: then it says nothing."""
    latent = scene.trace.claims.get("attention.kind") == "mla"
    return None if latent else _any_kind(scene, seen, claim)


def _two_stacks(scene: Scene) -> bool:
    """Whether there is a stack that reads and one that writes."""
    return len({crosses(scene, kind) for kind in scene.kinds}) == 2


def _depth(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """Of two stacks a config counts the one that reads by this name; the one that writes is a fact of its own."""
    writing = sum(len(kind.layers) for kind in scene.kinds if crosses(scene, kind))
    counts = [scene.graph.layers - writing or writing]
    if scene.trace.claims.get("model.family") != "encoder-decoder":
        counts.append(scene.graph.layers)
    return any(same(count, claim) for count in counts) or _sublayers(scene) == claim


_FEEDS_FORWARD = frozenset({"mlp", "moe"})


def _sublayers(scene: Scene) -> int | None:
    """How many sublayers there are, where a config lists each as a layer: some of them only feed forward."""
    kinds = scene.trace.claims.get("model.layer_pattern")
    if not isinstance(kinds, tuple) or not _FEEDS_FORWARD & set(kinds):
        return None
    return sum(scene.naming.parts[residual.op].layer is not None for residual in scene.naming.residuals)


def _pattern(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """Layers that are claimed to differ must differ; execution may tell more kinds apart than a claim names."""
    if not isinstance(claim, tuple):
        return False
    if _sublayers(scene) == len(claim):
        return None
    writing = sum(len(kind.layers) for kind in scene.kinds if crosses(scene, kind))
    if len(claim) not in (scene.graph.layers, writing, scene.graph.layers - writing):
        return False
    return all(len(_claimed_of(scene, Seen(seen.id, None, (), kind), claim)) <= 1 for kind in scene.kinds)


def _direction(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """Of two stacks a claim speaks of the one that writes: the other one sees all it reads."""
    reads = isinstance(seen.place, Kind) and not crosses(scene, seen.place)
    if _two_stacks(scene) and reads and seen.value == "bidirectional":
        return None
    return same(seen.value, claim)


def _window(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """A claimed window need not be every layer's, where a list of layers says whose it is.

    To both sides it is counted together or on each.
    """
    kinds = scene.trace.claims.get("model.layer_pattern")
    if seen.value is None and isinstance(kinds, tuple):
        said = {str(kind) for kind in _claimed_of(scene, seen, kinds)}
        if said and not any("sliding" in word or "chunked" in word or "local" in word for word in said):
            return None
    if isinstance(seen.place, Kind) and isinstance(claim, int) and _looks_ahead(scene, seen.place):
        return seen.value in (claim, 2 * claim)
    return same(seen.value, claim)


def _looks_ahead(scene: Scene, kind: Kind) -> bool:
    found = visible(scene, kind)
    return not isinstance(found, str) and found.direction == "bidirectional"


def _eps(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """Two may be claimed, one for norms before a sublayer and one for those after it."""
    if isinstance(claim, tuple):
        values = seen.value if isinstance(seen.value, tuple) else (seen.value,)
        return all(any(same(value, one) for one in claim) for value in values)
    return same(seen.value, claim)


def _width(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """Of experts a config may or may not mean its one width: only an equal one tells."""
    of_experts = isinstance(seen.place, Kind) and "mlp" not in scene.sections(seen.place)
    return same(seen.value, claim) or (None if of_experts else False)


def _activation(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """A function without a name here cannot be told from one that is not known here either."""
    nameless = isinstance(seen.value, str) and seen.value.startswith("other:")
    return None if nameless and claim not in KNOWN else same(seen.value, claim)


def _scaling(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """The claimed scaling must give the executed frequencies."""
    if not isinstance(seen.place, Kind):
        return None
    verdicts = [scaling_fits(scene, seen.place, item) for item in claimed_values(claim)]
    return True if True in verdicts else None if None in verdicts else False


_RULES: dict[str, Rule] = {
    "attention.direction": _direction,
    "attention.kind": _of_each(_kind_of_heads),
    "attention.heads": _of_each(_plainly),
    "attention.kv_heads": _of_each(_plainly),
    "attention.head_dim": _of_each(_plainly),
    "embedding.scale": _in_this_format,
    "head.scale": _in_this_format,
    "attention.scale": _in_this_format,
    "moe.scale": _in_this_format,
    "cache.bytes_per_token": _scaled_cache,
    "position.kind": _table,
    "position.rope.theta": _any_kind,
    "position.rope.fraction": _fraction,
    "position.rope.scaling": _scaling,
    "norm.eps": _eps,
    "mlp.activation": _of_each(_activation),
    "mlp.width": _of_each(_width),
    "model.layers": _depth,
    "model.layer_pattern": _pattern,
    "attention.window": _window,
}
"""Fact -> how its claim is read, where that is more than comparing two values."""
