"""A small twin of a model: the same config with small numbers, and random weights that hide nothing.

Freshly initialised weights make errors invisible: norms of ones, biases of zero and attention that is uniform. Here
every vector is moved off its special value, and matrices keep the size of what passes through them.
"""

from __future__ import annotations

__all__ = ["WINDOW", "tiny_config", "twin_of"]

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inspector.errors import InspectorError, ModelAtFault
from inspector.records import Scenario
from inspector.source.build import quiet, text_config
from inspector.source.claims import claims_of
from inspector.source.configured import ConfigSubject
from inspector.source.inputs import token_inputs
from inspector.source.live import LiveSubject
from inspector.source.shallow import shallow_config

if TYPE_CHECKING:
    import torch

    from inspector.source.subject import Subject

WINDOW = 8
"""How many tokens a layer of the twin sees, where it sees a window."""

_SIZES = (
    (101, "vocab_size"),
    (64, "hidden_size n_embd d_model dim embed_dim word_embed_proj_dim"),
    (32, "embedding_size"),
    (96, "intermediate_size n_inner ffn_dim ffn_hidden_size d_ff hidden_dim encoder_ffn_dim decoder_ffn_dim"),
    (80, "intermediate_size_mlp"),
    (48, "moe_intermediate_size shared_expert_intermediate_size moe_shared_expert_intermediate_size"),
    (4, "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads"),
    (4, "n_routed_experts num_experts num_local_experts moe_num_experts"),
    (16, "head_dim d_kv v_head_dim"),
    (24, "q_lora_rank"),
    (20, "kv_lora_rank"),
    (12, "qk_nope_head_dim"),
    (8, "rotary_dim qk_rope_head_dim"),
    (2, "num_experts_per_tok moe_topk n_group"),
    (1, "topk_group"),
    (WINDOW, "sliding_window local_attention attention_chunk_size window_size"),
)
"""A size and the keys that get it, where they are there and larger. Widths, heads, head width and vocabulary differ."""

_LARGEST = 20_000_000
"""Parameters of a twin. Of most there are fewer than a million."""

_GROUPS = "num_key_value_heads num_kv_heads num_key_value_heads_per_layer".split()
_HEADS = "num_attention_heads n_head n_heads num_heads".split()
_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def tiny_config(config: Any, leave: Iterable[str] = ()) -> Any:
    """A small copy of `config` that keeps every kind of layer, and shared heads shared.

    >>> from transformers import LlamaConfig
    >>> tiny = tiny_config(LlamaConfig(num_attention_heads=32, num_key_value_heads=8))
    >>> tiny.hidden_size, tiny.num_hidden_layers, tiny.num_attention_heads, tiny.num_key_value_heads
    (64, 2, 4, 2)
    """
    config = shallow_config(config) or config
    text, document = text_config(config), config.to_dict()
    name = next((key for key in config.sub_configs if getattr(config, key, None) is text), None)
    part = document[name] if name else document
    old = dict(part)
    for size, keys in _SIZES:
        for key in keys.split():
            if key not in leave and isinstance(part.get(key), int) and part[key] > size:
                part[key] = size
    _share_heads(part, old)
    _part_heads(part, old)
    _tokens(part)
    _rope_lists(part, old)
    with quiet():
        return type(config).from_dict(document)


