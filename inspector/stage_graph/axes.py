"""Names the axes of tensors by where they come from.

Every op says which axes of its operands and of its result are the same axis: a transpose carries axes over, a matmul
takes rows from the left and columns from the right, a reshape cuts an axis in two. Axes that are the same form a
class; a few parts of the architecture name a class (the last axis of the residual stream is D); and what is cut from
or joined of named axes is named by its parts (H·K). Equal numbers never make two axes the same.
"""

from __future__ import annotations

__all__ = ["AxisNames"]

from collections.abc import Iterable

from inspector.records import Op
from inspector.stage_graph.correspond import Apart, correspond
from inspector.stage_graph.stages import StageGraph

Place = tuple[int, int]
"""(value id, axis)."""


class AxisNames:
    """The axis letters of every value touched by some ops of a graph."""

    def __init__(self, graph: StageGraph, ops: Iterable[int]) -> None:
        self._trace, self._naming = graph.trace, graph.naming
        self._root: dict[Place, Place] = {}
        self._products: dict[Place, tuple[Place, ...]] = {}
        self.names: dict[Place, str] = {}
        self._attentions = {attention.product: attention for attention in graph.naming.attentions}
        chosen = [graph.trace.ops[index] for index in ops]
        for op in chosen:
            self._unify(op)
        self._stream = {self._find((value, axis)) for value in graph.naming.trunk for axis in self._axes(value)}
        for op in chosen:
            self._anchor(op)
        for value in graph.naming.trunk:
            self._name(value, -1, "D")
        self._settle_value_heads()
        self._name_products()

    def of(self, value: int) -> tuple[str, ...]:
        """One letter (or product of letters, or "") per axis of `value`."""
        return tuple(self.names.get(self._find((value, axis)), "") for axis in range(len(self._shape(value))))

    def parts(self, value: int, axis: int) -> tuple[int, ...]:
        """Sizes of the axes that this one is joined of, () when it is a single axis."""
        places = self._products.get(self._find((value, axis)), ())
        return tuple(self._shape(part[0])[part[1]] for part in places)

    # classes

    def _shape(self, value: int) -> tuple[int, ...]:
        return self._trace.values[value].shape

    def _find(self, place: Place) -> Place:
        root = self._root
        while (up := root.get(place, place)) != place:
            root[place] = root.get(up, up)
            place = root[place]
        return place

    def _unify(self, op: Op) -> None:
        if op.effect == "noop" or not op.outputs:
            return
        shapes = [self._shape(value) for value in op.inputs]
        for link in correspond(op, shapes, self._shape(op.outputs[0]), self._apart(op)):
            for out in op.outputs if link.every_output else op.outputs[:1]:
                places = tuple((op.inputs[slot], axis) if slot >= 0 else (out, axis) for slot, axis in link.places)
                if link.whole is None:
                    self._join(places)
                else:
                    slot, axis = link.whole
                    self._products[self._find((op.inputs[slot], axis) if slot >= 0 else (out, axis))] = places

    def _axes(self, value: int) -> range:
        return range(len(self._shape(value)))

    def _apart(self, op: Op) -> Apart | None:
        """The keys' axis stays apart from the tokens' axis it came from: one looks, the other is looked at."""
        attention = self._attentions.get(op.id)
        if attention is not None:
            return Apart(made=attention.key_axis)
        summed = self._naming.parts[op.id].path.endswith("attention.weighted_sum") and self._naming.flow.is_product(op)
        return Apart(made=None) if summed else None

    def _join(self, places: tuple[Place, ...]) -> None:
        roots = [self._find(place) for place in places]
        for other in roots[1:]:
            if other != roots[0]:
                self._root[other] = roots[0]
                if other in self._products:
                    self._products.setdefault(roots[0], self._products.pop(other))

    # names

    def _name(self, value: int, axis: int, letter: str) -> None:
        rank = len(self._shape(value))
        if -rank <= axis < rank:
            place = self._find((value, axis % rank))
            if letter != "T" or place not in self._stream:  # a token that is looked at may be one that looks
                self.names.setdefault(place, letter)

    def _anchor(self, op: Op) -> None:
        """The axes that a part of the architecture names."""
        path = self._naming.parts[op.id].path
        section, _, role = path.partition(".")
        if section in ("attention", "cross_attention"):
            self._anchor_attention(op, role)
        elif path in ("mlp.up_proj", "mlp.gate_proj", "mlp.multiply") and self._computes(op):
            self._name(op.outputs[0], -1, "F")
        elif path == "head.lm_head" and self._naming.flow.weighted[op.id]:
            self._name(op.outputs[0], -1, "V")
        elif path == "embedding.token" and op.name.startswith("embedding"):
            self._name(op.inputs[1], 0, "V")

    def _computes(self, op: Op) -> bool:
        """Whether `op` is the work of its stage, not the packing around it."""
        return self._naming.flow.kind[op.id] not in ("view", "plumb")

    def _anchor_attention(self, op: Op, role: str) -> None:
        flow = self._naming.flow
        if role == "scores" and flow.is_product(op):
            attention = self._attentions[op.id]
            self._name(op.outputs[0], attention.key_axis, "T")
            turned = op.name != "einsum" and attention.query == flow.factors(op)[-1]
            self._name(attention.query, -2 if turned else -1, "K")
            if len(self._shape(op.outputs[0])) == 4:
                self._name(op.outputs[0], 1, "H")
        elif role == "weighted_sum" and flow.is_product(op):
            self._name(op.outputs[0], -1, "Kv")
        elif role == "fused" and len(op.inputs) >= 3:
            self._anchor_fused(*op.inputs[:3])
            for mask in op.inputs[3:]:
                self._name(mask, -1, "T")
        elif role == "cache_update" and flow.kind[op.id] == "join":
            dim = op.attribute("dim", 0)
            self._name(op.outputs[0], dim if isinstance(dim, int) else 0, "T")
        elif role == "repeat_kv" and op.name in ("expand", "repeat_interleave"):
            self._name_groups(op)

    def _anchor_fused(self, query: int, key: int, value: int) -> None:
        rank = len(self._shape(query))
        heads, rows = self._find((query, rank - 3)), self._find((query, rank - 2))
        packed = [
            whole for whole, parts in self._products.items() if [self._find(part) for part in parts] == [heads, rows]
        ]
        for whole in packed:  # the queries of one group stand where the sequence was: the heads are both together
            self.names.setdefault(self._find(whole), "H")
        self._name(query, -3, "G" if packed else "H")
        self._name(query, -1, "K")
        self._name(key, -3, "G")
        self._name(value, -3, "G")
        self._name(value, -1, "Kv")
        if self._find((key, rank - 2)) != rows:
            self._name(key, -2, "T")
            self._name(value, -2, "T")

    def _name_groups(self, op: Op) -> None:
        """The axis that is repeated is that of the key/value heads."""
        before, after = self._shape(op.inputs[0]), self._shape(op.outputs[0])
        grown = [axis for axis, (one, two) in enumerate(zip(before, after, strict=False)) if one != two]
        if len(before) == len(after) and len(grown) == 1:
            self._name(op.inputs[0], grown[0] - (op.name == "expand"), "G")

    def _settle_value_heads(self) -> None:
        """Value heads have a letter of their own only where their size differs."""
        sizes = {
            letter: {self._shape(v)[a] for (v, a), said in self.names.items() if said == letter}
            for letter in ("K", "Kv")
        }
        if sizes["K"] == sizes["Kv"]:
            self.names = {place: "K" if letter == "Kv" else letter for place, letter in self.names.items()}

    def _name_products(self) -> None:
        """What is joined of named axes is named by them; twice, because products are made of products."""
        for _ in range(2):
            for whole, parts in list(self._products.items()):
                letters = [self.names.get(self._find(part), "") for part in parts]
                if all(letters):
                    self.names.setdefault(self._find(whole), "·".join(letters))
