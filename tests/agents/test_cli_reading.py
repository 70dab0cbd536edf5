"""The reading verbs, on a small output folder with records written by hand."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline
from driftline.schemas.results import (
    Alert,
    LostRows,
    RegistryEntry,
    RegistryEvent,
    WindowFigures,
    encode,
)
from driftline.schemas.times import EpochMs
from tests.agents.terminal import printed_on_a_terminal

DAY = "2026-01-0{}T00:00:00Z"


def metric(
    day: int = 5, *, maturity: str | None = "1d", final: bool = False, **more
) -> WindowFigures:
    fields = {
        "model_name": "churn",
        "model_version": "1",
        "segment": "all",
        "lane": "decisions",
        "window": "1d",
        "kind": "tumbling",
        "window_start_ms": EpochMs.of(DAY.format(day)),
        "window_end_ms": EpochMs.of(DAY.format(day + 1)),
        "maturity": maturity,
        "final": final,
        "provisional": False,
        "revision": 1,
        "registry_revision": 1,
        "n_predictions": 1_200,
        "n": 900,
        "label_coverage": 0.75,
        "completeness": None,
        "metrics": {"f1": 0.81234},
        "ci": {"f1": (0.78, 0.84)},
        "complete_at_ms": EpochMs.of(DAY.format(day + 2)),
    }
    return WindowFigures(**fields | more)


def alert(
    episode: str,
    *,
    status: str,
    severity: str = "warning",
    at: str = DAY.format(6),
    ends_at: str | None = None,
    group: str | None = None,
    **more,
) -> Alert:
    return Alert(
        fingerprint=f"churn/1/all/{episode}",
        alert_id=episode,
        group_id=group or episode,
        model_name="churn",
        model_version="1",
        segment="all",
        rule="f1_low",
        status=status,
        change="firing" if status == "firing" else "resolved",
        severity=severity,
        starts_at_ms=EpochMs.of(DAY.format(6)),
        at_ms=EpochMs.of(at),
        ends_at_ms=None if ends_at is None else EpochMs.of(ends_at),
        **{"summary": f"F1 in {episode} is below 0.8."} | more,
    )


def event(
    revision: int, name: str, day: int, *, after=None, before=None, error=None, dry_run=False
) -> RegistryEvent:
    return RegistryEvent(
        event=name,
        model_name="churn",
        model_version="1",
        revision=revision,
        command_id=f"c{revision}{name}",
        at=DAY.format(day),
        requested_by="ada",
        before=before,
        after=after,
        error=error,
        dry_run=dry_run,
    )


@pytest.fixture
def out(tmp_path):
    (tmp_path / "run.json").write_text('{"config": "abc"}')
    write(
        tmp_path,
        "metrics",
        metric(3, lane="traffic", maturity=None, n_predictions=3_000),
        metric(4, lane="traffic", maturity=None, n_predictions=2_000),
        metric(
            4, lane="traffic", maturity=None, n_predictions=400, window="1h"
        ),  # the same predictions once more
        metric(5, lane="traffic", maturity=None, n_predictions=0),
        metric(4, maturity="1d", final=True, n=1_100),
        metric(4, maturity="1h", n=10),
        metric(
            5,
            maturity="1h",
            metrics={"f1": None},
            ci={},
            null_reasons={"f1": "no truth yet"},
            n=0,
            label_coverage=0.0,
        ),
        metric(5, maturity="1h", segment="plan=pro"),
        metric(6, maturity="1h", provisional=True),
    )
    write(
        tmp_path,
        "alerts",
        alert(
            "first",
            status="firing",
            metric="f1",
            value=0.7123,
            threshold=0.8,
            comparator="<",
            n=1_234,
            ci=(0.69, 0.73),
            window="7d/1d",
        ),
        alert("second", status="firing", severity="critical"),
    )
    write(
        tmp_path,
        "alerts",
        alert(
            "first",
            status="resolved",
            at=DAY.format(7),
            ends_at=DAY.format(7),
            summary="F1 in first is back at 0.85.",
            value=0.85,
        ),
    )
    write(
        tmp_path,
        "registry-events",
        event(1, "registered", 1, after={"1": {"stage": "production", "threshold": 0.5}}),
        event(
            2,
            "threshold_set",
            3,
            before={"1": {"threshold": 0.5}},
            after={"1": {"threshold": 0.42}},
        ),
        event(2, "rejected", 4, error="revision 1 was expected, it is 2"),
        event(3, "promote", 5, after={"1": {"stage": "production"}}, dry_run=True),
    )
    write(
        tmp_path,
        "registry",
        RegistryEntry(
            model_name="churn", model_version="1", stage="production", revision=1, threshold=0.5
        ),
    )
    write(
        tmp_path,
        "registry",
        RegistryEntry(
            model_name="churn", model_version="1", stage="production", revision=2, threshold=0.42
        ),
    )
    return tmp_path


def write(folder, topic, *records):
    with (folder / f"{topic}.jsonl").open("ab") as file:
        file.writelines(encode(record) + b"\n" for record in records)


def shown(out, *arguments) -> str:
    runner = CliRunner()
    result = runner.invoke(driftline, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def document(out, *arguments):
    result = CliRunner().invoke(driftline, [*arguments, "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# models


def test_models_list_shows_the_registry_entry_predictions_and_firing_alerts(out):
    (row,) = document(out, "models", "list")
    assert (row["stage"], row["threshold"], row["revision"]) == ("production", 0.42, 2)
    assert (row["n_predictions"], row["last_prediction"], row["alerts_firing"]) == (
        5_000,
        DAY.format(5),
        1,
    )
    assert "churn 1 production 0.420 - 2 5,000" in shown(out, "models", "list")


def test_models_list_of_an_unknown_model_says_that_there_is_none(out):
    assert document(out, "models", "list", "--model", "fraud") == []
    assert "no model version" in shown(out, "models", "list", "--model", "fraud")


# performance


def test_summary_shows_the_newest_window_at_its_last_rung(out):
    records = document(out, "performance", "summary")
    assert [(record["window_start"], record["maturity"]) for record in records] == [
        (DAY.format(4), "1d")
    ]
    records = document(out, "performance", "summary", "--maturity", "1h")
    assert [(record["window_start"], record["segment"]) for record in records] == [
        (DAY.format(5), "all")
    ]


def test_summary_of_all_rungs_has_one_row_per_rung_in_order(out):
    records = document(out, "performance", "summary", "--maturity", "all")
    assert [(record["maturity"], record["window_start"]) for record in records] == [
        ("1h", DAY.format(5)),
        ("1d", DAY.format(4)),
    ]


def test_provisional_figures_are_never_shown(out):
    assert all(
        not record.get("provisional")
        for record in document(out, "performance", "summary", "--maturity", "all")
    )


def test_figure_is_shown_with_its_interval_and_a_null_figure_with_its_reason(out):
    assert re.search(
        r"1,100 of 1,200 .* 0\.812 .*75\.0 % .*\[0\.780, 0\.840\]",
        shown(out, "performance", "summary"),
    )
    text = shown(out, "performance", "summary", "--maturity", "1h", "--metric", "f1")
    assert "no truth yet" in text
    assert "truths may still arrive" in text


def test_delays_and_latencies_are_shown_with_their_unit(tmp_path):
    (tmp_path / "run.json").write_text('{"config": "abc"}')
    values = {"delay_p50": 28_300_000.0, "latency_p95": 12.53}
    write(
        tmp_path, "metrics", metric(4, metrics=values, ci={"delay_p50": (28_080_000.0, 90_000.0)})
    )
    options = ("--metric", "delay_p50", "--metric", "latency_p95")
    text = shown(tmp_path, "performance", "summary", *options)
    # 28,300,000 ms are 7.861 hours.
    assert re.search(r"7\.9 hours", text)
    assert re.search(r"12\.53 ms", text)
    assert re.search(r"\[7\.8 hours, 1\.5 minutes\]", text)


def test_narrow_terminal_gets_a_list_instead_of_a_table(out):
    text = printed_on_a_terminal(
        ["performance", "summary", "--out", str(out)], {"COLUMNS": "80", "NO_COLOR": "1"}
    )
    assert (
        "churn 1, 1d from 2026-01-04 00:00, maturity 1d: 1,100 of 1,200 labelled (75.0 %)" in text
    )
    assert re.search(r"f1 +0\.812 \[0\.780, 0\.840\]", text)


def test_summary_of_one_segment(out):
    records = document(out, "performance", "summary", "--segment", "plan=pro")
    assert [record["segment"] for record in records] == ["plan=pro"]


def lacking(day: int, **more: Any) -> WindowFigures:
    """Figures of a window of a day that may lack rows of an hour."""
    start = EpochMs.of(DAY.format(day))
    loss = LostRows(
        topic="predictions", from_ms=start, until_ms=EpochMs(start + 3_600_000), records=2_000
    )
    return metric(day, losses=[loss], **more)


def test_windows_that_may_lack_lost_rows_are_marked(tmp_path):
    (tmp_path / "run.json").write_text('{"config": "abc"}')
    write(tmp_path, "metrics", lacking(3), metric(4, window="2d/1d", kind="sliding"), lacking(5))
    text = shown(tmp_path, "performance", "summary")
    assert re.search(r"churn 1 1d ! ", text)
    assert re.search(r"churn 1 2d/1d 2026", text)
    assert text.endswith(
        "! the window may lack rows that were lost before they were read: 2,000 of predictions"
    )
    found = json.loads(
        CliRunner().invoke(driftline, ["doctor", "--json", "--out", str(tmp_path)]).stdout
    )
    (finding,) = [each for each in found if "lost before they were read" in each["message"]]
    assert finding["level"] == "note"
    assert finding["message"].startswith(
        "2 windows may lack rows of predictions between 2026-01-03T00:00:00Z and "
        "2026-01-05T01:00:00Z, "
    )


def test_summary_without_records_names_the_selection(out):
    assert "no figure" in shown(out, "performance", "summary", "--window", "9d")


# alerts


def test_alerts_list_has_one_row_per_episode_with_its_latest_status(out):
    assert [
        (row["alert_id"], row["status"]) for row in document(out, "alerts", "list", "--all")
    ] == [
        ("first", "resolved"),
        ("second", "firing"),
    ]
    assert (
        "critical firing 2026-01-06 00:00 - churn 1 all f1_low F1 in second is below 0.8."
        in shown(out, "alerts", "list", "--all")
    )


def test_resolved_alert_shows_why_it_fired_and_how_it_was_resolved(out):
    text = shown(out, "alerts", "list", "--all")
    assert "f1_low F1 in first is below 0.8. F1 in first is back at 0.85. first" in text
    row, other = document(out, "alerts", "list", "--all")
    assert row["why_fired"] == "F1 in first is below 0.8."
    assert row["summary"] == "F1 in first is back at 0.85."
    assert other["why_fired"] == other["summary"] == "F1 in second is below 0.8."


def test_resolved_alert_whose_firing_record_has_expired_has_no_reason(out):
    write(out, "alerts", alert("third", status="resolved", at=DAY.format(7)))
    *_, row = document(out, "alerts", "list", "--all")
    assert (row["alert_id"], row["why_fired"]) == ("third", None)


def test_alert_show_has_every_record_of_the_episode(out):
    write(out, "alerts", alert("third", status="firing"))
    records = document(out, "alerts", "show", "first")
    assert [(record["status"], record["value"]) for record in records] == [
        ("firing", 0.7123),
        ("resolved", 0.85),
    ]
    text = shown(out, "alerts", "show", "first")
    assert "f1_low of churn 1, segment all" in text
    assert (
        "2026-01-06 00:00 firing firing warning f1 0.712 [0.690, 0.730] < 0.800 - 1,234 7d/1d - "
        "F1 in first is below 0.8." in text
    )
    assert "2026-01-07 00:00 resolved resolved warning" in text
    assert "F1 in first is back at 0.85." in text
    assert "third" not in text


def test_alert_show_states_the_budget_of_the_rule(out):
    details = {"false_alarms_per_year": 0.25}
    write(out, "alerts", alert("third", status="firing", details=details))
    assert "at most 0.25 false alarms a year" in shown(out, "alerts", "show", "third")
    assert "false alarms" not in shown(out, "alerts", "show", "first")


def test_alert_show_names_the_episodes_that_probably_have_the_same_cause(tmp_path):
    (tmp_path / "run.json").write_text('{"config": "abc"}')
    cause = alert("moved", status="resolved", ends_at=DAY.format(9))
    write(tmp_path, "alerts", cause, alert("lost", status="firing", group="moved"))
    for name, other in (("lost", "moved (resolved)"), ("moved", "lost (firing)")):
        assert f"probably of one cause with: f1_low {other}" in shown(
            tmp_path, "alerts", "show", name
        )


def test_alert_show_of_an_unknown_id_ends_with_two_and_names_the_nearest(out):
    arguments = ["alerts", "show", "secnd", "--out", str(out)]
    result = CliRunner().invoke(driftline, arguments)
    assert result.exit_code == 2
    assert f"no alert secnd in {out}; the nearest of 2 IDs: second" in result.output
    (out / "alerts.jsonl").unlink()
    result = CliRunner().invoke(driftline, arguments)
    assert result.exit_code == 2
    assert "it has no alerts" in result.output


def test_alerts_list_has_open_alerts_and_can_be_limited_to_severe_ones(out):
    assert [row["alert_id"] for row in document(out, "alerts", "list")] == ["second"]
    assert [
        row["alert_id"] for row in document(out, "alerts", "list", "--all", "--severity", "error")
    ] == ["second"]


# registry


def test_history_lists_changes_and_rejections_newest_first(out):
    rows = document(out, "registry", "history")
    assert [row["event"] for row in rows] == [
        "promote",
        "rejected",
        "threshold_set",
        "registered",
    ]
    text = shown(out, "registry", "history")
    assert "1 threshold: 0.5 -> 0.42" in text
    assert "revision 1 was expected, it is 2" in text
    assert "promote (dry run)" in text
    assert len(document(out, "registry", "history", "--accepted")) == 2


def test_as_of_shows_the_entries_in_force_at_that_time(out):
    assert [
        row["threshold"] for row in document(out, "registry", "as-of", "2026-01-02T00:00:00Z")
    ] == [0.5]
    assert [
        row["threshold"] for row in document(out, "registry", "as-of", "2026-01-03T00:00:00Z")
    ] == [0.42]
    assert document(out, "registry", "as-of", "2025-12-31T00:00:00Z") == []


def test_as_of_with_an_invalid_time_ends_with_two(out):
    result = CliRunner().invoke(driftline, ["registry", "as-of", "yesterday", "--out", str(out)])
    assert result.exit_code == 2
    assert "RFC 3339" in result.output


# all verbs


def test_output_folder_can_come_from_the_environment(out, monkeypatch):
    monkeypatch.setenv("DRIFTLINE_OUT", str(out))
    assert CliRunner().invoke(driftline, ["models", "list"]).exit_code == 0


def test_tables_without_a_terminal_have_no_colours(out):
    assert (
        "\x1b[" not in CliRunner().invoke(driftline, ["alerts", "list", "--out", str(out)]).output
    )


@pytest.mark.parametrize(("no_colour", "coloured"), [("", True), ("1", False)])
def test_no_color_switches_colours_off_on_a_terminal(out, monkeypatch, no_colour, coloured):
    text = printed_on_a_terminal(
        ["alerts", "list", "--all", "--out", str(out)],
        {"NO_COLOR": no_colour, "TERM": "xterm-256color"},
    )
    assert "F1 in second" in text
    assert ("\x1b[33mwarning" in text) == coloured
