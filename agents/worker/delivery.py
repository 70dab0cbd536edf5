"""The records of a fetch, as deliveries of whole batches.

aiokafka makes one object of 12 fields per record, in Python; a task needs only keys, values,
offsets and timestamps as lists. Here a fetched record batch is unpacked by aiokafka's compiled
parser and read column by column: 0.9 microseconds of processor time a record with network and
checksums, against 2.1 (1,000,000 records of 150 bytes). Which records count follows
`PartitionRecords._unpack_records` of aiokafka 0.14: no control batches, with `read_committed` no
record of an aborted transaction, and no offset below the fetch position. When to fetch is
`fetch_wait.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords

from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.worker import bounded_codecs
from driftline.agents.worker.fetched_batches import DamagedBatch
from driftline.schemas.rejects import Reason, Reject
from driftline.schemas.topics import dlq_name

bounded_codecs.install()


def unpack_deliveries(
    result: FetchResult, topic: str, start: int, limit: int
) -> list[ReceivedRecords]:
    """Take all records of a fetch result, in deliveries of at most `limit` records, and move the
    fetch position past them.

    Parameters
    ----------
    topic
        Topic name of the deliveries.
    start
        First offset that has not been delivered: the fetch position, or less where only markers
        followed the last delivery.
    limit
        Records per delivery.

    Returns
    -------
    list of ReceivedRecords
        Empty where the fetch holds only markers and aborted records; the fetch position moves all
        the same.

    Notes
    -----
    A batch whose checksum is wrong, or that cannot be decompressed, is one record without key and
    value, at its first offset; `unreadable` of its delivery has the reason.
    """
    fetched = result._partition_records
    partition = result._topic_partition.partition
    log_end = result._assignment.state_value(result._topic_partition).lso
    offsets: list[int] = []
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    timestamps: list[int] = []
    unreadable: dict[int, Reject] = {}
    for batch in _record_batches(fetched, log_end):
        reject: Reject | None = None
        if isinstance(batch, DamagedBatch):
            after, timestamp = batch.next, 0
            text = "its checksum is wrong: it was changed on the broker's disk or on the way"
            reject = _rejected_batch(
                topic, partition, batch.first, after, "checksum", text, batch.payload
            )
        else:
            after, timestamp = batch.next_offset, batch.max_timestamp or 0
            try:
                records = list(batch)
            except bounded_codecs.UnreadableBatch as fault:
                reject = _rejected_batch(
                    topic,
                    partition,
                    max(batch.base_offset, fetched.next_fetch_offset),
                    after,
                    fault.reason,
                    str(fault),
                    fault.payload,
                )
        if reject is not None:
            unreadable[reject.offset] = reject
            offsets.append(reject.offset)
            keys.append(None)
            values.append(None)
            timestamps.append(timestamp)
            fetched.next_fetch_offset = after
            continue
        if records and records[0].offset < fetched.next_fetch_offset:
            # A fetch from inside a batch returns the whole batch.
            records = [record for record in records if record.offset >= fetched.next_fetch_offset]
        offsets += [record.offset for record in records]
        keys += [record.key for record in records]
        values += [record.value for record in records]
        timestamps += [record.timestamp for record in records]
        fetched.next_fetch_offset = batch.next_offset
    result._update_position()
    result._partition_records = None
    # The generator, which is never run here, and its owner refer to each other: only the garbage
    # collector would free the bytes of the fetch.
    fetched._records_iterator = None
    deliveries: list[ReceivedRecords] = []
    for low in range(0, len(offsets), limit):
        high = low + limit
        after = offsets[high] if high < len(offsets) else fetched.next_fetch_offset
        deliveries.append(
            ReceivedRecords(
                topic=topic,
                partition=result._topic_partition.partition,
                offsets=offsets[low:high],
                keys=keys[low:high],
                values=values[low:high],
                timestamps_ms=timestamps[low:high],
                start=start,
                next=after,
                unreadable=unreadable,
            )
        )
        start = after
    return deliveries


def _rejected_batch(
    topic: str,
    partition: int,
    first: int,
    after: int,
    reason: Reason,
    why: str,
    payload: bytes,
) -> Reject:
    records = "one record" if after == first + 1 else f"the records up to offset {after - 1}"
    return Reject(
        first,
        reason,
        f"{topic}[{partition}]@{first}: the batch with {records} cannot be read: {why}; "
        f"its place, size and SHA-256 sent to {dlq_name(topic)}",
        payload,
        after - first,
    )


def _record_batches(fetched: PartitionRecords, log_end: int) -> Iterator[Any]:
    """Batches with records for the reader, and damaged ones; the fetch position moves past all
    others.
    """
    while fetched._records.has_next():
        batch = fetched._records.next_checked(fetched.next_fetch_offset, log_end)
        if batch is None:
            continue
        if isinstance(batch, DamagedBatch):
            yield batch
            # It may have been the end of an aborted transaction. The next fetch says anew which
            # transactions were aborted.
            return
        if fetched._isolation_level == READ_COMMITTED and batch.producer_id is not None:
            fetched._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and fetched._contains_abort_marker(batch):
                fetched._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in fetched._aborted_producers:
                fetched.next_fetch_offset = batch.next_offset
                continue
        if batch.is_control_batch:
            fetched.next_fetch_offset = batch.next_offset
            continue
        yield batch
