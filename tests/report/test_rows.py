"""Which rows a report has, in which order, and what runs through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from inspector.render.document import Fold, Lane, Strip
from inspector.reporting.report_material import Material
from inspector.reporting.report_rows import rows

PAIRS = [("bert", "gpt2"), ("gpt2", "llama"), ("llama", "gemma2"), ("gpt_neox", "mixtral"), ("bert", "bart")]
TRIPLE = ("bert", "gpt2", "llama")


def strips(*items: Fold | Strip) -> Iterator[Strip]:
    for item in items:
        yield from strips(*item.items) if isinstance(item, Fold) else [item]


def parts(found: Material) -> dict[str, Strip]:
    return {strip.id: strip for strip in strips(*rows(found).folds)}


@pytest.mark.parametrize("names", [("gpt2",), *PAIRS, TRIPLE, ("gemma2", "llama", "mixtral")], ids="-".join)
def test_every_stage_of_every_model_has_a_box(names: tuple[str, ...], found: Callable[..., Material]) -> None:
    material = found(*names)
    drawn = list(strips(*rows(material).folds))

    for place, portrait in enumerate(material.portraits):
        boxes = [box for strip in drawn for box in strip.lanes[place].boxes]
        # A kind of block that stands beside two kinds of another model is drawn beside each.
        assert len(boxes) >= len(portrait.side.parts)
        if len(portrait.side.blocks) == 1 and all(len(each.side.blocks) == 1 for each in material.portraits):
            assert len(boxes) == len(portrait.side.parts)


@pytest.mark.parametrize("names", [*PAIRS, TRIPLE], ids="-".join)
def test_ids_are_unique_and_links_lead_somewhere(names: tuple[str, ...], found: Callable[..., Material]) -> None:
    drawn = list(strips(*rows(found(*names)).folds))
    ids = [strip.id for strip in drawn]

    assert len(ids) == len(set(ids))
    assert {mark.link for strip in drawn for pair in strip.marks for mark in pair if mark.link} <= set(ids)


def test_the_order_is_each_models_own(found: Callable[..., Material]) -> None:
    """Inside the blocks, where a stage feeds the next, no row stands above one it needs."""
    material = found(*TRIPLE)
    order = [strip.id for strip in strips(*rows(material).folds)]
    block = ["attention.qkv_proj", "attention.split_heads", "attention.rope", "attention.repeat_kv", "attention.scores"]
    block += ["attention.softmax", "attention.o_proj", "attention.residual", "mlp.up_proj", "mlp.residual"]

    assert sorted(block, key=order.index) == block


def test_queries_keys_and_values_are_lanes(found: Callable[..., Material]) -> None:
    row = parts(found(*TRIPLE))["attention.qkv_proj"]

    assert [[box.lane for box in lane.boxes] for lane in row.lanes] == [["q", "k", "v"], ["", ""], ["q", "k", "v"]]
    assert [lane.track for lane in row.lanes] == ["lanes", "one", "lanes"]


def test_what_moved_stands_at_both_places_and_says_where_the_other_is(found: Callable[..., Material]) -> None:
    drawn = parts(found("bert", "gpt2"))
    before, after = drawn["attention.norm"], drawn["attention.post_norm"]

    assert [bool(lane.boxes) for lane in before.lanes] == [False, True]
    assert [bool(lane.boxes) for lane in after.lanes] == [True, False]
    assert (before.marks[0][0].link, after.marks[0][0].link) == ("attention.post_norm", "attention.norm")


def test_a_box_is_painted_in_its_own_status(found: Callable[..., Material]) -> None:
    """Grouped heads change keys and values, not queries."""
    row = parts(found("gpt2", "llama"))["attention.split_heads"]

    assert [box.style for box in row.lanes[1].boxes] == ["renamed", "changed", "changed"]


@pytest.mark.parametrize(("name", "starts"), [("gpt2", ["attention.residual"]), ("bert", ["attention.post_norm"])])
def test_the_residual_line_runs_from_where_the_stream_is_left(
    name: str, starts: list[str], found: Callable[..., Material]
) -> None:
    """Of pre-norm from the last sum, of post-norm from the norm behind it; the first comes from above the block."""
    drawn = parts(found(name))
    skips = {id: strip.lanes[0].skip.split() for id, strip in drawn.items()}

    assert [id for id, skip in skips.items() if "start" in skip] == starts
    assert [id for id, skip in skips.items() if "end" in skip] == ["attention.residual", "mlp.residual"]
    assert skips["attention.softmax"] == skips["mlp.up_proj"] == ["pass"]


def test_equal_models_have_only_quiet_rows(found: Callable[..., Material]) -> None:
    drawn = list(strips(*rows(found("llama", "llama")).folds))

    assert drawn
    assert [strip.id for strip in drawn if not strip.quiet] == []


def test_a_closed_fold_lets_the_residual_line_pass(found: Callable[..., Material]) -> None:
    (block,) = [fold for fold in rows(found("bert", "gpt2")).folds if fold.title.startswith("block")]
    inner = [item for item in block.items if isinstance(item, Fold)]

    assert [fold.title for fold in inner] == ["attention", "mlp"]
    assert [fold.tracks for fold in inner] == [(Lane((), "one", skip="pass"),) * 2] * 2
