"""Mistakes between stages: an operand from the wrong place, and something that writes where nobody looks."""

from __future__ import annotations

__all__ = ["WIRING"]

import torch
from torch import Tensor

from inspector.verification.mutants.apply import Call, Edit, Edits, after, rebound, rewired, unseen
from inspector.verification.mutants.ground import Target
from inspector.verification.mutants.mutant import Change, Mutant
from inspector.verification.mutants.seen import seen_in

_ADD = ("feedforward.add",)
_NORM = ("norms.layer_norm", "norms.rms_norm")


def _output(target: Target | None) -> int | None:
    return None if target is None else target.output


def _near(target: Target, *names: str) -> Target | None:
    """The first stage of these names that ran in the same layer."""
    found = (target.ground.find(name, target.stage.layer) for name in names)
    return next((one for one in found if one is not None), None)


def _from(argument: str, *names: str) -> Change:
    """The operand is what another stage of the layer made."""
    return lambda target: rewired(target, argument, _output(_near(target, *names)))


def _read_by(argument: str, reader: str, theirs: str) -> Change:
    """The operand is what another stage of the layer reads."""

    def change(target: Target) -> Edits | None:
        other = _near(target, reader)
        return None if other is None else rewired(target, argument, other.values.get(theirs))

    return change


def _from_layer_before(argument: str) -> Change:
    """The operand is the one of the same stage in the layer before."""

    def change(target: Target) -> Edits | None:
        layer = target.stage.layer
        before = target.ground.find(target.stage.name, layer - 1) if layer else None
        return None if before is None else rewired(target, argument, before.values.get(argument))

    return change


def _keys_and_values_swapped(target: Target) -> Edits | None:
    sums = _near(target, "attention.weighted_sum")
    if sums is None or not {"k_BHTK"} <= target.values.keys() or "v_BHTK" not in sums.values:
        return None
    one = rewired(target, "k_BHTK", sums.values["v_BHTK"])
    two = rewired(sums, "v_BHTK", target.values["k_BHTK"])
    return None if one is None or two is None else one | two


def _gate_and_up_swapped(target: Target) -> Edits | None:
    """The function is applied to the other half."""
    gate, up = _near(target, "mlp.activation"), _near(target, "mlp.up_proj")
    if gate is None or up is None or "up" not in target.values:
        return None
    if target.ground.made_at(up.output) >= gate.reads[0]:
        return _late_swap(target, gate, up)
    one = rewired(gate, "x", up.output)
    two = rewired(target, "up", gate.values["x"])
    return None if one is None or two is None else one | two


def _late_swap(target: Target, gate: Target, up: Target) -> Edits | None:
    """The other half is made after the function is applied: then the two maps read each other's weights."""
    first = target.ground.find("mlp.gate_proj", target.stage.layer)
    if first is None:
        return None
    names = [str(dict(one.step.sources)["weight"].ref) for one in (first, up)]
    one, two = rebound(first, names[0], names[1]), rebound(up, names[1], names[0])
    return None if one is None or two is None else one | two


def _turned_values(target: Target) -> Edits | None:
    """Values are turned like keys: the calls of the rotation, once more."""
    rope = _near(target, "attention.rope.k")
    if rope is None or not rope.whole or "v_BHTK" not in target.values:
        return None
    ground = target.ground
    old = ground.raw(target.values["v_BHTK"])
    tables = [ground.raw(rope.values[name]) for name in ("cos_B1SR", "sin_B1SR")]

    def edit(call: Call) -> Tensor:
        v, cos, sin = call.seen[old], *(call.seen[table] for table in tables)
        dims = cos.shape[-1]  # of a head, perhaps not all
        part, half = v[..., :dims], dims // 2
        part = part * cos + torch.cat((-part[..., half:], part[..., :half]), -1) * sin
        turned = torch.cat((part, v[..., dims:]), -1)
        args = tuple(turned if arg is v else arg for arg in call.args)
        made: Tensor = call._replace(args=args).made()
        return made

    if ground.plan.trace.values[target.values["v_BHTK"]].shape[-2] != _places(rope):
        return None
    at = [record for record in target.reads if record == ground.made_at(target.output)]
    return Edits(dict.fromkeys(at, edit), frozenset({old, *tables}))


