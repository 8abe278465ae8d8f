"""Two stages in the other order: what feeds the second here is fed by it there."""

from __future__ import annotations

__all__ = ["swapped"]

from collections.abc import Sequence

from inspector.alignment.parts import Match, Part

_BESIDE = frozenset({"layout", "mask", "positions", "control", "embedding"})
"""Sections whose stages are no steps of the stream."""


def swapped(a: Sequence[Part], b: Sequence[Part], matches: Sequence[Match]) -> list[Match]:
    """The matches, those marked as moved of which two changed places: a norm before a gate here, behind it there.

    >>> scan, norm, gate = (Part(role, f"ssm.{role}", maths=(("kind", role),)) for role in ("scan", "norm", "gate"))
    >>> from dataclasses import replace
    >>> a = scan, replace(norm, feeds=("ssm.scan",)), replace(gate, feeds=("ssm.norm",))
    >>> b = scan, replace(gate, feeds=("ssm.scan",)), replace(norm, feeds=("ssm.gate",))
    >>> pairs = [Match((a[0],), (b[0],), "", 1.0), Match((a[1],), (b[2],), "", 1.0), Match((a[2],), (b[1],), "", 1.0)]
    >>> [match.a[0].name for match in swapped(a, b, pairs) if match.moved]
    ['ssm.norm', 'ssm.gate']
    """
    before_a, before_b = _sources(a), _sources(b)
    mate = {match.a[0].id: match.b[0].id for match in matches if _is_one_step(match)}
    turned: dict[str, str] = {}
    for part in a:
        for source in before_a.get(part.id, ()) if part.id in mate else ():
            if source in mate and mate[part.id] in before_b.get(mate[source], ()):
                turned |= {part.id: _name(a, source), source: part.name}
    return [_moved(match, turned[match.a[0].id]) if match.a and match.a[0].id in turned else match for match in matches]


def _moved(match: Match, other: str) -> Match:
    return match._replace(moved=True, reason=f"{match.reason}; it and {other} stand in the other order")


def _name(parts: Sequence[Part], id: str) -> str:
    return next(part.name for part in parts if part.id == id)


def _is_one_step(match: Match) -> bool:
    """Whether one stage stands here for one stage there, in the stream, and computes something."""
    if len(match.a) != 1 or len(match.b) != 1 or match.form or match.moved:
        return False
    return all(_works(part) for part in (*match.a, *match.b))


def _works(part: Part) -> bool:
    return bool(part.maths or part.weights) and not part.idle and part.section not in _BESIDE


def _sources(parts: Sequence[Part]) -> dict[str, set[str]]:
    """Id of each stage -> the stages that work and feed it, whatever only moves data between them.

    A stage is known to feed another by its name alone: of several it is the last one before.
    """
    last: dict[str, Part] = {}
    found: dict[str, set[str]] = {}
    for part in parts:
        feeding = [last[name] for name in part.feeds if name in last]
        found[part.id] = set[str]().union(*({one.id} if _works(one) else found[one.id] for one in feeding))
        last[part.name] = part
    return found
