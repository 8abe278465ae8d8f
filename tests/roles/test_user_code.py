"""Code as people write it by hand: every op has a name too."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from inspector.fact_sheet.sheet import fact_sheet
from inspector.records import Scenario
from inspector.roles import infer
from inspector.shape_table.build import shape_table
from inspector.source import live_subject
from inspector.stage_graph import AxisNames, build
from inspector.stage_graph.attributes import attribute
from inspector.stage_graph.folded import folded_record
from inspector.stage_graph.masks import describe
from inspector.tracing import observe
from inspector.vocabulary import UNKNOWN

WIDTH, HEADS, VOCABULARY = 48, 4, 101
CPU = Scenario(device="cpu", dtype="float32", weights="random")


class Attention(nn.Module):
    """One fused projection, heads by view, softmax by hand or torch's kernel."""

    def __init__(self, fused):
        super().__init__()
        self.fused = fused
        self.a = nn.Linear(WIDTH, 3 * WIDTH)
        self.b = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.a(x).split(width, dim=2)
        q, k, v = (part.view(batch, length, HEADS, width // HEADS).transpose(1, 2) for part in (q, k, v))
        if self.fused:
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            hidden = torch.ones(length, length).tril().view(1, 1, length, length) == 0
            y = functional.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1) @ v
        return self.b(y.transpose(1, 2).contiguous().view(batch, length, width))


class Block(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.one, self.two = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mix = Attention(fused)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        x = x + self.mix(self.one(x))
        return x + self.down(functional.gelu(self.up(self.two(x))))


class HandWritten(nn.Module):
    def __init__(self, fused, normed=True):
        super().__init__()
        self.x, self.y = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(32, WIDTH)
        self.z = nn.ModuleList(Block(fused) for _ in range(3))
        self.w = nn.LayerNorm(WIDTH) if normed else nn.Identity()
        self.out = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens):
        h = self.x(tokens) + self.y(torch.arange(tokens.shape[1]))
        for block in self.z:
            h = block(h)
        return self.out(self.w(h))


def traced(fused, normed=True):
    torch.manual_seed(0)
    tokens = lambda b, s, p: (torch.randint(0, VOCABULARY, (b, s)),)  # noqa: E731 - it is the callable under test
    return observe(live_subject(HandWritten(fused, normed).eval(), tokens), CPU)


COMMON = [
    "embedding.token", "embedding.position", "embedding.add",
    "attention.norm", "attention.qkv_proj", "attention.split_qkv", "attention.split_heads",
    "attention.merge_heads", "attention.o_proj", "attention.residual",
    "mlp.norm", "mlp.up_proj", "mlp.activation", "mlp.down_proj", "mlp.residual",
    "head.norm", "head.lm_head",
]  # fmt: skip


@pytest.mark.parametrize(
    ("fused", "own"),
    [
        (True, {"attention.fused"}),
        (
            False,
            {
                "attention.scores",
                "attention.scale",
                "attention.mask",
                "attention.softmax",
                "attention.weighted_sum",
                "mask.build",
            },
        ),
    ],
)
def test_a_hand_written_decoder_is_named_whole(fused, own):
    trace = traced(fused)
    naming = infer(trace)
    found = {naming.parts[op.id].path for op in trace.ops}

    assert UNKNOWN not in found
    assert found - {"positions.ids"} == {*COMMON, *own}
    assert {naming.parts[op.id].layer for op in trace.ops} == {None, 0, 1, 2}


def test_without_a_final_norm_the_output_projection_is_no_part_of_the_last_block():
    rows = shape_table(traced(fused=True, normed=False)).rows

    assert [(row.section, row.layers) for row in rows if row.role == "lm_head"] == [("head", "")]
    assert {row.layers for row in rows} == {"", "0-2"}


def test_the_mask_that_each_block_makes_for_itself_has_the_axes_of_the_first():
    """The blocks are folded, and the masks stand outside them: each is named by the block that reads it."""
    trace = traced(fused=False)
    masks = [row.outputs[0].symbolic for row in shape_table(trace).rows if row.section == "mask"]
    nodes = [node.outputs[0].symbolic for node in folded_record(trace).nodes if node.section == "mask"]

    assert masks == nodes == ["(1, 1, S, T)"] * 3


def test_its_dimensions_solve():
    trace = traced(fused=False)

    assert not [text for texts in trace.symbols for text in texts if text.startswith("?")]


class Hand(nn.Module):
    """Attention in spellings that say the same, or nearly."""

    def __init__(self, spelling):
        super().__init__()
        self.spelling = spelling
        self.one, self.two, self.three, self.four = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (p(x).view(batch, length, HEADS, -1) for p in (self.one, self.two, self.three))
        return self.four(self.spelling(q, k, v).reshape(batch, length, width))


def keys_first(q, k, v):
    a = torch.einsum("bkhd,bqhd->bhqk", k, q).mul(0.3).softmax(-1)
    return torch.einsum("bhqk,bkhd->bqhd", a, v)


def keys_in_rows(q, k, v):
    a = (k.transpose(1, 2) @ q.transpose(1, 2).transpose(-1, -2)).mul(0.3).softmax(-2)
    return (a.transpose(-1, -2) @ v.transpose(1, 2)).transpose(1, 2)


def values_first(q, k, v):
    a = torch.einsum("bqhd,bkhd->bhqk", q, k).mul(0.3).softmax(-1)
    return torch.einsum("bkhd,bhqk->bqhd", v, a)


def plain(q, k, v):
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    return ((q @ k.transpose(-1, -2)).mul(0.3).softmax(-1) @ v).transpose(1, 2)


def in_two_pieces(q, k, v):
    """The first key apart from the others, as sparse attention does it: two products, one softmax, two sums."""
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    one, rest = (q @ part.transpose(-1, -2).mul(0.3) for part in (k[:, :, :1], k[:, :, 1:]))
    a = torch.cat([one, rest], -1).softmax(-1)
    return (a[..., :1] @ v[:, :, :1] + a[..., 1:] @ v[:, :, 1:]).transpose(1, 2)


def in_stretches(q, k, v):
    """The first query apart from the others, each with all heads."""
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    made = [(part @ k.transpose(-1, -2)).mul(0.3).softmax(-1) @ v for part in (q[:, :, :1], q[:, :, 1:])]
    return torch.cat(made, 2).transpose(1, 2)


def linear_attention(q, k, v):
    q, k = functional.elu(q) + 1, functional.elu(k) + 1
    return torch.einsum("bshd,bhdm->bshm", q, torch.einsum("bshd,bshm->bhdm", k, v))


class Residual(nn.Module):
    def __init__(self, spelling):
        super().__init__()
        self.table, self.norm, self.mix = nn.Embedding(VOCABULARY, WIDTH), nn.LayerNorm(WIDTH), Hand(spelling)
        self.last, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens):
        x = self.table(tokens)
        return self.out(self.last(x + self.mix(self.norm(x))))