def _share_heads(part: dict[str, Any], old: dict[str, Any]) -> None:
    """As many key/value heads as heads, one, or (for any other share) half as many."""
    heads = next((key for key in _HEADS if isinstance(old.get(key), int)), None)
    for key in _GROUPS:
        if heads and isinstance(old.get(key), int):
            many, few = old[heads], old[key]
            part[key] = part[heads] if many == few else 1 if few == 1 else max(1, part[heads] // 2)


def _part_heads(part: dict[str, Any], old: dict[str, Any]) -> None:
    """Where a head has a part of its own for positions, other keys say its width again."""
    turned = part.get("qk_rope_head_dim")
    if isinstance(turned, int):
        if old.get("head_dim") == old["qk_rope_head_dim"]:
            part["head_dim"] = turned
        if "qk_head_dim" in part:
            part["qk_head_dim"] = turned + part.get("qk_nope_head_dim", 0)


def _tokens(part: dict[str, Any]) -> None:
    vocabulary = part.get("vocab_size", 101)
    for key, value in part.items():
        if key.endswith("_token_id") and isinstance(value, int) and value >= vocabulary:
            part[key] = _TOKENS.get(key, 3)
        elif key.endswith("_token_id") and isinstance(value, list):
            part[key] = [_TOKENS.get(key, 3)]


def _rope_lists(part: dict[str, Any], old: dict[str, Any]) -> None:
    """Factors that are listed for each pair of elements are cut to the pairs that are left."""
    for key in ("rope_parameters", "rope_scaling"):
        factors = part.get(key)
        if isinstance(factors, dict):
            share = _head_width(part) / _head_width(old)
            lists = {name: value for name, value in factors.items() if isinstance(value, list)}
            part[key] = factors | {name: value[: max(1, int(len(value) * share))] for name, value in lists.items()}


def _head_width(part: dict[str, Any]) -> float:
    heads = next((part[key] for key in _HEADS if isinstance(part.get(key), int)), 1)
    return float(part.get("head_dim") or part.get("hidden_size", heads) / heads)


_LADDER: tuple[tuple[str, ...], ...] = (
    (),
    ("head_dim",),
    ("n_group", "topk_group"),
    ("sliding_window", "local_attention"),
)
"""What is left as it is, when a twin with all sizes small cannot be run."""


def twin_of(subject: Subject, scenario: Scenario) -> tuple[ConfigSubject, torch.nn.Module]:
    """A small model of the same config on the CPU, in fp32, with random weights. The global generator does not move.

    ModelAtFault where there is no config to shrink, or none of its small copies runs.
    """
    config = _config(subject)
    run = Scenario(device="cpu", dtype="float32", weights="random", seed=scenario.seed, head=scenario.head)
    reason = ""
    for leave in _LADDER:
        try:
            twin = _subject(subject, tiny_config(config, leave))
            settled = replace(run, experts=None if not twin.claims.get("moe.experts") else "batched_mm")
            _require_small(twin, settled)
            module = twin.make(settled)
            randomise(module, scenario.seed)
            _try(module, twin.config, settled)
        except Exception as error:  # noqa: BLE001 - a config with small numbers may break transformers anywhere
            reason = reason or str(error).partition("\n")[0] or type(error).__name__
            continue
        return twin, module
    raise ModelAtFault(f"no small twin of {subject.name} runs", why=reason)


def _config(subject: Subject) -> Any:
    if isinstance(subject, ConfigSubject):
        return subject.config
    if isinstance(subject, LiveSubject) and type(subject.module).__module__.startswith("transformers."):
        return subject.module.config
    raise ModelAtFault(f"{subject.name} has no config that could be shrunk")


def _subject(subject: Subject, config: Any) -> ConfigSubject:
    claims = claims_of(text_config(config), {})  # of the small config: the large one's sizes are not the twin's
    return ConfigSubject(subject.name, config.model_type, "a small twin", claims, (), None, config)


def _require_small(twin: ConfigSubject, scenario: Scenario) -> None:
    """Counted on meta: a key that is not known here may keep its size, and then the twin is no small one."""
    count = sum(
        parameter.numel() for parameter in twin.make(replace(scenario, device="meta", weights="none")).parameters()
    )
    if count > _LARGEST:
        raise InspectorError(f"its smallest copy has {count:,} parameters")


def _try(module: torch.nn.Module, config: Any, scenario: Scenario) -> None:
    import torch

    with torch.no_grad(), quiet():
        output = module(**token_inputs(module, config, scenario.resized(1, 4, 0)))
    tensors = [value for value in output.values() if isinstance(value, torch.Tensor) and value.is_floating_point()]
    if not all(bool(value.isfinite().all()) for value in tensors):
        raise InspectorError("its output is not finite")


_GAIN = 1.5
"""What matrices multiply the size of a vector by: with 1, the attention of a post-norm model is nearly uniform."""


def randomise(module: torch.nn.Module, seed: int) -> None:
    """Matrices of a little more than unit gain, vectors off their special values, tables of unit size.

    The same on every machine.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    generator = torch.Generator().manual_seed(seed)
    tables = {id(child.weight) for child in module.modules() if isinstance(child, torch.nn.Embedding)}
    turned = {id(child.weight) for child in module.modules() if isinstance(child, Conv1D)}
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() < 2:
                parameter.copy_(parameter.float() + 0.3 * noise)  # rounded once, whatever the format
            else:
                inputs = parameter.shape[0 if id(parameter) in turned else -1]
                gain = 1.0 if id(parameter) in tables else _GAIN * inputs**-0.5
                parameter.copy_(noise * gain)
