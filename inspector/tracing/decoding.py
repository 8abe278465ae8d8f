"""Greedy decoding, watched: every step once from what was kept, once from the beginning, and once more finely."""

from __future__ import annotations

__all__ = ["Step", "Written", "steps_of"]

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from inspector.records import Claims, Trace
from inspector.source.decoding import Decoding
from inspector.source.prepared import Prepared
from inspector.tracing.run import at_fault, glimpse, model_info
from inspector.tracing.tensors import named_tensors

_FINER = {"float32": torch.float64, "float16": torch.float32, "bfloat16": torch.float32}
"""What a format is held against."""


class Held(NamedTuple):
    """One tensor that is kept for the next step."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


class Written(NamedTuple):
    """One forward: what it read, the token that it takes for the most likely one in each sequence, what it ran."""

    ids: tuple[int, ...]
    tokens: tuple[int, ...]
    trace: Trace


@dataclass(frozen=True, slots=True)
class Step:
    """One token, written twice.

    difference: the largest between the scores of the two. noise: of the forward without a cache against a finer one, in
    the last step, which reads all tokens; None in others, and where no finer one ran. size: the largest score.
    gaps: per sequence, by how much the best token leads.
    """

    cached: Written
    whole: Written
    held: tuple[Held, ...]
    difference: float
    noise: float | None
    size: float
    gaps: tuple[float, ...]


def steps_of(prepared: Prepared, decoding: Decoding, count: int, *, finer: bool = True) -> Iterator[Step]:
    """Write `count` tokens. finer: whether the model is held against a copy of itself in a finer format too.

    Both ways read the same tokens at every step: those that were written with the cache.
    """
    forward = _Forward(prepared, decoding)
    to = _FINER.get(prepared.scenario.dtype) if finer else None
    exact = deepcopy(prepared.module).to(to) if to is not None else None
    tokens, new, kept = decoding.prompt, decoding.prompt, dict[str, Any]()
    with at_fault(prepared.subject, "running the model"), torch.no_grad():
        for number in range(count):
            trace, output = forward(decoding.next(new, kept))
            kept, logits = decoding.kept(output), decoding.logits(output)
            held = tuple(_held(kept))
            whole_trace, whole_output = forward(decoding.whole(tokens) if number else decoding.anew(tokens))
            if not number:
                decoding.encode(output)
            whole = decoding.logits(whole_output)
            chosen = logits.argmax(-1, keepdim=True)
            yield Step(
                Written(tuple(new.shape), _list(chosen), trace),
                Written(tuple(tokens.shape), _list(whole.argmax(-1)), whole_trace),
                held,
                float((logits.double() - whole.double()).abs().max()),
                _noise(exact, decoding, tokens, whole_output) if number == count - 1 else None,
                float(whole.double().abs().max()),
                _gaps(whole),
            )
            new, tokens = chosen, torch.cat([tokens, chosen], dim=1)


class _Forward:
    """Runs the model and watches."""

    def __init__(self, prepared: Prepared, decoding: Decoding) -> None:
        self._module, self._scenario = prepared.module, prepared.scenario
        self._info = model_info(prepared.subject, prepared.module)

    def __call__(self, arguments: dict[str, Any]) -> tuple[Trace, Any]:
        trace, run = glimpse(self._module, arguments, self._scenario, self._info, Claims())
        return trace, run.output


def _noise(exact: nn.Module | None, decoding: Decoding, tokens: Tensor, whole: Any) -> float | None:
    """What the format itself costs: how far the last forward without a cache is, at any token, from a finer one."""
    if exact is None:
        return None
    try:
        output = exact(**decoding.anew(tokens))
    except RuntimeError:  # some kernels exist in one format only
        return None
    return float((output.logits.double() - whole.logits.double()).abs().max())


def _gaps(logits: Tensor) -> tuple[float, ...]:
    best = logits.double().topk(min(2, logits.shape[-1]), dim=-1).values
    return tuple((best[:, 0] - best[:, -1]).tolist())


def _list(tokens: Tensor) -> tuple[int, ...]:
    return tuple(tokens.flatten().tolist())


def _held(kept: dict[str, Any]) -> Iterator[Held]:
    """The tensors of a cache with their paths in it; counters are no tensors of tokens."""
    for path, tensor in named_tensors(next(iter(kept.values()))):
        if tensor.dim():
            dtype = str(tensor.dtype).removeprefix("torch.")
            yield Held(path, tuple(tensor.shape), dtype, tensor.numel() * tensor.element_size())
