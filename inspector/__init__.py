"""Names every op of a transformer's forward pass by its part in the architecture, with its shapes.

>>> import inspector
>>> inspector.__version__
'0.1.0'
>>> inspector.shapes("gpt2")  # doctest: +SKIP
<Shapes of gpt2, eager: 40 rows, 0 unknown ops>
"""

from __future__ import annotations

__all__ = [
    "ArchitectureError",
    "ParityError",
    "__version__",
    "assert_parity",
    "assert_same_architecture",
    "check",
    "diff",
    "facts",
    "graph",
    "lock",
    "models",
    "parity",
    "report",
    "shapes",
]

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspector.api.verbs import (
        ArchitectureError,
        ParityError,
        assert_parity,
        assert_same_architecture,
        check,
        diff,
        facts,
        graph,
        lock,
        models,
        parity,
        report,
        shapes,
    )

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The verbs are imported when they are first used: importing inspector costs nothing."""
    if name in __all__:
        from inspector.api import verbs

        return getattr(verbs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
