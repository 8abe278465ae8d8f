"""Messages: the same keys in every language, all of them used, and what is stored in English known again."""

from __future__ import annotations

import ast
import contextlib
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Formatter

import pytest

import inspector
from inspector.axes import AXES
from inspector.comparison.algebra import BY_FORM, BY_ROLE
from inspector.comparison.rules import RULES, SEVERITIES
from inspector.errors import UsageError
from inspector.messages import LANGUAGES, again, language, messages, say, speaking
from inspector.render.document import line, plain
from inspector.reporting import words
from inspector.vocabulary import FACTS, ROLES, SECTIONS

PACKAGE = Path(inspector.__file__).parent
FOLDER = PACKAGE / "messages"
OTHERS = [code for code in LANGUAGES if code != "en"]

STORED = ("reason", "value", "held", "probe", "note", "title", "stage_of", "culprit", "equivalent", "figure", "inputs")
"""Sections of what others say in English and records keep."""

VOCABULARY = {"section", "severity", "axis", "axis_meaning", "fact_meaning", *(f"role_{name}" for name in ROLES)}
"""Sections that English has where the ids are defined."""

Entry = tuple[str, str]


def entries(code: str) -> list[tuple[Entry, str]]:
    """((section, key), phrase) of every message, in the order of the files."""
    return [((section, key), str(text)) for section, each in messages(code).items() for key, text in each.items()]


def own(code: str) -> dict[Entry, str]:
    return {at: text for at, text in entries(code) if at[0] not in VOCABULARY | {"mistake"}}


def fields(phrase: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(phrase) if name}


@pytest.mark.parametrize("code", OTHERS)
def test_every_language_has_the_same_keys_in_the_same_order(code: str) -> None:
    """The order of a rule's values is the order in which the two sides are told."""
    there, here = own(code), own("en")

    assert here.keys() == there.keys()
    for section in messages():
        assert list(messages(code)[section]) == list(messages()[section]), section


@pytest.mark.parametrize("code", OTHERS)
def test_every_phrase_has_the_same_places_to_fill(code: str) -> None:
    there = own(code)
    apart = {at: text for at, text in own("en").items() if fields(text.partition("|")[0]) != fields(there[at])}

    assert {at for at in apart if fields(apart[at]) - fields(there[at]) != {"ratio"}} == set()


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_key_is_written_twice(code: str) -> None:
    found: Counter[Entry] = Counter()
    for path in (FOLDER / code).glob("*.toml"):
        found.update((section, key) for section, each in tomllib.loads(path.read_text("utf-8")).items() for key in each)

    assert found
    assert [at for at, count in found.items() if count > 1] == []


@pytest.mark.parametrize("code", OTHERS)
def test_every_id_of_the_vocabulary_is_explained(code: str) -> None:
    spoken = messages(code)

    assert spoken["section"].keys() == SECTIONS.keys()
    assert spoken["fact_meaning"].keys() == FACTS.keys()
    assert spoken["severity"].keys() == SEVERITIES.keys()
    assert spoken["axis"].keys() == spoken["axis_meaning"].keys() == AXES.keys()
    for section, roles in ROLES.items():
        if section != "cross_attention":
            assert spoken[f"role_{section}"].keys() == roles.keys(), section
    with speaking(code):
        assert words.meaning("role_cross_attention", "rope") == words.meaning("role_attention", "rope")


@pytest.mark.parametrize("code", OTHERS)
def test_every_known_mistake_is_explained(code: str) -> None:
    from inspector.verification.mutants.catalogue import CATALOGUE

    assert set(messages(code)["mistake"]) == {mutant.name for mutant in CATALOGUE}


@cache
def literals() -> set[str]:
    """Every text of the code and of the templates; of an f-string its fixed pieces."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        found |= {
            node.value
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    for path in PACKAGE.rglob("*.html"):
        found |= {one or two for one, two in re.findall(r"""say\((?:"([^"]+)"|'([^']+)')""", path.read_text("utf-8"))}
    return found


def test_every_message_is_used() -> None:
    """By its id; of an id that is put together, by the pieces around what is filled in; of a rule, by the rule."""
    known = literals()
    starts = tuple(text for text in known if re.fullmatch(r"[a-z_]+\.[a-z_]*|learn_", text))
    rules = {rule.id for rule in RULES} | {section for section in messages() if section.startswith("graph.")}
    unused = [
        (section, key)
        for (section, key), _ in entries("en")
        if not (f"{section}.{key}" in known or f"{section}.{key}".startswith(starts) or section in rules | set(STORED))
        and not (section == "count" and key in known)
        and section not in ("explained", "fact", "summary", "joint")  # of the first: tests/source/test_claims.py
    ]

    assert unused == []


def skeleton(phrase: str) -> list[str]:
    """What stands between the places to fill, cut where code may have put it together."""
    texts = (text for text, *_ in Formatter().parse(phrase))
    return [piece for text in texts for piece in re.split(r"[:,;()]|^ and ", text) if piece.strip(" .")]


