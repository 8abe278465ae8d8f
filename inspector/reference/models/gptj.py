"""GPT-J: attention and feed-forward layer side by side behind one norm; neighbouring elements of the first part of each
head are turned, before heads are put in front of tokens (Wang and Komatsuzaki 2021, and the code released with it).

Shapes: B batch, S new tokens, T keys, D width, H heads, K head width, R elements that are turned, F ffn width.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings
from inspector.reference.activations import activate
from inspector.reference.attention import apply_mask, scale, scores, softmax, weighted_sum
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add_all
from inspector.reference.frequencies import RopeScaling
from inspector.reference.heads import merge_heads
from inspector.reference.layout import arrange, pieces, viewed
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.rotary import Turn, turned
from inspector.reference.models.shared import Answer, Inputs, Memory, activation_of, words_of
from inspector.reference.norms import layer_norm
from inspector.reference.rope import rope_table
from inspector.reference.steps import Composition
from inspector.reference.weights import NotCovered, Weights

if TYPE_CHECKING:
    from torch import Tensor

Config = Mapping[str, Any]


def forward(
    weights: Mapping[str, Tensor],
    config: Config,
    inputs: Mapping[str, Tensor],
    run: Composition,
    cache: Cache | None = None,
    *,
    head: bool = False,
) -> Answer:
    """The decoder; with `head` the logits besides, whose words have a bias.

    NotCovered without `rotary_dim`, and for kinds of tokens.
    """
    _require_covered(config, inputs)
    w, memory = Weights(weights, run, "wte.weight"), Memory(run, cache, keep=config.get("use_cache", True))
    given = Inputs(inputs, run, memory.length)
    x = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=w("wte.weight"))
    places, allowed = given.positions(), given.mask("causal")
    places = run("positions.ids", viewed, x=places, shape=(*places.shape, 1))  # for each element that is looked up
    for layer in layers_of(w, run, config["n_layer"], "h"):
        y = layer.layer_norm("attention.norm", "ln_1", x, _eps(config))
        z = _attention(layer, config, y, _table(run, config, places, x), allowed, memory)
        x = layer("mlp.residual", add_all, first=z, second=_feedforward(layer, config, y), third=x)
    x = run("head.norm", layer_norm, x=x, eps=_eps(config), **w.affine("ln_f"))
    logits = words_of(x, w, run, config, "wte.weight", tied=False, bias=True) if head else None
    return Answer(x, logits, cache=memory.kept)


def _require_covered(config: Config, inputs: Mapping[str, Tensor]) -> None:
    if not config.get("rotary_dim"):
        raise NotCovered("this reference turns a part of each head", why="the config claims no rotary_dim")
    if "token_type_ids" in inputs:
        raise NotCovered("this reference does not read token_type_ids")


def _table(run: Composition, config: Config, places: Tensor, x: Tensor) -> Turn:
    """The table of one layer, (B, S, 1, R) twice: each has its own, and heads stand behind tokens."""
    name, rope = "positions.rope_table", RopeScaling(config["rotary_dim"], 10000.0)
    (places,) = run(name, pieces, x=places, bounds=((0, 1, 1),))
    places = run(name, viewed, x=places, shape=tuple(places.shape[:2]))
    how = {"layout": "interleaved", "heads": 2, **rope.claims()}
    cos, sin = run(name, rope_table, position_ids_BS=places, dtype=x.dtype, **how)
    return Turn(cos, sin, "interleaved", rope.dim)


def _attention(layer: Layer, config: Config, y: Tensor, turn: Turn, allowed: Tensor | None, memory: Memory) -> Tensor:
    q, k, v = _heads(layer, config, y)
    q, k = turned(layer, q, k, turn)
    k = layer("attention.split_heads.k", arrange, x=k, pattern="B S H K -> B H S K")
    k, v = memory.with_past(layer, k, v)
    q = layer("attention.scores", arrange, x=q, pattern="B S H K -> B H S K")
    s = layer("attention.scores", scores, q_BHSK=q, k_BHTK=k)
    s = layer("attention.scale", scale, scores_BHST=s, factor=(config["n_embd"] // config["n_head"]) ** -0.5)
    s = s if allowed is None else layer("attention.mask", apply_mask, scores_BHST=s, allowed=allowed)
    p = layer("attention.softmax", softmax, scores_BHST=s)
    y = layer("attention.weighted_sum", weighted_sum, weights_BHST=p, v_BHTK=v)
    y = layer("attention.merge_heads", merge_heads, x_BHSK=y)
    return layer.linear("attention.o_proj", "attn.out_proj", y)


def _heads(layer: Layer, config: Config, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys (B, S, H, K), for their heads move behind tokens; values (B, H, S, K)."""
    parts = []
    for operand in ("q", "k", "v"):
        flat = layer.linear(f"attention.{operand}_proj.{operand}", f"attn.{operand}_proj", y)
        pattern = "B S (H K) -> B H S K" if operand == "v" else "B S (H K) -> B S H K"
        parts.append(layer(f"attention.split_heads.{operand}", arrange, x=flat, pattern=pattern, H=config["n_head"]))
    q, k, v = parts
    return q, k, v


def _feedforward(layer: Layer, config: Config, y: Tensor) -> Tensor:
    y = layer.linear("mlp.up_proj", "mlp.fc_in", y, bias=True)
    y = layer("mlp.activation", activate, x=y, kind=activation_of(config, "activation_function"))
    return layer.linear("mlp.down_proj", "mlp.fc_out", y, bias=True)


def _eps(config: Config) -> float:
    return float(config.get("layer_norm_epsilon", 1e-5))
