"""Sends a recorded log to the input topics of a broker, as producers would.

The files are merged in the order of a log (`driftline.streams.log_order`), as in a replay, and a
plain file that is out of order is sorted first (`driftline.agents.recorded.row_order`). Ticks are
left out: workers write their own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.topics import UnusableTopics, describe
from driftline.agents.recorded.lines import LineFile, LogError
from driftline.agents.recorded.row_order import RowOrder, graces_ms, look, sort_file
from driftline.agents.recorded.sort_by_time import NUMBER_BYTES
from driftline.agents.recorded.topic_log import exported_value, is_exported
from driftline.schemas.decode import SIDE_DECODERS, decode_predictions, decode_truths
from driftline.schemas.settings import Config
from driftline.schemas.times import MAX_TIME_MS, parse_time
from driftline.schemas.topics import COMMANDS, GROUND_TRUTH, PREDICTIONS, TICKS
from driftline.streams.log_order import merge_sources

SENT_TOPICS: Final = (PREDICTIONS, GROUND_TRUTH, *COMMANDS)
FLUSH_S: Final = 120.0
PROGRESS_EVERY: Final = 10_000
_Sent = tuple[str, bytes | None, bytes]


def send_log(
    connection: Connection,
    folder: Path,
    *,
    per_second: float | None = None,
    keep_order: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    on_sorted: Callable[[str, RowOrder], None] | None = None,
) -> dict[str, int]:
    """Send a log; returns the number of records by topic once the broker has all of them.

    Parameters
    ----------
    folder
        Folder with `predictions.jsonl` and optionally `ground-truth.jsonl`,
        `registry-commands.jsonl` and `alert-commands.jsonl`, plain or exported.
    per_second
        Limit of records per second.
    keep_order
        Send a plain file in its order, whatever its event times are.
    on_progress
        Called every 10,000 records with the records sent and the event time reached, in ms.
    on_sorted
        Called with each topic whose rows are sent in another order than that of the file.

    Raises
    ------
    LogError
        If the folder has no predictions, or a file cannot be read.
    UnusableTopics
        If the broker lacks a topic.
    KafkaException
        If the broker does not accept a record.
    """
    files = {topic: path for topic in SENT_TOPICS if (path := folder / f"{topic}.jsonl").is_file()}
    if PREDICTIONS not in files:
        raise LogError(f"{folder} has no {PREDICTIONS}.jsonl; name the folder of a recorded log")
    there = describe(connection, map(connection.source, files))
    missing = [
        connection.name(source) for source in map(connection.source, files) if source not in there
    ]
    if missing:
        raise UnusableTopics(
            f"{connection.servers} has no topic {', '.join(missing)}; create it: driftline topics "
            "create"
        )
    with tempfile.TemporaryDirectory(prefix="driftline-sorted-") as sorted_files:
        orders = {} if keep_order else _sort(files, Path(sorted_files), connection.config)
        if on_sorted is not None:
            for topic, order in orders.items():
                on_sorted(topic, order)
        merged = merge_sources(
            _timed(
                topic,
                Path(sorted_files) / path.name if topic in orders else path,
                is_sorted=topic in orders,
            )
            for topic, path in files.items()
        )
        return _send(connection, merged, files, per_second, on_progress)


def _sort(files: dict[str, Path], folder: Path, config: Config) -> dict[str, RowOrder]:
    """Write the plain files that are out of order to a folder, sorted; their orders by topic."""
    orders = {}
    if not (files[PREDICTIONS].parent / f"{TICKS}.jsonl").is_file():
        for topic, grace_ms in graces_ms(config).items():
            if topic not in files or is_exported(files[topic]):
                continue
            order = look(files[topic], topic, grace_ms=grace_ms, latest_ms=MAX_TIME_MS)
            if order.sorted:
                orders[topic] = order
                sort_file(files[topic], topic, folder / files[topic].name, latest_ms=MAX_TIME_MS)
    return orders


def _send(
    connection: Connection,
    merged: Iterator[tuple[int, _Sent]],
    topics: Iterable[str],
    per_second: float | None,
    on_progress: Callable[[int, int], None] | None,
) -> dict[str, int]:
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = connection.producer(
        linger_ms=20, compression_type="lz4", enable_idempotence=True, on_delivery=delivered
    )
    counts = dict.fromkeys(topics, 0)
    began = time.monotonic()
    for sent, (at_ms, (topic, key, value)) in enumerate(merged, 1):
        while True:
            try:
                producer.produce(connection.name(connection.source(topic)), value, key=key)
                break
            except BufferError:  # its queue is full
                producer.poll(0.05)
        counts[topic] += 1
        if topic in COMMANDS:
            # The command must be on the topic before any row with a later time is sent: producers
            # keep no order between topics.
            producer.flush(FLUSH_S)
        if sent % PROGRESS_EVERY == 0 and on_progress is not None:
            on_progress(sent, at_ms)
        if per_second is not None:
            producer.poll(max(0.0, began + sent / per_second - time.monotonic()))
        elif sent % 1_000 == 0:
            producer.poll(0)
        if failed:
            raise KafkaException(failed[0])
    left = producer.flush(FLUSH_S)
    if failed or left:
        raise KafkaException(
            failed[0]
            if failed
            else KafkaError(KafkaError._TIMED_OUT, f"{left} records were not acknowledged")
        )
    return counts


def _timed(topic: str, path: Path, *, is_sorted: bool) -> Iterator[tuple[int, _Sent]]:
    """Event time in ms, topic, key and value of each line; time 0 and no key if it is invalid."""
    exported = not is_sorted and is_exported(path)
    decode = _DECODE[topic]
    with LineFile(path) as lines:
        while (portion := lines.read()) is not None:
            values = portion.values
            if exported:
                values = list(map(exported_value, values))
            elif is_sorted:
                values = [value[NUMBER_BYTES:] for value in values]
            rows, good, _ = decode(values, range(len(values)))
            known = dict(zip(good, rows, strict=True))
            for index, value in enumerate(values):
                row = known.get(index)
                if row is None:
                    yield 0, (topic, None, value)
                else:
                    yield _time_ms(row), (topic, _key(row), value)


def _key(row: Any) -> bytes:
    name = row.prediction_id if hasattr(row, "prediction_id") else row.model_name
    return str(name).encode()


def _time_ms(row: Any) -> int:
    return int(row.timestamp_ms) if hasattr(row, "timestamp_ms") else parse_time(row.timestamp)


_DECODE: Final[dict[str, Any]] = {
    PREDICTIONS: decode_predictions,
    GROUND_TRUTH: decode_truths,
    **SIDE_DECODERS,
}
