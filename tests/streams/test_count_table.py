"""Count tables, merge runs, panes, numberings and window plans of stage 2."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import parse_config
from driftline.schemas.settings import ModelConfig
from driftline.streams.measure import state_keys
from driftline.streams.measure.counts import panes
from driftline.streams.measure.counts.count_table import EMPTY, CountTable, merged
from driftline.streams.measure.counts.merge_runs import FAN, MergeRuns
from driftline.streams.measure.counts.packed_key import first_key_of_pane
from driftline.streams.measure.counts.panes import TABLES, Panes
from driftline.streams.measure.state_keys import state_key
from driftline.streams.measure.timing.windows import Schedule, WindowPlan
from driftline.streams.numbering import Numbering, decode_texts
from driftline.streams.work_slices import run_slices

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

rows = st.lists(st.tuples(st.integers(0, 30), st.integers(-3, 3)), max_size=30)


def table_of(pairs: list[tuple[int, int]]) -> CountTable:
    return CountTable.of(
        np.array([key for key, _ in pairs], np.int64),
        np.array([count for _, count in pairs], np.int64),
    )


def counted(table: CountTable) -> dict[int, int]:
    return {
        key: count
        for key, count in zip(table.keys.tolist(), table.counts.tolist(), strict=True)
        if count
    }


def summed(pairs: list[tuple[int, int]]) -> dict[int, int]:
    sums: Counter[int] = Counter()
    for key, count in pairs:
        sums[key] += count
    return {key: count for key, count in sums.items() if count}


@given(rows, rows, rows)
def test_tables_merge_in_any_order_and_the_empty_table_is_the_identity(
    a: list, b: list, c: list
) -> None:
    x, y, z = map(table_of, (a, b, c))
    expected = summed(a + b + c)
    assert (
        counted(merged([merged([x, y]), z]))
        == counted(merged([x, merged([y, z])]))
        == counted(merged([z, EMPTY, y, x]))
        == expected
    )
    assert counted(merged([x, y]).plus(z)[0]) == expected


@given(rows, rows)
def test_plus_returns_the_places_of_new_keys(a: list, b: list) -> None:
    big, small = table_of(a), table_of(b)
    grown, new = big.plus(small)
    assert (np.diff(grown.keys) > 0).all()
    assert set(grown.keys[new].tolist()) == set(small.keys.tolist()) - set(big.keys.tolist())


@given(rows, st.sampled_from([0, 11, 15, 30]), st.sampled_from([1, 200, 1 << 20, 1 << 40]))
def test_table_survives_encoding(a: list, shift: int, scale: int) -> None:
    table = table_of([(key << shift, count * scale) for key, count in a])
    assert counted(CountTable.decode(table.encode())) == counted(table)


def test_table_of_another_format_is_an_error_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="format 9, this release reads format 3; replay the log"):
        CountTable.decode(b"\x09\x01")


@given(st.lists(rows, max_size=25), st.booleans())
def test_runs_hold_the_sum_of_all_increments_in_few_runs(
    parts: list[list[tuple[int, int]]], restarting: bool
) -> None:
    state, runs = MemoryState(), MergeRuns(TABLES, cached=10_000)
    place = state_key(b"x", 7)
    for part in parts:
        if restarting:
            runs = MergeRuns(TABLES, cached=10_000)
        runs.append(place, table_of(part), state)
    stored = MergeRuns(TABLES, cached=10_000).read(place, state)
    assert counted(merged(stored)) == summed([row for part in parts for row in part])
    # There are fewer than FAN runs of about one size, within a factor of two.
    assert len(stored) <= (FAN - 1) * (1 + max(map(len, stored), default=0).bit_length())
    assert len(state.values) == len(stored)


def test_a_thousand_equal_increments_are_stored_in_13_runs() -> None:
    state, runs = MemoryState(), MergeRuns(TABLES, cached=10_000)
    place = state_key(b"x", 7)
    for number in range(1_000):
        runs.append(place, table_of([(number, 1)]), state)
    # 1,000 is 1750 in base 8: one run of 512 rows, seven of 64, five of 8.
    assert [len(run) for run in runs.read(place, state)] == [512, *[64] * 7, *[8] * 5]


def test_cache_of_runs_is_bounded_and_dropped_runs_are_read_again() -> None:
    state, runs = MemoryState(), MergeRuns(TABLES, cached=50)
    for number in range(20):
        runs.append(state_key(b"x", number), table_of([(key, 1) for key in range(10)]), state)
    assert runs.cached_size <= 60
    assert [len(merged(runs.read(state_key(b"x", number), state))) for number in range(20)] == [
        10
    ] * 20


@pytest.mark.parametrize("pane", [MINUTE, 7 * MINUTE, 20 * MINUTE, HOUR])
def test_any_span_of_panes_gives_the_sum_of_its_panes(pane: int) -> None:
    draw = np.random.default_rng(5)
    state, panes = MemoryState(), Panes(pane)
    first = 20_000 * DAY // pane * pane
    everything = []
    for _ in range(6):
        n = 300
        start = first + draw.integers(0, 3 * DAY // pane, n) * pane
        keys, counts = draw.integers(0, 50, n), draw.integers(1, 4, n)
        model = draw.integers(0, 2, n)
        everything += list(
            zip(model.tolist(), start.tolist(), keys.tolist(), counts.tolist(), strict=True)
        )
        run_slices(panes.add([7, 9], model, np.full(n, 1), start, keys, counts, state))
        for low, high in ((0, 3 * DAY), (5 * pane, 9 * pane), (pane, DAY + pane), (DAY, 3 * DAY)):
            low, high = first + low // pane * pane, first + high // pane * pane
            for owner, number in enumerate((7, 9)):
                table = merged([span.table for span in panes.span(number, 1, low, high, state)])
                assert counted(table) == summed(
                    [
                        (key, count)
                        for of, at, key, count in everything
                        if of == owner and low <= at < high
                    ]
                )
    assert int(table.keys.max()) < first_key_of_pane(1)


@pytest.mark.parametrize("bits", [63, 20], ids=["in one number", "apart"])
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 2),
            st.integers(0, 3_000),
            st.integers(0, 50),
            st.integers(-2, 5),
        )
    )
)
def test_increments_in_any_order_are_added_to_the_pane_of_their_model_and_lane(
    bits: int, rows: list[tuple[int, ...]]
) -> None:
    minute, models = 60_000, [7, 3, 12]
    expected: Counter[tuple[int, int, int, int]] = Counter()
    seen: dict[tuple[int, int], set[int]] = {}
    for model, lane, pane, key, count in rows:
        expected[models[model], lane, pane * minute, key] += count
        seen.setdefault((model, lane), set()).add(pane * minute)
    state, tasks = MemoryState(), Panes(minute)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panes, "SIGNED_BITS", bits)
        columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)] or [
            np.zeros(0, np.int64)
        ] * 5
        model, lane, pane, key, count = columns
        gained = run_slices(tasks.add(models, model, lane, pane * minute, key, count, state))
    sums = {}
    for number in models:
        for lane_number in range(3):
            of_panes, keys, counts = tasks.rows(number, lane_number, 0, 3_200 * minute, state)
            for start, of_key, of_count in zip(
                of_panes.tolist(), keys.tolist(), counts.tolist(), strict=True
            ):
                sums[number, lane_number, start, of_key] = of_count
    assert sums == {place: count for place, count in expected.items() if count}
    for (model_number, lane_number), starts in seen.items():
        of_both = [
            each for each in gained if (each.model, each.lane) == (model_number, lane_number)
        ]
        assert {each.first_ms for each in of_both} | {each.last_ms for each in of_both} <= starts
        assert (min(each.first_ms for each in of_both), max(each.last_ms for each in of_both)) == (
            min(starts),
            max(starts),
        )


def test_no_key_prefix_of_the_stage_is_the_start_of_another() -> None:
    prefixes = [value for value in vars(state_keys).values() if isinstance(value, bytes)]
    assert len(prefixes) > 10
    for one, other in permutations(prefixes, 2):
        assert not other.startswith(one), (one, other)


def test_names_keep_their_numbers_and_names_beyond_the_limit_get_the_limit() -> None:
    state = MemoryState()
    numbering: Numbering[str] = Numbering(b"n", decode_texts, state, limit=300)
    assert numbering.numbers([f"label {i}" for i in range(290)], state) == list(range(290))
    restored: Numbering[str] = Numbering(b"n", decode_texts, state, limit=300)
    assert restored.numbers(["label 289", "new", "label 3"], state) == [289, 290, 3]
    assert restored.numbers([f"more {i}" for i in range(12)], state) == [
        *range(291, 300),
        300,
        300,
        300,
    ]


#   hours   0 ------ 24 -- 26 ------ 48 -- 50        window of a day, rungs 2h and 1d
#           [ day 1  )--rung 2h due at 26
#                             --rung 1d due at 48, together with the end of day 2
def test_windows_are_due_at_end_plus_rung() -> None:
    config = parse_config('[defaults]\nwindows = ["1d"]\nmaturity = ["2h"]\nlabel_horizon = "1d"')
    schedule = Schedule(config)
    start, edges = 10 * DAY, []
    edge: int | None = start
    while edge is not None and edge < start + 2 * DAY:
        edge = schedule.next_edge(schedule.main, edge)
        edges.append(edge)
    assert [(edge - start) // HOUR for edge in edges if edge is not None] == [2, 24, 26, 48]
    plan = schedule.plan(config.defaults)
    due = plan.due(1, start + DAY, start + DAY + 2 * HOUR)
    assert [(d.maturity, d.start_ms, d.end_ms, d.final, d.revision) for d in due] == [
        ("2h", start, start + DAY, False, 1)
    ]
    due = plan.due(1, start + DAY + 2 * HOUR, start + 2 * DAY)
    assert [(d.maturity, d.end_ms, d.final, d.revision) for d in due] == [
        ("1d", start + DAY, True, 2)
    ]


def test_a_rung_between_edges_of_panes_is_due_at_the_next_edge() -> None:
    config = parse_config(
        '[defaults]\nwindows = ["10m"]\nmaturity = ["90s"]\nlabel_horizon = "10m"'
    )
    schedule = Schedule(config)
    assert config.pane_ms == 10 * MINUTE
    plan = schedule.plan(config.defaults)
    assert [d.maturity for d in plan.due(1, 10 * DAY, 10 * DAY + 10 * MINUTE)] == ["90s", "10m"]


def test_sliding_windows_are_due_at_every_step() -> None:
    plan = WindowPlan(ModelConfig(), HOUR)
    ends = [
        due.end_ms
        for day in range(3)
        for due in plan.due(0, (9 + day) * DAY, (10 + day) * DAY)
        if due.window == "7d/1d"
    ]
    assert ends == [10 * DAY, 11 * DAY, 12 * DAY]
