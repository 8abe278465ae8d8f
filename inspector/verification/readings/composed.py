"""Stages that do several things: each of their ops as a call of a reference function, one after the other."""

from __future__ import annotations

__all__ = ["composed", "turned"]


from collections.abc import Sequence

from inspector.records import Op, Plain
from inspector.reference.activations import activate, clamp, known_as, shift
from inspector.reference.attention import scale
from inspector.reference.feedforward import add, multiply, subtract
from inspector.reference.layout import arrange, join, pieces, rounded, together, viewed
from inspector.reference.norms import layer_norm, rms_norm
from inspector.reference.projections import convolve, linear
from inspector.roles.norms import Norm
from inspector.stage_graph.functions import function_of
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.look import TURNING, Draft, Flowing, Inner, Leaf, Look, Reading, Said, draft
from inspector.verification.readings.moving import order_of
from inspector.verification.readings.norms import weight_of

Tensorlike = Flowing | Leaf | Inner


def composed(look: Look, stage: Stage) -> Reading:
    """A chain of calls for the ops of a stage. Its numbers are the run's own, but for the norms'."""
    return _Composer(look, stage).reading()


def turned(look: Look, stage: Stage, value: int, drafts: Sequence[Draft]) -> Reading:
    """`drafts`, which give `value`, and calls for what a stage does with it at its end: views, axes that change places.

    Written so that they give what is told in the order of the elements in which it is told.
    """
    return _Composer(look, stage, drafts, value).reading()


class _Unknown(Exception):
    """An op for which there is no call here."""


