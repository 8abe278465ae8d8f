"""Names the axes of tensors by where they come from.

Every op says which axes of its operands and of its result are the same axis: a transpose carries axes over, a matmul
takes rows from the left and columns from the right, a reshape cuts an axis in two. Axes that are the same form a
class; a few parts of the architecture name a class (the last axis of the residual stream is D); and what is cut from
or joined of named axes is named by its parts (H·K). Equal numbers never make two axes the same.
"""

from __future__ import annotations

__all__ = ["AxisNames"]

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import accumulate

from inspector.records import Op
from inspector.stage_graph.correspond import Apart, Link, correspond
from inspector.stage_graph.stages import StageGraph

Place = int
"""One axis of one value: the axes of all values counted through, those of the first value first."""


class AxisNames:
    """The axis letters of every value touched by some ops of a graph."""

    def __init__(self, graph: StageGraph, ops: Iterable[int]) -> None:
        self._trace, self._naming = graph.trace, graph.naming
        self._shapes = [value.shape for value in graph.trace.values]
        self._first: list[Place] = [0, *accumulate(map(len, self._shapes))]
        self._sizes = [size for shape in self._shapes for size in shape]
        self._root: list[Place] = list(range(len(self._sizes)))
        self._products: dict[Place, tuple[Place, ...]] = {}
        self._names: dict[Place, str] = {}
        self._links: dict[object, list[Link]] = {}
        self._attentions = {attention.product: attention for attention in graph.naming.attentions}
        chosen = [graph.trace.ops[index] for index in ops]
        for op in chosen:
            self._unify(op)
        self._stream = {self._find(place) for value in graph.naming.trunk for place in self._places(value)}
        for op in chosen:
            self._anchor(op)
        for value in graph.naming.trunk:
            self._name(value, -1, "D")
        self._settle_value_heads()
        self._name_products()

    def of(self, value: int) -> tuple[str, ...]:
        """One letter (or product of letters, or "") per axis of `value`."""
        return tuple([self._names.get(self._find(place), "") for place in self._places(value)])

    def parts(self, value: int, axis: int) -> tuple[int, ...]:
        """Sizes of the axes that this one is joined of, () when it is a single axis."""
        places = self._products.get(self._find(self._first[value] + axis), ())
        return tuple([self._sizes[part] for part in places])

    def sizes(self) -> Iterator[tuple[str, int]]:
        """(letter, size) of every class that has a name."""
        return ((letter, self._sizes[place]) for place, letter in self._names.items())

    # classes

    def _places(self, value: int) -> range:
        return range(self._first[value], self._first[value + 1])

    def _find(self, place: Place) -> Place:
        root = self._root
        while (up := root[place]) != place:
            root[place] = place = root[up]
        return place

    def _unify(self, op: Op) -> None:
        if op.effect == "noop" or not op.outputs:
            return
        inputs = op.inputs
        starts = [self._first[value] for value in (*inputs, op.outputs[0])]  # slot -1 is the result
        for link in self._corresponding(op, inputs):
            for out in op.outputs if link.every_output else op.outputs[:1]:
                starts[-1] = self._first[out]
                places = [starts[slot] + axis for slot, axis in link.places]
                if link.whole is None:
                    self._join(places)
                else:
                    slot, axis = link.whole
                    self._products[self._find(starts[slot] + axis)] = tuple(places)

    def _corresponding(self, op: Op, inputs: tuple[int, ...]) -> list[Link]:
        """The links of an op, found once for all that are the same call on the same shapes: layers are alike."""
        shapes, apart = [self._shapes[value] for value in inputs], self._apart(op)
        output = self._shapes[op.outputs[0]]
        key = (op.name, op.attributes, tuple(shapes), output, apart)
        if key not in self._links:
            self._links[key] = correspond(op, shapes, output, apart)
        return self._links[key]

    def _apart(self, op: Op) -> Apart | None:
        """The keys' axis stays apart from the tokens' axis it came from: one looks, the other is looked at."""
        attention = self._attentions.get(op.id)
        if attention is not None:
            return Apart(made=attention.key_axis)
        summed = self._naming.parts[op.id].path.endswith("attention.weighted_sum") and self._naming.flow.is_product(op)
        return Apart(made=None) if summed else None

    def _join(self, places: list[Place]) -> None:
        roots = [self._find(place) for place in places]
        one = roots[0]
        for other in roots[1:]:
            if other != one:
                self._root[other] = one
                if other in self._products:
                    self._products.setdefault(one, self._products.pop(other))

    # names

    def _name(self, value: int, axis: int, letter: str) -> None:
        rank = len(self._shapes[value])
        if -rank <= axis < rank:
            place = self._find(self._first[value] + axis % rank)
            # A token that is looked at may be one that looks; and what is repeated may be one key for all heads.
            if letter not in ("T", "G") or place not in self._stream:
                self._names.setdefault(place, letter)

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
            attention = self._attentions.get(op.id)
            if attention is None:  # one of several whose scores are joined: the first of them is the attention's
                return
            self._name(op.outputs[0], attention.key_axis, "T")
            turned = op.name != "einsum" and attention.query == flow.factors(op)[-1]
            self._name(attention.query, -2 if turned else -1, "K")
            if len(self._shapes[op.outputs[0]]) == 4:
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
        *_, heads, rows, _ = (-1, -1, *map(self._find, self._places(query)))
        packed = self._joined.get((heads, rows), ())
        for whole in packed:  # the queries of one group stand where the sequence was: the heads are both together
            self._names.setdefault(self._find(whole), "H")
        self._name(query, -3, "G" if packed else "H")
        self._name(query, -1, "K")
        self._name(key, -3, "G")
        self._name(value, -3, "G")
        self._name(value, -1, "Kv")
        if self._find(self._places(key)[-2]) != rows:
            self._name(key, -2, "T")
            self._name(value, -2, "T")

    @cached_property
    def _joined(self) -> dict[tuple[Place, ...], list[Place]]:
        """Parts -> the axes that are joined of them. Asked for when all classes are known."""
        found: dict[tuple[Place, ...], list[Place]] = {}
        for whole, parts in self._products.items():
            found.setdefault(tuple(map(self._find, parts)), []).append(whole)
        return found

    def _name_groups(self, op: Op) -> None:
        """The axis that is repeated is that of the key/value heads."""
        before, after = self._shapes[op.inputs[0]], self._shapes[op.outputs[0]]
        grown = [axis for axis, (one, two) in enumerate(zip(before, after, strict=False)) if one != two]
        if len(before) == len(after) and len(grown) == 1:
            self._name(op.inputs[0], grown[0] - (op.name == "expand"), "G")

    def _settle_value_heads(self) -> None:
        """Value heads have a letter of their own only where their size differs."""
        sizes = {letter: {size for said, size in self.sizes() if said == letter} for letter in ("K", "Kv")}
        if sizes["K"] == sizes["Kv"]:
            self._names = {place: "K" if letter == "Kv" else letter for place, letter in self._names.items()}

    def _name_products(self) -> None:
        """What is joined of named axes is named by them; twice, because products are made of products."""
        for _ in range(2):
            for whole, parts in list(self._products.items()):
                letters = [self._names.get(self._find(part), "") for part in parts]
                if all(letters):
                    self._names.setdefault(self._find(whole), "·".join(letters))
