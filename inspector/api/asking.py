"""What the verbs are asked for, made into a scenario or refused."""

from __future__ import annotations

__all__ = ["at_least", "scenario"]

from operator import index

from inspector.errors import UsageError
from inspector.records import Padding, Scenario


def scenario(
    *,
    batch: int,
    seq: int,
    past: int,
    attention: str,
    dtype: str | None,
    device: str | None,
    pad: Padding | None,
    seed: int,
    weights: str | None,
    head: bool | None,
) -> Scenario:
    """The run that the options of a verb describe. UsageError when there is none. pad: left unless somebody chose."""
    return Scenario(
        batch=at_least(1, batch=batch),
        seq=at_least(1, seq=seq),
        past=at_least(0, past=past),
        attention=attention,
        dtype=str(dtype or "bfloat16").removeprefix("torch."),
        padding=pad or "left",
        seed=_whole("seed", seed),
        head=head,
        **_numbers(weights, str(device) if device else None),
    )


def at_least(least: int, **option: int) -> int:
    """The value of an option that counts something.

    >>> at_least(1, batch=2)
    2
    """
    ((name, value),) = option.items()
    value = _whole(name, value)
    if value < least:
        raise UsageError(f"{name} must be at least {least}, but is {value}")
    return value


def _whole(name: str, value: int) -> int:
    try:
        return index(value)
    except TypeError as error:
        raise UsageError(f"{name} is a whole number, but got {value!r}") from error


def _numbers(weights: str | None, device: str | None) -> dict[str, str]:
    """Where the weights come from and where they live: one is enough to say, the other follows."""
    if weights is None:
        device = device or "meta"
        return {"device": device, "weights": "none" if device == "meta" else "random"}
    if device == "meta":
        raise UsageError("the meta device holds no weights", hint="give another device, or leave weights out")
    return {"device": device or "cpu", "weights": "random" if weights == "random" else "checkpoint"}
