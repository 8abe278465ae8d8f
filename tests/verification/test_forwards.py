"""Every type that has a whole reference forward: it passes as it is, and a mistake in how it is put together is told.

The mistakes are made in modules of transformers, each of them in what is new in that architecture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from inspector.reference.models import FORWARDS
from inspector.verification.claiming import whole_claims
from inspector.verification.claims import claimed_by
from inspector.verification.mutants.catalogue import CATALOGUE
from inspector.verification.mutants.run import run_mutants
from inspector.verification.report import Report
from inspector.verification.verify import Running, verify
from inspector.verification.whole import whole_of

CONFIGS: dict[str, dict[str, Any]] = {
    "bart, of unequal sides": {"scale_embedding": True, "encoder_layers": 3, "decoder_attention_heads": 2},
    "t5, of version 1.1": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_decoder_layers": 3},
    "falcon": {"multi_query": True},
    "falcon, grouped": {"new_decoder_architecture": True, "num_kv_heads": 2},
    "falcon, a head each": {},
    "gpt_neox, one after the other": {"use_parallel_residual": False},
    "mistral": {"sliding_window": 8},
    "mixtral, with a window": {"sliding_window": 8},
    "phi3": {"sliding_window": 8},
    "phi3, turned in part": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.75}
    },
    "qwen2, with a window": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "qwen3_moe, in every second layer": {"decoder_sparse_step": 2, "norm_topk_prob": True},
    "qwen3_moe, with a window": {"use_sliding_window": True, "sliding_window": 8},
    "qwen3, with a window": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
}
"""What differs from the small configs of the tests, by the type and in what it differs."""

NAMES = [*FORWARDS, *(name for name in CONFIGS if name not in FORWARDS)]
EAGER_ALONE = {"bloom", "gemma2", "gpt_oss", "gptj"}
"""Transformers refuses to build them with another kernel."""

WRONG_IN_HALF = {"gptj": {"positions.rope_table"}}
"""Stages that are wrong where the model is built in a half precision: GPT-J then computes its angles in it, too."""

ENCODERS = {"bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta"}
DECODERS = [name for name in NAMES if name not in ENCODERS]


@pytest.fixture(scope="session")
def of_type(ready: Callable[..., Running]) -> Callable[..., Running]:
    """The small model of a type, in one of its variants."""

    def make(name: str, config: dict[str, Any] | None = None, **changes: Any) -> Running:
        return ready(name.partition(",")[0], {**CONFIGS.get(name, {}), **(config or {})}, **changes)

    return make


def require_clean(report: Report) -> None:
    wrong = WRONG_IN_HALF.get(str(report.model.model_type), set()) if report.scenario.dtype != "float32" else set()
    told = [row for row in report.rows if row.verdict not in ("pass", "exempt")]
    assert [(row.where, row.culprit) for row in told if row.name not in wrong] == []
    assert (report.verdict, report.uncovered) == ("fail" if told else "pass", ())
    assert report.calls > 40


def _run(of_type: Callable[..., Running], name: str, attention: str, **changes: Any) -> Running:
    if attention != "eager" and name.partition(",")[0] in EAGER_ALONE:
        attention = "eager"
    return of_type(name, attention=attention, **changes)


@pytest.mark.parametrize(
    ("attention", "dtype", "padding"),
    [
        ("eager", "float32", "left"),
        ("sdpa", "float32", "none"),
        ("eager", "bfloat16", "right"),
        ("sdpa", "float16", "left"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_prefill(of_type, report_of, name, attention, dtype, padding):
    require_clean(report_of(_run(of_type, name, attention, dtype=dtype, padding=padding)))


@pytest.mark.parametrize(
    ("attention", "dtype", "padding", "tokens"),
    [("eager", "float32", "left", 1), ("sdpa", "float32", "none", 4), ("sdpa", "bfloat16", "left", 1)],
)
@pytest.mark.parametrize("name", DECODERS)
def test_decode(of_type, report_of, name, attention, dtype, padding, tokens):
    run = _run(of_type, name, attention, dtype=dtype, padding=padding, past=13, seq=tokens)
    require_clean(report_of(run))


def test_angles_in_half_precision_are_told(of_type, report_of):
    report = report_of(of_type("gptj", dtype="bfloat16"))

    assert {row.name for row in report.failures} == WRONG_IN_HALF["gptj"]


@pytest.mark.parametrize("name", ["gemma2", "mistral", "qwen2, with a window"])
def test_a_prompt_shorter_than_the_window(of_type, report_of, name):
    require_clean(report_of(_run(of_type, name, "sdpa", padding="none", seq=5)))
    require_clean(report_of(_run(of_type, name, "eager", past=5, seq=2)))


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_at_the_floor_of_their_format(of_type, name):
    found = whole_of(of_type(name), name.partition(",")[0])

    assert not isinstance(found, str)
    ratios = [figure.value for figure in found if figure.name.endswith("error over that")]
    assert ratios
    assert max(ratios) < 4


# Mistakes


def _layers(module: nn.Module) -> list[Any]:
    """The blocks of a model: its longest list."""
    return list(max((part for part in module.modules() if isinstance(part, nn.ModuleList)), key=len))


def _first(module: nn.Module, ending: str) -> Any:
    return next(part for name, part in module.named_modules() if name.endswith(ending))


def _set(part: Any, name: str, value: Any) -> None:
    setattr(part, name, value)


def _without(_: nn.Module) -> nn.Module:
    return nn.Identity()


class _Plain(nn.Module):
    """A norm of Gemma's that multiplies by w, not by 1 + w."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.eps = norm.weight, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight).type_as(x)


