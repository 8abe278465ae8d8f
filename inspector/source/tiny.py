"""A small twin of a model: the same config with small numbers, and random weights that hide nothing.

Freshly initialised weights make errors invisible: norms of ones, biases of zero and attention that is uniform. Here
every vector is moved off its special value, and matrices keep the size of what passes through them.
"""

from __future__ import annotations

__all__ = ["WINDOW", "tiny_config", "twin_of", "twin_subject"]

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inspector.errors import InspectorError, ModelAtFault, UsageError
from inspector.records import Scenario
from inspector.source.build import first_line, quiet, text_config
from inspector.source.claims import claims_of
from inspector.source.configured import ConfigSubject
from inspector.source.inputs import token_inputs
from inspector.source.live import LiveSubject
from inspector.source.sections import changes, flattened, sections
from inspector.source.shallow import shorten
from inspector.source.shrink import fill, head_width, in_larger_sizes, in_proportion, in_sizes, to_fewer_heads

if TYPE_CHECKING:
    import torch

    from inspector.source.subject import Subject

WINDOW = 8
"""How many tokens a layer of the twin sees, where it sees a window."""

_LARGEST = 30_000_000
"""Parameters of a twin. Of most there are fewer than a million."""

_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

Shrink = Callable[[Iterable[dict[str, Any]], Collection[str]], None]


def tiny_config(config: Any, leave: Collection[str] = (), shrink: Shrink = in_sizes) -> Any:
    """A small copy of `config` that keeps every kind of layer, and shared heads shared.

    >>> from transformers import LlamaConfig
    >>> tiny = tiny_config(LlamaConfig(num_attention_heads=32, num_key_value_heads=8))
    >>> tiny.hidden_size, tiny.num_hidden_layers, tiny.num_attention_heads, tiny.num_key_value_heads
    (64, 2, 4, 2)

    leave: keys that stay as they are. shrink: how numbers are made small.
    """
    document = config.to_dict()
    if "layers" not in leave:
        shorten(config, document)
    found = sections(config, document)
    parts = [section.part for section in found]
    olds = [dict(part) for part in parts]
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(flattened(part))
        shrink(parts, leave)
    for section, old in zip(found, olds, strict=True):
        _part_heads(section.part, old)
        _rope_lists(section.part, old)
        fill(section.part, section.config.model_type)
        _tokens(section.part)
    with quiet():
        return type(config).from_dict(document)


def _part_heads(part: dict[str, Any], old: dict[str, Any]) -> None:
    """Where a head has a part of its own for positions, other keys say its width again."""
    turned = part.get("qk_rope_head_dim")
    if isinstance(turned, int):
        if old.get("head_dim") == old["qk_rope_head_dim"]:
            part["head_dim"] = turned
        if "qk_head_dim" in part:
            part["qk_head_dim"] = turned + part.get("qk_nope_head_dim", 0)


def _tokens(part: dict[str, Any]) -> None:
    """Tokens that are no longer in the vocabulary become others: of several, several."""
    vocabulary = part.get("vocab_size") or 101
    keys = [key for key in part if key.endswith(("_token_id", "_token_index"))]
    free = iter(range(3, vocabulary))
    new = dict[int, int]()
    for key in keys:
        value = part[key]
        if type(value) is int and value >= vocabulary:
            part[key] = _TOKENS.get(key) if key in _TOKENS else new.setdefault(value, next(free))
        elif isinstance(value, list):
            part[key] = [_TOKENS.get(key, 3)]


def _rope_lists(part: dict[str, Any], old: dict[str, Any]) -> None:
    """What is listed for each pair of elements is cut to the pairs that are left, and shares of them are shared out."""
    share = head_width(part) / head_width(old)
    for key, value in part.items():
        part[key] = _resized(key, value, share) if key.startswith(("rope_", "mrope_")) else value
    _even_turns(part.get("rope_parameters"), head_width(part))


def _even_turns(rope: Any, width: float) -> None:
    """A part of a small head is as even as that of the large one was: elements turn in pairs, and of two pairs the
    second shows how much slower it turns than the first.

    >>> rope = {"partial_rotary_factor": 0.334}
    >>> _even_turns(rope, 16); rope
    {'partial_rotary_factor': 0.375}
    """
    for value in rope.values() if isinstance(rope, dict) else ():
        _even_turns(value, width)
    share = rope.get("partial_rotary_factor") if isinstance(rope, dict) else None
    if isinstance(share, (int, float)) and (int(width * share) % 2 or width * share < 4 <= width):
        rope["partial_rotary_factor"] = max(4, 2 * round(width * share / 2)) / width


def _resized(key: str, value: Any, share: float) -> Any:
    if isinstance(value, dict):
        return {name: _resized(name, inner, share) for name, inner in value.items()}
    if not isinstance(value, list):
        return value
    if key.endswith("_section"):
        return _shared_out(value, share)
    return value[: max(1, int(len(value) * share))]


