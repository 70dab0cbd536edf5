"""The part of a window between the beginning of a version and the end of a log."""

from __future__ import annotations

import pytest

from driftline.streams.measure.timing.covered_span import CoveredSpan, covered_span

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 20_000 * DAY


def week(began: int, ended: int | None, *, size: int = 7 * DAY, grain: int = HOUR) -> CoveredSpan:
    """Window of `size` from START; the data begin and end at these times after START."""
    return covered_span(
        START,
        START + size,
        began_ms=START + began,
        ended_ms=None if ended is None else START + ended,
        grain_ms=grain,
    )


#   days   0---1---2---3---4---5---6---7      the window
@pytest.mark.parametrize(
    ("began", "ended", "share", "whole"),
    [
        (-30 * DAY, None, 1.0, True),
        (-30 * DAY, 20 * DAY, 1.0, True),
        (0, 7 * DAY - 1, 1.0, True),
        (0, 7 * DAY - 5 * HOUR, 1 - 4 / 168, True),
        (40 * MINUTE, 7 * DAY - 40 * MINUTE, 1.0, True),
        (0, 6 * DAY - 1, 6 / 7, False),
        (0, 2 * DAY - 1, 2 / 7, False),
        (5 * DAY, None, 2 / 7, False),
        (DAY, 6 * DAY - 1, 5 / 7, False),
        (0, -DAY, 0.0, False),
        (9 * DAY, None, 0.0, False),
    ],
)
def test_share_is_from_the_begin_of_the_version_to_the_end_of_the_log(
    began: int, ended: int | None, share: float, whole: bool
) -> None:
    covered = week(began, ended)
    assert covered.share == round(share, 6)
    assert covered.is_whole == whole


def test_reason_names_days_hours_or_minutes_and_what_ended() -> None:
    assert (
        week(0, 2 * DAY - 1).reason
        == "covered in part: data for 2 of 7 days; the log ends at 2024-10-05T23:59:59.999Z"
    )
    assert week(36 * HOUR, None).reason == (
        "covered in part: data for 5.5 of 7 days; the data of the version begin at "
        "2024-10-05T12:00:00Z"
    )
    assert "data for 12 of 24 hours;" in week(0, 12 * HOUR - 1, size=DAY).reason
    assert "data for 20 of 60 minutes;" in week(0, 20 * MINUTE - 1, size=HOUR, grain=MINUTE).reason
    assert week(0, -DAY).reason.startswith("not covered: data for 0 of 7 days; the log ends at ")
    assert " begin at 2024-10-05T00:00:00Z and the log ends at " in week(DAY, 3 * DAY).reason
