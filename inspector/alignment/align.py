"""Two architectures, matched: role path and operand first, then jobs in several stages, moves, siblings, neighbours.

What matches is taken out before the next rule looks, so that each rule sees only what is left: the cost is linear in
the number of stages but for the few that nothing else matched.
"""

from __future__ import annotations

__all__ = ["align"]

from collections.abc import Callable, Iterator, Sequence

from inspector.alignment.blocks import paired
from inspector.alignment.forms import FORMS, HEADS, SIBLINGS, Form
from inspector.alignment.neighbours import by_neighbours, in_context
from inspector.alignment.order import merged
from inspector.alignment.parts import Match, Part, Scope, Side
from inspector.alignment.swaps import swapped

NORMS = ("norm", "post_norm")
JOINED = frozenset(
    {"split_heads", "merge_heads", "repeat_kv", "cache_update", "dropout", "cast", "contiguous", "reshape"}
)
"""Data movement: cut in two by what stands in between, it is still one job."""

Scoped = tuple[Scope | None, Scope | None, list[Match]]


def align(a: Side, b: Side) -> list[Scoped]:
    """Matches of each pair of scopes, in dataflow order: before the blocks, each kind of block, after them.

    >>> from inspector.records import ModelInfo, Scenario
    >>> side = Side(ModelInfo("m", None, "M", 0, 0), Scenario(), (Scope("stem", (Part("t", "embedding.token"),)),))
    >>> [match.reason for match in align(side, side)[0][2]]
    ['the same role path and operand']
    """
    pairs: list[tuple[Scope | None, Scope | None]] = [(_scope(a, "stem"), _scope(b, "stem"))]
    pairs += [(one, two) for one, two, _ in paired(a.blocks, b.blocks)]
    pairs += [(_scope(a, "head"), _scope(b, "head"))]
    return [(one, two, _scoped(one, two)) for one, two in pairs if one or two]


def _scope(side: Side, place: str) -> Scope | None:
    return next((scope for scope in side.scopes if scope.place == place), None)


class Left:
    """The stages of both sides that are still to be matched, in order."""

    def __init__(self, a: Sequence[Part], b: Sequence[Part]) -> None:
        self.a: dict[str, Part] = {part.id: part for part in a}
        self.b: dict[str, Part] = {part.id: part for part in b}

    def take(self, match: Match) -> Match:
        for part in match.a:
            del self.a[part.id]
        for part in match.b:
            del self.b[part.id]
        return match


def _scoped(one: Scope | None, two: Scope | None) -> list[Match]:
    a, b = one.parts if one else (), two.parts if two else ()
    left = Left(a, b)
    found = [left.take(match) for rule in RULES for match in list(rule(left))]
    found += [Match((part,), (), "no counterpart", 0.0) for part in left.a.values()]
    found += [Match((), (part,), "no counterpart", 0.0) for part in left.b.values()]
    return merged(a, b, swapped(a, b, found))


def _forms(left: Left) -> Iterator[Match]:
    """Jobs done in one stage here and in several there."""
    taken: set[str] = set()
    for form in FORMS:
        for section in form.sections:
            a, b = ([part for part in side.values() if part.section == section] for side in (left.a, left.b))
            for match in (_form(form, a, b), _mirrored(_form(form, b, a))):
                if match and not taken & {part.id for part in match.a + match.b}:
                    taken |= {part.id for part in match.a + match.b}
                    yield match


def _looped(left: Left) -> Iterator[Match]:
    """Heads computed one after the other here, and all at once there."""
    for section in ("attention", "cross_attention"):
        sides = [[part for part in side.values() if part.section == section] for side in (left.a, left.b)]
        counts = [sum(part.role in ("scores", "fused") for part in side) for side in sides]
        if min(counts) == 1 < max(counts):
            a, b = (tuple(part for part in side if part.role in HEADS) for side in sides)
            yield Match(a, b, "each head by itself on one side, all heads at once on the other", 0.9, "heads")


def _mirrored(match: Match | None) -> Match | None:
    return match.mirrored if match else None


def _form(form: Form, few: Sequence[Part], many: Sequence[Part]) -> Match | None:
    """The form with the short spelling in `few` and the long one in `many`, if that is how the job is written."""
    one = [part for part in few if part.role in form.one]
    several = [part for part in many if part.role in form.several]
    anchor = form.anchor or form.several
    if not any(part.role == form.one[0] for part in one) or not any(part.role in anchor for part in several):
        return None
    if any(part.role == form.one[0] for part in many) or any(part.role in anchor for part in few):
        return None
    short = sorted((*one, *_optional(form, few, one, many)), key=few.index)
    long = sorted((*several, *_optional(form, many, several, few)), key=many.index)
    return Match(tuple(short), tuple(long), form.reason, 0.9 if form.same_maths else 0.6, form.name)


