"""BART and its kin: an encoder and a decoder of one make over a table of positions; what differs between them is where
norms stand and which row the first position has (Lewis et al. 2019, arXiv 1910.13461, section 2.1).

Shapes: B batch, S new tokens, T keys, D width, H heads, K head width, F ffn width, V vocabulary.
"""

from __future__ import annotations

__all__ = ["Ways", "forward"]

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.reference import embeddings
from inspector.reference.activations import activate
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add
from inspector.reference.heads import split_heads
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.shared import Answer, Inputs, Memory, activation_of, attend
from inspector.reference.models.two_sided import Remembered, sides_of
from inspector.reference.norms import layer_norm
from inspector.reference.positions import position_ids
from inspector.reference.projections import linear
from inspector.reference.steps import Composition
from inspector.reference.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor

Config = Mapping[str, Any]

EPS = 1e-5
"""Of every norm: it stands in the published code, and no config says another."""


class Ways(NamedTuple):
    """In what the kin differ.

    pre_norm: norms stand before the sublayers, and one behind each stack; else behind each sum. embedding_norm: the
    embeddings are normalised. first: the row of the first position.
    """

    pre_norm: bool = False
    embedding_norm: bool = True
    first: int = 2


class Stack(NamedTuple):
    """One of the two stacks. name: "encoder" or "decoder", which stands before its weights and its sizes."""

    ways: Ways
    config: Config
    weights: Weights
    run: Composition
    name: str

    @property
    def heads(self) -> int:
        return int(self.config[f"{self.name}_attention_heads"])

    @property
    def depth(self) -> int:
        return int(self.config[f"{self.name}_layers"])

    def layers(self, first: int = 0) -> Iterator[Layer]:
        return layers_of(self.weights, self.run, self.depth, f"{self.name}.layers", first)

    def embedded(self, given: Inputs) -> Tensor:
        """(B, S, D): tokens, scaled where that is claimed, and positions counted over everything, padding among it."""
        run, w, factor = self.run, self.weights, 1.0
        if self.config.get("scale_embedding"):
            factor = float(self.config["d_model"] ** 0.5)
        table = w(f"{self.name}.embed_tokens.weight")
        token = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=table)
        token = run("embedding.scale", embeddings.scale_embedding, x_BSD=token, factor=factor)
        past, device = given.past + self.ways.first, given["input_ids"].device
        rows = run("positions.ids", position_ids, length=given.length, past=past, device=device)
        table = w(f"{self.name}.embed_positions.weight")
        position = run("embedding.position", embeddings.position, position_ids_BS=rows, table_PD=table)
        x = run("embedding.add", embeddings.add_embeddings, token_BSD=token, position_BSD=position)
        if not self.ways.embedding_norm:
            return x
        return run("embedding.norm", layer_norm, x=x, eps=EPS, **w.affine(f"{self.name}.layernorm_embedding"))

    def ended(self, x: Tensor) -> Tensor:
        """What leaves the stack: normalised where no block normalises its own sums."""
        if not self.ways.pre_norm:
            return x
        return self.run("head.norm", layer_norm, x=x, eps=EPS, **self.weights.affine(f"{self.name}.layer_norm"))


def forward(
    ways: Ways,
    weights: Mapping[str, Tensor],
    config: Config,
    inputs: Mapping[str, Tensor],
    run: Composition,
    cache: Cache | None = None,
    *,
    head: bool = False,
) -> Answer:
    """Both stacks, or the decoder alone where the encoder has run before; with `head` the scores of words besides."""
    sides = sides_of(inputs, run, cache.length if cache else 0)
    w = Weights(weights, run, "decoder.embed_tokens.weight")
    encoder, decoder = (Stack(ways, config, w, run, name) for name in ("encoder", "decoder"))
    first = 0 if sides.source is None else encoder.depth
    memory = Remembered(run, cache, keep=config.get("use_cache", True), first=first)
    if sides.source is None:
        w.spare("encoder.")
    entering = None if sides.source is None else encoder.embedded(sides.source)
    x = decoder.embedded(sides.target)
    seen = None if sides.source is None else sides.source.mask("bidirectional")
    allowed, across = sides.target.mask("causal"), memory.seen_across(sides)
    encoded = sides.encoded if entering is None else _encode(encoder, entering, seen)
    for layer in decoder.layers(first):
        x = _attention(layer, decoder, x, allowed, memory)
        x = _across(layer, decoder, x, encoded, across, memory)
        x = _feedforward(layer, decoder, x)
    x = decoder.ended(x)
    return Answer(x, _words(w, config, run, x) if head else None, cache=memory.kept)


