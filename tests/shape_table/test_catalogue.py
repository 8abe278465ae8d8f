"""Every model of the catalogue at full size: nothing unknown, nothing unsolved, and the cache as published."""

from __future__ import annotations

import pytest

from inspector.records import Scenario
from inspector.shape_table.build import shape_table
from inspector.source import presets, resolve, subject_of
from inspector.tracing import observe

STORES_MORE = {"falcon-180b": 4_751_360}
"""Where transformers' cache holds more than the published figure says: Falcon's keys and values are repeated for all
232 query heads before they are stored, not after."""


@pytest.mark.slow
@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_full_size(preset):
    table = shape_table(observe(subject_of(resolve(preset.name)), Scenario()))
    summary = table.summary

    assert (summary.unknown, summary.unsolved_dims, summary.orphans) == (0, 0, 0)
    assert summary.specific == 1.0
    assert summary.parameters == preset.parameters
    assert summary.cache_bytes_per_token == STORES_MORE.get(preset.name, preset.cache_bytes_per_token)
    assert len(table.rows) < 120
