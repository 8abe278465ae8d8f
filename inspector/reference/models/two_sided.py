"""What encoder-decoders have alike: two sequences enter, and the decoder sees what the encoder made of the other one
(Vaswani et al. 2017, arXiv 1706.03762, section 3.2.3).

Shapes: B batch, S new tokens, P past, U tokens of the other sequence, D width, H heads, K head width.
"""

from __future__ import annotations

__all__ = ["Remembered", "Sides", "sides_of"]

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from inspector.reference.cache import append
from inspector.reference.masks import build_mask
from inspector.reference.models.layer import Layer
from inspector.reference.models.shared import Inputs, Memory
from inspector.reference.steps import Composition
from inspector.reference.weights import NotCovered

if TYPE_CHECKING:
    from torch import Tensor

ENCODED = "encoder_outputs.last_hidden_state"

_OF_SOURCE, _DECODER = ("input_ids", "attention_mask"), "decoder_"


class Sides(NamedTuple):
    """What enters an encoder-decoder.

    source: of the encoder, None where it has run before. encoded: what it made then, (B, U, D). padding: of the other
    sequence, (B, U). target: of the decoder.
    """

    source: Inputs | None
    encoded: Tensor | None
    padding: Tensor | None
    target: Inputs

    @property
    def others(self) -> int | None:
        """How many tokens the other sequence has, None where only a memory knows."""
        if self.source is not None:
            return self.source.length
        return None if self.encoded is None else self.encoded.shape[1]


def sides_of(inputs: Mapping[str, Tensor], run: Composition, past: int) -> Sides:
    """The two sides by the names of their inputs. NotCovered where a side is missing, or for names of neither."""
    target = {name.removeprefix(_DECODER): value for name, value in inputs.items() if name.startswith(_DECODER)}
    source = {name: inputs[name] for name in _OF_SOURCE if name in inputs}
    unknown = sorted(name for name in inputs if name not in (*_OF_SOURCE, ENCODED) and not name.startswith(_DECODER))
    if unknown:
        raise NotCovered(f"the reference does not read {', '.join(unknown)}")
    if "input_ids" not in target:
        raise NotCovered(
            "the reference reads decoder_input_ids, but got none", why="it shifts no other tokens into their place"
        )
    ran = "input_ids" not in source or ENCODED in inputs
    if ran and ENCODED not in inputs:
        raise NotCovered("the reference reads input_ids or encoder_outputs, but got neither")
    return Sides(
        None if ran else Inputs(source, run),
        run.enter("input", ENCODED, inputs[ENCODED]) if ran else None,
        run.enter("input", "attention_mask", source["attention_mask"]) if "attention_mask" in source else None,
        Inputs(target, run, past, _DECODER),
    )


class Remembered(Memory):
    """A decoder's memory: beside its own keys and values those of the other sequence, which are made once."""

    def across(self, layer: Layer, made: Callable[[str], Tensor], *names: str) -> tuple[Tensor, Tensor]:
        """Keys and values of the other sequence, (B, H, U, K): those that were kept, else what `made` gives.

        names: what the names of the weights begin with that make them.
        """
        past, place = self._past, layer.number - self._first
        if past.cross_keys:
            k = self._run.enter("cache", f"{place}.k across", past.cross_keys[place])
            v = self._run.enter("cache", f"{place}.v across", past.cross_values[place])
            for name in names:
                layer.weights.spare(f"{layer.name}.{name}")
        else:
            k, v = made("k"), made("v")
            if self.kept is not None:
                k = layer("cross_attention.cache_update.k", append, new_BGSK=k)
                v = layer("cross_attention.cache_update.v", append, new_BGSK=v)
        if self.kept is not None:
            self.kept = self.kept.extended_across(k, v)
        return k, v

    def seen_across(self, sides: Sides) -> Tensor | None:
        """Which of the other sequence's tokens the decoder sees, (B, 1, S, U): all but padding; None: all of them."""
        if sides.padding is None:
            return None
        kept = self._past.cross_keys
        return self._run(
            "mask.build",
            build_mask,
            length=sides.target.length,
            direction="bidirectional",
            attention_mask_BT=sides.padding,
            device=sides.padding.device,
            others=kept[0].shape[2] if kept else sides.others,
        )
