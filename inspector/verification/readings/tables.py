"""What says where a token stands: numbers, rotary tables, rotations, biases by distance."""

from __future__ import annotations

__all__ = ["alibi", "relative_bias", "rope", "rope_table"]

import math
from collections.abc import Iterable

from inspector.records import Plain
from inspector.reference import positions
from inspector.reference.frequencies import KINDS
from inspector.reference.layout import pieces, viewed
from inspector.reference.rope import complex_table, rotate, rotate_complex, rotate_part
from inspector.reference.rope import rope_table as table
from inspector.roles.rope import Rope
from inspector.stage_graph.behind import behind
from inspector.stage_graph.lanes import Turned, turned
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.look import TURNING, Draft, Flowing, Inner, Leaf, Look, Reading, Said, draft
from inspector.verification.readings.moving import between, handed_on, places
from inspector.verification.readings.shapes import shaped

Tensorlike = Flowing | Leaf | Inner

# rotary tables


def rope_table(look: Look, stage: Stage) -> Reading:
    """Cosines and sines of position times frequency, from the base and the scaling that are claimed."""
    rope = _reader(look, stage)
    what = turned(look.flow, rope) if rope is not None else None
    if rope is None or what is None or what.layout == "other":
        return "the rotation that reads it could not be followed"
    numbers = _numbers(look, stage, what)
    if isinstance(numbers, str):
        return numbers
    drafts, numbered = _positions(look, stage)
    if numbered is None:
        return "the positions that it is made of are not known"
    made = [
        value for value in stage.outputs if look.flow.values[value].dtype.startswith(("float", "bfloat", "complex"))
    ]
    if not made:
        return "it makes no table: its numbers are used elsewhere"
    if any(look.values[value].dtype.startswith("complex") for value in made):
        return [*drafts, draft(complex_table, position_ids_BS=numbered, **numbers)]
    if len({look.shape(value)[-1] for value in made}) > 1 or look.shape(made[0])[-1] not in (what.size, what.size // 2):
        return "tables of another width than what they turn"
    if any(op.name == "neg" for op in look.live(stage)):
        return "a table for turning back besides"
    layout = _columns(look, made, what)
    return [*drafts, draft(table, position_ids_BS=numbered, layout=layout, **numbers)]


def _reader(look: Look, stage: Stage) -> Rope | None:
    made = set(stage.outputs)
    return next(
        (rope for rope in look.graph.naming.ropes if not made.isdisjoint(behind(look.graph, rope.tables))), None
    )


def _columns(look: Look, made: list[int], what: Turned) -> str:
    """How often and where each pair has its angle: by the width of the tables, else by what they hold."""
    width = look.shape(made[0])[-1]
    if width * 2 == what.size:
        return "single"
    for value in made:
        known = look.contents(value)
        if known is not None and len(known.shape) > 1:
            row = known.flat()[-width:]
            return "half" if row[: width // 2] == row[width // 2 :] else "interleaved"
    return "interleaved" if what.layout == "interleaved" else "half"


def _positions(look: Look, stage: Stage) -> tuple[list[Draft], Tensorlike | None]:
    """The numbers that enter, without the axes of one behind them; or counted where none enter."""
    inputs = [value for value in stage.inputs if value not in stage.parameters and 0 not in look.shape(value)]
    if not inputs:
        lengths = {max(look.shape(value)[:-1], default=0) for value in stage.outputs}
        if len(lengths) != 1:
            return [], None
        past = look.usual(look.graph.trace.scenario.past, look.graph.trace.scenario.past)
        return [draft(positions.position_ids, length=lengths.pop(), past=past)], Inner(0)
    if len(inputs) > 1:
        return [], None
    shape = look.shape(inputs[0])
    if len(shape) == 3 and shape[-1] > 1 and "gather" in {op.name for op in look.live(stage)}:
        first = draft(pieces, x=look.read(inputs[0]), bounds=((0, 1, 1),))  # each place once for every column
        return [first, draft(viewed, x=Inner(0), shape=shape[:2])], Inner(1)
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    while len(shape) > 2 and shape[1] == 1:
        shape = (shape[0], *shape[2:])
    return shaped(look, inputs[0], shape) if len(shape) <= 2 else ([], None)


_KEYS = {
    "factor": "factor",
    "original_max_position_embeddings": "original",
    "low_freq_factor": "low",
    "high_freq_factor": "high",
    "beta_fast": "beta_fast",
    "beta_slow": "beta_slow",
    "truncate": "truncate",
    "mscale": "mscale",
    "mscale_all_dim": "mscale_all_dim",
    "attention_factor": "explicit",
    "short_factor": "short",
    "long_factor": "long",
}
"""A factor of a claimed scaling -> the argument that it is."""


def _numbers(look: Look, stage: Stage, what: Turned) -> dict[str, Said] | str:
    """Base, width and scaling: of this kind of layer, where a config tells kinds apart."""
    kinds = look.kinds(reader.layer for value in stage.outputs for reader in look.readers(value)) or set()
    executed = look.number(stage, "theta")
    claim = _of_kind(look.facts.get("position.rope.theta"), kinds)
    if claim is None and executed is None:
        return "the base of its frequencies is not known"
    theta = Said(claim, claimed=True) if claim is not None else look.usual(executed, 10000.0)
    scaling = _of_kind(look.facts.get("position.rope.scaling"), kinds)
    if scaling is None and look.number(stage, "scaling") not in ("default", None):
        return "a scaling of the frequencies that nobody claims"
    found = {"theta": theta, "dim": _dim(look, what, kinds)}
    return found if scaling is None else _scaled(found, scaling)


def _dim(look: Look, what: Turned, kinds: Iterable[str]) -> Said:
    """How many elements turn. Where a config says it twice, what agrees counts."""
    claim = look.facts.get("position.rope.dim")
    fraction, width = _of_kind(look.facts.get("position.rope.fraction"), kinds), look.facts.get("attention.head_dim")
    if isinstance(fraction, (int, float)) and isinstance(width, int):
        stated = int(width * fraction)
        if stated + stated % 2 == what.size:
            return Said(stated, claimed=True)
    if isinstance(claim, int):
        return Said(claim, claimed=True)
    return look.usual(what.size, None if fraction else what.width)


def _scaled(found: dict[str, Said], scaling: Plain) -> dict[str, Said] | str:
    assert isinstance(scaling, tuple)
    kind, *factors = scaling
    if kind == "default":
        return found
    pairs = {str(pair[0]): pair[1] for pair in factors if isinstance(pair, tuple) and len(pair) == 2}
    strange = pairs.keys() - _KEYS.keys()
    if kind not in KINDS or strange or kind == "dynamic" or (kind == "longrope" and "factor" not in pairs):
        return f"no reference for {kind} rotations with {', '.join(sorted(strange)) or 'these numbers'}"
    numbers = {_KEYS[key]: Said(value, claimed=True) for key, value in pairs.items() if value is not None}
    return {**found, "kind": Said(kind, claimed=True), **numbers}


def _of_kind(claim: Plain, kinds: Iterable[str]) -> Plain:
    """A claim, or of claims for each kind of layer the one for all these kinds."""
    if not isinstance(claim, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in claim):
        return claim
    if claim and isinstance(claim[0], tuple) and claim[0][0] in _SCALARS:
        return claim
    found = {pair[1] for pair in claim if isinstance(pair, tuple) and pair[0] in set(kinds)}
    return found.pop() if len(found) == 1 else None


_SCALARS = frozenset(KINDS)

# rotations


def rope(look: Look, stage: Stage) -> Reading:
    """Pairs of elements turned by the tables."""
    found = [one for one in look.graph.naming.ropes if not set(stage.ops).isdisjoint(one.ops)]
    if len(found) != 1 or not set(found[0].ops) <= set(stage.ops):
        return "several rotations in one" if len(found) > 1 else "a rotation that runs over into other parts"
    one = found[0]
    what = turned(look.flow, one)
    if what is None or what.layout not in ("half", "interleaved"):
        return "a rotation that could not be followed"
    outside = [op for op in look.graph.ops(stage) if op.id not in one.ops and look.flow.live[op.id]]
    if any(op.name in TURNING or look.flow.kind[op.id] not in ("view", "plumb") for op in outside):
        return "a rotation with more around it"
    drafts, x = _entering(look, stage, one.source)
    if x is None:
        return "what it turns is prepared in a way that is not known"
    return _turn(look, stage, one, what, drafts, x)


def _entering(look: Look, stage: Stage, source: int) -> tuple[list[Draft], Tensorlike | None]:
    if source in stage.inputs:
        return [], look.read(source)
    for value in look.acts(stage):
        found = places(look, stage, value, source)
        if found is not None and handed_on(found) and found.numel() == look.flow.size(value):
            return shaped(look, value, look.shape(source))
    return [], None


def _turn(look: Look, stage: Stage, one: Rope, what: Turned, drafts: list[Draft], x: Tensorlike) -> Reading:
    dims = what.size if what.size != what.width else None
    tables = _tables(look, one)
    read: list[Tensorlike] = []
    for value in tables:
        border = look.border(stage, value)
        if border is None:
            return "its tables are prepared in a way that is not known"
        more, tensor = shaped(look, border, look.shape(value), len(drafts))
        drafts = [*drafts, *more]
        read.append(tensor)
    if len(read) == 1:
        return [*drafts, draft(rotate_complex, x_BHSK=x, table_B1SF=read[0], dims=dims)]
    if len(read) != 2:
        return "which of its tables are cosines could not be told"
    names = {look.flow.ops[index].name for index in one.ops}
    into = "half" if what.layout == "interleaved" and not names & {"stack", "setitem", "view_as_real"} else None
    cos, sin = read
    start = _start(look, one, what)
    if start is None:
        return "which elements it turns could not be told"
    backwards = Said(True, claimed=False) if _is_backwards(look, one, what) else None
    layout = Said(what.layout, claimed=_is_usual(look, what))
    how: dict[str, Said | Plain] = {"start": start or None, "into": into, "backwards": backwards}
    how = {name: value for name, value in how.items() if value is not None}
    function = rotate_part if how else rotate
    tensors = {"x_BHSK": x, "cos_B1SR": cos, "sin_B1SR": sin}
    return [*drafts, draft(function, **tensors, layout=layout, dims=dims, **how)]


def _start(look: Look, one: Rope, what: Turned) -> int | None:
    """The first of the elements that are turned, in the vector that enters the rotation."""
    if what.size == what.width:
        return 0
    flow, firsts = look.flow, set()
    for index in one.ops:
        op = flow.ops[index]
        if op.name == "mul" and len(flow.act_inputs(op)) == 1 and not _is_turned(look, flow.act_inputs(op)[0], one):
            found = between(look, one.ops, one.source, flow.act_inputs(op)[0])
            firsts.add(-1 if found is None else int(found.min()))
    return min(firsts) if firsts and -1 not in firsts else None


def _is_backwards(look: Look, one: Rope, what: Turned) -> bool:
    """Whether the first of each pair is what is negated, and not the second."""
    for index in one.ops:
        op = look.flow.ops[index]
        if op.name != "neg" or not op.inputs or not look.flow.on_act(op.inputs[0]):
            continue
        found = between(look, one.ops, one.source, op.inputs[0])
        if found is not None:
            first = int(found.min()) - (_start(look, one, what) or 0)
            return first < what.size // 2 if what.layout == "half" else first % 2 == 0
    return False


def _is_usual(look: Look, what: Turned) -> bool:
    """Nothing in a config says which elements are paired, and the papers differ from the code."""
    return look.facts.get("position.rope.layout") == what.layout


def _tables(look: Look, one: Rope) -> list[int]:
    """Cosines, then sines: what a product is taken from is cosines times the first of a pair; what is turned round
    before it is multiplied meets sines. One complex table holds both.
    """
    flow = look.flow
    products = {}
    for index in one.ops:
        op = flow.ops[index]
        acts = [value for value in op.inputs if flow.on_act(value)]
        others = [value for value in op.inputs if not flow.on_act(value) and flow.rank(value) >= 2]
        if op.name == "mul" and len(acts) == 1 and len(others) == 1:
            products[op.outputs[0]] = (acts[0], others[0])
    if len(products) == 1:
        return [table for _, table in products.values()]
    for index in one.ops:
        op = flow.ops[index]
        if op.name == "sub" and len(op.inputs) == 2 and all(flow.through(value) in products for value in op.inputs):
            cos, sin = (products[flow.through(value)][1] for value in op.inputs)
            return [cos, sin]
    plain = [table for act, table in products.values() if not _is_turned(look, act, one)]
    round_ = [table for act, table in products.values() if _is_turned(look, act, one)]
    return [plain[0], round_[0]] if len(set(plain)) == 1 == len(set(round_)) else []


def _is_turned(look: Look, value: int, one: Rope) -> bool:
    """Whether a factor is joined of parts, one of them negated."""
    inside = set(one.ops)
    stack, names = [value], set()
    while stack:
        op = look.flow.maker(stack.pop())
        if op is not None and op.id in inside:
            names.add(op.name)
            stack.extend(item for item in op.inputs if look.flow.on_act(item))
    return bool(names & {"cat", "stack", "roll", "flip"})


# biases


def alibi(look: Look, stage: Stage) -> Reading:
    """Slopes of the heads times the places of the keys."""
    batch = look.graph.trace.scenario.batch
    keys = [value for value in stage.inputs if look.shape(value)[:1] == (batch,) and len(look.shape(value)) > 1]
    if len(keys) != 1 or not stage.outputs or "pow" not in {op.name for op in look.live(stage)}:
        return "slopes that are made in a way that is not known"
    heads = look.said("attention.heads", look.flow.size(stage.outputs[0]) // look.flow.size(keys[0]))
    shape = look.shape(keys[0])
    drafts, read = shaped(look, keys[0], (math.prod(shape[:-1]), shape[-1]))
    return [*drafts, draft(positions.alibi_of_places, places_BT=read, heads=heads)]


def relative_bias(look: Look, stage: Stage) -> Reading:
    """The row of a learned table for the bucket of each distance (Raffel et al. 2020)."""
    tables = [value for value in stage.parameters if look.values[value].kind == "parameter"]
    shapes = {look.shape(value) for value in stage.outputs}
    names = {op.name for op in look.live(stage)}
    if len(tables) != 1 or stage.inputs or "log" not in names or "embedding" not in names or len(shapes) != 1:
        return "a bias that is made in a way that is not known"
    (shape,) = shapes
    if len(shape) != 4 or look.shape(tables[0])[-1] != shape[1]:
        return "a bias of other axes"
    farthest = _farthest(look, stage)
    both = Said("abs" in names, claimed=False)
    past = look.graph.trace.scenario.past if shape[2] != shape[3] else 0
    return [
        draft(
            positions.relative_bias,
            table_NH=look.read(tables[0]),
            queries=shape[2],
            keys=shape[3],
            bidirectional=both,
            farthest=Said(farthest, claimed=False),
            past=past,
        )
    ]


def _farthest(look: Look, stage: Stage) -> int:
    """From the logarithm that distances are divided by: log(farthest / exact)."""
    buckets = next(look.shape(value)[0] for value in stage.parameters if look.values[value].kind == "parameter")
    both = "abs" in {op.name for op in look.live(stage)}
    exact = buckets // 4 if both else buckets // 2
    numbers = [op.attribute("other") for op in look.live(stage) if op.name == "div"]
    logs = [number for number in numbers if isinstance(number, float) and number < 20]
    return round(exact * math.exp(logs[0])) if logs else 128
