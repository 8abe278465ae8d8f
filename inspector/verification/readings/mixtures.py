"""Mixtures of experts, step by step."""

from __future__ import annotations

__all__ = ["combine", "dispatch", "expert_map", "router_score", "top_k"]

import math
from typing import NamedTuple

from inspector.records import Op
from inspector.reference import experts
from inspector.reference.activations import activate
from inspector.reference.attention import scale as scaled
from inspector.reference.feedforward import add
from inspector.reference.layout import pieces
from inspector.reference.projections import split_gate_up
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.heads import split_heads
from inspector.verification.readings.look import Draft, Flowing, Inner, Leaf, Look, Reading, Said, draft
from inspector.verification.readings.moving import handed_on, moves
from inspector.verification.readings.shapes import shaped


def router_score(look: Look, stage: Stage) -> Reading:
    """Probabilities, affinities, or shares of one."""
    acts = look.acts(stage)
    names = [op.name for op in look.live(stage)]
    if len(acts) != 1 or stage.parameters:
        return "scores of several values"
    x = look.read(acts[0])
    if names == ["softmax"]:
        return [draft(experts.probabilities, logits_NE=x)]
    if names == ["sigmoid"]:
        return [draft(activate, x=x, kind=Said("sigmoid", claimed=_says(look, "sigmoid")))]
    if names[:1] == ["sum"] and set(names) <= {"sum", "div", "add", "mul"}:
        added, times = (_number(look, stage, name) for name in ("add", "mul"))
        eps = None if added is None else Said(added, claimed=False)
        factor = None if times is None else look.said("moe.scale", times, 1.0)
        return [draft(experts.shares, weights_NA=x, eps=eps, factor=factor)]
    if names == ["mul"] and (times := _number(look, stage, "mul")) is not None:
        return [draft(scaled, scores_BHST=x, factor=look.said("moe.scale", times, 1.0))]
    return f"scores made by {' '.join(names)}"


def _says(look: Look, router: str) -> bool:
    return look.facts.get("moe.router") == router


def _number(look: Look, stage: Stage, name: str) -> float | None:
    for op in look.live(stage):
        number = op.attribute("other") if op.name == name else None
        if isinstance(number, (int, float)):
            return float(number)
    return None


def top_k(look: Look, stage: Stage) -> Reading:
    """The best of the scores, and whose they are."""
    acts = look.acts(stage)
    if len(acts) != 1 or [op.name for op in look.live(stage)] != ["topk"]:
        return "experts chosen in another way"
    op = look.live(stage)[0]
    drafts, scores = shaped(look, acts[0], look.shape(op.inputs[0]))
    executed = look.number(stage, "k")
    active = look.said("moe.active", executed) if _is_last_choice(look, stage) else Said(executed, claimed=False)
    whose = op.outputs[1]
    if whose in stage.outputs and look.shape(whose) == (*look.shape(op.inputs[0])[:-1], executed):
        return [*drafts, draft(experts.chosen, scores_NE=scores, experts_NA=look.read(whose), active=active)]
    if op.attribute("sorted") is False:
        return "the best of its scores in no order"
    return [*drafts, draft(experts.choose, scores_NE=scores, active=active)]


def _is_last_choice(look: Look, stage: Stage) -> bool:
    """Whether it chooses among all experts: before it, other numbers of groups and of each group's best are taken.

    Groups are fewer than experts, so it is the widest, and the last of those.
    """
    widths = {}
    for other in look.beside(stage, stage.path):
        (shape,) = {look.shape(op.inputs[0]) for op in look.live(other) if op.name == "topk"} or {()}
        if len(shape) == 2:
            widths[other.index] = shape[-1]
    return stage.index == max(widths, key=lambda index: (widths[index], index), default=None)


