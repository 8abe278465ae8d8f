"""What is claimed of a run, step by step: the composition of a reference forward, on the meta device, where it is free.

A step names the function, the numbers it is called with and the producers of its inputs. None of it comes from the run
that is checked.
"""

from __future__ import annotations

__all__ = ["Claimed", "claimed_by", "has_head", "kept_as", "past_of", "tensors_of"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from inspector.reference.cache import Cache
from inspector.reference.models import forward_of
from inspector.reference.steps import Composition, Dispatch, Source, Step, replay

_MOVABLE = frozenset({"step", "input"})


@dataclass(frozen=True)
class Claimed:
    """The steps of one forward. shapes: (step, output) -> its shape. where: who claims them.

    weights: every name that the steps may use -> the model's own tensor. inputs: likewise. wired: whether the sources
    of the steps are claims; else they are what ran, and `stages` says which steps each stage stands for and `reasons`
    why others stand for none. open: step -> its numbers that nobody claims. spared: weights that take no part, for
    what they gave in an earlier forward is remembered.
    """

    steps: tuple[Step, ...]
    shapes: dict[tuple[int, int], tuple[int, ...]]
    weights: Mapping[str, Tensor]
    inputs: Mapping[str, Tensor]
    where: str
    wired: bool = True
    open: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    stages: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    reasons: Mapping[int, str] = field(default_factory=dict)
    spared: frozenset[str] = frozenset()

    def unsaid(self, steps: Sequence[Step]) -> str:
        """What nobody claims of a stage that stands for these steps, in words; "" where all is claimed."""
        names = list(dict.fromkeys(name for step in steps for name in self.open.get(step.index, ())))
        names += [] if self.wired else ["where its inputs come from"]
        return f"nothing claims {' and '.join(names)}" if names else ""

    @cached_property
    def buffers(self) -> frozenset[str]:
        """The weights that are no parameters."""
        return frozenset(name for name, tensor in self.weights.items() if not isinstance(tensor, nn.Parameter))

    @cached_property
    def known(self) -> dict[tuple[int, int], Tensor]:
        """Values that need no weights (positions, tables, masks), from the model's inputs alone: exact, or float64."""
        found: dict[tuple[int, int], Tensor] = {}
        for step in self.steps if self.wired else ():
            operands = {name: self._without_weights(source, found) for name, source in step.sources}
            if any(tensor is None for tensor in operands.values()) or step.name.startswith("embedding"):
                continue
            for output, tensor in enumerate(replay(step, {k: v for k, v in operands.items() if v is not None})):
                found[step.index, output] = tensor
        return found

    def _without_weights(self, source: Source, found: Mapping[tuple[int, int], Tensor]) -> Tensor | None:
        if source.kind == "input":
            return self.inputs[str(source.ref)]
        return found.get((int(source.ref), source.output)) if source.kind == "step" else None


def claimed_by(
    model_type: str | None,
    module: nn.Module,
    config: Mapping[str, Any],
    inputs: Mapping[str, Any],
    dispatch: Dispatch = "copied",
) -> Claimed | None:
    """What the reference forward of a model type claims of `module`; None where there is no such forward.

    What a kernel takes as one tensor may be two for the formula, so the forward is told which kernel runs.
    """
    from inspector.source.prepared import attention_of

    forward = forward_of(model_type)
    if forward is None:
        return None
    weights = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}
    tensors = tensors_of(inputs)
    run = Composition(keep=True, dispatch=dispatch)
    forward(
        {name: _on_meta(tensor) for name, tensor in weights.items()},
        {**config, "attn_implementation": attention_of(module) or "eager"},
        {name: _on_meta(tensor) for name, tensor in tensors.items()},
        run,
        past_of(inputs, _on_meta),
        head=has_head(module),
    )
    shapes = {
        (step.index, output): tuple(tensor.shape) for step in run.steps for output, tensor in enumerate(step.outputs)
    }
    where, spared = f"the reference forward of {model_type}", frozenset(run.spared)
    return Claimed(tuple(run.steps), shapes, weights, tensors, where, spared=spared)


def past_of(inputs: Mapping[str, Any], to: Callable[[Tensor], Tensor]) -> Cache | None:
    """The keys and values that a decode step continues from, each handed through `to`.

    What a cache has let go of only the cache itself can count.
    """
    from inspector.tracing.tensors import named_tensors

    past = inputs.get("past_key_values")
    if past is None:
        return None
    found: dict[tuple[bool, str], list[Tensor]] = {}
    for name, tensor in named_tensors(past):
        kept = kept_as(name)
        if kept is not None:
            found.setdefault((kept.across, kept.operand), []).append(to(tensor))
    parts = [tuple(found.get((across, operand), ())) for across in (False, True) for operand in "kv"]
    count = getattr(past, "get_seq_length", None)
    return Cache(parts[0], parts[1], None if count is None else int(count()), parts[2], parts[3])


class Kept(NamedTuple):
    """What a cache keeps. layer: as the cache counts them. across: whether it is another sequence's."""

    layer: str
    operand: str
    across: bool

    @property
    def source(self) -> str:
        """What the reference calls it."""
        return f"{self.layer}.{self.operand}{' across' if self.across else ''}"


def kept_as(name: str) -> Kept | None:
    """What a leaf of that name keeps, None where it is no part of a cache.

    >>> kept_as("past_key_values.layers.1.keys").source
    '1.k'
    >>> kept_as("past_key_values.cross_attention_cache.layers.0.values").source
    '0.v across'
    """
    *home, layer, last = ("", "", *name.split("."))
    if last not in ("keys", "values"):
        return None
    return Kept(layer, last[0], any(part.startswith("cross_attention") for part in home))


def tensors_of(inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The inputs by name, those inside of others among them; without a cache, which is no input of its own."""
    from inspector.tracing.tensors import named_tensors

    return dict(named_tensors({name: value for name, value in inputs.items() if name != "past_key_values"}))


def has_head(module: nn.Module) -> bool:
    """Whether a model gives scores of words."""
    return getattr(module, "get_output_embeddings", lambda: None)() is not None


def _on_meta(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
