"""The models side by side: rows in folds, what flows through them, and how neighbours relate."""

from __future__ import annotations

__all__ = ["rows"]

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from inspector.alignment.parts import Part
from inspector.comparison.changes import Row
from inspector.comparison.wording import said
from inspector.messages import again, say
from inspector.render.document import Box, Fold, Lane, Mark, Rows, Strip
from inspector.reporting import words
from inspector.reporting.diff_view import SIGNS
from inspector.reporting.report_boxes import box
from inspector.reporting.report_material import Material
from inspector.reporting.report_strips import Group, Scopes, grouped, scopes_of
from inspector.reporting.report_tracks import Tracks, tracks
from inspector.vocabulary import ROLES

QUIET = ("same", "renamed")
_WEIGHT = ("only-a", "only-b", "changed", "moved", "re-expressed", "renamed", "same")
"""Statuses by how much they say: a box between two marks is painted in the one that says more."""

_AROUND = ("norm", "post_norm", "residual")
"""Roles that stand in the block beside its sublayers, not inside one."""


def rows(found: Material) -> Rows:
    """Everything that any of the models does, in dataflow order."""
    chains = scopes_of([portrait.side for portrait in found.portraits], found.comparisons)
    ids: Counter[str] = Counter()
    folds = [fold for chain in chains for fold in _folds(found, chain, ids)]
    return Rows(found.names, tuple(folds))


def _folds(found: Material, chain: Scopes, ids: Counter[str]) -> Iterator[Fold]:
    groups = grouped(chain, found.comparisons)
    place = next(scope.place for scope in chain if scope)
    if place == "stem":
        inside = [group for group in groups if group.first.section == "embedding"]
        beside = [group for group in groups if group.first.section != "embedding"]
        yield from _plain(found, say("report.embeddings"), inside, ids, flows=True)
        yield from _plain(found, say("report.positions and mask"), beside, ids, flows=False)
    elif place == "head":
        yield from _plain(found, say("place.head"), groups, ids, flows=True)
    else:
        yield _block(found, chain, groups, ids)


def _plain(found: Material, title: str, groups: Sequence[Group], ids: Counter[str], *, flows: bool) -> Iterator[Fold]:
    if groups:
        drawn = tracks(found.portraits, groups, flows=flows)
        strips = _strips(found, groups, drawn, ids)
        yield Fold(title, _differ(strips), tuple(strips))


def _block(found: Material, chain: Scopes, groups: Sequence[Group], ids: Counter[str]) -> Fold:
    """A block: its norms and residual adds, and each sublayer in a fold of its own."""
    drawn = tracks(found.portraits, groups, flows=True, inside=True)
    strips = _strips(found, groups, drawn, ids)
    items: list[Strip | Fold] = []
    keys = _sublayers(groups)
    for key, run in groupby(range(len(groups)), key=keys.__getitem__):
        places = list(run)
        if key:
            chosen = strips[places[0] : places[-1] + 1]
            past = drawn.past(places[0], places[-1])
            items.append(Fold(key.replace("_", " "), _differ(chosen), tuple(chosen), past))
        else:
            items += [strips[place] for place in places]
    counts = [f"×{len(scope.layers)}" if scope else say("diff.none") for scope in chain]
    times = counts[0] if len(set(counts)) == 1 else " | ".join(counts)
    names = dict.fromkeys(scope.name for scope in chain if scope and scope.name)
    return Fold(say("report.block", times=times), " · ".join(filter(None, (*names, _differ(strips)))), tuple(items))


def _sublayers(groups: Sequence[Group]) -> list[str]:
    """The sublayer that each row stands in; what has no part of its own stays where it is."""
    keys: list[str] = []
    for group in groups:
        part = group.first
        known = part.section in ROLES and part.section not in ("layout", "control", "block", "unknown")
        if part.role in _AROUND:
            keys.append("")
        else:
            keys.append(part.section if known else keys[-1] if keys else "")
    return keys


def _differ(strips: Sequence[Strip]) -> str:
    if not strips or not strips[0].marks:
        return ""
    count = sum(not strip.quiet for strip in strips)
    return say("report.differ" if count else "report.all alike", n=count, all=len(strips))


