"""One observation: build, run, watch, solve, and write down what was seen."""

from __future__ import annotations

__all__ = ["Run", "at_fault", "glimpse", "model_info", "observe", "unchanged", "watch"]

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from inspector.errors import InspectorError, TraceFailed
from inspector.records import Claims, Concrete, ModelInfo, Op, Scenario, Trace, Value
from inspector.source.compiled import flex_attention, uncompiled
from inspector.tracing.canonical import Seen, canonical
from inspector.tracing.concrete import concrete_of
from inspector.tracing.shadows import Following, Shadows
from inspector.tracing.symbols import Sizes, sample_sizes, solve, transfer
from inspector.tracing.tensors import name_leaves, named_tensors
from inspector.tracing.texts import UNSOLVED
from inspector.tracing.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.source.subject import Subject


class Run(NamedTuple):
    """One watched forward pass. `output` is what the model returned, untouched."""

    watcher: Watcher
    seen: Seen
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    output: Any

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [value.shape for value in self.seen.values]


def watch(module: nn.Module, inputs: Mapping[str, Any], shadows: Shadows | None = None, *, keep: bool = False) -> Run:
    """Run `module(**inputs)` once and see what happens.

    >>> run = watch(nn.Linear(4, 8), {"input": torch.zeros(2, 4)})
    >>> [op.name for op in run.seen.ops], run.output.shape
    (['linear'], torch.Size([2, 8]))
    """
    return finish(*watch_only(module, inputs, shadows or Shadows(), keep=keep))


class Watched(NamedTuple):
    """What a watched forward leaves behind, before anything is written down."""

    watcher: Watcher
    entered: list[tuple[str, int]]
    output: Any


def watch_only(
    module: nn.Module, inputs: Mapping[str, Any], shadows: Shadows, *, keep: bool, by: type[Watcher] = Watcher
) -> Watched:
    """The watched forward alone."""
    watcher = by(module, shadows, keep=keep)
    name_leaves(watcher.book, module, inputs)
    entered = [(name, watcher.value(tensor)) for name, tensor in named_tensors(dict(inputs))]
    with torch.no_grad(), uncompiled(), watcher:
        output = module(**inputs)
    return Watched(watcher, entered, output)


def finish(watcher: Watcher, entered: list[tuple[str, int]], output: Any) -> Run:
    """Write down what `watcher` saw, in canonical order."""
    left = [(name, watcher.value(tensor)) for name, tensor in outputs_of(output)]
    seen = canonical(watcher, [value for _, value in entered + left])
    place = seen.place
    return Run(
        watcher,
        seen,
        tuple((name, place[value]) for name, value in entered),
        tuple((name, place[value]) for name, value in left),
        output,
    )


def outputs_of(output: Any) -> list[tuple[str, Tensor]]:
    """The tensors that a model returned, by name."""
    return named_tensors(_by_name(output))


def _by_name(output: Any) -> Any:
    return {"output": output} if isinstance(output, (Tensor, list, tuple)) and not hasattr(output, "keys") else output


def observe(subject: Subject, scenario: Scenario) -> Trace:
    """See `inspector.tracing.observe`."""
    scenario, notes = subject.settle(scenario)
    module, shadows = _build(subject, scenario)
    with unchanged(module):
        run = _run(subject, module, shadows, scenario)
        symbols = _symbols(subject, module, shadows, scenario, run)
    return Trace(
        model=model_info(subject, module),
        scenario=scenario,
        ops=run.seen.ops,
        values=run.seen.values,
        inputs=run.inputs,
        outputs=run.outputs,
        symbols=tuple(symbols),
        concrete=_contents(run),
        claims=subject.claims,
        notes=(*subject.notes, *notes, *_watching_notes(module, run.seen.ops)),
        tool=_versions(),
    )


def glimpse(
    module: nn.Module,
    inputs: Mapping[str, Any],
    scenario: Scenario,
    info: ModelInfo,
    claims: Claims,
    by: type[Watcher] = Watcher,
) -> tuple[Trace, Run]:
    """One forward pass of a module that has values, at this one size: its trace, without symbols, and the run itself.

    >>> info = ModelInfo("mine", None, "Linear", 36, 36)
    >>> trace, run = glimpse(nn.Linear(8, 4), {"input": torch.ones(2, 8)}, Scenario(device="cpu"), info, Claims())
    >>> trace.ops[0].name, run.output.shape
    ('linear', torch.Size([2, 4]))
    """
    run = finish(*watch_only(module, inputs, Shadows(), keep=False, by=by))
    trace = Trace(
        model=info,
        scenario=scenario,
        ops=run.seen.ops,
        values=run.seen.values,
        inputs=run.inputs,
        outputs=run.outputs,
        concrete=_contents(run),
        claims=claims,
        tool=_versions(),
    )
    return trace, run


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Give a user's module its buffers back, and everybody torch's random numbers: looking must not change a thing."""
    kept = [(buffer, buffer.clone()) for buffer in module.buffers() if buffer.device.type != "meta"]
    devices = {tensor.device for tensor in module.parameters() if tensor.device.type == "cuda"}
    with torch.random.fork_rng(devices=devices):
        yield
    with torch.no_grad():
        for buffer, before in kept:
            buffer.copy_(before)


def _build(subject: Subject, scenario: Scenario) -> tuple[nn.Module, Shadows]:
    shadows = Shadows()
    with at_fault(subject, "building the model"), Following(shadows):
        return subject.make(scenario), shadows


def _run(subject: Subject, module: nn.Module, shadows: Shadows, scenario: Scenario) -> Run:
    with at_fault(subject, "running the model"), torch.no_grad():
        with Following(shadows):
            inputs = subject.inputs(module, scenario)
        return watch(module, inputs, shadows, keep=scenario.device == "meta")


@contextmanager
def at_fault(subject: Subject, doing: str) -> Iterator[None]:
    """Turn what the model raises into one clear line; the model's own error stays its cause."""
    try:
        yield
    except InspectorError:
        raise
    except (Exception, SystemExit) as error:  # a model may raise anything
        reason = str(error).strip().split("\n")[0]
        raise TraceFailed(
            f"{subject.name}: {doing} failed",
            why=f"{type(error).__name__}: {reason}" if reason else type(error).__name__,
        ) from error


