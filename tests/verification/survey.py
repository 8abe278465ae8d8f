"""How much of each model type has a reading: `python tests/verification/survey.py [TYPE ...] [--attention sdpa]`.

Each type is built small and run in a process of its own, so that one that crashes or hangs costs its own row.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
for place in (Path(__file__).parents[1], Path(__file__).parents[2]):
    sys.path.insert(0, str(place))

SECONDS = 180
FORK = multiprocessing.get_context("fork")
"""The copies have torch and transformers loaded already."""


def text_types() -> list[str]:
    """The types that read or write text, by transformers' own lists."""
    from transformers.models.auto import modeling_auto as auto

    lists = (
        auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )
    return sorted({name for names in lists for name in names})


def checked(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """The report of one type, as plain values."""
    from conftest import TYPES, tiny_subject

    from inspector.records import Scenario
    from inspector.source import subject_of
    from inspector.source.resolve import resolve
    from inspector.source.tiny import randomise, twin_of
    from inspector.tracing.run import model_info
    from inspector.verification.readings import claimed_from
    from inspector.verification.verify import Running, verify

    seq = 1 if asked.past else 31
    wanted = Scenario(3, seq, asked.past, asked.attention, asked.dtype, "cpu", weights="random")
    subject = tiny_subject(name) if name in TYPES else twin_of(subject_of(resolve(f"model_type:{name}")), wanted)[0]
    scenario, _ = subject.settle(wanted)
    module = subject.make(scenario)
    randomise(module, 0)
    info = model_info(subject, module)
    running = Running(module, lambda: subject.inputs(module, scenario), scenario, info, subject.claims)
    report = verify(running, lambda inputs, plan: claimed_from(plan, module, inputs, subject.claims))
    told = {
        verdict: Counter(f"{row.name}: {row.culprit}" for row in report.rows if row.verdict == verdict).most_common()
        for verdict in ("unchecked", "fail")
    }
    softmax = any(row.path.endswith((".softmax", ".fused")) for row in report.rows)
    return {"counts": report.counts, "softmax": softmax, **told}


def alone(name: str, asked: argparse.Namespace, answer: Connection) -> None:
    """What runs in the copy: the report, or what went wrong."""
    try:
        found = checked(name, asked)
    except Exception as error:  # noqa: BLE001 - a type may fail in any way
        found = {"error": f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:160]}
    answer.send(found)


def row(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """The report of one type from a process of its own."""
    here, there = FORK.Pipe(duplex=False)
    process = FORK.Process(target=alone, args=(name, asked, there), daemon=True)
    process.start()
    there.close()
    try:
        return here.recv() if here.poll(SECONDS) else {"error": f"no answer in {SECONDS} seconds"}
    except EOFError:
        return {"error": "died"}
    finally:
        process.kill()
        process.join()


def share(found: dict[str, Any]) -> float:
    """Stages that were verified, of those that could be."""
    counts = found["counts"]
    whole = sum(counts.values()) - counts["exempt"]
    return (counts["pass"] + counts["unclaimed"]) / whole if whole else 0.0


def show(name: str, found: dict[str, Any]) -> None:
    if "error" in found:
        print(f"{name:26} -- {found['error']}", flush=True)
        return
    counts = found["counts"]
    whole = sum(counts.values()) - counts["exempt"]
    kind = "" if found["softmax"] else "  (no softmax attention)"
    print(f"{name:26} {whole:5} stages {share(found):7.1%} verified {counts['fail']:4} fail{kind}", flush=True)
    for verdict, most in (("unchecked", 6), ("fail", 8)):
        for text, count in found[verdict][:most]:
            print(f"    {verdict} {count:3} {text[:200]}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("types", nargs="*")
    parser.add_argument("--attention", default="eager")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--past", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    import torch

    import inspector.verification.readings  # noqa: F401 - loaded before the copies are made

    torch.set_num_threads(1)
    types = asked.types or text_types()
    begun = time.monotonic()
    good: list[float] = []
    with ThreadPoolExecutor(asked.processes) as pool:
        for name, found in zip(types, pool.map(lambda name: row(name, asked), types), strict=True):
            show(name, found)
            good += [share(found)] if found.get("softmax") else []
    mean, enough = sum(good) / max(len(good), 1), sum(one >= 0.95 for one in good)
    print(f"{len(good)} types with softmax attention: {mean:.1%} verified on average, {enough} of them at 95 % or more")
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
