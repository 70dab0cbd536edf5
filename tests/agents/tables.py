"""Tables made into recorded logs, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from driftline.agents.recorded.tables.column_mapping import ColumnUse, Options
from driftline.agents.recorded.tables.table_to_log import convert_table, reports_of
from driftline.schemas.labels import MISSING_LABELS


def convert(
    table: Path,
    log: Path,
    mapping: dict[str, str] | None = None,
    segments: tuple[str, ...] = (),
    **options: Any,
) -> None:
    """Convert a table file to the folder `log`."""
    given = Options(mapping=mapping or {}, segments=segments, **options)
    convert_table(table, log, options=given, missing_labels=MISSING_LABELS)


def lines_of(log: Path) -> dict[str, list[Any]]:
    """Lines of each topic of a log."""
    topics = ("predictions", "ground-truth")
    return {
        topic: [json.loads(line) for line in (log / f"{topic}.jsonl").read_bytes().splitlines()]
        for topic in topics
    }


def predictions_of(log: Path) -> list[dict[str, Any]]:
    """Predictions of a log, in the order of the table's rows."""
    lines = sorted(lines_of(log)["predictions"], key=lambda line: line["offset"])
    return [line["value"] for line in lines]


def truths_of(log: Path) -> dict[str, dict[str, Any]]:
    """Truths of a log by prediction id."""
    return {line["value"]["prediction_id"]: line["value"] for line in lines_of(log)["ground-truth"]}


def uses_of(log: Path) -> dict[str, ColumnUse]:
    """What became of each column of the table that a log was made from."""
    return {use.column: use for report in reports_of(log) for use in report.columns}


def notes_of(log: Path) -> list[str]:
    """Notes on the table that a log was made from."""
    return [note for report in reports_of(log) for note in report.notes]
