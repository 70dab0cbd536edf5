"""A table (CSV or Parquet) turned into a recorded log: every row is a prediction, and a truth where
it has a label.

The rows of a table have no order of arrival, so the log is sorted by event time: predictions by
theirs, truths by `label_timestamp` (by default the prediction's own time). The offset of a line is
the number of its row, from 0. Which column is which field is `layout.py`.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from driftline.agents.recorded.column_mapping import ColumnMapping
from driftline.agents.recorded.lines import LogError
from driftline.agents.recorded.sort_by_time import LinesByTime
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

SUFFIXES: Final = (".csv", ".parquet")
_REPORT_ROWS: Final = 10_000
_encode = msgspec.json.Encoder().encode


def is_table(source: Path) -> bool:
    """True for a file that this module reads."""
    return source.is_file() and source.suffix.lower() in SUFFIXES


def convert_table(
    table: Path,
    folder: Path,
    *,
    mapping: Mapping[str, str],
    segments: Sequence[str],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the recorded log of a table; a folder that is there already is complete and stays.

    Parameters
    ----------
    table
        A .csv file in UTF-8 with a header, or a .parquet file.
    folder
        The folder to make.
    mapping
        Column by field, "=text" for one value in every row.
    segments
        Dimensions that the configuration names.
    progress
        Called with the number of rows so far.

    Raises
    ------
    LogError
        If the table cannot be read or needed columns are missing; with the row where one is to
        blame.
    """
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_log(table, partial, mapping=mapping, segments=segments, progress=progress)
    except LogError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(folder)


def _write_log(
    table: Path,
    partial: Path,
    *,
    mapping: Mapping[str, str],
    segments: Sequence[str],
    progress: Callable[[int], None] | None,
) -> None:
    read = _csv_rows if table.suffix.lower() == ".csv" else _parquet_rows
    rows = read(table)
    layout = ColumnMapping.of(next(rows), mapping=mapping, segments=segments, table=table.name)
    with closing(LinesByTime(partial)) as predictions, closing(LinesByTime(partial)) as truths:
        time_ms = 0
        for number, values in enumerate(rows):
            prediction, truth = layout.events(values, number)
            # A row whose time is none keeps its place behind the row before it, and is refused
            # there.
            time_ms = _time_or(prediction.get("timestamp"), time_ms)
            predictions.add(time_ms, _line(prediction, number, table))
            if truth is not None:
                truths.add(_time_or(truth["timestamp"], time_ms), _line(truth, number, table))
            if progress is not None and number % _REPORT_ROWS == 0:
                progress(number)
        predictions.write(partial / f"{PREDICTIONS}.jsonl")
        truths.write(partial / f"{GROUND_TRUTH}.jsonl")


def _time_or(value: Any, before_ms: int) -> int:
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and value < 10**15
        else before_ms
    )


def _line(event: Mapping[str, Any], number: int, table: Path) -> bytes:
    try:
        return _encode({"offset": number, "value": event})
    except (TypeError, ValueError) as error:
        raise LogError(
            f"{table}: row {number} cannot be written as JSON ({error}); convert the column or leave it out"
        ) from error


def _csv_rows(table: Path) -> Iterator[Sequence[Any]]:
    """The header, then the rows."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        number = -1
        width = 0
        try:
            for row in reader:
                if number < 0:
                    width = len(row)
                elif len(row) != width:
                    if not row:
                        continue
                    raise LogError(
                        f"{table}: row {number} (line {reader.line_num}) has {len(row)} values, the header has {width}"
                    )
                yield row
                number += 1
        except csv.Error as error:
            raise LogError(
                f"{table}: row {max(number, 0)} (line {reader.line_num}) is no CSV: {error}"
            ) from error
        except UnicodeDecodeError as error:
            byte = f"{error.reason}: {error.object[error.start]:#04x}"
            raise LogError(
                f"{table}: is not UTF-8 somewhere after row {max(number, 0)} ({byte}); convert it to UTF-8"
            ) from error
        if number < 0:
            raise LogError(f"{table}: is empty; a header with the names of the columns is needed")


def _parquet_rows(table: Path) -> Iterator[Sequence[Any]]:
    """The column names, then the rows."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise LogError(
            f'{table}: reading Parquet needs pyarrow: pip install "driftline[parquet]"'
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(table) as file:
            yield file.schema_arrow.names
            for batch in file.iter_batches(batch_size=_REPORT_ROWS):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
    except pyarrow.ArrowException as error:
        raise LogError(f"{table}: is no Parquet file that can be read ({error})") from error
