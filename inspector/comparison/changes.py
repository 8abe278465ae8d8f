"""What differs between the stages of a match: attributes and shapes, `a -> b`. Whether it matters is said elsewhere."""

from __future__ import annotations

__all__ = ["Change", "Row", "changes_of", "rows_of"]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from inspector.alignment.align import Scoped
from inspector.alignment.forms import FORMS
from inspector.alignment.parts import Match, Part, Scope, Side, Status
from inspector.records import Plain


class Change(NamedTuple):
    """One thing that differs. `name` is an attribute ("eps"), "shape", or "place"."""

    name: str
    a: Plain
    b: Plain

    def __str__(self) -> str:
        return f"{self.name} {text(self.a)} -> {text(self.b)}"


@dataclass(frozen=True, slots=True)
class Row:
    """One aligned group of stages, as in vocabulary section 4.

    scopes: the block of each side that the stages stand in. form: the n:m form they belong together by, or "".
    """

    id: str
    status: Status
    a: tuple[Part, ...]
    b: tuple[Part, ...]
    changes: tuple[Change, ...]
    reason: str
    score: float
    form: str = ""
    scopes: tuple[Scope | None, Scope | None] = (None, None)

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.a or self.b

    @property
    def path(self) -> str:
        """What the row is about: the form, or the role path; of two sublayers, the same whichever side is A."""
        if self.form and self.form != "joined":
            return self.form
        return min(part.path for part in (*self.a[:1], *self.b[:1]))

    @property
    def aspects(self) -> tuple[str, ...]:
        """What there is to explain: `attention.norm:eps`, `embedding.segment:only`, `mlp.norm:moved`."""
        if self.status in ("only-a", "only-b"):
            return (f"{self.path}:only",)
        moved = (f"{self.path}:moved",) if self.status == "moved" else ()
        return (*moved, *(f"{self.path}:{change.name}" for change in self.changes if change.name != "place"))


