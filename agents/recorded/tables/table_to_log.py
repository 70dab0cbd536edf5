"""A table turned into a recorded log: every row is a prediction, and a truth if it has a label.

The rows of a table have no order of arrival, so the log is sorted by event time: predictions by
theirs, truths by `label_timestamp` (by default the prediction's own time). The offset of a line is
the number of its row, from 0. Beside the log lies what became of each column.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from driftline.agents.garbage_collection import rarely_collecting
from driftline.agents.input_rules import with_rules
from driftline.agents.recorded.lines import LogError
from driftline.agents.recorded.sort_by_time import LinesByTime
from driftline.agents.recorded.tables.arrow_table import ArrowTable
from driftline.agents.recorded.tables.column_mapping import (
    KNOWN_NAMES,
    TRUTH_TIME,
    ColumnMapping,
    ColumnUse,
    Options,
    map_predictions,
    map_truths,
)
from driftline.agents.recorded.tables.csv_table import CsvTable
from driftline.agents.recorded.tables.file_content import is_parquet
from driftline.agents.recorded.tables.row_events import Event, RowEvents
from driftline.agents.recorded.tables.table import Table
from driftline.agents.recorded.tables.table_error import TableError
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

REPORTS_FILE: Final = "tables.jsonl"
_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines


class TableReport(Struct, frozen=True):
    """What became of a table.

    Attributes
    ----------
    columns
        What became of each column.
    notes
        Sentences about its rows and about how the table is written.
    """

    columns: tuple[ColumnUse, ...]
    notes: list[str]


_read_reports = msgspec.json.Decoder(TableReport).decode_lines


def open_table(path: Path) -> Table:
    """A table file.

    Raises
    ------
    LogError
        If it cannot be read.
    """
    if is_parquet(path):
        return ArrowTable(path, path.name, is_parquet=True)
    return CsvTable(path, KNOWN_NAMES)


def convert_table(
    table: Path,
    folder: Path,
    *,
    options: Options,
    missing_labels: Collection[str],
    progress: Callable[[int], None] | None = None,
    mapped: Callable[[Sequence[ColumnUse]], None] | None = None,
) -> None:
    """Write the recorded log of a table file, unless the folder exists, which is then complete.

    Parameters
    ----------
    table
        A .csv file with a header, or a .parquet file.
    folder
        The folder to make.
    options
        What the caller says about the columns.
    missing_labels
        Texts that stand for no label.
    progress
        Called with the number of rows so far.
    mapped
        Called before the rows are converted, with what became of each column.

    Raises
    ------
    LogError
        If the table cannot be read or a required column is missing; names the row at fault.
    """
    if folder.exists():
        for report in reports_of(folder):
            if mapped is not None:
                mapped(report.columns)
        return
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write_predictions(
            open_table(table),
            partial,
            options=options,
            missing_labels=missing_labels,
            progress=progress,
            mapped=mapped,
        )
    except LogError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(folder)


def reports_of(folder: Path) -> list[TableReport]:
    """What became of the tables that a log was made from; empty if of none."""
    path = folder / REPORTS_FILE
    return _read_reports(path.read_bytes()) if path.is_file() else []


def write_predictions(
    table: Table,
    folder: Path,
    *,
    options: Options,
    missing_labels: Collection[str],
    has_labels: bool = True,
    progress: Callable[[int], None] | None = None,
    mapped: Callable[[Sequence[ColumnUse]], None] | None = None,
) -> None:
    """Write the predictions of a table, and the truths of its rows with a label.

    Parameters
    ----------
    folder
        Folder of the log.
    has_labels
        False if the truths come from elsewhere: a label column is an error then, an id is
        required, and only the predictions are written.
    options, missing_labels, progress, mapped
        As for `convert_table`.

    Raises
    ------
    LogError
        If the table cannot be read or a required column is missing; names the row at fault.
    """
    mapping = map_predictions(table, options)
    if not has_labels:
        _check_joinable(mapping, table.name, options)
    if mapped is not None:
        mapped(mapping.uses)
    events = RowEvents(mapping, missing_labels)
    with (
        rarely_collecting(),
        closing(LinesByTime(folder)) as predictions,
        closing(LinesByTime(folder)) as truths,
    ):
        time_ms = number = untimed = 0
        for batch in table.batches(events.indexes):
            if progress is not None:
                progress(number)
            rows, truth_rows = events.of_batch(batch, number)
            # A row without a valid time keeps its place after the row before it; decoding rejects
            # it.
            times = _times(rows, time_ms)
            for time, line in zip(times, _lines(rows, number, table.name), strict=True):
                predictions.add(time, line)
            known = [
                _time_or(truth.get("timestamp"), time)
                for truth, time in zip(truth_rows, times, strict=True)
                if truth is not None
            ]
            for time, line in zip(known, _lines(truth_rows, number, table.name), strict=True):
                truths.add(time, line)
            untimed += sum(truth is not None and "timestamp" not in truth for truth in truth_rows)
            time_ms, number = times[-1], number + len(rows)
        predictions.write(folder / f"{PREDICTIONS}.jsonl")
        if has_labels:
            truths.write(folder / f"{GROUND_TRUTH}.jsonl")
    notes = _notes(table)
    if untimed and mapping.has(TRUTH_TIME):
        column = next(use.column for use in mapping.uses if use.field == TRUTH_TIME)
        note = (
            f"{table.name}: {untimed:,} rows have a label but no {column}, so when it became known "
            f"is not known, and it is rejected; fill {column}, or count every label as known with "
            f"its prediction: {options.drop_column(column)}"
        )
        notes.append(with_rules(note, "Tables"))
    _write_report(TableReport(mapping.uses, notes), folder)


def write_truths(
    table: Table,
    folder: Path,
    *,
    options: Options,
    missing_labels: Collection[str],
    mapped: Callable[[Sequence[ColumnUse]], None] | None = None,
) -> None:
    """Write the ground truth of a table of its own, sorted by its time; rows without a label have
    none.

    Raises
    ------
    LogError
        As `write_predictions`.
    """
    mapping = map_truths(table, options)
    if mapped is not None:
        mapped(mapping.uses)
    events = RowEvents(mapping, missing_labels)
    with rarely_collecting(), closing(LinesByTime(folder)) as truths:
        time_ms = number = 0
        for batch in table.batches(events.indexes):
            rows = events.truths_of_batch(batch)
            times = _times([row for row in rows if row is not None], time_ms)
            for time, line in zip(times, _lines(rows, number, table.name), strict=True):
                truths.add(time, line)
            time_ms, number = times[-1] if times else time_ms, number + len(rows)
        truths.write(folder / f"{GROUND_TRUTH}.jsonl")
    _write_report(TableReport(mapping.uses, _notes(table)), folder)


def _notes(table: Table) -> list[str]:
    notes = []
    if table.read_as:
        notes.append(with_rules(f"{table.name} was read as {table.read_as}", "Tables"))
    if table.blank_rows:
        note = f"{table.name}: {table.blank_rows:,} rows without any value were left out"
        notes.append(with_rules(note, "Tables"))
    return notes


def _write_report(report: TableReport, folder: Path) -> None:
    with (folder / REPORTS_FILE).open("ab") as file:
        file.write(_encode(report) + b"\n")


def _check_joinable(mapping: ColumnMapping, name: str, options: Options) -> None:
    if mapping.has("label"):
        raise TableError(
            f"{name}: has a column for label, and ground_truth is given too; "
            "leave one of the two out"
        )
    if not mapping.has("prediction_id"):
        raise TableError(
            f"{name}: no column for prediction_id, by which ground_truth is joined; "
            f"name it with {options.map('prediction_id', 'COLUMN')}"
        )


def _times(events: Sequence[Event], time_ms: int) -> list[int]:
    """Time of each event, that of the event before it where it has none."""
    times = []
    for event in events:
        time_ms = _time_or(event.get("timestamp"), time_ms)
        times.append(time_ms)
    return times


def _time_or(value: Any, before_ms: int) -> int:
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and value < 10**15
        else before_ms
    )


def _lines(events: Sequence[Event | None], first: int, table: str) -> list[bytes]:
    """Lines of a log for the events that are there; the number of a row is the offset."""
    values = [
        {"offset": offset, "value": event}
        for offset, event in enumerate(events, first)
        if event is not None
    ]
    try:
        return _encode_lines(values).split(b"\n")[:-1]
    except (TypeError, ValueError) as error:
        raise TableError(
            f"{table}: a value of rows {first} to {first + len(events) - 1} cannot be written as "
            f"JSON ({error}); convert the column, or leave it out with --drop"
        ) from error
