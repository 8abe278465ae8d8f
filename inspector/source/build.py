"""From a config to a module: on the meta device, with seeded random weights, or with a checkpoint's.

Follow a rename in transformers here. Every error that transformers raises on the way becomes one line.
"""

from __future__ import annotations

__all__ = ["build", "family", "first_line", "has_head", "load", "quiet", "read_config", "text_config"]

import copy
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from inspector.errors import InspectorError, ModelAtFault, ModelNotFound, UsageError
from inspector.records import Scenario
from inspector.source.checkpoint import check_files, counted, some
from inspector.source.claims import impossible
from inspector.source.nearest import nearest_types
from inspector.source.resolve import Origin

if TYPE_CHECKING:
    import torch

Family = Literal["encoder", "decoder", "encoder-decoder"]

# Keys that would make transformers do more than describe: load custom code, or wrap the weights in a quantizer.
_NOT_FOR_BUILDING = ("auto_map", "quantization_config")


def read_config(origin: Origin) -> Any:
    """The transformers config of an origin, with every default filled in.

    >>> from inspector.source.resolve import resolve
    >>> read_config(resolve("model_type:bert")).hidden_size
    768
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    if origin.model_type not in CONFIG_MAPPING:
        raise _unknown_type(origin)
    given = {key: value for key, value in origin.config.items() if key not in _NOT_FOR_BUILDING}
    if wrong := impossible(CONFIG_MAPPING[origin.model_type].attribute_map, given):
        why = f"{', '.join(f'{key} is {value}' for key, value in wrong)}: at least 1 is needed"
        raise ModelAtFault(f"the config of {origin.name} is not valid", why=why)
    with _said_in_one_line(f"the config of {origin.name} is not valid"), TemporaryDirectory() as folder:
        # By way of a file, because AutoConfig has rules of its own (mistral with layer_types is another type).
        document = json.dumps({**given, "model_type": origin.model_type})
        Path(folder, "config.json").write_text(document, encoding="utf-8")
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    config.name_or_path = ""
    return config


def text_config(config: Any) -> Any:
    """The part of a composite config that reads text; the config itself when there is no single such part."""
    if not config.sub_configs:
        return config
    try:
        return config.get_text_config(decoder=True)
    except ValueError:
        return config


def family(config: Any) -> Family:
    """What people mean by a model type, by transformers' own tables.

    A type with both a causal and a masked head is an encoder (BERT), unless its config says otherwise.
    """
    if config.is_encoder_decoder:
        return "encoder-decoder"
    causal = config.model_type in _heads()["AutoModelForCausalLM"]
    masked = config.model_type in _heads()["AutoModelForMaskedLM"]
    return "decoder" if causal and (not masked or getattr(config, "is_decoder", False)) else "encoder"


def has_head(config: Any) -> bool:
    """Whether transformers has a language-model head for this config."""
    return config.model_type in _heads()[_head_class(config)]


def build(config: Any, name: str, scenario: Scenario) -> torch.nn.Module:
    """The module without a checkpoint: shapes only on the meta device, else seeded random weights.

    `name` is how errors call it.
    """
    with _attention_is_there(config, name, scenario), _said_in_one_line(f"{name} cannot be built", config):
        if scenario.weights == "none":
            return _ready(_without_values(config, scenario))
        return _ready(_seeded(config, scenario)).to(scenario.device)


def load(
    config: Any, folder: Path, name: str, scenario: Scenario, borrowed: str = ""
) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """The module with the weights of `folder`, and what that holds besides. `name` is how errors call it.

    borrowed: what the folder is called where it is not the model's own; then it must be of the very same model.
    """
    owner = borrowed or name
    check_files(folder, owner)
    said = _said_in_one_line(f"the weights of {owner} cannot be loaded", config)
    with _attention_is_there(config, name, scenario), said:
        module, report = _auto_class(config, scenario).from_pretrained(
            folder,
            config=_own(config),
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **_options(scenario),
        )
    if borrowed:
        _require_same(name, borrowed, report, module)
    _complain(owner, report)
    _require_finite(owner, module)
    surplus = sorted(report["unexpected_keys"])
    notes = (f"{counted(surplus, 'tensor')} of the checkpoint not used: {some(surplus)}",) if surplus else ()
    return _ready(module).to(scenario.device), notes


def _without_values(config: Any, scenario: Scenario) -> Any:
    import torch
    from transformers.initialization import no_init_weights

    with torch.device("meta"), no_init_weights():
        module = _auto_class(config, scenario).from_config(_own(config), **_options(scenario))
        # Skipping the initialisation skips the tying that is part of it.
        module.tie_weights()
    return module


def _seeded(config: Any, scenario: Scenario) -> Any:
    """Random weights, from the CPU's generator alone: the same on every device, and no other stream moves."""
    import torch

    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(scenario.seed)
        return _auto_class(config, scenario).from_config(_own(config), **_options(scenario))


def _own(config: Any) -> Any:
    """A copy for the module to write dtype and kernels into."""
    config = copy.deepcopy(config)
    # Of several classes the config chooses by this list, and transformers 5.23 cannot do without it (funnel).
    config.architectures = config.architectures or []
    return config


def _options(scenario: Scenario) -> dict[str, Any]:
    import torch

    options = {"dtype": getattr(torch, scenario.dtype), "attn_implementation": scenario.attention}
    return {**options, "experts_implementation": scenario.experts} if scenario.experts else options


