"""Tracks of shares that lean, against slow and obvious code."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.decide.detectors.share_evidence import Track, gathered, with_window
from driftline.streams.decide.judgement import Shift
from driftline.streams.drift.share_shift import ShareOfRows, share_shift

SIZE = 7


def shift(h: float, p_value: float | None, hits: int, rows: int = 100) -> Shift:
    return Shift(
        "feature:age", "missing", "none", h, p_value, hits / rows, 0.01, rows, 1000, rows / 2
    )


WINDOWS = st.lists(
    st.tuples(
        st.integers(1, 9),  # how far it is from the one before
        st.sampled_from([-0.3, 0.3]),
        st.sampled_from([None, 0.01, 0.049, 0.05, 0.6]),
        st.integers(0, 100),
    ),
    min_size=1,
    max_size=40,
)


@given(WINDOWS)
def test_a_track_has_the_rows_of_each_window_that_none_before_it_has(
    windows: list[tuple[int, float, float | None, int]],
) -> None:
    tracks: dict[str, Track] = {}
    start, seen = 0, []
    for step, h, p_value, hits in windows:
        start += step
        tracks = with_window(tracks, [shift(h, p_value, hits)], start, start + SIZE)
        seen.append((start, h, p_value, hits))
        # All windows back to the last one that does not lean to this side, from the oldest on.
        run: list[tuple[int, int]] = []
        for begin, side, p, count in reversed(seen):
            if p is None or p >= 0.05 or (side > 0) is not (h > 0):
                break
            run.insert(0, (begin, count))
        taken: list[tuple[int, int]] = []
        for begin, count in run:
            if not taken or begin >= taken[-1][0] + SIZE:
                taken.append((begin, count))
        if not taken:
            assert tracks == {}
            continue
        assert tracks == {
            "feature:age\nmissing": Track(
                taken[0][0],
                taken[-1][0] + SIZE,
                len(taken),
                sum(count for _, count in taken),
                100 * len(taken),
                50.0 * len(taken),
                h > 0,
            )
        }


def test_a_share_without_a_result_ends_its_track() -> None:
    tracks = with_window({}, [shift(0.3, 0.01, 5)], 0, SIZE)
    assert list(tracks) == ["feature:age\nmissing"]
    assert with_window(tracks, [], 1, 1 + SIZE) == {}


def test_gathered_rows_are_one_window_for_the_test() -> None:
    tracks: dict[str, Track] = {}
    for week, hits in enumerate([14, 16, 12]):
        tracks = with_window(tracks, [shift(0.2, 0.01, hits, 350)], week * 7, week * 7 + SIZE)
    (track,) = tracks.values()
    result = gathered(track, shift(0.2, 0.01, 12, 350))
    expected = share_shift("missing", ShareOfRows(10, 1000, 500.0), ShareOfRows(42, 1050, 525.0))
    assert result == expected


def test_one_window_is_not_judged_twice() -> None:
    (track,) = with_window({}, [shift(0.3, 0.01, 5)], 0, SIZE).values()
    assert gathered(track, shift(0.3, 0.01, 5)) is None


def test_gathered_rows_find_what_single_windows_miss_and_little_without_a_shift() -> None:
    # 1 % missing in 1,500 rows of the reference, weeks of 350 rows, a limit of 3e-5; a year each.
    # At most 52 tests in a year: 0.16 false ones in 100 years, more than 2 with 0.0006 probability.
    rng, limit = np.random.default_rng(5), 3e-5
    found = {0.01: 0, 0.05: 0}
    for share in found:
        for _ in range(100):
            before, tracks = rng.binomial(1500, 0.01), dict[str, Track]()
            reference = ShareOfRows(int(before), 1500, 1500.0)
            for week in range(52):
                hits = int(rng.binomial(350, share))
                alone = share_shift("missing", reference, ShareOfRows(hits, 350, 350.0))
                each = Shift(
                    "feature:age",
                    "missing",
                    "none",
                    alone.statistic,
                    alone.p_value,
                    hits / 350,
                    before / 1500,
                    350,
                    1500,
                    350.0,
                )
                tracks = with_window(tracks, [each], week * 7, week * 7 + SIZE)
                together = [gathered(track, each) for track in tracks.values()]
                if any(
                    result is not None and result.level != "none" and (result.p_value or 0) <= limit
                    for result in together
                ):
                    found[share] += 1
                    break
    assert found[0.05] == 100, "seed 5"
    assert found[0.01] <= 2, "seed 5"
