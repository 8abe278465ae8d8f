"""Token ids, masks and caches for a forward pass.

Made by Python's own generator from lists, so that no random state of torch moves and every value is known.
"""

from __future__ import annotations

__all__ = ["accepted", "no_decode_step", "token_inputs"]

import inspect
from random import Random
from typing import TYPE_CHECKING, Any

from inspector.errors import InspectorError, UsageError
from inspector.records import Scenario
from inspector.source.build import text_config
from inspector.source.shrink import table

if TYPE_CHECKING:
    import torch

CACHES = ("past_key_values", "cache_params", "state", "mems")
"""The names under which models hand out what a decode step continues from."""


def token_inputs(module: torch.nn.Module, config: Any, scenario: Scenario) -> dict[str, Any]:
    """Keyword arguments of `module.forward`, for prefill or, with a past, for the step after it.

    >>> from transformers import GPT2Config, GPT2Model
    >>> model = GPT2Model(GPT2Config(n_layer=1, n_embd=4, n_head=2))
    >>> token_inputs(model, model.config, Scenario(batch=1, seq=4))["attention_mask"]
    tensor([[0, 0, 1, 1]])
    """
    names = accepted(module)
    if getattr(module, "main_input_name", "input_ids") != "input_ids" or "input_ids" not in names or _sees(config):
        raise UsageError(
            f"{type(module).__name__} does not read token ids{' alone' if 'input_ids' in names else ''}",
            why=f"its forward takes {', '.join(names)}",
            hint="give package.module:factory, a factory that returns (model, inputs)",
        )
    if getattr(config, "is_encoder_decoder", False):
        return _both_sides(module, config, scenario, names)
    ids, mask = _ids(config, scenario, scenario.past + scenario.seq), _mask(scenario)
    _pad(ids, mask, config)
    ids = _in_columns(ids, config, scenario, "input_ids")
    if not scenario.past:
        return _tensors(module, names, input_ids=ids, attention_mask=mask, bbox=_places(ids))
    before, after = [row[: scenario.past] for row in ids], [row[scenario.past :] for row in ids]
    seen = mask and [row[: scenario.past] for row in mask]
    cache = _prefill(module, _tensors(module, names, input_ids=before, attention_mask=seen), names)
    return {**_tensors(module, names, input_ids=after, attention_mask=mask), **cache}


def accepted(module: torch.nn.Module) -> tuple[str, ...]:
    """The arguments that a forward declares by name; inspect.signature looks through decorators."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(key for key, value in inspect.signature(module.forward).parameters.items() if value.kind in named)


def _sees(config: Any) -> bool:
    """Whether the model compares text with a picture, and so runs on neither alone, by transformers' own tables."""
    from transformers.models.auto import modeling_auto

    compare = modeling_auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES
    find = modeling_auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES
    return getattr(config, "model_type", None) in {*compare, *find}


def _both_sides(module: Any, config: Any, scenario: Scenario, names: tuple[str, ...]) -> dict[str, Any]:
    """Encoder and decoder read sequences of one length; with a past, the encoder has been through already."""
    length = scenario.past or scenario.seq
    source, mask = _ids(config, scenario, length), _mask(scenario.resized(scenario.batch, length, 0))
    _pad(source, mask, config)
    target = _ids(config, scenario, scenario.past + scenario.seq, stream=1)
    target = _in_columns(target, config, scenario, "decoder_input_ids")
    encoded = _tensors(module, names, input_ids=source, attention_mask=mask, bbox=_shares(source))
    if not scenario.past:
        return {**encoded, **_tensors(module, names, decoder_input_ids=target)}
    before, after = [row[: scenario.past] for row in target], [row[scenario.past :] for row in target]
    cache = _prefill(module, {**encoded, **_tensors(module, names, decoder_input_ids=before)}, names)
    del encoded["input_ids"]
    return {**encoded, **_tensors(module, names, decoder_input_ids=after), **cache}


def _ids(config: Any, scenario: Scenario, length: int, stream: int = 0) -> list[list[int]]:
    """Ordinary tokens only: a special one may change what a model does with the others."""
    text = text_config(config)
    size = getattr(text, "vocab_size", None) or 256
    special = {0, 1, *_special(config), *_special(text)}
    random = Random(f"{scenario.seed}/{stream}")
    return [[_token(random, size, special) for _ in range(length)] for _ in range(scenario.batch)]