class _PerHead(nn.Module):
    """A norm over each head of 16, where all heads together should be normalised."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.eps = norm.weight, norm.variance_epsilon

    def forward(self, x: Tensor) -> Tensor:
        parts = x.unflatten(-1, (-1, 16))
        return (parts * torch.rsqrt(parts.pow(2).mean(-1, keepdim=True) + self.eps)).flatten(-2) * self.weight


def _replaced(module: nn.Module, name: str, by: Callable[[Any], nn.Module]) -> None:
    """In the last block, one part by another."""
    block = _layers(module)[-1]
    parent = block.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], by(block.get_submodule(name)))


def _turned_first(module: nn.Module, patch: pytest.MonkeyPatch) -> None:
    """Qwen3: queries and keys are normalised after they are turned, in every block."""
    import transformers.models.qwen3.modeling_qwen3 as home

    right = home.apply_rotary_pos_emb
    norms = [(block.self_attn.q_norm, block.self_attn.k_norm) for block in _layers(module)]
    turn = iter([])

    def wrong(q: Tensor, k: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        nonlocal turn
        q_norm, k_norm = next(turn, (None, None))
        if q_norm is None:
            turn = iter(norms)
            q_norm, k_norm = next(turn)
        q, k = right(q, k, *args, **kwargs)
        return q_norm(q), k_norm(k)

    for block in _layers(module):
        block.self_attn.q_norm, block.self_attn.k_norm = nn.Identity(), nn.Identity()
    patch.setattr(home, "apply_rotary_pos_emb", wrong)


def _slopes_off_by_one(patch: pytest.MonkeyPatch) -> None:
    """BLOOM: heads are counted from 0, so that the first forgets nothing."""
    import transformers.models.bloom.modeling_bloom as home

    right = home.build_alibi_tensor

    def wrong(mask: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
        with _CountedFromZero():
            return right(mask, heads, dtype)

    patch.setattr(home, "build_alibi_tensor", wrong)


def _halves_turned(patch: pytest.MonkeyPatch) -> None:
    """GPT-J: the pairs are halves, as in nearly every other model."""
    import transformers.models.gptj.modeling_gptj as home

    def wrong(x: Tensor) -> Tensor:
        one, two = x.chunk(2, dim=-1)
        return torch.cat((-two, one), dim=-1)

    patch.setattr(home, "rotate_every_two", wrong)


class _CountedFromZero(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.arange and args[:1] == (1,):
            args = (0, args[1] - 1, *args[2:])
        return func(*args, **(kwargs or {}))


def _gate_and_up_swapped(module: nn.Module) -> None:
    weight = _layers(module)[-1].mlp.gate_up_proj.weight
    one, two = weight.chunk(2)
    _replaced(module, "mlp.gate_up_proj", lambda _: _Swapped(torch.cat((two, one))))


class _Swapped(nn.Module):
    """One projection, whose halves stand the other way round than in its weight."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T


class Bug(NamedTuple):
    """One mistake: in which type, what is done, at which stage it has to be told, and in which words.

    first: the stage that is told first, where that is another one, which the mistake brings along.
    """

    name: str
    plant: Callable[..., None]
    where: str
    culprit: str = ""
    first: str = ""


