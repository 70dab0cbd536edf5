"""`driftline tail` on a folder, and the line of each kind of record."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from driftline.agents.cli.program import driftline
from driftline.agents.cli.tail_lines import HEADLINES, line_of
from driftline.schemas.alert_commands import AlertEvent
from driftline.schemas.notifications import Notification
from driftline.schemas.results import Drift, Expected, Recommendation, RuleWindow, RuleWindows
from driftline.schemas.times import EpochMs
from driftline.streams.decide.metric_info import known_metrics
from tests.agents.test_cli_reading import DAY, alert, event, metric, write

AT = EpochMs.of(DAY.format(6))


def tail(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(driftline, ["tail", *arguments, "--out", str(folder)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run.json").write_text('{"config": "abc"}')
    names = [f"a{number}" for number in range(12)]
    others = [
        msgspec.structs.replace(
            alert("other", status="firing"), model_name="fraud", summary="f\x1b[31m\nx."
        )
    ]
    write(tmp_path, "alerts", *(alert(name, status="firing") for name in names), *others)
    return tmp_path


def test_the_newest_records_are_shown_a_line_each(folder: Path) -> None:
    lines = tail(folder, "alerts").stdout.splitlines()
    assert [line.rpartition("[")[2] for line in lines] == [
        *(f"a{number}]" for number in range(3, 12)),
        "other]",
    ]
    assert lines[0] == (
        "2026-01-06 00:00  warning  fires: f1_low of churn 1: F1 in a3 is below 0.8. [a3]"
    )
    assert "f\\x1b[31m x." in lines[-1]
    of_model = tail(folder, "alerts", "-n", "2", "--model", "churn").stdout.splitlines()
    assert [line.rpartition("[")[2] for line in of_model] == ["a10]", "a11]"]


def test_json_has_the_records_as_on_their_topic(folder: Path) -> None:
    lines = tail(folder, "alerts", "--json", "-n", "1").stdout.splitlines()
    (record,) = map(json.loads, lines)
    assert (record["alert_id"], record["summary"]) == ("other", "f\x1b[31m\nx.")


def test_what_cannot_be_shown_is_said(folder: Path) -> None:
    nothing = tail(folder, "drift")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert nothing.stderr == f"driftline: no record of drift in {folder}\n"
    no_table = tail(folder, "predictions")
    assert no_table.exit_code == 2
    assert "a folder has no table predictions; --broker reads it from its topic" in no_table.stderr
    assert tail(folder, "predictions", "--model", "churn").exit_code == 2
    assert tail(folder, "predictons").exit_code == 2
    assert tail(folder / "none", "alerts").exit_code == 2


def test_metrics_of_a_line_are_known() -> None:
    assert set(HEADLINES) <= known_metrics().keys()


def test_line_of_a_metric_has_the_figures_with_intervals() -> None:
    assert line_of(metric(metrics={"f1": 0.81234, "accuracy": 0.9, "npv": 0.5})) == (
        "2026-01-06 00:00  churn 1, decisions 1d at 1d (not final): 1,200 predictions, n = 900, "
        "F1 0.812 [0.78, 0.84], accuracy 0.9"
    )
    traffic = metric(
        lane="traffic", maturity=None, final=True, metrics={"latency_p95": 12.3}, ci={}
    )
    assert line_of(traffic) == (
        "2026-01-06 00:00  churn 1, traffic 1d: 1,200 predictions, latency p95 12 ms"
    )


def test_line_of_other_records() -> None:
    drift = Drift(
        model_name="churn",
        model_version="1",
        segment="plan=pro",
        target="feature:age",
        method="ks",
        window="7d/1d",
        window_start_ms=AT,
        window_end_ms=AT,
        covered_share=1.0,
        statistic=0.21,
        p_value=0.00012,
        p_adjusted=0.0024,
        level="moderate",
        effect=0.21,
        n_reference=3_000,
        n_current=1_400,
        n_effective=None,
        reference_id=None,
        registry_revision=1,
    )
    assert line_of(drift) == (
        "2026-01-06 00:00  churn 1 (plan=pro), feature:age by ks: moderate, statistic 0.21, "
        "p = 0.0024, n = 1,400"
    )
    recommended = Recommendation(
        recommendation_id="r1",
        model_name="churn",
        model_version="1",
        action="set_threshold",
        params={"threshold": 0.4},
        expected=Expected(metric="f1", from_=0.7, to=0.8, ci=(0.05, 0.15)),
        evidence={},
        reason="F1 rises.",
        status="open",
        at_ms=AT,
    )
    assert line_of(recommended) == (
        "2026-01-06 00:00  churn 1, open: set_threshold threshold 0.4: F1 rises. [r1]"
    )
    assert line_of(event(3, "promote", 6, error="not staged")) == (
        "2026-01-06 00:00  churn 1, revision 3: promote by ada; not staged"
    )
    answered = AlertEvent(
        event="acknowledge",
        model_name="churn",
        command="acknowledge",
        command_id="c",
        at=DAY.format(6),
        requested_by="ada",
        frontier=DAY.format(6),
        registry_revision=1,
        reason="mine",
        alert_id="a1",
    )
    assert line_of(answered) == ("2026-01-06 00:00  churn, accepted: acknowledge a1 by ada: mine")
    sent = Notification(
        notification_id="n1",
        channel="ops",
        kind="firing",
        status="failed",
        severity="error",
        title="Error: f1_low of churn 1",
        text="",
        planned_at_ms=AT,
        at_ms=AT,
        error="HTTP 410",
    )
    assert line_of(sent) == (
        "2026-01-06 00:00  ops, firing, failed (HTTP 410): Error: f1_low of churn 1 [n1]"
    )
    rules = {
        "f1_low": RuleWindow(window="1d", min_samples=100, judges=True, n_windows=14, n_enough=14),
        "drift": RuleWindow(
            window="7d",
            min_samples=100,
            judges=False,
            n_windows=14,
            n_enough=3,
            reason="20 rows a week",
        ),
    }
    windows = RuleWindows(
        model_name="churn", model_version="1", segment="all", at_ms=AT, rules=rules
    )
    assert line_of(windows) == (
        "2026-01-06 00:00  churn 1: 1 of 2 rules judge; cannot judge: drift, 20 rows a week"
    )
