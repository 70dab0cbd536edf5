"""Look at the newest records of a broker's topics, as `check.py` looks at a log."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from driftline.agents.doctor.broker import check_keys
from driftline.agents.input_check.check import check_log
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.tools.newest_records import write_newest
from driftline.agents.recorded.staged_input import partitions_of_log
from driftline.schemas.check_result import CheckResult
from driftline.schemas.input_check import InputCheck
from driftline.schemas.settings import Config

NEWEST_ROWS = 20_000


def check_newest(connection: Connection, config: Config, *, rows: int = NEWEST_ROWS) -> InputCheck:
    """What workers will understand of the newest records of a broker, read without a group.

    Parameters
    ----------
    rows
        Most records of each topic.

    Raises
    ------
    ExportError, KafkaException
        As `write_newest`.
    """
    ahead_ms = None if config.clock == "data" else _now_ms() + config.max_ahead_ms
    with tempfile.TemporaryDirectory(prefix="driftline-newest-") as folder:
        is_all = write_newest(connection, Path(folder), rows=rows, latest_ms=ahead_ms)
        found = check_log(
            Path(folder),
            config,
            partitions=partitions_of_log(Path(folder)),
            is_whole=is_all,
        )
    of_broker = _findings(connection, rows, is_all=is_all)
    return msgspec.structs.replace(found, findings=[*of_broker, *found.findings])


def _findings(connection: Connection, rows: int, *, is_all: bool) -> Iterator[CheckResult]:
    yield from (found for found in check_keys(connection, most=rows) if found.level != "ok")
    if not is_all:
        yield CheckResult(
            check="input",
            level="note",
            message="older records were not read, so truths of older predictions lack them",
            remedy="--rows reads more",
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
