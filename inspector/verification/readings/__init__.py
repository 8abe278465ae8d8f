"""What each executed stage should compute, where no whole forward says so: read from its role, its shapes and claims.

    look       what a reading sees, and what it makes      moving   what a stage does with each element
    table      role -> its reading                         made     readings -> `Claimed`
    shapes     views at the beginning of a stage          composed  op by op, where no reading fits
    norms maps heads ids tables visible scores plain tokens mixtures   the readings, by what they speak of

A number is claimed by the config or by a convention that execution agrees with; any other is the run's own, and then
the stage is `unclaimed`. No name of a model, a class or an attribute decides anything.
"""

from __future__ import annotations

__all__ = ["claimed_from"]

from inspector.verification.readings.made import claimed_from
