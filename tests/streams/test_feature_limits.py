"""Which features of a series are kept: by slow code, whatever the order in which tables merge."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest

from driftline.streams.measure.drift.profiles import watched
from driftline.streams.measure.drift.targets import FeatureTarget, SegmentTargets
from driftline.streams.summaries.feature_limits import LEFT_OUT, settled, thinned
from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.summaries.feature_table import EMPTY, FeatureTable, concatenate_tables
from driftline.streams.summaries.numeric_bins import BinColumns, NumericSummary
from driftline.streams.summaries.text_summary import TextColumns
from tests.crowded_features import zero_bits

Value = tuple[int, str]
"""Series and feature of one value."""


def table_of(values: list[Value]) -> FeatureTable:
    """A table in which every value is the number 1."""
    if not values:
        return EMPTY
    cells = sorted(set(values))
    names = sorted({name for _, name in values})
    group = np.array([cells.index(value) for value in values], np.int64)
    zeros = np.zeros(len(cells), np.int64)
    return FeatureTable.of(
        names,
        [],
        np.array([series for series, _ in cells], np.int64),
        np.array([names.index(name) for _, name in cells], np.int64),
        BinColumns.of(np.ones(len(values)), group, len(cells)),
        TextColumns.summed(zeros[:0], zeros[:0], None, zeros, []),
        zeros,
    )


def counts_of(table: FeatureTable) -> dict[Value, int]:
    return {key: summary.n for key, summary in table.summed().summaries().items()}


def expected(values: list[Value], most: int) -> dict[Value, int]:
    """The counts of what stays, and of what is left out where that is anything."""
    counts: Counter[Value] = Counter(values)
    kept: Counter[Value] = Counter()
    for series in {series for series, _ in values}:
        names = [name for of_series, name in counts if of_series == series]
        level = 0
        while sum(zero_bits(name) >= level for name in names) > most:
            level += 1
        for name in names:
            stays = zero_bits(name) >= level
            kept[series, name if stays else LEFT_OUT] += counts[series, name]
    return dict(kept)


@pytest.mark.parametrize("seed", range(40))
def test_thinned_features_do_not_depend_on_how_tables_are_merged(seed: int) -> None:
    random = Random(seed)
    most = random.choice((1, 3, 10))
    values = [
        (random.randrange(3), f"n{random.randrange(random.choice((3, 30, 90)))}")
        for _ in range(random.choice((5, 60, 200)))
    ]
    random.shuffle(values)
    tables = []
    while values:
        size = random.randint(1, 40)
        tables.append((values[:size], thinned(table_of(values[:size]), most)))
        del values[:size]
    while len(tables) > 1:
        random.shuffle(tables)
        merged = random.randint(2, 4)
        parts, tables = tables[:merged], tables[merged:]
        together = concatenate_tables([table for _, table in parts])
        if random.random() < 0.8:
            together = together.summed()
        tables.append(([value for of, _ in parts for value in of], thinned(together, most)))
        assert counts_of(tables[-1][1]) == expected(tables[-1][0], most)


def test_of_a_complete_span_the_features_with_the_most_values_stay() -> None:
    values = [(0, name) for name in "aaabbbccddef"] + [(1, name) for name in "xyz"]
    # Series 0 has six features: e and f have one value each, c and d two, and c comes first.
    assert counts_of(settled(table_of(values), 3)) == {
        (0, "a"): 3,
        (0, "b"): 3,
        (0, "c"): 2,
        (0, LEFT_OUT): 4,
        (1, "x"): 1,
        (1, "y"): 1,
        (1, "z"): 1,
    }


def test_features_with_one_value_each_leave_a_crowded_span_together() -> None:
    values = [(0, name) for name in "aabcdefg"]
    assert counts_of(settled(table_of(values), 3)) == {(0, "a"): 2, (0, LEFT_OUT): 6}
    assert counts_of(settled(table_of(values), 7)) == counts_of(table_of(values))


def test_a_table_within_the_limits_is_returned_as_it_is() -> None:
    table = table_of([(0, "a"), (0, "b")])
    assert thinned(table) is table
    assert settled(table) is table


@pytest.mark.parametrize(
    ("rows", "least"), [(2, 2), (2_000, 2), (2_001, 3), (100_000, 100), (100_001, 101)]
)
def test_a_reference_watches_features_that_one_row_in_1000_has(rows: int, least: int) -> None:
    targets = {
        f"feature:{n}": FeatureTarget(FeatureSummary(NumericSummary.of(np.ones(n))))
        for n in (least - 1, least, rows)
    }
    score = FeatureTarget(FeatureSummary(NumericSummary.of(np.ones(1))))
    of_reference = watched(SegmentTargets(rows, targets | {"score": score}, 7))
    assert list(of_reference.targets) == [
        *dict.fromkeys((f"feature:{least}", f"feature:{rows}")),
        "score",
    ]
    assert of_reference.left_out == 7 + least - 1


def test_a_reference_watches_at_most_4096_features() -> None:
    ones, twos = (FeatureTarget(FeatureSummary(NumericSummary.of(np.ones(n)))) for n in (2, 3))
    targets = {f"feature:n{number:04}": ones for number in range(4_100)}
    targets["feature:z"] = twos
    of_reference = watched(SegmentTargets(3, targets))
    assert of_reference.targets.keys() == {"feature:z", *(f"feature:n{i:04}" for i in range(4_095))}
    assert of_reference.left_out == 5 * 2
