"""A table turned into a recorded log: every row is a prediction, and a truth if it has a label.

The rows of a table have no order of arrival, so the log is sorted by event time: predictions by
theirs, truths by `label_timestamp` (by default the prediction's own time). The offset of a line is
the number of its row, from 0. Reading the rows is `table_rows.py`, which column is which field
`column_mapping.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from driftline.agents.recorded.column_mapping import ColumnMapping
from driftline.agents.recorded.lines import LogError
from driftline.agents.recorded.sort_by_time import LinesByTime
from driftline.agents.recorded.table_rows import BATCH_ROWS, rows_of_file
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

_encode = msgspec.json.Encoder().encode


def convert_table(
    table: Path,
    folder: Path,
    *,
    mapping: Mapping[str, str],
    segments: Sequence[str],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the recorded log of a table file, unless the folder exists, which is then complete.

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
        If the table cannot be read or a required column is missing; names the row at fault.
    """
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write_predictions(
            rows_of_file(table),
            partial,
            name=table.name,
            mapping=mapping,
            segments=segments,
            progress=progress,
        )
    except LogError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(folder)


def write_predictions(
    rows: Iterator[Sequence[Any]],
    folder: Path,
    *,
    name: str,
    mapping: Mapping[str, str],
    segments: Sequence[str],
    option: str = "--map",
    has_labels: bool = True,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the predictions of a table, and the truths of its rows with a label.

    Parameters
    ----------
    rows
        Column names, then rows.
    folder
        Folder of the log.
    name
        Name of the table, for messages.
    option
        How the caller passes `mapping`, for messages.
    has_labels
        False if the truths come from elsewhere: a label column is an error then, an id is
        required, and only the predictions are written.
    mapping, segments, progress
        As for `convert_table`.

    Raises
    ------
    LogError
        If the table cannot be read or a required column is missing; names the row at fault.
    """
    columns = ColumnMapping.of(
        next(rows), mapping=mapping, segments=segments, table=name, option=option
    )
    if not has_labels:
        _check_joinable(columns, name)
    with closing(LinesByTime(folder)) as predictions, closing(LinesByTime(folder)) as truths:
        time_ms = 0
        for number, values in enumerate(rows):
            prediction, truth = columns.events(values, number)
            # A row without a valid time keeps its place after the row before it; decoding rejects
            # it.
            time_ms = _time_or(prediction.get("timestamp"), time_ms)
            predictions.add(time_ms, _line(prediction, number, name))
            if truth is not None:
                truths.add(_time_or(truth["timestamp"], time_ms), _line(truth, number, name))
            if progress is not None and number % BATCH_ROWS == 0:
                progress(number)
        predictions.write(folder / f"{PREDICTIONS}.jsonl")
        if has_labels:
            truths.write(folder / f"{GROUND_TRUTH}.jsonl")


def write_truths(
    rows: Iterator[Sequence[Any]],
    folder: Path,
    *,
    name: str,
    mapping: Mapping[str, str],
    option: str,
) -> None:
    """Write the ground truth of a table of its own, sorted by its time; rows without a label have
    none.

    Raises
    ------
    LogError
        As `write_predictions`.
    """
    columns = ColumnMapping.of_truths(next(rows), mapping=mapping, table=name, option=option)
    indexes = columns.indexes
    with closing(LinesByTime(folder)) as truths:
        time_ms = 0
        for number, values in enumerate(rows):
            truth = columns.truth([values[index] for index in indexes])
            if truth is not None:
                time_ms = _time_or(truth.get("timestamp"), time_ms)
                truths.add(time_ms, _line(truth, number, name))
        truths.write(folder / f"{GROUND_TRUTH}.jsonl")


def _check_joinable(columns: ColumnMapping, name: str) -> None:
    if columns.has("label"):
        raise LogError(
            f"{name}: has a column for label, and ground_truth is given too; "
            "leave one of the two out"
        )
    if not columns.has("prediction_id"):
        raise LogError(
            f"{name}: no column for prediction_id, by which ground_truth is joined; "
            "name it with mapping={'prediction_id': 'COLUMN'}"
        )


def _time_or(value: Any, before_ms: int) -> int:
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and value < 10**15
        else before_ms
    )


def _line(event: Mapping[str, Any], number: int, table: str) -> bytes:
    try:
        return _encode({"offset": number, "value": event})
    except (TypeError, ValueError) as error:
        raise LogError(
            f"{table}: row {number} cannot be written as JSON ({error}); "
            "convert the column or leave it out"
        ) from error
