"""`driftline models show` and `diff`, on records that are written by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from driftline.schemas.results import (
    ModelLabels,
    ModelRules,
    RegistryEvent,
    RuleLevel,
    SettledLabels,
)
from tests.agents.test_cli_over_time import document, figures, refusal, run, text
from tests.agents.test_cli_reading import alert
from tests.agents.test_cli_status import entry, folder

BASELINE = {"metrics": {"f1": 0.8}, "ci": {"f1": [0.78, 0.83]}, "n": 5_000, "recorded_by": "ann"}
HOSTILE = "\x1b[31m<script>\u202e" + "x" * 200


def event(revision: int, hour: int, after: dict[str, Any], **more: Any) -> RegistryEvent:
    fields = {
        "event": "update",
        "model_name": "churn",
        "revision": revision,
        "command_id": f"c{revision}",
        "at": f"2026-03-01T{hour:02}:00:00Z",
        "requested_by": "ann",
        "before": {},
        "after": after,
    }
    return RegistryEvent(**fields | more)


EVENTS = [
    event(1, 0, {"1": {"stage": "staging", "threshold": 0.5}}, event="register"),
    event(2, 1, {"2": {"stage": "staging"}}, event="register", model_version="2"),
    event(3, 5, {"1": {"threshold": 0.6}}, event="set_threshold", model_version="1"),
    event(3, 5, {}, event="rejected", model_version="1", error="no"),
    event(4, 6, {"": {"labels": ["no", "yes"]}}, event="set_labels"),
]


def out(tmp_path: Path, *more: Struct, settings: dict[str, Any] | None = None) -> Path:
    return folder(
        tmp_path,
        entry(
            "1",
            "production",
            threshold=0.6,
            owner="ann",
            configuration={"depth": 3, "layers": [8, 4], "seed": {"value": 1}},
            baselines={"2h": BASELINE},
            registered_at="2026-03-01T00:00:00Z",
            deployed_at="2026-03-01T03:00:00Z",
            promoted_by="bob",
        ),
        entry(
            "2",
            threshold=0.4,
            configuration={"depth": 4, "seed": {"value": 1}},
            tags={"team": "growth"},
            registered_at="2026-03-01T01:00:00Z",
        ),
        *EVENTS,
        *(figures(hour, 0.7, completeness=0.97) for hour in range(3)),
        figures(3, 0.6, completeness=0.97),
        figures(4, 0.2, covered_share=0.5),
        figures(3, 0.9, version="2"),
        *more,
        settings=settings,
    )


def test_show_says_what_is_in_force(tmp_path: Path) -> None:
    level = RuleLevel(values={"below": 0.7}, revision=4, set_by="cy", set_at="2026-03-01T09:00:00Z")
    place = out(
        tmp_path,
        alert("a", status="firing", severity="error"),
        ModelRules(model_name="churn", revision=4, rules={"f1_low": level}),
        ModelLabels(
            model_name="churn",
            revision=4,
            labels=["no", "yes"],
            settled=SettledLabels(labels=["n", "y"], positive_label="yes"),
        ),
    )
    found = document(place, "models", "show", "churn")
    assert (found["entry"]["model_version"], found["entry"]["threshold"]) == ("1", 0.6)
    assert found["versions"] == {"1": "production", "2": "staging"}
    assert found["labels"] == {
        "labels": ["no", "yes"],
        "labels_by": "command",
        "positive_label": "yes",
        "positive_by": "events",
    }
    assert found["figures"]["metrics"] == {"f1": 0.6}
    assert [each["alert_id"] for each in found["status"]["alerts"]] == ["a"]
    assert [each["revision"] for each in found["changes"]] == [4, 3, 1]

    shown = " ".join(text(place, "models", "show", "churn@1").split())
    assert (
        "churn 1, production since 2026-03-01 03:00, by bob; registered 2026-03-01 00:00, "
        "revision 1; open alerts: 1" in shown
    )
    for row in (
        "threshold 0.600",
        "labels no, yes command",
        "positive label yes events",
        "owner ann",
        "configuration.layers 8, 4",
        "configuration.seed.value 1",
        "rule f1_low.below 0.7 cy, 2026-03-01 09:00",
        "f1 0.800 [0.780, 0.830] 0.600 [0.570, 0.640] -0.200 [-0.242, -0.155] worse by 25.0 %",
        "F1 in a is below 0.8.",
    ):
        assert row in shown


def test_labels_of_the_configuration_come_first(tmp_path: Path) -> None:
    settings = {"models": {"churn": {"labels": ["a", "b"], "positive_label": "b"}}}
    known = ModelLabels(model_name="churn", revision=1, settled=SettledLabels(labels=["c", "d"]))
    found = document(out(tmp_path, known, settings=settings), "models", "show", "churn@2")
    assert found["labels"] == {
        "labels": ["a", "b"],
        "labels_by": "configuration",
        "positive_label": "b",
        "positive_by": "configuration",
    }


def test_a_version_without_data_is_shown(tmp_path: Path) -> None:
    place = folder(tmp_path, entry("1"), entry("2", registered_at="2026-03-01T00:00:00Z"))
    shown = " ".join(text(place, "models", "show", "churn").split())
    assert shown.startswith("churn 2, staging; registered 2026-03-01 00:00, revision 1; no alert")
    assert "no complete window yet" in shown
    assert "no change is recorded" in shown


def test_a_name_may_hold_an_at_sign_and_what_a_terminal_would_obey(tmp_path: Path) -> None:
    place = folder(
        tmp_path,
        replace(entry("1"), model_name="a@b"),
        replace(entry("1"), model_name=HOSTILE, owner=HOSTILE),
    )
    assert document(place, "models", "show", "a@b")["entry"]["model_name"] == "a@b"
    assert document(place, "models", "show", "a@b@1")["entry"]["model_name"] == "a@b"
    for words in (("show", HOSTILE), ("show", f"{HOSTILE}@2"), ("diff", HOSTILE, "1", "1")):
        _, output = run(place, "models", *words)
        assert not {"\x1b", "\u202e"} & set(output)


def test_diff_of_two_versions(tmp_path: Path) -> None:
    place = out(tmp_path)
    found = document(place, "models", "diff", "churn", "1", "2")
    assert {each["field"]: (each["a"], each["b"]) for each in found["version_fields"]} == {
        "baselines.2h": (BASELINE, None),
        "configuration.depth": (3, 4),
        "configuration.layers": ([8, 4], None),
        "deployed_at": ("2026-03-01T03:00:00Z", None),
        "owner": ("ann", None),
        "promoted_by": ("bob", None),
        "registered_at": ("2026-03-01T00:00:00Z", "2026-03-01T01:00:00Z"),
        "stage": ("production", "staging"),
        "tags.team": (None, "growth"),
        "threshold": (0.6, 0.4),
    }
    assert (found["since"], found["model_fields"]) == (None, [])
    (f1,) = found["figures"]["differences"]
    # 0.6 has [0.57, 0.64], 0.9 has [0.87, 0.94]: the distances are added as squares.
    assert (f1["a"], f1["b"]) == (0.6, 0.9)
    assert f1["low"] == pytest.approx(0.3 - math.hypot(0.04, 0.03))
    assert f1["high"] == pytest.approx(0.3 + math.hypot(0.03, 0.04))
    shown = " ".join(text(place, "models", "diff", "churn", "1", "2").split())
    assert "threshold 0.6 0.4" in shown
    assert "baselines.2h baseline recorded by ann -" in shown
    assert "1h from 2026-03-01 03:00, maturity 2h Metric 1 2 Difference" in shown
    assert "rows 900 900" in shown
    assert "f1 0.600 [0.570, 0.640] 0.900 [0.870, 0.940] 0.300 [0.250, 0.350]" in shown


def test_diff_of_one_version_since_a_time(tmp_path: Path) -> None:
    """At 5:00 the windows until 3:00 were complete, at 7:00 that of 3:00 as well."""
    known = ModelLabels(model_name="churn", revision=4, labels=["no", "yes"])
    place = out(tmp_path, known)
    words = ("models", "diff", "churn", "1", "--since")
    found = document(place, *words, "2026-03-01T04:59:59Z")
    changed = {each["field"]: (each["a"], each["b"]) for each in found["version_fields"]}
    assert changed["threshold"] == (0.5, 0.6)
    assert [(each["field"], each["a"], each["b"]) for each in found["model_fields"]] == [
        ("labels", None, ["no", "yes"])
    ]
    figures = found["figures"]
    assert figures["a"]["window_start"] == "2026-03-01T01:00:00Z"
    assert figures["b"]["window_start"] == "2026-03-01T03:00:00Z"
    later = document(place, *words, "2026-03-01T06:00:00Z")
    changed = {each["field"]: (each["a"], each["b"]) for each in later["version_fields"]}
    assert "threshold" not in changed
    assert (later["model_fields"], later["figures"]["differences"][0]["difference"]) == ([], 0.0)
    shown = " ".join(text(place, *words, "2026-03-01T04:59:59Z").split())
    assert "threshold 0.5 0.6" in shown
    assert (
        "1h from 2026-03-01 01:00 and from 2026-03-01 03:00, maturity 2h: the difference" in shown
    )


def test_versions_that_are_alike_have_no_difference(tmp_path: Path) -> None:
    place = folder(tmp_path, entry("1"), entry("2"))
    shown = text(place, "models", "diff", "churn", "1", "2")
    assert "no field of the registry differs" in shown
    assert "there is no window of segment all in the decisions lane to compare" in shown


WRONG = {
    ("show", "churm"): 'no version of a model "churm" is registered; models: churn',
    ("show", "churn@3"): "churn 3 is not registered; versions: 1, 2",
    ("show",): "Missing argument 'NAME[@VERSION]'",
    ("diff", "churn", "1"): "name two versions, or one and --since TIME",
    ("diff", "churn", "1", "3"): "churn 3 is not registered; versions: 1, 2",
    ("diff", "churn", "1", "--since", "noon"): "--since noon: ",
    ("diff", "churn", "2", "--since", "2026-03-01T00:30:00Z"): (
        "churn 2 was not registered at 2026-03-01T00:30:00Z, but at 2026-03-01T01:00:00Z"
    ),
    ("diff", "churn", "1", "2", "--window", "9h"): 'there is no window "9h"; there are 1h',
    ("diff", "churn", "1", "2", "--metric", "f9"): 'no figure has a metric "f9"; there are f1',
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_wrong_call_ends_with_two_and_says_why(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert WRONG[words] in refusal(out(tmp_path), "models", *words)


def test_json_is_one_document(tmp_path: Path) -> None:
    code, output = run(out(tmp_path), "models", "show", "churn", "--json")
    assert (code, json.loads(output)["entry"]["model_name"]) == (0, "churn")


def test_a_deleted_version_is_left_out_unless_it_is_asked_for(tmp_path: Path) -> None:
    place = folder(
        tmp_path,
        entry("1", "archived", registered_at="2026-03-01T00:00:00Z"),
        entry(
            "2",
            "archived",
            registered_at="2026-03-02T00:00:00Z",
            deleted_at="2026-03-03T00:00:00Z",
        ),
    )

    def listed(*words: str) -> list[str]:
        return [each["model_version"] for each in document(place, *words)]

    assert listed("models", "list") == listed("status") == ["1"]
    assert listed("models", "list", "--deleted") == ["1", "2"]
    assert "archived, deleted" in text(place, "models", "list", "--deleted")
    assert document(place, "models", "show", "churn")["entry"]["model_version"] == "1"
    assert text(place, "models", "show", "churn@2").startswith(
        "churn 2, archived, deleted 2026-03-03 00:00; registered 2026-03-02 00:00"
    )
