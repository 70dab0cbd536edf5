"""Tables made into recorded logs: what each column becomes."""

from __future__ import annotations

import datetime
import json

import pytest

from agents.tables import TableError, is_table, write_log
from schemas.decode import decode_predictions, decode_truths


@pytest.fixture
def log(tmp_path):
    """A function that turns the text of a table into the predictions and truths of its log, with the notes."""

    def made(text: str, **mapping: str):
        table = tmp_path / "churn.csv"
        table.write_text(text, encoding="utf-8")
        return read(tmp_path, table, {field.replace("__", "."): column for field, column in mapping.items()})

    return made


def read(folder, table, mapping=None):
    notes = write_log(table, folder, mapping or {})
    rows = [
        [json.loads(line) for line in (folder / f"{topic}.jsonl").read_text().splitlines()] for topic in ("predictions", "ground-truth")
    ]
    assert sorted(path.name for path in folder.iterdir()) == sorted({table.name, "predictions.jsonl", "ground-truth.jsonl"})
    return *rows, notes


def test_canonical_and_foreign_names_are_claimed_without_a_mapping(log):
    (prediction,), (truth,), _ = log("request_id,model,version,ts,probability,y_true\na,m,2,1000,0.9,yes\n")
    assert prediction == {"prediction_id": "a", "model_name": "m", "model_version": "2", "timestamp": 1000, "score": 0.9}
    assert truth == {"prediction_id": "a", "label": "yes", "timestamp": 1000}


def test_mapped_column_is_taken_before_one_of_the_same_name(log):
    (prediction,), _, _ = log("timestamp,score,p\n1000,0.1,0.9\n", score="p")
    assert prediction["score"] == 0.9
    assert prediction["features"] == {"score": 0.1}


def test_columns_that_no_field_claims_are_features_and_named_in_a_note(log):
    (prediction,), _, notes = log("timestamp,score,age,city\n1000,0.9,41,Oslo\n")
    assert prediction["features"] == {"age": 41, "city": "Oslo"}
    assert "features: age, city" in notes


def test_segments_and_class_scores_are_claimed_by_name(log):
    (prediction,), _, _ = log("timestamp,plan,p_yes,p_no\n1000,pro,0.7,0.3\n", segment__plan="plan", scores__yes="p_yes", scores__no="p_no")
    assert prediction["segment"] == {"plan": "pro"}
    assert prediction["scores"] == {"yes": 0.7, "no": 0.3}


def test_missing_cells_leave_a_field_out_and_a_feature_null(log):
    (prediction,), truths, _ = log("timestamp,score,label,age,latency_ms\n1000,0.9,,NaN,\n")
    assert truths == []
    assert prediction["features"] == {"age": None}
    assert "latency_ms" not in prediction


def test_text_cells_become_numbers_and_booleans_but_ids_and_odd_numbers_stay_text(log):
    predictions, truths, _ = log("prediction_id,timestamp,prediction,label,zip\n007,1000,1,1.0,0123\n8,2000,True,false,1e3\n")
    assert [row["prediction_id"] for row in predictions] == ["007", "8"]
    assert [row["prediction"] for row in predictions] == [1, True]
    assert [row["label"] for row in truths] == [1.0, False]
    assert [row["features"]["zip"] for row in predictions] == ["0123", 1000.0]


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("1767571200000", 1767571200000),
        ("2026-01-05T00:00:00Z", "2026-01-05T00:00:00Z"),
        ("2026-01-05T01:00:00+01:00", "2026-01-05T01:00:00+01:00"),
        ("2026-01-05 00:00:00", "2026-01-05T00:00:00Z"),
        ("2026-01-05 00:00", "2026-01-05T00:00:00Z"),
        ("2026-01-05T00:00:00.250", "2026-01-05T00:00:00.250Z"),
        ("2026-01-05", "2026-01-05T00:00:00Z"),
    ],
)
def test_time_without_a_zone_is_utc(log, text, becomes):
    (prediction,), _, _ = log(f"timestamp,score\n{text},0.5\n")
    assert prediction["timestamp"] == becomes


