"""The model types of the installed transformers that read token ids."""

from __future__ import annotations

__all__ = ["KINDS", "reading_ids", "sample"]

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

KINDS = (
    "bart", "bert", "big_bird", "bloom", "cohere", "deberta-v2", "deepseek_v3", "falcon", "falcon_mamba", "fnet",
    "funnel", "gemma2", "gpt2", "gpt_bigcode", "gpt_oss", "gptj", "jamba", "llama", "llama4_text", "longformer",
    "mamba2", "mixtral", "modernbert", "mpt", "opt", "qwen3_next", "rwkv", "t5", "xlnet", "zamba2",
)  # fmt: skip
"""One type for each kind of attention, and for each way to do without."""


def reading_ids() -> tuple[str, ...]:
    """All types whose base model takes `input_ids`, and those whose model cannot even be imported, in order.

    It imports every model of transformers: half a minute.
    """
    return tuple(sorted(_reading_ids()))


def sample(types: Sequence[str], every: int) -> tuple[str, ...]:
    """Every n-th type, and one of each kind of attention.

    >>> sample(["a", "b", "c", "d", "t5"], 2)
    ('a', 'c', 't5')
    """
    return tuple(name for index, name in enumerate(types) if index % every == 0 or name in KINDS)


def _reading_ids() -> Iterator[str]:
    from transformers import CONFIG_MAPPING, MODEL_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    from inspector.source.build import quiet

    with quiet():
        for name in MODEL_MAPPING_NAMES:
            try:
                if _takes_ids(MODEL_MAPPING[CONFIG_MAPPING[name]]):
                    yield name
            except Exception:  # noqa: BLE001  a package that it needs is not here; the survey says which
                yield name


def _takes_ids(model: Any) -> bool:
    classes = model if isinstance(model, (tuple, list)) else (model,)
    return any("input_ids" in inspect.signature(one.forward).parameters for one in classes)
