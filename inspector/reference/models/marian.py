"""Marian: post-norm blocks over a table of sines and cosines, which is read as any table; embeddings are not normalised
(Junczys-Dowmunt et al. 2018, arXiv 1804.00344; Vaswani et al. 2017, arXiv 1706.03762, section 3).
"""

from __future__ import annotations

__all__ = ["forward"]

from functools import partial

from inspector.reference.models.bart_kin import Ways
from inspector.reference.models.bart_kin import forward as forward_of_kin

forward = partial(forward_of_kin, Ways(embedding_norm=False, first=0))
