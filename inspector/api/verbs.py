"""The public verbs: the same names and options as the commands."""

from __future__ import annotations

__all__ = [
    "ArchitectureError",
    "ParityError",
    "assert_parity",
    "assert_same_architecture",
    "check",
    "diff",
    "facts",
    "graph",
    "lock",
    "models",
    "parity",
    "report",
    "shapes",
]

from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, overload

from inspector.api.asking import at_least, scenario
from inspector.api.check import ArchitectureError, assert_same_architecture, check
from inspector.api.diff import diff
from inspector.api.explain import Explained
from inspector.api.facts import facts
from inspector.api.generate import Generated, generated
from inspector.api.graph import graph
from inspector.api.lock import lock
from inspector.api.parity import ParityError, assert_parity, parity
from inspector.api.report import report
from inspector.api.results import Models, Shapes
from inspector.errors import UsageError
from inspector.records import Padding
from inspector.vocabulary import ROLES

if TYPE_CHECKING:
    from inspector.shape_table.rows import ShapeTable

Progress = Callable[[str], None]


@overload
def shapes(model: Any, inputs: Any = None, *, generate: None = None, **options: Any) -> Shapes: ...
@overload
def shapes(model: Any, inputs: Any = None, *, generate: int, **options: Any) -> Generated: ...
def shapes(  # type: ignore[misc]  # the options are named here, once
    model: Any,
    inputs: Any = None,
    *,
    batch: int = 2,
    seq: int = 16,
    past: int = 0,
    attention: str | Sequence[str] = "eager",
    dtype: str | None = None,
    device: str | None = None,
    pad: Padding | None = None,
    seed: int = 0,
    weights: str | None = None,
    head: bool | None = None,
    ops: bool = False,
    layer: int | None = None,
    role: str | None = None,
    section: str | None = None,
    explain: bool = False,
    generate: int | None = None,
    text: str | None = None,
    twin: bool = False,
    trace_cache: bool = True,
    progress: Progress | None = None,
) -> Shapes | Generated:
    """Run a model once and name every op of its forward pass, with its shapes.

    >>> import torch, inspector
    >>> table = inspector.shapes(torch.nn.Linear(8, 4), lambda batch, seq, past: torch.ones(batch, seq, 8))
    >>> table.summary.parameters, table.to_frame()["outputs"].tolist()
    (36, ['(B, S, 4)'])

    model: a name (see `inspector shapes --help`), a module, or a function of tensors.
    inputs: for a module or function, its arguments, or a function of (batch, sequence, past) that makes them; a
        transformers model can do without.
    attention: "eager", "sdpa", ...; several (a list, or with commas) give one table each, shown side by side.
    dtype, device: bfloat16 on meta unless given: shapes need no numbers, and in bfloat16 the casts show.
    weights: None, "random", "checkpoint" (the model's own) or a folder.
    layer, role, section: only these rows; UsageError when there are none.
    ops: one row per op. explain: the products of matrices alone, in words (an `Explained`, which is a `Shapes`).
    generate: write so many tokens instead, with a KV cache and without, and compare (a `Generated`), on the CPU and in
        float32 unless told otherwise. text: the prompt in words, for a model in a folder that holds its tokenizer.
    twin: a small copy of the same config instead, which says what was made smaller.
    progress: told, in a few words, what takes long.
    """
    kinds = _kinds(attention)
    if explain:
        _require_explainable(kinds, ops=ops)
    writes = generate is not None
    asked = scenario(
        batch=batch,
        seq=seq,
        past=past,
        attention=kinds[0],
        dtype=dtype or ("float32" if writes else None),
        device=device or ("cpu" if writes else None),
        pad=pad,
        seed=seed,
        weights=weights,
        head=head,
    )
    layer = layer if layer is None else at_least(0, layer=layer)
    if generate is not None:
        rows = {"ops": ops, "layer": layer is not None, "role": role, "section": section, "explain": explain}
        run = {"past": past, "attention": kinds[1:], "pad": pad not in (None, "none"), "device meta": device == "meta"}
        _alone("generate", {**rows, **run})
        return generated(model, inputs, asked, generate, text=text, weights=weights, twin=twin, progress=progress)
    if text is not None:
        raise UsageError("a text is continued, not only read", hint="give --generate N with it")
    from inspector.api.traces import Source
    from inspector.shape_table.build import shape_table

    source = Source(model, inputs, weights=weights or "none", stored=trace_cache, progress=progress, twin=twin)
    traces = [source.trace(replace(asked, attention=kind)) for kind in kinds]
    ops = ops or explain
    tables = tuple(shape_table(trace, ops=ops, layer=layer, role=role, section=section) for trace in traces)
    if not any(table.rows for table in tables):
        asked_for = {"section": section, "role": role, "layer": layer}
        raise _nothing_there([shape_table(trace, ops=ops) for trace in traces], asked_for)
    return Explained(tables) if explain else Shapes(tables)


