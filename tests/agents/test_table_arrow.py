"""Parquet and data frames: every Arrow type ends in a value, or in a column that is left out."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest

import driftline
from driftline.agents.recorded.lines import LogError
from tests.agents.tables import convert, predictions_of, truths_of, uses_of

START = 1_767_571_200_000  # 2026-01-05T00:00:00Z


def base(n: int) -> dict[str, Any]:
    return {
        "prediction_id": [f"p{row}" for row in range(n)],
        "timestamp": pyarrow.array(
            [START + row * 60_000 for row in range(n)], pyarrow.timestamp("ms", "UTC")
        ),
        "score": [0.5] * n,
        "label": [1] * n,
        "model_name": ["m"] * n,
        "model_version": ["1"] * n,
    }


def write(tmp_path: Path, columns: dict[str, Any]) -> Path:
    n = len(next(iter(columns.values())))
    path = tmp_path / "table.parquet"
    pyarrow.parquet.write_table(pyarrow.table(base(n) | columns), path)
    return path


def values_of(tmp_path: Path, array: Any) -> list[Any]:
    """What becomes of the values of a feature of this type."""
    convert(write(tmp_path, {"x": array}), tmp_path / "log")
    return [row["features"]["x"] for row in predictions_of(tmp_path / "log")]


A = pyarrow.array
DAY = dt.date(2026, 1, 5)
TYPES: list[tuple[Any, list[Any]]] = [
    (A([1, None, -3], pyarrow.int8()), [1, None, -3]),
    (A([2**64 - 1, 0], pyarrow.uint64()), [2**64 - 1, 0]),
    (A([-(2**63), 2**63 - 1], pyarrow.int64()), [-(2**63), 2**63 - 1]),
    (A(np.array([0.5, np.nan], np.float16)), [0.5, None]),
    (A([0.1, None], pyarrow.float32()), [float(np.float32(0.1)), None]),
    (A([0.1, float("nan")], pyarrow.float64()), [0.1, None]),
    (A([True, None, False]), [True, None, False]),
    (A([None, None], pyarrow.null()), [None, None]),
    (A(["a", None, "", " ", "NaN", "007"]), ["a", None, None, None, None, "007"]),
    (A(["31", "40"]), ["31", "40"]),
    (A(["a", "b"], pyarrow.large_string()), ["a", "b"]),
    (A(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
    (A([1, 2, None]).dictionary_encode(), [1, 2, None]),
    (A([b"abc", b"\xff\x00", None]), ["abc", "0xff00", None]),
    (A([b"abc", None], pyarrow.large_binary()), ["abc", None]),
    (A([b"ab", b"cd"], pyarrow.binary(2)), ["ab", "cd"]),
    (A([decimal.Decimal("1.10"), None], pyarrow.decimal128(5, 2)), [1.1, None]),
    (A([decimal.Decimal("1" * 30)], pyarrow.decimal128(30, 0)), [float("1" * 30)]),
    (A([decimal.Decimal("12")], pyarrow.decimal256(50, 10)), [12.0]),
    (A([DAY, None], pyarrow.date32()), ["2026-01-05T00:00:00Z", None]),
    (A([DAY, None], pyarrow.date64()), ["2026-01-05T00:00:00Z", None]),
    (A([START * 1_000_000 + 1_999_999, None], pyarrow.timestamp("ns")),
     ["2026-01-05T00:00:00.001Z", None]),
    (A([START * 1_000 + 1_999], pyarrow.timestamp("us", "Europe/Berlin")),
     ["2026-01-05T00:00:00.001Z"]),
    (A([START // 1_000], pyarrow.timestamp("s")), ["2026-01-05T00:00:00Z"]),
    (A([-1, 2**62], pyarrow.timestamp("ms")), ["-1 ms", f"{2**62} ms"]),
    (A([1_999_999, None], pyarrow.duration("ns")), [1, None]),
    (A([3], pyarrow.duration("s")), [3_000]),
    (A([7_199_999_999_999], pyarrow.time64("ns")), [7_199_999]),
    (A([7_200], pyarrow.time32("s")), [7_200_000]),
    (pyarrow.ExtensionArray.from_storage(pyarrow.uuid(), A([uuid.UUID(int=7).bytes],
     pyarrow.binary(16))), ["00000000-0000-0000-0000-000000000007"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("array", "expected"), TYPES, ids=lambda each: str(getattr(each, "type", ""))
)
def test_a_value_of_every_type_that_has_one(
    tmp_path: Path, array: Any, expected: list[Any]
) -> None:
    assert values_of(tmp_path, array) == expected


NESTED: list[tuple[Any, str]] = [
    (A([[0.1, 0.2], None]), "a list"),
    (A([[0.1, 0.2], None], pyarrow.large_list(pyarrow.float32())), "a list"),
    (A([[0.1, 0.2], None], pyarrow.list_(pyarrow.float64(), 2)), "a list"),
    (A([{"a": 1}, None]), "a struct"),
    (A([[("a", 1)], None], pyarrow.map_(pyarrow.string(), pyarrow.int64())), "a map"),
    (A([[[1]], [[2]]]), "a list"),
    (pyarrow.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((2, 2, 2))), "a list"),
]


@pytest.mark.parametrize(("array", "what"), NESTED, ids=lambda each: str(getattr(each, "type", "")))
def test_a_nested_column_is_left_out_with_a_word(tmp_path: Path, array: Any, what: str) -> None:
    path = write(tmp_path, {"x": array, "age": [1, 2]})
    convert(path, tmp_path / "log")
    assert [row["features"] for row in predictions_of(tmp_path / "log")] == [{"age": 1}, {"age": 2}]
    use = uses_of(tmp_path / "log")["x"]
    assert use.field is None
    assert use.why.startswith(f"{what}, which no figure can use")
    for mapping in ({"features.x": "x"}, {"prediction": "x"}):
        with pytest.raises(LogError, match=f"column 'x' of table.parquet is {what}"):
            convert(path, tmp_path / "mapped", mapping=mapping)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
@pytest.mark.parametrize("column", ["timestamp", "label_timestamp"])
def test_times_are_cut_to_milliseconds(
    tmp_path: Path, unit: str, zone: str | None, column: str
) -> None:
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
    finest = START // 1_000 * per_second + per_second - 1
    expected = START + {"s": 0, "ms": 999, "us": 999, "ns": 999}[unit]
    path = write(tmp_path, {column: A([finest], pyarrow.timestamp(unit, zone))})
    convert(path, tmp_path / "log")
    (truth,) = truths_of(tmp_path / "log").values()
    assert truth["timestamp"] == expected
    if column == "timestamp":
        assert predictions_of(tmp_path / "log")[0]["timestamp"] == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (-1, "out_of_range"),
        (START // 1_000, "out_of_range"),  # 1970-01-21, and not seconds
        (2**62, "wrong_type"),
    ],
)
def test_a_time_out_of_range_is_rejected_not_a_traceback(
    tmp_path: Path, value: int, reason: str
) -> None:
    path = write(tmp_path, {"timestamp": A([START, value], pyarrow.timestamp("ms"))})
    summary = driftline.replay(path, out=tmp_path / "out").summary
    assert summary is not None
    assert summary.rejected["predictions"] == {reason: 1}


@pytest.mark.parametrize(
    ("array", "id_"),
    [
        (A([123], pyarrow.int64()), "123"),
        (A([2**64 - 1], pyarrow.uint64()), "18446744073709551615"),
        (A([decimal.Decimal(7)], pyarrow.decimal128(5, 0)), "7"),
        (A([7], pyarrow.int8()).dictionary_encode(), "7"),
        (A([b"a1"]), "a1"),
        (A(["007"]), "007"),
        (A([" a"]), " a"),
        (
            pyarrow.ExtensionArray.from_storage(
                pyarrow.uuid(), A([uuid.UUID(int=7).bytes], pyarrow.binary(16))
            ),
            str(uuid.UUID(int=7)),
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("field", ["prediction_id", "model_version", "model_name"])
def test_ids_and_names_follow_the_rules_of_json(
    tmp_path: Path, array: Any, id_: str, field: str
) -> None:
    convert(write(tmp_path, {field: array}), tmp_path / "log")
    assert predictions_of(tmp_path / "log")[0][field] == id_
    if field == "prediction_id":
        assert list(truths_of(tmp_path / "log")) == [id_]


@pytest.mark.parametrize(
    ("field", "array"),
    [
        ("prediction_id", A([1.0, 2.0])),
        ("model_version", A([1.1, 1.2])),
        ("prediction_id", A([True, False])),
        ("model_version", A([decimal.Decimal("1.10")] * 2)),
    ],
)
def test_an_id_with_a_point_is_rejected_as_in_json(tmp_path: Path, field: str, array: Any) -> None:
    summary = driftline.replay(write(tmp_path, {field: array}), out=tmp_path / "out").summary
    assert summary is not None
    assert summary.rejected["predictions"] == {"wrong_type": 2}


def test_structs_of_features_and_scores_are_keys(tmp_path: Path) -> None:
    columns = {
        "features": A([{"age": 3, "vector": [1.0]}, None]),
        "scores": A([{"yes": 0.7, "no": 0.3}, {"yes": None, "no": 1.0}]),
        "segment": A([{"plan": "pro"}, {"plan": None}]),
        "other": A([{"a": 1}, {"a": 2}]),
    }
    convert(write(tmp_path, columns), tmp_path / "log")
    first, second = predictions_of(tmp_path / "log")
    assert (first["features"], second["features"]) == ({"age": 3}, {"age": None})
    assert (first["scores"], second["scores"]) == ({"yes": 0.7, "no": 0.3}, {"no": 1.0})
    assert (first["segment"], second.get("segment")) == ({"plan": "pro"}, None)
    uses = uses_of(tmp_path / "log")
    assert uses["features.vector"].field is None
    assert uses["other"].why.startswith("a struct")


@pytest.mark.parametrize("order", [["a", "x", "a"], ["x", "a", "a"], ["a", "a", "x"]])
def test_columns_of_one_name_in_parquet(tmp_path: Path, order: list[str]) -> None:
    table = pyarrow.table(base(1))
    values = iter([A([10]), A([20])])
    for name in order:
        table = table.append_column(name, A([5]) if name == "x" else next(values))
    pyarrow.parquet.write_table(table, tmp_path / "table.parquet")
    with pytest.raises(LogError, match="two columns are called 'a'"):
        convert(tmp_path / "table.parquet", tmp_path / "log")
    convert(tmp_path / "table.parquet", tmp_path / "log", drop=("a#1",))
    assert predictions_of(tmp_path / "log")[0]["features"] == {"a": 20, "x": 5}
    convert(tmp_path / "table.parquet", tmp_path / "other", drop=("a#2",))
    assert predictions_of(tmp_path / "other")[0]["features"] == {"a": 10, "x": 5}


def test_text_that_is_no_utf8_names_the_column_and_the_way_out_works(tmp_path: Path) -> None:
    offsets = pyarrow.py_buffer(np.array([0, 1], np.int32).tobytes())
    broken = pyarrow.Array.from_buffers(
        pyarrow.string(), 1, [None, offsets, pyarrow.py_buffer(b"\xff")]
    )
    path = write(tmp_path, {"x": broken})
    with pytest.raises(LogError, match=r"column 'x' cannot be read after row 0 .*--drop x"):
        convert(path, tmp_path / "log")
    convert(path, tmp_path / "log", drop=("x",))
    assert len(predictions_of(tmp_path / "log")) == 1


@pytest.mark.parametrize("cut", [6, 100, 800])
def test_a_cut_off_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path, {"x": list(range(1_000))})
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(LogError, match="is no Parquet file that can be read"):
        convert(path, tmp_path / "log")


def test_a_damaged_page_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"x": [f"value {row}" for row in range(1_000)]})
    content = bytearray(path.read_bytes())
    content[600:5_000] = bytes(4_400)
    path.write_bytes(content)
    with pytest.raises(LogError):
        convert(path, tmp_path / "log")


FRAMES: list[Callable[[dict[str, Any]], Any]] = [
    pandas.DataFrame,
    polars.DataFrame,
    pyarrow.table,
    lambda columns: pyarrow.table(columns).to_reader(),
]


@pytest.mark.parametrize("frame", FRAMES)
def test_every_frame_gives_the_log_of_its_file(tmp_path: Path, frame: Any) -> None:
    columns = {
        "prediction_id": [1, 2, 3],
        "timestamp": [dt.datetime(2026, 1, 5, 0, row, tzinfo=dt.UTC) for row in range(3)],
        "model_name": ["m"] * 3,
        "model_version": ["1"] * 3,
        "score": [0.5, 0.25, 1.0],
        "label": ["1.10", "1.1", "NaN"],
        "threshold": [0.1, 0.9, 0.9],
        "zip": ["02139", "94105", ""],
        "days": [dt.timedelta(days=1), None, dt.timedelta(microseconds=1)],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "table.parquet")
    options: Any = {"config": {"defaults": {"windows": ["1d"]}}}
    one = driftline.replay(tmp_path / "table.parquet", out=tmp_path / "one", **options)
    two = driftline.replay(frame(columns), out=tmp_path / "two", **options)
    assert one.summary is not None and two.summary is not None  # noqa: PT018
    assert two.summary.lines == one.summary.lines == {"predictions": 3, "ground-truth": 2}
    assert [(use.column, use.field) for use in two.summary.columns] == [
        (use.column, use.field) for use in one.summary.columns
    ]
    for topic in ("metrics", "drift", "histograms"):
        name = f"{topic}.jsonl"
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


BROKEN: list[tuple[Callable[[], Any], str]] = [
    (lambda: pandas.DataFrame({"a": [1, "x"]}), "Conversion failed for column a"),
    (lambda: pandas.DataFrame({"a": [1 + 2j]}), "Conversion failed for column a"),
    (lambda: pandas.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate column names"),
    (lambda: pandas.DataFrame({"a": [object()]}), "Conversion failed for column a"),
    (lambda: pandas.DataFrame(), "no column for model_name"),
    (lambda: polars.DataFrame({"a": [[1]]}), "no column for model_name.*a is left out: a list"),
    (lambda: pandas.DataFrame({"a": pandas.period_range("2026", "2027", freq="Y")}), "no column"),
]


@pytest.mark.parametrize(("frame", "message"), BROKEN)
def test_a_frame_that_cannot_be_read_is_refused(frame: Callable[[], Any], message: str) -> None:
    with pytest.raises(LogError, match=message):
        driftline.replay(frame())
