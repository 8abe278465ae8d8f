"""Stages that do several things: each of their ops as a call of a reference function, one after the other."""

from __future__ import annotations

__all__ = ["composed", "turned"]


import math
from collections.abc import Sequence

from inspector.records import Op, Plain
from inspector.reference.activations import activate, clamp, exponential, known_as, shift
from inspector.reference.attention import contract, scale
from inspector.reference.feedforward import add, divide, multiply, subtract, summed
from inspector.reference.layout import rounded, together, viewed
from inspector.reference.norms import layer_norm, rms_norm
from inspector.reference.projections import convolve, linear
from inspector.roles.norms import Norm
from inspector.stage_graph.functions import function_of
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.followed import Followed, Unknown
from inspector.verification.readings.look import Draft, Flowing, Inner, Leaf, Look, Reading, Said, draft
from inspector.verification.readings.norms import weight_of


def composed(look: Look, stage: Stage) -> Reading:
    """A chain of calls for the ops of a stage. Its numbers are the run's own, but for the norms'."""
    return _Composer(look, stage).reading()


def turned(look: Look, stage: Stage, value: int, drafts: Sequence[Draft]) -> Reading:
    """`drafts`, which give `value`, and calls for what a stage does with it at its end: views, axes that change places.

    Written so that they give what is told in the order of the elements in which it is told.
    """
    return _Composer(look, stage, drafts, value).reading()


