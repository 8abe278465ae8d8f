"""What torch would compile, run as it is written while somebody watches.

A compiled function shows nothing of its inside, and cannot be compiled under a watcher. So compilation stands aside
until the watcher leaves. `flex_attention`, which runs compiled only, becomes one call with its mask as an operand: the
mask function is asked for every pair of query and key, as its own kernel does element by element.
"""

from __future__ import annotations

__all__ = ["flex_attention", "uncompiled"]

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from inspector.errors import TraceFailed

_FLEX = "torch.nn.attention.flex_attention"
_PROBES = (-40.0, -1.5, 0.0, 0.25, 30.0)
_HERE = threading.local()
_unseen = torch._C.DisableTorchFunction  # noqa: SLF001 - no other switch hides a call from modes too


@contextmanager
def uncompiled() -> Iterator[None]:
    """No compilation, and flex_attention seen, in this block.

    >>> with uncompiled():
    ...     torch.compile(torch.sin)(torch.zeros(()))  # doctest: +SKIP
    tensor(0.)
    """
    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules:
            stack.enter_context(_eagerly())
        else:  # importing it takes a second: only where something is compiled
            stack.enter_context(_replaced(torch, "compile", _compile_later(stack, torch.compile)))
        flex = sys.modules.get(_FLEX)
        if flex is not None:
            stack.enter_context(_seen(flex))
        yield


def _eagerly() -> Any:
    """Compiled functions run as they are written."""
    return torch.compiler.set_stance("force_eager")


def _compile_later(stack: ExitStack, compile_: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.compile`, which gives what it always gives; what it gives waits for the end of the watch."""

    def compiled(*args: Any, **kwargs: Any) -> Any:
        made = compile_(*args, **kwargs)
        if not getattr(stack, "waits", False):
            stack.enter_context(_eagerly())
            stack.waits = True  # type: ignore[attr-defined]
        return made

    return compiled


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)


@contextmanager
def _seen(flex: ModuleType) -> Iterator[None]:
    """torch's flex_attention with its mask in sight. What it computes stays its own."""
    masks: list[tuple[Any, Tensor]] = []
    make, kernel = flex.create_block_mask, flex.flex_attention_hop

    def create_block_mask(mask_mod: Any, *args: Any, **kwargs: Any) -> Any:
        masks.append((mask_mod, _dense(mask_mod, *args, **kwargs)))
        with _unseen():
            return make(mask_mod, *args, **kwargs)

    def attend(
        query: Tensor, key: Tensor, value: Tensor, score_mod: Any, block_mask: Any, scale: float, *rest: Any
    ) -> Any:
        def run() -> Any:
            with _unseen():
                return kernel(query, key, value, score_mod, block_mask, scale, *rest)

        mask = next((dense for known, dense in masks if known is block_mask[-1]), None)
        if not _changes_nothing(score_mod) or (mask is None and block_mask[-1] is not flex.noop_mask):
            raise TraceFailed(
                "flex_attention is given a function of its own here, for scores or for a mask made elsewhere",
                why="a softcap or a position bias inside the kernel cannot be seen from outside",
                hint="--attention eager shows it",
            )
        grouped = query.shape[1] != key.shape[1]
        _HERE.run = run
        try:
            return flex_attention(query, key, value, mask, scale=scale, enable_gqa=grouped)
        finally:
            _HERE.run = None

    with (
        _replaced(flex, "create_block_mask", create_block_mask),
        _replaced(flex, "flex_attention_hop", attend),
        _replaced(flex, "_validate_device", _accept),  # it knows no device without memory
        _replaced(flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True),
    ):
        yield


def _dense(
    mask_mod: Any,
    B: int | None,  # noqa: N803 - torch calls them so
    H: int | None,  # noqa: N803
    Q_LEN: int,  # noqa: N803
    KV_LEN: int,  # noqa: N803
    device: Any = None,
    *_: Any,
    **__: Any,
) -> Tensor:
    """The mask function, asked for all pairs at once: True where a query sees a key. [B or 1, H or 1, S, T]"""
    sizes = (B or 1, H or 1, Q_LEN, KV_LEN)
    places = [
        torch.arange(size, device=device).view([-1 if axis == own else 1 for axis in range(4)])
        for own, size in enumerate(sizes)
    ]
    return mask_mod(*places).expand(sizes)  # type: ignore[no-any-return]


def _changes_nothing(score_mod: Any) -> bool:
    """Whether a score goes through as it is: no cap, no bias."""
    nought = torch.zeros((), dtype=torch.long)
    scores = torch.tensor(_PROBES)
    try:
        with _unseen():
            return bool(torch.equal(score_mod(scores, nought, nought, nought, nought), scores))
    except Exception:  # noqa: BLE001 - it looks something up that lives elsewhere: then it does something
        return False


def _accept(*_: Tensor) -> None:
    """Any device will do."""


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """One call of the kernel, as a watcher sees it. Played again on other tensors it is the attention it stands for."""
    if has_torch_function((query,)):
        return handle_torch_function(
            flex_attention, (query,), query, key, value, attn_mask, scale=scale, enable_gqa=enable_gqa
        )
    run = getattr(_HERE, "run", None)
    if run is not None:
        return run()
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask, scale=scale, enable_gqa=enable_gqa
    )
