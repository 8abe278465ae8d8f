"""PEGASUS: norms before the sublayers and one behind each stack, over a table of sines and cosines, which is read as
any table; embeddings are not normalised (Zhang et al. 2019, arXiv 1912.08777, section 5, and the code released).
"""

from __future__ import annotations

__all__ = ["forward"]

from functools import partial

from inspector.reference.models.bart_kin import Ways
from inspector.reference.models.bart_kin import forward as forward_of_kin

forward = partial(forward_of_kin, Ways(pre_norm=True, embedding_norm=False, first=0))
