"""Implementations that others wrote and keep, against those of transformers; and with a mistake put into them."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch
from curated_transformers.layers import attention, embeddings
from torch import Tensor

import inspector
from inspector.cli import main
from tests.verification.by_hand import curated

HOME = "tests.verification.by_hand.curated"


def against(name: str, **options: Any) -> Any:
    return inspector.parity(f"{HOME}:{name}", against=f"{HOME}:curated_{name}", **options)


def _tokens(batch: int, seq: int, past: int) -> dict[str, Tensor]:
    ids = torch.randint(2, 101, (batch, seq), generator=torch.Generator().manual_seed(past))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def open_rows(found: Any) -> list[str]:
    return [row.sentence for row in found.rows if row.verdict in ("fail", "unchecked")]


@pytest.mark.parametrize("name", ["bert", "neox", "llama"])
def test_every_stage_of_another_implementation_agrees(name: str) -> None:
    found = against(name)
    report = found.reports[0]

    assert open_rows(found) == []
    assert (found.verdict, report.ungiven, report.unused) == ("pass", (), ())
    assert report.counts["pass"] > 40
    assert report.whole[0].value < 1e-4


def test_and_the_other_way_round() -> None:
    found = inspector.parity(curated.curated_llama(), _tokens, against=f"{HOME}:llama")

    assert open_rows(found) == []
    assert found.verdict == "pass"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_in_half_precision(dtype: str) -> None:
    assert open_rows(against("bert", dtype=dtype)) == []


def test_keys_that_are_repeated_before_they_are_turned_are_the_same_keys() -> None:
    found = against("llama")
    (row,) = [row for row in found.rows if row.where == "layer 0 attention.rope.k"]

    assert row.reason == "the same jobs in another order, which changes nothing"
    assert [part.name for part in row.b] == ["attention.repeat_kv.k", "attention.rope.k"]
    assert 0 < row.rho < 1


def test_a_head_with_weights_of_its_own_is_said() -> None:
    """Falcon's head is the table of its tokens; the other package gives it weights of its own."""
    found = against("falcon")

    assert [row.where for row in found.rows if row.verdict in ("fail", "unchecked")] == ["head.lm_head"]
    assert "weight shared with is None in B and embedding.token in A" in found.first_failure.sentence


def test_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["parity", f"{HOME}:llama", "--against", f"{HOME}:curated_llama"])

    assert ended.value.code == 0
    assert "no stage diverges" in capsys.readouterr().out


# mistakes, put into the other package from outside


def no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "math", types.SimpleNamespace(sqrt=lambda width: 1.0))


def one_further(monkeypatch: pytest.MonkeyPatch) -> None:
    right = attention.create_causal_mask

    def wrong(query: Tensor, key: Tensor) -> Any:
        mask = right(query, key).bool_mask
        return attention.AttentionMask(torch.ones_like(mask).tril(1))

    monkeypatch.setattr(attention, "create_causal_mask", wrong)


def halves_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: Any, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        return torch.cat([x[..., half:], -x[..., :half]], dim=-1)

    monkeypatch.setattr(embeddings.RotaryEmbeddings, "_rotate", wrong)


MISTAKES = {
    "bert": (no_root, "layer 0 attention.scale", "factor is 1.0 in B and 0.25 in A", "attention_scorer"),
    "neox": (one_further, "mask.build", "pairs of query and key are masked otherwise", "the model itself"),
    "llama": (halves_exchanged, "layer 0 attention.rope.q", "values differ", "rotary_embeds"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_at_its_stage_with_both_modules(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake, where, said, module = MISTAKES[name]
    mistake(monkeypatch)
    found = against(name)
    row = found.first_failure

    assert (found.exit_code, row.where) == (1, where)
    assert said in row.sentence
    assert "A: " in row.sentence
    assert "transformers/models/" in row.sentence
    assert module in row.sentence.partition("B: ")[2]
