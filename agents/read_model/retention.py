"""How much an index keeps: a number of windows of each series, of drift results of each model
version, and of other records of each topic. The oldest go first.
"""

from __future__ import annotations

import sqlite3
from typing import Literal

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """What is kept at least; a little more is kept between two clean-ups.

    Attributes
    ----------
    windows
        Number of windows of a series (model, version, segment, lane, window, maturity): a year of
        hours has 8,760.
    drift_results
        Number of results of a model version, over all targets and methods.
    records
        Number of records of any other topic.
    """

    windows: int = 10_000
    drift_results: int = 10_000
    records: int = 100_000


def trim_series(
    connection: sqlite3.Connection,
    table: Literal["figures", "histograms"],
    series_id: int,
    limits: Limits,
) -> None:
    """Delete the oldest windows of a series."""
    connection.execute(
        f"DELETE FROM {table} WHERE series_id = :series AND start_ms <="
        f" (SELECT start_ms FROM {table} WHERE series_id = :series"
        " ORDER BY start_ms DESC LIMIT 1 OFFSET :kept)",
        {"series": series_id, "kept": limits.windows},
    )


def trim_drift(
    connection: sqlite3.Connection, model_name: str, model_version: str, limits: Limits
) -> None:
    """Delete the oldest windows of drift of a model version; a window goes as a whole."""
    names = {"model": model_name, "version": model_version, "kept": limits.drift_results}
    own = "SELECT target_id FROM targets WHERE model_name = :model AND model_version = :version"
    connection.execute(
        f"DELETE FROM drift WHERE target_id IN ({own}) AND start_ms <"
        f" (SELECT start_ms FROM drift WHERE target_id IN ({own})"
        " ORDER BY start_ms DESC LIMIT 1 OFFSET :kept - 1)",
        names,
    )


def trim_records(connection: sqlite3.Connection, topic: str, limits: Limits) -> None:
    """Delete the oldest records of a topic, but for the newest of each key."""
    connection.execute(
        "DELETE FROM records WHERE topic = :topic AND sequence <="
        " (SELECT sequence FROM records WHERE topic = :topic"
        " ORDER BY sequence DESC LIMIT 1 OFFSET :kept) AND EXISTS (SELECT 1 FROM records AS later"
        " WHERE later.topic = records.topic AND later.key = records.key"
        " AND later.sequence > records.sequence)",
        {"topic": topic, "kept": limits.records},
    )
