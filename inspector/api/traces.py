"""Gets the trace of a model: from the store where that is safe, else by running it."""

from __future__ import annotations

__all__ = ["Source"]

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspector.errors import TraceFailed, UsageError
from inspector.records import Scenario, Trace

if TYPE_CHECKING:
    from inspector.source import Origin, Subject


@dataclass(slots=True)
class Source:
    """One model as the user gave it (or as a lock says it), from which traces come.

    >>> import torch
    >>> Source(abs, lambda batch, seq, past: torch.ones(batch, seq)).trace(Scenario()).ops[0].name
    'abs'

    weights: "none", "random", "checkpoint" or a folder. stored: whether the trace store may answer.
    progress: told what takes long, before it does. twin: run a small copy of the same config instead.
    """

    model: Any
    inputs: Any = None
    weights: str = "none"
    stored: bool = True
    progress: Callable[[str], None] | None = None
    twin: bool = False

    def trace(self, scenario: Scenario) -> Trace:
        """The trace of one run."""
        from inspector.source import Origin, resolve

        if not isinstance(self.model, (str, Origin)):
            return self._observed(self._live(), scenario)
        if isinstance(self.model, Origin):
            return self._from(self.model, scenario)
        origin = resolve(self.model, weights=self.weights, inputs=self.inputs)
        return self._from(origin, scenario)

    def _from(self, origin: Origin, scenario: Scenario) -> Trace:
        identity = origin.identity() if self.stored else None
        identity = {**identity, "twin": True} if identity and self.twin else identity
        if identity is None:
            return self._observed(self._opened(origin), scenario)

        from inspector.api.store import TraceStore

        store = TraceStore()
        trace = store.get(identity, scenario)
        if trace is None:
            trace = self._observed(self._opened(origin), scenario)
            store.put(identity, scenario, trace, _model_files())
        return trace

    def _opened(self, origin: Origin) -> Subject:
        from inspector.source import subject_of

        self._say_import()
        return subject_of(origin)

    def _live(self) -> Subject:
        from inspector.source import live_subject

        if not callable(self.model):
            raise UsageError(f"a model is a name, a module or a function, but got a {type(self.model).__name__}")
        return live_subject(self.model, self.inputs)

    def _say_import(self) -> None:
        if self.progress and "transformers" not in sys.modules:
            self.progress("loading torch and transformers (a few seconds the first time)")

    def _observed(self, subject: Subject, scenario: Scenario) -> Trace:
        from inspector.tracing import observe

        if self.twin:
            from inspector.api.twins import observe_twin

            return observe_twin(subject, scenario)
        try:
            return observe(subject, scenario)
        except TraceFailed as error:
            if hint := error.hint or _other_run(error.why, scenario):
                raise TraceFailed(error.what, why=error.why, hint=hint) from error
            raise


def _other_run(why: str, scenario: Scenario) -> str:
    """How a model may run that makes tensors of its own, on a device or in a format that was not asked for."""
    device = "--device cpu" if scenario.device == "meta" else ""
    if "expected scalar type" in why or "same dtype" in why:
        dtype = "--dtype float32" if scenario.dtype != "float32" else ""
        return f"try {dtype} {device}".strip() if dtype else ""
    return f"try {device}" if device and "on the expected device" in why else ""


def _model_files() -> Iterator[str]:
    """Files of transformers that were loaded to run the model: any of them may have had a part in it."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name.partition(".")[0] == "transformers":
            yield file
