"""T5 and mT5: pre-norm blocks without a bias anywhere, scores that are not scaled, and a learned bias by distance that
the first block of each stack has and all of them add (Raffel et al. 2019, arXiv 1910.10683, section 2.1; mT5: Xue et
al. 2020, arXiv 2010.11934; the gated feed-forward layer of version 1.1: Shazeer 2020, arXiv 2002.05202).

Shapes: B batch, S new tokens, T keys, D width, H heads, K head width, F ffn width, N buckets, V vocabulary.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.reference import embeddings
from inspector.reference.activations import activate, known_as
from inspector.reference.attention import scale
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add, multiply
from inspector.reference.heads import split_heads
from inspector.reference.masks import Direction, laid_over
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.shared import Answer, Inputs, Memory, attend
from inspector.reference.models.two_sided import Remembered, sides_of
from inspector.reference.norms import rms_norm
from inspector.reference.positions import relative_bias
from inspector.reference.projections import linear
from inspector.reference.steps import Composition
from inspector.reference.weights import NotCovered, Weights

if TYPE_CHECKING:
    from torch import Tensor

Config = Mapping[str, Any]


class Stack(NamedTuple):
    """One of the two stacks. name: "encoder" or "decoder", which stands before its weights."""

    config: Config
    weights: Weights
    run: Composition
    name: str

    @property
    def depth(self) -> int:
        decoders = self.config.get("num_decoder_layers") if self.name == "decoder" else None
        return int(self.config["num_layers"] if decoders is None else decoders)

    @property
    def eps(self) -> float:
        return float(self.config.get("layer_norm_epsilon", 1e-6))

    def layers(self, first: int = 0) -> Iterator[Layer]:
        return layers_of(self.weights, self.run, self.depth, f"{self.name}.block", first)

    def embedded(self, given: Inputs) -> Tensor:
        table = self.weights(f"{self.name}.embed_tokens.weight")
        return self.run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=table)

    def bias(self, queries: int, past: int = 0) -> Tensor:
        """What distance adds to the scores of every block, (1, H, S, T): a decoder knows no later keys."""
        table = self.weights(f"{self.name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
        return self.run(
            "positions.relative_bias",
            relative_bias,
            table_NH=table,
            queries=queries,
            keys=past + queries,
            bidirectional=self.name == "encoder",
            farthest=self.config.get("relative_attention_max_distance", 128),
            past=past,
        )

    def ended(self, x: Tensor) -> Tensor:
        weight = self.weights(f"{self.name}.final_layer_norm.weight")
        return self.run("head.norm", rms_norm, x=x, weight=weight, eps=self.eps)


class Sight(NamedTuple):
    """What every block of a stack reads: who may be seen, and what distance adds to the scores."""

    allowed: Tensor | None
    bias: Tensor | None


def forward(
    weights: Mapping[str, Tensor],
    config: Config,
    inputs: Mapping[str, Tensor],
    run: Composition,
    cache: Cache | None = None,
    *,
    head: bool = False,
) -> Answer:
    """Both stacks, or the decoder alone where the encoder has run before; with `head` the scores of words besides.

    The head always reads the token table. NotCovered for a feed-forward layer of another kind.
    """
    sides = sides_of(inputs, run, cache.length if cache else 0)
    w = Weights(weights, run, "decoder.embed_tokens.weight")
    encoder, decoder = (Stack(config, w, run, name) for name in ("encoder", "decoder"))
    first = 0 if sides.source is None else encoder.depth
    memory = Remembered(run, cache, keep=config.get("use_cache", True), first=first)
    if sides.source is None:
        w.spare("encoder.")
    entering = None if sides.source is None else encoder.embedded(sides.source)
    x = decoder.embedded(sides.target)
    seen = None if sides.source is None else _sight_of(encoder, sides.source)
    sight = _sight_of(decoder, sides.target)
    across = Sight(memory.seen_across(sides), None)
    encoded = sides.encoded if entering is None or seen is None else _encode(encoder, entering, seen)
    for layer in decoder.layers(first):
        x = _attention(layer, decoder, x, sight, memory)
        x = _across(layer, decoder, x, encoded, across, memory)
        x = _feedforward(layer, decoder, x, "layer.2")
    x = decoder.ended(x)
    return Answer(x, _words(w, config, run, x) if head else None, cache=memory.kept)


def _sight_of(stack: Stack, given: Inputs) -> Sight:
    """A kernel takes one tensor for both: a bias that hides, where anything is hidden."""
    direction: Direction = "bidirectional" if stack.name == "encoder" else "causal"
    bias, padding = stack.bias(given.length, given.past), given.get("attention_mask")
    if stack.config.get("attn_implementation", "eager") == "eager":
        return Sight(given.mask(direction), bias)
    if direction == "bidirectional" and padding is None:
        return Sight(None, bias)
    more: dict[str, Any] = {"length": given.length, "past": given.past, "direction": direction}
    return Sight(None, stack.run("mask.build", laid_over, bias=bias, attention_mask_BT=padding, **more))


def _encode(encoder: Stack, x: Tensor, sight: Sight) -> Tensor:
    nothing = Memory(encoder.run, None, keep=False)
    for layer in encoder.layers():
        x = _attention(layer, encoder, x, sight, nothing)
        x = _feedforward(layer, encoder, x, "layer.1")
    return encoder.ended(x)


def _attention(layer: Layer, stack: Stack, x: Tensor, sight: Sight, memory: Memory) -> Tensor:
    y = layer.rms_norm("attention.norm", "layer.0.layer_norm", x, stack.eps)
    q, k, v = (_projected(layer, stack, f"layer.0.SelfAttention.{operand}", operand, y) for operand in "qkv")
    k, v = memory.with_past(layer, k, v)
    y = attend(layer, q, k, v, sight.allowed, factor=1.0, bias=sight.bias)
    y = layer.linear("attention.o_proj", "layer.0.SelfAttention.o", y)
    return layer("attention.residual", add, residual=x, x=y)


def _across(layer: Layer, stack: Stack, x: Tensor, encoded: Tensor | None, sight: Sight, memory: Remembered) -> Tensor:
    """Queries of the decoder's, keys and values of what the encoder made; distance adds nothing."""
    layer, home = layer._replace(section="cross_attention"), "layer.1.EncDecAttention"

    def made(operand: str) -> Tensor:
        assert encoded is not None  # without it there is a memory, in which they are
        return _projected(layer, stack, f"{home}.{operand}", operand, encoded)

    y = layer.rms_norm("cross_attention.norm", "layer.1.layer_norm", x, stack.eps)
    q = _projected(layer, stack, f"{home}.q", "q", y)
    k, v = memory.across(layer, made, f"{home}.k.", f"{home}.v.")
    y = attend(layer, q, k, v, sight.allowed, factor=1.0)
    y = layer.linear("cross_attention.o_proj", f"{home}.o", y)
    return layer("cross_attention.residual", add, residual=x, x=y)


