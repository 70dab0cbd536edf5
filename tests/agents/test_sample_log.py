"""The sample log that `driftline init` writes."""

from __future__ import annotations

from collections import Counter

from driftline.agents.sample_log import DAYS, PER_DAY, sample_rows, write_sample
from driftline.schemas.config import load_config
from driftline.schemas.decode import decode_predictions, decode_truths


def test_sample_is_the_same_every_time(tmp_path):
    for name in ("first", "second"):
        write_sample(tmp_path / name)
    for file in ("predictions.jsonl", "ground-truth.jsonl"):
        first, second = (
            (tmp_path / name / "sample-log" / file).read_bytes() for name in ("first", "second")
        )
        assert first == second


def test_sample_has_two_thousand_predictions_and_one_invalid_line(tmp_path):
    _, log = write_sample(tmp_path)
    lines = (log / "predictions.jsonl").read_bytes().splitlines()
    rows, _, rejects = decode_predictions(lines, range(len(lines)))
    assert len({row.prediction_id for row in rows}) == DAYS * PER_DAY
    assert [reject.reason for reject in rejects] == ["out_of_range"]
    lines = (log / "ground-truth.jsonl").read_bytes().splitlines()
    _, _, rejects = decode_truths(lines, range(len(lines)))
    assert rejects == []


def test_sample_configuration_is_accepted(tmp_path):
    config, _ = write_sample(tmp_path)
    assert [rule["name"] for rule in load_config(config).for_model("churn").rules] == ["f1_low"]


def test_f1_of_the_sample_drops_from_noon_of_the_second_day():
    predictions, truths = sample_rows()
    label = {
        truth["prediction_id"]: truth["label"] for truth in truths
    }  # a correction follows the first truth
    cells: dict[bool, Counter[tuple[str, bool]]] = {False: Counter(), True: Counter()}
    for row in predictions:
        if row["prediction_id"] in label:
            cells[row["timestamp"] >= "2025-06-03T12"][
                label[row["prediction_id"]], row["score"] >= 0.5
            ] += 1
    before, after = (
        2 * c["yes", True] / (2 * c["yes", True] + c["no", True] + c["yes", False])
        for c in (cells[False], cells[True])
    )
    assert before > 0.9
    assert after < 0.6


def test_truths_are_ordered_by_time():
    _, truths = sample_rows()
    times = [truth["timestamp"] for truth in truths]
    assert len(times) > 1_900
    assert [time[:19] for time in times] == sorted(time[:19] for time in times)
