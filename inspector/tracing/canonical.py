"""From calls in the order they happened to a trace whose order depends on nothing but the computation.

Calls that need weights stay in the order they ran. What needs none (masks, positions, rotary tables) may have run in
an order that changes from process to process, because transformers walks over sets: each such call is placed where
its result is first needed, and calls that nothing needs come last, sorted by content.
"""

from __future__ import annotations

__all__ = ["Seen", "canonical"]

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from inspector.records import Op, Plain, Value, plain
from inspector.tracing.watcher import Raw, Ref, Watcher

_DEVICES = frozenset({"cpu", "cuda", "meta", "mps", "xpu"})
"""The same computation has the same order wherever it runs."""


class Seen(NamedTuple):
    """Ops and values in canonical order.

    place: a value id of the watcher -> its canonical one. order: op id -> which record of the watcher it is.
    """

    ops: tuple[Op, ...]
    values: tuple[Value, ...]
    place: dict[int, int]
    order: tuple[int, ...]


def canonical(watcher: Watcher, roots: Iterable[int]) -> Seen:
    """The canonical form of what `watcher` saw. `roots`: values to keep even where no op touches them."""
    records = watcher.records
    reads = [_refs((*raw.args, *raw.kwargs.values())) for raw in records]
    makers = {value: index for index, raw in enumerate(records) for value in _made(raw, reads[index])}
    needs = [[makers[value] for value in read if value in makers] for read in reads]
    order = _order(watcher, reads, makers, needs)
    place: dict[int, int] = {}
    ops: list[Op] = []
    values: list[Value] = []

    def placed(value: int, producer: int | None = None) -> int:
        if value not in place:
            place[value] = len(values)
            values.append(_value(watcher, value, len(values), producer))
        return place[value]

    for index in order:
        ops.append(_op(watcher, records[index], len(ops), placed))
    for value in roots:
        placed(value)
    return Seen(tuple(ops), tuple(values), place, tuple(order))


def _made(raw: Raw, read: list[int]) -> list[int]:
    """The values that a call made: an operand that it hands back was there before."""
    return [] if raw.effect == "noop" else [value for value in raw.outputs if value not in read]


def _order(watcher: Watcher, reads: list[list[int]], makers: dict[int, int], needs: list[list[int]]) -> list[int]:
    """Indices of the records in canonical order. reads: values that each takes; needs: the records that made them."""
    records, concrete = watcher.records, watcher.concrete
    free = [_is_free(raw, read, concrete) for raw, read in zip(records, reads, strict=True)]
    order: list[int] = []
    done = [False] * len(records)

    def emit(index: int) -> None:
        stack = [(index, iter(needs[index]))]
        done[index] = True
        while stack:
            current, ahead = stack[-1]
            step = next((need for need in ahead if not done[need]), None)
            if step is None:
                stack.pop()
                order.append(current)
            else:
                done[step] = True
                stack.append((step, iter(needs[step])))

    for index in range(len(records)):
        if not free[index] and not done[index]:
            emit(index)
    left = [index for index in range(len(records)) if not done[index]]
    digests = _digests(watcher, makers, needs, left)
    for index in sorted(left, key=lambda item: digests[item]):
        if not done[index]:
            emit(index)
    return order


def _is_free(raw: Raw, read: list[int], concrete: list[bool]) -> bool:
    return all(concrete[value] for value in (*raw.outputs, *read))


def _refs(values: Iterable[Any]) -> list[int]:
    """Value ids among encoded arguments, in order."""
    found: list[int] = []
    for value in values:
        if type(value) is Ref:
            found.append(int(value))
        elif type(value) is tuple:
            found += _refs(value)
    return found


def _digests(
    watcher: Watcher, makers: dict[int, int], needs: list[list[int]], wanted: list[int]
) -> dict[int, tuple[bytes, bytes]]:
    """Content of the wanted records: their calls, their arguments and, through them, all that they depend on.

    Once without numbers, so that the order is the same at every size of the inputs, then with them.
    """
    needed, stack = set(wanted), list(wanted)
    while stack:
        for need in needs[stack.pop()]:
            if need not in needed:
                needed.add(need)
                stack.append(need)
    shapeless, exact = (_content(watcher, makers, sorted(needed), numbers) for numbers in (False, True))
    return {index: (shapeless[index], exact[index]) for index in wanted}


