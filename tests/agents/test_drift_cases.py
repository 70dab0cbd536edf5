"""Drift through a whole replay: features that go missing or change their kind, the ends of a log,
and what an open alert tells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

import driftline
from driftline.agents.cli.program import driftline as command
from driftline.schemas.results import Alert, Drift
from driftline.schemas.times import format_time

pytestmark = pytest.mark.slow
START = 1_767_571_200_000  # 2026-01-05T00:00:00Z, a Monday
HOUR, DAY = 3_600_000, 86_400_000
CONFIG = {
    "windows": ["1d", "7d/1d"],
    "label_horizon": "1d",
    "maturity": ["1d"],
    "reference": "14d",
    "detection_window": "7d/1d",
}
Features = dict[str, Any]
Event = dict[str, Any]


def predictions(
    features: Callable[[float, Random], Features], *, days: float, per_day: int = 50
) -> list[Event]:
    """Predictions of a model whose features depend on the time in days."""
    random = Random(3)
    return [
        {
            "prediction_id": f"p{number}",
            "model_name": "m",
            "model_version": "1",
            "timestamp": START + number * (DAY // per_day),
            "score": round(random.random(), 4),
            "features": features(number / per_day, random),
        }
        for number in range(int(days * per_day))
    ]


def replayed(events: list[Event], *, out: Path | None = None, **settings: Any) -> driftline.Results:
    truths = [
        {"prediction_id": e["prediction_id"], "timestamp": e["timestamp"] + 60_000, "label": "yes"}
        for e in events
    ]
    return driftline.replay(events, truths, config={"defaults": CONFIG | settings}, out=out)


def by_day(results: driftline.Results, target: str, method: str) -> dict[int, Drift]:
    """Records of a target by the day after START at which the window ends."""
    return {
        (drift.window_end_ms - START) // DAY: drift
        for drift in results.drift.structs()
        if (drift.target, drift.method) == (target, method)
    }


def alerts(results: driftline.Results, rule: str = "drift") -> list[Alert]:
    return [alert for alert in results.alerts.structs() if alert.rule == rule]


def people(income: Callable[[float, Random], Features]) -> Callable[[float, Random], Features]:
    return lambda day, random: {"age": random.gauss(40, 12), **income(day, random)}


def null(day: float, random: Random) -> Features:
    return {"income": round(random.gauss(3000, 500), 2) if day < 14 else None}


def partly_null(day: float, random: Random) -> Features:
    is_null = day >= 14 and random.random() < 0.3
    return {"income": None if is_null else round(random.gauss(3000, 500), 2)}


def not_sent(day: float, random: Random) -> Features:
    return {"income": round(random.gauss(3000, 500), 2)} if day < 14 else {}


def nan(day: float, random: Random) -> Features:
    return {"income": round(random.gauss(3000, 500), 2) if day < 14 else float("nan")}


def filled(day: float, random: Random) -> Features:
    is_null = day < 14 and random.random() < 0.4
    return {"income": None if is_null else round(random.gauss(3000, 500), 2)}


@pytest.mark.parametrize(
    ("income", "before", "now"),
    [
        (null, 0.0, 1.0),
        (partly_null, 0.0, 0.3),
        (not_sent, 0.0, 1.0),
        (nan, 0.0, 1.0),
        (filled, 0.4, 0.0),
    ],
)
def test_a_feature_that_goes_missing_raises_an_alert_that_says_so(
    income: Callable[[float, Random], Features], before: float, now: float
) -> None:
    results = replayed(predictions(people(income), days=28))
    week = by_day(results, "feature:income", "missing")[27]
    assert (week.level, week.n_reference, week.n_current) == ("severe", 700, 350)
    assert week.details["missing_share"] == pytest.approx(now, abs=0.05)
    assert week.details["reference_missing_share"] == pytest.approx(before, abs=0.05)
    of_tests = by_day(results, "feature:income", "psi")[27].details
    assert of_tests == week.details
    first, *_ = alerts(results, "data_quality")
    # 30 % of two days are 8.6 % of a week: of 350 rows, six times the standard error of h.
    assert first.starts_at_ms <= START + 19 * DAY
    assert first.severity in ("warning", "error")
    assert list(first.details["targets"]) == ["feature:income"]
    assert re.search(r"\(income (mild|moderate|severe): ", first.summary)
    assert " % missing instead of " in first.summary
    assert by_day(results, "feature:age", "missing") == {}


def new_plan(day: float, random: Random) -> Features:
    is_new = day >= 14 and random.random() < 0.2
    return {"plan": "gold" if is_new else random.choice(["free", "pro"])}


def test_a_category_never_seen_before_raises_an_alert_that_says_so() -> None:
    results = replayed(predictions(people(new_plan), days=28))
    week = by_day(results, "feature:plan", "unseen")[27]
    assert (week.level, week.n_reference, week.n_current) == ("severe", 700, 350)
    assert week.details["unseen_share"] == pytest.approx(0.2, abs=0.05)
    assert week.details["reference_unseen_share"] == 0.0
    assert week.details["unseen"] == {"gold": round(week.details["unseen_share"] * 350)}
    first, *_ = alerts(results, "data_quality")
    assert first.starts_at_ms <= START + 17 * DAY
    assert list(first.details["targets"]) == ["feature:plan"]
    assert " % never seen before instead of 0 %" in first.summary


def texts(day: float, random: Random) -> Features:
    value = round(random.gauss(3000, 500), 2)
    return {"income": value if day < 14 else f"{value} EUR"}


def partly_texts(day: float, random: Random) -> Features:
    value = round(random.gauss(3000, 500), 2)
    return {"income": value if day < 14 or random.random() < 0.75 else f"{value}"}


def numbers(day: float, random: Random) -> Features:
    code = random.randrange(5)
    return {"income": f"band {code}" if day < 14 else code}


def booleans(day: float, random: Random) -> Features:
    return {"income": random.randrange(2) if day < 14 else random.random() < 0.5}


@pytest.mark.parametrize(
    ("income", "share"), [(texts, 1.0), (partly_texts, 0.25), (numbers, 1.0), (booleans, 1.0)]
)
def test_a_feature_that_changes_its_kind_raises_an_alert_that_says_so(
    income: Callable[[float, Random], Features], share: float
) -> None:
    results = replayed(predictions(people(income), days=28))
    week = by_day(results, "feature:income", "kind")[27]
    assert (week.level, week.n_reference, week.n_current) == ("severe", 700, 350)
    assert week.details["other_kind_share"] == pytest.approx(share, abs=0.05)
    assert week.details["reference_other_kind_share"] == 0.0
    first, *_ = alerts(results, "data_quality")
    assert list(first.details["targets"]) == ["feature:income"]
    assert " % of another kind instead of 0 %" in first.summary


def test_features_that_stay_as_they_were_raise_no_alert() -> None:
    def often_missing(day: float, random: Random) -> Features:
        value = random.choice((None, None, "text", random.gauss(0, 1)))
        return {"income": value}

    results = replayed(predictions(people(often_missing), days=42))
    assert alerts(results) == alerts(results, "data_quality") == []
    for method in ("missing", "kind"):
        weeks = by_day(results, "feature:income", method)
        assert len(weeks) > 20
        # A false discovery of the least level in 20 is the budget of all tests.
        assert [week.level for week in weeks.values()].count("moderate") == 0


def weekends(day: float, random: Random) -> Features:
    is_weekend = int(day) % 7 >= 5
    return {
        "channel": random.choice(("app", "app", "web") if is_weekend else ("web", "web", "shop")),
        "basket": random.gauss(60 if is_weekend else 35, 8),
    }


@pytest.mark.parametrize("days", [42, 44, 39.5])
def test_windows_after_the_end_of_a_log_are_covered_in_part_and_raise_no_alert(
    days: float,
) -> None:
    results = replayed(predictions(weekends, days=days, per_day=200))
    assert alerts(results) == alerts(results, "data_quality") == []
    weeks = by_day(results, "feature:basket", "psi")
    last = int(days)
    assert all(week.covered_share == 1.0 for day, week in weeks.items() if day <= last)
    assert any(week.level == "none" for day, week in weeks.items() if day <= last)
    after = {day: week for day, week in weeks.items() if day > last + 1}
    assert list(after) == list(range(last + 2, ceil(days) + 7))
    for day, week in after.items():
        assert week.covered_share == round(max(days + 7 - day, 0) / 7, 6)
        assert (week.level, week.p_value) == ("insufficient_data", None)
    two_days = after[last + 5].reason
    number = f"{days - last + 2:.1f}".removesuffix(".0")
    assert two_days.startswith(f"covered in part: data for {number} of 7 days; the log ends at ")


def test_a_silence_inside_a_log_is_covered() -> None:
    events = [
        event
        for event in predictions(people(partly_null), days=40, per_day=100)
        if not 24 <= (event["timestamp"] - START) / DAY < 28
    ]
    weeks = by_day(replayed(events), "feature:age", "psi")
    assert {weeks[day].covered_share for day in range(16, 41)} == {1.0}
    assert weeks[30].n_current == 300


def test_a_window_of_hours_is_covered_to_the_hour() -> None:
    events = predictions(people(null), days=4.25, per_day=960)
    results = replayed(events, windows=["1h", "1d"], detection_window="1d", reference="2d")
    days = by_day(results, "feature:age", "ks")
    assert days[5].covered_share == 0.25
    assert days[5].reason == (
        "covered in part: data for 6 of 24 hours; the log ends at "
        + format_time(events[-1]["timestamp"])
    )


def shop(day: float, random: Random) -> Features:
    countries = ("de", "fr", "it") if day < 21 else ("de", "fr", "it", "pl", "pl", "pl")
    cents = round(random.gauss(300_000, 50_000))
    return {
        "country": random.choice(countries),
        "income": cents if day < 40 else cents // 100,
        "age": random.gauss(40, 12),
    }


def income_back_for_a_while(day: float, random: Random) -> Features:
    features = shop(day, random)
    return features | ({"income": round(random.gauss(300_000, 50_000))} if 52 <= day < 62 else {})


def older_people_later(day: float, random: Random) -> Features:
    features = shop(day, random)
    return features | ({"age": random.gauss(75, 12)} if day >= 55 else {})


@pytest.mark.parametrize(
    ("features", "days", "joined"),
    [
        (shop, 60, {"feature:income": 40}),
        (income_back_for_a_while, 78, {"feature:income": 40}),
        (older_people_later, 70, {"feature:income": 40, "feature:age": 55}),
    ],
)
def test_an_open_drift_alert_is_updated_once_by_each_target_that_joins(
    features: Callable[[float, Random], Features], days: int, joined: dict[str, int]
) -> None:
    results = replayed(predictions(features, days=days))
    fired, *updates = alerts(results)
    assert list(fired.details["targets"]) == ["feature:country"]
    assert [update.details["joined"] for update in updates] == [[name] for name in joined]
    for update, day in zip(updates, joined.values(), strict=True):
        assert (update.alert_id, update.status) == (fired.alert_id, "firing")
        assert update.starts_at_ms == fired.starts_at_ms < START + day * DAY < update.at_ms
        assert "new since it fired on" in update.summary


def test_an_update_stands_in_the_list_of_alerts(tmp_path: Path) -> None:
    replayed(predictions(shop, days=60), out=tmp_path / "out")
    listed = CliRunner().invoke(
        command, ["alerts", "list", "--all", "--out", f"{tmp_path}/out", "--json"]
    )
    (episode,) = (each for each in json.loads(listed.output) if each["rule"] == "drift")
    assert episode["details"]["joined"] == ["feature:income"]
    assert "income severe" in episode["why_fired"]
