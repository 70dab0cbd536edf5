"""Ids, times and features as senders write them, through a whole replay: the figures are those
that the senders mean.

Labels, scores, drift, the order of a log and misdated rows have files of their own.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from click.testing import CliRunner

import driftline
from driftline.agents.cli.program import driftline as command
from tests.agents.scored_logs import (
    CONFIG,
    DAY,
    ROWS,
    START,
    both_topics,
    drawn,
    expected,
    final_days,
    replayed,
    shown,
    write_lines,
)

pytestmark = pytest.mark.slow


def utc(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


FORMS: dict[str, Callable[[int], Any]] = {
    "seconds": lambda at: at // 1000,
    "seconds with decimals": lambda at: at / 1000,
    "seconds as text": lambda at: str(at // 1000),
    "microseconds": lambda at: at * 1000,
    "nanoseconds": lambda at: at * 1_000_000 + 999_999,
    "without an offset": lambda at: utc(at).strftime("%Y-%m-%d %H:%M:%S"),
    "with an offset": lambda at: (
        utc(at).astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()
    ),
}


@pytest.mark.parametrize(("form", "truth_form"), list(pairwise([*FORMS, "seconds"])))
def test_a_truth_counts_from_its_delay_on_in_every_form_of_time(form: str, truth_form: str) -> None:
    rows = drawn()
    predictions, truths = both_topics([{"score": score} for score, _ in rows], [t for _, t in rows])
    for prediction, truth in zip(predictions, truths, strict=True):
        truth["timestamp"] = FORMS[truth_form](prediction["timestamp"] + 2 * DAY)
        prediction["timestamp"] = FORMS[form](prediction["timestamp"])
    ladder = ["1h", "6h", "1d", "3d"]
    settings = {"maturity": ladder, "label_horizon": "3d", "park": "3d", "windows": ["1h", "1d"]}
    results = driftline.replay(predictions, truths, config={"defaults": CONFIG | settings})
    table = results.metrics.where(lane="decisions", segment="all", window="1d")
    assert [
        (each.maturity, each.window_start_ms, each.n_predictions, each.n)
        for each in table.structs()
        if not each.provisional
    ] == [(rung, START, ROWS, ROWS if rung == "3d" else 0) for rung in ladder]
    (day,) = final_days(results)
    assert shown(day) == pytest.approx(expected(rows), abs=0.001)
    delay = day.metrics["delay_p50"]
    assert delay is not None
    assert math.isclose(delay, 2 * DAY, rel_tol=0.005)


@pytest.mark.parametrize(
    ("never_set", "place"),
    [(0, 0), ("1970-01-01T00:00:00Z", 100), ("0001-01-01T00:00:00Z", 0), (86_400, ROWS)],
)
def test_a_time_that_was_never_set_is_told_and_makes_no_windows(
    never_set: object, place: int
) -> None:
    rows = drawn()
    predictions, truths = both_topics([{"score": score} for score, _ in rows], [t for _, t in rows])
    wrong = predictions[0] | {"prediction_id": "wrong", "timestamp": never_set}
    predictions.insert(place, wrong)
    results = driftline.replay(predictions, truths, config={"defaults": CONFIG})
    assert results.summary is not None
    (rejected,) = results.summary.uncounted
    assert (rejected.topic, rejected.reason, rejected.rows) == ("predictions", "out_of_range", 1)
    assert rejected.example.startswith(f'predictions@{place}: field "timestamp" is ')
    (day,) = final_days(results)
    assert (day.window_start_ms, day.n) == (START, ROWS)
    assert shown(day) == pytest.approx(expected(rows), abs=0.001)
    assert {each.window_start_ms >= START - 30 * DAY for each in results.drift.structs()} <= {True}
    assert list(results.alerts.structs()) == []


IDS: dict[str, tuple[Callable[[int], Any], Callable[[int], Any]]] = {
    "integers": (lambda i: i, lambda i: i),
    "an integer and its digits": (lambda i: i, str),
    "digits and their integer": (lambda i: str(2**63 + i), lambda i: 2**63 + i),
    "longer than 64 bits": (lambda i: 2**64 + i, lambda i: str(2**64 + i)),
    "leading zeros": (lambda i: f"{i:05d}", lambda i: f"{i:05d}"),
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_both_sides_meet(kind: str) -> None:
    rows = drawn()
    of_prediction, of_truth = IDS[kind]
    predictions, truths = both_topics([{"score": score} for score, _ in rows], [t for _, t in rows])
    for i in range(len(rows)):
        predictions[i] |= {"prediction_id": of_prediction(i), "model_version": 3}
        predictions[i]["segment"] = {"plan": None if i % 4 == 0 else "pro"}
        truths[i]["prediction_id"] = of_truth(i)
    results = driftline.replay(
        predictions, truths, config={"defaults": CONFIG | {"segments": ["plan"]}}
    )
    assert results.summary is not None
    assert results.summary.uncounted == []
    (day,) = final_days(results)
    assert (day.model_version, day.n) == ("3", ROWS)
    assert shown(day) == pytest.approx(expected(rows), abs=0.001)
    table = results.metrics.where(lane="decisions", segment="plan=pro", window="1d")
    assert {each.n for each in table.structs() if each.final} == {ROWS * 3 // 4}


@pytest.mark.parametrize(
    ("value", "in_json"),
    [
        *((value, True) for value in (math.nan, None, math.inf, [0.1, 0.2], {"a": 1})),
        *((value, False) for value in (math.nan, math.inf)),
    ],
)
def test_a_prediction_counts_without_a_feature(
    tmp_path: Path, value: object, in_json: bool
) -> None:
    rows = drawn()
    # The model is wrong on the rows that lack the feature, as far as it can be.
    lacking = [(score >= 0.5) != truth for score, truth in rows]
    outputs = [
        {"score": score, "features": {"age": i % 50, "income": value if lacks else 1000.0 + i}}
        for i, ((score, _), lacks) in enumerate(zip(rows, lacking, strict=True))
    ]
    predictions, truths = both_topics(outputs, [truth for _, truth in rows])
    if in_json:
        source = tmp_path / "predictions.jsonl"
        write_lines(source, predictions)  # with NaN and Infinity, as services write them
    results = driftline.replay(
        source if in_json else predictions, truths, config={"defaults": CONFIG}
    )
    (day,) = final_days(results)
    assert shown(day) == pytest.approx(expected(rows), abs=0.001)
    assert results.summary is not None
    assert results.summary.rejected == {}
    told = {(each.reason, each.rows) for each in results.summary.uncounted}
    is_missing = value is None or value is math.nan
    assert told == (set() if is_missing else {("left_out_feature", sum(lacking))})


def table_of(path: Path, columns: dict[str, list[Any]]) -> Path:
    """A CSV of the columns, 240 rows a day."""
    n = len(next(iter(columns.values())))
    fixed = {
        "prediction_id": [f"p{i}" for i in range(n)],
        "timestamp": [utc(START + i * (DAY // ROWS)).isoformat() for i in range(n)],
        "model_name": ["m"] * n,
        "model_version": ["1"] * n,
    }
    all_columns = fixed | columns
    lines = [
        ",".join(all_columns),
        *(",".join(map(str, row)) for row in zip(*all_columns.values(), strict=True)),
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "labels",
    [
        ("1.1", "1.10", "1.2"),
        ("7", "007", "70"),
        ("1e3", "1000", "1E3"),
        ("12345678901234567890", "12345678901234567891", "12345678901234567892"),
        ("E11.9", "E11.90", "e11.9"),
    ],
)
def test_labels_of_a_table_are_the_texts_that_it_has(
    tmp_path: Path, labels: tuple[str, ...]
) -> None:
    random = Random(1)
    predicted = [random.choice(labels) for _ in range(ROWS)]
    actual = [label if random.random() < 0.5 else random.choice(labels) for label in predicted]
    table = table_of(tmp_path / "table.csv", {"prediction": predicted, "label": actual})
    results = driftline.replay(table, config={"defaults": CONFIG}, out=tmp_path / "out")
    (day,) = final_days(results)
    right = sum(a == b for a, b in zip(predicted, actual, strict=True))
    assert (day.labels, day.n) == (sorted(labels), ROWS)
    assert day.metrics["accuracy"] == round(right / ROWS, 6)


@pytest.mark.parametrize(
    ("form", "ahead"),
    [
        ("csv", "2099-01-01T00:00:00Z"),
        ("csv", "9999-12-31"),
        ("parquet", "2999-01-01 00:00:00"),
        ("json lines", "9999-12-31"),
        ("dictionaries", "2999-01-01T00:00:00Z"),
    ],
)
def test_a_row_ahead_of_the_clock_is_rejected_in_every_form(
    tmp_path: Path, form: str, ahead: str
) -> None:
    rows = drawn()
    predictions, truths = both_topics([{"score": score} for score, _ in rows], [t for _, t in rows])
    for event in predictions:
        event["timestamp"] = utc(event["timestamp"]).isoformat()
    predictions[7]["timestamp"] = ahead
    columns = {name: [event[name] for event in predictions] for name in predictions[0]}
    source: Any = predictions
    if form == "csv":
        source = table_of(tmp_path / "table.csv", columns)
    elif form == "parquet":
        source = tmp_path / "table.parquet"
        pyarrow.parquet.write_table(pyarrow.table(columns), source)
    elif form == "json lines":
        source = tmp_path / "predictions.jsonl"
        write_lines(source, predictions)
    results = driftline.replay(source, truths, config={"defaults": CONFIG}, out=tmp_path / "out")
    assert results.summary is not None
    assert results.summary.rejected == {"predictions": {"too_far_ahead": 1}}
    (day,) = final_days(results)
    counted = rows[:7] + rows[8:]
    assert (shown(day), day.n) == (pytest.approx(expected(counted), abs=0.001), ROWS - 1)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("threshold", ("0.1", "0.9")),
        ("status", ("paid", "open")),
        ("weight", ("0", "71.5")),
        ("source", ("web", "app")),
        ("variant", ("sedan", "estate")),
        ("environment", ("indoor", "outdoor")),
    ],
)
def test_a_feature_called_like_a_field_changes_no_figure(
    tmp_path: Path, name: str, values: tuple[str, str]
) -> None:
    rows = drawn()
    columns = {
        "score": [score for score, _ in rows],
        "label": [int(truth) for _, truth in rows],
        name: [values[i % 2] for i in range(ROWS)],
    }
    table = table_of(tmp_path / "table.csv", columns)
    results = driftline.replay(table, config={"defaults": CONFIG}, out=tmp_path / "out")
    (day,) = final_days(results)
    assert (shown(day), day.n) == (pytest.approx(expected(rows), abs=0.001), ROWS)
    assert results.summary is not None
    assert results.summary.uncounted == []
    assert results.summary.columns is not None
    (use,) = [use for use in results.summary.columns if use.column == name]
    assert use.field == f"features.{name}"
    assert f"not the {name}" in use.why


@pytest.mark.parametrize(
    ("zero", "others"),
    [
        ("02139", ("94105", "10001", "60601", "30301")),
        ("0710", ("7100", "4280", "2500", "9999")),
        ("007", ("7", "70", "700", "77")),
    ],
)
def test_codes_with_leading_zeros_are_one_feature_and_their_drift_is_told(
    tmp_path: Path, zero: str, others: tuple[str, ...]
) -> None:
    random = Random(2)
    days = 12
    zips = [
        zero if random.random() < (0.05 if i < 5 * ROWS else 0.42) else random.choice(others)
        for i in range(days * ROWS)
    ]
    columns = {"score": [0.5] * len(zips), "label": [i % 2 for i in range(len(zips))], "zip": zips}
    table = table_of(tmp_path / "table.csv", columns)
    config = {"reference": "5d", "detection_window": "2d", "windows": ["1d", "2d"]}
    results = driftline.replay(table, config={"defaults": CONFIG | config}, out=tmp_path / "out")
    records = [each for each in results.drift.structs() if each.target == "feature:zip"]
    assert {each.method for each in records} == {"psi"}
    last = next(each for each in records if each.window_end_ms == START + 10 * DAY)
    assert (last.n_reference, last.n_current, last.level) == (5 * ROWS, 2 * ROWS, "severe")
    assert last.statistic == pytest.approx(psi(zips[: 5 * ROWS], zips[8 * ROWS : 10 * ROWS]), 1e-4)
    (fired, *_) = [alert for alert in results.alerts.structs() if alert.rule == "drift"]
    assert list(fired.details["targets"]) == ["feature:zip"]


def psi(reference: list[str], current: list[str]) -> float:
    """With half a count added to each value."""
    p, q = Counter(reference), Counter(current)
    values = p.keys() | q.keys()
    shares = [
        (
            (p[value] + 0.5) / (len(reference) + len(values) / 2),
            (q[value] + 0.5) / (len(current) + len(values) / 2),
        )
        for value in values
    ]
    return sum((b - a) * math.log(b / a) for a, b in shares)


@pytest.mark.parametrize(
    ("day", "side", "stray"),
    [(1, "label", "maybe"), (0, "label", "n/a"), (2, "label", "-1"), (1, "prediction", "unsure")],
)
def test_rules_go_on_after_a_stray_label(day: int, side: str, stray: str) -> None:
    days, broken = 6, 4  # from day 4 on no row is found
    rows = drawn(days)
    found = [score >= 0.5 and i < broken * ROWS for i, (score, _) in enumerate(rows)]
    outputs: list[dict[str, Any]] = [{"prediction": ("no", "yes")[each]} for each in found]
    truths = [("no", "yes")[truth] for _, truth in rows]
    at = day * ROWS + 50
    if side == "label":
        truths[at] = stray
    else:
        outputs[at]["prediction"] = stray
    rules = [
        {"type": "threshold", "name": f"{metric}_low", "metric": metric, "window": "1d"}
        | {"maturity": "1d", "below": 0.5, "min_samples": 100}
        for metric in ("f1", "recall")
    ]
    figures, results = replayed(outputs, truths, positive_label="yes", rules=rules)
    for number, record in enumerate(figures):
        own = [(found[i], rows[i][1]) for i in range(number * ROWS, (number + 1) * ROWS) if i != at]
        tp, fp, fn = (own.count(cell) for cell in ((True, True), (True, False), (False, True)))
        assert record.metrics["f1"] == round(2 * tp / (2 * tp + fp + fn), 6)
        assert record.metrics["recall"] == round(tp / (tp + fn), 6)
        assert (record.positive_label, record.labels) == ("yes", ["no", "yes"])
        assert record.strays == ({stray: 1} if number == day else {})
    fired = {alert.rule: alert.starts_at_ms for alert in results.alerts.structs()}
    # The first broken day is complete, at maturity 1d, a day after its end.
    assert fired == {f"{metric}_low": START + (broken + 2) * DAY for metric in ("f1", "recall")}


TOML = """
[defaults]
windows = ["1d"]
maturity = ["1d"]
label_horizon = "1d"
park = "1d"
[[defaults.rules]]
type = "threshold"
name = "always"
metric = "accuracy"
window = "1d"
below = 1.0
"""
NAMES = ["\x1b[31mred\x1b[0m", "bell\x07", "\u202ereversed", "\x9b2Jcleared", "a/b%c 😀"]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_terminal_would_obey_is_inert_in_every_output(tmp_path: Path, name: str) -> None:
    rows = drawn()
    predictions, truths = both_topics(
        [
            {"score": score, "model_name": name, "model_version": name, "features": {name: name}}
            for score, _ in rows
        ],
        [truth if i else name for i, (_, truth) in enumerate(rows)],
    )
    log = tmp_path / "log"
    log.mkdir()
    write_lines(log / "predictions.jsonl", predictions)
    write_lines(log / "ground-truth.jsonl", truths)
    config = tmp_path / "driftline.toml"
    config.write_text(TOML)
    out = ["--out", str(tmp_path / "out")]
    verbs = [
        ["replay", str(log), *out, "--config", str(config)],
        ["performance", "summary", *out],
        ["alerts", "list", "--all", *out],
        ["registry", "history", *out],
        ["doctor", *out, "--config", str(config)],
    ]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    for verb in verbs:
        done = CliRunner(env={"COLUMNS": "200"}).invoke(command, verb)
        assert done.exception is None or isinstance(done.exception, SystemExit), verb
        assert not [c for c in done.output if not c.isprintable() and c != "\n"], verb
        if verb[0] != "replay":
            assert safe in done.output, verb
        as_json = CliRunner().invoke(command, [*verb, "--json"])
        assert not [c for c in as_json.output if not c.isprintable() and c != "\n"], verb
        assert json.loads(as_json.stdout), verb
