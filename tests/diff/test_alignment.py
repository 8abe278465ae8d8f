"""Matching by hand-made stages: which rule matches what, and in which order the rows come."""

from __future__ import annotations

from itertools import pairwise

from inspector.alignment.align import align
from inspector.alignment.blocks import paired
from inspector.alignment.order import merged
from inspector.alignment.parts import Match, Part, Scope, Side
from inspector.records import ModelInfo, Scenario


def part(name: str, **more) -> Part:
    """`attention.rope.k`, fed by and read by what is said."""
    pieces = name.split(".")
    return Part(f"0.{name}", ".".join(pieces[:2]), pieces[2] if len(pieces) > 2 else "", **more)


def matched(a: list[Part], b: list[Part]) -> list[tuple[list[str], list[str]]]:
    one, two = (
        Side(ModelInfo("m", None, "M", 0, 0), Scenario(), (Scope("block", tuple(side), (0,), "0"),)) for side in (a, b)
    )
    ((_, _, matches),) = align(one, two)
    return [([mate.name for mate in match.a], [mate.name for mate in match.b]) for match in matches]


def parts(*names: str) -> list[Part]:
    return [part(name) for name in names]


def test_one_name_matches_whatever_stands_between():
    assert matched(parts("mlp.up_proj", "mlp.activation"), parts("mlp.up_proj", "mlp.sub_norm", "mlp.activation")) == [
        (["mlp.up_proj"], ["mlp.up_proj"]),
        ([], ["mlp.sub_norm"]),
        (["mlp.activation"], ["mlp.activation"]),
    ]


def test_an_operand_tells_stages_of_one_role_apart():
    assert matched(parts("attention.rope.q", "attention.rope.k"), parts("attention.rope.k")) == [
        (["attention.rope.q"], []),
        (["attention.rope.k"], ["attention.rope.k"]),
    ]


def test_three_projections_are_one():
    several = parts("attention.q_proj.q", "attention.k_proj.k", "attention.v_proj.v")

    assert matched(several, parts("attention.qkv_proj", "attention.split_qkv")) == [
        (
            ["attention.q_proj.q", "attention.k_proj.k", "attention.v_proj.v"],
            ["attention.qkv_proj", "attention.split_qkv"],
        )
    ]


def test_two_projections_of_a_gate_are_one():
    assert matched(parts("mlp.up_gate_proj", "mlp.split_up_gate"), parts("mlp.gate_proj", "mlp.up_proj")) == [
        (["mlp.up_gate_proj", "mlp.split_up_gate"], ["mlp.gate_proj", "mlp.up_proj"])
    ]


def test_a_plain_up_projection_is_no_fused_one():
    """The control: without a fused weight on either side there is no form."""
    assert matched(parts("mlp.up_proj"), parts("mlp.gate_proj", "mlp.up_proj")) == [
        ([], ["mlp.gate_proj"]),
        (["mlp.up_proj"], ["mlp.up_proj"]),
    ]


def test_self_and_cross_attention_do_not_mix():
    assert matched(parts("attention.qkv_proj"), parts("cross_attention.q_proj.q", "cross_attention.k_proj.k")) == [
        (["attention.qkv_proj"], []),
        ([], ["cross_attention.q_proj.q"]),
        ([], ["cross_attention.k_proj.k"]),
    ]


def test_a_norm_that_moved_is_one_row():
    a = parts("attention.scores", "attention.residual", "attention.post_norm")
    b = parts("attention.norm", "attention.scores", "attention.residual")

    assert (["attention.post_norm"], ["attention.norm"]) in matched(a, b)


def test_a_second_norm_is_no_move():
    """The norm before the sublayer is there on both sides; the one after it is new."""
    a, b = parts("attention.norm", "attention.post_norm"), parts("attention.norm")

    assert matched(a, b) == [(["attention.norm"], ["attention.norm"]), (["attention.post_norm"], [])]


def test_a_norm_of_another_sublayer_is_no_move():
    assert matched(parts("mlp.post_norm"), parts("attention.norm")) == [
        (["mlp.post_norm"], []),
        ([], ["attention.norm"]),
    ]


def test_experts_take_the_place_of_a_feed_forward():
    a, b = parts("mlp.norm", "mlp.down_proj"), parts("moe.norm", "moe.router", "moe.expert_down")

    assert matched(a, b) == [
        (["mlp.norm"], ["moe.norm"]),
        ([], ["moe.router"]),
        (["mlp.down_proj"], ["moe.expert_down"]),
    ]


