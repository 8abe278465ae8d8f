"""The dataflow of a trace in the few terms that rules are written in.

Every op has a kind (plumbing, view, select, join, contraction, ...), every value a taint: does it depend on an input's
contents (IDS), on a parameter (PAR), and has the one met the other (ACT)? ACT values are the activation plane; masks,
positions and biases are recognised as operands that are not on it.
"""

from __future__ import annotations

__all__ = ["ACT", "IDS", "PAR", "Flow"]

import math
from collections.abc import Collection

from inspector.records import Op, Trace, Value

IDS, PAR, ACT = 1, 2, 4

PLUMB = frozenset("to contiguous clone detach dropout alpha_dropout feature_dropout identity".split())
VIEW = frozenset(
    "view reshape transpose permute unsqueeze squeeze flatten unflatten expand expand_as t mT movedim as_strided "
    "view_as reshape_as view_as_complex view_as_real broadcast_to ravel adjoint".split()
)
SELECT = frozenset(
    "getitem chunk split unbind index_select gather narrow select tensor_split take_along_dim unfold split_with_sizes "
    "hsplit roll flip".split()
)
JOIN = frozenset("cat stack sync hstack vstack index_copy setitem copy scatter slice_scatter".split())
CONTRACT = frozenset(
    "linear matmul mm bmm baddbmm addmm addbmm einsum conv1d conv2d grouped_mm tensordot mv dot bilinear "
    "scaled_dot_product_attention".split()
)
WRITES = frozenset({"setitem", "masked_scatter", "index_put"})
"""What puts rows in the place of others: (all rows, which of them, what is written)."""

FUSED_ATTENTION = "scaled_dot_product_attention"
_ADDED = {"linear": "bias", "conv1d": "bias", "conv2d": "bias", "addmm": "input", "baddbmm": "input", "addbmm": "input"}
"""The operand that a contraction adds to its product."""

_ADDING = frozenset("add sub where masked_fill eq ne lt le gt ge isinf all any".split())
"""What is done with a mask: added to the scores, or asked which places it hides."""

_DRAWING = frozenset({"randint", "randint_like", "multinomial"})
"""What draws tokens: where no text is there yet, a canvas of random ones is read as text is."""

_BOUNDING = frozenset({"clamp", "clip"})
"""What keeps a stream finite; its bounds may hang on the stream."""

_SCALING = frozenset({"mul", "div", "add", "sub"}) | _BOUNDING
_TAKING_IN = frozenset({"layer_norm", "rms_norm", "pow", "square", "linear", "addmm", "conv1d"})

_WEIGHT_PREP = PLUMB | VIEW | SELECT | frozenset("neg exp mul div add sub cat stack softplus sigmoid".split())


def _kind(op: Op) -> str:
    name = op.name
    if name in PLUMB:
        return "plumb"
    if name in VIEW:
        return "view"
    if name == "getitem":
        return "view" if _only_views(op) else "select"
    if name in SELECT:
        return "select"
    if name in JOIN:
        return "join"
    return "contract" if name in CONTRACT else "other"


def _only_views(op: Op) -> bool:
    """Whether an indexing only adds axes or takes everything: `x[:, None]`."""
    if len(op.operands) != 1:
        return False
    key = op.attribute("key")
    items = key if isinstance(key, tuple) and key[:1] != ("slice",) else (key,)
    return all(item in (None, "...", ("slice", None, None, None)) for item in items)


def _is_floating(value: Value) -> bool:
    return value.dtype.startswith(("float", "bfloat", "complex"))


def _rounds(flow: Flow, op: Op) -> bool:
    return any(not _is_floating(flow.values[value]) for value in op.outputs)


