"""The flag sweep as a page to read and as data: `python tests/survey/flags_page.py FILE [-o FOLDER] [--baseline JSON]`.

FILE is what `flags.py` wrote. With `-o reports/measured` this writes the committed `flags.md` and `flags.json`. With a
baseline, the exit code is 1 where a switch that was told of is told of no more, or one is unseen that was not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import flags
import flips

from inspector.api.files import write_whole

Lines = dict[str, dict[str, Any]]

RESULTS = ("changed", "no effect", "invalid", "unseen")
"""In the order of the columns."""

_MEANINGS = {
    "changed": "a fact or a row of the diff says so",
    "no effect": "the same weights give the same answers to the bit, and there are no others",
    "invalid": "the config or the model refuses it",
    "unseen": "the answers are others and nothing says so: a fault of inspector",
}

_HEAD = """\
# The switches of {types} model types, each thrown once

A switch is a boolean of a config, or a word that could be another one: an activation, a kind of rotation, of a layer,
of attention. It is thrown in the config of a small copy, which keeps the other's weights. Of {flips} switches:

{counts}

Made with {tool}. {left}
Each copy runs on the CPU in one thread, batch 2, 31 tokens, eager attention, in these readings until one of them shows
something: {readings}.
`python tests/survey/flags.py -o FILE` throws them, `python tests/survey/flags_page.py FILE -o reports/measured` writes
this page and flags.json, which lists every single one."""

_READINGS = {
    "prefill": "float32",
    "bfloat16": "bfloat16",
    "decode": "one token after 30",
    "head": "with a head, where the type means the model without",
}


def envelope(lines: Lines) -> dict[str, Any]:
    """The data: each type with its switches, in order. How long it took is left out: no two runs agree."""
    kept = {name: lines[name] for name in sorted(lines)}
    types = [
        {"type": name, "flips": line["flips"], **({"why": line["why"]} if "why" in line else {})}
        for name, line in kept.items()
    ]
    rows = [row for line in kept.values() for row in line["flips"]]
    summary = {"types": len(kept), "flips": len(rows), **_counts(rows)}
    tool = next((line["tool"] for line in kept.values()), flags.versions())
    return {"schema": "inspector/flags/1", "tool": tool, "summary": summary, "rows": types}


def page(found: dict[str, Any]) -> str:
    """The page: figures, one row for each type, then every switch with what it does, alike ones together."""
    return "\n".join([head(found), "", *_types(found), "", *_all_switches(found), ""])


def head(found: dict[str, Any]) -> str:
    """What was found in all, and how."""
    summary = found["summary"]
    return _HEAD.format(
        types=summary["types"],
        flips=f"{summary['flips']:,}",
        counts="\n".join(f"* {summary[result]:,} {result}: {_MEANINGS[result]}" for result in RESULTS),
        tool=", ".join(f"{name} {version}" for name, version in found["tool"].items() if name != "python"),
        readings="; ".join(_READINGS[reading.name] for reading in flags.READINGS),
        left=_left(found),
    )


def _left(found: dict[str, Any]) -> str:
    """How many types run and have not been asked."""
    left = set(flags.traced()) - {line["type"] for line in found["rows"]}
    return f"{len(left)} more types run and were not reached." if left else "All types that run are here."


def _types(found: dict[str, Any]) -> Iterator[str]:
    yield "## Each type"
    yield ""
    yield "| type | switches | " + " | ".join(RESULTS) + " | |"
    yield "|:---|---:|" + "---:|" * len(RESULTS) + ":---|"
    for line in found["rows"]:
        counts = _counts(line["flips"])
        figures = " | ".join(str(counts[result]) for result in RESULTS)
        yield f"| {line['type']} | {len(line['flips'])} | {figures} | {_cell(line.get('why', ''))} |"


def _all_switches(found: dict[str, Any]) -> Iterator[str]:
    """Those of one result together, faults first; in them what is alike in one row."""
    alike: dict[str, dict[tuple[str, ...], list[str]]] = {result: {} for result in reversed(RESULTS)}
    for line in found["rows"]:
        for row in line["flips"]:
            key = (_last(row), _text(row["old"]), _text(row["new"]), shown(row, line["type"]))
            alike[row["result"]].setdefault(key, []).append(line["type"])
    for result, mine in alike.items():
        yield from (f"## {result.capitalize()}: {sum(map(len, mine.values())):,}", "")
        if mine:
            yield f"| switch | from | to | {'shown by' if result == 'changed' else 'why'} | types |"
            yield "|:---|:---|:---|:---|:---|"
        yield from (f"| {' | '.join(map(_cell, key))} | {_named(types)} |" for key, types in sorted(mine.items()))
        yield ""


def shown(row: dict[str, Any], model_type: str) -> str:
    """What shows a switch, else why nothing does.

    >>> shown({"key": "mlp_bias", "result": "changed", "seen": ["bias.mlp", "cost.flops_other"]}, "llama")
    'bias.mlp'
    """
    if row["result"] == "changed":
        open_ = f"; {row['unknown']} more ops have no role" if "unknown" in row else ""
        own = [name for name in row["seen"] if not name.startswith(flags.COUNTS)]
        return ", ".join((own or row["seen"])[:3]) + _beside(row) + open_
    if row["result"] == "unseen":
        return (row.get("why") or f"{', '.join(row['moved'])} moved") + _beside(row)
    if row["result"] == "invalid":
        return row["why"] + _beside(row)
    *part, key = str(row["key"]).split(".")
    return flips.reason(flips.Flip(tuple(part), key, row["old"], row["new"]), model_type) or row["why"]


def _beside(row: dict[str, Any]) -> str:
    """In which reading, where it is not the first."""
    return "" if row.get("reading", "prefill") in ("config", "prefill") else f" ({row['reading']})"


def _last(row: dict[str, Any]) -> str:
    """A key by its last name: `hidden_act` wherever it stands."""
    return str(row["key"]).rpartition(".")[2]


def _text(value: Any) -> str:
    """A list by its last entry: that is the one which changed."""
    if isinstance(value, list):
        return f"..., {_text(value[-1])}" if value else "nothing"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "yes", False: "no"}[value]
    return str(value)


def _named(types: list[str]) -> str:
    counts = Counter(types)
    return ", ".join(name if count == 1 else f"{name} x{count}" for name, count in sorted(counts.items()))


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("_", "\\_").replace("*", "\\*").replace("<", "\\<")


def _counts(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    counts = Counter(row["result"] for row in rows)
    return {result: counts[result] for result in RESULTS}


def worse(found: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """Switches that were told of and are no more, and those that are unseen and were not, each in a line."""
    known = {_switch(line, row): row["result"] for line in before["rows"] for row in line["flips"]}
    now = {_switch(line, row): row["result"] for line in found["rows"] for row in line["flips"]}
    moved = {switch: (known.get(switch), result) for switch, result in now.items() if known.get(switch) != result}
    return [
        f"{' '.join(switch)}: {old} -> {new}"
        for switch, (old, new) in moved.items()
        if old == "changed" or new == "unseen"
    ]


def _switch(line: dict[str, Any], row: dict[str, Any]) -> tuple[str, str, str]:
    return line["type"], row["key"], json.dumps(row["new"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--baseline", type=Path)
    asked = parser.parse_args()
    found = envelope(flags.read(asked.file))
    if asked.output:
        asked.output.mkdir(parents=True, exist_ok=True)
        write_whole(asked.output / "flags.json", as_json(found).encode())
        write_whole(asked.output / "flags.md", page(found).encode())
    print(head(found))
    told = worse(found, json.loads(asked.baseline.read_text("utf-8"))) if asked.baseline else []
    print(*told, sep="\n")
    return 1 if told else 0


def as_json(found: dict[str, Any]) -> str:
    """One line for each switch, so that git shows what an update of it changed."""
    head = json.dumps({key: value for key, value in found.items() if key != "rows"}, indent=1)
    rows = ",\n".join(
        json.dumps({key: value for key, value in line.items() if key != "flips"})[:-1]
        + ', "flips": [\n'
        + ",\n".join(f"  {json.dumps(row)}" for row in line["flips"])
        + "\n ]}"
        for line in found["rows"]
    )
    return f'{head[:-2]},\n "rows": [\n {rows.replace(chr(10) + "{", chr(10) + " {")}\n ]\n}}\n'


if __name__ == "__main__":
    sys.exit(main())
