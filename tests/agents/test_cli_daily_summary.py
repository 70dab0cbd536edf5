"""`driftline daily-summary`, on records that are written by hand: the day is 2026-03-02."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from driftline.schemas.results import Alert, Expected, Recommendation
from driftline.schemas.times import EpochMs
from tests.agents.test_cli_degradation import episode
from tests.agents.test_cli_models import HOSTILE, event
from tests.agents.test_cli_over_time import (
    HOUR,
    START,
    document,
    drift,
    figures,
    refusal,
    run,
    text,
)
from tests.agents.test_cli_quality import NO_MODEL, arrived, traffic
from tests.agents.test_cli_status import entry, folder

BASELINE = {"metrics": {"f1": 0.8}, "ci": {"f1": [0.78, 0.83]}, "n": 5_000}
DAY = ("--date", "2026-03-02")


def happened(name: str, start: int, end: int | None = None) -> list[Alert]:
    """The records of an episode from `start` to `end` in hours, each with its time."""
    first, *last = episode(name, start, end, at_ms=EpochMs(START + start * HOUR))
    return [first, *(replace(each, at_ms=each.ends_at_ms) for each in last)]


def recommendation(hour: int, name: str, **more: Any) -> Recommendation:
    fields = {
        "recommendation_id": name,
        "model_name": "churn",
        "model_version": "1",
        "action": "set_threshold",
        "params": {"threshold": 0.4},
        "expected": Expected(metric="f1", from_=0.5, to=0.6),
        "evidence": {},
        "reason": f"{name} is better",
        "status": "open",
        "at_ms": EpochMs(START + hour * HOUR),
    }
    return Recommendation(**fields | more)


def out(tmp_path: Path, *more: Struct) -> Path:
    """Hours count from 2026-03-01: the day has the hours 24 to 47."""
    at = "2026-03-0{}T{:02}:00:00Z".format
    return folder(
        tmp_path,
        entry("1", "production", baselines={"2h": BASELINE}),
        entry("2"),
        entry("3", "archived"),
        figures(0, 0.9, hours=24, completeness=0.97),
        figures(24, 0.6, hours=24, completeness=0.97, covered_share=0.5),
        figures(24, 0.5, hours=24, maturity="1h", completeness=0.4),
        figures(48, 0.2, hours=24, completeness=0.97),
        *(traffic(hour) for hour in (23, 24, 47, 48)),
        *happened("before", 1, 24),
        *happened("ended", 1, 30),
        *happened("within", 25, 26),
        *happened("lasting", 2),
        *happened("begun", 47, 50),
        *happened("later", 48),
        drift(23, "score", "severe"),
        drift(24, "score", "mild"),
        drift(47, "feature:x", "severe"),
        drift(30, "feature:y", "none"),
        event(1, 0, {"1": {"stage": "staging"}}, event="register", at=at(1, 0)),
        event(2, 0, {"1": {"threshold": 0.4}}, at=at(2, 0), reason="agreed on"),
        event(3, 0, {"1": {"baselines.2h": {}}}, event="record_baseline", at=at(2, 5)),
        event(3, 0, {}, event="rejected", at=at(2, 6), error="no"),
        event(4, 0, {"1": {"threshold": 0.5}}, at=at(3, 0)),
        recommendation(23, "early"),
        recommendation(24, "timely"),
        arrived(23, {"expired": 100}),
        arrived(24, {"expired": 3, "duplicate_truths": 50}),
        arrived(47, {"expired": 4}),
        arrived(30, {"unmatched": 5}, **NO_MODEL),
        *more,
    )


def test_a_day_has_what_happened_in_it_and_nothing_else(tmp_path: Path) -> None:
    found = document(out(tmp_path), "daily-summary", *DAY)

    def ids(name: str) -> list[str]:
        return [alert["alert_id"] for alert in found[name]]

    assert (found["start"], found["end"]) == ("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z")
    assert ids("fired") == ["within", "begun"]
    assert ids("resolved") == ["before", "ended", "within"]
    assert ids("still_open") == ["lasting", "begun"]
    # A window belongs to the day in which it ends.
    assert {each["target"]: each["level"] for each in found["drift"]} == {
        "score": "mild",
        "feature:x": "severe",
    }
    assert [each["revision"] for each in found["changes"]] == [2]
    assert [each["recommendation_id"] for each in found["recommendations"]] == ["timely"]
    assert found["uncounted"] == {"expired": 7, "unmatched": 5}
    first, second = found["versions"]
    assert (first["model_version"], first["n_predictions"]) == ("1", 2_400)
    assert (first["figures"]["maturity"], first["figures"]["metrics"]) == ("2h", {"f1": 0.6})
    assert (second["model_version"], second["figures"]) == ("2", None)


def test_the_day_is_told_in_sentences(tmp_path: Path) -> None:
    shown = " ".join(text(out(tmp_path), "daily-summary", *DAY).split())
    for sentence in (
        "2026-03-02 (UTC)",
        "- churn 1, production: 2,400 predictions; 24h from 2026-03-02 00:00 at maturity 2h, of "
        "which data cover 50.0 %, 900 labelled: f1 0.600 [0.570, 0.640], baseline 0.800: worse by "
        "25.0 %",
        "- churn 2, staging: 0 predictions; no window was completed",
        "- warning: F1 in begun is below 0.8. [begun]",
        "Alerts still open from before: - warning: F1 in lasting is below 0.8. [lasting] Drift:",
        "- churn 1: feature:x by psi, severe (1h to 2026-03-03 00:00)",
        "- 2026-03-02 00:00 churn, revision 2: update by ann: 1 threshold: 0.4 (agreed on)",
        "- churn 1, open: timely is better",
        "- expired: 7",
    ):
        assert sentence in shown


def test_without_a_date_it_is_the_last_whole_day(tmp_path: Path) -> None:
    assert document(out(tmp_path), "daily-summary")["start"] == "2026-03-02T00:00:00Z"


def test_a_day_without_anything_says_none(tmp_path: Path) -> None:
    shown = text(folder(tmp_path, entry("1")), "daily-summary", "--date", "2026-05-01")
    assert shown.count(": none\n") == 7
    assert "no traffic in" in text(folder(tmp_path / "2", entry("1")), "daily-summary")


def test_another_model_is_left_out(tmp_path: Path) -> None:
    place = out(tmp_path, replace(entry("1"), model_name="other"))
    found = document(place, "daily-summary", *DAY, "--model", "other")
    assert [each["model_name"] for each in found["versions"]] == ["other"]
    assert [found[name] for name in ("fired", "drift", "changes", "uncounted")] == [[], [], [], {}]


@pytest.mark.parametrize("date", ["monday", "2026-13-01", "2026-03-02T00:00:00Z", ""])
def test_a_wrong_day_ends_with_two(tmp_path: Path, date: str) -> None:
    message = refusal(out(tmp_path), "daily-summary", "--date", date)
    assert f"--date {date}: this is no day; write it as 2025-06-03" in message


def test_hostile_names_are_inert(tmp_path: Path) -> None:
    named = {"model_name": HOSTILE}
    place = folder(
        tmp_path,
        replace(entry("1"), **named),
        figures(24, 0.6, **named),
        drift(24, HOSTILE, "severe", **named),
        recommendation(24, HOSTILE, **named),
        event(1, 0, {"1": {HOSTILE: HOSTILE}}, at="2026-03-02T00:00:00Z", **named),
    )
    _, output = run(place, "daily-summary", *DAY)
    assert output.count("script") > 4
    assert not {"\x1b", "\u202e"} & set(output)