def parts_of(spelling):
    trace = observe(
        live_subject(Residual(spelling).eval(), lambda b, s, p: (torch.zeros(b, s, dtype=torch.int64),)), CPU
    )
    naming = infer(trace)
    used = {
        trace.values[value].name: naming.parts[op.id].path
        for op in trace.ops
        for value in op.inputs
        if trace.values[value].kind == "parameter"
    }
    return trace, naming, used


@pytest.mark.parametrize("spelling", [plain, keys_first, keys_in_rows, values_first])
def test_queries_and_keys_are_told_apart_by_the_axis_that_sums_to_one(spelling):
    _, _, used = parts_of(spelling)

    assert [used[f"mix.{name}.weight"] for name in ("one", "two", "three", "four")] == [
        "attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj"
    ]  # fmt: skip


@pytest.mark.parametrize("spelling", [plain, in_two_pieces, in_stretches])
def test_pieces_of_a_sequence_are_no_heads(spelling):
    trace, _, _ = parts_of(spelling)
    sheet = fact_sheet(trace)

    assert {name: sheet.get(f"attention.{name}") for name in ("kind", "heads", "kv_heads")} == {
        "kind": "mha", "heads": HEADS, "kv_heads": HEADS
    }  # fmt: skip


@pytest.mark.parametrize("spelling", [plain, keys_first, keys_in_rows, values_first, in_two_pieces])
def test_the_stream_is_never_counted_in_keys(spelling):
    trace, naming, _ = parts_of(spelling)
    graph = build(trace, naming)
    axes = AxisNames(graph, range(len(trace.ops)))

    assert {axes.of(value)[1] for value in naming.trunk} == {""}
    assert any("T" in axes.of(value) for op in trace.ops for value in op.outputs)


class Rms(nn.Module):
    """A norm that takes its mean in a number format of its own."""

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        y = x.to(self.dtype)
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * y.to(x.dtype)


@pytest.mark.parametrize(("dtype", "said"), [(torch.float32, None), (torch.bfloat16, "bfloat16")])
def test_a_norm_that_rounds_its_mean_says_so(dtype, said):
    model = Residual(plain)
    model.norm = Rms(dtype)
    inputs = live_subject(model.to(torch.bfloat16).eval(), lambda b, s, p: (torch.zeros(b, s, dtype=torch.int64),))
    trace = observe(inputs, CPU)
    graph = build(trace, infer(trace))
    stage = next(stage for stage in graph.stages if stage.path == "attention.norm")

    assert attribute(graph, stage, "kind") == "rms"
    assert attribute(graph, stage, "dtype") == said


@pytest.mark.parametrize(("dtype", "said"), [(torch.float32, "float32"), (torch.bfloat16, None)])
def test_a_stream_that_is_kept_in_another_format_says_so(dtype, said):
    class Kept(Residual):
        def forward(self, tokens):
            x = self.table(tokens).to(dtype)
            return self.out(self.last((x + self.mix(self.norm(x.to(torch.bfloat16)))).to(torch.bfloat16)))

    model = Kept(plain).to(torch.bfloat16).eval()
    trace = observe(live_subject(model, lambda b, s, p: (torch.zeros(b, s, dtype=torch.int64),)), CPU)
    graph = build(trace, infer(trace))
    stage = next(stage for stage in graph.stages if stage.path == "attention.residual")

    assert attribute(graph, stage, "dtype") == said


def test_tokens_that_meet_without_a_softmax_are_no_feed_forward():
    _, naming, used = parts_of(linear_attention)

    assert used["mix.one.weight"] == "ssm.in_proj"
    assert "mlp" not in {naming.parts[op].section for op in range(len(naming.parts))}


@pytest.mark.parametrize("hidden", [float("-inf"), -1000.0])
def test_a_float_mask_that_comes_in_is_a_mask(hidden):
    def attend(q, k, v, mask):
        return (q @ k.transpose(-1, -2) + mask[None]).softmax(-1) @ v

    mask = torch.full((5, 5), hidden).triu(1)
    tensors = {name: torch.randn(2, 5, 8) for name in ("q", "k", "v")}
    trace = observe(live_subject(attend, {**tensors, "mask": mask}), CPU)
    naming = infer(trace)
    add = next(op for op in trace.ops if op.name == "add")

    assert naming.parts[add.id].path == "attention.mask"
    assert describe(trace.concrete[dict(trace.inputs)["mask"]]).kind == "causal"
