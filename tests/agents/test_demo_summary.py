"""The demo's summary and view, on outputs with figures added up by hand."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from driftline.agents.demo.board import Board, Tail
from driftline.agents.demo.summary import NoFigures, summarise
from driftline.agents.demo.view import View, drift_panel, plain_line, sparkline
from driftline.agents.demo.words import summary_lines
from driftline.schemas.results import (
    Alert,
    Drift,
    Expected,
    Histogram,
    Recommendation,
    RegistryEntry,
    RegistryEvent,
    WindowFigures,
    encode,
)
from driftline.schemas.times import EpochMs, format_date

LABELS = ["late", "on_time"]


def figures(
    day: int, rung: str, tn: int, fp: int, fn: int, tp: int, **changes: Any
) -> WindowFigures:
    """A day of 100 predictions in June 2013; the positive label is "late", the rarer one."""
    n = tn + fp + fn + tp
    f1 = 2 * tp / (2 * tp + fp + fn)
    values: dict[str, Any] = {
        "model_name": "flight-delay",
        "model_version": "1.0.0",
        "segment": "all",
        "lane": "decisions",
        "window": "1d",
        "kind": "tumbling",
        "window_start_ms": EpochMs.of(f"2013-06-{day:02d}T00:00:00Z"),
        "window_end_ms": EpochMs.of(f"2013-06-{day + 1:02d}T00:00:00Z"),
        "maturity": rung,
        "final": rung == "1d",
        "provisional": False,
        "revision": 1,
        "registry_revision": 1,
        "n_predictions": 100,
        "n": n,
        "label_coverage": n / 100,
        "completeness": None,
        "labels": LABELS,
        "matrix": [[tp, fn], [fp, tn]],
        "tn": tn,
        "fp": fp,
        "fn": fn,
        "tp": tp,
        "metrics": {"f1": f1, "roc_auc": 0.7 + 0.01 * day},
        "ci": {"f1": (f1 - 0.1, f1 + 0.1)},
        "complete_at_ms": EpochMs.of(f"2013-06-{day + 2:02d}T00:00:00Z"),
    }
    return WindowFigures(**{**values, **changes})


# Four days; most truths known at 3h are of flights on time.
DAYS = [
    (1, "3h", 45, 5, 5, 5),
    (1, "1d", 60, 10, 10, 18),
    (2, "3h", 50, 4, 4, 2),
    (2, "1d", 66, 12, 8, 10),
    (3, "3h", 40, 8, 6, 6),
    (3, "1d", 50, 14, 10, 22),
    (4, "3h", 52, 5, 2, 1),
    (4, "1d", 75, 9, 5, 8),
]

ALERTS = [
    ("a", "firing", "auc_low", "warning", 1),
    ("b", "firing", "drift_psi", "info", 1),
    ("a", "resolved", "auc_low", "warning", 2),
    ("c", "firing", "auc_low", "critical", 3),
]


def alert(alert_id: str, status: str, rule: str, severity: str, day: int) -> Alert:
    return Alert(
        fingerprint=rule,
        alert_id=alert_id,
        group_id=alert_id,
        model_name="flight-delay",
        model_version="1.0.0",
        segment="all",
        rule=rule,
        status="firing" if status == "escalated" else status,  # type: ignore[arg-type]
        change=status,  # type: ignore[arg-type]
        severity=severity,  # type: ignore[arg-type]
        summary=f"{rule} of day {day}.",
        starts_at_ms=EpochMs.of(f"2013-06-{day:02d}T00:00:00Z"),
        at_ms=EpochMs.of(f"2013-06-{day:02d}T00:00:00Z"),
    )


def drift(target: str, day: int, level: str, effect: float | None, **changes: Any) -> Drift:
    """A drift result for the seven days from a day of June 2013; days below 1 are in May."""
    start = date(2013, 5, 31) + timedelta(days=day)
    return Drift(
        model_name="flight-delay",
        model_version="1.0.0",
        segment="all",
        target=target,
        method="psi",
        window="7d/1d",
        window_start_ms=EpochMs.of(f"{start}T00:00:00Z"),
        window_end_ms=EpochMs.of(f"{start + timedelta(days=7)}T00:00:00Z"),
        covered_share=1.0,
        statistic=effect,
        p_value=None,
        level=level,  # type: ignore[arg-type]
        effect=effect,
        n_reference=1000,
        n_current=100,
        n_effective=None,
        reference_id="r",
        registry_revision=1,
        **changes,
    )


def histogram(
    day: int, negatives: dict[str, int], positives: dict[str, int], *, final: bool = True
) -> Histogram:
    """A score histogram: one row of each bin with two or more rows is in the hold-out half, all
    others are in the fit half.
    """
    halves: dict[str, dict[str, dict[str, int]]] = {"fit": {}, "holdout": {}}
    for label, counts in (("on_time", negatives), ("late", positives)):
        halves["holdout"][label] = {number: 1 for number, count in counts.items() if count > 1}
        halves["fit"][label] = {number: count - (count > 1) for number, count in counts.items()}
    return Histogram(
        model_name="flight-delay",
        model_version="1.0.0",
        segment="all",
        lane="decisions",
        window="1d",
        window_start_ms=EpochMs.of(f"2013-06-{day:02d}T00:00:00Z"),
        window_end_ms=EpochMs.of(f"2013-06-{day + 1:02d}T00:00:00Z"),
        maturity="1d",
        final=final,
        registry_revision=1,
        labels=LABELS,
        positive_label="late",
        **halves,
    )


def promotion(day: int, *, dry_run: bool = False) -> RegistryEvent:
    return RegistryEvent(
        event="promote",
        model_name="flight-delay",
        model_version="1.0.0",
        revision=2,
        command_id="x",
        at=f"2013-06-{day:02d}T04:00:00Z",
        requested_by="demo",
        dry_run=dry_run,
    )


def recommendation(
    number: int, status: str, realised: tuple[float, float] | None = None
) -> Recommendation:
    evidence: dict[str, Any] = {"relative_gain": 0.02 * number, "threshold_in_force": 0.23}
    if realised is not None:
        before, after = realised
        window = {"window_start": "2013-06-08T00:00:00Z", "window_end": "2013-06-15T00:00:00Z"}
        evidence["realised"] = {
            "from": before,
            "to": after,
            "relative_gain": after / before - 1,
            "n": 700,
            **window,
        }
    return Recommendation(
        recommendation_id=f"r{number}",
        model_name="flight-delay",
        model_version="1.0.0",
        action="set_threshold",
        params={"threshold": round(0.23 + 0.01 * number, 2)},
        expected=Expected(metric="f1", from_=0.5, to=0.5 * (1 + 0.02 * number)),
        evidence=evidence,
        reason=f"{status} {number}.",
        status=status,
        at_ms=EpochMs.of(f"2013-06-{number:02d}T00:00:00Z"),
    )


def write(folder: Path, **topics: Sequence[msgspec.Struct]) -> Path:
    (folder / "run.json").write_text("{}")
    for topic, records in topics.items():
        lines = b"".join(encode(record) + b"\n" for record in records)
        (folder / f"{topic.replace('_', '-')}.jsonl").write_bytes(lines)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    metrics = [figures(*day) for day in DAYS]
    others = [
        figures(1, "1d", 1, 1, 1, 1, segment="origin=JFK"),
        figures(1, "1d", 1, 1, 1, 1, kind="sliding", window="7d/1d"),
        figures(1, "1d", 1, 1, 1, 1, window="1h"),
        figures(1, "1d", 1, 1, 1, 1, lane="arrivals", maturity=None),
    ]
    return write(
        tmp_path,
        metrics=[*metrics, *others],
        alerts=[alert(*change) for change in ALERTS],
        drift=[
            drift("feature:hour", -5, "none", 0.02),
            drift("feature:hour", -4, "severe", 0.4),
            drift("score", -4, "mild", 0.1),
            drift("feature:weekday", -4, "insufficient_data", None, reason="too few values"),
            drift("score", 7, "severe", 2.0),
        ],
        registry_events=[promotion(day=1, dry_run=True), promotion(day=2)],
    )


def test_production_figures_are_the_sums_of_the_days_since_the_promotion(out: Path) -> None:
    summary = summarise(out)
    assert summary.in_production_since == "2013-06-02T04:00:00Z"
    assert summary.before is not None
    assert summary.before.predictions == 100
    assert summary.production.predictions == 300
    assert summary.production.labelled == 96 + 96 + 97
    #   tp 10 + 22 + 8, fp 12 + 14 + 9, fn 8 + 10 + 5
    assert summary.production.f1 == pytest.approx(2 * 40 / (2 * 40 + 35 + 23))
    assert summary.production.precision == pytest.approx(40 / 75)
    assert summary.production.recall == pytest.approx(40 / 63)
    assert summary.production.positive_share == pytest.approx(63 / 289)
    assert summary.production.roc_auc is None
    assert [period.name for period in summary.periods] == [
        "2013-06-01",
        "2013-06-02",
        "2013-06-03",
        "2013-06-04",
    ]
    assert summary.positive_label == "late"


def test_roc_auc_of_a_period_is_computed_from_the_score_histograms_of_its_days(out: Path) -> None:
    #   bins 0.1, 0.2+, 0.3: negatives, positives
    #   day 2          4 2 0       0 2 2
    #   day 3          2 0 2       1 0 3
    #   sum            6 2 2       1 2 5     52 of 80 pairs won, 20 tied
    days = {
        2: ({"0.1": 4, "0.2+": 2}, {"0.2+": 2, "0.3": 2}),
        3: ({"0.1": 2, "0.3": 2}, {"0.1": 1, "0.3": 3}),
    }
    histograms = [
        histogram(day, negatives, positives) for day, (negatives, positives) in days.items()
    ]
    write(out, histograms=[*histograms, histogram(2, {"0.1": 100}, {"0.3": 100}, final=False)])
    assert summarise(out).production.roc_auc == pytest.approx((52 + 20 / 2) / 80)


def test_early_figures_are_compared_with_the_final_ones_of_the_same_days(out: Path) -> None:
    early, last = summarise(out).maturities
    assert (early.rung, last.rung) == ("3h", "1d")
    #   tp 2 + 6 + 1, fp 4 + 8 + 5, fn 4 + 6 + 2 of 60 + 60 + 60 rows
    assert early.f1 == pytest.approx(2 * 9 / (2 * 9 + 17 + 12))
    assert early.coverage == pytest.approx(180 / 300)
    assert early.positive_share == pytest.approx(21 / 180)
    assert last.f1_error == 0.0
    assert early.f1_error == pytest.approx(2 * 9 / 47 - 2 * 40 / 138)
    #   last F1 0.5, 0.647, 0.533; early 0.333, 0.462, 0.222, each with an interval of +- 0.1
    assert early.days_misleading == 1.0
    assert last.days_misleading == 0.0


def test_alerts_are_summarised_by_rule_with_their_latest_status(out: Path) -> None:
    first, second = summarise(out).alerts
    assert (first.rule, first.episodes, first.still_firing) == ("auc_low", 2, 1)
    assert first.first_summary == "auc_low of day 1."
    assert [*first.severities.items()] == [("critical", 1), ("warning", 1)]
    assert (second.rule, second.severities, second.still_firing) == ("drift_psi", {"info": 1}, 1)


def test_an_alert_counts_by_the_highest_severity_that_it_reached(out: Path) -> None:
    write(
        out,
        alerts=[
            alert("b", "firing", "drift_psi", "info", 1),
            alert("b", "escalated", "drift_psi", "warning", 2),
            alert("b", "resolved", "drift_psi", "warning", 3),
        ],
    )
    (rule,) = summarise(out).alerts
    assert rule.severities == {"warning": 1}
    assert "warning: drift_psi fired once (all rows; all resolved), first on 2013-06-01:" in [
        *summary_lines(summarise(out))
    ]


def test_alerts_after_the_end_of_the_log_are_counted_separately(out: Path) -> None:
    write(
        out,
        alerts=[
            alert("a", "firing", "auc_low", "warning", 3),
            alert("b", "firing", "no_data", "error", 7),
        ],
    )
    summary = summarise(out)
    assert [story.rule for story in summary.alerts] == ["auc_low"]
    assert summary.alerts_after_the_end == 1
    assert "after the end of the log, while time was advanced: 1." in "\n".join(
        summary_lines(summary)
    )


def test_drift_summary_counts_windows_with_moderate_or_severe_drift(out: Path) -> None:
    hour, weekday, score = summarise(out).drift
    assert (weekday.windows, weekday.no_verdict) == (0, ["too few values"])
    assert (hour.target, hour.windows, hour.notable, hour.strongest_effect) == (
        "feature:hour",
        2,
        1,
        0.4,
    )
    assert (score.target, score.notable) == ("score", 0)


def test_recommendations_are_summarised_with_their_outcome(out: Path) -> None:
    write(
        out,
        recommendations=[
            recommendation(1, "open"),
            recommendation(1, "superseded"),
            recommendation(2, "open"),
            recommendation(1, "outcome", realised=(0.5, 0.45)),
            recommendation(2, "outcome", realised=(0.5, 0.6)),
            recommendation(3, "open"),
        ],
    )
    summary = summarise(out)
    first, second, third = summary.recommendations
    assert (first.status, first.threshold, first.relative_gain) == ("superseded", 0.24, 0.02)
    assert first.realised is not None
    assert first.realised.relative_gain == pytest.approx(-0.1)
    assert (second.status, third.status, third.realised) == ("open", "open", None)
    text = "\n".join(summary_lines(summary))
    for fact in (
        "recommended 3 times, from 2013-06-01 to 2013-06-03",
        "gain of 4.0 % in F1 on average",
        "by 5.0 % on average; they were better in 1 of 2 cases",
        ", from 2013-06-02:\n  open 2.\n  outcome 2.",
        "Still open, from 2013-06-03:\n  open 3.",
    ):
        assert fact in text, fact


def test_long_run_is_summarised_by_month(tmp_path: Path) -> None:
    days = [
        figures(
            1,
            "1d",
            60,
            10,
            10,
            20,
            window_start_ms=EpochMs.of(f"2013-{month:02d}-{day:02d}T00:00:00Z"),
        )
        for month in (1, 2, 3)
        for day in range(1, 29)
    ]
    summary = summarise(write(tmp_path, metrics=days))
    assert [(period.name, period.predictions) for period in summary.periods] == [
        ("2013-01", 2800),
        ("2013-02", 2800),
        ("2013-03", 2800),
    ]
    assert summary.before is None


def test_summary_of_an_output_without_figures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NoFigures, match="no complete figures"):
        summarise(write(tmp_path, metrics=[]))


def test_summary_text_contains_the_figures_of_the_output(out: Path) -> None:
    text = "\n".join(summary_lines(summarise(out)))
    for fact in (
        "400 predictions from 2013-06-01 to 2013-06-04",
        "the truth arrived for 96.8 % of them",
        "promotion on 2013-06-02",
        "F1 0.580, precision 0.533, recall 0.635, ROC AUC -",
        "highest in 2013-06-03 (0.647, 33.3 % positive)",
        "lowest in 2013-06-02 (0.500, 18.8 % positive)",
        "At 3h, F1 is 0.383 instead of the final 0.580. It is too low: 11.7 % of the truths",
        "compared with 21.8 % in the end",
        "1 critical, 1 warning: auc_low fired twice (all rows; 1 still firing), first on",
        "feature:hour drifted moderately or severely in 1 of 2 windows",
        "most in the window to 2013-06-03 (psi 0.400)",
        "No moderate or severe drift: score.",
        "Not tested: feature:weekday (too few values).",
        f"driftline alerts list --all --out {out}",
    ):
        assert fact in text, fact


def test_tables_of_the_summary_fit_80_columns(out: Path) -> None:
    lines = list(summary_lines(summarise(out)))
    tables = [line for line in lines if "  " in line.strip()]
    assert len(tables) == 1 + 4 + 1 + 2
    assert max(map(len, tables)) <= 80


def test_tail_leaves_an_unfinished_line_for_the_next_call(tmp_path: Path) -> None:
    tail = Tail(tmp_path)
    assert list(tail.records()) == []
    line = encode(figures(1, "1d", 60, 10, 10, 18)) + b"\n"
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(line + line[:50])
    assert len(list(tail.records())) == 1
    path.write_bytes(line + line)
    assert len(list(tail.records())) == 1
    assert list(tail.records()) == []


def test_board_keeps_the_newest_results() -> None:
    board = Board()
    sliding = {"kind": "sliding", "window": "7d/1d"}
    for record in (
        figures(1, "3h", 45, 5, 5, 5, **sliding),
        figures(2, "3h", 50, 4, 4, 2, **sliding),
        figures(1, "1d", 60, 10, 10, 18, **sliding),
        figures(1, "1d", 60, 10, 10, 18, **sliding, segment="origin=JFK"),
        figures(1, "1d", 60, 10, 10, 18),
        *(alert(*change) for change in ALERTS),
        drift("score", 1, "severe", 0.5),
        drift("score", 2, "mild", 0.1),
        recommendation(1, "open"),
        recommendation(1, "superseded"),
        recommendation(2, "open"),
        recommendation(1, "outcome", realised=(0.5, 0.45)),
    ):
        board.take(record)
    assert len(board.days) == 1
    assert [alert.alert_id for alert in board.firing()] == ["b", "c"]
    assert board.drift["score"].level == "mild"
    assert board.recommendation is not None
    assert board.recommendation.reason == "open 2."
    assert board.outcome is not None
    assert board.outcome.reason == "outcome 1."
    assert (
        plain_line(board, 50, 200)
        == "   25 %  2013-06-03  F1 0.643 [0.543, 0.743] at 1d  2 of 3 alerts firing"
    )


def test_board_ignores_records_after_the_end_of_the_log() -> None:
    board = Board()
    board.end_ms = EpochMs.of("2013-06-03T12:00:00Z")
    for record in (
        figures(2, "1d", 66, 12, 8, 10),
        figures(3, "1d", 2, 0, 0, 1),
        alert("a", "firing", "no_data", "error", 4),
    ):
        board.take(record)
    assert [format_date(record.window_start_ms) for record in board.days] == ["2013-06-02"]
    assert not board.alerts


def test_board_shows_the_rungs_of_one_window(out: Path) -> None:
    #   window of day    1        2
    #   3h               seen     seen
    #   1d (the last)    seen     not yet: 3h of day 2 must not be shown with 1d of day 1
    board = Board()
    for day, rung, *cells in (
        (1, "3h", 45, 5, 5, 5),
        (2, "3h", 50, 4, 4, 2),
        (1, "1d", 60, 10, 10, 18),
    ):
        board.take(figures(day, rung, *cells, kind="sliding", window="7d/1d"))
    assert {rung: format_date(record.window_start_ms) for rung, record in board.rungs.items()} == {
        "3h": "2013-06-01",
        "1d": "2013-06-01",
    }
    board.take(figures(2, "1d", 66, 12, 8, 10, kind="sliding", window="7d/1d"))
    assert {format_date(record.window_start_ms) for record in board.rungs.values()} == {
        "2013-06-02"
    }


def test_view_on_a_terminal_shows_matrix_maturity_drift_and_alerts(out: Path) -> None:
    sliding = [
        figures(day, rung, *cells, kind="sliding", window="7d/1d") for day, rung, *cells in DAYS
    ]
    entry = RegistryEntry(
        model_name="flight-delay",
        model_version="1.0.0",
        stage="production",
        revision=2,
        threshold=0.232,
    )
    write(out, metrics=[*sliding, *(figures(*day) for day in DAYS)], registry=[entry])
    text = io.StringIO()
    view = View(
        Console(file=text, force_terminal=True, width=160, height=60, color_system=None), out
    )
    with view.open():
        view.step("streaming", total=10)
        view.advance(5)
    shown = text.getvalue()
    for fact in (
        "production",
        "0.232",
        "was late",
        "75",
        "3h",
        "1d",
        "coverage",
        "hour",
        "severe",
        "auc_low of day 3",
        "none yet",
    ):
        assert fact in shown, fact


def test_two_panels_of_the_view_fit_side_by_side_in_100_columns() -> None:
    board = Board()
    for target in ("feature:recent_late_share", "score"):
        board.drift[target] = drift(target, 1, "insufficient_data", None)
    console = Console(width=100)
    assert console.measure(drift_panel(board)).maximum <= (100 - 1) // 2


def test_view_without_a_terminal_prints_plain_lines(out: Path) -> None:
    text = io.StringIO()
    view = View(Console(file=text, force_terminal=False, width=160), out)
    with view.open():
        view.step("reading the flights")
        view.step("streaming", total=10)
    assert text.getvalue().splitlines() == ["reading the flights", "streaming"]


def test_sparkline_is_scaled_from_the_lowest_to_the_highest_value() -> None:
    assert sparkline([0.3, 0.1, 0.5]) == "▄▁█"
    assert sparkline([0.2, 0.2]) == "▁▁"
