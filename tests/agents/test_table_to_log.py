"""Tables as input: columns and fields, typed values, order of time, errors that name the row."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.inprocess.replay import replay
from driftline.agents.recorded.lines import LogError
from driftline.agents.recorded.sort_by_time import LinesByTime
from driftline.agents.recorded.tables.column_mapping import Options
from driftline.schemas.decode import decode_predictions, decode_truths
from driftline.schemas.settings import Config
from tests.agents.stub_stages import stub_stages
from tests.agents.tables import convert, lines_of

HEADER = "id,ts,model,version,y_true,label_timestamp,p,plan,age,city\n"
MAPPING = {"prediction_id": "id", "score": "p"}


def converted(
    folder: Path, text: str, mapping: dict[str, str] | None = None
) -> dict[str, list[Any]]:
    table = folder / "table.csv"
    table.write_text(text, encoding="utf-8")
    convert(table, folder / "log", MAPPING if mapping is None else mapping, segments=("plan",))
    return lines_of(folder / "log")


def test_a_row_is_a_prediction_and_a_truth_if_it_has_a_label(tmp_path: Path) -> None:
    row = "a,2024-03-01T00:00:00Z,churn,1.4,yes,2024-03-02T00:00:00Z,0.7,pro,31,Łódź\n"
    lines = converted(tmp_path, HEADER + row + "b,2024-03-01T01:00:00+01:00,churn,1.4,,,0.2,,,\n")
    assert lines["predictions"] == [
        {
            "offset": 0,
            "value": {
                "prediction_id": "a",
                "timestamp": 1_709_251_200_000,
                "model_name": "churn",
                "model_version": "1.4",
                "score": 0.7,
                "segment": {"plan": "pro"},
                "features": {"age": 31, "city": "Łódź"},
            },
        },
        {
            "offset": 1,
            "value": {
                "prediction_id": "b",
                "timestamp": 1_709_251_200_000,
                "model_name": "churn",
                "model_version": "1.4",
                "score": 0.2,
                "features": {"age": None, "city": None},
            },
        },
    ]
    assert lines["ground-truth"] == [
        {
            "offset": 0,
            "value": {"label": "yes", "prediction_id": "a", "timestamp": 1_709_337_600_000},
        }
    ]


def test_every_line_of_a_converted_table_decodes(tmp_path: Path) -> None:
    row = "a,1709251200000,churn,1.4,1,1709251200000,0.7,pro,31,x\n"
    lines = converted(tmp_path, HEADER + row)
    predictions, _, refused = decode_predictions(
        [json.dumps(line["value"]).encode() for line in lines["predictions"]], [0]
    )
    truths, _, refused_truths = decode_truths(
        [json.dumps(line["value"]).encode() for line in lines["ground-truth"]], [0]
    )
    assert (refused, refused_truths) == ([], [])
    assert (predictions[0].score, truths[0].label, truths[0].timestamp_ms) == (
        0.7,
        "1",
        1_709_251_200_000,
    )


def test_rows_are_sorted_by_prediction_time_and_their_truths_by_label_time(tmp_path: Path) -> None:
    rows = [
        (id_, 10**9 + at, 10**9 + known)
        for id_, at, known in (("a", 3, 4), ("b", 1, 9), ("c", 2, 3))
    ]
    text = "prediction_id,timestamp,model_name,model_version,prediction,label,label_timestamp\n"
    lines = converted(
        tmp_path, text + "".join(f"{id_},{at},m,1,x,x,{known}\n" for id_, at, known in rows), {}
    )
    assert [line["value"]["prediction_id"] for line in lines["predictions"]] == ["b", "c", "a"]
    assert [line["value"]["prediction_id"] for line in lines["ground-truth"]] == ["c", "a", "b"]
    assert [line["offset"] for line in lines["predictions"]] == [1, 2, 0]


@pytest.mark.parametrize("run_bytes", [1, 50, 10_000])
def test_sorting_in_runs_keeps_the_order_of_equal_times(tmp_path: Path, run_bytes: int) -> None:
    draw = random.Random(5)
    items = [(draw.randrange(20), b"%d" % i) for i in range(300)]
    by_time = LinesByTime(tmp_path, run_bytes=run_bytes)
    for time_ms, line in items:
        by_time.add(time_ms, line)
    by_time.write(tmp_path / "sorted")
    assert (tmp_path / "sorted").read_bytes().splitlines() == [
        line for _, line in sorted(items, key=lambda item: item[0])
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["sorted"]


@pytest.mark.parametrize(
    "text", ["1", "1.0", "-3", "True", "false", "yes", "007", "1e3", "1.10", "E11.9", "9" * 20]
)
def test_a_label_is_the_text_of_the_table(tmp_path: Path, text: str) -> None:
    lines = converted(
        tmp_path,
        f"ts,prediction,label\n5,{text},{text}\n",
        {"model_name": "=m", "model_version": "=1"},
    )
    assert lines["predictions"][0]["value"]["prediction"] == text
    assert lines["ground-truth"][0]["value"]["label"] == text


@pytest.mark.parametrize("text", ["", " ", "NaN", "nan", "NA", "null", "None"])
def test_a_missing_token_is_no_label(tmp_path: Path, text: str) -> None:
    lines = converted(
        tmp_path,
        f"ts,p,prediction,label\n5,0.5,{text},{text}\n",
        {"score": "p", "model_name": "=m", "model_version": "=1"},
    )
    assert "prediction" not in lines["predictions"][0]["value"]
    assert lines["ground-truth"] == []


def test_values_that_are_no_number_or_time_are_rejected_unchanged(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    good = "a,2024-03-01T00:00:00Z,churn,1,yes,,0.7,pro,31,x\n"
    table.write_text(
        HEADER
        + good
        + "b,yesterday,churn,1,yes,,0.7,pro,31,x\n"
        + "c,2024-03-01T00:00:00Z,churn,1,,,high,pro,31,x\n"
    )
    options: dict[str, Any] = {
        "options": Options(mapping=MAPPING),
        "partitions": 2,
        "stages": stub_stages(2),
        "open_end": True,
    }
    summary = replay(table, tmp_path / "out", Config(segments=("plan",)), **options)
    letters = [
        json.loads(line)
        for line in (tmp_path / "out" / "predictions.dlq.jsonl").read_bytes().splitlines()
    ]
    assert [(letter["dlq_offset"], letter["dlq_reason"]) for letter in letters] == [
        (1, "wrong_type"),
        (2, "wrong_type"),
    ]
    assert '"yesterday"' in letters[0]["dlq_error"]
    assert '"high"' in letters[1]["dlq_error"]
    assert summary.rejected["predictions"] == {"wrong_type": 2}
    assert replay(table, tmp_path / "out", Config(segments=("plan",)), **options).already_finished


@pytest.mark.parametrize(
    ("text", "mapping", "message"),
    [
        ("", {}, "table.csv: is empty"),
        (
            "a,b\n",
            {},
            r"no column for model_name; name it with --map model_name=COLUMN, or .*"
            r"--map model_name==VALUE \(columns: a, b\)\n\(see \"Tables\" in docs/inputs\.md\)$",
        ),
        ("ts,model,version\n", {}, "no column for prediction, score or scores.CLASS"),
        (
            "ts,model,version,p\n",
            {"score": "q"},
            "--map score=q: table.csv has no column 'q'; it has ts, model, version, p",
        ),
        (
            "ts,model,version,p\n",
            {"scroe": "p"},
            "unknown field 'scroe'; fields are .*score.*features.NAME",
        ),
        (
            "ts,event_time,model,version,score\n",
            {},
            "columns 'ts' and 'event_time' both hold timestamp; name one with --map",
        ),
        (
            "ts,model,version,score\n1,m,1,0.5\n1,m,1\n",
            {},
            r"row 1 \(line 3\) has 3 values, the header has 4",
        ),
        ('ts,model,version,score\n1,m,1,0.5\n1,m,"1,0.5\n', {}, r"row 1 \(line 3\) is no CSV"),
    ],
)
def test_an_error_in_a_table_names_its_place(
    tmp_path: Path, text: str, mapping: dict[str, str], message: str
) -> None:
    with pytest.raises(LogError, match=message):
        converted(tmp_path, text, mapping)
    assert not (tmp_path / "log").exists()


def test_a_table_in_another_encoding_is_an_error(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(b"ts,model,version,score,city\n1,m,1,0.5,M\xfcnchen\n")
    with pytest.raises(LogError, match="is not UTF-8"):
        convert(table, tmp_path / "log", {})


def test_columns_of_mappings_and_constants(tmp_path: Path) -> None:
    text = (
        "when,scores.no,scores.yes,features.age,segment.plan,amount\n"
        "1709251200000,0.3,0.7,31,pro,12.5\n"
    )
    mapping = {
        "timestamp": "when",
        "model_name": "=churn",
        "model_version": "=1.0",
        "features.total": "amount",
        "threshold": "=0.4",
    }
    (line,) = converted(tmp_path, text, mapping)["predictions"]
    assert line["value"] == {
        "prediction_id": "row-0",
        "timestamp": 1_709_251_200_000,
        "model_name": "churn",
        "model_version": "1.0",
        "threshold": 0.4,
        "scores": {"no": 0.3, "yes": 0.7},
        "features": {"age": 31, "total": 12.5},
        "segment": {"plan": "pro"},
    }


def test_parquet_gives_the_same_log_as_csv(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    times = [datetime(2024, 3, 1, hour, tzinfo=UTC) for hour in (2, 1)]
    same = {"model": ["m", "m"], "version": ["1", "1"]}
    columns = {
        "id": ["a", "b"],
        "ts": times,
        **same,
        "p": [0.5, 0.25],
        "label": ["true", None],
        "age": [31, None],
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "table.parquet")
    convert(tmp_path / "table.parquet", tmp_path / "parquet-log", MAPPING)
    text = (
        "id,ts,model,version,p,label,age\n"
        "a,2024-03-01 02:00:00,m,1,0.5,true,31\n"
        "b,2024-03-01 01:00:00,m,1,0.25,,\n"
    )
    assert converted(tmp_path, text) == lines_of(tmp_path / "parquet-log")


def test_an_invalid_parquet_file_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "table.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(LogError, match="is no Parquet file that can be read"):
        convert(tmp_path / "table.parquet", tmp_path / "log", {})


def test_parquet_without_its_extra_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    with pytest.raises(LogError, match=r'pip install "driftline\[parquet\]"'):
        convert(tmp_path / "table.parquet", tmp_path / "log", {})