def _symbols(
    subject: Subject, module: nn.Module, shadows: Shadows, scenario: Scenario, run: Run
) -> Sequence[tuple[str, ...]]:
    """Symbols of every value: from a shallow model of the same width where there is one, else from the model itself."""
    if not subject.resizable:
        return [_as_numbers(value) for value in run.seen.values]
    shallow = subject.shallow()
    if shallow is None:
        return _solve_on(subject, module, shadows, scenario, run)
    on_meta = _on_meta(scenario)
    small, small_shadows = _build(shallow, on_meta)
    try:
        base = _run(shallow, small, small_shadows, on_meta)
    except TraceFailed:  # a model may run with values only
        return _solve_on(subject, module, shadows, scenario, run)
    symbols = _solve_on(shallow, small, small_shadows, on_meta, base)
    return transfer(run.seen.ops, run.seen.values, base.seen.ops, base.seen.values, symbols)


def _on_meta(scenario: Scenario) -> Scenario:
    from dataclasses import replace

    return replace(scenario, device="meta", weights="none")


def _solve_on(
    subject: Subject, module: nn.Module, shadows: Shadows, scenario: Scenario, run: Run
) -> list[tuple[str, ...]]:
    """Solve on `module`, whose run at the asked size is `run` and has the last word.

    Small sizes first. Where they show another graph, or sizes that a window cuts off, a second time beyond the window.
    """
    best = [_as_numbers(value) for value in run.seen.values]
    for beyond in (0, scenario.seq + scenario.past):
        symbols = _solve_at(subject, module, shadows, scenario, run, beyond)
        if symbols is not None and _unsolved(symbols) < _unsolved(best):
            best = symbols
        if not _unsolved(best):
            break
    return best


def _unsolved(symbols: Sequence[tuple[str, ...]]) -> int:
    return sum(text.startswith(UNSOLVED) for texts in symbols for text in texts)


def _solve_at(
    subject: Subject, module: nn.Module, shadows: Shadows, scenario: Scenario, run: Run, beyond: int
) -> list[tuple[str, ...]] | None:
    """Symbols from five more sizes, or None where the model ran other ops at one of them."""
    calls = [op.call for op in run.seen.ops]
    sizes, shapes = sample_sizes(scenario, beyond), []
    for size in sizes:
        other = _other_size(subject, module, shadows, scenario, size)
        if other is None or [op.call for op in other.seen.ops] != calls or len(other.shapes) != len(run.shapes):
            return None
        shapes.append(other.shapes)
    asked = Sizes(scenario.batch, scenario.seq, scenario.past)
    return solve([*shapes, run.shapes], [*sizes, asked])


def _as_numbers(value: Value) -> tuple[str, ...]:
    """Dimensions that could not be solved. Those of weights need no solving."""
    fixed = value.kind in ("parameter", "buffer", "constant")
    return tuple(str(size) if fixed else f"{UNSOLVED}{size}" for size in value.shape)


def _other_size(subject: Subject, module: nn.Module, shadows: Shadows, scenario: Scenario, sizes: Sizes) -> Run | None:
    """The same model at another size, or None where it cannot run at that size."""
    try:
        return _run(subject, module, shadows, scenario.resized(*sizes))
    except InspectorError:
        return None


def _contents(run: Run) -> dict[int, Concrete]:
    place = run.seen.place
    return {
        place[value]: concrete_of(tensor) for value, tensor in sorted(run.watcher.snapshots.items()) if value in place
    }


def model_info(subject: Subject, module: nn.Module) -> ModelInfo:
    """What is said of a model beside its trace: its name, its class, how many parameters it has."""
    unique = {id(parameter): parameter.numel() for parameter in module.parameters()}
    untied = sum(parameter.numel() for _, parameter in module.named_parameters(remove_duplicate=False))
    return ModelInfo(
        subject.name, subject.model_type, type(module).__name__, sum(unique.values()), untied, subject.source
    )


_UNFUSED = "watching switches torch's fused encoder fast path off: the ops shown are those of the unfused path"
_UNCOMPILED = "flex_attention ran uncompiled, for a compiled kernel cannot be watched; its mask is shown as an operand"


def _watching_notes(module: nn.Module, ops: Sequence[Op]) -> tuple[str, ...]:
    """What being watched changed. torch's fused encoder kernel steps aside when anything looks on."""
    found = []
    fused = (nn.TransformerEncoderLayer, nn.TransformerEncoder, nn.MultiheadAttention)
    if any(isinstance(child, fused) for child in module.modules()):
        found.append(
            "watching switches torch's fused encoder fast path off: the ops shown are those of the unfused path"
        )
    if any(op.call.endswith(f".{flex_attention.__name__}") for op in ops):
        found.append(
            "flex_attention ran uncompiled, since a compiled kernel cannot be watched; its mask is an operand here"
        )
    return tuple(found)


def _versions() -> tuple[tuple[str, str], ...]:
    from importlib.metadata import version

    from inspector import __version__

    return (("inspector", __version__), ("torch", str(torch.__version__)), ("transformers", version("transformers")))