def _shared_out(sizes: list[int], share: float) -> list[int]:
    """The same shares of a smaller whole, exactly.

    >>> _shared_out([16, 24, 24], 1 / 8)
    [2, 3, 3]
    """
    whole = round(sum(sizes) * share)
    ends = [round(sum(sizes[: end + 1]) * whole / sum(sizes)) for end in range(len(sizes))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def twin_of(subject: Subject, scenario: Scenario) -> tuple[ConfigSubject, torch.nn.Module]:
    """A small model of the same config on the CPU, in fp32, with random weights. The global generator does not move.

    ModelAtFault where there is no config to shrink, or none of its small copies runs.
    """
    config = _config(subject)
    run = Scenario(device="cpu", dtype="float32", weights="random", seed=scenario.seed, head=scenario.head)
    reasons: list[str] = []
    for leave, shrink in _attempts(config):
        try:
            return _made(subject, tiny_config(config, leave, shrink), run)
        except UsageError as error:  # what it reads has nothing to do with its size
            raise ModelAtFault(f"no small twin of {subject.name} runs", why=error.what) from error
        except Exception as error:  # noqa: BLE001 - a config with small numbers may break transformers anywhere
            reasons.append(first_line(inner := _inside(error)))
            if isinstance(inner, ImportError):  # nor has a package that is not here
                break
    raise ModelAtFault(f"no small twin of {subject.name} runs", why=reasons[0])


def twin_subject(subject: Subject, scenario: Scenario) -> ConfigSubject:
    """The twin alone, which says of itself what was made smaller.

    >>> from inspector.source import resolve, subject_of
    >>> "n_embd 768 -> 64, n_layer 12 -> 2" in twin_subject(subject_of(resolve("gpt2")), Scenario()).notes[0]
    True
    """
    twin, _ = twin_of(subject, scenario)
    smaller = ", ".join(changes(_config(subject).to_dict(), twin.config.to_dict()))
    note = f"a small twin of the same config was run: {smaller or 'it is small as it is'}"
    return replace(twin, name=f"{subject.name} (twin)", notes=(note, *subject.notes))


def _made(subject: Subject, config: Any, run: Scenario) -> tuple[ConfigSubject, torch.nn.Module]:
    """The small model, once it has run."""
    twin = _subject(subject, config)
    settled = replace(run, experts=None if not twin.claims.get("moe.experts") else "batched_mm")
    _require_small(twin, settled)
    module = twin.make(settled)
    randomise(module, run.seed)
    _try(module, twin.config, settled)
    return twin, module


def _attempts(config: Any) -> Iterator[tuple[tuple[str, ...], Shrink]]:
    """Small copies to try: with all numbers small, and then with one of them, or all layers, left as they are."""
    for shrink in (in_sizes, in_proportion, to_fewer_heads, in_larger_sizes):
        yield (), shrink
    for shrink in (in_sizes, in_proportion):
        for keys in [*_changed(config, shrink), ("layers",)]:
            yield keys, shrink


def _changed(config: Any, shrink: Shrink) -> list[tuple[str, ...]]:
    """The keys whose numbers become smaller; those that had the same number together."""
    document = config.to_dict()
    parts = [section.part for section in sections(config, document)]
    olds = [dict(part) for part in parts]
    shrink(parts, ())
    pairs = [(key, part[key], old[key]) for part, old in zip(parts, olds, strict=True) for key in part]
    changed = defaultdict[str, set[str]](set)
    for key, new, before in pairs:
        if new != before:
            changed[str(before)].add(key)
    return sorted({tuple(sorted(keys)) for keys in changed.values()})


def _inside(error: BaseException) -> BaseException:
    """What was wrong in the first place."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _config(subject: Subject) -> Any:
    if isinstance(subject, ConfigSubject):
        return subject.config
    if isinstance(subject, LiveSubject) and type(subject.module).__module__.startswith("transformers."):
        return subject.module.config
    raise ModelAtFault(f"{subject.name} has no config that could be shrunk")


def _subject(subject: Subject, config: Any) -> ConfigSubject:
    claims = claims_of(text_config(config), {}, config)  # of the small config: the large one's sizes are not the twin's
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
        output = module(**token_inputs(module, config, scenario.resized(1, 16, 0)))
    tensors = [value for value in output.values() if isinstance(value, torch.Tensor) and value.is_floating_point()]
    if not all(bool(value.isfinite().all()) for value in tensors):
        raise InspectorError("its output is not finite")


_GAIN = 1.5
"""What matrices multiply the size of a vector by: with 1, the attention of a post-norm model is nearly uniform."""


_BIASES = ("final_logits_bias",)
"""Biases that a checkpoint has and nobody trains: buffers, all zero in a fresh model."""

_OFF_ONE, _OFF_ZERO = 0.3, 0.1
"""How far vectors are moved. What is added is the same for all tokens, and the more it is the more they are alike."""


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
                spread = _OFF_ONE if bool(parameter.any()) else _OFF_ZERO
                parameter.copy_(parameter.float() + spread * noise)  # rounded once, whatever the format
            else:
                inputs = parameter.shape[0 if id(parameter) in turned else -1]
                gain = 1.0 if id(parameter) in tables else _GAIN * inputs**-0.5
                parameter.copy_(noise * gain)
        for name, buffer in module.named_buffers():
            if name.rpartition(".")[2] in _BIASES:
                buffer.copy_(_OFF_ZERO * torch.randn(buffer.shape, generator=generator))
