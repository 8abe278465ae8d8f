"""Tensors by the names that a checkpoint gives them, and the refusal of what a forward does not know."""

from __future__ import annotations

__all__ = ["NotCovered", "Weights", "require_inputs"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.errors import InspectorError, ModelAtFault
from inspector.reference.steps import Composition

if TYPE_CHECKING:
    from torch import Tensor


class NotCovered(InspectorError):
    """The config or the inputs ask for something that the reference has no maths for."""


class Weights:
    """The weights of one model, entered into a composition as they are asked for.

    >>> import torch
    >>> run = Composition()
    >>> weights = Weights({"model.norm.weight": torch.ones(2)}, run, anchor="norm.weight")
    >>> weights("norm.weight")
    tensor([1., 1.])

    Names are those of the base model; whatever stands before `anchor` in the mapping ("model.", "bert.") is put in
    front of them. Sources have the names as they stand in the mapping. ModelAtFault where a name is not there.
    """

    def __init__(self, tensors: Mapping[str, Tensor], run: Composition, anchor: str) -> None:
        found = [name for name in tensors if name == anchor or name.endswith(f".{anchor}")]
        if not found:
            raise ModelAtFault(f"the weights hold no {anchor}")
        self._prefix = min(found, key=len).removesuffix(anchor)
        self._tensors = tensors
        self._run = run
        self._known: dict[str, Tensor] = {}

    def __call__(self, name: str) -> Tensor:
        return self.outside(self._prefix + name)

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._tensors

    def outside(self, name: str) -> Tensor:
        """A weight beside the base model, by its whole name: the LM head's."""
        if name not in self._known:
            if name not in self._tensors:
                raise ModelAtFault(f"the weights hold no {name}")
            self._known[name] = self._run.enter("weight", name, self._tensors[name])
        return self._known[name]

    def spare(self, name: str) -> None:
        """Say of all weights whose names begin so that they take no part: what they gave before is remembered."""
        self._run.spared.update(one for one in self._tensors if one.startswith(self._prefix + name))

    def affine(self, name: str, *, bias: bool = True) -> dict[str, Any]:
        """The weight and the bias of one map, as arguments; `bias` says whether one is claimed."""
        return {"weight": self(f"{name}.weight"), "bias": self(f"{name}.bias") if bias else None}


_KNOWN = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


def require_inputs(inputs: Mapping[str, Tensor], length: int) -> None:
    """NotCovered for inputs that no forward here reads, or that it would read wrongly.

    >>> import torch
    >>> require_inputs({"input_ids": torch.ones(1, 2), "inputs_embeds": torch.ones(1, 2, 4)}, length=2)
    Traceback (most recent call last):
    ...
    inspector.reference.weights.NotCovered: the reference does not read inputs_embeds
    """
    unknown = sorted(inputs.keys() - set(_KNOWN))
    if unknown:
        raise NotCovered(f"the reference does not read {', '.join(unknown)}")
    if "input_ids" not in inputs:
        raise NotCovered("the reference reads input_ids, but got none")
    mask = inputs.get("attention_mask")
    if mask is not None and tuple(mask.shape[1:]) != (length,):
        raise NotCovered(f"an attention mask is (batch, {length}), but got {tuple(mask.shape)}")
