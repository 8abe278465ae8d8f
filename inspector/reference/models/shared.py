"""What the forwards have alike: how inputs enter, what is remembered, attention up to the joined heads, the answer.

Shapes: B batch, S new tokens, P past, T = P + S keys, D width, H heads, G kv heads, K head width, V vocabulary.
"""

from __future__ import annotations

__all__ = ["Answer", "Inputs", "Memory", "Sight", "activation_of", "attend", "sights_of", "words_of"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.reference import attention
from inspector.reference.activations import known_as
from inspector.reference.cache import Cache, append, append_and_keep
from inspector.reference.heads import merge_heads
from inspector.reference.masks import Direction, build_mask
from inspector.reference.models.layer import Layer
from inspector.reference.positions import position_ids
from inspector.reference.projections import linear
from inspector.reference.steps import Composition
from inspector.reference.weights import NotCovered, Weights, require_inputs

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
    """The inputs of a forward, entered by name, and what is made of them before the first layer.

    prefix: what stands before the names of one side, where a model reads two sequences.
    """

    def __init__(self, inputs: Mapping[str, Tensor], run: Composition, past: int = 0, prefix: str = "") -> None:
        self.length = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
        self.past = past
        require_inputs(inputs, past + self.length)
        self._run = run
        self._tensors = {name: run.enter("input", prefix + name, tensor) for name, tensor in inputs.items()}

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

    def mask(self, direction: Direction, window: int | None = None, held: int | None = None) -> Tensor | None:
        """None where nothing is hidden: a bidirectional model that was given no padding.

        window: how many tokens a query sees, itself among them. held: how many of the past are still there.
        """
        padding = self.get("attention_mask")
        if direction == "bidirectional" and padding is None:
            return None
        held = self.past if held is None else held
        return self._run(
            "mask.build",
            build_mask,
            length=self.length,
            past=held,
            direction=direction,
            window=window,
            attention_mask_BT=padding,
            dropped=self.past - held,
            device=self["input_ids"].device,
        )


class Memory:
    """Keys and values of earlier tokens, and those that are kept for the next step (`kept`, None where none are).

    first: the number of the first layer that has any.
    """

    def __init__(self, run: Composition, cache: Cache | None, *, keep: bool, first: int = 0) -> None:
        self._run, self._past, self._first = run, cache or Cache(), first
        self.kept = Cache() if keep or cache is not None else None

    @property
    def length(self) -> int:
        """How many tokens came before."""
        return self._past.length

    def held(self, layer: int) -> int:
        """Of how many of them a layer still has the keys."""
        return self._past.keys[layer - self._first].shape[2] if self._past.keys else 0

    def with_past(self, layer: Layer, k: Tensor, v: Tensor, window: int | None = None) -> tuple[Tensor, Tensor]:
        """Keys and values of all tokens, (B, G, T, K): those of the past, if any, and then the new ones.

        window: of how many tokens a next one sees the keys, itself among them; no more are kept for it. A past that
        holds more is one that forgets nothing.
        """
        if self.kept is None:
            return k, v
        held, seen = self.held(layer.number), self.length + k.shape[2]
        keeps = window - 1 if window is not None and held < window <= held + k.shape[2] else None
        (k, kept_k), (v, kept_v) = (self._appended(layer, name, new, keeps) for name, new in (("k", k), ("v", v)))
        self.kept = self.kept.extended(kept_k, kept_v)._replace(seen=seen)
        return k, v

    def _appended(self, layer: Layer, name: str, new: Tensor, keeps: int | None) -> tuple[Tensor, Tensor]:
        """All of them, and what is kept."""
        before = self._past.keys if name == "k" else self._past.values
        place = layer.number - self._first
        past = self._run.enter("cache", f"{place}.{name}", before[place]) if before else None
        stage = f"attention.cache_update.{name}"
        if keeps is not None:
            return layer(stage, append_and_keep, new_BGSK=new, past_BGPK=past, keeps=keeps)
        full = layer(stage, append, new_BGSK=new, past_BGPK=past)
        return full, full


class Sight(NamedTuple):
    """Who may be seen in a layer. window: how many tokens a query sees, itself among them; None for all before it."""

    allowed: Tensor | None
    window: int | None = None


def sights_of(given: Inputs, memory: Memory, windows: Sequence[int | None]) -> list[Sight]:
    """What every layer sees of what came before, by its window; layers with one window share one mask."""
    made = {
        window: Sight(given.mask("causal", window, memory.held(windows.index(window))), window)
        for window in dict.fromkeys(windows)
    }
    return [made[window] for window in windows]


def attend(
    layer: Layer,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    allowed: Tensor | None,
    *,
    factor: float,
    cap: float | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """(B, H, S, K), (B, H, T, K) twice -> (B, S, H·K), stage by stage.

    cap: c where scores become c·tanh(scores/c). bias: what positions add to them.
    """
    s = layer(f"{layer.section}.scores", attention.scores, q_BHSK=q, k_BHTK=k)
    s = layer(f"{layer.section}.scale", attention.scale, scores_BHST=s, factor=factor)
    if bias is not None:
        s = layer(f"{layer.section}.position_bias", attention.add_bias, scores_BHST=s, bias=bias)
    if cap is not None:
        s = layer(f"{layer.section}.softcap", attention.softcap, x=s, cap=cap)
    if allowed is not None:
        s = layer(f"{layer.section}.mask", attention.apply_mask, scores_BHST=s, allowed=allowed)
    p = layer(f"{layer.section}.softmax", attention.softmax, scores_BHST=s)
    x = layer(f"{layer.section}.weighted_sum", attention.weighted_sum, weights_BHST=p, v_BHTK=v)
    return layer(f"{layer.section}.merge_heads", merge_heads, x_BHSK=x)


def activation_of(config: Mapping[str, Any], key: str) -> str:
    """The name of the activation that a config claims.

    >>> activation_of({"hidden_act": "gelu_new"}, "hidden_act")
    'gelu_tanh'
    """
    name = known_as(str(config[key]))
    if name is None:
        raise NotCovered(f"the reference has no {config[key]}", why=f"{key} of the config claims it")
    return name


def words_of(
    x: Tensor, w: Weights, run: Composition, config: Mapping[str, Any], table: str, *, tied: bool, bias: bool = False
) -> Tensor:
    """Scores of words, (B, S, V): by the token table where it is tied, else by `lm_head`. tied: what no word means.

    bias: whether words have one, whatever their table is.
    """
    is_tied = config.get("tie_word_embeddings", tied)
    weight = w(table) if is_tied else w.outside("lm_head.weight")
    return run("head.lm_head", linear, x=x, weight=weight, bias=w.outside("lm_head.bias") if bias else None)