@pytest.mark.parametrize("section", STORED)
def test_what_is_known_again_is_still_said_by_someone(section: str) -> None:
    code = " ".join(literals())

    for key, phrase in messages()[section].items():
        for piece in skeleton(phrase):
            assert piece.strip() in code, f"{section}.{key}: nobody says {piece!r}"


def said_by(node: ast.AST | None) -> Iterator[str]:
    """The texts that an expression may be, each place to fill as "x"."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
    elif isinstance(node, ast.IfExp | ast.Tuple | ast.BoolOp):
        for part in ast.iter_child_nodes(node):
            yield from said_by(part)


def reasons() -> Iterator[str]:
    """Why a stage cannot be checked: what readings, values and bounds return where others give a number."""
    folder = PACKAGE / "verification"
    for path in (*folder.rglob("readings/*.py"), *folder.glob("*.py"), *folder.glob("against/*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            unknown = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_Unknown"
            given = node.args if unknown else [node.value] if isinstance(node, ast.Return) else []
            yield from (text for one in given for text in said_by(one) if re.match(r"[a-z][\w-]* \w+ ", text))


def test_every_reason_why_a_stage_is_not_checked_is_said_again() -> None:
    joined = {"no stage divergesx", "x of x values differ, xx"}  # of sentences that are known each for itself
    known = set(reasons()) - joined
    with speaking("zh"):
        english = {text for text in known if again(text, "culprit", "note", "stage_of", "figure") == text}

    assert len(known) > 90
    assert english == set()


def test_every_reason_why_two_parts_are_one_is_said_again() -> None:
    formulas = {"s (q kᵀ) = (s q) kᵀ"}  # is the same in any language
    known = {*BY_FORM.values(), *(text for _, text in BY_ROLE)} - formulas
    with speaking("zh"):
        assert {text for text in known if again(text, "reason") == text} == set()


def test_a_stored_sentence_is_said_again() -> None:
    with speaking("zh"):
        said = again("the same role path and operand; by algebra: s (q kᵀ) = (s q) kᵀ", "reason")
        assert said == "角色路径和操作数相同；由代数可知：s (q kᵀ) = (s q) kᵀ"
        assert again("seq raised from 16 to 4112: the window is 4,096 tokens", "note").startswith(
            "seq 由 16 增加到 4112"
        )
        assert again("nothing claims kind and eps", "culprit") == "没有谁声明 kind 与 eps"
        assert again("nobody ever said this", "reason", "note") == "nobody ever said this"
    assert again("no counterpart", "reason") == "no counterpart"


def test_a_language_is_spoken_inside_and_no_longer() -> None:
    with contextlib.suppress(RuntimeError), speaking("zh"):
        assert (language(), say("label.facts")) == ("zh", "事实")
        raise RuntimeError

    assert (language(), say("label.facts")) == ("en", "facts")


def test_a_language_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no language 'fr'"):
        inspector.models().to_text(lang="fr")
    assert inspector.models().to_text(lang="zh-CN") == inspector.models().to_text(lang="zh")


def test_saying_what_is_not_there_fails() -> None:
    with pytest.raises(KeyError):
        say("label.nothing of the kind")
    with pytest.raises(KeyError):
        say("report.save")  # without what is left out


def test_text_in_two_cells_a_character_is_aligned() -> None:
    """Columns of plain text start at one place on every line, in cells of a terminal."""
    from rich.cells import cell_len

    lines = inspector.models().to_text(lang="zh").splitlines()
    header = next(text for text in lines if "参数量" in text)
    row = next(text for text in lines if "124,439,808" in text)
    end = cell_len(header.partition("参数量")[0] + "参数量")

    assert cell_len(row.partition("124,439,808")[0] + "124,439,808") == end


def test_chinese_text_fits_the_width() -> None:
    from rich.cells import cell_len

    from inspector.render.layout import wrapped

    text = line("每个 token 的缓存分别为 131,072 与 36,864 字节（多头注意力，MHA），因此更大。" * 2)
    for width in (10, 20, 33):
        lines = [plain(part) for part in wrapped(text, width, cell_len)]
        assert max(map(cell_len, lines)) <= width
        assert "".join(lines).replace(" ", "") == plain(text).replace(" ", "")
        assert not any(part.startswith(tuple("，。）")) for part in lines)


def test_a_line_may_end_behind_chinese_punctuation_between_english_names() -> None:
    from rich.cells import cell_len

    from inspector.render.layout import wrapped

    lines = wrapped(line("残差流的宽度：gpt2 为 768，llama-3-8b（见下）为 4,096。"), 27, cell_len)
    assert [plain(part) for part in lines] == ["残差流的宽度：gpt2 为 768，", "llama-3-8b（见下）为", "4,096。"]
