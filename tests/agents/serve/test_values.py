"""What the routes answer is what the output has, read by slow and plain code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from driftline.agents.read_model.read_model import INDEX_FILE
from tests.agents.sample_output import sample_output
from tests.agents.serve.cases import ALERT_ID
from tests.agents.serve.serving import Api

DAY = "2025-06-03T00:00:00Z"
"""Begin of the second day, on which the model is worse."""


def lines(topic: str) -> list[dict[str, Any]]:
    path = sample_output() / f"{topic}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def windows(**fields: Any) -> list[dict[str, Any]]:
    """The figures with these fields in the order of time; of equal ones the last."""
    found = {}
    for record in lines("metrics"):
        if all(record[name] == value for name, value in fields.items()):
            found[record["window_start"]] = record
    return [found[start] for start in sorted(found)]


def of(segment: str = "all", lane: str = "decisions", window: str = "1d", **more: Any) -> Any:
    return windows(segment=segment, lane=lane, window=window, **more)


@pytest.mark.parametrize("metric", ["f1", "roc_auc", "delay_p95"])
@pytest.mark.parametrize(("window", "maturity"), [("6h", "1h"), ("1d", "2d"), ("1d/6h", "1d")])
def test_a_metric_over_time_has_value_interval_and_rows_of_each_window(
    api: Api, metric: str, window: str, maturity: str
) -> None:
    found = api.get("/metrics", model="churn", metric=metric, window=window, maturity=maturity)
    expected = of(window=window, maturity=maturity)
    assert found["window_start"] == [each["window_start"] for each in expected]
    assert found["window_end"] == [each["window_end"] for each in expected]
    assert found["n"] == [each["n"] for each in expected]
    assert found["n_predictions"] == [each["n_predictions"] for each in expected]
    assert found["final"] == [each["final"] for each in expected]
    (columns,) = found["metrics"]
    assert columns["value"] == [each["metrics"][metric] for each in expected]
    for side, name in enumerate(("low", "high")):
        assert columns[name] == [each["ci"].get(metric, [None, None])[side] for each in expected]
    reasons = {
        f"{at}": each["null_reasons"][metric]
        for at, each in enumerate(expected)
        if each["metrics"][metric] is None
    }
    assert columns["null_reasons"] == reasons


def test_baseline_usual_range_and_verdict_follow_the_registry(api: Api) -> None:
    found = api.get("/metrics", model="churn", metric="f1", window="1d", maturity="1d")
    (columns,) = found["metrics"]
    baseline = lines("registry")[-1]["baselines"]["1d"]
    assert columns["baseline"]["value"] == baseline["metrics"]["f1"]
    assert [columns["baseline"]["low"], columns["baseline"]["high"]] == baseline["ci"]["f1"]
    # One day has no variance between days: the variances of both counts add up.
    for at, record in enumerate(of(maturity="1d")):
        (low, high), (low_b, high_b) = record["ci"]["f1"], baseline["ci"]["f1"]
        half = (((high - low) / 2) ** 2 + ((high_b - low_b) / 2) ** 2) ** 0.5
        assert columns["usual_low"][at] == pytest.approx(baseline["metrics"]["f1"] - half, abs=1e-6)
        assert columns["usual_high"][at] == pytest.approx(
            baseline["metrics"]["f1"] + half, abs=1e-6
        )
        # The rule fires where the whole interval lies below 0.8.
        line = 0.8 - (high - record["metrics"]["f1"])
        assert columns["alert_lines"][at] == pytest.approx(line, abs=1e-6)
    assert columns["alert_rule"] == "f1_low"
    assert columns["verdict"] == ["usual", "worse"]


def test_fewer_points_are_windows_of_the_series_with_its_least_and_greatest_value(
    api: Api,
) -> None:
    names = {"model": "churn", "metric": "throughput", "window": "6h"}
    whole, some = api.get("/traffic", **names), api.get("/traffic", **names, points=4)
    assert some["n_windows"] == len(whole["n"]) > 4 >= len(some["n"])
    values = whole["metrics"][0]["value"]
    pairs = dict(zip(whole["window_start"], values, strict=True))
    chosen = some["metrics"][0]["value"]
    assert chosen == [pairs[start] for start in some["window_start"]]
    assert {min(values[1:-1]), max(values[1:-1])} <= set(chosen)


def test_parts_of_a_series_are_the_whole(api: Api) -> None:
    names = {"model": "churn", "metric": "f1", "window": "6h", "maturity": "1h"}
    whole = api.get("/metrics", **names)
    starts: list[str] = []
    question: dict[str, Any] = {**names, "limit": 3}
    while True:
        part = api.get("/metrics", **question)
        starts += part["window_start"]
        if part["page"]["next"] is None:
            break
        question["after"] = part["page"]["next"]
    assert starts == whole["window_start"]


def test_a_window_is_its_record_and_names_its_rungs(api: Api) -> None:
    found = api.get("/window", model="churn", window="1d", maturity="6h", start=DAY)
    (record,) = [each for each in of(maturity="6h") if each["window_start"] == DAY]
    assert {name: found["record"][name] for name in record} == record
    assert found["rungs"] == ["1h", "6h", "1d", "2d"]
    assert {each["metric"]: each["value"] for each in found["figures"]} == record["metrics"]


def test_segments_begin_with_the_surest_weakness(api: Api) -> None:
    found = api.get(
        "/segments", model="churn", window="1d", maturity="1d", start=DAY, metric="f1", min_rows=1
    )
    expected = []
    for name in ("plan=free", "plan=pro"):
        (record,) = [each for each in of(name, maturity="1d") if each["window_start"] == DAY]
        expected.append((record["ci"]["f1"][1], name, record["metrics"]["f1"], record["n"]))
    assert [
        (each["high"], each["segment"], each["value"], each["n"]) for each in found["segments"]
    ] == sorted(expected)
    few = api.get(
        "/segments", model="churn", window="1d", maturity="1d", start=DAY, min_rows=100_000
    )
    assert (few["segments"], few["n_small"]) == ([], 2)


def test_two_windows_are_compared_with_the_interval_of_the_difference(api: Api) -> None:
    found = api.get("/compare", model="churn", window="1d", maturity="1d", metric="f1")
    second, first = sorted(of(maturity="1d"), key=lambda each: each["window_start"])
    assert (found["a"]["window_start"], found["b"]["window_start"]) == (
        first["window_start"],
        second["window_start"],
    )
    (each,) = found["metrics"]
    a, b = first["metrics"]["f1"], second["metrics"]["f1"]
    (low_a, high_a), (low_b, high_b) = first["ci"]["f1"], second["ci"]["f1"]
    assert each["difference"] == pytest.approx(b - a)
    assert each["low"] == pytest.approx(b - a - ((b - low_b) ** 2 + (high_a - a) ** 2) ** 0.5)
    assert each["high"] == pytest.approx(b - a + ((high_b - b) ** 2 + (a - low_a) ** 2) ** 0.5)
    assert each["direction"] == "better"


def test_a_day_ripens_from_rung_to_rung(api: Api) -> None:
    found = api.get("/ripening", model="churn", window="1d", metric="f1")
    assert found["rungs"] == ["1h", "6h", "1d", "2d"]
    baselines = lines("registry")[-1]["baselines"]
    assert [row["window_start"] for row in found["rows"]] == [DAY, "2025-06-02T00:00:00Z"]
    for row in found["rows"]:
        for rung, cell in zip(found["rungs"], row["cells"], strict=True):
            (record,) = [
                each for each in of(maturity=rung) if each["window_start"] == row["window_start"]
            ]
            value = record["metrics"]["f1"]
            assert (cell["state"], cell["value"], cell["n"]) == ("known", value, record["n"])
            assert cell["due"] == record["complete_at"]
            difference = value - baselines[rung]["metrics"]["f1"]
            assert cell["difference"] == pytest.approx(difference, abs=1e-6)


def test_a_figure_that_is_not_there_yet_says_when_it_comes(api: Api) -> None:
    found = api.get("/ripening", model="churn", window="1d", metric="f1", at="2025-06-04T07:00:00Z")
    newest = found["rows"][0]
    assert [cell["state"] for cell in newest["cells"]] == ["known", "known", "due", "due"]
    assert [cell["due"] for cell in newest["cells"]] == [
        "2025-06-04T01:00:00Z",
        "2025-06-04T06:00:00Z",
        "2025-06-05T00:00:00Z",
        "2025-06-06T00:00:00Z",
    ]
    assert newest["cells"][2]["n_predictions"] == 1_000


def test_early_figures_are_compared_with_the_final_ones(api: Api) -> None:
    found = api.get("/early", model="churn", window="6h", metric="f1")
    final = {each["window_start"]: each for each in of(window="6h", maturity="2d")}
    assert all(each["final"] for each in final.values())
    for rung in found["rungs"]:
        early = {each["window_start"]: each for each in of(window="6h", maturity=rung["rung"])}
        pairs = [
            (early[start], record)
            for start, record in sorted(final.items())
            if start in early and record["metrics"]["f1"] is not None
        ]
        differences = [one["metrics"]["f1"] - two["metrics"]["f1"] for one, two in pairs]
        assert rung["differences"] == pytest.approx(differences, abs=1e-6)
        held = [
            one["ci"]["f1"][0] <= two["metrics"]["f1"] <= one["ci"]["f1"][1] for one, two in pairs
        ]
        assert (rung["n_held"], rung["n_windows"]) == (sum(held), len(pairs))
    assert found["holds_from"] in ("1h", "6h", "1d")


def exact_scores(rows: str) -> tuple[list[int], list[float]]:
    """Labels and scores of the newest final day, each score at the middle of its bin."""
    (record,) = [
        each
        for each in lines("histograms")
        if each["window_start"] == DAY and each["maturity"] == "2d" and each["window"] == "1d"
    ]
    labels, scores = [], []
    for half in ("fit", "holdout"):
        for label, bins in record[half].items():
            for text, count in bins.items() if rows in ("all", half) else ():
                # A gap above an edge is less than a thousandth wide here.
                score = float(text.rstrip("+")) + (1e-7 if text.endswith("+") else 0.0)
                labels += [int(label == "yes")] * count
                scores += [score] * count
    return labels, scores


@pytest.mark.parametrize("rows", ["all", "fit", "holdout"])
def test_scores_by_threshold_are_those_of_the_rows(api: Api, rows: str) -> None:
    found = api.get("/scores", model="churn", maturity="2d", start=DAY, window="1d", rows=rows)
    labels, scores = exact_scores(rows)
    assert found["n"] == len(labels)
    assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    expected = average_precision_score(labels, scores)
    assert found["average_precision"] == pytest.approx(expected, abs=1e-6)
    for label, name in enumerate(("no", "yes")):
        (histogram,) = [each for each in found["histograms"] if each["label"] == name]
        own = [score for one, score in zip(labels, scores, strict=True) if one == label]
        counts, _ = np.histogram(own, bins=np.linspace(0, 1, 101) - 1e-9)
        assert histogram["counts"] == counts.tolist()
    at = found["at_threshold"]
    for place in (0, 50, 100, 137, 200):
        threshold = at["threshold"][place]
        flagged = [score >= threshold - 1e-9 for score in scores]
        tp = sum(one and label for one, label in zip(flagged, labels, strict=True))
        assert (at["tp"][place], at["fp"][place]) == (tp, sum(flagged) - tp)
        assert at["fn"][place] == sum(labels) - tp
        assert at["flagged_share"][place] == pytest.approx(sum(flagged) / len(labels), abs=1e-6)


def test_drift_is_the_newest_test_of_each_target(api: Api) -> None:
    found = api.get("/drift", model="churn")["tests"]
    newest = {}
    for record in lines("drift"):
        newest[record["target"], record["method"], record["window"]] = record
    whole = {(each["target"], each["method"], each["window"]): each for each in found}
    assert {
        name: each["effect"] for name, each in whole.items() if each["covered_share"] >= 0.95
    }.items() <= {name: each["effect"] for name, each in newest.items()}.items()
    history = api.get("/drift/history", model="churn")
    for line in history["lines"]:
        for start, level in zip(history["window_start"], line["level"], strict=True):
            records = [
                each["level"]
                for each in lines("drift")
                if (each["target"], each["method"], each["window_start"])
                == (line["target"], line["method"], start)
            ]
            assert [level] == (records or [None])


def test_an_alert_has_its_records_advice_and_the_metric_around_it(api: Api) -> None:
    found = api.get("/alert", id=ALERT_ID)
    expected = [each for each in lines("alerts") if each["alert_id"] == ALERT_ID]
    assert [
        {name: record[name] for name in expected[at]} for at, record in enumerate(found["records"])
    ] == expected
    assert found["alert"]["value"] == expected[-1]["value"]
    assert found["what_to_do"]
    assert found["around"]["series"]["maturity"] == "1d"
    assert found["around"]["metrics"][0]["metric"] == "f1"
    assert [each["alert_id"] for each in api.get("/alerts", status="open")["alerts"]] == [ALERT_ID]


def test_the_registry_is_what_was_in_force_then(api: Api) -> None:
    now = api.get("/registry")["entries"]
    expected = lines("registry")[-1]
    assert [{name: each[name] for name in expected} for each in now] == [expected]
    events = lines("registry-events")
    changes = api.get("/registry/changes")["changes"]
    assert [each["command_id"] for each in changes] == [each["command_id"] for each in events[::-1]]
    moment = sorted(each["at"] for each in events)[2]
    then = api.get("/registry", model="churn", at=moment)["entries"]
    assert then[0]["revision"] == max(
        each["revision"] for each in events if each["at"] <= moment and "1.4.2" in each["after"]
    )
    frontiers = {each["revision"]: each["frontier"] for each in lines("registry-effects")}
    assert {each["revision"]: each["frontier"] for each in changes} == frontiers


def test_quality_adds_up_what_the_windows_counted(api: Api) -> None:
    found = {each["reason"]: each for each in api.get("/quality", since="30d")["uncounted"]}
    counts: dict[str, int] = {}
    for record in lines("metrics"):
        if (record["lane"], record["window"], record["segment"]) == ("arrivals", "1d", "all"):
            for name, count in record.get("counts", {}).items():
                counts[name] = counts.get(name, 0) + count
    assert found["expired_prediction"]["rows"] == counts["expired"]
    assert found["duplicate_prediction"]["rows"] == counts["duplicate_predictions"]
    assert found["unmatched_truth"]["rows"] == counts["unmatched"]
    assert found["out_of_range"]["rows"] == len(lines("predictions.dlq"))
    assert "1.7" in found["out_of_range"]["example"]
    final = of(maturity="2d")
    missing = sum(each["n_predictions"] - each["n"] for each in final)
    assert found["never_labelled"]["rows"] == missing


def test_the_delay_curve_counts_the_truths_by_each_rung(api: Api) -> None:
    found = api.get("/delays", model="churn", window="1d")
    for step in found["steps"]:
        records = of(maturity=step["rung"])
        assert step["n"] == sum(each["n"] for each in records)
        assert step["n_predictions"] == sum(each["n_predictions"] for each in records)
        assert step["coverage"] == pytest.approx(step["n"] / step["n_predictions"])
    assert found["steps"][-1]["completeness"] == 1.0
    p95 = [each["metrics"]["delay_p95"] / 1_000 for each in of(maturity="2d")]
    assert found["p95_seconds"] == pytest.approx(p95)


def test_the_overview_shows_the_judged_figure_the_alert_and_what_was_counted(api: Api) -> None:
    found = api.get("/overview")
    (row,) = found["rows"]
    record = of(maturity="1d")[-1]
    assert row["judged"]["metric"] == "f1"
    assert row["judged"]["value"] == record["metrics"]["f1"]
    assert (row["judged"]["n"], row["judged"]["verdict"]) == (record["n"], "worse")
    assert row["truths_in"] == record["label_coverage"]
    assert row["alerts"] == found["n_open"] == {"warning": 1}
    assert [each["alert_id"] for each in found["alerts"]] == [ALERT_ID]
    assert row["line"]["value"] == [each["metrics"]["f1"] for each in of(maturity="1d")]
    assert [rung["known"] for rung in row["rungs"]] == [True] * 4
    traffic = of(lane="traffic")[-1]
    assert found["counters"]["predictions"] == traffic["n_predictions"]
    assert found["counters"]["window_end"] == traffic["window_end"]
    assert found["counters"]["rejected"] == 1


def test_what_came_later_is_not_shown_at_an_earlier_time(api: Api) -> None:
    at = "2025-06-04T12:00:00Z"
    found = api.get("/metrics", model="churn", metric="f1", window="1d", maturity="1d", at=at)
    assert found["window_start"] == ["2025-06-02T00:00:00Z"]
    assert api.get("/alerts", at=at)["alerts"] == []
    assert api.get("/alerts", at="2025-06-05T00:00:00Z")["n_open"] == {"warning": 1}
    overview = api.get("/overview", at=at)
    assert (overview["n_alerts"], overview["rows"][0]["alerts"]) == (0, {})
    assert overview["rows"][0]["judged"]["window_start"] == "2025-06-02T00:00:00Z"
    for change in api.get("/registry/changes", at=at)["changes"]:
        assert change["at"] <= at
    for window in ("6h", "1d", "1d/6h"):
        for maturity in ("1h", "6h", "1d", "2d"):
            names = {"model": "churn", "window": window, "maturity": maturity}
            shown = api.get("/metrics", **names, metric="f1", at=at)
            known = [
                each for each in of(window=window, maturity=maturity) if each["complete_at"] <= at
            ]
            assert shown["complete_at"] == [each["complete_at"] for each in known]


def test_progress_is_how_far_the_files_were_read(api: Api) -> None:
    found = api.get("/pipeline")
    sizes = {each["topic"]: each["position"] for each in found["topics"]}
    assert sizes["metrics"] == (sample_output() / "metrics.jsonl").stat().st_size
    assert found["index_bytes"] > 0
    assert Path(found["source"]["place"], INDEX_FILE).is_file()
    assert found["models"][0]["lag_seconds"] >= 0.0