class _Composer(Followed):
    """drafts: calls that are known already. made: what the last of them gives; only what follows it is composed."""

    def __init__(self, look: Look, stage: Stage, drafts: Sequence[Draft] = (), made: int | None = None) -> None:
        super().__init__(look, [*drafts], {value: look.read(value) for value in (*stage.inputs, *stage.parameters)})
        self._stage = stage
        if made is not None:
            self._known = {made: self._last()}
        inside = set(stage.ops)
        norms = [_bare(look, norm) for norm in look.graph.naming.norms if inside.issuperset(norm.ops)]
        self._norms = {op: norm for norm in norms for op in norm.ops}

    def reading(self) -> Reading:
        look, told = self._look, self._look.told(self._stage) or self._stage.outputs
        try:
            for op in look.graph.ops(self._stage):
                known = any(value in self._known for value in op.inputs) or op.name == "sync"
                if look.flow.live[op.id] and known:
                    self._take(op)
        except Unknown as unknown:
            return f"there is no reference for {unknown} in it"
        given = dict.fromkeys(self._known.get(value) for value in told)
        if not self._drafts or not 1 <= len(given) <= 4 or not all(isinstance(one, Inner) for one in given):
            return "what it gives could not be followed"
        if list(given) != [self._last()]:
            names = ("first", "second", "third", "fourth") if len(given) > 1 else ("x",)
            several = together if len(given) > 1 else rounded
            self._drafts.append(draft(several, **dict(zip(names, given, strict=False))))
        return self._drafts

    def _take(self, op: Op) -> None:
        norm = self._norms.get(op.id)
        if norm is not None:
            if op.id == max(norm.ops):
                self._norm(norm)
        elif op.name in ("matmul", "bmm", "mm"):
            self._product(op)
        elif op.name == "conv1d":
            self._convolution(op)
        elif self._look.flow.weighted[op.id]:
            self._linear(op)
        elif not self._moves(op):
            self._compute(op)

    def _norm(self, norm: Norm) -> None:
        x = self._at(norm.source)
        try:
            weight, bias = (weight_of(self._look, self._stage, norm, value) for value in (norm.weight, norm.bias))
        except LookupError as error:
            raise Unknown("a norm whose weight another part prepares") from error
        eps = self._look.usual(norm.eps, self._look.facts.get("norm.eps"))
        if norm.kind == "layer":
            self._give(norm.result, draft(layer_norm, x=x, weight=weight, bias=bias, eps=eps))
        elif norm.kind == "rms" and bias is None:
            offset = self._look.usual(float(norm.offset), 0.0)
            self._give(norm.result, draft(rms_norm, x=x, weight=weight, eps=eps, offset=offset))
        else:
            raise Unknown(f"a {norm.kind} norm")

    def _convolution(self, op: Op) -> None:
        named = dict(op.operands)
        usual = {"padding": 0, "groups": 1, "stride": 1, "dilation": 1}
        how = {name: _only(op.attribute(name, number)) for name, number in usual.items()}
        if how["stride"] != 1 or how["dilation"] != 1 or None in how.values():
            raise Unknown("a convolution in steps")
        x, weight = self._at(named["input"]), self._at(named["weight"])
        bias = self._at(named["bias"]) if "bias" in named else None
        one = draft(convolve, x_BIS=x, weight_OIW=weight, bias_O=bias, padding=how["padding"], groups=how["groups"])
        self._give(op.outputs[0], one)

    def _linear(self, op: Op) -> None:
        look = self._look
        weight = next(value for value in look.flow.factors(op) if look.flow.weight(value) is not None)
        named = dict(op.operands)
        if op.name != "linear" or len(look.shape(weight)) != 2:
            raise Unknown(op.name)
        bias = self._at(named["bias"]) if "bias" in named else None
        out, into = look.shape(weight)
        layout = Said("out_in", claimed=True) if out != into else look.usual("out_in", look.orientation)
        x = self._at(op.inputs[0])
        self._give(op.outputs[0], draft(linear, x=x, weight=self._at(weight), bias=bias, layout=layout))

    def _product(self, op: Op) -> None:
        """A product of matrices; an axis of one before the last two stands for all of the other factor's."""
        left, right = (self._look.shape(value) for value in op.inputs)
        if min(len(left), len(right)) < 2:
            raise Unknown(op.name)
        most = max(len(left), len(right)) - 2
        letters = [
            _batch(shape[:-2], other[:-2], most, lone)
            for shape, other, lone in ((left, right, "ABCD"), (right, left, "EFGH"))
        ]
        out = "abcd"[:most]
        if any(letter not in "".join(letters) for letter in out):
            raise Unknown("a product that repeats both factors")
        equation = f"{letters[0]}xy,{letters[1]}yz->{out}xz"
        one = draft(contract, x=self._at(op.inputs[0]), y=self._at(op.inputs[1]), equation=equation)
        self._give(op.outputs[0], one)

    def _compute(self, op: Op) -> None:
        numbers = [op.attribute(name) for name in ("other", "input")]
        number = next((one for one in numbers if isinstance(one, (int, float))), None)
        operands = [self._at(value) for value in op.inputs]
        out = op.outputs[0]
        if not self._look.values[out].dtype.startswith(("float", "bfloat")):
            raise Unknown(f"{op.name} of whole numbers")
        if op.attribute("alpha") not in (None, 1):
            raise Unknown(f"a weighed {op.name}")
        if op.name in ("mul", "mul_") and len(operands) == 2:
            self._give(out, draft(multiply, gate=operands[0], up=operands[1]))
        elif op.name in ("add", "add_") and len(operands) == 2:
            self._give(out, draft(add, residual=operands[0], x=operands[1]))
        elif op.name == "div" and len(operands) == 2:
            self._give(out, draft(divide, x=operands[0], by=operands[1]))
        elif op.name in ("sum", "mean") and (axes := _axes(op, len(self._look.shape(op.inputs[0])))):
            self._sum(op, axes)
        elif op.name == "square":
            self._give(out, draft(multiply, gate=operands[0], up=operands[0]))
        elif op.name == "exp":
            self._give(out, draft(exponential, x=operands[0]))
        elif op.name == "neg":
            self._give(out, draft(scale, scores_BHST=operands[0], factor=Said(-1.0, claimed=True)))
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

    def _sum(self, op: Op, axes: tuple[int, ...]) -> None:
        look, out = self._look, op.outputs[0]
        self._give(out, draft(summed, x=self._at(op.inputs[0]), axes=axes))
        if op.name == "mean":
            terms = math.prod(look.shape(op.inputs[0])[axis] for axis in axes)
            self._give(out, draft(scale, scores_BHST=self._last(), factor=Said(1 / terms, claimed=True)))
        if op.attribute("keepdim"):
            self._give(out, draft(viewed, x=self._last(), shape=look.shape(out)))

    def _function(self, op: Op, operands: list[Flowing | Leaf | Inner], out: int) -> None:
        name = function_of([op]) if len(operands) == 1 else None
        kind = None if name is None else known_as(name)
        if kind is None:
            raise Unknown(op.name)
        self._give(out, draft(activate, x=operands[0], kind=Said(kind, claimed=False)))


def _batch(shape: tuple[int, ...], other: tuple[int, ...], most: int, lone: str) -> str:
    """A letter for each axis before the last two, of its own where it is one and the other factor's is more."""
    letters = ""
    for place in range(len(shape)):
        at = place - len(shape)
        more = shape[place] == 1 and -at <= len(other) and other[at] > 1
        letters += lone[most + at] if more else "abcd"[most + at]
    return letters


def _axes(op: Op, rank: int) -> tuple[int, ...]:
    """The axes that are added up, counted from the front; none where it is not said which."""
    dim = op.attribute("dim")
    items = dim if isinstance(dim, tuple) else (dim,)
    return tuple(sorted(item % rank for item in items if isinstance(item, int)))


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
