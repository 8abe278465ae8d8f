"""The verb `lock`: what a model is, small enough to be kept beside the code that relies on it."""

from __future__ import annotations

__all__ = ["Lock", "lock"]

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.api.asking import scenario
from inspector.api.quick import uncollected
from inspector.api.results import Result
from inspector.errors import InspectorError, SchemaError, UsageError
from inspector.records import Padding, Scenario
from inspector.stage_graph.export.lock import Locked, load_lock, lock_document, read_lock, written
from inspector.stage_graph.export.sizeless import standard
from inspector.stage_graph.record import GraphFact, GraphRecord

if TYPE_CHECKING:
    from inspector.api.traces import Source
    from inspector.render.document import Document
    from inspector.source import Origin


@dataclass(frozen=True, slots=True, repr=False)
class Lock(Result):
    """The folded graph of a model without the sizes of a run, its facts, its config, and the versions that made it.

    >>> import inspector
    >>> inspector.lock("gpt2").save("gpt2.arch.json")  # doctest: +SKIP
    >>> inspector.check("gpt2.arch.json").exit_code  # doctest: +SKIP
    0
    """

    locked: Locked

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Lock:
        """The lock in a file. SchemaError where it is none, or was changed since it was made."""
        return cls(load_lock(path))

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Lock:
        """The lock that a document, read from JSON, is."""
        return cls(read_lock(document))

    @property
    def record(self) -> GraphRecord:
        """The graph. Its sizes of batch and sequence are the standard ones, whatever it was made with."""
        return self.locked.record

    @property
    def name(self) -> str:
        return self.record.model.name

    @property
    def facts(self) -> tuple[GraphFact, ...]:
        return self.record.facts or ()

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The config from which the model can be built again; None of a model that was made by code."""
        return self.locked.config

    @property
    def tool(self) -> dict[str, str]:
        """The versions that made it."""
        return dict(self.record.tool)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all."""
        from inspector.api.files import write_whole

        try:
            write_whole(path, self.to_json().encode())
        except OSError as error:
            raise UsageError(f"cannot write {Path(path).name}", why=error.strerror or str(error)) from error

    def to_json(self) -> str:
        """The lock itself, one line per part: the same model and versions give the same bytes."""
        return written(self.envelope())

    def document(self) -> Document:
        from inspector.reporting.graphs import document

        return document(self.record)

    def envelope(self) -> dict[str, Any]:
        return lock_document(self.locked)

    def records(self) -> list[dict[str, object]]:
        from inspector.reporting.graphs import records

        return records(self.record)

    def __repr__(self) -> str:
        from inspector.render.escape import visible
        from inspector.reporting.words import counted

        counts = f"{counted(len(self.record.nodes), 'part')}, {counted(len(self.facts), 'fact')}"
        return f"<Lock of {visible(self.name)}: {counts}>"


def lock(
    model: Any,
    inputs: Any = None,
    *,
    batch: int = 2,
    seq: int = 16,
    past: int = 0,
    attention: str = "eager",
    dtype: str | None = None,
    device: str | None = None,
    pad: Padding | None = None,
    seed: int = 0,
    weights: str | None = None,
    head: bool | None = None,
    trace_cache: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Lock:
    """Run a model once and keep what it is: its parts, what flows between them, its facts.

    >>> import inspector
    >>> inspector.lock("gpt2")  # doctest: +SKIP
    <Lock of gpt2: 33 parts, 43 facts>

    A lock holds the config, so that `check` can build the model again. It holds no size of batch, sequence or past, no
    device and no path: the sizes say only which graph it is of, prefill or decoding, several tokens or one. The options
    are those of `shapes`.
    """
    asked = scenario(
        batch=batch,
        seq=seq,
        past=past,
        attention=_one(attention),
        dtype=dtype,
        device=device,
        pad=pad,
        seed=seed,
        weights=weights,
        head=head,
    )
    from inspector.api.traces import Source

    stored = trace_cache and trusts_files()
    source = Source(model, inputs, weights=weights or "none", stored=stored, progress=progress)
    made = locked(source, standard(asked), config_of(model))
    _checkable(made)
    return Lock(made)


def _one(attention: str) -> str:
    kinds = [kind.strip() for kind in attention.split(",") if kind.strip()]
    if len(kinds) != 1:
        raise UsageError(f"a lock is of one kind of attention, but got {attention!r}", hint="make one lock of each")
    return kinds[0]


def trusts_files() -> bool:
    """Whether what is on disk is what would run: code that is loaded already may have been patched in memory."""
    return "transformers" not in sys.modules


def locked(source: Source, asked: Scenario, config: Mapping[str, Any] | None) -> Locked:
    """The graph of one run as a lock would give it back, so that both sides of a check went the same way."""
    from inspector.fact_sheet.recorded import recorded

    with uncollected():
        trace = source.trace(asked)
        if not trace.ops:
            raise InspectorError("the forward pass ran no op", why="there is nothing that could be locked or compared")
        return read_lock(lock_document(Locked(recorded(trace), config, asked.head)))


def config_of(model: Any) -> dict[str, Any] | None:
    """The config that a name stands for, None for code. A name inside a lock is never looked up."""
    if not isinstance(model, str):
        return None
    from inspector.source import resolve

    origin = resolve(model)
    return None if origin.kind in ("factory", "saved") else {**origin.config, "model_type": origin.model_type}


def origin_of(found: Locked, name: str) -> Origin:
    """The model that a lock describes, to be built from the config in it."""
    from inspector.source import Origin

    info, config = found.record.model, dict(found.config or {})
    if found.config is None:
        raise InspectorError(
            f"{name} holds no config: {info.name or info.class_name} was made by code",
            why="a name inside a lock is never imported",
            hint=f"give the model too: inspector check {name} package.module:factory",
        )
    model_type = config.pop("model_type", None)
    if not isinstance(model_type, str):
        raise SchemaError(f"the config in {name} has no model_type")
    return Origin("config", info.name, info.source, model_type, config)


def _checkable(made: Locked) -> None:
    """A lock in which `check` would find nothing to compare is refused when it is made."""
    from inspector.comparison.lock import compare_locked

    compare_locked(made.record, made.record)