def models() -> Models:
    """The models that are known by name, without a network.

    >>> import inspector
    >>> "gpt2" in inspector.models().names
    True
    """
    from inspector.source.catalogue import presets

    return Models(presets())


def _alone(name: str, others: dict[str, Any]) -> None:
    """What an answer of another kind does not have is refused, not passed over."""
    foreign = [f"--{other}" for other, value in others.items() if value]
    if foreign:
        raise UsageError(f"--{name} does not go with {', '.join(foreign)}", hint=f"leave {' and '.join(foreign)} away")


def _require_explainable(kinds: Sequence[str], *, ops: bool) -> None:
    if len(kinds) > 1:
        raise UsageError("one run is explained at a time", hint=f"use --attention {kinds[0]} or --attention {kinds[1]}")
    _alone("explain", {"ops": ops})


def _kinds(attention: str | Sequence[str]) -> list[str]:
    names = attention.split(",") if isinstance(attention, str) else attention
    kinds = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not kinds:
        raise UsageError("attention names no implementation", hint="give eager, sdpa, or both with a comma between")
    return kinds


def _nothing_there(tables: Sequence[ShapeTable], asked: dict[str, Any]) -> UsageError:
    """What was asked for, what there is instead, and what may have been meant."""
    rows = [row for table in tables for row in table.rows]
    there = {
        "section": dict.fromkeys(row.section for row in rows),
        "role": dict.fromkeys(f"{row.section}.{row.role}" for row in rows),
        "layer": dict.fromkeys(row.layers for row in rows if row.layers),
    }
    given = {name: str(value) for name, value in asked.items() if value is not None}
    if not given:
        return UsageError("the forward pass ran no op")
    if given.keys() == {"role"} and (section := _known_section(given["role"])):
        beside = [path for path in there["role"] if path.startswith(f"{section}.")]
        return UsageError(
            f"{tables[0].model.name} has no {given['role']}",
            why=f"roles of its {section}: {', '.join(beside)}" if beside else "",
            hint="" if beside else f"sections: {', '.join(there['section'])}",
        )
    near = {name: _nearest(value, list(there[name])) for name, value in given.items()}
    close = " ".join(f"--{name} {meant}" for name, meant in near.items() if meant and meant != given[name])
    return UsageError(
        f"nothing in {tables[0].model.name} has {', '.join(map(' '.join, given.items()))}",
        why="; ".join(f"{name}s: {', '.join(there[name])}" for name in given),
        hint=f"did you mean {close}?" if close else "",
    )


def _known_section(role: str) -> str:
    """The section of a role that the vocabulary has, as `attention` of `attention.rope.q`; "" for other words."""
    section, _, rest = role.partition(".")
    return section if rest.partition(".")[0] in ROLES.get(section, ()) else ""


def _nearest(value: str, names: list[str]) -> str:
    """The name that was meant: `attention.softmax` for `softmax` or `atention.softmax`."""
    exact = [name for name in names if value == name or name.endswith(f".{value}")]
    return next(iter(exact or get_close_matches(value, names, 1, 0.85)), "")
