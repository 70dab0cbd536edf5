"""Too many or too few predictions: by levels, and by what is usual at that time of the week."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.schemas.results import encode
from driftline.schemas.settings import ModelConfig, parse_window
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS
from driftline.streams.decide import build_rules
from driftline.streams.decide.hourly_traffic import HourlyTraffic
from driftline.streams.intervals import poisson_score
from tests.streams.figures import START_MS, entry, traffic
from tests.streams.test_decide import Run, changes

WEEK_MS = 7 * DAY_MS


def span_of(end_ms: int, n: int, size_ms: int = HOUR_MS, **more: Any) -> Any:
    """Figures of a window with n predictions, with the interval that the metric has."""
    seconds = size_ms / 1000
    low, high = (float(limit[0]) / seconds for limit in poisson_score(np.array([n])))
    return traffic(
        end_ms,
        {"throughput": n / seconds},
        ci={"throughput": (low, high)},
        size_ms=size_ms,
        n_predictions=n,
        **more,
    )


def minutes(*rates: float, first: int = 1) -> list[Any]:
    """Minutes with so many predictions a second."""
    return [
        span_of(START_MS + (first + place) * MINUTE_MS, round(rate * 60), MINUTE_MS, window="1m")
        for place, rate in enumerate(rates)
    ]


def run(*, windows: tuple[str, ...] = ("1h", "1d"), **rule: Any) -> Run:
    return Run(
        rules=({"type": "traffic", "for": 1, **rule},),
        default_rules=False,
        windows=tuple(map(parse_window, windows)),
    )


def test_traffic_above_a_level_for_two_minutes_fires_and_resolves_ten_percent_below_it() -> None:
    busy = run(above=1000, windows=("1m", "1h"), **{"for": "2m"})
    # 1,005/s in a minute is 60,300 +- 481 predictions: the level lies within the interval.
    for rate in (1200, 1005, 1200):
        assert not busy.feed(*minutes(rate, first=len(busy.emitted) + 1))
    quiet = run(above=1000, windows=("1m", "1h"), **{"for": "2m"})
    quiet.feed(*minutes(900, 1200, 1005, 1200, 1010, 950, 901, 899))
    assert [(alert.change, alert.severity, alert.value) for alert in quiet.emitted] == [
        ("firing", "warning", 1010),
        ("resolved", "warning", 899),
    ]
    assert quiet.emitted[0].summary == (
        "Traffic of churn 1.0.0 was 1,010/s [1,002/s, 1,018/s] over the minute to "
        "2026-01-01 00:05, above 1,000/s; 2 windows in a row."
    )
    assert (quiet.emitted[0].threshold, quiet.emitted[0].comparator) == (1000, ">")


def test_too_little_traffic_fires_in_an_hour_without_any_prediction() -> None:
    # Level 0.01/s: 36 an hour. 26 predictions: [17.7, 38.1]; 0: [0, 3.84].
    low = run(below=0.01)
    low.feed(*(span_of(START_MS + hour * HOUR_MS, n) for hour, n in enumerate((40, 26, 0, 38, 40))))
    assert [(alert.change, alert.n) for alert in low.emitted] == [("firing", 0), ("resolved", 40)]
    assert ", below 0.01/s" in low.emitted[0].summary


@pytest.mark.parametrize("covered", [1.0, 0.5])
def test_a_window_that_data_cover_in_part_is_never_too_low(covered: float) -> None:
    low = run(below=0.01)
    low.feed(span_of(START_MS, 3, covered_share=covered))
    assert changes(low.emitted) == [("firing", "warning")][: int(covered)]


def test_a_version_that_another_one_has_replaced_is_not_too_low_and_its_alert_resolves() -> None:
    low = run(below=0.01)
    low.feed(entry(), span_of(START_MS, 0))
    low.feed(entry("staging", revision=2), entry(model_version="1.1.0", revision=2))
    low.feed(span_of(START_MS + HOUR_MS, 0), span_of(START_MS + 2 * HOUR_MS, 0))
    assert [alert.change for alert in low.emitted] == ["firing", "resolved"]
    assert "no longer expected" in low.emitted[1].summary


hours_with_rows = st.dictionaries(st.integers(0, 6 * 168), st.integers(1, 9), max_size=60)


@given(hours_with_rows, st.integers(0, 7 * 168 * 60), st.integers(1, 8 * 24 * 60))
def test_the_usual_traffic_is_the_median_of_the_same_span_of_four_weeks(
    hours: dict[int, int], start: int, size: int
) -> None:
    kept, first = HourlyTraffic(), min(hours, default=0) + 1
    for hour in sorted(hours):
        kept = kept.with_window(hour * HOUR_MS, (hour + 1) * HOUR_MS, hours[hour])
    # The span may begin no earlier than the newest hour: older ones are forgotten in time.
    start_ms = (max(hours, default=0) * 60 + start) * MINUTE_MS
    size = min(size, 7 * 24 * 60)
    counts = []
    for week in range(1, 5):
        begin = start_ms // MINUTE_MS - week * 168 * 60
        if begin >= first * 60:
            per_hour = [hours.get(each // 60, 0) for each in range(begin, begin + size)]
            counts.append(sum(per_hour) / 60)
    usual = kept.usual(start_ms, start_ms + size * MINUTE_MS)
    if not hours or len(counts) < 3:
        assert usual is None
    else:
        assert usual is not None
        assert usual.median == pytest.approx(median(counts), abs=1e-9)
        assert usual.low <= usual.median <= usual.high


def hours_of(weeks: int, seed: int, *, busy: float = 300, spread: float = 0.0) -> list[Any]:
    """Hours of a model with so many predictions in a busy hour and a tenth of it otherwise, times a
    log-normal factor with this standard deviation of the logarithm.
    """
    rng = np.random.default_rng(seed)
    records = []
    for hour in range(weeks * 168):
        is_busy = hour // 24 % 7 < 5 and 8 <= hour % 24 < 18
        n = int(rng.poisson(busy * (1 if is_busy else 0.1) * rng.lognormal(0, spread)))
        records.append(span_of(START_MS + (hour + 1) * HOUR_MS, n))
    return records


def test_traffic_is_compared_with_the_same_hours_of_the_weeks_before() -> None:
    seed = 7
    usual = run(above_usual=3, below_usual=0.3)
    usual.feed(*hours_of(8, seed))
    assert not usual.emitted, f"seed {seed}"
    # 90 predictions are usual on no weekday morning, and many on a night.
    at_ms = START_MS + 8 * WEEK_MS
    usual.feed(span_of(at_ms + 10 * HOUR_MS, 60), span_of(at_ms + 11 * HOUR_MS, 300))
    usual.feed(span_of(at_ms + 23 * HOUR_MS, 60), span_of(at_ms + 24 * HOUR_MS, 300))
    assert [(alert.change, alert.n, alert.comparator) for alert in usual.emitted] == [
        ("firing", 60, "<"),
        ("resolved", 300, ">"),
        ("firing", 300, ">"),
    ]
    assert "below 0.3 times the 0.08" in usual.emitted[0].summary
    assert usual.emitted[0].details["usual"] == pytest.approx(300 / 3600, rel=0.1)


def test_what_is_usual_of_a_few_predictions_is_hardly_known_and_raises_no_alert() -> None:
    # Three in a busy hour; their median is often 1 or 2, of which 7 or 8 are more than three times.
    seed = 5
    usual = run(above_usual=3, below_usual=0.3)
    usual.feed(*hours_of(26, seed, busy=3))
    assert not usual.emitted, f"seed {seed}"


def test_nothing_is_usual_before_the_fourth_week() -> None:
    flood = [span_of(START_MS + (hour + 1) * HOUR_MS, 5000) for hour in range(503, 510)]
    usual = run(above_usual=3)
    usual.feed(*hours_of(3, 1)[:-1], *flood)
    # Of hour 503 and 504 only two weeks are known, since the first hour does not count.
    assert [(alert.at_ms - START_MS) // HOUR_MS for alert in usual.emitted] == [506]


def test_the_alerts_do_not_depend_on_how_batches_are_cut() -> None:
    seed, rule = 3, {"above_usual": 1.2, "below_usual": 0.8, "below": 0.004, "for": "2h"}
    records = hours_of(6, seed, spread=0.5)
    whole = run(**rule)
    whole.feed(*records)
    assert len(whole.emitted) > 10
    rng = np.random.default_rng(seed)
    cut, place = run(**rule), 0
    while place < len(records):
        size = int(rng.integers(1, 100))
        cut.feed(*records[place : place + size])
        place += size
    assert list(map(encode, cut.emitted)) == list(map(encode, whole.emitted))
    assert cut.state.values == whole.state.values


def test_history_is_kept_only_where_a_rule_reads_it_and_deleted_with_the_version() -> None:
    sizes = []
    for levels in ({"above": 1000}, {"above_usual": 3}):
        kept = run(**levels)
        kept.feed(*hours_of(7, 1))
        sizes.append(sum(map(len, kept.state.values.values())))
        kept.feed(entry("archived"))
        assert not any(b"WatchedTraffic" in key for key in kept.state.values)
    # Five weeks of hours, up to three bytes each.
    assert 840 < sizes[1] - sizes[0] < 3 * 840


@pytest.mark.parametrize(
    ("table", "windows", "message"),
    [
        ({}, "1h", "above: needed is one of above, below, above_usual and below_usual"),
        ({"above": 0}, "1h", "above: has to be a number > 0"),
        ({"above": 1.1, "below": 1.0}, "1h", "above: 1.1 is too close to below 1"),
        ({"above_usual": 1.05}, "1h", "above_usual: 1.05 times the usual; with a margin of 0.1 it"),
        ({"below_usual": 0.95}, "1h", "below_usual: 0.95 times the usual; with a margin of 0.1 it"),
        ({"above": 1, "margin": 1}, "1h", "margin: has to be"),
        ({"below_usual": 0.3}, "1d", "below_usual: what is usual by hour needs a tumbling window"),
        (
            {"above_usual": 2, "window": "since_deployment"},
            "1h",
            'window: what is usual is known of windows of up to 7 days, not of "since_deployment"',
        ),
    ],
)
def test_an_invalid_rule_is_rejected_with_its_path(
    table: dict[str, Any], windows: str, message: str
) -> None:
    config = ModelConfig(
        rules=({"type": "traffic", **table},),
        default_rules=False,
        windows=(parse_window(windows),),
    )
    with pytest.raises(ValueError) as raised:
        build_rules(config, "models.churn.rules")
    assert str(raised.value).startswith(f"models.churn.rules[0].{message}")
