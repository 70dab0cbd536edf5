"""Increments of a batch: partials have the counts of one row after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import MAX_RUNGS
from driftline.schemas.settings import Config
from driftline.streams import lanes
from driftline.streams.join import increments
from driftline.streams.join.code_book import CodeBook
from driftline.streams.join.increments import Increments, add_up, tally
from driftline.streams.lanes import ALL
from driftline.streams.partial import COUNT_COLUMNS, Partial
from driftline.streams.summaries.feature_table import EMPTY

PANE_MS = 60_000
MEASURES = (
    lanes.COUNT,
    lanes.CELLS,
    lanes.SCORES_FIT,
    lanes.SCORES_HOLDOUT,
    lanes.SCORE_SUM,
    lanes.SCORE_SQUARES,
    lanes.DELAY,
    lanes.LATENCY,
    lanes.PREDICTED_SCORES,
    lanes.PREDICTED,
)
NAMES = [("shop", "2"), ("churn", "1"), ("shop", "1"), ("fraud", "1")]
VALUES = ("de", "fr", "us")
# Partitions that Kafka's default partitioner chooses for these keys in a topic with 2 partitions.
TARGETS = {"shop": 0, "churn": 1, "fraud": 0}
Total = Counter[tuple[Any, ...]]

keys = st.lists(st.integers(0, 40), max_size=30)
amounts = st.lists(st.tuples(st.integers(0, 40), st.integers(-3, 1 << 40)), max_size=30)


def ints(values: Sequence[int]) -> np.ndarray:
    return np.array(values, np.int64)


@given(amounts, st.booleans())
def test_amounts_of_a_key_add_up_with_and_without_places(
    rows: list[tuple[int, int]], placed: bool
) -> None:
    expected: Counter[int] = Counter()
    for key, amount in rows:
        expected[key] += amount
    of = ints([key for key, _ in rows])
    distinct, sums = add_up(of, ints([amount for _, amount in rows]), 40 - of if placed else None)
    assert sorted(distinct.tolist()) == sorted(set(of.tolist()))
    assert dict(zip(distinct.tolist(), sums.tolist(), strict=True)) == dict(expected)


@given(
    st.lists(keys, min_size=1, max_size=3),
    st.lists(st.dictionaries(st.integers(0, 40), st.integers(-3, 5)), max_size=3),
)
def test_ones_and_amounts_of_a_key_add_up_and_sums_of_zero_are_left_out(
    ones: list[list[int]], others: list[dict]
) -> None:
    expected = Counter(key for part in ones for key in part)
    for part in others:
        for key, amount in part.items():
            expected[key] += amount
    distinct, sums = tally(
        [ints(part) for part in ones],
        [(ints(list(part)), ints(list(part.values()))) for part in others],
    )
    assert list(zip(distinct.tolist(), sums.tolist(), strict=True)) == sorted(
        (key, sum_) for key, sum_ in expected.items() if sum_
    )


def test_every_lane_rung_measure_and_label_fits_its_field_of_a_packed_key() -> None:
    assert max(MEASURES) < 1 << increments.MEASURE_BITS
    assert MAX_RUNGS < 1 << increments.RUNG_BITS
    assert len(lanes.LANE_NAMES) <= 1 << increments.LANE_BITS
    assert lanes.PREDICTED_NEGATIVE < 1 << increments.INDEX_BITS


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[int, list[tuple[Any, ...]], list[tuple[Any, ...]]]]:
    """Sets of rows: lane, rows of (name, segment codes, pane, rung), and counts of (measure, a, b,
    amount, where).
    """
    sets = []
    far = draw(st.sampled_from([3, 400_000]))
    for _ in range(draw(st.integers(0, 3))):
        row = st.tuples(
            st.integers(0, len(NAMES) - 1),
            st.tuples(*[st.integers(0, len(VALUES))] * 2),
            st.integers(0, far),
            st.integers(0, 3),
        )
        rows = draw(st.lists(row, min_size=1, max_size=12))
        n = len(rows)

        def index(*values: int, n: int = n) -> st.SearchStrategy[Any]:
            return st.integers(0, 2) | st.lists(st.sampled_from(values), min_size=n, max_size=n)

        count = st.tuples(
            st.integers(0, 9),
            index(0, 1, 65_535),
            index(0, 7, 999),
            st.none() | st.lists(st.integers(-2, 1_000_000), min_size=n, max_size=n),
            st.none() | st.lists(st.booleans(), min_size=n, max_size=n),
        )
        sets.append((draw(st.integers(0, 2)), rows, draw(st.lists(count, max_size=4))))
    return sets


def counted(partials: list[Partial]) -> Total:
    total: Total = Counter()
    for partial in partials:
        columns = {name: partial.counts[name].tolist() for name, _ in COUNT_COLUMNS}
        for lane, pane, series, *rest, count in zip(*columns.values(), strict=True):
            key = (*partial.series[series], lane, pane, *rest)
            assert count
            assert key not in total
            total[key] = count
    return total


def targets_of(partials: list[Partial]) -> list[int]:
    return [TARGETS[partial.series[0][0]] for partial in partials]


@pytest.mark.parametrize("many", [True, False], ids=["pairs fit", "too many pairs"])
@given(sets=batches())
def test_partials_have_the_counts_of_counting_row_by_row(many: bool, sets: list[Any]) -> None:
    state = MemoryState()
    book = CodeBook(Config(segments=("country", "plan")), state, target_partitions=2)
    codes = book.codes_of_names(NAMES, state)
    by_dimension = [
        ints([0, *book.codes_of_values(dimension, VALUES, state)])
        for dimension in ("country", "plan")
    ]
    batch, expected = Increments(PANE_MS), Counter()
    pairs = set()  # of series and pane
    for lane, rows, counts in sets:
        name, chosen, pane, rung = (ints(column) for column in zip(*rows, strict=True))
        segments = np.stack(
            [of[column] for of, column in zip(by_dimension, chosen.T, strict=True)], axis=1
        )
        pairs |= {
            (of[0], code, of[2])
            for of, codes_of in zip(rows, segments.tolist(), strict=True)
            for code in (0, *codes_of)
        }
        opened = batch.rows(lane, codes[name], segments, pane, rung)
        for measure, a, b, amount, where in counts:
            a_column, b_column = (
                index if isinstance(index, int) else ints(index) for index in (a, b)
            )
            opened.count(
                measure,
                a_column,
                b_column,
                None if amount is None else ints(amount),
                None if where is None else np.array(where, np.bool_),
            )
            for i, (of_name, of_segments, of_pane, of_rung) in enumerate(rows):
                model, version = NAMES[of_name]
                values = [
                    f"{d}={VALUES[v - 1]}"
                    for d, v in zip(("country", "plan"), of_segments, strict=True)
                    if v
                ]
                if where is None or where[i]:
                    at = [index if isinstance(index, int) else index[i] for index in (a, b)]
                    place = (lane, of_pane * PANE_MS, of_rung, measure, *at)
                    for segment in (ALL, *values):
                        expected[model, version, segment, *place] += (
                            1 if amount is None else amount[i]
                        )
    with pytest.MonkeyPatch.context() as patch:
        if not many:
            patch.setattr(increments, "MAX_PAIRS", len(pairs) + 1)
        partials = batch.partials(3, book)
    assert counted(partials) == {key: count for key, count in expected.items() if count}
    for partial in partials:
        models = [model for model, _, _ in partial.series]
        assert models == sorted(models)
    models_by_target = {
        target: {model for model, _, _ in partial.series}
        for target, partial in zip(targets_of(partials), partials, strict=True)
    }
    counted_models = {key[0] for key, count in expected.items() if count}
    assert models_by_target == {
        target: {model for model in counted_models if TARGETS[model] == target}
        for target in {TARGETS[model] for model in counted_models}
    }
    assert all(partial.features is EMPTY or not len(partial.features) for partial in partials)
