"""What was asked, what was seen, and what was claimed: plain frozen records, nothing derived.

Opinions (roles, costs, names of axes) are side tables keyed by op id; they are never fields of `Op`. Everything here
is made of Python's own values, so that a stored trace is read back without torch.
"""

from __future__ import annotations

__all__ = ["Claims", "Concrete", "ModelInfo", "Op", "Plain", "Scenario", "Trace", "Value"]

from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

Plain = None | bool | int | float | str | tuple["Plain", ...]
"""A non-tensor argument as it is kept: dtypes and devices as strings, slices as ("slice", start, stop, step)."""

Mode = Literal["prefill", "decode"]
Padding = Literal["none", "left", "right"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """How a model is run. Part of a trace's identity.

    >>> Scenario(past=16, seq=1).mode
    'decode'

    `head` None means the class that people mean by the model's name: with LM head for decoders, without for encoders.
    `weights` is "none" (meta device), "random" (seeded) or "checkpoint".
    """

    batch: int = 2
    seq: int = 16
    past: int = 0
    attention: str = "eager"
    dtype: str = "bfloat16"
    device: str = "meta"
    padding: Padding = "left"
    seed: int = 0
    weights: str = "none"
    head: bool | None = None
    experts: str | None = None

    @property
    def mode(self) -> Mode:
        return "decode" if self.past else "prefill"

    def resized(self, batch: int, seq: int, past: int) -> Scenario:
        """The same run on other sizes."""
        return replace(self, batch=batch, seq=seq, past=past)


class Value(NamedTuple):
    """One version of one tensor. `id` is its index in `Trace.values`.

    kind: parameter, buffer, input, constant (a tensor kept on a module), op, or orphan (none of these, never produced).
    name: its name where it has one (`h.0.attn.c_attn.weight`, `input_ids`).
    producer: the op that made it, for kind "op".
    """

    id: int
    kind: str
    name: str | None
    shape: tuple[int, ...]
    dtype: str
    device: str
    producer: int | None


class Op(NamedTuple):
    """One call into torch. `id` is its index in `Trace.ops`.

    name: the function's canonical name (`linear`, `add`, `transpose`), one spelling for all of torch's aliases.
    call: the function as the model called it (`torch.addmm`, `Tensor.view`).
    operands: (argument name, value id) of every tensor that the result depends on.
    donors: the same for tensors that lend only a shape, dtype or device (`x.new_zeros`, `type_as`).
    attributes: (argument name, value) of every other argument that was given.
    effect: "" fresh memory · "view" of an operand · "inplace" wrote into its first operand · "noop" returned it as is.
    """

    id: int
    name: str
    call: str
    module: str
    module_class: str
    operands: tuple[tuple[str, int], ...]
    donors: tuple[tuple[str, int], ...]
    attributes: tuple[tuple[str, Plain], ...]
    outputs: tuple[int, ...]
    effect: str

    @property
    def inputs(self) -> tuple[int, ...]:
        """Ids of the values that flow in."""
        return tuple([value for _, value in self.operands])  # a list first: this is asked for at every step

    def attribute(self, name: str, default: Plain = None) -> Plain:
        """One non-tensor argument, or `default` when it was not given."""
        return next((value for key, value in self.attributes if key == name), default)


class Concrete(NamedTuple):
    """The contents of a tensor that needs no weights: ids, masks, positions, rope tables.

    Run-length coded, row-major: `values[i]` stands `counts[i]` times. Both are empty when the tensor has more runs
    than are worth keeping; `digest` always tells two contents apart.
    """

    shape: tuple[int, ...]
    dtype: str
    values: tuple[float | int | bool, ...]
    counts: tuple[int, ...]
    digest: str

    @property
    def kept(self) -> bool:
        """Whether the contents were kept."""
        return bool(self.counts) or 0 in self.shape

    def flat(self) -> list[float | int | bool]:
        """The contents, one entry per element."""
        return [value for value, count in zip(self.values, self.counts, strict=True) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Claims:
    """What the model says of itself: fact id -> (value, where it is said).

    Made by `source` from the config through one table. What the table does not know is listed in `unread`.
    explained: (fact, what execution shows, why) where it is known that execution is not as claimed.
    """

    facts: tuple[tuple[str, Plain, str], ...] = ()
    unread: tuple[str, ...] = ()
    explained: tuple[tuple[str, Plain, str], ...] = ()

    def get(self, fact: str) -> Plain:
        return next((value for key, value, _ in self.facts if key == fact), None)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model a trace is of. `parameters` counts unique elements; `untied` counts tied tensors each time."""

    name: str
    model_type: str | None
    class_name: str
    parameters: int
    untied: int
    source: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """One forward pass as it was seen, in canonical order.

    inputs, outputs: (path, value id): ("input_ids", 0), ("logits", 812), ("past_key_values.layers.0.keys", 77).
    symbols: value id -> one text per dimension: "B", "S", "P+S", "2*S+1", "768"; "?16" is a 16 that did not solve.
    concrete: contents of values that need no weights, where they meet a value that does.
    notes: what the reader must know: sizes that were raised, kernels that watching changed.
    """

    model: ModelInfo
    scenario: Scenario
    ops: tuple[Op, ...]
    values: tuple[Value, ...]
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    symbols: tuple[tuple[str, ...], ...] = ()
    concrete: dict[int, Concrete] = field(default_factory=dict)
    claims: Claims = Claims()
    notes: tuple[str, ...] = ()
    tool: tuple[tuple[str, str], ...] = ()

    @property
    def orphans(self) -> tuple[Value, ...]:
        """Tensors that came from nowhere we know: gaps in what was watched."""
        return tuple(value for value in self.values if value.kind == "orphan")


def plain(value: Any) -> Plain:
    """A JSON-ready copy of `value`, lists turned into tuples.

    >>> plain([1, [2.0, None]])
    (1, (2.0, None))
    """
    return tuple(map(plain, value)) if isinstance(value, (list, tuple)) else value
