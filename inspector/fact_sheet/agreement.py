"""Holds what was executed against what is claimed. Both may say one thing in two ways."""

from __future__ import annotations

__all__ = ["agrees"]

import math
from collections.abc import Callable, Sequence

from inspector.fact_sheet.attention import crosses
from inspector.fact_sheet.positions import scaling_fits
from inspector.fact_sheet.scene import Kind, Scene, Seen
from inspector.records import Plain


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

    A claim for each layer is read at the layers of this kind.
    """
    if isinstance(claim, tuple):
        layers = seen.place.layers if isinstance(seen.place, Kind) else ()
        said = {claim[layer] for layer in layers if layer < len(claim)}
        return said <= {seen.value}
    return None if {seen.value, claim} == {"learned", "sinusoidal"} else same(seen.value, claim)


def _any_kind(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """One value, or (kind of layer, value) pairs of which one must be it."""
    if _is_pairs(claim):
        return any(same(seen.value, pair[1]) for pair in _pairs(claim))
    return same(seen.value, claim)


def _is_pairs(claim: Plain) -> bool:
    return isinstance(claim, tuple) and bool(claim) and all(isinstance(p, tuple) and len(p) == 2 for p in claim)


def _pairs(claim: Plain) -> Sequence[tuple[Plain, ...]]:
    return [pair for pair in claim if isinstance(pair, tuple)] if isinstance(claim, tuple) else []


def _fraction(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """Where a head has a part of its own for positions, a claim may be of that part alone: then it says nothing."""
    latent = scene.trace.claims.get("attention.kind") == "mla"
    return None if latent else _any_kind(scene, seen, claim)


def _depth(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """Of two stacks a config counts the one that reads by this name; the one that writes is a fact of its own."""
    writing = sum(len(kind.layers) for kind in scene.kinds if crosses(scene, kind))
    reading = scene.graph.layers - writing
    return same(reading or writing, claim)


def _pattern(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """Layers that are claimed to differ must differ; execution may tell more kinds apart than a claim names."""
    if not isinstance(claim, tuple) or len(claim) != scene.graph.layers:
        return isinstance(claim, tuple) and len(claim) == scene.graph.layers
    return all(len({claim[layer] for layer in kind.layers}) == 1 for kind in scene.kinds)


def _window(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """A claimed window need not be every layer's, where a list of layers says whose it is."""
    kinds = scene.trace.claims.get("model.layer_pattern")
    if seen.value is None and isinstance(seen.place, Kind) and isinstance(kinds, tuple):
        said = {str(kinds[layer]) for layer in seen.place.layers if layer < len(kinds)}
        if said and not any("sliding" in word or "chunked" in word or "local" in word for word in said):
            return None
    return same(seen.value, claim)


def _width(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """Of experts a config may or may not mean its one width: only an equal one tells."""
    of_experts = isinstance(seen.place, Kind) and "mlp" not in scene.sections(seen.place)
    return same(seen.value, claim) or (None if of_experts else False)


def _scaling(scene: Scene, seen: Seen, claim: Plain) -> bool | None:
    """The claimed scaling must give the executed frequencies."""
    if not isinstance(seen.place, Kind):
        return None
    claims = [pair[1] for pair in _pairs(claim)] if _is_pairs(claim) else [claim]
    verdicts = [scaling_fits(scene, seen.place, item) for item in claims]
    return True if True in verdicts else None if None in verdicts else False


_RULES: dict[str, Callable[[Scene, Seen, Plain], bool | None]] = {
    "attention.kind": _kind_of_heads,
    "embedding.scale": _in_this_format,
    "head.scale": _in_this_format,
    "attention.scale": _in_this_format,
    "cache.bytes_per_token": _scaled_cache,
    "position.kind": _table,
    "position.rope.theta": _any_kind,
    "position.rope.fraction": _fraction,
    "position.rope.scaling": _scaling,
    "mlp.width": _width,
    "model.layers": _depth,
    "model.layer_pattern": _pattern,
    "attention.window": _window,
}
"""Fact -> how its claim is read, where that is more than comparing two values."""
