"""A table with a row per prediction, its label beside it, made into a recorded log.

A column is claimed by a field through a mapping, or because it has the field's name or another system's name for it. What no
field claims is a feature. A table says nothing about the order in which things arrived, so the log is in the order of time.
Whether the values are acceptable is for the decoder, as with any other log.
"""

from __future__ import annotations

import csv
import datetime
import math
import mmap
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from schemas.names import ALIASES
from schemas.refusals import FIELDS
from schemas.times import parse_time
from schemas.topics import GROUND_TRUTH, PREDICTIONS

LABEL_TIME: Final = "label_timestamp"
GROUPS: Final = ("features", "segment", "scores", "tags")  # claimed one entry at a time: segment.plan=column
SUFFIXES: Final = (".csv", ".parquet")

_OBJECTS: Final = frozenset(GROUPS)
_PREDICTION: Final = tuple(name for name in FIELDS[PREDICTIONS] if name not in _OBJECTS)
_TRUTH: Final = ("label", LABEL_TIME, "source", "revision", "weight")
_ALIASES: Final = ALIASES[GROUND_TRUTH] | ALIASES[PREDICTIONS]
_TEXTS: Final = frozenset({"prediction_id", "model_name", "model_version", "status", "environment", "variant", "source"})
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_NO_ZONE: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(:\d\d(?:\.\d+)?)?)?")
_MISSING: Final = frozenset({"", "nan", "null", "none", "na"})
_encode: Final = msgspec.json.Encoder().encode

Row = Mapping[str, Any]


class TableError(Exception):
    """A table cannot be read as predictions; the message says what is missing and how to name it."""


def is_table(path: Path) -> bool:
    """Whether a path names a table rather than the folder of a log."""
    return path.suffix.lower() in SUFFIXES


def write_log(table: Path, folder: Path, mapping: Mapping[str, str]) -> list[str]:
    """Write a table as a recorded log: `predictions.jsonl` and `ground-truth.jsonl`, the same bytes every time.

    Parameters
    ----------
    table
        A .csv file with a heading, or a .parquet file.
    folder
        Where the log goes; it exists.
    mapping
        Field -> column. Fields are those of a prediction, `label`, `label_timestamp` (when the truth became known; by default with
        the prediction), and `segment.NAME`, `features.NAME`, `scores.CLASS`, `tags.NAME`.

    Returns
    -------
    list of str
        Sentences about what was assumed.

    Raises
    ------
    TableError
        If the table cannot be read or lacks what a prediction needs.
    """
    columns, rows = _read(table)
    claims = _claims(table, columns, mapping)
    notes, constants = _assumed(table, claims)
    with _Sorted(folder / f"{PREDICTIONS}.jsonl") as predictions, _Sorted(folder / f"{GROUND_TRUTH}.jsonl") as truths:
        for number, row in enumerate(rows, start=1):
            fields = {field: _value(field, row[column]) for field, column in claims.items()}
            prediction = _prediction({**constants, **fields}, number)
            predictions.add(prediction["timestamp"], prediction)
            if fields.get("label") is not None:
                truths.add(*_truth(prediction, fields))
    return notes


