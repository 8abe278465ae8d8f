"""What decoders with rotary positions have alike: heads, their rotation, shared keys and values, the gated layer.

Shapes: B batch, S new tokens, T keys, D width, H heads, G kv heads, K head width, R elements that are turned.
"""

from __future__ import annotations

__all__ = ["Sizes", "Turn", "gated", "grouped", "projected", "sizes_of", "turn_of", "turned", "windows_of"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.reference.activations import activate
from inspector.reference.feedforward import multiply
from inspector.reference.frequencies import RopeScaling
from inspector.reference.heads import repeat_kv, split_heads
from inspector.reference.models.layer import Layer
from inspector.reference.models.shared import Inputs, Memory, Sight, attend
from inspector.reference.rope import Layout, rope_table, rotate
from inspector.reference.steps import Composition
from inspector.reference.weights import NotCovered

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Config = Mapping[str, Any]


class Sizes(NamedTuple):
    """What a config claims of the heads."""

    heads: int
    groups: int
    width: int


def sizes_of(config: Config) -> Sizes:
    """The heads of a config; without a number of kv heads each head has its own, without a width they share D.

    >>> sizes_of({"num_attention_heads": 4, "hidden_size": 64})
    Sizes(heads=4, groups=4, width=16)
    """
    heads = config["num_attention_heads"]
    groups, width = config.get("num_key_value_heads"), config.get("head_dim")
    return Sizes(heads, groups or heads, width or config["hidden_size"] // heads)


def windows_of(config: Config) -> list[int | None]:
    """How many tokens each layer sees, by `layer_types`; None where it sees all that came before.

    >>> windows_of({"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8})
    [8, None]

    NotCovered for other kinds of layers, and where a window is claimed but not of which layers.
    """
    window, kinds = config.get("sliding_window"), config.get("layer_types")
    if kinds is None and window is None:
        return [None] * config["num_hidden_layers"]
    if kinds is None:
        raise NotCovered("which layers see a window is not said", why="sliding_window needs layer_types")
    known = {"full_attention": None, "sliding_attention": window}
    other = [kind for kind in kinds if kind not in known]
    if other:
        raise NotCovered(f"the reference has no {other[0]} layers here", why="layer_types of the config claims them")
    return [known[kind] for kind in kinds]


class Turn(NamedTuple):
    """How far each position is turned, (B, 1, S, R) twice, and which elements of a head.

    dims: how many of its first elements; None for all of them.
    """

    cos: Tensor
    sin: Tensor
    layout: Layout = "half"
    dims: int | None = None


def turn_of(
    given: Inputs,
    run: Composition,
    rope: RopeScaling,
    dtype: torch.dtype,
    layout: Layout = "half",
    dims: int | None = None,
) -> Turn:
    """The table of one rotation at the positions of the new tokens."""
    ids = given.positions()
    cos, sin = run("positions.rope_table", rope_table, position_ids_BS=ids, layout=layout, dtype=dtype, **rope.claims())
    return Turn(cos, sin, layout, dims)


def projected(
    layer: Layer, x: Tensor, sizes: Sizes, name: str = "self_attn", *, bias: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (B, H, S, K), keys and values (B, G, S, K), by a map for each."""
    parts = []
    for operand, heads in (("q", sizes.heads), ("k", sizes.groups), ("v", sizes.groups)):
        flat = layer.linear(f"attention.{operand}_proj.{operand}", f"{name}.{operand}_proj", x, bias=bias)
        parts.append(layer(f"attention.split_heads.{operand}", split_heads, x_BSD=flat, heads=heads))
    q, k, v = parts
    return q, k, v


def turned(layer: Layer, q: Tensor, k: Tensor, turn: Turn) -> tuple[Tensor, Tensor]:
    """Queries and keys, each rotated by its position."""
    how: dict[str, Any] = {"cos_B1SR": turn.cos, "sin_B1SR": turn.sin, "layout": turn.layout, "dims": turn.dims}
    q = layer("attention.rope.q", rotate, x_BHSK=q, **how)
    return q, layer("attention.rope.k", rotate, x_BHSK=k, **how)


def grouped(
    layer: Layer,
    memory: Memory,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sight: Sight,
    *,
    factor: float,
    cap: float | None = None,
) -> Tensor:
    """Attention whose keys and values are remembered, and shared by neighbouring heads: (B, S, H·K)."""
    k, v = memory.with_past(layer, k, v, sight.window)
    k = layer("attention.repeat_kv.k", repeat_kv, x_BGTK=k, heads=q.shape[1])
    v = layer("attention.repeat_kv.v", repeat_kv, x_BGTK=v, heads=q.shape[1])
    return attend(layer, q, k, v, sight.allowed, factor=factor, cap=cap)


def gated(layer: Layer, x: Tensor, kind: str, name: str = "mlp", *, bias: bool = False) -> Tensor:
    """down(f(gate(x)) · up(x)), by a map for each (Shazeer 2020, arXiv 2002.05202)."""
    gate = layer.linear("mlp.gate_proj", f"{name}.gate_proj", x, bias=bias)
    gate = layer("mlp.activation", activate, x=gate, kind=kind)
    up = layer.linear("mlp.up_proj", f"{name}.up_proj", x, bias=bias)
    y = layer("mlp.multiply", multiply, gate=gate, up=up)
    return layer.linear("mlp.down_proj", f"{name}.down_proj", y, bias=bias)
