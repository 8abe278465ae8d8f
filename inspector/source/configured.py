"""A subject that is made from a config: a catalogue entry, a model type, a folder, a config file or a Hub model."""

from __future__ import annotations

__all__ = ["ConfigSubject", "config_subject"]

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.errors import ModelAtFault, UsageError
from inspector.records import Plain, Scenario
from inspector.source.build import build, family, has_head, load, read_config, text_config
from inspector.source.catalogue import Preset
from inspector.source.claims import claims_of, padded_positions, window
from inspector.source.inputs import no_decode_step, token_inputs
from inspector.source.machine import settle_machine
from inspector.source.resolve import Origin
from inspector.source.shallow import shallow_config
from inspector.source.subject import Subject

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ConfigSubject(Subject):
    """See Subject.

    folder: holds the weights, where there are any to use. quantized: by which method they are, or "".
    borrowed: what that folder is called, where it is not the model's own.
    """

    config: Any
    folder: Path | None = None
    quantized: str = ""
    borrowed: str = ""
    loaded: dict[Scenario, torch.nn.Module] = field(default_factory=dict, compare=False, repr=False)
    """The module that `settle` loaded: what a checkpoint lacks or has too much of is only known after loading it."""

    def settle(self, scenario: Scenario) -> tuple[Scenario, tuple[str, ...]]:
        scenario, notes = settle_machine(scenario)
        if scenario.past and family(self.config) == "encoder":
            raise no_decode_step(self.name, "it is an encoder: it reads a sequence as a whole")
        scenario = replace(scenario, head=self._head(scenario.head))
        for rule in (self._long_enough, self._experts, self._padding):
            scenario, said = rule(scenario)
            notes += said
        self._check_positions(scenario)
        if scenario.weights == "checkpoint":
            notes += self._load(scenario)
        return scenario, notes

    def make(self, scenario: Scenario) -> torch.nn.Module:
        if scenario.weights != "checkpoint":
            return build(self.config, self.name, scenario)
        if _unsized(scenario) not in self.loaded:
            self._load(scenario)
        return self.loaded[_unsized(scenario)]

    def inputs(self, module: torch.nn.Module, scenario: Scenario) -> dict[str, Any]:
        return token_inputs(module, self.config, scenario)

    def shallow(self) -> Subject | None:
        config = shallow_config(self.config)
        if config is None:
            return None
        subject = replace(self, config=config, identity=None, folder=None, loaded={})
        try:
            subject.make(Scenario(head=False))
        except ModelAtFault:
            # Layers that refer to others (shared key/value heads) may refer to some that are gone.
            return None
        return subject

    def _head(self, wanted: bool | None) -> bool:
        if wanted and not has_head(self.config):
            raise UsageError(f"{self.name}: transformers has no language-model head for {self.model_type}")
        return has_head(self.config) and family(self.config) != "encoder" if wanted is None else wanted

    def _long_enough(self, scenario: Scenario) -> tuple[Scenario, tuple[str, ...]]:
        """A window that no sequence outgrows cannot be seen."""
        size = window(text_config(self.config))
        if size is None or scenario.past or scenario.seq > size:
            return scenario, ()
        seq, limit = size + scenario.seq, self._position_table()
        if limit is not None and seq > limit:
            return scenario, (f"the window of {size:,} tokens is not outgrown: there are {limit:,} positions",)
        return replace(scenario, seq=seq), (f"seq raised from {scenario.seq} to {seq}: the window is {size:,} tokens",)

    def _experts(self, scenario: Scenario) -> tuple[Scenario, tuple[str, ...]]:
        """torch's grouped matrix product, which transformers would use, exists in bfloat16 only."""
        if scenario.experts or scenario.dtype == "bfloat16" or not self.claims.get("moe.experts"):
            return scenario, ()
        return replace(scenario, experts="batched_mm"), ("experts run as batched_mm: grouped_mm needs bfloat16",)

    def _padding(self, scenario: Scenario) -> tuple[Scenario, tuple[str, ...]]:
        if scenario.padding == "none" or (scenario.past or scenario.seq) > 1:
            return scenario, ()
        return replace(scenario, padding="none"), ("no padding: the prompt is one token",)

    def _check_positions(self, scenario: Scenario) -> None:
        length, limit = scenario.past + scenario.seq, self._position_table()
        if limit is not None and length > limit:
            raise UsageError(
                f"{self.name} has a position table for {limit:,} tokens, but got {length:,}",
                hint="use a smaller --seq or --past",
            )

    def _position_table(self) -> int | None:
        """How many positions there are to look up, where they are looked up and not computed."""
        rows = getattr(text_config(self.config), "max_position_embeddings", None)
        kind = self.claims.get("position.kind")
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if (
            {"rope", "alibi", "relative"}.intersection(kinds)
            or self.claims.get("position.rope.dim")
            or not isinstance(rows, int)
            or rows < 1
        ):
            return None
        return rows - padded_positions(self.config)

    def _load(self, scenario: Scenario) -> tuple[str, ...]:
        if self.folder is None:
            raise UsageError(f"{self.name} comes without weights", hint="use --weights random, or --weights FOLDER")
        if self.quantized:
            owner = self.borrowed or self.name
            what = f"the weights of {owner} are quantized ({self.quantized}), and only plain ones can be run"
            raise ModelAtFault(what, hint="give a folder with plain weights; shapes need none at all")
        module, notes = load(self.config, self.folder, self.name, scenario, self.borrowed)
        self.loaded[_unsized(scenario)] = module
        return notes


def config_subject(origin: Origin) -> ConfigSubject:
    """The subject of an origin that has a config.

    >>> from inspector.source.resolve import resolve
    >>> config_subject(resolve("gpt2")).claims.get("model.parameters")
    124439808
    """
    config = read_config(origin)
    claims = claims_of(text_config(config), origin.config, config)
    return ConfigSubject(
        name=origin.name,
        model_type=config.model_type,
        source=origin.source,
        claims=replace(claims, facts=claims.facts + _published(origin.preset)),
        notes=tuple(_notes(origin, config)),
        identity=origin.identity(),
        config=config,
        folder=origin.folder,
        quantized=_quantization(origin.config),
        borrowed=origin.borrowed,
    )


def _published(preset: Preset | None) -> tuple[tuple[str, Plain, str], ...]:
    if preset is None:
        return ()
    facts: list[tuple[str, Plain, str]] = [("model.parameters", preset.parameters, preset.source)]
    if preset.cache_bytes_per_token:
        facts.append(("cache.bytes_per_token", preset.cache_bytes_per_token, "published, for 16-bit"))
    return tuple(facts)


def _quantization(given: dict[str, Any]) -> str:
    """The method that a config.json says its weights are quantized by, or ""."""
    quantization = given.get("quantization_config")
    if not quantization:
        return ""
    return str(quantization.get("quant_method", "unknown")) if isinstance(quantization, dict) else "unknown"


def _notes(origin: Origin, config: Any) -> list[str]:
    notes = [f"the weights are those in the folder {origin.borrowed}"] if origin.borrowed else []
    if method := _quantization(origin.config):
        notes.append(f"the weights are quantized ({method}): what runs here is the unquantized model")
    if "auto_map" in origin.config:
        notes.append(f"custom code that comes with it is not run: transformers' own {config.model_type} is")
    return notes


def _unsized(scenario: Scenario) -> Scenario:
    """Sizes and padding make no other module."""
    return replace(scenario, batch=1, seq=1, past=0, padding="none")
