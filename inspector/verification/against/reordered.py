"""Jobs that the two sides do in another order, where the order changes nothing: they are judged as one."""

from __future__ import annotations

__all__ = ["reordered"]

from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise

from inspector.stage_graph.stages import Stage
from inspector.verification.against.groups import Group
from inspector.verification.against.sides import Side

_MOVES = frozenset({"split_heads", "repeat_kv"})
"""They move whole heads, so that what is done inside of each head may come before or after."""

_IN_HEADS = frozenset({"rope", "q_norm", "k_norm"})
_PER_SCORE = frozenset({"scale", "mask"})
"""A hidden score stays hidden whatever it is multiplied with; `softcap` is none of them, for it bends."""


def reordered(groups: Sequence[Group], a: Side, b: Side) -> list[Group]:
    """Groups as they are, without those that stand in another order: of these, one for each chain of them."""
    found = list(groups)
    for chain in _chains(groups):
        turned = [one for one in chain if any(one is not two and _turned(a, b, one, two) for two in chain)]
        if not turned or not all(_may(one, two) for one, two in combinations(turned, 2) if _turned(a, b, one, two)):
            continue
        turned += [group for group in groups if _is_between(group, turned)]
        if all(_is_chain(side, turned, place) for place, side in enumerate((a, b))):
            found = [group for group in found if group not in turned]
            found.append(_one(turned))
    return found


def _chains(groups: Iterable[Group]) -> Iterable[list[Group]]:
    """What is done to one operand in one layer by stages whose order may be free."""
    chains: dict[tuple[int | None, str, str, bool], list[Group]] = {}
    for group in groups:
        stages = (*group.a, *group.b)
        if not (group.a and group.b) or not {stage.role for stage in stages} <= _MOVES | _IN_HEADS | _PER_SCORE:
            continue
        first = group.first
        chains.setdefault((first.layer, first.section, first.operand, first.role in _PER_SCORE), []).append(group)
    return chains.values()


def _turned(a: Side, b: Side, one: Group, two: Group) -> bool:
    return _order(a, one.a, two.a) != _order(b, one.b, two.b)


def _order(side: Side, one: Sequence[Stage], two: Sequence[Stage]) -> str:
    """Which comes first; "around" where one begins before the other and ends after it."""
    if _feeds(side, one, two) and _feeds(side, two, one):
        return "around"
    return "before" if one[0].index < two[0].index else "after"


def _feeds(side: Side, one: Sequence[Stage], two: Sequence[Stage]) -> bool:
    return not set(side.leaving(one)).isdisjoint(side.entering(two))


def _may(one: Group, two: Group) -> bool:
    """Whether two that stand otherwise may: a norm before a rotation is another function than one after it."""
    pair = {one.first.role, two.first.role}
    return pair <= _PER_SCORE or not _MOVES.isdisjoint(pair)


def _is_between(group: Group, turned: Sequence[Group]) -> bool:
    """A cache that one side alone keeps, filled amid the chain: it hands on what it keeps."""
    alone = _side(group, 0 if group.a else 1)
    if (group.a and group.b) or {stage.role for stage in alone} != {"cache_update"}:
        return False
    like, stage = turned[0].first, alone[0]
    indices = [other.index for one in turned for other in _side(one, 0 if group.a else 1)]
    same = (stage.layer, stage.section, stage.operand) == (like.layer, like.section, like.operand)
    return same and min(indices) < stage.index < max(indices)


def _is_chain(side: Side, turned: Sequence[Group], place: int) -> bool:
    """Whether each reads what the one before it made, so that nothing else happens in between."""
    return all(_feeds(side, (one,), (two,)) for one, two in pairwise(_stages(turned, place)))


def _one(turned: Sequence[Group]) -> Group:
    said = "the same jobs in another order, which changes nothing"
    return Group(_stages(turned, 0), _stages(turned, 1), "", said)


def _stages(turned: Sequence[Group], place: int) -> tuple[Stage, ...]:
    return tuple(sorted((stage for group in turned for stage in _side(group, place)), key=lambda stage: stage.index))


def _side(group: Group, place: int) -> tuple[Stage, ...]:
    return group.b if place else group.a
