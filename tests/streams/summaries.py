"""Pairs of summaries that every drift test is tried on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streams.bins import EMPTY, NumericSummary
from streams.drift.groups import Summary
from streams.texts import StringSummary


def pairs() -> Iterator[tuple[Summary, Summary, bool]]:
    """Reference, current, and whether the two hold the same."""
    rng = np.random.default_rng(1)
    numbers = [
        NumericSummary.of(values)
        for values in (
            rng.normal(size=3000),
            rng.normal(0.5, size=700),
            rng.lognormal(size=900),
            np.zeros(400),
            rng.integers(0, 3, 800).astype(float),
            rng.normal(size=99),
            np.array([1e300, -1e300] * 200),
        )
    ]
    texts = [
        StringSummary.of_counts({"a": 500, "b": 300, "c": 200}),
        StringSummary.of_counts({"a": 100, "b": 300, "d": 200}),
        StringSummary.of_counts({f"v{i}": 1 + i for i in range(300)}),
        StringSummary.of([f"user {i}" for i in range(4000)]),
        StringSummary.of_counts({"a": 50}),
    ]
    for kind in ([*numbers, EMPTY], texts):
        for reference in kind:
            for current in kind:
                yield reference, current, reference is current