def _places(rope: Target) -> int:
    return rope.ground.plan.trace.values[rope.values["x_BHSK"]].shape[-2]


def _mask_after_softmax(target: Target) -> Edits | None:
    """The scores stay as they are, and probabilities of what is hidden are put to zero."""
    ground, softmax = target.ground, _near(target, f"{target.stage.section}.softmax")
    if softmax is None or not target.whole:
        return None
    scores, mask = (ground.raw(target.values[name]) for name in ("scores_BHST", "allowed"))
    more = after(softmax, lambda call, made: _masked(made, call.seen[mask] == 0))
    hidden: dict[int, Edit] = dict.fromkeys(target.reads, Call.hidden)
    skipped = Edits(
        {**hidden, ground.made_at(target.output): lambda call: call.seen[scores]}, frozenset({scores, mask})
    )
    return None if more is None else skipped | more


def _masked(p: Tensor, allowed: Tensor) -> Tensor:
    """The probabilities of keys; behind them may stand those of a sink."""
    keys = allowed.shape[-1]
    return torch.cat((p[..., :keys] * allowed, p[..., keys:]), -1)


def _dropout_on(target: Target) -> Edits | None:
    """The calls that do nothing because the model is not being trained do something."""
    ground, trace = target.ground, target.ground.plan.trace
    layer = target.stage.layer
    for stage in ground.plan.stages:
        if stage.name == "attention.dropout" and stage.layer == layer:
            calls = [op for op in stage.ops if trace.ops[op].name == "dropout"]
            at = {ground.record(op): lambda call: call.function(call.args[0], p=0.1, training=True) for op in calls}
            return Edits(at) if at else None
    return None


def _doubled_in_place(target: Target) -> Edits | None:
    def double(_: Call, made: Tensor) -> Tensor:
        made.mul_(2)
        return made

    return after(target, double)


def _normed_at_once(target: Target) -> str:
    """Nothing but a norm reads the sum."""
    readers = [one for one in target.ground.targets if target.output in one.values.values()]
    invisible = all(one.function in _NORM and float(one.step.attribute("eps") or 0) < _NO_EPS for one in readers)  # type: ignore[arg-type]
    return (
        "only a norm reads it, which takes a factor out again: its eps is nothing beside the variance"
        if invisible
        else ""
    )


_NO_EPS = 1e-9


def _written_unseen(target: Target) -> Edits | None:
    """Between two stages something writes into the stream, and torch is not told: numpy, or a kernel of one's own.

    It happens when the next norm is about to read it, after it was made and looked at.
    """
    ground = target.ground
    value = target.output
    readers = [one for one in ground.targets if value in one.values.values() and one.function in _NORM]
    if not readers:
        return None
    raw = ground.raw(value)

    def write(call: Call) -> object:
        with unseen():
            call.seen[raw].mul_(1.5)
        return call.made()

    return Edits({readers[0].reads[0]: write}, frozenset({raw}))


def _before_sum(target: Target) -> Edits | None:
    section = "attention" if target.stage.name in ("attention.post_norm", "mlp.norm") else "mlp"
    total = target.ground.find(f"{section}.residual", target.stage.layer)
    return None if total is None else rewired(target, "x", total.values.get("x"))


_PATHS = tuple(f"attention.{role}" for role in "k_proj v_proj qkv_proj split_qkv split_heads rope cache_update".split())
"""Who is a key is told by who reads it: values that are scored are keys that come from another place."""

_UNREAD = ("mlp.norm",)
"""What it makes is then read by nobody."""

