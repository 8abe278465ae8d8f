"""Parameter names as labels: what structure found is held against them. Rules may never read them; tests may.

Run as a program, it prints the generality table: `python tests/roles/exam.py`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from inspector.records import Scenario, Trace
from inspector.roles import Naming, infer
from inspector.vocabulary import UNKNOWN, is_specific

CROSS = r"\b(encoder_attn|EncDecAttention|crossattention|cross_attn|cross_attention|cross_attn_layers)\."
"""How decoders call the attention that looks at what the encoder read."""

LABELS = (
    # where a parameter stands decides before what it is called: an expert's `gate_proj` is no plain feed-forward's
    (r"\bindexer\.(wq_b|q_b_proj|q_proj)\.", "indexer.q_proj"),
    (r"\bindexer\.(wk|k_proj)\.", "indexer.k_proj"),
    (r"\bindexer\.(weights_proj)\.", "indexer.weights"),
    (r"\bindexer\.", "indexer.*"),
    (r"\b(shared_experts?|shared_mlp|residual_mlp)\.", "moe.shared_expert"),
    (r"\bexperts\.(.*\.)?(gate_up_proj|up_proj|gate_proj|w1|w3|fc1|wi)(\.|_bias|$)", "moe.expert_up moe.expert_gate"),
    (r"\bexperts\.(.*\.)?(down_proj|w2|fc2|wo)(\.|_bias|$)", "moe.expert_down"),
    (r"\brouter\.(classifier\.|weight|layer\.|proj\.)", "moe.router"),
    (r"\b(mlp|moe|ffn|block_sparse_moe|feed_forward)\.gate\.weight", "moe.router"),
    (r"\b(linear_attn|mamba|mixer|rwkv|time_mix)\.(.*\.)?(out_proj|o_proj)\.", "ssm.out_proj attention.o_proj"),
    (r"\b(linear_attn|mamba)\.(.*\.)?(conv1d|[qkv]_conv1d)\.", "ssm.conv"),
    (r"\b(linear_attn|mamba)\.(.*\.)?(in_proj\w*|[qkv]_proj)\.", "ssm.in_proj"),
    (r"\b(linear_attn|mamba)\.", "ssm.*"),
    (rf"{CROSS}(.*\.)?[qk]_norm\.", "cross_attention.q_norm cross_attention.k_norm cross_attention.norm"),
    (rf"{CROSS}(.*\.)?(q_proj|query|q_lin|q|query_proj)\.", "cross_attention.q_proj"),
    (rf"{CROSS}(.*\.)?(k_proj|key|k_lin|k|key_proj)\.", "cross_attention.k_proj"),
    (rf"{CROSS}(.*\.)?(v_proj|value|v_lin|v|value_proj)\.", "cross_attention.v_proj"),
    (rf"{CROSS}(.*\.)?(o_proj|out_proj|out_lin|o|output\.dense)\.", "cross_attention.o_proj"),
    # queries and keys that are convolved and averaged together feed both
    (r"\bqkv_proj\.conv", "attention.conv"),
    (r"\bqkv_proj\.[qk]_proj\.", "attention.qkv_proj"),
    (r"\bqkv_proj\.v_proj", "attention.v_proj"),
    (r"\bmlp\.gate\.", "moe.router moe.router_score"),
    (r"\bcompressor\.", ""),  # weighs the tokens of a block: a gate by name, keys and values by what it feeds
    # a norm may hold a small feed-forward that gates it
    (r"layernorm\.(norm|mlp)\.", "attention.norm mlp.norm moe.norm"),
    # a gate beside queries and keys gates the heads' output; the same word in a feed-forward gates the up projection
    (r"\b(self_attn|attn|attention)\.(.*\.)?(gate_proj|g_proj|gate)\.", "attention.gate"),
    (r"\b(bottleneck\.attention)\.", ""),  # a projection of the input to all three, named as the attention it serves
    (r"\bSelfAttention\.q\.", "attention.q_proj"),
    (r"\bSelfAttention\.k\.", "attention.k_proj"),
    (r"\bSelfAttention\.v\.", "attention.v_proj"),
    (r"\bSelfAttention\.o\.", "attention.o_proj"),
    (r"\bDenseReluDense\.wi(_1)?\.", "mlp.up_proj"),
    (r"\bDenseReluDense\.wi_0\.", "mlp.gate_proj"),
    (r"\bDenseReluDense\.wo\.", "mlp.down_proj"),
    (r"\bfeed_forward\.(key|value|receptance)\.", ""),  # a feed-forward that calls its weights so
    (r"\bq_a_proj\.", "attention.q_down"),
    (r"\bq_b_proj\.", "attention.q_up"),
    (r"\bkv_a_proj_with_mqa\.", "attention.kv_down"),
    (r"\bkv_b_proj\.", "attention.kv_up"),
    (r"\b(q_a_layernorm|kv_a_layernorm)\.", "attention.latent_norm"),
    (r"\b(q_proj|query|q_lin|query_proj)\.", "attention.q_proj"),
    (r"\b(k_proj|key|k_lin|key_proj)\.", "attention.k_proj"),
    (r"\b(v_proj|value|v_lin|value_proj)\.", "attention.v_proj"),
    (r"\b(qkv_proj|query_key_value|c_attn|Wqkv)\.", "attention.qkv_proj"),
    (r"(\bo_proj|attn\.out_proj|\bout_lin|attention\.output\.dense)\.", "attention.o_proj"),
    (r"(attn\.c_proj|attention\.dense)\.", "attention.o_proj"),
    (r"\bgate_up_proj\.", "mlp.up_gate_proj"),
    (r"\bgate_proj\.", "mlp.gate_proj"),
    # `fc1` may hold gate and up in one
    (r"\b(fc1|Wi)\.", "mlp.up_proj mlp.up_gate_proj"),
    (r"(\bup_proj|\bc_fc|dense_h_to_4h|intermediate\.dense|\bfc_in|\blin1)\.", "mlp.up_proj"),
    (r"(\bdown_proj|mlp\.c_proj|dense_4h_to_h|\.\d+\.output\.dense|\bfc2|\bfc_out|\blin2)\.", "mlp.down_proj"),
    (r"\b(q_norm|q_layernorm|query_norm|query_layernorm)\.", "attention.q_norm"),
    (r"\b(k_norm|k_layernorm|key_norm|key_layernorm)\.", "attention.k_norm"),
    (r"\b(word_embeddings|embed_tokens|wte|embed_in)\.weight", "embedding.token head.lm_head"),
    (r"\b(position_embeddings|wpe|embed_positions)\.weight", "embedding.position"),
    (r"\btoken_type_embeddings\.", "embedding.segment"),
    # where the mixer is no attention, the first norm is the mixer's; the first GPT normalises after the sum
    (r"\b(input_layernorm|ln_1)\.", "attention.norm attention.post_norm ssm.norm"),
    (r"(^model\.norm|\bln_f|^gpt_neox\.final_layer_norm|^model\.decoder\.final_layer_norm)\.", "head.norm"),
    (r"\blm_head\.(dense|norm|layer_norm)\.", "head.transform"),
    (r"\b(lm_head|embed_out)\.", "head.lm_head"),
    (r"\bpooler\.", "head.pooler"),
)  # fmt: skip
"""Pattern of a parameter's name -> the role, or roles, that may consume it; none where the name says nothing."""

