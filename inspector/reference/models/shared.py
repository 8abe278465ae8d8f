"""What the three families have alike: how inputs enter, attention from scores to the joined heads, and the answer.

Shapes: B batch, S new tokens, P past, T = P + S keys, D width, H heads, G kv heads, K head width, V vocabulary.
"""

from __future__ import annotations

__all__ = ["Answer", "Inputs", "activation_of", "attend", "remember"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspector.reference import attention
from inspector.reference.activations import known_as
from inspector.reference.cache import Cache, append
from inspector.reference.heads import merge_heads
from inspector.reference.masks import Direction, build_mask
from inspector.reference.positions import position_ids
from inspector.reference.steps import Composition
from inspector.reference.weights import NotCovered, require_inputs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Answer:
    """What a forward hands out; None for what was not asked for or is not there.

    last_hidden_state: (B, S, D) after the last norm. logits: (B, S, V). pooler_output: (B, D).
    """

    last_hidden_state: Tensor
    logits: Tensor | None = None
    pooler_output: Tensor | None = None
    cache: Cache | None = None


class Inputs:
    """The inputs of a forward, entered by name, and what is made of them before the first layer."""

    def __init__(self, inputs: Mapping[str, Tensor], run: Composition, past: int) -> None:
        self.length = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
        self.past = past
        require_inputs(inputs, past + self.length)
        self._run = run
        self._tensors = {name: run.enter("input", name, tensor) for name, tensor in inputs.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def get(self, name: str) -> Tensor | None:
        return self._tensors.get(name)

    def positions(self) -> Tensor:
        """The positions that were given, else numbers from the past on: padding is counted like any token."""
        if "position_ids" in self._tensors:
            return self["position_ids"]
        where = self["input_ids"].device
        return self._run("positions.ids", position_ids, length=self.length, past=self.past, device=where)

    def mask(self, direction: Direction) -> Tensor | None:
        """None where nothing is hidden: a bidirectional model that was given no padding."""
        padding = self.get("attention_mask")
        if direction == "bidirectional" and padding is None:
            return None
        where = self["input_ids"].device
        return self._run(
            "mask.build",
            build_mask,
            length=self.length,
            past=self.past,
            direction=direction,
            attention_mask_BT=padding,
            device=where,
        )


def remember(run: Composition, k: Tensor, v: Tensor, past: Cache, layer: int) -> tuple[Tensor, Tensor]:
    """Keys and values of all tokens, (B, G, T, K): those of the past, if any, and then the new ones."""
    old: tuple[Tensor | None, Tensor | None] = (None, None)
    if past.keys:
        old = (
            run.enter("cache", f"{layer}.k", past.keys[layer]),
            run.enter("cache", f"{layer}.v", past.values[layer]),
        )
    k = run("attention.cache_update.k", append, layer=layer, new_BGSK=k, past_BGPK=old[0])
    v = run("attention.cache_update.v", append, layer=layer, new_BGSK=v, past_BGPK=old[1])
    return k, v


def attend(
    run: Composition, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, *, factor: float, layer: int
) -> Tensor:
    """(B, H, S, K), (B, H, T, K) twice -> (B, S, H·K), stage by stage."""
    s = run("attention.scores", attention.scores, layer=layer, q_BHSK=q, k_BHTK=k)
    s = run("attention.scale", attention.scale, layer=layer, scores_BHST=s, factor=factor)
    if allowed is not None:
        s = run("attention.mask", attention.apply_mask, layer=layer, scores_BHST=s, allowed=allowed)
    p = run("attention.softmax", attention.softmax, layer=layer, scores_BHST=s)
    x = run("attention.weighted_sum", attention.weighted_sum, layer=layer, weights_BHST=p, v_BHTK=v)
    return run("attention.merge_heads", merge_heads, layer=layer, x_BHSK=x)


def activation_of(config: Mapping[str, Any], key: str) -> str:
    """The name of the activation that a config claims.

    >>> activation_of({"hidden_act": "gelu_new"}, "hidden_act")
    'gelu_tanh'
    """
    name = known_as(str(config[key]))
    if name is None:
        raise NotCovered(f"the reference has no {config[key]}", why=f"{key} of the config claims it")
    return name
