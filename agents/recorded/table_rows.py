"""Rows of a table: a CSV or Parquet file, or a data frame that exports an Arrow stream.

The first item is the column names, every other one the values of a row. What the columns mean is
`column_mapping.py`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from driftline.agents.recorded.column_mapping import MAPPINGS
from driftline.agents.recorded.lines import LogError

if TYPE_CHECKING:
    import pyarrow

SUFFIXES: Final = (".csv", ".parquet")
BATCH_ROWS: Final = 10_000
# pandas gives this name to the column of an index without a name.
_UNNAMED_INDEX: Final = re.compile(r"__index_level_[0-9]+__")


@runtime_checkable
class ArrowStream(Protocol):
    """A data frame that exports an Arrow stream: of pandas, polars, pyarrow and others.

    References
    ----------
    The Arrow PyCapsule interface, https://arrow.apache.org/docs/format/CDataInterface.html
    """

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


def is_table(source: Path) -> bool:
    """Whether `source` is a file that `rows_of_file` reads."""
    return source.is_file() and source.suffix.lower() in SUFFIXES


def rows_of_file(table: Path) -> Iterator[Sequence[Any]]:
    """Column names and rows of a .csv file in UTF-8 with a header, or of a .parquet file.

    Raises
    ------
    LogError
        If the file cannot be read; names the row.
    """
    return _csv_rows(table) if table.suffix.lower() == ".csv" else _parquet_rows(table)


def rows_of_frame(frame: ArrowStream, name: str) -> Iterator[Sequence[Any]]:
    """Column names and rows of a data frame; an index without a name is left out.

    Parameters
    ----------
    name
        Name of the argument, for messages.

    Raises
    ------
    LogError
        If pyarrow is not installed, or the frame cannot be exported.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise LogError(
            f'{name}: reading a data frame needs pyarrow: pip install "driftline[parquet]"'
        ) from error
    try:
        reader = pyarrow.RecordBatchReader.from_stream(frame)
        columns = [name for name in reader.schema.names if not _UNNAMED_INDEX.fullmatch(name)]
        yield from _arrow_rows(
            reader.schema.empty_table().select(columns),
            (batch.select(columns) for batch in reader),
        )
    except pyarrow.ArrowException as error:
        raise LogError(f"{name}: {type(frame).__name__} cannot be read ({error})") from error


def _csv_rows(table: Path) -> Iterator[Sequence[Any]]:
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
                        f"{table}: row {number} (line {reader.line_num}) has {len(row)} values, "
                        f"the header has {width}"
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
                f"{table}: is not UTF-8 somewhere after row {max(number, 0)} ({byte}); "
                "convert it to UTF-8"
            ) from error
        if number < 0:
            raise LogError(f"{table}: is empty; a header with the names of the columns is needed")


def _parquet_rows(table: Path) -> Iterator[Sequence[Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise LogError(
            f'{table}: reading Parquet needs pyarrow: pip install "driftline[parquet]"'
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(table) as file:
            batches = file.iter_batches(batch_size=BATCH_ROWS)
            yield from _arrow_rows(file.schema_arrow.empty_table(), batches)
    except pyarrow.ArrowException as error:
        raise LogError(f"{table}: is no Parquet file that can be read ({error})") from error


def _arrow_rows(
    empty: pyarrow.Table, batches: Iterator[pyarrow.RecordBatch]
) -> Iterator[Sequence[Any]]:
    import pyarrow

    yield _with_keys(empty).column_names
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            part = _with_keys(pyarrow.Table.from_batches([batch.slice(start, BATCH_ROWS)]))
            yield from zip(*(_values(column) for column in part.columns), strict=True)


def _with_keys(table: pyarrow.Table) -> pyarrow.Table:
    """The table with a column "features.age" in place of the key "age" of a struct "features"."""
    import pyarrow

    columns: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name in MAPPINGS and pyarrow.types.is_struct(column.type):
            keys = [f"{name}.{field.name}" for field in column.type]
            columns |= dict(zip(keys, column.flatten(), strict=True))
        else:
            columns[name] = column
    return pyarrow.table(columns)


def _values(column: pyarrow.ChunkedArray) -> list[Any]:
    import pyarrow

    # Without pandas, pyarrow gives no datetime for nanoseconds; times end at the millisecond here.
    if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pyarrow.timestamp("us", column.type.tz), safe=False)
    return column.to_pylist()
