"""The words this project uses: sections, roles, and one line of meaning for each.

A word that is not here is not shown to a user. Names are the field's own.
"""

from __future__ import annotations

__all__ = ["CATCH_ALL", "EXEMPT", "FACTS", "ROLES", "SECTIONS", "UNKNOWN", "is_specific"]

UNKNOWN = "unknown"

SECTIONS: dict[str, str] = {
    "embedding": "tokens become vectors",
    "positions": "tables that say where a token stands",
    "mask": "who may look at whom",
    "attention": "tokens look at one another",
    "cross_attention": "tokens look at another sequence",
    "mlp": "each token by itself",
    "moe": "each token, through the experts it is sent to",
    "ssm": "state-space, linear-attention and convolution mixers",
    "indexer": "sparse attention chooses its keys",
    "block": "what a block does besides its sublayers",
    "head": "from the last hidden state to the answer",
    "layout": "data movement with no part of its own",
    "control": "values that depend on no weight times activation",
}
"""Section -> its one line of meaning, in reading order."""

_ATTENTION = {
    "norm": "normalise the block's input",
    "q_proj": "project to queries",
    "k_proj": "project to keys",
    "v_proj": "project to values",
    "qkv_proj": "one projection to queries, keys and values",
    "kv_proj": "one projection to keys and values",
    "q_down": "compress to the low-rank query",
    "q_up": "expand the low-rank query",
    "kv_down": "compress to the low-rank key/value latent",
    "kv_up": "expand the latent to keys and values",
    "latent_norm": "normalise the low-rank latent",
    "split_qkv": "cut the fused projection apart",
    "conv": "short convolution over queries, keys or values",
    "q_norm": "normalise queries",
    "k_norm": "normalise keys",
    "v_norm": "normalise values",
    "clip": "clamp the projections",
    "split_heads": "cut the width into heads",
    "rope": "rotate by position",
    "temperature": "scale queries by position",
    "cache_update": "append keys or values to the cache",
    "repeat_kv": "share each key/value head among its query heads",
    "scores": "query times key",
    "scale": "scale the scores",
    "softcap": "squash the scores",
    "position_bias": "add a bias that depends on position",
    "mask": "hide what may not be seen",
    "sink": "let attention go nowhere",
    "softmax": "scores become probabilities",
    "dropout": "dropout (idle in eval mode)",
    "lambda": "weigh two attention maps against each other",
    "weighted_sum": "probabilities times values",
    "fused": "one kernel from scores to weighted sum",
    "merge_heads": "join the heads again",
    "sub_norm": "normalise the heads' output",
    "gate": "gate the heads' output",
    "o_proj": "project back to the model width",
    "post_norm": "normalise after the sublayer",
    "residual": "add the sublayer's input back",
}

ROLES: dict[str, dict[str, str]] = {
    "embedding": {
        "token": "look up the token table",
        "position": "look up the position table",
        "segment": "look up the segment (token type) table",
        "add": "add the embeddings up",
        "scale": "scale the embeddings",
        "norm": "normalise the embeddings",
        "projection": "project embeddings to the model width",
        "dropout": "dropout (idle in eval mode)",
    },
    "positions": {
        "ids": "number the positions",
        "rope_table": "cosines and sines of the rotations",
        "alibi": "linear bias by distance",
        "relative_bias": "learned bias by distance",
        "sinusoid": "fixed sines and cosines",
    },
    "mask": {"build": "make the attention mask"},
    "attention": _ATTENTION,
    "cross_attention": _ATTENTION,
    "mlp": {
        "norm": "normalise the sublayer's input",
        "up_proj": "project up to the feed-forward width",
        "gate_proj": "project to the gate",
        "up_gate_proj": "one projection to gate and up",
        "split_up_gate": "cut the fused projection apart",
        "activation": "the non-linearity",
        "multiply": "gate times up",
        "sub_norm": "normalise inside the feed-forward",
        "down_proj": "project back to the model width",
        "dropout": "dropout (idle in eval mode)",
        "post_norm": "normalise after the sublayer",
        "residual": "add the sublayer's input back",
    },
    "moe": {
        "norm": "normalise the sublayer's input",
        "router": "score the experts",
        "router_score": "scores become weights",
        "top_k": "choose the experts",
        "dispatch": "send tokens to their experts",
        "expert_up": "the experts' up projection",
        "expert_gate": "the experts' gate projection",
        "expert_activation": "the experts' non-linearity",
        "expert_multiply": "gate times up, per expert",
        "expert_down": "the experts' down projection",
        "combine": "sum the experts' answers",
        "shared_expert": "the expert that every token visits",
        "post_norm": "normalise after the sublayer",
        "residual": "add the sublayer's input back",
    },
    "ssm": {
        "norm": "normalise the sublayer's input",
        "in_proj": "project into the mixer",
        "conv": "short convolution over the sequence",
        "activation": "the non-linearity",
        "parameters": "step sizes and decays from the input",
        "scan": "the recurrence",
        "state_update": "write the state that the next step reads",
        "gate": "gate the mixer's output",
        "out_proj": "project back to the model width",
        "post_norm": "normalise after the sublayer",
        "residual": "add the sublayer's input back",
    },
    "indexer": {
        "q_proj": "project to index queries",
        "k_proj": "project to index keys",
        "weights": "weigh the index heads",
        "scores": "index query times index key",
        "top_k": "choose the keys",
        "gather": "fetch the chosen keys",
    },
    "block": {
        "scale": "scale a branch or the stream",
        "drop_path": "drop a whole branch (idle in eval mode)",
        "adapter": "a small sublayer beside the block",
        "stream_read": "read from several residual streams",
        "stream_write": "write to several residual streams",
    },
    "head": {
        "norm": "normalise the last hidden state",
        "pooler": "summarise the sequence by its first token",
        "transform": "dense layer before the output projection",
        "lm_head": "project to the vocabulary",
        "scale": "scale the logits",
        "softcap": "squash the logits",
    },
    "layout": {
        "cast": "change the number format",
        "contiguous": "lay the values out in order",
        "reshape": "look at the same values in another shape",
    },
    "control": {
        "cache_index": "where the cache is written",
        "weight_prep": "prepare weights before their use",
        "branch": "Python read a value",
        "scalar": "arithmetic on single numbers",
        "unused": "computed and never used",
    },
}
"""Section -> role -> one line of meaning, in the order a block uses them."""