class _Composer:
    """drafts: calls that are known already. made: what the last of them gives; only what follows it is composed."""

    def __init__(self, look: Look, stage: Stage, drafts: Sequence[Draft] = (), made: int | None = None) -> None:
        self._look, self._stage = look, stage
        self._drafts: list[Draft] = [*drafts]
        self._known: dict[int, Tensorlike]
        if made is None:
            self._known = {value: look.read(value) for value in (*stage.inputs, *stage.parameters)}
        else:
            self._known = {made: self._last()}
        inside = set(stage.ops)
        norms = [_bare(look, norm) for norm in look.graph.naming.norms if inside.issuperset(norm.ops)]
        self._norms = {op: norm for norm in norms for op in norm.ops}

    def reading(self) -> Reading:
        look, told = self._look, self._look.told(self._stage)
        try:
            for op in look.graph.ops(self._stage):
                if look.flow.live[op.id] and any(value in self._known for value in op.inputs):
                    self._take(op)
        except _Unknown as unknown:
            return f"there is no reference for {unknown} in it"
        given = dict.fromkeys(self._known.get(value) for value in told)
        if not self._drafts or not 1 <= len(given) <= 4 or not all(isinstance(one, Inner) for one in given):
            return "what it gives could not be followed"
        if list(given) != [self._last()]:
            names = ("first", "second", "third", "fourth") if len(given) > 1 else ("x",)
            several = together if len(given) > 1 else rounded
            self._drafts.append(draft(several, **dict(zip(names, given, strict=False))))
        return self._drafts

    def _last(self) -> Inner:
        return Inner(len(self._drafts) - 1)

    def _give(self, value: int, one: Draft) -> None:
        self._drafts.append(one)
        self._known[value] = self._last()

    def _take(self, op: Op) -> None:
        norm = self._norms.get(op.id)
        if norm is not None:
            if op.id == max(norm.ops):
                self._norm(norm)
        elif op.name == "cat":
            self._join(op)
        elif op.name == "conv1d":
            self._convolution(op)
        elif self._look.flow.weighted[op.id]:
            self._linear(op)
        elif self._look.flow.kind[op.id] in ("view", "plumb", "select"):
            self._move(op)
        else:
            self._compute(op)

    def _norm(self, norm: Norm) -> None:
        x = self._at(norm.source)
        try:
            weight, bias = (weight_of(self._look, self._stage, norm, value) for value in (norm.weight, norm.bias))
        except LookupError as error:
            raise _Unknown("a norm whose weight another part prepares") from error
        eps = self._look.usual(norm.eps, self._look.facts.get("norm.eps"))
        if norm.kind == "layer":
            self._give(norm.result, draft(layer_norm, x=x, weight=weight, bias=bias, eps=eps))
        elif norm.kind == "rms" and bias is None:
            offset = self._look.usual(float(norm.offset), 0.0)
            self._give(norm.result, draft(rms_norm, x=x, weight=weight, eps=eps, offset=offset))
        else:
            raise _Unknown(f"a {norm.kind} norm")

    def _convolution(self, op: Op) -> None:
        named = dict(op.operands)
        usual = {"padding": 0, "groups": 1, "stride": 1, "dilation": 1}
        how = {name: _only(op.attribute(name, number)) for name, number in usual.items()}
        if how["stride"] != 1 or how["dilation"] != 1 or None in how.values():
            raise _Unknown("a convolution in steps")
        x, weight = self._at(named["input"]), self._at(named["weight"])
        bias = self._at(named["bias"]) if "bias" in named else None
        one = draft(convolve, x_BIS=x, weight_OIW=weight, bias_O=bias, padding=how["padding"], groups=how["groups"])
        self._give(op.outputs[0], one)

    def _linear(self, op: Op) -> None:
        look = self._look
        weight = next(value for value in look.flow.factors(op) if look.flow.weight(value) is not None)
        named = dict(op.operands)
        if op.name != "linear" or len(look.shape(weight)) != 2:
            raise _Unknown(op.name)
        bias = self._at(named["bias"]) if "bias" in named else None
        out, into = look.shape(weight)
        layout = Said("out_in", claimed=True) if out != into else look.usual("out_in", look.orientation)
        x = self._at(op.inputs[0])
        self._give(op.outputs[0], draft(linear, x=x, weight=self._at(weight), bias=bias, layout=layout))

    def _at(self, value: int) -> Tensorlike:
        if value not in self._known:
            raise _Unknown("a value that was not followed")
        return self._known[value]

    def _move(self, op: Op) -> None:
        look, x = self._look, self._at(op.inputs[0])
        before, after = look.shape(op.inputs[0]), look.shape(op.outputs[0])
        if op.name in ("to", "contiguous", "clone", "dropout", "detach") or (
            before == after and look.flow.kind[op.id] == "view" and op.name not in TURNING
        ):
            self._known[op.outputs[0]] = x
        elif op.name in ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"):
            self._give(op.outputs[0], draft(viewed, x=x, shape=after))
        elif op.name in ("chunk", "split"):
            self._split(op, x)
        elif op.name == "getitem" and len(op.inputs) == 1 and look.flow.kind[op.id] == "view":
            self._give(op.outputs[0], draft(viewed, x=x, shape=after))
        elif op.name == "getitem" and len(op.inputs) == 1:
            self._pick(op, x)
        elif op.name in TURNING:
            self._turn(op, x, before)
        else:
            raise _Unknown(op.name)

    def _join(self, op: Op) -> None:
        """Two tensors; what holds nothing joins nothing."""
        full = [value for value in op.inputs if 0 not in self._look.shape(value)]
        axis = op.attribute("dim", 0)
        if len(full) == 1:
            self._known[op.outputs[0]] = self._at(full[0])
        elif len(full) == 2 and isinstance(axis, int):
            self._give(op.outputs[0], draft(join, first=self._at(full[0]), second=self._at(full[1]), axis=axis))
        else:
            raise _Unknown("cat")

    def _split(self, op: Op, x: Tensorlike) -> None:
        axis = op.attribute("dim", 0)
        if not isinstance(axis, int):
            raise _Unknown(op.name)
        bounds, start = [], 0
        for value in op.outputs:
            size = self._look.shape(value)[axis]
            bounds.append((start, start + size, 1))
            start += size
        self._drafts.append(draft(pieces, x=x, bounds=Said(tuple(bounds), claimed=False), axis=axis))
        for output, value in enumerate(op.outputs):
            self._known[value] = Inner(len(self._drafts) - 1, output)

    def _pick(self, op: Op, x: Tensorlike) -> None:
        """One place of one axis, or a stretch of it."""
        key, before = op.attribute("key"), self._look.shape(op.inputs[0])
        items = key if isinstance(key, tuple) and key[:1] != ("slice",) else (key,)
        if None in items:
            raise _Unknown("getitem")
        if "..." in items:
            place, every = items.index("..."), ("slice", None, None, None)
            items = (*items[:place], *[every] * (len(before) - len(items) + 1), *items[place + 1 :])
        cut = [(axis, item) for axis, item in enumerate(items) if item != ("slice", None, None, None)]
        if len(cut) != 1:
            raise _Unknown("getitem")
        axis, item = cut[0]
        start, stop, step = (item, item + 1, 1) if type(item) is int and item >= 0 else _slice(item, before[axis])
        shape = self._look.shape(op.outputs[0])
        one = draft(pieces, x=x, bounds=Said(((start, stop, step),), claimed=True), axis=axis)
        self._give(op.outputs[0], one)
        if type(item) is int:
            self._give(op.outputs[0], draft(viewed, x=self._last(), shape=shape))

    def _turn(self, op: Op, x: Tensorlike, before: tuple[int, ...]) -> None:
        order = order_of(op, len(before))
        if order is None:
            raise _Unknown(op.name)
        letters = "ABCDEFG"[: len(before)]
        pattern = f"{' '.join(letters)} -> {' '.join(letters[axis] for axis in order)}"
        self._give(op.outputs[0], draft(arrange, x=x, pattern=Said(pattern, claimed=False)))

    def _compute(self, op: Op) -> None:
        numbers = [op.attribute(name) for name in ("other", "input")]
        number = next((one for one in numbers if isinstance(one, (int, float))), None)
        operands = [self._at(value) for value in op.inputs]
        out = op.outputs[0]
        if not self._look.values[out].dtype.startswith(("float", "bfloat")):
            raise _Unknown(f"{op.name} of whole numbers")
        if op.attribute("alpha") not in (None, 1):
            raise _Unknown(f"a weighed {op.name}")
        if op.name in ("mul", "mul_") and len(operands) == 2:
            self._give(out, draft(multiply, gate=operands[0], up=operands[1]))
        elif op.name in ("add", "add_") and len(operands) == 2:
            self._give(out, draft(add, residual=operands[0], x=operands[1]))
        elif op.name == "sub" and len(operands) == 2:
            self._give(out, draft(subtract, x=operands[0], other=operands[1]))
        elif op.name == "mul" and number is not None:
            self._give(out, draft(scale, scores_BHST=operands[0], factor=Said(float(number), claimed=False)))
        elif op.name == "div" and number and op.attribute("other") is not None:
            self._give(out, draft(scale, scores_BHST=operands[0], factor=Said(1 / number, claimed=False)))
        elif op.name == "add" and number is not None:
            self._give(out, draft(shift, x=operands[0], by=Said(float(number), claimed=False)))
        elif op.name == "clamp" and len(operands) == 1:
            low, high = (
                None if op.attribute(name) is None else Said(op.attribute(name), claimed=False)
                for name in ("min", "max")
            )
            self._give(out, draft(clamp, x=operands[0], low=low, high=high))
        else:
            self._function(op, operands, out)

    def _function(self, op: Op, operands: list[Tensorlike], out: int) -> None:
        name = function_of([op]) if len(operands) == 1 else None
        kind = None if name is None else known_as(name)
        if kind is None:
            raise _Unknown(op.name)
        self._give(out, draft(activate, x=operands[0], kind=Said(kind, claimed=False)))


def _only(value: Plain) -> int | None:
    """One number, also where it stands alone in a tuple."""
    number = value[0] if isinstance(value, tuple) and len(value) == 1 else value
    return number if isinstance(number, int) else None


def _bare(look: Look, norm: Norm) -> Norm:
    """A norm without the gate that follows it: what comes before the first projection."""
    gate = next((op for op in norm.ops if look.flow.weighted[op]), None)
    if gate is None:
        return norm
    result = look.flow.through(look.flow.act_inputs(look.flow.ops[gate])[0], ("plumb",))
    return norm._replace(ops=tuple(op for op in norm.ops if op < gate), result=result)


def _slice(item: object, size: int) -> tuple[int, int, int]:
    if not isinstance(item, tuple) or item[:1] != ("slice",) or "tensor" in item:
        raise _Unknown("getitem")
    start, stop, step = slice(*item[1:]).indices(size)
    return start, stop, step
