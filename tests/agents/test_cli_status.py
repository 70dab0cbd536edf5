"""`driftline status`, on records that are written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from driftline.schemas.results import (
    Alert,
    ModelRules,
    RegistryEffect,
    RegistryEntry,
    RuleLevel,
    RuleWindow,
    RuleWindows,
    encode,
)
from driftline.schemas.times import EpochMs
from tests.agents.test_cli_over_time import figures, refusal, run
from tests.agents.test_cli_reading import alert

AT = EpochMs.of("2026-03-02T00:00:00Z")


def entry(version: str, stage: str = "staging", **more: Any) -> RegistryEntry:
    return RegistryEntry(model_name="churn", model_version=version, stage=stage, revision=1, **more)


def blind(version: str) -> RuleWindows:
    window = RuleWindow(
        window="1d", min_samples=100, judges=False, n_windows=9, n_enough=0, reason="too few rows"
    )
    return RuleWindows(
        model_name="churn",
        model_version=version,
        segment="all",
        at_ms=AT,
        rules={"coverage": window},
    )


def of_version(version: str, record: Alert) -> Alert:
    return replace(record, model_version=version)


def folder(tmp_path: Path, *records: Struct, settings: dict[str, Any] | None = None) -> Path:
    out = tmp_path / "out"
    out.mkdir(parents=True)
    identity = {} if settings is None else {"settings": settings}
    (out / "run.json").write_text(json.dumps(identity), encoding="utf-8")
    names = {
        "WindowFigures": "metrics",
        "Alert": "alerts",
        "RegistryEntry": "registry",
        "RuleWindows": "rule-windows",
        "ModelRules": "model-rules",
        "RegistryEffect": "registry-effects",
        "RegistryEvent": "registry-events",
        "ModelLabels": "model-labels",
        "Drift": "drift",
        "Recommendation": "recommendations",
    }
    for record in records:
        with (out / f"{names[type(record).__name__]}.jsonl").open("ab") as file:
            file.write(encode(record) + b"\n")
    return out


def shown(out: Path, *arguments: str, code: int = 0) -> str:
    found, output = run(out, "status", *arguments)
    assert found == code, output
    return " ".join(output.split())


def rows(out: Path, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    found, output = run(out, "status", "--json", *arguments)
    assert found == code, output
    document: list[dict[str, Any]] = json.loads(output)
    return document


THRESHOLDS = {
    "models": {
        "churn": {
            "windows": ["1h", "6h"],
            "rules": [
                {"type": "threshold", "name": "late", "metric": "delay_p95", "above": 9},
                {"type": "threshold", "name": "low", "metric": "f1", "below": 0.8, "window": "6h"},
            ],
        }
    }
}


def test_what_needs_attention_comes_first(tmp_path: Path) -> None:
    """A critical alert, then another one, then rules that cannot judge, then production."""
    out = folder(
        tmp_path,
        entry("1", "production"),
        entry("2"),
        entry("3", "archived"),
        entry("4"),
        entry("5"),
        entry("6"),
        blind("2"),
        blind("3"),
        of_version("4", alert("a", status="firing", severity="error")),
        of_version("5", alert("b", status="firing", severity="warning")),
        of_version("5", alert("c", status="acknowledged", severity="critical")),
        of_version("6", alert("d", status="firing", severity="critical")),
        of_version("6", alert("d", status="resolved", severity="critical")),
    )
    found = rows(out, code=1)
    assert [row["model_version"] for row in found] == ["5", "4", "2", "1", "3", "6"]
    assert [each["alert_id"] for each in found[0]["alerts"]] == ["c", "b"]
    assert found[2]["not_judged"] == {"coverage": "too few rows"}
    text = shown(out, code=1)
    assert text.startswith(
        "6 model versions, no data yet; open alerts: 1 critical, 1 error, 1 warning; "
        "2 rules cannot judge for lack of rows"
    )
    assert "churn 2 coverage too few rows" in text
    assert text.index("F1 in c is below") < text.index("F1 in a is below")


@pytest.mark.parametrize(
    ("status", "severity", "code"),
    [
        ("firing", "critical", 1),
        ("silenced", "critical", 1),
        ("firing", "error", 0),
        ("resolved", "critical", 0),
    ],
)
def test_the_exit_code_says_whether_a_critical_alert_is_open(
    tmp_path: Path, status: str, severity: str, code: int
) -> None:
    out = folder(tmp_path, entry("1"), alert("a", status=status, severity=severity))
    rows(out, code=code)
    shown(out, code=code)
    rows(out, "--version", "2", code=0)


def test_the_metric_is_that_of_the_first_rule_on_performance(tmp_path: Path) -> None:
    baselines = {"2h": {"metrics": {"f1": 0.9}, "ci": {"f1": [0.88, 0.92]}}}
    out = folder(
        tmp_path,
        entry("1", baselines=baselines),
        figures(0, 0.7, hours=6, completeness=0.99),
        figures(6, 0.75, hours=6, completeness=0.99, final=False),
        figures(6, 0.6, hours=6, maturity="1h", completeness=0.5),
        figures(6, 0.76, hours=6, maturity="1d", completeness=1.0),
        figures(12, 0.1, hours=6, provisional=True),
        figures(12, 0.2),
        settings=THRESHOLDS,
    )
    (row,) = rows(out)
    judged = row["judged"]
    assert (judged["rule"], judged["metric"], judged["window"]) == ("low", "f1", "6h")
    # The first rung with at least 95 % of the labels, in the newest complete window.
    assert (judged["maturity"], judged["window_start"]) == ("2h", "2026-03-01T06:00:00Z")
    assert judged["value"] == 0.75
    assert judged["ci"] == pytest.approx([0.72, 0.79])
    assert (judged["baseline"], judged["baseline_ci"]) == (0.9, [0.88, 0.92])
    assert (
        "f1 0.750 [0.720, 0.790] 0.900 [0.880, 0.920] 6h 2026-03-01 06:00 2h * 900 of 1,200"
        in shown(out)
    )


def test_a_window_that_data_cover_in_part_is_not_the_newest(tmp_path: Path) -> None:
    """The last window of a recorded log; without a whole one it is shown all the same."""
    part = figures(12, 0.1, hours=6, covered_share=0.9)
    whole = figures(6, 0.75, hours=6, covered_share=0.96)
    out = folder(tmp_path, entry("1"), whole, part, settings=THRESHOLDS)
    assert rows(out)[0]["judged"]["value"] == 0.75
    (tmp_path / "b").mkdir()
    out = folder(tmp_path / "b", entry("1"), part, settings=THRESHOLDS)
    assert rows(out)[0]["judged"]["value"] == 0.1


def test_a_level_that_a_command_set_decides_the_window(tmp_path: Path) -> None:
    level = RuleLevel(values={"window": "1h"}, revision=2, set_by="ann", set_at="2026-03-01")
    out = folder(
        tmp_path,
        entry("1"),
        figures(0, 0.7, hours=6),
        figures(5, 0.6),
        ModelRules(model_name="churn", revision=2, rules={"low": level}),
        settings=THRESHOLDS,
    )
    assert rows(out)[0]["judged"]["window"] == "1h"


def test_recorded_settings_of_workers_come_first(tmp_path: Path) -> None:
    recorded = RegistryEffect(
        model_name="", revision=0, frontier="2026-03-01T00:00:00Z", settings=THRESHOLDS
    )
    out = folder(tmp_path, entry("1"), figures(0, 0.7, hours=6), recorded)
    assert rows(out)[0]["judged"]["rule"] == "low"


def test_without_a_rule_on_performance_the_mean_recall_of_a_day_is_shown(tmp_path: Path) -> None:
    def of_recalls(hours: int, value: float | None) -> Any:
        reasons = {} if value is not None else {"balanced_accuracy": "no truth yet"}
        return figures(
            0,
            None,
            hours=hours,
            metrics={"balanced_accuracy": value},
            null_reasons=reasons,
        )

    out = folder(
        tmp_path, entry("1"), of_recalls(1, 0.5), of_recalls(24, None), of_recalls(48, 0.6)
    )
    judged = rows(out)[0]["judged"]
    assert (judged["rule"], judged["window"], judged["value"]) == (None, "24h", None)
    assert judged["null_reason"] == "no truth yet"
    assert "balanced_accuracy no truth yet - 24h" in shown(out)


def test_a_version_without_figures_and_a_folder_without_versions_say_so(tmp_path: Path) -> None:
    out = folder(tmp_path, entry("1"))
    assert "no complete window yet" in shown(out)
    assert rows(out)[0]["judged"] is None
    assert "no model version in" in shown(out, "--model", "other")
    assert rows(out, "--model", "other") == []


def test_many_alerts_do_not_fill_more_than_a_screen(tmp_path: Path) -> None:
    many = [alert(f"a{number:02}", status="firing") for number in range(13)]
    text = shown(folder(tmp_path, entry("1"), *many))
    assert "F1 in a09 is below" in text
    assert "F1 in a10 is below" not in text
    assert "and 3 more: driftline alerts list" in text


def test_wrong_calls_end_with_code_two(tmp_path: Path) -> None:
    assert "there is no output folder" in refusal(tmp_path / "none", "status")
    out = folder(tmp_path, entry("1"), settings={"run": {"parc": "2d"}})
    assert "parc" in refusal(out, "status")
    assert "No such option" in refusal(out, "status", "--everything")


def test_open_alerts_of_workers_are_shown_without_a_version(tmp_path: Path) -> None:
    full = replace(
        alert("full", status="firing", severity="critical", summary="The disk is full."),
        model_name="driftline-workers",
        model_version="-",
        segment="worker=w1",
        rule="disk",
    )
    gone = replace(full, alert_id="gone", status="resolved", ends_at_ms=AT)
    out = folder(tmp_path, entry("1", "production"), full, gone)
    first, second = rows(out, code=1)
    assert (first["model_name"], first["stage"], first["judged"]) == (
        "driftline-workers",
        None,
        None,
    )
    assert [each["alert_id"] for each in first["alerts"]] == ["full"]
    assert (second["model_name"], second["alerts"]) == ("churn", [])
    text = shown(out, code=1)
    assert text.startswith("1 model version, no data yet; open alerts: 1 critical")
    assert "driftline-workers - - 1 critical - - -" in text
    assert "The disk is full." in text
    assert rows(out, "--model", "churn")[0]["model_name"] == "churn"
