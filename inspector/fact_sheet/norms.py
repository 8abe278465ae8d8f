"""Facts of the norms: which, where, and with which numbers."""

from __future__ import annotations

__all__ = ["FACTS", "block_norms"]

from collections.abc import Callable, Iterable, Iterator

from inspector.fact_sheet.scene import Kind, Scene, Seen
from inspector.records import Plain
from inspector.roles.norms import Norm
from inspector.stage_graph import Stage

_ROLES = ("norm", "post_norm")
_SUBLAYERS = ("attention", "cross_attention", "mlp", "moe", "ssm")
_OUTSIDE = ("embedding.norm", "head.norm")


def block_norms(kind: Kind) -> list[Stage]:
    """The norms on the residual stream of a block."""
    return [stage for stage in kind.stages if stage.role in _ROLES and stage.section in _SUBLAYERS]


def _readings() -> dict[str, Callable[[Norm], Plain]]:
    return {
        "norm.kind": lambda norm: norm.kind,
        "norm.eps": lambda norm: norm.eps,
        "norm.bias": lambda norm: norm.bias is not None,
        "norm.affine": lambda norm: norm.weight is not None,
        "norm.offset": lambda norm: int(norm.offset),
    }


def numbers(scene: Scene) -> Iterator[Seen]:
    """What a norm computes, for each kind of block and for the norms before and after the blocks."""
    places: list[tuple[Kind | str, list[Stage]]] = [(kind, block_norms(kind)) for kind in scene.kinds]
    places += [(path.partition(".")[0], scene.stages(None, path)) for path in _OUTSIDE]
    for place, stages in places:
        norms = scene.norms(stages)
        for name, read in _readings().items() if norms else ():
            yield Seen(name, _all(read(norm) for norm in norms), scene.ids(stages), place)


def _all(values: Iterable[Plain]) -> Plain:
    """The value, or all of them where norms of one block differ."""
    found = tuple(dict.fromkeys(values))
    return found[0] if len(found) == 1 else found


def placement(scene: Scene) -> Iterator[Seen]:
    """Before the sublayer, after its sum, or at the end of its branch."""
    for kind in scene.kinds:
        stages = block_norms(kind)
        before = [stage for stage in stages if stage.role == "norm"]
        ends = [stage for stage in stages if stage.role == "post_norm"]
        sums = [stage for stage in ends if _of_sum(scene, stage)]
        name = _word(bool(before), bool(sums), len(ends) > len(sums))
        yield Seen("norm.placement", name, scene.ids(stages), kind)


def _word(before: bool, after: bool, inside: bool) -> str:
    if before:
        return "sandwich" if after or inside else "pre"
    return "post" if after else "output" if inside else "none"


def _of_sum(scene: Scene, stage: Stage) -> bool:
    """Whether the norm reads the sum and not the branch."""
    sums = {residual.result for residual in scene.naming.residuals}
    return any(norm.source in sums for norm in scene.norms([stage]))


def ends(scene: Scene) -> Iterator[Seen]:
    for name, path in (("norm.final", "head.norm"), ("embedding.norm", "embedding.norm")):
        stages = scene.stages(None, path)
        yield Seen(name, bool(stages), scene.ids(stages))


FACTS = (numbers, placement, ends)