def dispatch(look: Look, stage: Stage) -> Reading:
    """Copies of tokens, and what belongs to the chosen experts."""
    names = [op.name for op in look.live(stage)]
    acts = look.acts(stage)
    if names == ["repeat_interleave"] and len(acts) == 1:
        grown, size = look.flow.size(stage.outputs[0]), look.flow.size(acts[0])
        drafts, x = shaped(look, acts[0], (size // look.shape(acts[0])[-1], look.shape(acts[0])[-1]))
        return [*drafts, draft(experts.copies, x_ND=x, active=look.said("moe.active", grown // size))]
    if names and set(names) == {"getitem"} and len(acts) == 1 and stage.parameters:
        return _picked(look, stage, acts[0])
    if "sort" in names:
        return _sorted(look, stage, acts)
    if names == ["sum"] and len(acts) == 1 and look.live(stage)[0].attribute("dim") in (-1, 2):
        return [draft(experts.score_of_groups, best_NGA=look.read(acts[0]))]
    if "scatter" in names and "masked_fill" in names and len(acts) == 2:
        return _of_groups(look, stage, names, *_scores_and_choice(look, acts))
    if names[:1] == ["gather"] and len(acts) == 2:
        return _weights(look, stage, names, *_scores_and_choice(look, acts))
    if len(acts) == 1 and (found := moves(look, stage, acts[0])) is not None and all(map(handed_on, found.values())):
        return split_heads(look, stage)
    return f"tokens are sent by {' '.join(names)}"


def _scores_and_choice(look: Look, acts: list[int]) -> tuple[int, int]:
    one, two = acts
    return (one, two) if look.values[two].dtype.startswith("int") else (two, one)


def _of_groups(look: Look, stage: Stage, names: list[str], scores: int, choice: int) -> Reading:
    """What belongs to experts of the chosen groups (DeepSeek-V3): ones are written where a group is chosen."""
    live = {op.name: op for op in look.live(stage)}
    written, hidden = live["scatter"].attribute("src"), live["masked_fill"].attribute("value")
    known = sorted(names) == ["bitwise_not", "masked_fill", "scatter", "zeros_like"] and written == 1
    groups = look.shape(live["scatter"].outputs[0])[-1]
    if not known or not isinstance(hidden, float) or len(look.shape(scores)) != 2 or look.shape(scores)[-1] % groups:
        return f"tokens are sent by {' '.join(names)}"
    tensors = {"scores_NE": look.read(scores), "groups_NA": look.read(choice)}
    said = look.usual(hidden, -math.inf)
    return [draft(experts.within_groups, **tensors, count=groups, hidden=said)]


def _weights(look: Look, stage: Stage, names: list[str], scores: int, choice: int) -> Reading:
    """The scores of the chosen experts; then their shares of one; then those times a number."""
    drafts = [draft(experts.scores_of, scores_NE=look.read(scores), experts_NA=look.read(choice))]
    rest = names[1:]
    if rest[:1] == ["sum"]:
        added = _number(look, stage, "add") if rest[:3] == ["sum", "add", "div"] else None
        rest = rest[3:] if added is not None else rest[2:] if rest[1:2] == ["div"] else ["sum"]
        eps = None if added is None else Said(added, claimed=False)
        drafts.append(draft(experts.shares, weights_NA=Inner(0), eps=eps))
    factor = _number(look, stage, "mul")
    if rest == ["mul"] and factor is not None:
        said = look.said("moe.scale", factor, 1.0)
        drafts.append(draft(scaled, scores_BHST=Inner(len(drafts) - 1), factor=said))
    return drafts if rest in ([], ["mul"]) else f"tokens are sent by {' '.join(names)}"


def _sorted(look: Look, stage: Stage, acts: list[int]) -> Reading:
    """Tokens sorted by their experts, with their weights and the way back."""
    choice = [value for value in acts if look.values[value].dtype.startswith("int")]
    rest = sorted((value for value in acts if value not in choice), key=look.flow.size)
    names = {op.name for op in look.live(stage)}
    tables = [look.read(value) for value in stage.parameters if look.values[value].kind == "parameter"]
    if len(choice) != 1 or len(rest) != 2 or len(tables) > 2 or not names <= _SORTING:
        return f"tokens are sent by {' '.join(sorted(names))}"
    ends = [value for value in stage.outputs if look.values[value].dtype == "int32"]
    whole = [value for value in stage.outputs if look.values[value].dtype == "int64"]
    back = [value for value in whole if (op := look.flow.maker(value)) is None or op.name != "sort"]
    if len(ends) != 1 or len(back) != 1 or look.flow.size(rest[0]) != look.flow.size(choice[0]):
        return "experts of which it is not known how many tokens they get"
    count = look.said("moe.experts", look.shape(ends[0])[0])
    drafts, x = shaped(look, rest[1], (look.flow.size(rest[1]) // look.shape(rest[1])[-1], look.shape(rest[1])[-1]))
    tensors = {"x_ND": x, "weights_NA": look.read(rest[0]), "experts_NA": look.read(choice[0])}
    tensors |= {"back_M": look.read(back[0]), **dict(zip(("first_E", "second_E"), tables, strict=False))}
    whose = True if len(whole) > len(back) else None
    return [*drafts, draft(experts.sorted_by_expert, **tensors, count=count, whose=whose)]


_SORTING = frozenset("sort argsort floordiv getitem histc cumsum empty_like arange setitem".split())


def _picked(look: Look, stage: Stage, choice: int) -> Reading:
    """Rows of several tables by one choice: as many calls, the last of which gives all."""
    tables = [look.read(value) for value in stage.parameters if look.values[value].kind == "parameter"]
    if len(tables) > 4 or not look.values[choice].dtype.startswith("int"):
        return "more tables than are known here"
    return [draft(experts.of_chosen, experts_NA=look.read(choice), **dict(zip(_TABLES, tables, strict=False)))]


_TABLES = ("first_E", "second_E", "third_E", "fourth_E")


def expert_map(look: Look, stage: Stage) -> Reading:
    """Each row by the matrix of its expert."""
    product = [op for op in look.live(stage) if op.name in ("bmm", "matmul")]
    grouped = [op for op in look.live(stage) if op.name == "grouped_mm"]
    if len(grouped) == 1:
        return _grouped(look, stage, grouped[0])
    if len(product) != 1:
        return f"experts that run as {' '.join(op.name for op in look.live(stage))}"
    picks = _picks(look, stage)
    inputs = [value for value in stage.inputs if 0 not in look.shape(value)]
    whole = [*inputs, *picks.made] if picks else inputs
    matrix = next((value for value in whole if len(look.shape(value)) == 3 and 1 not in look.shape(value)), None)
    rest = [value for value in whole if value != matrix and not (picks and value == picks.choice)]
    if matrix is None or not rest:
        return "the matrices of its experts are not known"
    return _mapped(look, stage, matrix, rest, picks)


class _Picks(NamedTuple):
    """Rows of tables of weights, taken inside a stage by one choice. made: value -> which of the tables it is of."""

    choice: int
    tables: list[int]
    made: dict[int, int]


def _picks(look: Look, stage: Stage) -> _Picks | None:
    """What a stage takes for each row: the matrix of its expert, and its bias."""
    found: list[tuple[int, int, int]] = []
    for op in look.live(stage):
        if op.name == "getitem" and len(op.inputs) == 2 and look.values[op.inputs[1]].dtype.startswith("int"):
            table, choice = look.border_of_weight(stage, op.inputs[0]), look.border(stage, op.inputs[1])
            if table != op.inputs[0] or choice is None:
                return None
            found.append((op.outputs[0], table, choice))
    if len({choice for *_, choice in found}) != 1:
        return None
    tables = list(dict.fromkeys(table for _, table, _ in found))
    made = {value: tables.index(table) for value, table, _ in found}
    return _Picks(found[0][2], tables, made) if len(tables) <= 4 else None


def _taken(look: Look, picks: _Picks | None) -> tuple[list[Draft], dict[int, Inner]]:
    """The call that takes them, and which of its outputs each value is."""
    if picks is None:
        return [], {}
    tensors = dict(zip(_TABLES, map(look.read, picks.tables), strict=False))
    taken = draft(experts.of_chosen, experts_NA=look.read(picks.choice), **tensors)
    return [taken], {value: Inner(0, place) for value, place in picks.made.items()}


def _grouped(look: Look, stage: Stage, op: Op) -> Reading:
    """The rows up to each expert's end by its matrix."""
    picks = _picks(look, stage)
    names = [one.name for one in look.live(stage) if picks is None or picks.made.keys().isdisjoint(one.outputs)]
    ends = dict(op.operands).get("offs")
    matrix, x = look.border_of_weight(stage, op.inputs[1]), look.border(stage, op.inputs[0])
    added = [*picks.made] if picks else [value for value in stage.inputs if value not in (ends, x, matrix)]
    plain = not set(names) - {"grouped_mm", "add", "chunk", "split", "getitem"} and bool(added) == ("add" in names)
    if ends not in stage.inputs or matrix is None or x is None or len(added) > 1 or not plain:
        return f"experts that run as {' '.join(names)}"
    one, two = look.shape(matrix)[1:]
    layout = _layout((one, two), look.shape(x)[-1])
    tensors = {"x_MI": look.read(x), "weight_EOI": look.read(matrix), "ends_E": look.read(ends)}
    drafts, known = _taken(look, picks)
    drafts.append(draft(experts.grouped_linear, **tensors, layout=layout))
    drafts += [draft(add, residual=Inner(len(drafts) - 1), x=known.get(value) or look.read(value)) for value in added]
    return [*drafts, *_cut(look, stage, Inner(len(drafts) - 1), names, look.shape(op.outputs[0])[-1])]


def _mapped(look: Look, stage: Stage, matrix: int, rest: list[int], picks: _Picks | None) -> Reading:
    rows, one, two = look.shape(matrix)
    biases = [value for value in rest if _is_bias(look, stage, value)]
    x = next((value for value in rest if value not in biases), None)
    if x is None or len(biases) > 1 or len(rest) - len(biases) != 1 or look.flow.size(x) % rows:
        return "what enters its experts is not known"
    width = look.flow.size(x) // rows
    layout = _layout((one, two), width)
    drafts, known = _taken(look, picks)
    names = [op.name for op in look.live(stage) if known.keys().isdisjoint(op.outputs)]
    more, read = shaped(look, x, (rows, width), len(drafts))
    weight = known.get(matrix) or look.read(matrix)
    drafts += [*more, draft(experts.expert_linear, x_MI=read, weight_MOI=weight, layout=layout)]
    drafts += [draft(add, residual=Inner(len(drafts) - 1), x=known.get(value) or look.read(value)) for value in biases]
    return [*drafts, *_cut(look, stage, Inner(len(drafts) - 1), names, one if width == two else two)]


def _is_bias(look: Look, stage: Stage, value: int) -> bool:
    adds = [op for op in look.live(stage) if op.name == "add"]
    return any(item == value or look.border(stage, item) == value for op in adds for item in op.inputs)


def _layout(axes: tuple[int, int], width: int) -> Said:
    """Said by the shape where the matrices are not square."""
    one, two = axes
    if one != two:
        return Said("out_in" if two == width else "in_out", claimed=True)
    return Said("out_in", claimed=False)


def _cut(look: Look, stage: Stage, whole: Inner, names: list[str], width: int) -> list[Draft]:
    """Gate and up apart, by halves or by turns."""
    if "chunk" in names or "split" in names:
        return [draft(split_gate_up, x=whole, layout=Said("halves", claimed=False))]
    if names.count("getitem") == 2:
        return [draft(split_gate_up, x=whole, layout=Said("interleaved", claimed=False))]
    if names.count("getitem") == 1 and stage.outputs:
        size = look.shape(stage.outputs[0])[-1]
        return [draft(pieces, x=whole, bounds=Said(((0, size, 1), (width - size, width, 1)), claimed=False))]
    return []


def combine(look: Look, stage: Stage) -> Reading:
    """The answers weighed and added up, those of all times a number, and the shared expert's beside them."""
    names = [op.name for op in look.live(stage)]
    inputs = [value for value in stage.inputs if 0 not in look.shape(value)]
    back = [value for value in inputs if look.values[value].dtype.startswith("int")]
    inputs = [value for value in inputs if value not in back]
    plain = [name for name in names if name != "getitem"]
    factor = _number(look, stage, "mul") if plain[2:3] == ["mul"] else None
    rest = plain if factor is None else [*plain[:2], *plain[3:]]
    if rest not in (["mul", "sum"], ["mul", "sum", "add"]) or len(inputs) != len(rest) or len(back) > 1:
        return f"answers that are combined by {' '.join(names)}"
    weighed = next(op for op in look.live(stage) if op.name == "mul")
    sides = [side for value in weighed.inputs if (side := look.border(stage, value)) is not None]
    if len(set(sides)) != 2:
        return "answers and weights that are prepared in a way that is not known"
    answers, weights = sorted(sides, key=look.flow.size, reverse=True)
    shared = next((value for value in inputs if value not in sides), None)
    rows = look.flow.size(weights)
    width = look.flow.size(answers) // rows
    tokens = look.flow.size(stage.outputs[0]) // width
    drafts, read = shaped(look, answers, (rows, width))
    more = None if shared is None else look.read(shared)
    active = look.said("moe.active", rows // tokens)
    tensors = {"answers_MD": read, "weights_M": look.read(weights), "shared_ND": more if factor is None else None}
    if back:
        drafts.append(draft(experts.combine_sorted, **tensors, back_M=look.read(back[0]), active=active))
    else:
        drafts.append(draft(experts.combine, **tensors, active=active))
    return drafts if factor is None else [*drafts, *_scaled(look, Inner(len(drafts) - 1), factor, more)]


def _scaled(look: Look, answers: Inner, factor: float, shared: Flowing | Leaf | None) -> list[Draft]:
    """The sum times a number, and what is added to it only then."""
    drafts = [draft(scaled, scores_BHST=answers, factor=look.said("moe.scale", factor, 1.0))]
    if shared is not None:
        drafts.append(draft(add, residual=Inner(answers.place + 1), x=shared))
    return drafts