def _projected(layer: Layer, stack: Stack, name: str, operand: str, x: Tensor) -> Tensor:
    """Queries, keys or values, (B, H, S, K); all heads together need not be as wide as the model."""
    x = layer.linear(f"{layer.section}.{operand}_proj.{operand}", name, x)
    return layer(f"{layer.section}.split_heads.{operand}", split_heads, x_BSD=x, heads=stack.config["num_heads"])


def _feedforward(layer: Layer, stack: Stack, x: Tensor, home: str) -> Tensor:
    """home: the place of the sublayer among those of its block."""
    kind, is_gated = _kind(stack.config)
    name = f"{home}.DenseReluDense"
    y = layer.rms_norm("mlp.norm", f"{home}.layer_norm", x, stack.eps)
    if is_gated:
        gate = layer.linear("mlp.gate_proj", f"{name}.wi_0", y)
        gate = layer("mlp.activation", activate, x=gate, kind=kind)
        up = layer.linear("mlp.up_proj", f"{name}.wi_1", y)
        y = layer("mlp.multiply", multiply, gate=gate, up=up)
    else:
        y = layer.linear("mlp.up_proj", f"{name}.wi", y)
        y = layer("mlp.activation", activate, x=y, kind=kind)
    y = layer.linear("mlp.down_proj", f"{name}.wo", y)
    return layer("mlp.residual", add, residual=x, x=y)


def _kind(config: Config) -> tuple[str, bool]:
    """The non-linearity, and whether a gate goes through it."""
    claim = str(config.get("feed_forward_proj", "relu"))
    name = claim.removeprefix("gated-")
    kind = "gelu_tanh" if claim == "gated-gelu" else known_as(name)  # T5's gated GELU is the approximated one
    if kind is None:
        raise NotCovered(f"the reference has no {name}", why="feed_forward_proj of the config claims it")
    return kind, name != claim


def _words(w: Weights, config: Config, run: Composition, x: Tensor) -> Tensor:
    """Scores of words, (B, S, V), by the token table, larger than a head's weight: version 1.0 makes up for that."""
    if config.get("scale_decoder_outputs"):
        x = run("head.scale", scale, scores_BHST=x, factor=float(config["d_model"] ** -0.5))
    return run("head.lm_head", linear, x=x, weight=w("decoder.embed_tokens.weight"))