def text(value: Plain) -> str:
    """A value as a reader says it.

    >>> text(None), text(True), text(1e-05), text(("B", "S"))
    ('none', 'yes', '1e-05', 'B, S')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(text, value))
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def rows_of(scoped: Sequence[Scoped], a: Side, b: Side) -> tuple[Row, ...]:
    """One row per match, in order, with stable ids."""
    rows, seen = [], dict[str, int]()
    for one, two, matches in scoped:
        for match in matches:
            made = _row(match, (one, two), a, b)
            seen[made[0]] = seen.get(made[0], 0) + 1
            name = made[0] if seen[made[0]] == 1 else f"{made[0]}.{seen[made[0]]}"
            rows.append(
                Row(name, made[1], match.a, match.b, made[2], match.reason, match.score, match.form, (one, two))
            )
    return tuple(rows)


def _row(
    match: Match, scopes: tuple[Scope | None, Scope | None], a: Side, b: Side
) -> tuple[str, Status, tuple[Change, ...]]:
    place = next(scope.place for scope in scopes if scope)
    label = place if place != "block" else "block " + "|".join(scope.text if scope else "-" for scope in scopes)
    named = min(part.name for part in (*match.a[:1], *match.b[:1])) if not match.form else match.form
    if match.form == "joined":
        named = match.a[0].name
    changes = changes_of(match, a, b)
    return f"{label}.{named}", _status(match, changes), changes


def _status(match: Match, changes: Sequence[Change]) -> Status:
    if not match.a or not match.b:
        return "only-a" if match.a else "only-b"
    if match.moved:
        return "moved"
    if changes:
        return "changed"
    if match.form or match.a[0].spelling != match.b[0].spelling:
        return "re-expressed"
    return "same" if match.a[0].module == match.b[0].module else "renamed"


def changes_of(match: Match, a: Side, b: Side) -> tuple[Change, ...]:
    """Every attribute and shape that differs, by name."""
    if not match.a or not match.b:
        return ()
    found = list(_attributes(match))
    if match.moved and match.a[0].role != match.b[0].role:
        found.insert(0, Change("place", match.a[0].role, match.b[0].role))
    if match.a[0].section != match.b[0].section:
        found.insert(0, Change("sublayer", match.a[0].section, match.b[0].section))
    if match.form in _OTHER_MATHS:
        found.insert(0, Change("form", _names(match.a), _names(match.b)))
    elif (shapes := _shapes(match, a, b)) is not None:
        found.append(shapes)
    return tuple(found)


_OTHER_MATHS = frozenset(form.name for form in FORMS if not form.same_maths)


def _names(parts: Iterable[Part]) -> str:
    return ", ".join(dict.fromkeys(part.role for part in parts))


def _attributes(match: Match) -> Iterable[Change]:
    one, two = _maths(match.a), _maths(match.b)
    if match.form in (
        "kernel",
        "heads",
    ):  # in which number format a kernel computes its softmax is not seen from outside
        one.pop("dtype", None)
        two.pop("dtype", None)
    for name in sorted(one.keys() | two.keys()):
        unknown = name in _READ_FROM_VALUES and None in (one.get(name), two.get(name))
        if not unknown and one.get(name) != two.get(name):
            yield Change(name, one.get(name), two.get(name))


_READ_FROM_VALUES = frozenset({"theta", "scaling", "first", "padding"})
"""What only the contents of a tensor show: where they were not kept, nothing is known, which is no difference."""


def _maths(parts: Iterable[Part]) -> dict[str, Plain]:
    """Of several stages all together; where they disagree, one value per operand."""
    found: dict[str, dict[str, Plain]] = {}
    for part in parts:
        for name, value in part.maths:
            found.setdefault(name, {})[part.operand or part.role] = value
    return {
        name: next(iter(values.values()))
        if len(set(values.values())) == 1
        else tuple(f"{who}: {text(value)}" for who, value in sorted(values.items()))
        for name, values in found.items()
    }


_PIECES = frozenset({"split_qkv", "split_up_gate"})
"""Roles whose shapes say how a fused weight is laid out, which decides nothing."""

_UNSHAPED = frozenset({"positions", "mask", "control", "layout"})
"""Sections whose shapes only follow how they are read."""


def _shapes(match: Match, a: Side, b: Side) -> Change | None:
    if match.a[0].role in _PIECES and not match.form:
        return None
    if match.a[0].section in _UNSHAPED or (match.a[0].role != match.b[0].role and not match.form and not match.moved):
        return None
    one, two = _leaving(match.a, match.form), _leaving(match.b, match.form)
    if not one or not two or _alike(one, two, a, b):
        return None
    return Change("shape", _said(one), _said(two))


def _leaving(parts: Sequence[Part], form: str) -> tuple[tuple[str, ...], ...]:
    """The shapes that a row hands on: the first output of one stage; of several, those of the last."""
    if form == "qkv":
        whole = {"qkv_proj", "kv_proj"} if any(part.role == "split_qkv" for part in parts) else set()
        parts = [part for part in parts if part.role not in whole]
        return tuple(sorted({shape for part in parts for shape in part.shapes}))
    if form == "heads":
        return ()  # how many heads there are, and how wide, is a fact of its own
    if form == "up_gate":
        return tuple(sorted({shape for part in parts if part.role != "up_gate_proj" for shape in part.shapes}))
    last = parts[-1]
    return last.shapes[:1]


def _said(shapes: Iterable[tuple[str, ...]]) -> str:
    return " ".join("(" + ", ".join(shape) + ")" for shape in shapes)


def _alike(one: tuple[tuple[str, ...], ...], two: tuple[tuple[str, ...], ...], a: Side, b: Side) -> bool:
    """The same axes, in any order and joined in any way; the batch is never the difference.

    An axis that no part of the architecture names is no evidence of another shape where it has the size of the axis it
    would have to be, or the same share of the width: a pooler of 1024 in a model of width 1024 is one of 768 in 768.
    """
    if {_axes(shape) for shape in one} == {_axes(shape) for shape in two}:
        return True
    known_a, known_b = _known(a), _known(b)
    left = {_axes(_named(shape, two, known_a)) for shape in one}
    right = {_axes(_named(shape, one, known_b)) for shape in two}
    return left == right or {_shares(shape, known_a) for shape in one} == {_shares(shape, known_b) for shape in two}


def _known(side: Side) -> dict[str, int]:
    """Letter -> size, where there is one; of this run for those that change from run to run."""
    run = side.scenario
    sizes = {letter: found[0] for letter, found in side.sizes.items() if len(found) == 1}
    sizes = {"G": sizes["H"], **sizes} if "H" in sizes else sizes
    return sizes | {"B": run.batch, "S": run.seq, "T": run.past + run.seq}


def _named(shape: tuple[str, ...], like: Iterable[tuple[str, ...]], sizes: dict[str, int]) -> tuple[str, ...]:
    """The shape with unnamed axes called what they are called on the other side, where the sizes agree.

    Of an axis that is joined there (H·K) also what is left of it, where the rest is an axis of its own here.
    """
    whole = [axis for other in like for axis in other]
    left = ["·".join(letter for letter in axis.split("·") if letter not in shape) for axis in whole]
    letters = [axis for axis in dict.fromkeys((*whole, *left)) if axis and axis not in shape and not axis.isdigit()]
    return tuple(
        next((name for name in letters if axis.isdigit() and _size(name, sizes) == int(axis)), axis) for axis in shape
    )


def _size(axis: str, sizes: dict[str, int]) -> int:
    return prod(sizes.get(letter, 0) for letter in axis.split("·"))


def _axes(shape: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(letter for axis in shape for letter in axis.split("·") if letter not in ("1", "B")))


def _shares(shape: Iterable[str], sizes: dict[str, int]) -> tuple[str, ...]:
    """Unnamed sizes as shares of the width."""
    width = sizes.get("D", 0)
    return _axes(f"{int(axis) / width:.6g} D" if width and axis.isdigit() and axis != "1" else axis for axis in shape)