def _encode(encoder: Stack, x: Tensor, allowed: Tensor | None) -> Tensor:
    nothing = Memory(encoder.run, None, keep=False)
    for layer in encoder.layers():
        x = _attention(layer, encoder, x, allowed, nothing)
        x = _feedforward(layer, encoder, x)
    return encoder.ended(x)


def _attention(layer: Layer, stack: Stack, x: Tensor, allowed: Tensor | None, memory: Memory) -> Tensor:
    y = _before(layer, stack, "attention", "self_attn_layer_norm", x)
    q, k, v = (_projected(layer, stack, operand, y) for operand in "qkv")
    k, v = memory.with_past(layer, k, v)
    y = attend(layer, q, k, v, allowed, factor=_factor(stack))
    y = layer.linear("attention.o_proj", "self_attn.out_proj", y, bias=True)
    x = layer("attention.residual", add, residual=x, x=y)
    return _after(layer, stack, "attention", "self_attn_layer_norm", x)


def _across(
    layer: Layer, stack: Stack, x: Tensor, encoded: Tensor | None, allowed: Tensor | None, memory: Remembered
) -> Tensor:
    """Queries of the decoder's, keys and values of what the encoder made."""
    layer = layer._replace(section="cross_attention")

    def made(operand: str) -> Tensor:
        assert encoded is not None  # without it there is a memory, in which they are
        return _projected(layer, stack, operand, encoded)

    y = _before(layer, stack, "cross_attention", "encoder_attn_layer_norm", x)
    q = _projected(layer, stack, "q", y)
    k, v = memory.across(layer, made, "encoder_attn.k_proj.", "encoder_attn.v_proj.")
    y = attend(layer, q, k, v, allowed, factor=_factor(stack))
    y = layer.linear("cross_attention.o_proj", "encoder_attn.out_proj", y, bias=True)
    x = layer("cross_attention.residual", add, residual=x, x=y)
    return _after(layer, stack, "cross_attention", "encoder_attn_layer_norm", x)


def _feedforward(layer: Layer, stack: Stack, x: Tensor) -> Tensor:
    y = _before(layer, stack, "mlp", "final_layer_norm", x)
    y = layer.linear("mlp.up_proj", "fc1", y, bias=True)
    y = layer("mlp.activation", activate, x=y, kind=activation_of(stack.config, "activation_function"))
    y = layer.linear("mlp.down_proj", "fc2", y, bias=True)
    x = layer("mlp.residual", add, residual=x, x=y)
    return _after(layer, stack, "mlp", "final_layer_norm", x)


def _projected(layer: Layer, stack: Stack, operand: str, x: Tensor) -> Tensor:
    """Queries, keys or values, (B, H, S, K)."""
    home = "self_attn" if layer.section == "attention" else "encoder_attn"
    x = layer.linear(f"{layer.section}.{operand}_proj.{operand}", f"{home}.{operand}_proj", x, bias=True)
    return layer(f"{layer.section}.split_heads.{operand}", split_heads, x_BSD=x, heads=stack.heads)


def _before(layer: Layer, stack: Stack, section: str, name: str, x: Tensor) -> Tensor:
    return layer.layer_norm(f"{section}.norm", name, x, EPS) if stack.ways.pre_norm else x


def _after(layer: Layer, stack: Stack, section: str, name: str, x: Tensor) -> Tensor:
    return x if stack.ways.pre_norm else layer.layer_norm(f"{section}.post_norm", name, x, EPS)


def _factor(stack: Stack) -> float:
    return float((stack.config["d_model"] // stack.heads) ** -0.5)


def _words(w: Weights, config: Config, run: Composition, x: Tensor) -> Tensor:
    """Scores of words, (B, S, V), by the token table where it is tied, and a number for each word besides."""
    tied = config.get("tie_word_embeddings", True)
    table = w("decoder.embed_tokens.weight") if tied else w.outside("lm_head.weight")
    return run("head.lm_head", linear, x=x, weight=table, bias=w.outside("final_logits_bias"))