def _ready(module: torch.nn.Module) -> torch.nn.Module:
    return module.eval().requires_grad_(False)


def _auto_class(config: Any, scenario: Scenario) -> Any:
    import transformers

    return getattr(transformers, _head_class(config) if scenario.head else "AutoModel")


def _head_class(config: Any) -> str:
    return {
        "encoder": "AutoModelForMaskedLM",
        "decoder": "AutoModelForCausalLM",
        "encoder-decoder": "AutoModelForSeq2SeqLM",
    }[family(config)]


def _heads() -> dict[str, Any]:
    from transformers.models.auto import modeling_auto

    return {
        "AutoModelForCausalLM": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        "AutoModelForMaskedLM": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        "AutoModelForSeq2SeqLM": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    }


def _unknown_type(origin: Origin) -> InspectorError:
    if "auto_map" in origin.config:
        return ModelAtFault(
            f"{origin.name} needs custom code that comes with it, which is never run",
            why=f"transformers itself has no model type {origin.model_type!r}",
            hint="import the code yourself and give a factory, package.module:factory",
        )
    return ModelNotFound(
        f"transformers has no model type {origin.model_type!r}",
        why=nearest_types(origin.model_type or ""),
        hint="a newer transformers may have it",
    )


def _require_same(name: str, folder: str, report: dict[str, Any], module: torch.nn.Module) -> None:
    """A folder that was named beside the model may hold another one of its kind: smaller, deeper, wider."""
    order = {key: place for place, key in enumerate(module.state_dict())}
    here = {_any_layer(key) for key in order}
    said = {key: f"{key} is {tuple(found)}, not {tuple(want)}" for key, found, want in report["mismatched_keys"]}
    said |= {key: f"there is no {key}" for key in report["missing_keys"]}
    # A tensor of one more layer is another depth; the rest of the surplus may be another head.
    said |= {key: f"{key} is one too many" for key in report["unexpected_keys"] if _any_layer(key) in here}
    differing = [said[key] for key in sorted(said, key=lambda key: (order.get(key, len(order)), key))]
    if differing:
        raise ModelAtFault(
            f"the weights in {folder} are not those of {name}: {counted(differing, 'tensor')} differ",
            why=some(differing),
            hint="give the folder itself as MODEL, or the other class with --head or --no-head",
        )


def _any_layer(key: str) -> str:
    return ".".join("N" if part.isdigit() else part for part in key.split("."))


def _complain(name: str, report: dict[str, Any]) -> None:
    """Weights that would have been made up, or do not fit, are no checkpoint of this model."""
    mismatched = [f"{key} is {tuple(found)}, not {tuple(want)}" for key, found, want in report["mismatched_keys"]]
    if mismatched:
        what = f"{counted(mismatched, 'tensor')} of {name} in another shape than its config says"
        raise ModelAtFault(what, why=some(sorted(mismatched)))
    missing = sorted(report["missing_keys"])
    if missing:
        what = f"the weights of {name} lack {counted(missing, 'tensor')}"
        raise ModelAtFault(what, why=some(missing), hint="try --head or --no-head: the file may be of the other class")


def _require_finite(name: str, module: torch.nn.Module) -> None:
    broken = [key for key, value in module.named_parameters() if not bool(value.isfinite().all())]
    if broken:
        raise ModelAtFault(f"NaN or Inf in {counted(broken, 'tensor')} of {name}", why=some(broken))


@contextmanager
def _attention_is_there(config: Any, name: str, scenario: Scenario) -> Iterator[None]:
    """Blame the kind of attention for what fails with it and not without it."""
    try:
        yield
    except ModelAtFault as error:
        if scenario.attention == "eager":
            raise
        try:
            plain = build(config, name, Scenario(head=scenario.head))
        except ModelAtFault:
            raise error from None
        others = [kind for kind in ("eager", "sdpa") if kind == "eager" or getattr(plain, "_supports_sdpa", False)]
        raise UsageError(
            f"{name} cannot run here with --attention {scenario.attention}",
            why=error.why.partition(". ")[0],
            hint=f"use --attention {' or '.join(kind for kind in others if kind != scenario.attention)}",
        ) from error


@contextmanager
def _said_in_one_line(what: str, config: Any = None) -> Iterator[None]:
    """Turn what transformers raises into a ModelAtFault."""
    try:
        with quiet():
            yield
    except InspectorError:
        raise
    except Exception as error:  # a config or checkpoint may break transformers anywhere
        raise ModelAtFault(what, why=_in_words(_innermost(error), config)) from error


@contextmanager
def quiet() -> Iterator[None]:
    """No logs, bars or warnings of transformers: what matters in them is said by us."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """What an error says in one line; its name, when it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _in_words(error: BaseException, config: Any) -> str:
    """One line. transformers looks activations and other kinds up in tables, whose errors are the bare word."""
    if not isinstance(error, KeyError) or not error.args or config is None:
        return first_line(error)
    keys = [key for key, value in text_config(config).to_dict().items() if value == error.args[0]]
    if not keys:
        return f"there is no {error.args[0]!r}"
    return f"unknown {'activation' if 'act' in keys[0] else keys[0]} {error.args[0]!r}"


def _innermost(error: BaseException) -> BaseException:
    """Validators wrap what they caught, and only the inside says what is wrong."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