SIXTEEN = (
    "roberta distilbert electra opt bloom gpt_neox gptj mistral qwen2 qwen3 gemma2 phi3 olmo2 cohere stablelm falcon"
).split()


def label(name: str) -> str | None:
    """The roles that may consume this parameter, by its name."""
    return next((role for pattern, role in LABELS if re.search(pattern, name)), "") or None


MIXERS = {
    **dict.fromkeys(("attention.q_proj", "attention.k_proj", "attention.v_proj"), "ssm.in_proj"),
    **dict.fromkeys(("attention.qkv_proj", "attention.gate"), "ssm.in_proj"),
    "attention.o_proj": "ssm.out_proj",
}
"""What the same words mean in a module in which no softmax runs: linear attention calls itself attention."""

SOFTMAX = frozenset({"softmax", "scaled_dot_product_attention", "logsumexp"})


def _beside_experts(trace: Trace) -> set[str]:
    """The layers that hold experts beside their feed-forward: there that is the expert which all tokens visit."""
    names = (value.name for value in trace.values if value.kind == "parameter" and value.name)
    return {name.partition(".experts.")[0] for name in names if ".experts." in name and ".mlp.experts." not in name}


def _attention_of(module: str) -> str:
    """The path down to the module that calls itself attention."""
    found = re.match(r"(.*?(attn|attention)[^.]*)", module, re.IGNORECASE)
    return found.group(1) if found else ""


