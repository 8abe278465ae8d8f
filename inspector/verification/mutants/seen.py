"""Where mistakes like these were made for real: issues and pull requests, by what went wrong."""

from __future__ import annotations

__all__ = ["seen_in"]

_SEEN = {
    1: "transformers #25199; flash-attention #288; torchtitan #335; rasbt PR #747",
    2: "nanotron PR #427 (fixes #241); nurl PR #584",
    3: "transformers, nanochat: rotate_half",
    4: "transformers PR #29285",
    5: "transformers PR #29402; litgpt #1031; vLLM PR #3653; CTranslate2 #1658",
    6: "sglang PR #27540; pytorch #189581",
    7: "lmdeploy PR #4133; kernels-community #105",
    8: "Liger-Kernel PR #85 (#74)",
    9: "keras-hub #642, #728; candle PR #271; torchtune #290; transformers PR #585",
    10: "torchtune #2809; vllm-metal #660, #691; mlxcel PR #317",
    11: "transformers #44380, PR #44397; PR #13573",
    12: "vLLM PR #36637 (#36565)",
    13: "ferrox PR #65",
    14: "transformers PR #47435; onnxruntime/mobius PR #548; optimum-intel PR #1877; imp PR #880",
    15: "Rapid-MLX PR #1225; llama.cpp PR #17945",
    16: "transformers #25104, PR #27227; vLLM #3488",
    18: "mlx-vlm PR #1709; mlxcel #1340; ferrox #39",
    19: "MarinFold PR #184; DeepSpeed PR #8345; vLLM PR #42624; sglang PR #14745",
    20: "transformers #45902, #48892; torchtitan #4783; unsloth PR #4112",
    21: "transformers #39408, PR #40163, #29623; zml PR #763; xformers #923; mlx-lm #390",
    23: "transformers PR #31670",
    24: "pytorch #103749, #109517; transformers #32390, PR #47678 (#47651); unsloth PR #9848; mlx PR #2406",
    25: "NeMo-Automodel PR #2658; transformers PR #26421; OPT fp16 PR #17437",
    26: "pytorch #108108, #103082, #144858; onnx PR #8068; SageAttention PR #372; mlx #2835/PR #2836",
    27: "transformers #30417, PR #30437, PR #30414",
    29: "onnx PR #7274; axlearn PR #842; jax-js PR #180; prime-rl PR #2681",
    31: "miles PR #1529, unsloth #3142",
    32: "Megatron-Bridge PR #4661; mlc-llm PR #2106; pocket-tts PR #278; transformers #15397, PR #21345",
    33: "AutoGPTQ PR #139 (#95)",
    34: "transformers #18388, #18478, #3021, PR #7552; trl #469",
    35: "transformers #2506; allennlp #5129; optimum #1758",
    36: "transformers PR #43429, PR #46456, PR #48238 (#48154); RoBERTa bias applied twice PR #2928",
    37: "transformers PR #41620",
    38: "transformers PR #48363 (#48289)",
    40: "pytorch #159247, #182593, #141126; transformers PR #37406",
    42: "TransformerLens contributing.md",
}


def seen_in(*kinds: int) -> str:
    """Where mistakes of these kinds were found.

    >>> seen_in(4, 12)
    'transformers PR #29285; vLLM PR #36637 (#36565)'
    """
    return "; ".join(_SEEN[kind] for kind in kinds)
