"""Parameter names as labels: what structure found is held against them. Rules may never read them; tests may.

Run as a program, it prints the generality table: `python tests/roles/exam.py`.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from inspector.records import Scenario, Trace
from inspector.roles import Naming, infer
from inspector.vocabulary import UNKNOWN, is_specific

LABELS = (
    (r"\b(q_proj|query|q_lin)\.", "attention.q_proj"),
    (r"\b(k_proj|key|k_lin)\.", "attention.k_proj"),
    (r"\b(v_proj|value|v_lin)\.", "attention.v_proj"),
    (r"\b(qkv_proj|query_key_value|c_attn)\.", "attention.qkv_proj"),
    (r"(\bo_proj|attn\.out_proj|\bout_lin|attention\.output\.dense)\.", "attention.o_proj"),
    (r"(attn\.c_proj|attention\.dense)\.", "attention.o_proj"),
    (r"\bgate_up_proj\.", "mlp.up_gate_proj"),
    (r"\bgate_proj\.", "mlp.gate_proj"),
    (r"(\bup_proj|\bc_fc|dense_h_to_4h|intermediate\.dense|\bfc1|\bfc_in|\blin1)\.", "mlp.up_proj"),
    (r"(\bdown_proj|mlp\.c_proj|dense_4h_to_h|\.\d+\.output\.dense|\bfc2|\bfc_out|\blin2)\.", "mlp.down_proj"),
    (r"\bq_norm\.", "attention.q_norm"),
    (r"\bk_norm\.", "attention.k_norm"),
    (r"\b(word_embeddings|embed_tokens|wte|embed_in)\.weight", "embedding.token"),
    (r"\b(position_embeddings|wpe|embed_positions)\.weight", "embedding.position"),
    (r"\btoken_type_embeddings\.", "embedding.segment"),
    (r"\b(input_layernorm|ln_1)\.", "attention.norm"),
    (r"(^model\.norm|\bln_f|^gpt_neox\.final_layer_norm|^model\.decoder\.final_layer_norm)\.", "head.norm"),
    (r"\b(lm_head|embed_out)\.", "head.lm_head"),
    (r"\bpooler\.", "head.pooler"),
)  # fmt: skip
"""Pattern of a parameter's name -> the role that must consume it. A tied weight may also be the head's."""

SIXTEEN = (
    "roberta distilbert electra opt bloom gpt_neox gptj mistral qwen2 qwen3 gemma2 phi3 olmo2 cohere stablelm falcon"
).split()


def label(name: str) -> str | None:
    return next((role for pattern, role in LABELS if re.search(pattern, name)), None)


def uses(trace: Trace, naming: Naming) -> Iterator[tuple[str, str, str]]:
    """(parameter, labelled role, role found) of every use of a parameter that has a label."""
    for op in trace.ops:
        for value in op.inputs:
            record = trace.values[value]
            expected = label(record.name) if record.kind == "parameter" and record.name else None
            if expected:
                yield record.name or "", expected, _consumer(trace, naming, op.id)


def _consumer(trace: Trace, naming: Naming, op: int) -> str:
    """The role of `op`, or of what it prepares a weight for."""
    while naming.parts[op].path == "control.weight_prep":
        made = trace.ops[op].outputs[0]
        op = next(other.id for other in trace.ops if made in other.inputs)
    return naming.parts[op].path


def mismatches(trace: Trace, naming: Naming) -> list[tuple[str, str, str]]:
    tied = ("embedding.token", "head.lm_head")
    return [
        (name, expected, found)
        for name, expected, found in uses(trace, naming)
        if found != expected and not (expected == tied[0] and found == tied[1])
    ]


def block_specific(trace: Trace, naming: Naming) -> float:
    """Fraction of the ops in blocks whose role names a part."""
    inside = [naming.parts[op.id].path for op in trace.ops if naming.parts[op.id].layer is not None]
    return sum(map(is_specific, inside)) / len(inside) if inside else 0.0


def rest(trace: Trace, naming: Naming) -> Counter[tuple[str, str]]:
    """(role, call) of every op that is unknown, or in a block and not specific."""
    return Counter(
        (naming.parts[op.id].path, op.name)
        for op in trace.ops
        if naming.parts[op.id].path == UNKNOWN
        or (naming.parts[op.id].layer is not None and not is_specific(naming.parts[op.id].path))
    )


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from conftest import tiny_subject

    from inspector.errors import InspectorError
    from inspector.tracing import observe

    print(f"{'model type':14} {'attention':9} {'mode':8} {'ops':>5} {'unknown':>7} {'specific':>8} {'labels':>9}  rest")
    for model_type in ("bert", "gpt2", "llama", *SIXTEEN):
        for attention in ("eager", "sdpa"):
            for past, seq in ((0, 16), (16, 1)):
                scenario = Scenario(attention=attention, past=past, seq=seq)
                try:
                    trace = observe(tiny_subject(model_type), scenario)
                except InspectorError as error:
                    print(f"{model_type:14} {attention:9} {scenario.mode:8} {error.what}")
                    continue
                naming = infer(trace)
                found, wrong = len(list(uses(trace, naming))), len(mismatches(trace, naming))
                unknown = sum(naming.parts[op.id].path == UNKNOWN for op in trace.ops)
                print(
                    f"{model_type:14} {attention:9} {scenario.mode:8} {len(trace.ops):5} {unknown:7} "
                    f"{block_specific(trace, naming):8.1%} {found - wrong:4}/{found:<4}  "
                    f"{dict(rest(trace, naming)) or ''}"
                )


if __name__ == "__main__":
    main()
