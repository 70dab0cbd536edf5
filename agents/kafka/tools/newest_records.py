"""The newest predictions and ground truth of a broker as a recorded log, read without a group.

The log has the form and the order of an export, without ticks. Records that are too far ahead of
the clock are marked as rejected, as a worker rejects them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import offset_ranges, read_records
from driftline.agents.kafka.tools.export import ExportError, Rejects, exported_line, write_lines
from driftline.agents.recorded.export_manifest import ExportManifest, Range
from driftline.agents.recorded.log_files import decoders
from driftline.agents.recorded.topic_log import LiveReject
from driftline.schemas.labels import MISSING_LABELS
from driftline.schemas.times import MAX_TIME_MS
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from driftline.streams.log_order import merge_sources

TOPICS: Final = (PREDICTIONS, GROUND_TRUTH)


def write_newest(connection: Connection, out: Path, *, rows: int, latest_ms: int | None) -> bool:
    """Write the newest records of both topics to a folder; gives whether there are no older ones.

    Parameters
    ----------
    out
        The folder, which is empty.
    rows
        Most records of each topic, an equal share from each partition.
    latest_ms
        Event time in ms after which a record is marked as rejected; None for no limit.

    Raises
    ------
    ExportError
        If the broker lacks the predictions or the ground truth topic.
    KafkaException
        If the broker does not answer.
    """
    there = offset_ranges(connection, TOPICS)
    counts: dict[str, int] = {}
    ranges: list[Range] = []
    for topic in TOPICS:
        if not there[topic]:
            raise ExportError(
                f'the broker has no topic "{connection.name(topic)}"; `driftline topics list` '
                "shows the topics"
            )
        newest = [_newest(part, rows // len(there[topic])) for part in there[topic]]
        merged = merge_sources(_timed_lines(connection, part, latest_ms) for part in newest)
        lines = (line for _, line in merged)
        counts[topic] = write_lines(out, topic, lines, lambda name, written: None)
        ranges += newest
    partitions = len(there[PREDICTIONS])
    ExportManifest(None, None, partitions, ranges, counts).write(out)
    return ranges == [part for topic in TOPICS for part in there[topic]]


def _newest(part: Range, rows: int) -> Range:
    """The last offsets of a range, at least one."""
    return msgspec.structs.replace(part, start=max(part.start, part.end - max(rows, 1)))


def _timed_lines(
    connection: Connection, part: Range, latest_ms: int | None
) -> Iterator[tuple[int, bytes]]:
    """Event time in ms and line of each record; time 0 for an invalid record."""
    decode = decoders(latest_ms or MAX_TIME_MS, MISSING_LABELS)[part.topic][0]
    for records in read_records(connection, part):
        offsets = [record.offset for record in records]
        values = [record.value if record.has_value else None for record in records]
        rows, good, rejects = decode(values, offsets, notes=None)
        times = {index: row.timestamp_ms for index, row in zip(good, rows, strict=True)}
        ahead: Rejects = {
            (part.partition, reject.offset): LiveReject(reject.reason, reject.error)
            for reject in rejects
            if reject.reason == "too_far_ahead"
        }
        for index, record in enumerate(records):
            yield times.get(index, 0), exported_line(record, ahead)
