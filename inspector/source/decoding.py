"""How the forward of a model is called to write a text: token after token, with what it keeps and without."""

from __future__ import annotations

__all__ = ["Decoding", "decoding_of"]

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inspector.errors import InspectorError, UsageError
from inspector.source.build import family
from inspector.source.inputs import CACHES, accepted

if TYPE_CHECKING:
    import torch

    from inspector.source.prepared import Prepared


@dataclass
class Decoding:
    """The calls that write a text.

    >>> from inspector.records import Scenario
    >>> from inspector.source.prepared import prepare
    >>> found = decoding_of(prepare("gpt2", None, Scenario(device="cpu", dtype="float32"), None, twin=True))
    >>> found.prompt.shape, sorted(found.whole(found.prompt))
    (torch.Size([2, 16]), ['input_ids', 'use_cache'])

    prompt: the first tokens of each text; of an encoder-decoder, the token that its decoder starts from.
    source: what its encoder reads, for models that have one.
    """

    name: str
    names: tuple[str, ...]
    prompt: torch.Tensor
    source: dict[str, Any] = field(default_factory=dict)
    encoded: dict[str, Any] = field(default_factory=dict)
    """What the encoder made of the source, once it has."""

    def whole(self, tokens: torch.Tensor) -> dict[str, Any]:
        """Arguments of a forward that keeps nothing and reads everything again; what is encoded stays so."""
        return {**self._ids(tokens), **self._flag(on=False)}

    def anew(self, tokens: torch.Tensor) -> dict[str, Any]:
        """The same, and what the encoder made is made again too."""
        return (
            {"decoder_input_ids": tokens, **self.source, **self._flag(on=False)} if self.source else self.whole(tokens)
        )

    def next(self, tokens: torch.Tensor, kept: dict[str, Any]) -> dict[str, Any]:
        """Arguments of a forward that reads `tokens` alone, and continues from what the one before it kept."""
        return {**self._ids(tokens), **kept, **self._flag(on=True)}

    def encode(self, output: Any) -> None:
        """Keep what the encoder made in a first forward."""
        from transformers.modeling_outputs import BaseModelOutput

        hidden = getattr(output, "encoder_last_hidden_state", None)
        if self.source and hidden is not None and "encoder_outputs" in self.names:
            rest = {name: value for name, value in self.source.items() if name != "input_ids"}
            self.encoded = {**rest, "encoder_outputs": BaseModelOutput(last_hidden_state=hidden)}

    def kept(self, output: Any) -> dict[str, Any]:
        """What a forward hands out for the next one; an error where that is nothing."""
        name = next((name for name in CACHES if getattr(output, name, None) is not None and name in self.names), None)
        if name is None:
            raise InspectorError(
                f"{self.name} keeps no cache",
                why="its forward hands nothing out that the next one could continue from",
                hint="without a cache, every step is a forward of its own: inspector shapes MODEL --seq N",
            )
        return {name: getattr(output, name)}

    def logits(self, output: Any) -> torch.Tensor:
        """The scores of every token of the vocabulary to be the next one, (B, V)."""
        found = getattr(output, "logits", None)
        if found is None:
            raise UsageError(
                f"{self.name} gives no scores for a next token",
                why="it was run without its language-model head",
                hint="leave --no-head away",
            )
        last: torch.Tensor = found[:, -1]
        return last

    def _ids(self, tokens: torch.Tensor) -> dict[str, Any]:
        return {"decoder_input_ids": tokens, **(self.encoded or self.source)} if self.source else {"input_ids": tokens}

    def _flag(self, *, on: bool) -> dict[str, Any]:
        return {"use_cache": on} if "use_cache" in self.names else {}


def decoding_of(prepared: Prepared, prompt: Any = None) -> Decoding:
    """How the prepared model writes; prompt: ids of the first tokens, in place of random ones.

    An error where it is not made to write.
    """
    import torch

    module, config = prepared.module, getattr(prepared.module, "config", None)
    name, names = prepared.subject.name, accepted(module)
    if not hasattr(config, "get_text_config"):
        raise no_text(name, f"its forward takes {', '.join(names)}, and nothing says how to continue from a cache")
    if family(config) == "encoder":
        raise no_text(name, "it is an encoder: it reads a sequence as a whole, and describes it")
    inputs = prepared.inputs()
    ids = inputs["input_ids"] if prompt is None else torch.tensor(prompt, device=inputs["input_ids"].device)
    if "decoder_input_ids" not in inputs:
        return Decoding(name, names, ids)
    start = _start(config)
    return Decoding(name, names, torch.full_like(ids[:, :1], start), {"input_ids": ids})


def _start(config: Any) -> int:
    """The token that a decoder starts from: its own, else the one that begins, else the one that pads."""
    keys = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
    return next((int(value) for key in keys if isinstance(value := getattr(config, key, None), int)), 0)


def no_text(name: str, why: str) -> InspectorError:
    """The error for a model that writes nothing."""
    return InspectorError(f"{name} generates no text", why=why, hint="give a decoder or an encoder-decoder")
