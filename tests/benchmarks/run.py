"""What inspector costs beside plain forwards and beside its peers, measured in one run on this machine.

    python tests/benchmarks/run.py [--json] [--quick]

Nothing here passes or fails: machines differ. Compare ratios, and only those of one run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import checking
from peers import PEERS
from timing import Figure, alternate, run_time
from work import Subject, asked, folded, named, observed, plain, prepare, seen, told_apart, traced, watched

LLAMAS = (
    ("llama-3-8b", 16, None),
    ("llama-3-8b", 32, 0.5),
    ("llama-3-8b", 64, None),
    ("llama-3.1-405b", 126, 3.0),
)
"""Model, layers, and the seconds that tracing and naming it should stay under."""


def on_laptop() -> Subject:
    """GPT-2 as people run it: one sequence of 128 tokens, eager, float32, on the CPU."""
    return prepare("gpt2", batch=1, seq=128, dtype="float32", device="cpu", weights="random")


def small(rounds: int) -> Iterator[Figure]:
    """What watching and naming add to a forward pass that computes."""
    group = "gpt2 on CPU, B=1 S=128"
    subject = on_laptop()
    trace = traced(subject, watched(subject))
    ops = len(trace.ops)
    work = {
        "plain": lambda: plain(subject),
        "watched": lambda: watched(subject),
        "both": lambda: seen(subject),
        "named": lambda: named(trace),
    }
    times = alternate(work, rounds)
    yield Figure(group, "ops", ops, "ops")
    yield Figure(group, "plain forward", 1e3 * times.median("plain"), "ms")
    yield Figure(group, "watched", times.ratio("watched", "plain"), "x plain", 1.10)
    yield Figure(group, "watched and named", times.ratio("both", "plain"), "x plain", 1.25)
    yield Figure(group, "watching", 1e6 * times.gap("watched", "plain") / ops, "us/op", 20)
    yield Figure(group, "naming", 1e6 * times.median("named") / ops, "us/op", 20)


def large(rounds: int) -> Iterator[Figure]:
    """Llama at full width on meta. Time should grow with the layers and no faster."""
    for model, layers, bar in LLAMAS:
        group = f"{model} on meta, {layers} layers"
        subject = prepare(model, layers=layers)
        trace = traced(subject, watched(subject))
        work = {
            "plain": lambda subject=subject: plain(subject),
            "watched": lambda subject=subject: watched(subject),
            "named": lambda trace=trace: named(trace),
            "folded": lambda trace=trace: folded(trace),
        }
        times = alternate(work, rounds)
        whole = times.median("watched") + times.median("folded")
        yield Figure(group, "ops", len(trace.ops), "ops")
        yield Figure(group, "plain forward", times.median("plain"), "s")
        yield Figure(group, "watched", times.median("watched"), "s")
        yield Figure(group, "named", times.median("named"), "s")
        yield Figure(group, "watched, named and folded", whole, "s", bar)
        yield Figure(group, "the same, per op", 1e6 * whole / len(trace.ops), "us/op")


def readers(rounds: int) -> Iterator[Figure]:
    """Facts, and the diff of two models from their traces."""
    for model in ("gpt2", "bert-base-uncased", "llama-3-8b", "llama-3.1-405b"):
        work = {"facts": lambda model=model: asked(model)}
        yield Figure("facts, after imports", model, alternate(work, 3).median("facts"), "s", 2)
    one, other = observed("llama-2-7b"), observed("llama-3-8b")
    deep, deeper = observed("llama-3-70b"), observed("llama-3.1-405b")
    work = {
        "folded": lambda: told_apart(one, other),
        "unfolded": lambda: told_apart(deep, deeper, unfolded=True),
    }
    times = alternate(work, min(rounds, 5))
    yield Figure("diff, from traces", "llama-2-7b and llama-3-8b", times.median("folded"), "s", 0.2)
    yield Figure("diff, from traces", "80 layers against 126, unfolded", times.median("unfolded"), "s", 1)


def parity(rounds: int) -> Iterator[Figure]:
    """What it costs to hold every stage against float64."""
    group = "parity, gpt2 on CPU, float32, B=1 S=127"
    subject = checking.ready("gpt2", batch=1, seq=127, padding="none")
    first = checking.look(subject)
    work = {
        "plain": lambda: checking.plain(subject),
        "looked": lambda: checking.look(subject),
        "checked": lambda: checking.check(subject, first),
    }
    times = alternate(work, min(rounds, 5))
    yield Figure(group, "plain forward", 1e3 * times.median("plain"), "ms")
    yield Figure(group, "first pass, with roles", times.ratio("looked", "plain"), "x plain")
    yield Figure(group, "checked forward", times.ratio("checked", "plain"), "x plain", 6)
    for seq in (127, 512):
        plain_peak = checking.peak("plain", seq)
        yield Figure(group, f"peak memory at S={seq}", checking.peak("checked", seq) / plain_peak, "x plain")
    models = ("bert-base-uncased", "gpt2", "llama-3-8b")
    start = time.perf_counter()
    made = checking.mistakes(models)
    taken = time.perf_counter() - start
    yield Figure("mistakes in twins of three models", "made and judged", made, "mistakes")
    yield Figure("mistakes in twins of three models", "all of them", taken, "s", 120)


def processes(rounds: int) -> Iterator[Figure]:
    """What one waits for at the command line."""
    group = "whole process"
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "INSPECTOR_CACHE_DIR": folder}
        command = [sys.executable, "-m", "inspector"]
        bare = run_time([sys.executable, "-c", "pass"], environment, rounds)
        imports = [sys.executable, "-c", "import torch; from transformers import GPT2LMHeadModel"]
        yield Figure(group, "bare Python", 1e3 * bare, "ms")
        yield Figure(group, "inspector --help", 1e3 * run_time([*command, "--help"], environment, rounds), "ms", 100)
        imported = run_time(imports, environment, rounds)
        yield Figure(group, "import torch and transformers", imported, "s")
        shapes = [*command, "shapes", "gpt2"]
        yield Figure(group, "shapes gpt2, first time", run_time(shapes, environment, 1), "s", imported + 1)
        yield Figure(group, "shapes gpt2, stored", 1e3 * run_time(shapes, environment, rounds), "ms", 400)
        report = [*command, "report", "bert-base-uncased", "gpt2", "llama-3-8b", "--output-dir", f"{folder}/out"]
        run_time(report, environment, 1)
        yield Figure(group, "report of three models, stored", run_time(report, environment, rounds), "s", 2)
        lock = f"{folder}/gpt2.arch.json"
        run_time([*command, "lock", "gpt2", "-o", lock], environment, 1)
        check = [*command, "check", lock]
        yield Figure(group, "check gpt2, stored", 1e3 * run_time(check, environment, rounds), "ms", 500)


def beside_peers(rounds: int) -> Iterator[Figure]:
    """The same forward passes through the tools nearest to this one."""
    laptop = on_laptop()
    uncached = laptop._replace(inputs={**laptop.inputs, "use_cache": False})  # torchview fails on a KV cache
    yield from _beside_peers("peers, gpt2 on CPU, B=1 S=128", uncached, rounds)
    yield from _beside_peers("peers, llama-3-8b on meta", prepare("llama-3-8b"), rounds)


def _beside_peers(group: str, subject: Subject, rounds: int) -> Iterator[Figure]:
    def times_plain(look: Callable[[Subject], Any], rounds: int) -> float:
        work = {"plain": lambda: plain(subject), "looked at": lambda: look(subject)}
        return alternate(work, rounds).ratio("looked at", "plain")

    yield Figure(group, "inspector", times_plain(seen, rounds), "x plain")
    for name, look in PEERS.items():
        try:
            yield Figure(group, f"{name} {version(name)}", times_plain(look, 1), "x plain")
        except PackageNotFoundError:
            print(f"{name} is not installed: skipped (pip install {name})", file=sys.stderr)
        except Exception as error:  # a peer may fail in any way, and then that is its figure
            print(f"{name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}", file=sys.stderr)


def show(figure: Figure) -> str:
    bar = f"   (bar {figure.bar:,.4g})" if figure.bar is not None else ""
    return f"  {figure.name:<32} {figure.value:>10,.4g} {figure.unit}{bar}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--quick", action="store_true", help="three rounds instead of nine")
    options = parser.parse_args()
    rounds = 3 if options.quick else 9
    tool: dict[str, Any] = {name: version(name) for name in ("torch", "transformers")}
    tool["threads"] = torch.get_num_threads()
    if hasattr(os, "getloadavg"):  # a machine that does other work measures that work
        tool["load"] = round(os.getloadavg()[0], 1)
    if not options.json:
        print(", ".join(f"{name} {value}" for name, value in tool.items()))
    figures, group = [], None
    for part in (small, large, readers, parity, processes, beside_peers):
        for figure in part(rounds):
            figures.append(figure)
            if options.json:
                continue
            if figure.group != group:
                group = figure.group
                print(f"\n{group}")
            print(show(figure), flush=True)
    if options.json:
        print(json.dumps({"tool": tool, "figures": [figure._asdict() for figure in figures]}, indent=2))


if __name__ == "__main__":
    main()