class Flow:
    """Read-only lookups over one trace. Built once, in one pass; every rule reads it."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.ops = trace.ops
        self.values = trace.values
        self.inputs = [op.inputs for op in self.ops]  # asked for at every step of every walk
        self.kind = [_kind(op) for op in self.ops]
        self.live = [op.effect != "noop" for op in self.ops]
        self.producer: list[int | None] = [value.producer for value in self.values]
        self.users: list[list[int]] = [[] for _ in self.values]
        self.leaving = {value for _, value in trace.outputs}
        self.taint = self._leaf_taints()
        self._weights: dict[int, int | None] = {}
        for op in self.ops:
            self._visit(op)
        learned = self._learned_streams()
        if learned:
            for op in self.ops:
                self._taint(op, learned)
        self.weighted = [self._is_weighted(op) for op in self.ops]

    # building

    def _leaf_taints(self) -> list[int]:
        inputs = {value.id for value in self.values if value.kind == "input" and _is_floating(value)}
        entering = dict.fromkeys(inputs - self._mask_inputs(inputs) - self._counted_inputs(inputs), ACT | IDS)
        leaves = {"parameter": PAR, "input": IDS}
        return [
            0 if value.producer is not None else entering.get(value.id) or leaves.get(value.kind, 0)
            for value in self.values
        ]

    def _mask_inputs(self, inputs: set[int]) -> set[int]:
        """Float inputs that are only ever added or chosen by, views aside: masks and biases, not activations.

        What is to be transformed meets a weight, a norm or another activation in a product.
        """
        if not inputs:
            return inputs
        masks = set(inputs)
        stands_for = {value: value for value in inputs}
        for op in self.ops:
            for name, value in op.operands:
                leaf = stands_for.get(value)
                if leaf is None:
                    continue
                if _kind(op) in ("plumb", "view", "select"):
                    stands_for.update(dict.fromkeys(op.outputs, leaf))
                elif not (op.name in _ADDING or name == "attn_mask"):
                    masks.discard(leaf)
        return masks

    def _counted_inputs(self, inputs: set[int]) -> set[int]:
        """Float inputs of which whole numbers and comparisons are left: places on a page, given as fractions.

        An activation meets a weight, or leaves the model as a number; these meet neither before they are rounded.
        """
        root: dict[int, set[int]] = {value: {value} for value in inputs}
        kept: set[int] = set()
        for op in self.ops if inputs else ():
            roots = set().union(*(root.get(value, set()) for value in self.inputs[op.id]))
            meets = op.name in CONTRACT or any(self.values[value].kind == "parameter" for value in self.inputs[op.id])
            if roots and meets:
                kept |= roots
            root.update((value, roots) for value in op.outputs if roots and _is_floating(self.values[value]))
        rounded = {item for op in self.ops for value in op.inputs for item in root.get(value, ()) if _rounds(self, op)}
        return rounded - kept - {item for value in self.leaving for item in root.get(value, ())}

    def _learned_streams(self) -> set[int]:
        """Values made of parameters alone to which activations are added back: learned queries that become a stream.

        What is only added (a table of positions) is normalised or multiplied by nothing before; these are.
        """
        found = set()
        for op in self.ops:
            if op.name != "add" or len(op.inputs) != 2 or self.taint[op.outputs[0]] & ACT == 0:
                continue
            for value in op.inputs:
                made = self.taint[value] == PAR and self.rank(value) >= 2 and self.producer[value] is not None
                if made and self._is_taken_in(value):
                    found.add(value)
        return found

    def _is_taken_in(self, value: int) -> bool:
        users = [self.ops[user] for user in self.users[value]]
        return any(user.name in _TAKING_IN for user in users) or any(
            self._is_taken_in(user.outputs[0]) for user in users if self.kind[user.id] == "plumb" and self.live[user.id]
        )

    def _visit(self, op: Op) -> None:
        for value in self.inputs[op.id]:
            self.users[value].append(op.id)
        self._taint(op)

    def _taint(self, op: Op, learned: Collection[int] = ()) -> None:
        taint = self.taint
        if not self.live[op.id]:
            return
        out = IDS if op.name in _DRAWING else 0
        for value in self.inputs[op.id]:
            out |= taint[value]
        if out & IDS and out & PAR and (op.name in CONTRACT or op.name in ("embedding", "embedding_bag", "getitem")):
            out |= ACT
        for value in op.outputs:
            taint[value] = out | ACT | IDS if value in learned else out

    def _is_weighted(self, op: Op) -> bool:
        """A contraction of an activation with a parameter."""
        if op.name not in CONTRACT or op.name == FUSED_ATTENTION:
            return False
        factors = self.factors(op)
        return any(self.weight(value) is not None for value in factors) and any(map(self.on_act, factors))

    # values

    def on_act(self, value: int) -> bool:
        """Whether `value` lies on the activation plane."""
        return bool(self.taint[value] & ACT)

    def act_inputs(self, op: Op) -> list[int]:
        return [value for value in self.inputs[op.id] if self.taint[value] & ACT]

    def rank(self, value: int) -> int:
        return len(self.values[value].shape)

    def size(self, value: int) -> int:
        return math.prod(self.values[value].shape)

    def maker(self, value: int) -> Op | None:
        producer = self.producer[value]
        return None if producer is None else self.ops[producer]

    def consumers(self, value: int) -> list[Op]:
        """The ops that read `value`, without those that return it as it was."""
        return [self.ops[index] for index in self.users[value] if self.live[index]]

    def only_consumer(self, value: int) -> Op | None:
        found = self.consumers(value)
        return found[0] if len(found) == 1 and value not in self.leaving else None

    def weight(self, value: int) -> int | None:
        """The parameter that `value` is, through views, casts and scalar arithmetic; None when it is no weight."""
        if value not in self._weights:
            self._weights[value] = self._find_weight(value)
        return self._weights[value]

    def _find_weight(self, value: int) -> int | None:
        op = self.maker(value)
        if op is not None and self._picks(op):
            return self.weight(op.inputs[0])
        if op is not None and self.kind[op.id] in ("view", "plumb") and self.taint[value] & ACT and op.operands:
            return self.weight(op.inputs[0])  # the rows of a choice, turned
        if self.taint[value] & ACT or not self.taint[value] & PAR:
            return None
        if op is None:
            return value
        if op.name not in _WEIGHT_PREP and self.kind[op.id] not in ("view", "select", "join"):
            return None
        roots = [self.weight(item) for item in op.inputs if self.taint[item] & PAR]
        return None if None in roots else next(iter(roots), None)  # a table's rows with a weight added are no weight

    def _picks(self, op: Op) -> bool:
        """Whether a stack of weights is indexed by a choice that depends on a token: the experts of each token."""
        picks = op.name in ("getitem", "index_select") and len(op.inputs) == 2
        if not picks or not self.values[op.inputs[1]].dtype.startswith("int"):
            return False
        return self.on_act(op.inputs[1]) or (self.rank(op.inputs[0]) > 2 and bool(self.taint[op.inputs[1]] & IDS))

    # ops

    def factors(self, op: Op) -> list[int]:
        """What a contraction multiplies, without what it adds."""
        added = _ADDED.get(op.name)
        return [value for name, value in op.operands if name != added]

    def is_product(self, op: Op) -> bool:
        """A contraction of two activations, such as query times key."""
        if op.name not in CONTRACT or self.weighted[op.id] or op.name == FUSED_ATTENTION:
            return False
        return sum(map(self.on_act, self.factors(op))) >= 2

    def through(self, value: int, kinds: tuple[str, ...] = ("plumb",)) -> int:
        """Back from `value` through ops of these kinds."""
        while True:
            op = self.maker(value)
            if op is None or self.kind[op.id] not in kinds or not op.operands:
                return value
            value = op.operands[0][1]

    def strip(self, value: int) -> int:
        """Back through plumbing and through arithmetic with a single activation operand: scalings of the trunk."""
        return self.stripping(value)[-1]

    def stripping(self, value: int) -> list[int]:
        """`value`, and what it is without one scaling or cast after another."""
        found = [value]
        while (op := self.maker(value)) is not None and (self.kind[op.id] == "plumb" or op.name in _SCALING):
            acts = op.inputs[:1] if op.name in _BOUNDING else self.act_inputs(op)
            if op.name in ("add", "sub") and not all(self._is_vector(item) for item in op.inputs if item not in acts):
                break  # a learned table may be added to a stream, but then the sum is another stream
            if len(acts) != 1 or self.values[acts[0]].shape != self.values[value].shape:
                break
            value = acts[0]
            found.append(value)
        return found

    def bounding(self, value: int) -> Op | None:
        """The op that keeps `value` within bounds, where the stream goes on from it and from nothing else."""
        for op in self.consumers(value):
            if (
                op.name in _BOUNDING
                and op.inputs[0] == value
                and self.values[op.outputs[0]].shape == self.values[value].shape
            ):
                return op
        return None

    def _is_vector(self, value: int) -> bool:
        """Whether `value` is a parameter with one number for each channel."""
        return self.rank(value) <= 1 and self.weight(value) is not None

    def keeps_last(self, op: Op) -> bool:
        """A view that folds or unfolds leading axes only: the packing around a 2-D matmul."""
        if self.kind[op.id] != "view" or op.name not in ("view", "reshape", "flatten", "unflatten"):
            return False
        before, after = self.values[op.inputs[0]].shape, self.values[op.outputs[0]].shape
        return bool(before) and bool(after) and before[-1] == after[-1] and len(before) != len(after)

    def is_depthwise(self, op: Op) -> bool:
        """A convolution of each channel by itself over the sequence. With a kernel of one it is a projection."""
        groups = op.attribute("groups")
        if not (op.name.startswith("conv") and isinstance(groups, int) and groups > 1):
            return False
        return math.prod(self.values[op.inputs[1]].shape[2:]) > 1

    def adds_weight(self, value: int) -> Op | None:
        """The add that gives a product its bias, where it is an op of its own and nothing else reads the product."""
        op = self.only_consumer(value)
        if op is None or op.name != "add" or len(op.inputs) != 2:
            return None
        return op if any(self.weight(item) is not None for item in op.inputs) else None

    def unit(self, op: Op) -> tuple[list[int], int, int]:
        """A weighted op with the views that pack and unpack its leading axes: (ops, value in, value out)."""
        source = next(value for value in self.factors(op) if self.on_act(value))
        result = op.outputs[0]
        ops = [op.id]
        before = self.maker(source)
        if before is not None and self.keeps_last(before) and self.only_consumer(source) is op:
            ops.insert(0, before.id)
            source = before.inputs[0]
        after = self.only_consumer(result)
        if after is not None and self.keeps_last(after):
            ops.append(after.id)
            result = after.outputs[0]
        return ops, source, result

    def sweep(self, start: list[int], allowed: frozenset[str]) -> tuple[list[int], int] | None:
        """Back from `start` to the one activation that everything comes from, if only `allowed` kinds lie between.

        Returns the ops between and that value: the nearest dominator.
        """
        frontier = set(start)
        ops: set[int] = set()
        while len(frontier) > 1 or not ops:
            value = max(frontier)
            frontier.discard(value)
            op = self.maker(value)
            if op is None or not (self.kind[op.id] in allowed or op.name in allowed) or len(ops) > 64:
                return None
            ops.add(op.id)
            frontier.update(self.act_inputs(op))
            if not frontier:
                return None
        return sorted(ops), frontier.pop()