def _in_columns(ids: list[list[int]], config: Any, scenario: Scenario, argument: str) -> list[list[Any]]:
    """Several ids at each place, for a model that reads them so; the first is the one that is there."""
    rows = [row for row in table()["columns"] if config.model_type in row["types"] and row["argument"] == argument]
    if not rows:
        return ids
    count: Any = config
    for key in rows[0]["count"].split("."):
        count = getattr(count, key)
    total = count + rows[0].get("more", 0)
    others = [_ids(config, scenario, len(ids[0]), stream=1 + column) for column in range(1, total)]
    return [[list(place) for place in zip(*columns, strict=True)] for columns in zip(ids, *others, strict=True)]


def _token(random: Random, size: int, special: set[int]) -> int:
    """Try again on a special token, but not for ever: a tiny vocabulary may hold no other."""
    tries = (random.randrange(size) for _ in range(100))
    return next((token for token in tries if token not in special), 0)


def _special(config: Any) -> set[int]:
    values = [value for key, value in vars(config).items() if key.endswith("_token_id")]
    return {token for value in values for token in (value if isinstance(value, list) else [value]) if token is not None}


def _places(ids: list[list[int]]) -> list[list[list[int]]]:
    """Where each token stands on a page (left, top, right, bottom), for models that read that too."""
    at = [(80 * (place % 8), 40 * (place // 8) % 900) for place in range(len(ids[0]))]
    return [[[left, top, left + 60, top + 30] for left, top in at] for _ in ids]


def _shares(ids: list[list[int]]) -> list[list[list[float]]]:
    """The same as shares of the page: what reads a page and writes about it wants them so."""
    return [[[number / 1000 for number in box] for box in row] for row in _places(ids)]


def _mask(scenario: Scenario) -> list[list[int]] | None:
    """All ones but for the first row, of which up to three of the first tokens ever seen are padding."""
    prompt = scenario.past or scenario.seq
    gap = min(3, prompt // 2)
    if scenario.padding == "none" or not gap:
        return None
    rows = [[1] * (scenario.past + scenario.seq) for _ in range(scenario.batch)]
    start = 0 if scenario.padding == "left" else prompt - gap
    rows[0][start : start + gap] = [0] * gap
    return rows


def _pad(ids: list[list[int]], mask: list[list[int]] | None, config: Any) -> None:
    """Put the padding token where the mask says so: RoBERTa counts positions by it."""
    token = getattr(text_config(config), "pad_token_id", None)
    for row, seen in zip(ids, mask or [], strict=False):
        row[:] = [kept if real or token is None else token for kept, real in zip(row, seen, strict=True)]


def _tensors(module: torch.nn.Module, names: tuple[str, ...], **rows: list[Any] | None) -> dict[str, Any]:
    import torch

    device = next(module.parameters()).device
    return {key: torch.tensor(value, device=device) for key, value in rows.items() if value and key in names}


def _prefill(module: torch.nn.Module, inputs: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Run the past through the module, and keep what the next step continues from."""
    import torch

    from inspector.source.compiled import uncompiled

    flag = {"use_cache": True} if "use_cache" in names else {}
    with torch.no_grad(), uncompiled():
        output = module(**inputs, **flag)
    for name in CACHES:
        cache = getattr(output, name, None)
        if cache is not None and name in names:
            return {name: cache, **flag, **_encoded(output, names)}
    raise no_decode_step(type(module).__name__, "it hands out no cache to continue from")


def no_decode_step(name: str, why: str) -> InspectorError:
    """The error for a past that a model cannot have."""
    return InspectorError(f"{name} has no decode step", why=why, hint="use --past 0")


def _encoded(output: Any, names: tuple[str, ...]) -> dict[str, Any]:
    from transformers.modeling_outputs import BaseModelOutput

    hidden = getattr(output, "encoder_last_hidden_state", None)
    if hidden is None or "encoder_outputs" not in names:
        return {}
    return {"encoder_outputs": BaseModelOutput(last_hidden_state=hidden)}
