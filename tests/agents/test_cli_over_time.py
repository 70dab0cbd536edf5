"""`performance trends` and `compare`, `drift report` and `history`, on records that are written by
hand.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from driftline.agents.cli.drift import level_marks
from driftline.agents.cli.program import driftline
from driftline.agents.cli.sparkline import sparkline
from driftline.schemas.results import Drift, WindowFigures, encode
from driftline.schemas.times import EpochMs

HOUR = 3_600_000
START = EpochMs.of("2026-03-01T00:00:00Z")


def figures(
    hour: int, f1: float | None, *, hours: int = 1, version: str = "1", **more: Any
) -> WindowFigures:
    start = START + hour * HOUR
    fields = {
        "model_name": "churn",
        "model_version": version,
        "segment": "all",
        "lane": "decisions",
        "window": f"{hours}h",
        "kind": "tumbling",
        "window_start_ms": EpochMs(start),
        "window_end_ms": EpochMs(start + hours * HOUR),
        "maturity": "2h",
        "final": True,
        "provisional": False,
        "revision": 1,
        "registry_revision": 1,
        "n_predictions": 1_200,
        "n": 900,
        "label_coverage": 0.75,
        "completeness": None,
        "metrics": {"f1": f1},
        "ci": {} if f1 is None else {"f1": (f1 - 0.03, f1 + 0.04)},
        "null_reasons": {"f1": "no positive yet"} if f1 is None else {},
        "complete_at_ms": EpochMs(start + (hours + 2) * HOUR),
    }
    return WindowFigures(**fields | more)


def drift(hour: int, target: str, level: str, **more: Any) -> Drift:
    start = START + hour * HOUR
    fields = {
        "model_name": "churn",
        "model_version": "1",
        "segment": "all",
        "target": target,
        "method": "psi",
        "window": "1h",
        "window_start_ms": EpochMs(start),
        "window_end_ms": EpochMs(start + HOUR),
        "covered_share": 1.0,
        "statistic": 0.5,
        "p_value": 0.2,
        "p_adjusted": 0.04,
        "level": level,
        "effect": 0.25,
        "n_reference": 5_000,
        "n_current": 200,
        "n_effective": 150.0,
        "reference_id": "r",
        "registry_revision": 1,
    }
    return Drift(**fields | more)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "run.json").write_text("{}", encoding="utf-8")
    records = [
        *(figures(hour, value) for hour, value in enumerate((0.5, 0.6, None, 0.9))),
        *(figures(hour, 0.4, maturity="1h", final=False) for hour in range(5)),
        figures(4, 0.99, provisional=True),
        figures(0, 0.7, hours=6),
        *(figures(hour, 0.75, version="2") for hour in (1, 3)),
        figures(9, 0.3, version="3"),
        figures(0, 0.2, segment="plan=pro"),
        figures(
            0,
            None,
            lane="traffic",
            maturity=None,
            metrics={"throughput": 3.5, "error_rate": 0.01, "latency_p95": 250.0},
            ci={},
            null_reasons={},
        ),
    ]
    (folder / "metrics.jsonl").write_bytes(b"".join(encode(each) + b"\n" for each in records))
    results = [
        drift(0, "score", "none", p_adjusted=0.9),
        drift(1, "score", "severe", effect=0.8, p_value=0.00001, p_adjusted=0.0001),
        drift(2, "score", "moderate"),
        drift(0, "feature:x", "mild"),
        drift(2, "feature:x", "none", p_value=None, p_adjusted=None),
        # The end of the log.
        drift(3, "feature:x", "insufficient_data", covered_share=0.2, effect=None, reason="part"),
    ]
    (folder / "drift.jsonl").write_bytes(b"".join(encode(each) + b"\n" for each in results))
    return folder


def run(out: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(driftline, [*arguments, "--out", str(out)])
    return result.exit_code, result.output


def text(out: Path, *arguments: str) -> str:
    code, output = run(out, *arguments)
    assert code == 0, output
    return re.sub(" +", " ", output)


def document(out: Path, *arguments: str) -> Any:
    return json.loads(text(out, *arguments, "--json"))


def refusal(out: Path, *arguments: str) -> str:
    code, output = run(out, *arguments)
    assert code == 2, output
    return output


# trends


def test_trends_show_the_last_rung_of_the_smallest_window_of_each_version(out: Path) -> None:
    shown = text(out, "performance", "trends")
    first, second, third = shown.split("churn ")[1:]
    assert first.startswith(
        "1, segment all, 4 windows of 1h at maturity 2h\n f1 ▁▃·█ 0.500 to 0.900"
    )
    assert "2026-03-01 00:00 900 of 1,200 0.500 [0.470, 0.540]" in first
    assert "2026-03-01 02:00 900 of 1,200 no positive yet" in first
    assert "2026-03-01 04:00" not in first
    assert second.startswith("2, segment all, 2 windows of 1h at maturity 2h")
    assert third.startswith("3, segment all, 1 window of 1h")


def test_trends_end_where_the_newest_window_ends(out: Path) -> None:
    rows = document(
        out, "performance", "trends", "--model", "churn", "--version", "1", "--last", "2h"
    )
    assert [row["window_start"] for row in rows] == ["2026-03-01T02:00:00Z", "2026-03-01T03:00:00Z"]


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (("--by", "6h"), [0.7]),
        (("--maturity", "1h"), [0.4] * 5),
        (("--segment", "plan=pro"), [0.2]),
        (("--lane", "traffic"), [None]),
    ],
)
def test_trends_of_another_window_rung_segment_or_lane(
    out: Path, options: tuple[str, ...], values: list[float | None]
) -> None:
    rows = document(out, "performance", "trends", "--version", "1", *options)
    assert [row["metrics"].get("f1") for row in rows] == values


def test_traffic_is_shown_with_its_metrics_and_units(out: Path) -> None:
    shown = text(out, "performance", "trends", "--lane", "traffic")
    assert "latency_p95 ▄ 250 ms to 250 ms" in shown
    assert "2026-03-01 00:00 1,200 3.500 0.010 250 ms" in shown


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--by", "3h"), "there is no window 3h; there are 1h, 6h"),
        (("--maturity", "7d"), "there is no maturity 7d; there is 1h, 2h"),
        (("--metric", "f2"), 'no figure has a metric "f2"; there are f1'),
        (("--last", "soon"), "--last soon: 'soon' is not a duration"),
        (("--lane", "sideways"), "'sideways' is not one of 'decisions', 'arrivals', 'traffic'"),
    ],
)
def test_wrong_calls_of_trends_say_what_there_is(
    out: Path, options: tuple[str, ...], words: str
) -> None:
    assert words in refusal(out, "performance", "trends", *options)


def test_trends_without_figures_say_so(out: Path) -> None:
    assert "no figure in" in text(out, "performance", "trends", "--model", "other")
    assert document(out, "performance", "trends", "--model", "other") == []


# compare


def test_versions_are_compared_in_the_newest_window_of_both(out: Path) -> None:
    (compared,) = document(out, "performance", "compare", "1", "2")
    assert compared["a"]["window_start"] == compared["b"]["window_start"] == "2026-03-01T03:00:00Z"
    (found,) = [each for each in compared["differences"] if each["metric"] == "f1"]
    assert (found["a"], found["b"]) == (0.9, 0.75)
    assert found["difference"] == pytest.approx(-0.15)
    # Zou and Donner (2008): the distances to the limits are added as squares.
    assert found["low"] == pytest.approx(-0.15 - math.hypot(0.03, 0.04))
    assert found["high"] == pytest.approx(-0.15 + math.hypot(0.04, 0.03))
    shown = text(out, "performance", "compare", "1", "2")
    assert "f1 0.900 [0.870, 0.940] 0.750 [0.720, 0.790] -0.150 [-0.200, -0.100]" in shown
    assert "no window in common" not in shown


def test_versions_that_never_ran_together_are_compared_with_a_word(out: Path) -> None:
    shown = text(out, "performance", "compare", "1", "3", "--model", "churn")
    assert "2026-03-01 03:00, 2026-03-01 09:00 *" in shown
    assert "the versions have no window in common" in shown


def test_a_missing_value_has_no_difference(out: Path) -> None:
    with (out / "metrics.jsonl").open("ab") as file:
        file.write(encode(figures(5, None)) + b"\n" + encode(figures(5, 0.5, version="2")) + b"\n")
    (compared,) = document(out, "performance", "compare", "1", "2")
    assert compared["differences"] == [
        {"metric": "f1", "a": None, "b": 0.5, "difference": None, "low": None, "high": None}
    ]


def test_wrong_calls_of_compare_say_what_there_is(out: Path) -> None:
    said = refusal(out, "performance", "compare", "1", "9")
    assert "has no figures of version 9 for segment all of the decisions lane; there are " in said
    assert "churn 1, churn 2, churn 3" in said
    assert "Missing argument" in refusal(out, "performance", "compare", "1")
    nothing = text(out, "performance", "compare", "1", "2", "--window", "6h")
    assert "versions 1 and 2 have no window 6h of segment all in the decisions lane" in nothing


# drift


def test_the_report_begins_with_the_largest_shift_of_a_whole_window(out: Path) -> None:
    rows = document(out, "drift", "report")
    assert [(row["target"], row["level"]) for row in rows] == [
        ("score", "moderate"),
        ("feature:x", "none"),
    ]
    shown = text(out, "drift", "report")
    assert "churn 1 score psi 1h 2026-03-01 02:00 moderate 0.250 0.040 200 vs 5,000" in shown
    assert "feature:x psi 1h 2026-03-01 02:00 none 0.250 - 200 vs 5,000" in shown


def test_a_target_without_a_whole_window_says_why(out: Path) -> None:
    with (out / "drift.jsonl").open("ab") as file:
        file.write(
            encode(drift(3, "label", "insufficient_data", covered_share=0.1, reason="too short"))
            + b"\n"
        )
    assert "insufficient_data 0.250 0.040 200 vs 5,000 too short" in text(
        out, "drift", "report", "--target", "label"
    )


def test_the_history_has_a_mark_for_each_window(out: Path) -> None:
    shown = text(out, "drift", "history")
    assert "4 windows of 1h from 2026-03-01 00:00 to 2026-03-01 03:00" in shown
    assert "feature:x psi ░ ·? 1" in shown
    assert "score psi ·█▒ 2" in shown
    assert "·█▒" not in text(out, "drift", "history", "--target", "feature:x")


def test_the_history_ends_where_the_newest_window_ends(out: Path) -> None:
    rows = document(out, "drift", "history", "--last", "2h")
    assert [(row["target"], row["level"]) for row in rows] == [
        ("feature:x", "none"),
        ("feature:x", "insufficient_data"),
        ("score", "moderate"),
    ]


def test_drift_without_results_and_wrong_calls_say_so(out: Path) -> None:
    for verb in ("report", "history"):
        assert "no drift result of segment plan=pro" in text(
            out, "drift", verb, "--segment", "plan=pro"
        )
    assert "--last 5: '5' is not a duration" in refusal(out, "drift", "history", "--last", "5")


# lines


@pytest.mark.parametrize("width", [1, 2, 7, 60])
@pytest.mark.parametrize("count", [0, 1, 6, 61, 500])
def test_lines_have_at_most_the_width_and_keep_the_extremes(width: int, count: int) -> None:
    rising = [float(place) for place in range(count)]
    line = sparkline(rising, width)
    assert len(line) == min(count, width)
    if len(line) > 1:
        assert (line[0], line[-1]) == ("▁", "█")
        assert list(line) == sorted(line)
    levels = [1] * count
    if count:
        levels[count // 2] = 4
    assert level_marks(levels, width).count("█") == min(count, 1)