def _claims(table: Path, columns: list[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Field -> column, for every column."""
    known = {*_PREDICTION, *_TRUTH}
    for field, column in mapping.items():
        if field not in known and not _is_entry(field):
            raise TableError(
                f"{field!r} is no field; known are {', '.join(sorted(known))}, and NAME in {', '.join(f'{g}.NAME' for g in GROUPS)}"
            )
        if column not in columns:
            raise TableError(f"{table} has no column {column!r} for {field}; it has {', '.join(columns)}")
    claims = dict(mapping)
    taken = set(mapping.values())
    for column in columns:
        field = column if column in known else _ALIASES.get(column, column)
        if column not in taken:
            claims[field if field not in claims and (field in known or _is_entry(field)) else f"features.{column}"] = column
    return claims


def _is_entry(field: str) -> bool:
    group, dot, name = field.partition(".")
    return group in _OBJECTS and bool(dot and name)


def _assumed(table: Path, claims: Mapping[str, str]) -> tuple[list[str], dict[str, Any]]:
    """What is taken for granted where no column says it, in words and in fields."""
    if "timestamp" not in claims:
        raise TableError(f"{table} has no column for timestamp, when the model predicted; name it: --map timestamp=COLUMN")
    if not claims.keys() & {"score", "prediction", "status"} and not any(field.startswith("scores.") for field in claims):
        raise TableError(f"{table} has no column for score or prediction; name one: --map score=COLUMN")
    notes, constants = [], {}
    for field, value in (("model_name", table.stem), ("model_version", "1")):
        if field not in claims:
            constants[field] = value
            notes.append(f"no column for {field}: every row has {value!r}")
    if "prediction_id" not in claims:
        notes.append("no column for prediction_id: rows are numbered")
    if "label" not in claims:
        notes.append("no column for label: no truth is known; name it by --map label=COLUMN")
    elif LABEL_TIME not in claims:
        notes.append(f"no column for {LABEL_TIME}: each truth counts as known with its prediction, so every maturity says the same")
    features = sorted(field.removeprefix("features.") for field in claims if field.startswith("features."))
    if features:
        notes.append(f"features: {', '.join(features)}")
    return notes, constants


def _prediction(fields: Mapping[str, Any], number: int) -> dict[str, Any]:
    prediction: dict[str, Any] = {"prediction_id": f"row-{number}"}
    for field, value in fields.items():
        group, _, name = field.partition(".")
        if group == "features" or (value is not None and name):
            prediction.setdefault(group, {})[name] = value
        elif value is not None and field not in _TRUTH:
            prediction[field] = value
    prediction.setdefault("timestamp", None)
    return prediction


def _truth(prediction: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    at = fields.get(LABEL_TIME) or prediction["timestamp"]
    truth = {field: fields[field] for field in _TRUTH if field != LABEL_TIME and fields.get(field) is not None}
    return at, {"prediction_id": prediction["prediction_id"], **truth, "timestamp": at}


def _value(field: str, value: Any) -> Any:
    """A cell as the field needs it; None where it is missing."""
    if isinstance(value, str):
        if value.strip().lower() in _MISSING:
            return None
        if field in _TEXTS:
            return value
        return _time(value) if field in ("timestamp", LABEL_TIME) else _typed(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, datetime.datetime):
        at = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        return round(at.timestamp() * 1000)
    if isinstance(value, datetime.date):
        return value.isoformat() if field != "timestamp" else _time(value.isoformat())
    if isinstance(value, Decimal):
        return float(value)
    if field in _TEXTS or (field.startswith("segment.") and isinstance(value, float)):
        return str(int(value) if isinstance(value, float) and value.is_integer() else value)
    return value


def _typed(text: str) -> Any:
    """What a cell of text means: a number, true or false, or the text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    return float(text) if match[2] or match[3] else int(text)


def _time(text: str) -> Any:
    """A time as the decoder takes it; one without a zone is UTC."""
    if text.isdecimal():
        return int(text)
    match = _NO_ZONE.fullmatch(text.strip())
    if match is None:
        return text
    return f"{match[1]}T{match[2] or '00:00'}{match[3] or ':00'}Z"


def _read(table: Path) -> tuple[list[str], Iterable[Row]]:
    if table.suffix.lower() == ".parquet":
        return _read_parquet(table)
    with table.open(newline="", encoding="utf-8-sig") as file:
        try:
            columns = next(csv.reader(file), [])
        except (csv.Error, UnicodeDecodeError) as error:
            raise TableError(f"{table} is no table of comma-separated values in UTF-8: {error}") from error
    if len(set(columns)) != len(columns):
        raise TableError(f"{table} has two columns of the same name: {', '.join(columns)}")
    return columns, _csv_rows(table, columns)


def _csv_rows(table: Path, columns: list[str]) -> Iterator[Row]:
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        next(reader, None)
        try:
            for cells in reader:
                if len(cells) > len(columns):
                    raise TableError(f"{table}:{reader.line_num}: {len(cells)} cells under {len(columns)} headings")
                if cells:
                    yield dict(zip(columns, [*cells, *[""] * (len(columns) - len(cells))], strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise TableError(f"{table}:{reader.line_num}: {error}") from error


def _read_parquet(table: Path) -> tuple[list[str], Iterable[Row]]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        raise TableError('reading Parquet needs the extra: pip install "driftline[parquet]"') from error
    try:
        file = parquet.ParquetFile(table)
    except (ArrowInvalid, OSError) as error:
        raise TableError(f"{table} is no Parquet file: {error}") from error
    return list(file.schema_arrow.names), (row for batch in file.iter_batches() for row in batch.to_pylist())


class _Sorted:
    """A file of JSON lines that is written in any order and ends in the order of time; equal times keep their order.

    Rows wait in a file beside; in memory are a time and a place for each.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rough = path.with_suffix(".unsorted")
        self._file: BinaryIO = self._rough.open("wb")
        self._times = array("q")
        self._ends = array("q")
        self._length = 0

    def add(self, at: Any, row: Mapping[str, Any]) -> None:
        """Add a row; one without a readable time stays behind the row before it."""
        line = _encode(row) + b"\n"
        self._file.write(line)
        self._length += len(line)
        self._ends.append(self._length)
        try:
            self._times.append(parse_time(at))
        except (TypeError, ValueError):
            self._times.append(self._times[-1] if self._times else 0)

    def __enter__(self) -> _Sorted:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None:
            self._write()
        self._rough.unlink()

    def _write(self) -> None:
        order = sorted(range(len(self._times)), key=self._times.__getitem__)
        with self._path.open("wb") as out:
            if not order:
                return
            with self._rough.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as rough:
                for index in order:
                    out.write(rough[self._ends[index - 1] if index else 0 : self._ends[index]])
