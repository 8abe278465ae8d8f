"""The same forward pass seen by other tools, where they are installed."""

from __future__ import annotations

__all__ = ["PEERS"]

import warnings
from collections.abc import Callable
from typing import Any

from work import Subject


def _torchinfo(subject: Subject) -> Any:
    """Modules only: it does not see ops."""
    import torchinfo

    return torchinfo.summary(subject.module, input_data=subject.inputs, verbose=0, device=subject.scenario.device)


def _torchview(subject: Subject) -> Any:
    import torchview

    return torchview.draw_graph(subject.module, input_data=subject.inputs, device=subject.scenario.device)


def _torchlens(subject: Subject) -> Any:
    import torchlens

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torchlens.trace(subject.module, [], subject.inputs)


PEERS: dict[str, Callable[[Subject], Any]] = {
    "torchinfo": _torchinfo,
    "torchview": _torchview,
    "torchlens": _torchlens,  # last: it wraps all of torch when it first runs, and leaves it so
}
