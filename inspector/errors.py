"""What can go wrong, and the exit code each kind ends with.

    InspectorError                3   could not answer
    ├── UsageError                2   a value that cannot be met: no such device, output not writable
    ├── ModelNotFound             3   MODEL names nothing we can find
    ├── ModelAtFault              3   the model, its config or its weights are broken
    ├── TraceFailed               3   the forward pass raised, or could not be followed
    └── SchemaError               3   a JSON file that is not what it says

Inner code raises the short fact; the door (the command line) prints `what`, then `why`, then `hint`, one line each.
"""

from __future__ import annotations

__all__ = ["InspectorError", "ModelAtFault", "ModelNotFound", "SchemaError", "TraceFailed", "UsageError"]


class InspectorError(Exception):
    """The question could not be answered.

    >>> print(ModelNotFound("no model is named 'gtp2'", hint="did you mean gpt2?"))
    no model is named 'gtp2'
    did you mean gpt2?
    """

    exit_code = 3

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.hint = what, why, hint

    def __str__(self) -> str:
        return "\n".join(line for line in (self.what, self.why, self.hint) if line)


class UsageError(InspectorError):
    """A value that cannot be met on this machine or by this model."""

    exit_code = 2


class ModelNotFound(InspectorError):
    """MODEL is none of the forms we know."""


class ModelAtFault(InspectorError):
    """The model exists, but its config, code or weights cannot be used."""


class TraceFailed(InspectorError):
    """The forward pass raised, or what ran could not be followed."""


class SchemaError(InspectorError):
    """A JSON document that is broken, foreign, or from another version."""