def _optional(form: Form, side: Sequence[Part], core: Sequence[Part], other: Sequence[Part]) -> Iterator[Part]:
    """Stages that feed the job's stages and that the other side does without; idle ones that hang between them."""
    names, there = {part.name for part in core}, {part.name for part in other}
    for part in side:
        if part.role not in form.optional or part.role in {mate.role for mate in core}:
            continue
        if part.idle:
            yield from [part] if names & set(part.feeds) else []
        elif part.role in form.several or (part.name not in there and names & set(part.readers)):
            yield part


def _watched(left: Left) -> Iterator[Match]:
    """A mask that Python looks at before it chooses a kernel: the look belongs to the making of the mask."""
    a, b = (
        [part for part in side.values() if part.path in ("mask.build", "control.branch")] for side in (left.a, left.b)
    )
    makers = [[part for part in side if part.path == "mask.build"] for side in (a, b)]
    looks = [[part for part in side if part.path == "control.branch" and "mask.build" in part.feeds] for side in (a, b)]
    if makers[0] and len(makers[0]) == len(makers[1]) and len(looks[0]) != len(looks[1]):
        firsts = [(side[0], *look) for side, look in zip(makers, looks, strict=True)]
        yield Match(firsts[0], firsts[1], "both make the mask, and Python reads it to choose a kernel", 0.9, "mask")


def _same_part(left: Left) -> Iterator[Match]:
    """One role path and operand on both sides; of several with one name, those in the like surroundings."""
    b: dict[str, list[Part]] = {}
    for part in left.b.values():
        b.setdefault(part.name, []).append(part)
    a: dict[str, list[Part]] = {}
    for part in left.a.values():
        if part.name in b:
            a.setdefault(part.name, []).append(part)
    for name, ones in a.items():
        twos = b[name]
        if name == "mask.build" and len(ones) != len(twos) and len({part.maths for part in (*ones, *twos)}) == 1:
            yield Match(tuple(ones), tuple(twos), "the same mask, made more often on one side", 0.9, "mask")
        elif len(ones) != len(twos) and not ones[0].idle and (ones[0].role in JOINED or _chained(ones, twos)):
            yield Match(tuple(ones), tuple(twos), "the same role path and operand, cut at other places", 0.9, "joined")
        else:
            yield from in_context(ones, twos, "the same role path and operand")


def _chained(ones: Sequence[Part], twos: Sequence[Part]) -> bool:
    """Whether each side is one chain of stages that feed one another."""
    return all(part.name in part.feeds for side in (ones, twos) for part in side[1:])


def _other_operand(left: Left) -> Iterator[Match]:
    """Scores may be scaled as they are, or through the queries or keys they are made of."""
    for section in ("attention", "cross_attention"):
        path = f"{section}.scale"
        a, b = (tuple(part for part in side.values() if part.path == path) for side in (left.a, left.b))
        if a and b and {part.name for part in a} != {part.name for part in b}:
            yield Match(a, b, "the scores are scaled, as they are or through what they are made of", 0.8, "scale")


def _moved(left: Left) -> Iterator[Match]:
    """Norms of one sublayer that stand before it here and after it there."""
    norms = [[part for part in side.values() if part.role in NORMS] for side in (left.a, left.b)]
    for part in norms[0]:
        mates = [other for other in norms[1] if other.section == part.section and other.role != part.role]
        if mates:
            reason = "the sublayer's norm, before it on one side and after it on the other"
            yield Match((part,), (mates[0],), reason, 0.7, moved=True)


def _siblings(left: Left) -> Iterator[Match]:
    """The same job in another kind of sublayer: a feed-forward here, experts there."""
    taken: set[str] = set()
    for pair in (*SIBLINGS, *((two, one) for one, two in SIBLINGS)):
        a = next((part for part in left.a.values() if part.path == pair[0] and part.id not in taken), None)
        b = next((part for part in left.b.values() if part.path == pair[1] and part.id not in taken), None)
        if a and b:
            taken |= {a.id, b.id}
            yield Match((a,), (b,), "the same job in another kind of sublayer", 0.6)


def _neighbourly(left: Left) -> Iterator[Match]:
    yield from by_neighbours(list(left.a.values()), list(left.b.values()))


RULES: tuple[Callable[[Left], Iterator[Match]], ...] = (
    _looped,
    _forms,
    _watched,
    _other_operand,
    _same_part,
    _moved,
    _siblings,
    _neighbourly,
)
