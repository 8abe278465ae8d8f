"""BERT, GPT-NeoX, Llama and Falcon twice: as transformers has them, and as the package curated-transformers does.

Its masks are objects of its own, and its decoders repeat keys before they rotate them; the maths is the same.
"""

from __future__ import annotations

from typing import Any

import transformers
from curated_transformers import models
from curated_transformers.layers import AttentionMask
from torch import Tensor, nn

from inspector.source.tiny import randomise

_SIZES = {"vocab_size": 101, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_USUAL = {**_SIZES, "max_position_embeddings": 64, "intermediate_size": 96}
_TOKENS = {"bos_token_id": 0, "eos_token_id": 1}


class Curated(nn.Module):
    """Takes what a model of transformers takes."""

    def __init__(self, kind: str, config: dict[str, Any]) -> None:
        super().__init__()
        self.inner = getattr(models, kind).from_hf_config(hf_config=config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        found = self.inner(input_ids, AttentionMask(attention_mask.bool()))
        return found.logits if hasattr(found, "logits") else found.last_hidden_layer_state


def _seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    randomise(module, seed)
    return module.eval()


def _claimed(config: Any, **older: Any) -> dict[str, Any]:
    """A config under the names it had when the other package was written."""
    return {**config.to_dict(), "torch_dtype": "float32", **older}


def _bert() -> Any:
    return transformers.BertConfig(**_USUAL, attn_implementation="eager")


def _neox() -> Any:
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5}
    return transformers.GPTNeoXConfig(**_USUAL, **_TOKENS, rope_parameters=rope, attn_implementation="eager")


def _llama() -> Any:
    return transformers.LlamaConfig(**_USUAL, **_TOKENS, num_key_value_heads=2, attn_implementation="eager")


def _falcon() -> Any:
    grouped = {"num_kv_heads": 2, "new_decoder_architecture": True, "bias": False, "alibi": False}
    return transformers.FalconConfig(**_SIZES, **_TOKENS, **grouped, attn_implementation="eager")


def bert() -> nn.Module:
    return _seeded(transformers.BertModel(_bert(), add_pooling_layer=False))


def neox() -> nn.Module:
    return _seeded(transformers.GPTNeoXForCausalLM(_neox()))


def llama() -> nn.Module:
    return _seeded(transformers.LlamaForCausalLM(_llama()))


def falcon() -> nn.Module:
    return _seeded(transformers.FalconForCausalLM(_falcon()))


def curated_bert() -> nn.Module:
    return _seeded(Curated("BERTEncoder", _claimed(_bert())), 7)


def curated_neox() -> nn.Module:
    older = {"rotary_emb_base": 10_000, "rotary_pct": 0.5}
    return _seeded(Curated("GPTNeoXCausalLM", _claimed(_neox(), **older)), 7)


def curated_llama() -> nn.Module:
    return _seeded(Curated("LlamaCausalLM", _claimed(_llama(), rope_theta=10_000.0)), 7)


def curated_falcon() -> nn.Module:
    return _seeded(Curated("FalconCausalLM", _claimed(_falcon())), 7)
