"""Chinese: every sentence of every verb, ids and JSON as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import inspector
from inspector.api.facts import Facts
from inspector.api.graph import Graph
from inspector.api.report import Report
from inspector.api.results import Result, Shapes
from inspector.cli import cli
from inspector.fact_sheet.sheet import fact_sheet
from inspector.records import Scenario, Trace
from inspector.reporting.report_material import material
from inspector.shape_table.build import shape_table

TRIO = ("bert", "gpt2", "llama")
CATALOGUE = ("preset:bert-base-uncased", "preset:gpt2", "preset:llama-3-8b")

_CODE = re.compile(r"<script.*?</script>|<style.*?</style>|<[^>]*>|```.*?```|`[^`]*`|\([^()]*\)", re.DOTALL)
_ENGLISH = re.compile(r"\b[A-Za-z][a-z]+(?: [a-z]+){3,}\b")
"""Four words of English in a row; ids have dots, underscores and figures in them."""


def english(text: str) -> list[str]:
    """Runs of English outside of code, markup and brackets."""
    return [run for part in _CODE.split(text) for run in _ENGLISH.findall(part)]


def test_a_sentence_of_english_is_found() -> None:
    assert english("gpt2 掩盖未来。Nothing differs that a rule speaks of.") == ["Nothing differs that a rule speaks of"]
    assert english("`a query looks back only` 形状 (as it is written here) attention.rope K, V") == []


def verbs(traces: list[Trace], found: Report) -> Iterator[tuple[str, Result]]:
    one, two = traces[0], traces[1]
    yield "report", found
    yield "shapes", Shapes((shape_table(one),))
    yield "facts", Facts(fact_sheet(one))
    yield "graph", Graph(found.material.portraits[0].record)
    yield "diff", inspector.diff(one, two)
    yield "models", inspector.models()


@pytest.fixture(scope="module")
def results(trace_of: Callable[..., Trace], seen: Callable[..., object]) -> dict[str, Result]:
    traces = [trace_of(name, Scenario()) for name in CATALOGUE]
    return dict(verbs(traces, Report(material([seen(name) for name in CATALOGUE]))))


@pytest.mark.parametrize("verb", ["report", "shapes", "facts", "graph", "diff", "models"])
@pytest.mark.parametrize("form", ["text", "terminal", "markdown", "html"])
def test_no_sentence_is_left_in_english(verb: str, form: str, results: dict[str, Result]) -> None:
    said = getattr(results[verb], f"to_{form}")(lang="zh")

    assert english(said) == []
    assert len(re.findall("[\u4e00-\u9fff]", said)) > 20
    assert said == getattr(results[verb], f"to_{form}")(lang="zh")
    assert said != getattr(results[verb], f"to_{form}")()


def test_after_chinese_everything_is_english_again(results: dict[str, Result]) -> None:
    before = {verb: (result.to_markdown(), result.to_json(), result.to_csv()) for verb, result in results.items()}
    for result in results.values():
        result.to_html(lang="zh")

    assert {
        verb: (result.to_markdown(), result.to_json(), result.to_csv()) for verb, result in results.items()
    } == before
    assert not any(re.search("[\u4e00-\u9fff]", text) for texts in before.values() for text in texts)


def test_terms_are_said_in_both_languages_where_they_are_met_first(results: dict[str, Result]) -> None:
    said = results["report"].to_markdown(lang="zh")

    for term in (
        "因果掩码（causal mask）",
        "分组查询注意力，GQA",
        "旋转位置编码，RoPE",
        "前置归一化，pre-norm",
        "残差连接",
    ):
        assert term in said


def test_the_page_says_its_language_and_its_keys(results: dict[str, Result]) -> None:
    page = results["report"].to_html(lang="zh")

    assert '<html lang="zh-CN">' in page
    assert "<dd>下一处、上一处差异</dd>" in page
    assert "PingFang SC" in page
    assert '<html lang="en">' in results["report"].to_html()


def test_findings_that_no_rule_explains_are_said_too(found: Callable[..., object]) -> None:
    from inspector.reporting import retold

    comparison = found("bert", "bart").comparisons[0]  # type: ignore[attr-defined]
    from inspector.messages import speaking

    with speaking("zh"):
        said = [finding.sentence for finding in retold.findings(comparison, comparison.findings)]

    assert said
    assert english("\n".join(said)) == []
    assert [finding.sentence for finding in retold.findings(comparison, comparison.findings)] == [
        finding.sentence for finding in comparison.findings
    ]


def test_what_became_of_a_lock_is_said(tmp_path: Path) -> None:
    path = tmp_path / "gpt2.arch.json"
    path.write_text(inspector.lock("gpt2").to_json(), "utf-8")
    same, other = inspector.check(str(path)), inspector.check(str(path), "llama-3.2-1b")

    assert "gpt2 与锁定时一致" in same.to_text(lang="zh")
    assert english(other.to_text(lang="zh")) == []
    assert english(other.to_summary(5000, lang="zh")) == []
    assert "锁定时的 gpt2" in other.to_text(lang="zh")


@pytest.mark.parametrize("name", ["zh", "zh-CN"])
def test_the_option_speaks_and_data_stay_english(name: str) -> None:
    run = CliRunner().invoke

    said = run(cli, ["models", "--lang", name], standalone_mode=False)
    data = run(cli, ["models", "--lang", name, "--format", "json"], standalone_mode=False)
    plain = run(cli, ["models"], standalone_mode=False)

    assert "可按名称使用的模型" in said.output
    assert json.loads(data.output) == json.loads(inspector.models().to_json())
    assert plain.output == inspector.models().to_text()


def test_the_locale_does_not_choose_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANG", "LC_ALL", "LANGUAGE"):
        monkeypatch.setenv(name, "zh_CN.UTF-8")

    assert "known by name" in CliRunner().invoke(cli, ["models"], standalone_mode=False).output


def test_where_the_stream_knows_no_chinese_it_is_spelled() -> None:
    inspector.models().to_text(lang="zh", encoding="ascii").encode("ascii")


def test_a_small_report_says_in_chinese_what_it_leaves_out(reported: Callable[..., Report]) -> None:
    said = replace(reported(*TRIO), most=9000).to_markdown(lang="zh")

    assert len(said.encode()) <= 9000
    assert "为节省篇幅，此处省略了" in said


@pytest.mark.parametrize(
    ("name", "options"),
    [("gpt2", {}), ("gpt2", {"dtype": "bfloat16"}), ("qwen3-0.6b", {}), ("gpt2", {"compare": "eager,sdpa"})],
)
def test_a_parity_run_is_said(name: str, options: dict[str, str]) -> None:
    found = inspector.parity(name, twin=True, **options)
    said = found.to_text(lang="zh")

    assert english(said) == []
    assert english(found.to_markdown(lang="zh")) == []
    assert len(re.findall("[\u4e00-\u9fff]", said)) > 100


def test_a_stage_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody forgot the scale: what was required, what came, what it looks like."""
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=4, vocab_size=97, attn_implementation="eager"))
    for block in model.eval().transformer.h:
        block.attn.scaling = 1.0
    said = inspector.parity(model).to_text(lang="zh")

    assert "失败" in said
    assert "第 0 层 attention.scale" in said
    assert "应为" in said
    assert "疑似" in said
    assert english(said) == []


def test_mistakes_are_said() -> None:
    said = inspector.parity("gpt2", twin=True, mutants=True).to_text(lang="zh")

    assert "分数完全没有缩放" in said
    assert english(said) == []
