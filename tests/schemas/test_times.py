"""Times and durations."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.times import (
    MAX_TIME_MS,
    format_duration,
    format_time,
    parse_duration,
    parse_time,
)

times = st.integers(0, MAX_TIME_MS)


@given(times)
def test_time_is_read_back_as_written(ms: int) -> None:
    assert parse_time(format_time(ms)) == ms == parse_time(ms)


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(9998, 12, 31)),  # noqa: DTZ001 - the offset is drawn below
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_time_with_any_offset_equals_datetime_arithmetic(
    naive: datetime, offset_minutes: int
) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    assert parse_time(moment.isoformat()) == (
        moment - datetime(1970, 1, 1, tzinfo=UTC)
    ) // timedelta(milliseconds=1)


def test_digits_beyond_the_millisecond_never_move_a_time_into_the_next_second() -> None:
    assert parse_time("2026-11-21T10:00:59.9999999999Z") == parse_time("2026-11-21T10:00:59.999Z")


def test_lower_case_letters_and_a_space_are_accepted_as_in_rfc_3339() -> None:
    assert (
        parse_time("2026-11-21t10:00:00z")
        == parse_time("2026-11-21 10:00:00Z")
        == parse_time("2026-11-21T10:00:00Z")
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-21",
        "2026-11-21T10:00:00",
        "2026-11-21T10:00Z",
        "2026-11-21T10:00:00.Z",
        "2026-11-21T10:00:00Z ",
        "2026-11-21T10:00:00Z123",
        "2026-11-21T10:00:60Z",
        "2026-11-21T24:00:00Z",
        "2026-02-30T10:00:00Z",
        "2026-11-21T10:00:00+24:00",
        "2026-11-21T10:00:00+0100",
        "20261121T100000Z",
        "2026-W47-6T10:00:00Z",
        "٢٠٢٦-11-21T10:00:00Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_text_that_is_not_a_time_from_1970_to_9999_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_time(text)


@pytest.mark.parametrize("ms", [-1, MAX_TIME_MS + 1])
def test_integer_outside_1970_to_9999_is_an_error(ms: int) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_time(ms)
    with pytest.raises(ValueError, match="time"):
        format_time(ms)


def test_last_millisecond_of_the_year_9999_is_written_and_read() -> None:
    assert format_time(MAX_TIME_MS) == "9999-12-31T23:59:59.999Z"


@given(st.integers(0, 10**14))
def test_duration_is_read_back_as_written(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms


@pytest.mark.parametrize(
    ("text", "written"),
    [("24h", "1d"), ("1w", "7d"), ("90m", "90m"), ("60s", "1m"), ("1500ms", "1500ms")],
)
def test_duration_has_one_spelling(text: str, written: str) -> None:
    assert format_duration(parse_duration(text)) == written


@pytest.mark.parametrize(
    "text", ["", "5", "m", "-5m", "1.5h", "1h30m", "5 m", "5M", "5m ", "٥m", "5y"]
)
def test_text_that_is_not_a_duration_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_negative_duration_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_duration(-1)