def _strips(found: Material, groups: Sequence[Group], drawn: Tracks, ids: Counter[str]) -> list[Strip]:
    named = [_id(group, ids) for group in groups]
    homes = {unit: name for group, name in zip(groups, named, strict=True) for unit in group.units}
    return [
        _strip(found, group, name, [drawn.lane(model, place) for model in range(len(found.portraits))], homes)
        for place, (group, name) in enumerate(zip(groups, named, strict=True))
    ]


def _id(group: Group, ids: Counter[str]) -> str:
    name = f"{group.first.section}.{_part(group)}"
    ids[name] += 1
    return name if ids[name] == 1 else f"{name}.{ids[name]}"


def _part(group: Group) -> str:
    """What the row is called: the role; of queries, keys and values together the role without its letter."""
    roles = dict.fromkeys(part.role for part in group.units.values())
    first = next(iter(roles))
    if len(roles) == 1:
        return first
    if any(role in ("q_proj", "qkv_proj") for role in roles):
        return "qkv_proj"
    return min(roles, key=len) if first.endswith(("_norm", "_down", "_up")) else first


def _strip(found: Material, group: Group, name: str, lanes: Sequence[Lane], homes: dict[tuple[int, str], str]) -> Strip:
    marks = tuple(
        tuple(_marks(found, group, pair, name, homes)) if pair in group.pairs else ()
        for pair in range(len(found.comparisons))
    )
    sides = [
        lane._replace(boxes=tuple(sorted(_boxes(found, group, model), key=_by_lane)))
        for model, lane in enumerate(lanes)
    ]
    part = _part(group)
    meaning = words.meaning(f"role_{group.first.section}", part if part in _ROLES else group.first.role)
    quiet = all(mark.status in QUIET for pair in marks for mark in pair)
    return Strip(name, part, meaning, tuple(sides), marks, quiet)


def _by_lane(one: Box) -> int:
    return "qkv".find(one.lane)


_ROLES = frozenset(role for roles in ROLES.values() for role in roles)


def _boxes(found: Material, group: Group, model: int) -> Iterator[Box]:
    for part in group.parts(model):
        yield box(found.portraits[model], part)._replace(style=_style(group, model, part))


def _style(group: Group, model: int, part: Part) -> str:
    """The status that a box is painted in: of the rows on its left and right, that which says most."""
    left = [row.status for row in group.pairs.get(model - 1, ()) if part in row.b]
    right = [row.status for row in group.pairs.get(model, ()) if part in row.a]
    return min(left + right, key=_WEIGHT.index, default="")


def _marks(found: Material, group: Group, pair: int, name: str, homes: dict[tuple[int, str], str]) -> Iterator[Mark]:
    """One mark for each different answer; of three operands that answer alike, one."""
    alike: dict[tuple[str, tuple[str, ...], str, str], list[Row]] = {}
    for row in group.pairs[pair]:
        here = _away(row, pair, group, homes)
        alike.setdefault((row.status, _changes(row), here, _reason(row)), []).append(row)
    for (status, changes, link, why), same in alike.items():
        operands = [part.operand for row in same for part in row.parts[:1] if part.operand]
        lead = [", ".join(operands)] if len(alike) > 1 and operands else []
        only = status in ("only-a", "only-b")
        told = (say("report.only in", name=found.names[pair + (status == "only-b")]),) if only else changes
        yield Mark(SIGNS[status], status, (*lead, *told), link if link != name else "", why)


def _away(row: Row, pair: int, group: Group, homes: dict[tuple[int, str], str]) -> str:
    """Where the other half of what moved stands."""
    if row.status != "moved":
        return ""
    units = [(pair, part.id) for part in row.a] + [(pair + 1, part.id) for part in row.b]
    return next((homes[unit] for unit in units if unit not in group.units and unit in homes), "")


def _changes(row: Row) -> tuple[str, ...]:
    """What changed in few words: shapes stand in the boxes, and where something moved to is a link."""
    return tuple(
        change.name if change.name in ("shape", "form") else f"{change.name} {said(change.a)} → {said(change.b)}"
        for change in row.changes
        if change.name != "place"
    )


def _reason(row: Row) -> str:
    return again(row.reason, "reason") if row.status not in ("same", "renamed", "only-a", "only-b") else ""