def uses(trace: Trace, naming: Naming) -> Iterator[tuple[str, str, str]]:
    """(parameter, labelled roles, role found) of every use of a parameter that has a label."""
    beside = _beside_experts(trace)
    names = {value.name for value in trace.values if value.kind == "parameter"}
    with_softmax = {_attention_of(op.module) for op in trace.ops if op.name in SOFTMAX}
    for op in trace.ops:
        for value in op.inputs:
            record = trace.values[value]
            expected = label(record.name) if record.kind == "parameter" and record.name else None
            uses_it = naming.flow.live[op.id] and op.outputs  # a cast to its own type uses nothing
            if expected and uses_it:
                if expected.startswith("mlp.") and (record.name or "").partition(".mlp.")[0] in beside:
                    expected += " moe.shared_expert"
                if expected == "attention.k_proj" and (record.name or "").replace("k_proj", "v_proj") not in names:
                    expected += " attention.kv_proj"  # one projection makes both, and keeps the name of one
                place = _attention_of(op.module)
                if expected in MIXERS and place and place not in with_softmax:
                    expected = MIXERS[expected]
                yield record.name or "", expected, _consumer(trace, naming, op.id)


def _consumer(trace: Trace, naming: Naming, op: int) -> str:
    """The role of `op`, or of what it prepares a weight for."""
    while naming.parts[op].path == "control.weight_prep":
        made = trace.ops[op].outputs[0]
        op = next(other.id for other in trace.ops if made in other.inputs and naming.flow.live[other.id])
    return naming.parts[op].path


def mismatches(trace: Trace, naming: Naming) -> list[tuple[str, str, str]]:
    return [use for use in uses(trace, naming) if not _agree(use[1], use[2])]


REASONS = tomllib.loads((Path(__file__).parent / "exam_mismatches.toml").read_text("utf-8"))["mismatch"]
"""What is known of uses whose name says something else than the part they play."""


def reason_of(model_type: str | None, use: tuple[str, str, str]) -> str:
    """Why the name of a use disagrees with its role, "" where nobody knows."""
    name, _, found = use
    known = (item for item in REASONS if model_type in item["types"] and found in item["found"].split())
    return next((item["reason"] for item in known if re.search(item["name"], name)), "")


def explained(trace: Trace, naming: Naming) -> list[str]:
    """Every mismatch with its reason, those of one kind in one line."""
    kinds: Counter[tuple[str, str, str, str]] = Counter()
    for use in mismatches(trace, naming):
        reason = reason_of(trace.model.model_type, use) or "no reason is known"
        kinds[re.sub(r"\b\d+\b", "*", use[0]), use[1], use[2], reason] += 1
    return [
        f"{name} ({count}): {expected.replace(' ', ' or ')} by its name, {found} by what it does: {reason}"
        for (name, expected, found, reason), count in kinds.items()
    ]


def _agree(expected: str, found: str) -> bool:
    return any(found == role or (role.endswith(".*") and found.startswith(role[:-1])) for role in expected.split())


def block_specific(trace: Trace, naming: Naming) -> float:
    """Fraction of the ops in blocks whose role names a part, the declared inside of recurrences left out."""
    inside = [naming.parts[op.id].path for op in trace.ops if naming.parts[op.id].layer is not None]
    inside = [path for path in inside if path != "ssm.scan"]
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