def _content(watcher: Watcher, makers: dict[int, int], indices: list[int], numbers: bool) -> dict[int, bytes]:
    digests: dict[int, bytes] = {}

    def text(value: Any) -> str:
        if isinstance(value, Ref):
            known = digests.get(makers.get(int(value), -1))
            return known.hex() if known else f"{watcher.book.kinds[value]}:{watcher.book.names[value]}"
        if isinstance(value, dict):
            return text(tuple(value.items()))
        if isinstance(value, tuple):
            return "(" + ",".join(map(text, value)) + ")"
        if isinstance(value, str):
            return "device" if value.partition(":")[0] in _DEVICES else value
        return repr(value) if numbers else type(value).__name__

    for index in indices:
        raw = watcher.records[index]
        content = f"{raw.spec.call}{text(raw.args)}{text(raw.kwargs)}"
        digests[index] = hashlib.blake2b(content.encode(), digest_size=16).digest()
    return digests


def _value(watcher: Watcher, value: int, index: int, producer: int | None) -> Value:
    book = watcher.book
    kind = book.kinds[value]
    dtype = str(book.dtypes[value]).removeprefix("torch.")
    shape = tuple(book.shapes[value])
    return Value(index, kind, book.names[value], shape, dtype, str(book.devices[value]), producer)


def _op(watcher: Watcher, raw: Raw, index: int, placed: Callable[..., int]) -> Op:
    operands: list[tuple[str, int]] = []
    donors: list[tuple[str, int]] = []
    attributes: list[tuple[str, Plain]] = []
    for position, (name, value) in enumerate(_named_arguments(raw)):
        lends = isinstance(value, Ref) and (position in raw.spec.donors or (name == "input" and _ignored(raw)))
        _take(name, value, donors if lends else operands, attributes, placed)
    outputs = tuple(placed(value, index) for value in raw.outputs)
    path, module_class = watcher.modules[raw.module]
    return Op(
        index,
        raw.spec.name,
        raw.spec.call,
        path,
        module_class,
        tuple(operands),
        tuple(donors),
        tuple(attributes),
        outputs,
        raw.effect,
    )


def _ignored(raw: Raw) -> bool:
    """Whether a product adds its `input` times zero: then it may hold anything, and lends its shape alone."""
    return raw.spec.name in ("addmm", "addmv", "addbmm", "baddbmm") and raw.kwargs.get("beta") == 0


def _named_arguments(raw: Raw) -> list[tuple[str, Any]]:
    """(name, value) of every argument that was given; surplus positional ones are gathered under the last name."""
    names, rest = raw.spec.arguments, raw.spec.rest
    if len(raw.args) > len(names):
        last = rest or (names[-1] if len(names) > 1 else None)
        keep = len(names) if rest or last is None else len(names) - 1
        named = list(zip(names[:keep], raw.args[:keep], strict=True))
        if last is None:
            named += [(f"arg{position}", value) for position, value in enumerate(raw.args[keep:], keep)]
        else:
            named.append((last, raw.args[keep:]))
    else:
        named = list(zip(names, raw.args, strict=False))
    return named + list(raw.kwargs.items())


def _take(
    name: str,
    value: Any,
    tensors: list[tuple[str, int]],
    attributes: list[tuple[str, Plain]],
    placed: Callable[..., int],
) -> None:
    """Sort one argument: tensors to `tensors`, the rest to `attributes`, nested tensors under numbered names."""
    if isinstance(value, Ref):
        tensors.append((name, placed(int(value))))
        return
    if isinstance(value, tuple) and _refs(value):
        for position, item in enumerate(value):
            if isinstance(item, (Ref, tuple)):
                _take(f"{name}.{position}", item, tensors, [], placed)
        if not all(isinstance(item, Ref) for item in value):
            attributes.append((name, _without_tensors(value)))
        return
    attributes.append((name, plain(value)))


def _without_tensors(value: Any) -> Plain:
    """An argument with tensors somewhere inside: `x[a:b]` of two tensors is ("slice", "tensor", "tensor", None)."""
    if isinstance(value, Ref):
        return "tensor"
    return tuple(map(_without_tensors, value)) if isinstance(value, tuple) else plain(value)
