"""Whole forwards, one file per architecture. Their composition is also the wiring that is claimed.

shared layer          inputs, memory, attention, the answer; one layer, whose stages have its number
rotary rope_claims    what decoders with rotary positions have alike, and what a config says of them
mixture               experts in place of the feed-forward layer
post_norm             the block of BERT and its kin
two_sided bart_kin    what encoder-decoders have alike, and those that are made like BART
"""

from __future__ import annotations

__all__ = ["FORWARDS", "forward_of"]

from collections.abc import Callable
from importlib import import_module
from typing import Any

FORWARDS: dict[str, str] = {
    "bart": "bart",
    "bert": "bert",
    "bloom": "bloom",
    "camembert": "roberta",
    "distilbert": "distilbert",
    "electra": "electra",
    "falcon": "falcon",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gpt2": "gpt2",
    "gpt_neox": "gpt_neox",
    "gpt_oss": "gpt_oss",
    "gptj": "gptj",
    "llama": "llama",
    "marian": "marian",
    "mbart": "mbart",
    "mistral": "mistral",
    "mixtral": "mixtral",
    "mt5": "t5",
    "olmo2": "olmo2",
    "olmoe": "olmoe",
    "opt": "opt",
    "pegasus": "pegasus",
    "phi3": "phi3",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3",
    "roberta": "roberta",
    "t5": "t5",
    "xlm-roberta": "roberta",
}
"""Model type -> the module that holds its forward; of some types it is the same."""


def forward_of(model_type: str | None) -> Callable[..., Any] | None:
    """The reference forward of a model type; None where there is none. Imports torch when it is first called.

    >>> forward_of("gpt2").__module__, forward_of("mamba")
    ('inspector.reference.models.gpt2', None)
    """
    if model_type not in FORWARDS:
        return None
    found: Callable[..., Any] = import_module(f"{__name__}.{FORWARDS[model_type]}").forward
    return found