_ATTENTION = (
    Mutant(
        "keys-and-values-swapped",
        ("attention.scores",),
        "values are scored and keys are summed",
        seen_in(35),
        change=_keys_and_values_swapped,
        told_at=_PATHS,
    ),
    Mutant(
        "keys-summed",
        ("attention.weighted_sum",),
        "the probabilities weigh keys instead of values",
        seen_in(35),
        change=_read_by("v_BHTK", "attention.scores", "k_BHTK"),
        told_at=_PATHS,
    ),
    Mutant(
        "values-scored",
        ("attention.scores",),
        "queries meet values instead of keys",
        seen_in(35),
        change=_read_by("k_BHTK", "attention.weighted_sum", "v_BHTK"),
        told_at=_PATHS,
    ),
    Mutant(
        "values-turned",
        ("attention.weighted_sum",),
        "values are rotated like keys",
        seen_in(10),
        change=_turned_values,
        told_at=("attention.rope",),
    ),
    Mutant(
        "mask-after-softmax",
        ("attention.apply_mask",),
        "probabilities are masked instead of scores, and no longer add up to 1",
        seen_in(37),
        change=_mask_after_softmax,
    ),
    Mutant(
        "dropout-left-on",
        ("attention.weighted_sum",),
        "a tenth of the probabilities is dropped as in training",
        "https://github.com/huggingface/transformers/pull/26421",
        change=_dropout_on,
        told_at=("attention.dropout",),
    ),
)

_STREAM = (
    Mutant(
        "residual-from-the-normed",
        _ADD,
        "what is added is what the sublayer read after its norm, not before",
        "https://github.com/huggingface/transformers/issues/25420",
        change=lambda target: rewired(target, "residual", _output(_near(target, f"{target.stage.section}.norm"))),
    ),
    Mutant(
        "residual-from-the-layer-before",
        _ADD,
        "what is added is what entered the layer before",
        seen_in(42),
        change=_from_layer_before("residual"),
    ),
    Mutant(
        "residual-of-the-other-sublayer",
        _ADD,
        "what is added is what entered attention",
        seen_in(42),
        change=_read_by("residual", "attention.residual", "residual"),
        roles=("mlp.residual",),
    ),
    Mutant(
        "norm-reads-what-entered-attention",
        _NORM,
        "both sublayers read the same, as where they run side by side",
        "https://github.com/vllm-project/vllm/pull/3653",
        change=_read_by("x", "attention.residual", "residual"),
        roles=("mlp.norm",),
    ),
    Mutant(
        "norm-reads-the-sublayer-alone",
        _NORM,
        "the norm reads what the sublayer made, before what entered it is added",
        seen_in(10),
        change=_before_sum,
        roles=("attention.post_norm", "mlp.post_norm", "mlp.norm"),
    ),
    Mutant(
        "feed-forward-reads-the-stream",
        ("projections.linear",),
        "the norm before the feed-forward layer is passed by",
        seen_in(10),
        change=_read_by("x", "mlp.norm", "x"),
        roles=("mlp.up_proj", "mlp.gate_proj"),
        told_at=_UNREAD,
    ),
    Mutant(
        "feed-forward-reads-attention's-norm",
        ("projections.linear",),
        "the feed-forward layer reads what the norm of attention made",
        seen_in(10),
        change=_from("x", "attention.norm"),
        roles=("mlp.up_proj", "mlp.gate_proj"),
        told_at=_UNREAD,
    ),
    Mutant(
        "gate-and-up-swapped",
        ("feedforward.multiply",),
        "the function is applied to up instead of the gate",
        "https://github.com/huggingface/transformers/pull/29402",
        change=_gate_and_up_swapped,
        told_at=("mlp.gate_proj", "mlp.up_proj", "mlp.activation"),
    ),
    Mutant(
        "stream-doubled-in-place",
        _ADD,
        "something doubles the stream between two stages, where it lies",
        seen_in(42),
        change=_doubled_in_place,
        equivalent=_normed_at_once,
        told_at=("mlp.norm", "attention.norm", "attention.post_norm", "mlp.post_norm"),
    ),
    Mutant(
        "stream-written-unseen",
        _ADD,
        "something writes into the stream between two stages, and torch is not told",
        seen_in(20),
        change=_written_unseen,
        told_at=("mlp.norm", "attention.norm", "attention.post_norm", "mlp.post_norm", "head.norm"),
    ),
)


WIRING = (*_ATTENTION, *_STREAM)
