"""Hand-made shapes tables: GPT-2 as `inspector shapes gpt2` sees it, eager and sdpa, written by a person."""

from __future__ import annotations

__all__ = ["gpt2", "hostile", "table_of"]

from dataclasses import replace
from typing import Any

from inspector.records import ModelInfo, Scenario
from inspector.shape_table.rows import ShapeRow, ShapeSummary, ShapeTable
from inspector.stage_graph.tensors import Dim, TensorView

SIZES = {"B": 2, "S": 16, "T": 16, "1": 1}
AXES = {"768": "D", "2304": "D", "12": "H", "64": "K", "3072": "F", "50257": "V", "12·64": "H·K"}
AXES |= {letter: letter for letter in "BST"}


def view(text: str, dtype: str = "bfloat16") -> TensorView:
    """`view("B 12 S 64")`: a tensor of these dimensions, axes as in GPT-2."""
    return TensorView("", tuple(dim(part) for part in text.split()), dtype, "meta")


def dim(text: str) -> Dim:
    size = 1
    for factor in text.lstrip("?").split("·"):
        size *= SIZES.get(factor) or int(factor)
    return Dim(size, text, AXES.get(text, ""))


def row(path: str, op: str, module: str, shapes: str, **more: Any) -> ShapeRow:
    """`row("mlp.norm", "layer_norm", "ln_2", "B S 768 -> B S 768")`; `more` are other fields of the row."""
    section, _, role = path.partition(".")
    before, after = (tuple(view(part) for part in side.split(",") if part.strip()) for side in shapes.split("->"))
    attributes = (("eps", 1e-05),) if role == "norm" else ()
    plain = ShapeRow(path, section, role, "", (), "", 1, op, module, before, after, 0, 0, (1, 2), None, (), attributes)
    return replace(plain, **more)


def inside(path: str, op: str, module: str, shapes: str, **more: Any) -> ShapeRow:
    """A row of the twelve blocks."""
    where = f"transformer.h.{{}}{module}"
    return row(path, op, where, shapes, layers="0-11", repeat=12, block=0, **more)


BEFORE = (
    row("embedding.token", "embedding", "transformer.wte", "B S -> B S 768", parameters=38_597_376),
    row("positions.ids", "arange add unsqueeze", "transformer", "-> 1 S"),
    row("embedding.position", "embedding", "transformer.wpe", "1 S -> 1 S 768", parameters=786_432),
    row("embedding.add", "add", "transformer", "B S 768, 1 S 768 -> B S 768"),
    row("mask.build", "arange le logical_and where", "transformer", "B S -> B 1 S T"),
)
FUSED = {"parameters": 1_771_776, "flops": 113_246_208}
BLOCK = (
    inside("attention.norm", "layer_norm", ".ln_1", "B S 768 -> B S 768", parameters=1536),
    inside("attention.qkv_proj", "addmm", ".attn.c_attn", "B S 768 -> B S 2304", **FUSED),
    inside("attention.split_qkv", "split", ".attn", "B S 2304 -> B S 768, B S 768, B S 768"),
    *(
        inside("attention.split_heads", "view transpose", ".attn", "B S 768 -> B 12 S 64", operand=part)
        for part in "qkv"
    ),
    *(inside("attention.cache_update", "cat", ".attn", "B 12 S 64 -> B 12 T 64", operand=part) for part in "kv"),
)
SCORES = {"flops": 786_432, "also": ("attention.scale",)}
EAGER = (
    inside("attention.scores", "matmul", ".attn", "B 12 S 64, B 12 64 T -> B 12 S T", **SCORES),
    inside("attention.mask", "add", ".attn", "B 12 S T, B 1 S T -> B 12 S T"),
    inside("attention.softmax", "softmax", ".attn", "B 12 S T -> B 12 S T", outputs=(view("B 12 S T", "float32"),)),
    inside("layout.cast", "type", ".attn", "B 12 S T -> B 12 S T"),
    inside("attention.weighted_sum", "matmul", ".attn", "B 12 S T, B 12 T 64 -> B 12 S 64", flops=786_432),
)
FLASH = "scaled_dot_product_attention"
SDPA = (
    inside("attention.fused", FLASH, ".attn", "B 12 S 64, B 12 T 64, B 12 T 64, B 1 S T -> B 12 S 64", flops=1_572_864),
)
O_PROJ = {"parameters": 590_592, "flops": 37_748_736}
GELU = "pow mul add mul tanh add mul mul"
UP, DOWN = ({"parameters": parameters, "flops": 150_994_944} for parameters in (2_362_368, 2_360_064))
HEAD = {"parameters": 38_597_376, "flops": 2_470_232_064}
AFTER = (
    inside("attention.merge_heads", "transpose reshape", ".attn", "B 12 S 64 -> B S 12·64"),
    inside("attention.o_proj", "addmm", ".attn.c_proj", "B S 12·64 -> B S 768", **O_PROJ),
    inside("attention.residual", "add", "", "B S 768, B S 768 -> B S 768"),
    inside("mlp.norm", "layer_norm", ".ln_2", "B S 768 -> B S 768", parameters=1536),
    inside("mlp.up_proj", "addmm", ".mlp.c_fc", "B S 768 -> B S 3072", **UP),
    inside("mlp.activation", GELU, ".mlp.act", "B S 3072 -> B S 3072"),
    inside("mlp.down_proj", "addmm", ".mlp.c_proj", "B S 3072 -> B S 768", **DOWN),
    inside("mlp.residual", "add", "", "B S 768, B S 768 -> B S 768"),
    row("head.norm", "layer_norm", "transformer.ln_f", "B S 768 -> B S 768", parameters=1536),
    row("head.lm_head", "linear", "lm_head", "B S 768 -> B S 50257", **HEAD),
)