def test_of_several_with_one_name_the_surroundings_decide():
    """One dropout here, two there: the one after the softmax is the one after the softmax."""
    here = [part("attention.dropout", feeds=("attention.o_proj",), idle=True)]
    there = [
        part("attention.dropout", feeds=("attention.softmax",), idle=True),
        Part("0.attention.dropout.2", "attention.dropout", feeds=("attention.o_proj",), idle=True),
    ]

    ((one, two),) = [
        (match.a[0].id, match.b[0].id)
        for _, _, matches in align(*(_side(parts) for parts in (here, there)))
        for match in matches
        if match.a and match.b
    ]
    assert (one, two) == ("0.attention.dropout", "0.attention.dropout.2")


def _side(inside: list[Part]) -> Side:
    return Side(ModelInfo("m", None, "M", 0, 0), Scenario(), (Scope("block", tuple(inside), (0,), "0"),))


def test_what_has_no_name_in_common_is_matched_by_ops_and_neighbours():
    here = [part("layout.cast", spelling="to", feeds=("x",), readers=("y",))]
    there = [part("layout.reshape", spelling="to", feeds=("x",), readers=("y",))]
    far = [part("layout.reshape", spelling="to", feeds=("v",), readers=("w",))]

    assert len(matched(here, there)) == 1
    assert len(matched(here, far)) == 2


def test_rows_of_both_sides_come_in_dataflow_order():
    a, b = parts("s.1", "s.2", "s.4"), parts("s.1", "s.3", "s.4")
    matches = [
        Match((a[0],), (b[0],), "", 1),
        Match((a[2],), (b[2],), "", 1),
        Match((a[1],), (), "", 0),
        Match((), (b[1],), "", 0),
    ]

    ordered = merged(a, b, matches)
    assert [(match.a or match.b)[0].path for match in ordered] == ["s.1", "s.2", "s.3", "s.4"]


def scope(layers: tuple[int, ...], *names: str) -> Scope:
    return Scope("block", tuple(parts(*names)), layers, str(layers))


DENSE = ("attention.scores", "mlp.up_proj", "mlp.down_proj")
SPARSE = ("attention.scores", "moe.router", "moe.expert_down")
STATE = ("ssm.conv", "ssm.scan", "ssm.gate", "ssm.out_proj")


def places(a: list[Scope], b: list[Scope]) -> list[tuple[int | None, int | None]]:
    return [(a.index(x) if x else None, b.index(y) if y else None) for x, y, _ in paired(a, b)]


def test_kinds_of_block_are_paired_by_what_they_are_made_of():
    """Whatever their number and order."""
    a = [scope((0,), *DENSE), scope((1, 2, 3), *SPARSE)]
    b = [scope((0, 1), *SPARSE), scope((2,), *DENSE)]

    assert places(a, b) == [(0, 1), (1, 0)]


def test_one_kind_is_compared_with_both_kinds_of_the_other():
    a, b = [scope((0,), *DENSE)], [scope((0,), *DENSE), scope((1,), *DENSE[:2], "mlp.sub_norm")]

    assert places(a, b) == [(0, 0), (0, 1)]
    assert places(b, a) == [(0, 0), (1, 0)]


def test_a_kind_without_a_counterpart_stays_alone():
    assert places([scope((0,), *STATE), scope((1,), *DENSE)], [scope((0,), *DENSE)]) == [(1, 0), (0, None)]


def chain(*names: str) -> list[Part]:
    """Each stage fed by the one before; views between them compute nothing."""
    made = [part(names[0], maths=(("kind", names[0]),))]
    for before, name in pairwise(names):
        maths = () if name.endswith("split_heads") else (("kind", name),)
        made.append(part(name, feeds=(before,), maths=maths))
    return made


def moved(a: list[Part], b: list[Part]) -> set[str]:
    one, two = (
        Side(ModelInfo("m", None, "M", 0, 0), Scenario(), (Scope("block", tuple(side), (0,), "0"),)) for side in (a, b)
    )
    ((_, _, matches),) = align(one, two)
    return {match.a[0].name for match in matches if match.moved}


def test_two_stages_in_the_other_order_are_moved_on_either_side():
    norm_first = chain("ssm.scan", "ssm.sub_norm", "ssm.split_heads", "ssm.gate", "ssm.out_proj")
    gate_first = chain("ssm.scan", "ssm.gate", "ssm.sub_norm", "ssm.out_proj")

    assert moved(norm_first, gate_first) == moved(gate_first, norm_first) == {"ssm.sub_norm", "ssm.gate"}
    assert moved(norm_first, norm_first) == set()


def test_stages_side_by_side_may_come_in_any_order():
    first, last = part("attention.norm", maths=(("kind", "rms"),)), "attention.scores"
    one, two = (part(f"attention.{tag}_norm.{tag}", maths=(("eps", 0.1),), feeds=(first.name,)) for tag in "qk")
    end = part(last, feeds=(one.name, two.name))

    assert moved([first, one, two, end], [first, two, one, end]) == set()
