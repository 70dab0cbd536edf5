"""`driftline.check`: what it says of small logs, against values by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

import driftline
from driftline.agents.input_check.described import (
    label_kind,
    model_read,
    version_read,
    whole_windows,
)
from driftline.agents.input_check.tallies import MOST_TEXTS, ModelTally, TextCounts, VersionTally
from driftline.schemas.input_check import FeatureRead, InputCheck
from driftline.schemas.json_schema import documents
from driftline.schemas.labels import MAX_FEATURES
from driftline.schemas.results import encode
from driftline.schemas.rows import PredictionRow
from driftline.schemas.settings import ModelConfig, parse_window
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS
from driftline.streams.columns import PredictionColumns

BEGIN_MS = 20_458 * DAY_MS  # 2026-01-05
# Short windows and horizons: the end of time is near.
CONFIG: dict[str, Any] = {
    "run": {"park": "2d"},
    "defaults": {
        "windows": ["1h", "1d"],
        "detection_window": "1d",
        "maturity": ["1h", "6h"],
        "label_horizon": "1d",
        "correction_horizon": "1d",
    },
}
Row = dict[str, Any]


def prediction(number: int, **fields: Any) -> Row:
    return {
        "prediction_id": f"p{number}",
        "timestamp": BEGIN_MS + number * 10 * MINUTE_MS,
        "model_name": "m",
        "model_version": "1",
        **fields,
    }


def truth(number: int, label: Any, delay_ms: int = 5 * MINUTE_MS) -> Row:
    at_ms = BEGIN_MS + number * 10 * MINUTE_MS + delay_ms
    return {"prediction_id": f"p{number}", "timestamp": at_ms, "label": label}


def in_order(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row["timestamp"])


def findings(found: InputCheck, check: str) -> list[tuple[str, str]]:
    return [(each.level, each.message) for each in found.findings if each.check == check]


def test_rows_times_and_rates() -> None:
    # 150 predictions at 10 minutes: 144 on the first day and 6 on the second.
    rows = [prediction(i, prediction="yes") for i in range(150)]
    found = driftline.check(rows, [truth(i, "yes") for i in range(0, 150, 2)], CONFIG)
    topic = found.topics[0]
    assert (topic.topic, topic.lines, topic.accepted) == ("predictions", 150, 150)
    assert (topic.days, topic.per_day) == (2, 75)
    assert topic.first_event == "2026-01-05T00:00:00Z"
    assert topic.last_event == "2026-01-06T00:50:00Z"
    (version,) = found.versions
    assert (version.predictions, version.labelled, version.with_label) == (150, 75, 150)
    assert [(each.window, each.whole) for each in version.windows] == [("1h", 25), ("1d", 1)]


@pytest.mark.parametrize(
    ("window", "first_hour", "last_hour", "whole"),
    [
        ("1d", 0, 47, 2),
        ("1d", 0, 46, 2),  # 23 of 24 hours of the second day are 95.8 %
        ("1d", 0, 45, 1),  # 22 of 24 are 91.7 %
        ("1d", 2, 47, 1),
        ("1d", 5, 20, 0),
        ("7d/1d", 0, 10 * 24 - 1, 4),
        ("7d/1d", 8, 10 * 24 - 9, 4),  # 8 of 168 hours are missing at either end: 95.2 %
        ("7d/1d", 9, 10 * 24 - 10, 2),
        ("1h", 3, 3, 1),
    ],
)
def test_windows_that_are_covered_wholly(
    window: str, first_hour: int, last_hour: int, whole: int
) -> None:
    first_ms, last_ms = BEGIN_MS + first_hour * HOUR_MS, BEGIN_MS + last_hour * HOUR_MS + 1
    assert whole_windows(parse_window(window), first_ms, last_ms, HOUR_MS) == whole


def test_delays_by_quantile_and_rung() -> None:
    # 90 after 30 minutes, 9 after 2 hours, 1 after 7 hours; the ladder has 1h and 6h.
    delays_ms = [30 * MINUTE_MS] * 90 + [2 * HOUR_MS] * 9 + [7 * HOUR_MS]
    rows = [prediction(i, prediction="yes") for i in range(100)]
    truths = in_order([truth(i, "yes", delay_ms) for i, delay_ms in enumerate(delays_ms)])
    (version,) = driftline.check(rows, truths, CONFIG).versions
    delays = version.delays
    assert delays is not None
    assert delays.p50_ms == pytest.approx(30 * MINUTE_MS, rel=0.01)
    assert delays.p90_ms == pytest.approx(30 * MINUTE_MS, rel=0.01)
    assert delays.p99_ms == pytest.approx(2 * HOUR_MS, rel=0.01)
    assert (delays.max_ms, delays.horizon_ms) == (7 * HOUR_MS, DAY_MS)
    assert [(each.maturity, each.share) for each in delays.within][:2] == [
        ("1h", 0.9),
        ("6h", 0.99),
    ]


def test_truths_close_to_the_horizon_and_truths_without_delay_are_notes() -> None:
    rows = [prediction(i, prediction="yes") for i in range(30)]
    slow = driftline.check(rows, [truth(i, "yes", 23 * HOUR_MS) for i in range(30)], CONFIG)
    assert findings(slow, "delays") == [
        (
            "note",
            "m 1: truths come up to 23 hours after their prediction, and those after the label "
            "horizon of 1 day do not count",
        )
    ]
    at_once = driftline.check(rows, [truth(i, "yes", 0) for i in range(30)], CONFIG)
    assert findings(at_once, "delays") == [
        ("note", "m 1: every truth counts as known at the time of its prediction")
    ]
    assert (
        findings(driftline.check(rows, [truth(i, "yes") for i in range(30)], CONFIG), "delays")
        == []
    )


def test_truths_that_are_dated_before_their_predictions_are_a_note() -> None:
    # 27 a minute later; 3 an hour before, of a host whose clock has another time zone.
    rows = [prediction(i, prediction="yes") for i in range(30)]
    truths = [truth(i, "yes", -HOUR_MS if i % 10 == 0 else MINUTE_MS) for i in range(30)]
    found = driftline.check(rows, in_order(truths), CONFIG)
    (version,) = found.versions
    assert version.delays is not None
    assert version.delays.no_delay == 0.1
    assert findings(found, "delays") == [
        (
            "note",
            "m 1: 10% of the truths are dated at or before their prediction, and count as known "
            "at its time",
        )
    ]
    assert found.is_understood


def test_labels_of_both_sides_and_how_they_meet() -> None:
    # Predictions 1 and 0, truths true and false: one class each, and "true" says that it is the
    # positive one.
    rows = [prediction(i, prediction=i % 2) for i in range(40)]
    found = driftline.check(rows, [truth(i, i % 4 == 0) for i in range(40)], CONFIG)
    (model,) = found.models
    assert {(each.label, each.kind, each.truths, each.predictions) for each in model.labels} == {
        ("false", "true or false", 30, 0),
        ("true", "true or false", 10, 0),
        ("0", "whole number", 0, 20),
        ("1", "whole number", 0, 20),
    }
    assert [(each.name, each.actual, each.predicted) for each in model.classes] == [
        ("false", "false", "0"),
        ("true", "true", "1"),
    ]
    assert (model.positive_label, model.positive_basis) == ("true", "vocabulary")
    assert found.is_understood


def test_a_positive_label_that_is_not_known_is_to_be_set() -> None:
    rows = [prediction(i, score=i / 50) for i in range(50)]
    truths = [truth(i, "bad" if i > 25 else "good") for i in range(50)]
    found = driftline.check(rows, truths, CONFIG)
    problem = "positive label unknown; set positive_label"
    assert findings(found, "labels") == [
        ("problem", f"m: figures that need labels are withheld: {problem}")
    ]
    assert not found.is_understood
    known = {**CONFIG, "models": {"m": {"positive_label": "bad"}}}
    found = driftline.check(rows, truths, known)
    assert findings(found, "labels") == [("ok", 'm: the positive label is "bad" (configured)')]
    assert found.is_understood


def test_labels_that_have_nothing_in_common_are_a_problem() -> None:
    rows = [prediction(i, prediction="ab"[i % 2]) for i in range(40)]
    found = driftline.check(rows, [truth(i, "cd"[i % 2]) for i in range(40)], CONFIG)
    ((level, message),) = findings(found, "labels")
    assert level == "problem"
    assert 'no label in common: actual "c", "d"; predicted "a", "b"' in message


def test_a_stray_label_is_a_note_with_its_rows() -> None:
    # Two of 300 truths say "maybe", after the first 100 have settled the classes.
    rows = [prediction(i, prediction=["yes", "no"][i % 2]) for i in range(300)]
    truths = [truth(i, "maybe" if i in (150, 200) else ["yes", "no"][i % 2]) for i in range(300)]
    found = driftline.check(rows, truths, CONFIG)
    assert findings(found, "labels")[1:] == [
        ("note", 'm: in no figure because their label is none of the model\'s: "maybe" 2')
    ]
    assert found.is_understood


def test_ids_that_do_not_meet_are_a_problem() -> None:
    rows = [prediction(i, prediction="yes") for i in range(30)]
    truths = [truth(i, "yes") | {"prediction_id": f"P-{i}"} for i in range(30)]
    found = driftline.check(rows, truths, CONFIG)
    assert findings(found, "data") == [("problem", "m 1: no prediction has a truth")]
    (unmatched,) = [each for each in found.not_counted if each.reason == "unmatched_truth"]
    assert unmatched.rows == 30
    assert not found.is_understood
    assert driftline.check(rows, None, CONFIG).is_understood, "without any truth it may be meant"


def test_models_without_labels_and_those_of_commands_only_are_there(tmp_path: Path) -> None:
    rows = [prediction(i, score=i / 50) for i in range(5)]
    asked = {
        "command_id": "c1",
        "command": "set_labels",
        "model_name": "other",
        "timestamp": BEGIN_MS,
        "requested_by": "ada",
        "params": {"labels": ["good", "bad"], "positive_label": "bad"},
    }
    files = {"predictions": rows, "ground-truth": [], "registry-commands": [asked]}
    for name, lines in files.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    found = driftline.check(tmp_path, config=CONFIG)
    read = [(each.model_name, each.positive_label, each.positive_basis) for each in found.models]
    assert read == [("m", None, None), ("other", "bad", "registry")]
    assert [each.predictions for each in found.versions] == [5]


def test_rows_that_will_be_rejected_are_counted_by_reason_with_an_example() -> None:
    rows: list[Row] = [prediction(i, prediction="yes") for i in range(20)]
    rows[4]["score"] = 1.7
    rows[9]["timestamp"] = 0
    del rows[11]["model_name"]
    found = driftline.check(rows, [], CONFIG)
    assert found.rejected == {"predictions": {"out_of_range": 2, "missing_field": 1}}
    assert (found.topics[0].lines, found.topics[0].accepted) == (20, 17)
    (out_of_range,) = [each for each in found.not_counted if each.reason == "out_of_range"]
    assert out_of_range.example.startswith('predictions@4: field "score" is 1.7')
    assert not found.is_understood


def test_a_misdated_last_row_is_a_problem_unless_it_is_less_than_a_day_ahead() -> None:
    rows = [prediction(i, prediction="yes") for i in range(40)]
    for ahead_ms, expected in ((20 * HOUR_MS, []), (30 * DAY_MS, [1])):
        last = prediction(40, prediction="yes")
        last["timestamp"] += ahead_ms
        found = driftline.check([*rows, last], [], CONFIG)
        misdated = [each.rows for each in found.not_counted if "misdated" in each.reason]
        assert misdated == expected
        assert found.is_understood == (not expected)


def test_an_unordered_log_is_said_to_be_sorted() -> None:
    rows = [prediction(i, prediction="yes") for i in range(120)]
    found = driftline.check(rows[::-1], [truth(i, "yes") for i in range(120)], CONFIG)
    assert [(topic.topic, topic.sorted) for topic in found.topics] == [
        ("predictions", True),
        ("ground-truth", False),
    ]
    assert any("were sorted by event time" in message for _, message in findings(found, "input"))
    kept = driftline.check(
        rows[::-1], [truth(i, "yes") for i in range(120)], CONFIG, keep_order=True
    )
    assert not kept.topics[0].sorted
    assert not kept.is_understood


def test_features_have_kind_share_missing_and_the_span_with_values() -> None:
    # "age" is a number in all 300 rows, "plan" a text in every third, "code" is both, "income" ends
    # with row 149, that is at 2026-01-06T00:50; row 299 is at 2026-01-07T01:50.
    rows = [
        prediction(
            i,
            prediction="yes",
            features={
                "age": i,
                "plan": "pro" if i % 3 == 0 else None,
                "code": i if i % 2 else "x",
                "income": i if i < 150 else None,
                "nested": [1, 2],
            },
        )
        for i in range(300)
    ]
    found = driftline.check(rows, [], CONFIG)
    (version,) = found.versions
    read = {each.name: (each.kind, round(each.missing_share, 4)) for each in version.features}
    assert read == {
        "age": ("numbers", 0.0),
        "code": ("numbers and texts", 0.0),
        "income": ("numbers", 0.5),
        "plan": ("texts", 0.6667),
    }
    assert findings(found, "features") == [
        ("note", 'm 1: feature "code" has numbers and texts'),
        ("note", 'm 1: feature "income" has no value after 2026-01-06T00:50:00Z'),
    ]
    (left_out,) = [each for each in found.not_counted if each.reason == "left_out_feature"]
    assert left_out.rows == 300


def test_scores_close_together_are_a_note() -> None:
    rows = [prediction(i, score=i * 1e-6) for i in range(40)]
    found = driftline.check(rows, [truth(i, i % 2) for i in range(40)], CONFIG)
    (version,) = found.versions
    assert (version.with_score, version.score_low, version.score_high) == (40, 0.0, 3.9e-05)
    assert findings(found, "scores") == [("note", "m 1: all scores lie between 0 and 3.9e-05")]


def test_the_document_follows_its_schema(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    lines = "".join(
        f"p{i},2026-01-05T{i:02d}:00:00Z,m,1,0.{i},{i % 2},02139\n" for i in range(10, 20)
    )
    table.write_text(f"prediction_id,timestamp,model_name,model_version,score,label,zip\n{lines}")
    found = driftline.check(table, config=CONFIG)
    assert [(each.column, each.field, each.kind) for each in found.columns][-1] == (
        "zip",
        "features.zip",
        "text",
    )
    schema = json.loads(documents()["check.schema.json"])
    Draft202012Validator(schema).validate(json.loads(encode(found)))


def test_labels_and_features_are_bounded() -> None:
    texts = TextCounts()
    for number in range(MOST_TEXTS + 5):
        texts.add(f"label-{number}", 2)
    texts.add("label-0", 1)
    assert (len(texts.rows), texts.rows["label-0"], texts.others) == (MOST_TEXTS, 3, 10)
    read = model_read("m", ModelTally(truths=texts), None)
    assert (len(read.labels), read.labels[0].label) == (100, "label-0")
    assert read.further_labels == 2 * (MOST_TEXTS - 100) + 10

    version = VersionTally()
    for part in range(3):
        names = [f"f{part * 2000 + i}" for i in range(2000)]
        row = PredictionRow(
            prediction_id="p",
            model_name="m",
            model_version="1",
            timestamp_ms=BEGIN_MS,
            prediction="yes",
            features=dict.fromkeys(names, 1.0),
        )
        version.add(PredictionColumns.of([row], np.array([0]), lambda model: None))
    assert (len(version.features), version.further_features) == (MAX_FEATURES, 6000 - MAX_FEATURES)
    described = version_read(("m", "1"), version, ModelConfig(), HOUR_MS, BEGIN_MS)
    assert described.features[0] == FeatureRead(
        name="f0",
        kind="numbers",
        missing_share=pytest.approx(2 / 3),
        first_event="2026-01-05T00:00:00Z",
        last_event="2026-01-05T00:00:00Z",
    )


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("yes", "text"),
        ("TRUE", "true or false"),
        ("-3", "whole number"),
        ("2.0", "whole number"),
        ("2.5", "number"),
        ("1e3", "number"),
        ("007", "whole number"),
        ("", "text"),
    ],
)
def test_kind_of_a_label(label: str, kind: str) -> None:
    assert label_kind(label) == kind