def gpt2(attention: str = "eager") -> ShapeTable:
    """GPT-2, prefill of 2 sequences of 16 tokens."""
    middle = SDPA if attention == "sdpa" else EAGER
    return ShapeTable(
        model=ModelInfo("gpt2", "gpt2", "GPT2LMHeadModel", 124_439_808, 163_037_184),
        scenario=Scenario(attention=attention),
        rows=(*BEFORE, *BLOCK, *middle, *AFTER),
        summary=ShapeSummary(345, 243, 0, 0.996, 0, 124_439_808, 7_969_177_600, 12_345_678, 36_864, 0),
        axes=(("D", 768), ("H", 12), ("K", 64), ("F", 3072), ("V", 50257)),
        blocks=("x12",),
        cache=(("0-11", "keys", "(B, 12, T, 64)", 1_536), ("0-11", "values", "(B, 12, T, 64)", 1_536)),
        tool=(("inspector", "0.1.0"), ("torch", "2.13.0"), ("transformers", "5.23.0")),
    )


def table_of(*rows: ShapeRow, **changes: object) -> ShapeTable:
    """GPT-2's table with other rows."""
    return replace(gpt2(), rows=rows, **changes)


EVIL = "</script><b>x|y`z` \x1b[31mred\x07 \u202egnp.exe [bold]\n=1+1"


def hostile() -> ShapeTable:
    """A table whose every foreign string tries to break out of its format."""
    bad = row("attention.norm", EVIL, EVIL, "B S 768 -> B S ?16", block=0)
    return table_of(
        replace(bad, weights=(view("768")._replace(name=EVIL),), attributes=(("eps", float("-inf")), (EVIL, EVIL))),
        row("unknown.", "mul", EVIL, "B S 768 -> B S 768", block=0),
        model=ModelInfo(EVIL, EVIL, EVIL, 1, 1),
        blocks=(EVIL,),
        notes=(EVIL,),
        cache=((EVIL, EVIL, EVIL, 2),),
        summary=replace(gpt2().summary, unknown=1, orphans=2, unsolved_dims=1),
    )