def test_log_is_in_the_order_of_time_and_equal_times_keep_theirs(log):
    predictions, truths, _ = log("prediction_id,timestamp,score,label\nb,2000,0.1,x\nc,2000,0.2,y\na,1000,0.3,x\n")
    assert [row["prediction_id"] for row in predictions] == ["a", "b", "c"]
    assert [row["prediction_id"] for row in truths] == ["a", "b", "c"]


def test_truth_has_a_time_of_its_own_where_a_column_says_it(log):
    _, truths, notes = log("prediction_id,timestamp,score,label,known\na,1000,0.1,x,9000\nb,2000,0.1,x,3000\n", label_timestamp="known")
    assert [(row["prediction_id"], row["timestamp"]) for row in truths] == [("b", 3000), ("a", 9000)]
    assert not any("label_timestamp" in note for note in notes)


def test_what_is_assumed_is_said(log):
    (prediction, _), _, notes = log("timestamp,score\n1000,0.5\n2000,0.5\n")
    assert (prediction["model_name"], prediction["model_version"], prediction["prediction_id"]) == ("churn", "1", "row-1")
    assert [note.partition(":")[0] for note in notes] == [
        "no column for model_name",
        "no column for model_version",
        "no column for prediction_id",
        "no column for label",
    ]


def test_row_with_a_wrong_value_stays_for_the_decoder_to_refuse(log, tmp_path):
    log("timestamp,score\n1000,1.7\nsoon,0.5\n3000,0.5\n")
    lines = (tmp_path / "predictions.jsonl").read_bytes().splitlines()
    rows, _, rejects = decode_predictions(lines, range(len(lines)))
    assert [row.timestamp_ms for row in rows] == [3000]
    assert sorted(reject.reason for reject in rejects) == ["out_of_range", "wrong_type"]


def test_every_good_row_is_accepted_by_the_decoder(log, tmp_path):
    log('prediction_id,timestamp,score,label,age,note\na,2026-01-05,0.5,1,3,"a, ""quoted"" text"\nb,2026-01-06,1,0,,\n')
    for topic, decode in (("predictions", decode_predictions), ("ground-truth", decode_truths)):
        lines = (tmp_path / f"{topic}.jsonl").read_bytes().splitlines()
        rows, _, rejects = decode(lines, range(len(lines)))
        assert (len(rows), rejects) == (2, [])


def test_parquet_columns_keep_their_types(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    at = datetime.datetime(2026, 1, 5, 0, 0, 0, 250_000)  # noqa: DTZ001  (as pandas writes it: without a zone)
    rows = [
        {"when": at, "score": 0.5, "label": 1, "age": None, "plan": 2.0},
        {"when": at, "score": 0.5, "label": None, "age": 4.5, "plan": 2.0},
    ]
    table = tmp_path / "churn.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    predictions, truths, _ = read(tmp_path, table, {"timestamp": "when", "segment.plan": "plan"})
    assert [row["timestamp"] for row in predictions] == [1_767_571_200_250] * 2
    assert [row["features"] for row in predictions] == [{"age": None}, {"age": 4.5}]
    assert [row["segment"] for row in predictions] == [{"plan": "2"}] * 2
    assert [row["label"] for row in truths] == [1]


@pytest.mark.parametrize(
    ("text", "mapping", "message"),
    [
        ("score\n0.5\n", {}, "no column for timestamp"),
        ("timestamp\n1000\n", {}, "no column for score or prediction"),
        ("timestamp,score\n1000,0.5\n", {"label": "truth"}, "has no column 'truth' for label"),
        ("timestamp,score\n1000,0.5\n", {"lable": "score"}, "'lable' is no field"),
        ("timestamp,score,score\n1000,0.5,0.5\n", {}, "two columns of the same name"),
        ("timestamp,score\n1000,0.5,7\n", {}, "3 cells under 2 headings"),
        ("", {}, "no column for timestamp"),
    ],
)
def test_table_that_cannot_be_read_as_predictions_says_why(log, text, mapping, message):
    with pytest.raises(TableError, match=message):
        log(text, **mapping)


def test_tables_are_known_by_their_ending(tmp_path):
    assert [is_table(tmp_path / name) for name in ("a.csv", "a.CSV", "a.parquet", "log")] == [True, True, True, False]
