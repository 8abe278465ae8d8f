"""mBART: BART with norms before the sublayers, and one more behind each stack (Liu et al. 2020, arXiv 2001.08210,
section 2.2, and the code released with it).
"""

from __future__ import annotations

__all__ = ["forward"]

from functools import partial

from inspector.reference.models.bart_kin import Ways
from inspector.reference.models.bart_kin import forward as forward_of_kin

forward = partial(forward_of_kin, Ways(pre_norm=True))