BUGS = {
    "the norm behind the feed-forward layer is skipped": Bug(
        "gemma2",
        lambda m, _: _replaced(m, "post_feedforward_layernorm", _without),
        "layer 1 mlp.post_norm",
        "nothing ran for it",
    ),
    "the norm behind attention is skipped": Bug(
        "olmo2",
        lambda m, _: _replaced(m, "post_attention_layernorm", _without),
        "layer 1 attention.post_norm",
        "nothing ran for it",
    ),
    "a window one token too wide": Bug(
        "mistral", lambda m, _: _set(m.config, "sliding_window", 9), "mask.build", "pairs of query and key"
    ),
    "a window of the wrong layer": Bug(
        "gemma2",
        lambda m, _: _set(m.config, "layer_types", ["full_attention", "sliding_attention"]),
        "mask.build",
        "pairs of query and key",
    ),
    "scores that are not squashed": Bug(
        "gemma2",
        lambda m, _: [_set(b.self_attn, "attn_logit_softcapping", None) for b in _layers(m)],
        "layer 0 attention.softcap",
        "nothing ran for it",
    ),
    "logits that are not squashed": Bug(
        "gemma2", lambda m, _: _set(m.config, "final_logit_softcapping", None), "head.softcap", "nothing ran for it"
    ),
    "w instead of 1 + w": Bug(
        "gemma", lambda m, _: _replaced(m, "input_layernorm", _Plain), "layer 1 attention.norm", "offset is 0"
    ),
    "embeddings that are not scaled": Bug(
        "gemma", lambda m, _: _first(m, "embed_tokens").embed_scale.fill_(1.0), "embedding.scale", "factor is 1.0"
    ),
    "queries and keys are normalised after they are turned": Bug(
        "qwen3",
        _turned_first,
        "layer 0 attention.q_norm.q",
        "x comes from layer 0 attention.rope.q",
        "layer 0 attention.split_heads.q",
    ),
    "a norm over each head, not over all of them": Bug(
        "olmo2",
        lambda m, _: _replaced(m, "self_attn.q_norm", _PerHead),
        "layer 1 attention.q_norm.q",
        "",
        "layer 1 attention.split_heads.q",
    ),
    "no bias of the values": Bug(
        "qwen2",
        lambda m, _: _set(_layers(m)[-1].self_attn.v_proj, "bias", None),
        "layer 1 attention.v_proj.v",
        "bias is False, claimed is True",
    ),
    "gate and up the other way round": Bug(
        "phi3", lambda m, _: _gate_and_up_swapped(m), "layer 1 mlp.up_gate_proj", ""
    ),
    "the second norm reads what attention made": Bug(
        "gpt_neox",
        lambda m, _: _set(_layers(m)[-1], "use_parallel_residual", False),
        "layer 1 mlp.norm",
        "x comes from layer 1 attention.residual",
        "layer 1 attention.residual",
    ),
    "positions counted from zero": Bug(
        "roberta", lambda m, _: _set(_first(m, "embeddings"), "padding_idx", 1), "positions.ids", "values differ"
    ),
    "positions that padding moves": Bug(
        "opt", lambda m, _: _set(_first(m, "embed_positions"), "offset", 1), "positions.ids", "values differ"
    ),
    "the projection of the embeddings is skipped": Bug(
        "electra",
        lambda m, _: _set(m, "embeddings_project", _Padded(64)),
        "embedding.projection",
        "weight comes from nothing",
    ),
    "slopes of the head before": Bug(
        "bloom", lambda m, patch: _slopes_off_by_one(patch), "positions.alibi", "values differ", "positions.ids"
    ),
    "the residual of the normed": Bug(
        "bloom",
        lambda m, _: _set(_layers(m)[-1], "apply_residual_connection_post_layernorm", True),
        "layer 1 attention.residual",
        "residual comes from layer 1 attention.norm",
    ),
    "halves where neighbours are turned": Bug(
        "gptj", lambda m, patch: _halves_turned(patch), "layer 0 attention.rope.k", ""
    ),
    "words without a bias": Bug(
        "gptj", lambda m, _: _set(m.lm_head, "bias", None), "head.lm_head", "bias is False, claimed is True"
    ),
    "both sublayers read one norm": Bug(
        "falcon, grouped", lambda m, _: _set(_layers(m)[-1], "ln_mlp", _layers(m)[-1].ln_attn), "layer 1 mlp.norm", ""
    ),
}


class _Padded(nn.Module):
    """Zeros beside the embeddings, where they should be projected."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (0, self.width - x.shape[-1]))


@pytest.mark.parametrize("bug", BUGS)
def test_a_mistake_is_told_where_it_is(of_type, monkeypatch, bug):
    one = BUGS[bug]
    run = of_type(one.name)
    module: Any = run.module
    claims: Any = whole_claims(run, run.info.model_type, module.config.to_dict())
    claimed = claims(run.inputs())
    one.plant(module, monkeypatch)

    report = verify(run, lambda _: claimed)

    told = [row.where for row in report.failures if one.culprit in row.culprit]
    assert report.failures[0].where == (one.first or one.where)
    assert one.where in told, [(row.where, row.culprit) for row in report.failures]


def test_where_all_heads_share_one_key_another_heads_is_no_other(of_type):
    """Reading a neighbour's head is no mistake there, and is not held against the check."""
    run = of_type("gemma", config={"num_key_value_heads": 1})
    module: Any = run.module
    config = module.config.to_dict()

    def claims(inputs: Any) -> Any:
        return claimed_by("gemma", module, config, inputs)

    names = {"scores-of-another-head", "values-of-another-head"}
    found = run_mutants(run, claims, mutants=[mutant for mutant in CATALOGUE if mutant.name in names])

    assert {row.name for row in found.rows if "share one head" in row.equivalent} == names
    assert [row.error for row in found.rows if row.error] == []
    assert [row.culprit for row in verify(run, claims, power=True).rows if row.verdict not in ("pass", "exempt")] == []
