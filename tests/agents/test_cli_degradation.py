"""`performance degradation`, on records that are written by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from driftline.agents.cli.performance_compare import Difference
from driftline.agents.cli.performance_degradation import change
from driftline.schemas.results import Alert, WindowFigures
from driftline.schemas.times import EpochMs
from tests.agents.test_cli_over_time import HOUR, START, document, figures, refusal, text
from tests.agents.test_cli_reading import alert
from tests.agents.test_cli_status import entry, folder

BASELINE = {
    "metrics": {"f1": 0.8, "accuracy": 0.9},
    "ci": {"f1": [0.78, 0.83]},
    "span": ["2026-02-01T00:00:00Z", "2026-02-08T00:00:00Z"],
    "n": 5_000,
}
OTHER = {"metrics": {"f1": 0.1}, "ci": {"f1": [0.05, 0.15]}, "recorded_by": "ann", "n": 10}


def episode(name: str, start: int, end: int | None = None, **more: Any) -> list[Alert]:
    """The records of an episode, from `start` to `end` in hours."""
    fired = replace(
        alert(name, status="firing"),
        **{"metric": "f1", "starts_at_ms": EpochMs(START + start * HOUR)} | more,
    )
    if end is None:
        return [fired]
    ended = EpochMs(START + end * HOUR)
    return [fired, replace(fired, status="resolved", ends_at_ms=ended, summary="It is back.")]


def out(tmp_path: Path, *more: Struct) -> Path:
    return folder(
        tmp_path,
        entry("1", baselines={"2h": BASELINE, "1h": OTHER}),
        figures(0, 0.7, hours=24, completeness=0.97),
        figures(24, 0.6, hours=24, completeness=0.97),
        figures(48, 0.2, hours=24, provisional=True),
        figures(48, 0.65, hours=24, maturity="1h", completeness=0.4),
        figures(49, 0.3, hours=24, covered_share=0.5),
        figures(47, 0.9),
        figures(0, 0.5, hours=24 * 9),
        *more,
    )


def shown(out: Path, *options: str) -> str:
    return " ".join(text(out, "performance", "degradation", *options).split())


def test_the_newest_window_is_compared_with_the_baseline_at_its_rung(tmp_path: Path) -> None:
    (found,) = document(out(tmp_path), "performance", "degradation")
    assert found["figures"]["window_start"] == "2026-03-02T00:00:00Z"
    assert (found["figures"]["window"], found["figures"]["maturity"]) == ("24h", "2h")
    (f1,) = found["differences"]
    assert (f1["a"], f1["b"]) == (0.8, 0.6)
    assert f1["difference"] == pytest.approx(-0.2)
    # 0.6 has [0.57, 0.64], 0.8 has [0.78, 0.83]: the distances are added as squares.
    assert f1["low"] == pytest.approx(-0.2 - math.hypot(0.03, 0.03))
    assert f1["high"] == pytest.approx(-0.2 + math.hypot(0.04, 0.02))


def test_the_table_says_what_is_compared_and_how_large_the_change_is(tmp_path: Path) -> None:
    text = shown(out(tmp_path))
    assert "24h from 2026-03-02 00:00, maturity 2h; baseline of 2026-02-01 00:00" in text
    assert "to 2026-02-08 00:00, 5,000 rows" in text
    assert (
        "f1 0.800 [0.780, 0.830] 0.600 [0.570, 0.640] -0.200 [-0.242, -0.155] worse by 25.0 %"
        in text
    )
    assert "no alert about these figures was open in the last 7d" in text


@pytest.mark.parametrize(
    ("options", "window", "maturity"),
    [
        (("--last", "6h"), "1h", "2h"),
        (("--last", "30d"), "216h", "2h"),
        (("--maturity", "1h"), "24h", "1h"),
    ],
)
def test_another_span_or_rung(
    tmp_path: Path, options: tuple[str, ...], window: str, maturity: str
) -> None:
    (found,) = document(out(tmp_path), "performance", "degradation", *options)
    assert (found["figures"]["window"], found["figures"]["maturity"]) == (window, maturity)
    assert found["baseline"]["metrics"]["f1"] == {"2h": 0.8, "1h": 0.1}[maturity]


def test_alerts_on_these_figures_that_were_open_in_the_span_are_listed(tmp_path: Path) -> None:
    """The newest window ends after 48 hours; the last day begins after 24."""
    records = [
        *episode("before", 1, 24),
        *episode("within", 1, 25),
        *episode("open", 1),
        *episode("later", 60, metric="standardized_accuracy"),
        *episode("traffic", 30, metric="error_rate"),
        *episode("silence", 30, metric=None),
        *episode("other", 30, model_version="2"),
    ]
    place = out(tmp_path, *records)
    (found,) = document(place, "performance", "degradation", "--last", "24h")
    listed = [[each["status"] for each in records] for records in found["alerts"]]
    names = [records[0]["alert_id"] for records in found["alerts"]]
    assert names == ["within", "open", "later"]
    assert listed == [["firing", "resolved"], ["firing"], ["firing"]]
    # Why it fired, and not that it is back.
    text = shown(place, "--last", "24h")
    assert "2026-03-01 01:00 2026-03-02 01:00 all f1_low F1 in within is below 0.8." in text


def test_without_a_baseline_or_a_value_there_is_no_difference(tmp_path: Path) -> None:
    def at(version: str, f1: float | None) -> WindowFigures:
        return figures(0, f1, version=version)

    place = folder(
        tmp_path,
        entry("1"),
        at("1", 0.5),
        entry("2", baselines={"2h": BASELINE}),
        at("2", None),
        at("3", 0.4),
    )
    found = document(place, "performance", "degradation")
    assert [each["differences"][0]["difference"] for each in found] == [None, None, None]
    text = shown(place)
    assert text.count("no baseline is recorded at this maturity") == 2
    assert "f1 - 0.500 [0.470, 0.540] - -" in text
    assert "f1 0.800 [0.780, 0.830] no positive yet - -" in text


@pytest.mark.parametrize(
    ("metric", "a", "b", "reach", "words"),
    [
        ("f1", 0.8, 0.6, 0.1, "worse by 25.0 %"),
        ("f1", 0.8, 0.6, 0.21, "not clear"),
        ("f1", 0.8, 0.6, None, "not clear"),
        ("f1", 0.5, 0.6, 0.01, "better by 20.0 %"),
        ("error_rate", 0.1, 0.2, 0.01, "worse by 100.0 %"),
        ("error_rate", 0.0, 0.2, 0.01, "worse"),
        ("error_rate", 0.2, 0.1, 0.01, "better by 50.0 %"),
        ("throughput", 2.0, 1.0, 0.5, "less by 50.0 %"),
    ],
)
def test_a_change_is_clear_where_the_whole_interval_is(
    metric: str, a: float, b: float, reach: float | None, words: str
) -> None:
    size = b - a
    low, high = (None, None) if reach is None else (size - reach, size + reach)
    found = Difference(metric=metric, a=a, b=b, difference=size, low=low, high=high)
    assert change(found) == words


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--last", "10m"), "--last 10m: the smallest window has 1 hour; name at least that"),
        (("--last", "soon"), "--last soon: 'soon' is not a duration"),
        (("--maturity", "9d"), "there is no maturity 9d; there is 1h, 2h"),
        (("--metric", "f2"), 'no figure has a metric "f2"; there are f1'),
    ],
)
def test_wrong_calls_say_what_there_is(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    assert words in refusal(out(tmp_path), "performance", "degradation", *options)


def test_without_figures_it_says_so(tmp_path: Path) -> None:
    place = out(tmp_path)
    assert "no complete window in" in shown(place, "--model", "other")
    assert document(place, "performance", "degradation", "--model", "other") == []
