"""Drawn tables against slow code of the rules; drawn types and damage against a traceback."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import random
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from driftline.agents.recorded.lines import LogError
from driftline.schemas.decode import decode_predictions, decode_truths
from tests.agents import drawn_tables
from tests.agents.tables import convert, lines_of, predictions_of, truths_of, uses_of
from tests.seeds import quick_and_slow

OF_A_SEED = 50


@pytest.mark.parametrize("seed", quick_and_slow(range(30), 1))
def test_a_drawn_csv_is_read_as_its_author_means_it(tmp_path: Path, seed: int) -> None:
    for number in range(seed * OF_A_SEED, (seed + 1) * OF_A_SEED):
        drawn, rng = drawn_tables.draw(number)
        content, unnamed = drawn_tables.csv_of(drawn, rng)
        log, table = tmp_path / str(number), tmp_path / f"{number}.csv"
        table.write_bytes(content)
        convert(table, log)
        predictions, truths = drawn_tables.expected(drawn)
        assert predictions_of(log) == predictions, number
        assert truths_of(log) == truths, number
        assert [use.column for use in uses_of(log).values() if use.field is None] == unnamed, number


SCALARS = [
    pyarrow.int8(),
    pyarrow.uint64(),
    pyarrow.float16(),
    pyarrow.float32(),
    pyarrow.float64(),
    pyarrow.bool_(),
    pyarrow.string(),
    pyarrow.large_string(),
    pyarrow.string_view(),
    pyarrow.binary(),
    pyarrow.binary_view(),
    pyarrow.binary(3),
    pyarrow.decimal32(5, 2),
    pyarrow.decimal128(38, 0),
    pyarrow.decimal256(60, 5),
    pyarrow.date32(),
    pyarrow.date64(),
    pyarrow.time32("ms"),
    pyarrow.time64("ns"),
    *(pyarrow.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC")),
    *(pyarrow.duration(unit) for unit in ("s", "ms", "us", "ns")),
    pyarrow.null(),
    pyarrow.month_day_nano_interval(),
]


def drawn_type(rng: random.Random, depth: int = 0) -> Any:
    """Any Arrow type, nested at most twice."""
    scalar = rng.choice(SCALARS)
    if depth == 2 or rng.random() < 0.6:
        return scalar
    inner = drawn_type(rng, depth + 1)
    kinds = [
        lambda: pyarrow.list_(inner),
        lambda: pyarrow.large_list(inner),
        lambda: pyarrow.list_(inner, 2),
        lambda: pyarrow.map_(pyarrow.string(), inner),
        lambda: pyarrow.struct([("a", inner), ("b", scalar)]),
        lambda: pyarrow.dictionary(pyarrow.int16(), pyarrow.string()),
        lambda: pyarrow.dictionary(pyarrow.int8(), pyarrow.int64()),
    ]
    return rng.choice(kinds)()


def drawn_value(rng: random.Random, type_: Any) -> Any:
    """A value of a type, often an extreme one, or None."""
    is_a = pyarrow.types
    if rng.random() < 0.2 or is_a.is_null(type_):
        return None
    if is_a.is_dictionary(type_):
        return drawn_value(rng, type_.value_type)
    if is_a.is_map(type_):
        return [(f"k{key}", drawn_value(rng, type_.item_type)) for key in range(rng.randrange(3))]
    if is_a.is_fixed_size_list(type_):
        return [drawn_value(rng, type_.value_type) for _ in range(2)]
    if is_a.is_list(type_) or is_a.is_large_list(type_):
        return [drawn_value(rng, type_.value_type) for _ in range(rng.randrange(3))]
    if is_a.is_struct(type_):
        return {field.name: drawn_value(rng, field.type) for field in type_}
    if is_a.is_boolean(type_):
        return rng.random() < 0.5
    if is_a.is_decimal(type_):
        return decimal.Decimal(rng.randrange(-999, 999)).scaleb(-type_.scale)
    if is_a.is_floating(type_):
        return rng.choice([0.0, -1.5, float("nan"), float("inf"), 1e30, rng.random()])
    if is_a.is_integer(type_):
        return rng.choice([0, 1, 100, 127])
    if is_a.is_string(type_) or is_a.is_large_string(type_) or is_a.is_string_view(type_):
        return rng.choice(["", " ", "a", "NaN", "007", "é" * 50, "\0", "\x1b[31m", "x" * 3_000])
    if is_a.is_fixed_size_binary(type_):
        return rng.choice([b"abc", b"\xff\xfe\x00"])
    if is_a.is_binary(type_) or is_a.is_binary_view(type_):
        return rng.choice([b"", b"abc", b"\xff\xfe"])
    if is_a.is_interval(type_):
        return pyarrow.MonthDayNano([1, 2, 3])
    if is_a.is_date(type_):
        return rng.choice([dt.date(1, 1, 1), dt.date(2026, 1, 5), dt.date(9999, 12, 31)])
    if is_a.is_time32(type_):
        return rng.choice([0, 86_399_999])
    if is_a.is_time64(type_):
        return rng.choice([0, 86_399_999_999_999])
    return rng.choice([0, -1, 1_767_571_200_000, 2**62, -(2**62)])  # a timestamp or duration


FIELDS = ["prediction_id", "timestamp", "score", "label", "model_name", "model_version"]
OTHERS = [
    "threshold",
    "status",
    "weight",
    "source",
    "label_timestamp",
    "latency_ms",
    "revision",
    "retracted",
    "prediction",
    "features",
    "segment",
    "scores",
    "tags",
    "plan",
    "x",
    "",
    "x",
]


@pytest.mark.parametrize("seed", quick_and_slow(range(30), 1))
def test_a_drawn_parquet_ends_in_events_or_a_refusal(tmp_path: Path, seed: int) -> None:
    for number in range(seed * OF_A_SEED, (seed + 1) * OF_A_SEED):
        rng = random.Random(number)
        n = rng.choice([0, 1, 5])
        plain: dict[str, Any] = {
            "prediction_id": [f"p{row}" for row in range(n)],
            "timestamp": [1_767_571_200_000 + row for row in range(n)],
            "score": [0.5] * n,
            "label": ["yes"] * n,
            "model_name": ["m"] * n,
            "model_version": ["1"] * n,
        }
        names = FIELDS + rng.sample(OTHERS, rng.randrange(6))
        arrays = []
        for name in names:
            if name in plain and rng.random() < 0.7:
                arrays.append(pyarrow.array(plain[name]))
                continue
            type_ = drawn_type(rng)
            arrays.append(pyarrow.array([drawn_value(rng, type_) for _ in range(n)], type_))
        table = tmp_path / f"{number}.parquet"
        try:
            pyarrow.parquet.write_table(pyarrow.table(arrays, names=names), table)
        except pyarrow.ArrowException:
            continue  # Parquet has no such type
        _check(table, tmp_path / str(number), n)


@pytest.mark.parametrize("seed", quick_and_slow(range(30), 1))
def test_a_damaged_csv_ends_in_events_or_a_refusal(tmp_path: Path, seed: int) -> None:
    for number in range(seed * OF_A_SEED, (seed + 1) * OF_A_SEED):
        drawn, rng = drawn_tables.draw(number)
        content = bytearray(drawn_tables.csv_of(drawn, rng)[0])
        for _ in range(rng.randrange(1, 6)):
            place = rng.randrange(len(content))
            match rng.randrange(4):
                case 0:
                    content[place] = rng.randrange(256)
                case 1:
                    del content[place : place + rng.randrange(1, 20)]
                case 2:
                    content[place:place] = rng.choice([b'"', b"'", b"\n", b"\r", b",", b"\0", b";"])
                case _:
                    content[place:place] = content[: rng.randrange(30)]
            content = content or bytearray(b"x")
        table = tmp_path / f"{number}.csv"
        table.write_bytes(content)
        _check(table, tmp_path / str(number), None)


def _check(table: Path, log: Path, n: int | None) -> None:
    """The table is refused with a message, or each row of it is a line that decodes or is rejected
    with a reason.
    """
    try:
        convert(table, log, segments=("plan",))
    except LogError:
        assert not log.exists()
        return
    lines = lines_of(log)
    if n is not None:
        assert len(lines["predictions"]) == n
    for topic, decode in (("predictions", decode_predictions), ("ground-truth", decode_truths)):
        values = [json.dumps(line["value"]).encode() for line in lines[topic]]
        rows, _, rejects = decode(values, range(len(values)))
        assert len(rows) + len(rejects) == len(values)
        assert not [reject for reject in rejects if reject.reason == "not_json"]
