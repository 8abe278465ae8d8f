"""The numbers that a stage was executed with, held against the claimed ones.

A number that changes nothing visible in this format (an eps in bfloat16) is still another number.
"""

from __future__ import annotations

__all__ = ["compared"]

from collections.abc import Collection, Mapping, Sequence

from inspector.records import Plain
from inspector.reference.steps import Step
from inspector.verification.report import Attribute


def compared(
    executed: Mapping[str, object], steps: Sequence[Step], where: str, buffers: Collection[str] = ()
) -> tuple[Attribute, ...]:
    """Every number that is claimed, by the name that execution has for it; those first that execution shows.

    buffers: weights that are not learned. One that is added is no bias for execution, and its value is judged all the
    same.
    """
    claimed: dict[str, Plain] = {}
    for step in steps:
        claimed |= _claims(step)
    if any(_kind(step) == "linear" for step in steps):
        claimed["bias"] = any(_adds(step, _of_weights(steps), buffers) for step in steps)
    if "function" in claimed and any(_kind(step) == "clamp" for step in steps):
        claimed["function"] = f"{claimed['function']} clamped"
    found = [Attribute(name, value, _plain(executed.get(name)), where) for name, value in claimed.items()]
    return tuple(sorted(found, key=lambda one: one.executed is None))


def _kind(step: Step) -> str:
    return step.function.rpartition(":")[2]


def _of_weights(steps: Sequence[Step]) -> set[int | str]:
    """The steps that look at nothing but weights."""
    found: set[int | str] = set()
    for step in steps:
        if step.sources and all(source.kind == "weight" or source.ref in found for _, source in step.sources):
            found.add(step.index)
    return found


def _adds(step: Step, weights: Collection[int | str], buffers: Collection[str]) -> bool:
    """Whether a weight is added to a product, by the product or by a step of its own: execution counts them as one."""
    if _kind(step) == "add":
        return any(source.kind == "weight" or source.ref in weights for _, source in step.sources)
    return _kind(step) == "linear" and any(
        name == "bias" and source.ref not in buffers for name, source in step.sources
    )


def _claims(step: Step) -> dict[str, Plain]:
    """What a step claims, in the words of `stage_graph.attributes`."""
    function = _kind(step)
    numbers = dict(step.attributes)
    given = {name for name, _ in step.sources}
    if function in ("layer_norm", "rms_norm"):
        offset = {"offset": int(numbers["offset"])} if "offset" in numbers else {}  # type: ignore[arg-type]
        kind = function.removesuffix("_norm")
        return {"kind": kind, "eps": numbers["eps"], "bias": "bias" in given, "affine": "weight" in given, **offset}
    if function == "linear":
        return {"bias": "bias" in given, "layout": numbers["layout"]}
    if function == "activate":
        return {"function": numbers["kind"]}
    if function == "rope_table":
        plain = numbers.get("kind", "default") == "default"  # the base of scaled frequencies is not read off them
        return {name: numbers[name] for name in ("theta", "dim") if name in numbers and (plain or name != "theta")}
    return {name: value for name, value in numbers.items() if name in _AS_THEY_ARE and value is not None}


_AS_THEY_ARE = frozenset({"factor", "cap", "layout", "window", "direction"})
"""Numbers that have one name in the reference and in execution."""


def _plain(value: object) -> Plain:
    return value if isinstance(value, (bool, int, float, str, tuple)) else None