FACTS: dict[str, str] = {
    "model.family": "encoder, decoder, or both",
    "model.parameters": "unique parameters",
    "model.parameters.untied": "parameters, tied tensors counted each time",
    "model.parameters.embedding": "parameters of the embedding tables",
    "model.parameters.active": "parameters that one token uses",
    "model.layers": "blocks",
    "model.layers.decoder": "blocks that write while looking at what others read, where there are both",
    "model.width": "size of the residual stream",
    "model.vocabulary": "rows of the token table",
    "model.layer_pattern": "kinds of blocks and how they repeat",
    "attention.direction": "whether a token sees what comes after it",
    "attention.kind": "how query heads share keys and values",
    "attention.heads": "query heads",
    "attention.kv_heads": "key/value heads",
    "attention.head_dim": "size of one query/key head",
    "attention.window": "how many tokens back a token sees, itself among them",
    "attention.scale": "by what queries times keys are multiplied",
    "attention.qkv": "which projections make queries, keys and values",
    "attention.qk_norm": "norm of queries and keys, over a head or all of them, and on which side of the rotation",
    "attention.softcap": "c where scores become c·tanh(scores/c)",
    "attention.sinks": "whether attention can go nowhere",
    "attention.gate": "whether the heads' output is gated",
    "attention.softmax_dtype": "number format of the softmax",
    "attention.cross": "whether a block looks at another sequence",
    "position.kind": "how positions enter",
    "position.rope.theta": "base of the rotation's frequencies",
    "position.rope.dim": "elements of a head that are turned",
    "position.rope.fraction": "part of a head that is turned",
    "position.rope.layout": "which elements are turned together: halves, or neighbours",
    "position.rope.scaling": "how the frequencies differ from the plain ones",
    "norm.kind": "layer (subtracts the mean) or rms (does not)",
    "norm.placement": "where in a block the norms stand",
    "norm.eps": "what is added under the root",
    "norm.bias": "whether the norms add a bias",
    "norm.affine": "whether the norms have a weight",
    "norm.offset": "1 where the weight enters as 1 + w",
    "norm.final": "whether the last hidden state is normalised",
    "embedding.norm": "whether the embeddings are normalised",
    "mlp.gated": "whether a second projection gates the first",
    "mlp.activation": "the non-linearity",
    "mlp.width": "feed-forward width",
    "bias.qkv": "biases of the projections to queries, keys and values",
    "bias.o": "bias of attention's output projection",
    "bias.mlp": "biases of the feed-forward projections",
    "bias.lm_head": "bias of the output projection",
    "block.layout": "attention and feed-forward one after the other, or side by side",
    "embedding.tied": "whether the token table is the output projection too",
    "embedding.scale": "by what the embeddings are multiplied",
    "embedding.segments": "whether there is a segment (token type) table",
    "moe.experts": "experts of a block",
    "moe.active": "experts that one token visits",
    "moe.shared": "experts that every token visits",
    "moe.router": "how scores become weights of experts",
    "moe.normalised": "whether the weights of the chosen experts add up to one",
    "head.softcap": "c where logits become c·tanh(logits/c)",
    "head.scale": "by what the logits are multiplied",
    "cache.bytes_per_token": "what the KV cache grows by with each token of one sequence",
    "cache.bytes_per_token.layer": "the same of one block, where blocks differ",
    "cost.flops": "FLOPs of the contractions of this run",
    "cost.flops_other": "FLOPs of the rest",
}
"""Fact -> its one line of meaning, in reading order. `cost.flops.<role>` is a part's share of `cost.flops`."""

CATCH_ALL = frozenset({"layout", "control"})
"""Sections whose roles say what an op is, not what part it plays."""

EXEMPT = frozenset({"control.branch", "control.scalar", "control.unused"})
"""Roles that no check covers: they are listed and counted instead."""


def is_specific(path: str) -> bool:
    """Whether a role names a part of the architecture.

    >>> is_specific("attention.softmax"), is_specific("layout.cast"), is_specific("ssm.scan"), is_specific("unknown")
    (True, False, False, False)
    """
    return path not in (UNKNOWN, "ssm.scan") and path.partition(".")[0] not in CATCH_ALL
