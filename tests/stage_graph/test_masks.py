"""What a mask lets through, from its contents alone."""

from __future__ import annotations

import pytest
import torch

from inspector.stage_graph.masks import MaskKind, describe
from inspector.tracing.concrete import concrete_of

QUERY, KEY = torch.arange(12)[:, None], torch.arange(12)[None, :]
CAUSAL = KEY <= QUERY

PATTERNS = {
    "full": (torch.ones(12, 12, dtype=torch.bool), MaskKind("full")),
    "causal": (CAUSAL, MaskKind("causal")),
    "sliding": (CAUSAL & (KEY > QUERY - 4), MaskKind("sliding", 4)),
    "chunked": (CAUSAL & (KEY // 4 == QUERY // 4), MaskKind("chunked", 4)),
    "both ways": ((KEY - QUERY).abs() <= 3, MaskKind("bidirectional-sliding", 3)),
    "decode": (torch.ones(1, 12, dtype=torch.bool), MaskKind("causal")),
    "decode in a window": (KEY[:, :] > 8, MaskKind("sliding", 3)),
    "nobody": (torch.zeros(4, 12, dtype=torch.bool), MaskKind("other")),
    "holes": (CAUSAL & (KEY != 4), MaskKind("other")),
    "every other": ((KEY - QUERY) % 2 == 0, MaskKind("other")),
    "diagonal": (KEY == QUERY, MaskKind("sliding", 1)),
}


@pytest.mark.parametrize("form", ["bool", "float"])
@pytest.mark.parametrize("name", PATTERNS)
def test_describe(name, form):
    seen, expected = PATTERNS[name]
    mask = seen if form == "bool" else torch.where(seen, 0.0, torch.finfo(torch.float32).min)

    assert describe(concrete_of(mask[None, None])) == expected


def test_a_mask_may_say_what_it_hides():
    assert describe(concrete_of(~CAUSAL), hides=True) == MaskKind("causal")


def test_padding_of_another_row_is_not_the_pattern():
    padded = CAUSAL.clone()
    padded[:, :3] = False

    assert describe(concrete_of(torch.stack([padded, CAUSAL])[:, None])) == MaskKind("causal")


def test_a_mask_off_by_one_is_another_pattern():
    assert describe(concrete_of(KEY < QUERY)).kind == "other"
    assert describe(concrete_of(CAUSAL & (KEY >= QUERY - 4))) == MaskKind("sliding", 5)
