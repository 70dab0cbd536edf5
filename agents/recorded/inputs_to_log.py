"""Predictions and ground truth as a caller of the Python API holds them, made into a recorded log.

Each of the two is a file of JSON lines, a table (file or data frame) or rows as dictionaries. JSON
lines and dictionaries keep their order, which the run judges (`row_order.py`); tables have none and
are sorted by event time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from driftline.agents.recorded.lines import LogError
from driftline.agents.recorded.tables.arrow_table import ArrowStream, spool
from driftline.agents.recorded.tables.column_mapping import TRUTH_TIME, ColumnUse, Options
from driftline.agents.recorded.tables.file_content import COMPRESSED, SUFFIXES, is_table
from driftline.agents.recorded.tables.table import Table
from driftline.agents.recorded.tables.table_error import TableError
from driftline.agents.recorded.tables.table_to_log import (
    open_table,
    write_predictions,
    write_truths,
)
from driftline.agents.recorded.tables.written_values import beyond_float, json_time
from driftline.schemas.aliases import ALIASES
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

Rows: TypeAlias = str | PathLike[str] | ArrowStream | Iterable[Mapping[str, Any]]
"""A path, a data frame that exports an Arrow stream, or rows as dictionaries."""

PREDICTIONS_NAME: Final = "predictions"
TRUTHS_NAME: Final = "ground_truth"
"""The arguments of `driftline.replay`, for messages."""
JSON_LINES: Final = (".jsonl", ".ndjson")
_KINDS: Final = (
    "pass a path (.jsonl, .csv, .parquet), a list of dictionaries, or a data frame of pandas, "
    "polars or pyarrow"
)
_LABELS: Final = frozenset({"label", TRUTH_TIME}) | {
    alias for alias, field in ALIASES[GROUND_TRUTH].items() if field == "label"
}


def write_log(
    predictions: Rows,
    ground_truth: Rows | None,
    folder: Path,
    *,
    options: Options,
    ground_truth_mapping: Mapping[str, str],
    missing_labels: Collection[str],
    mapped: Callable[[Sequence[ColumnUse]], None] | None = None,
) -> None:
    """Write a recorded log.

    Parameters
    ----------
    predictions
        Predictions; a table may hold the labels too.
    ground_truth
        Ground truth, joined by `prediction_id`; None if the labels are in the table of predictions,
        or if there are none.
    folder
        The folder of the log, empty.
    options
        What the caller says about the columns of a table of predictions.
    ground_truth_mapping
        Column by field of a table of ground truth, "=text" for one value in every row.
    missing_labels
        Texts that stand for no label.
    mapped
        Called for each table before its rows are converted, with what became of each column.

    Raises
    ------
    LogError
        If an input cannot be read; names the argument or file, and the row at fault.
    """
    table = _table(predictions, PREDICTIONS_NAME, folder)
    if table is not None:
        write_predictions(
            table,
            folder,
            options=options,
            missing_labels=missing_labels,
            has_labels=ground_truth is None,
            mapped=mapped,
        )
        _copy(PREDICTIONS_NAME, folder).unlink(missing_ok=True)
    else:
        for argument in ("mapping", "features", "drop"):
            _check_unmapped(getattr(options, argument), argument, PREDICTIONS_NAME)
        _write_events(
            predictions,
            folder / f"{PREDICTIONS}.jsonl",
            PREDICTIONS_NAME,
            unlabelled=ground_truth is None,
        )
    if ground_truth is None:
        (folder / f"{GROUND_TRUTH}.jsonl").touch()  # a table has written it
        return
    table = _table(ground_truth, TRUTHS_NAME, folder)
    if table is not None:
        write_truths(
            table,
            folder,
            options=Options(mapping=ground_truth_mapping, option="ground_truth_mapping"),
            missing_labels=missing_labels,
            mapped=mapped,
        )
        _copy(TRUTHS_NAME, folder).unlink(missing_ok=True)
    else:
        _check_unmapped(ground_truth_mapping, "ground_truth_mapping", TRUTHS_NAME)
        _write_events(ground_truth, folder / f"{GROUND_TRUTH}.jsonl", TRUTHS_NAME)


def _table(source: Rows, name: str, folder: Path) -> Table | None:
    """A table; None for JSON lines and dictionaries."""
    if isinstance(source, str | PathLike):
        path = Path(source)
        if not path.exists():
            raise LogError(f"{name}: there is no file {path}")
        if is_table(path):
            return open_table(path)
        if not path.is_file() or path.suffix.lower() not in JSON_LINES:
            known = ", ".join((*JSON_LINES, *SUFFIXES))
            raise TableError(
                f"{name}: {path} is not a file that can be read ({known}; the latter also with "
                f"{' or '.join(COMPRESSED)})"
            )
        return None
    return spool(source, name, _copy(name, folder)) if isinstance(source, ArrowStream) else None


def _copy(name: str, folder: Path) -> Path:
    """Where a data frame is copied to while it is read."""
    return folder / f"{name}.arrow"


def _check_unmapped(given: Collection[str], option: str, name: str) -> None:
    if given:
        raise TableError(
            f"{option}: {name} is no table; only columns of a table or data frame are mapped"
        )


def _write_events(source: Rows, path: Path, name: str, *, unlabelled: bool = False) -> None:
    """Write one line for each dictionary; a file of JSON lines is linked, not copied."""
    if isinstance(source, str | PathLike):
        path.symlink_to(Path(source).resolve())
        return
    if isinstance(source, Mapping | bytes) or not isinstance(source, Iterable):
        raise LogError(f"{name}: is {type(source).__name__}; {_KINDS}")
    encode = msgspec.json.Encoder(enc_hook=_plain).encode
    with path.open("wb") as file:
        for number, row in enumerate(source):
            if not isinstance(row, Mapping):
                raise LogError(f"{name}[{number}]: is {type(row).__name__}, not a dictionary")
            if unlabelled and not _LABELS.isdisjoint(row):
                raise LogError(
                    f"{name}[{number}]: has a label, which dictionaries of predictions cannot have;"
                    " pass the labels as ground_truth, or pass a data frame, whose rows may have "
                    "both"
                )
            try:
                file.write(encode({key: _event_value(value) for key, value in row.items()}) + b"\n")
            except (TypeError, ValueError) as error:
                raise LogError(
                    f"{name}[{number}]: cannot be written as JSON ({error}); convert the value"
                ) from error


def _event_value(value: Any) -> Any:
    """Times and infinite numbers as in a table: a time without an offset is UTC. Not-a-time and NaN
    are missing.
    """
    if isinstance(value, float):
        return beyond_float(value)
    if isinstance(value, Mapping):
        return {key: _event_value(each) for key, each in value.items()}
    if isinstance(value, date):
        return None if value != value else json_time(value)
    return value


def _plain(value: Any) -> Any:
    """A scalar of numpy or the like as a Python value."""
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return _event_value(item())
