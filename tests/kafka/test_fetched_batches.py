"""Damaged batches of a fetch: which offsets they take, whatever byte of them is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from driftline.agents.worker.fetched_batches import DamagedBatch, FetchedBatches

#   offset  0 .. 4      5 .. 9      10 .. 14
#           [ whole )   [ damaged ) [ whole )
RECORDS = 5
LOG_END = 15
Fault = Callable[[bytearray], None]


def batch(base: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 100_000)
    for number in range(RECORDS):
        builder.append(number, 1_000 + number, b"k%d" % number, b"v" * 20, [])
    data = bytearray(builder.build())
    data[:8] = base.to_bytes(8, "big")
    return bytes(data)


def flip(at: int, bits: int) -> Fault:
    def change(data: bytearray) -> None:
        data[at] ^= bits

    return change


FAULTS: dict[str, Fault] = {
    "value": flip(90, 1),
    "format": flip(16, 2),
    "attributes": flip(22, 0x20),
    "more records by the last offset": flip(26, 0x10),
    "fewer records by the last offset": flip(26, 0x04),
    "more records by the count": flip(60, 0x10),
}


def read(data: bytes, position: int, log_end: int = LOG_END) -> list[Any]:
    """First and next offset of each batch, with "damaged" for damaged ones."""
    batches = FetchedBatches(data)
    found: list[Any] = []
    while batches.has_next():
        taken = batches.next_checked(position, log_end)
        if isinstance(taken, DamagedBatch):
            found.append(("damaged", taken.first, taken.next))
        elif taken is not None:
            found.append((taken.base_offset, taken.next_offset))
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_batch_ends_where_the_next_one_begins(fault: str) -> None:
    damaged = bytearray(batch(5))
    FAULTS[fault](damaged)
    data = batch(0) + bytes(damaged) + batch(10)
    assert read(data, 0) == [(0, 5), ("damaged", 5, 10), (10, 15)]
    # A fetch from inside the batch begins with it.
    assert read(data[len(batch(0)) :], 7) == [("damaged", 7, 10), (10, 15)]


@pytest.mark.parametrize(
    ("fault", "end"),
    {
        "value": 10,
        "attributes": 10,
        "more records by the last offset": 10,
        "more records by the count": 10,
        # The head says one record (4 ^ 4 = 0), so the rest is read, and reported, again.
        "fewer records by the last offset": 6,
        "format": 6,
    }.items(),
)
def test_last_batch_of_a_fetch_ends_where_the_fields_of_its_head_agree(
    fault: str, end: int
) -> None:
    damaged = bytearray(batch(5))
    FAULTS[fault](damaged)
    assert read(bytes(damaged), 5) == [("damaged", 5, end)]


def test_batch_that_the_broker_finds_again_behind_its_end_is_not_reported_again() -> None:
    damaged = bytearray(batch(5))
    FAULTS["more records by the last offset"](damaged)  # by its head it ends at 5 + 20 = 25
    assert read(bytes(damaged) + batch(10), 10) == [(10, 15)]
    # Alone, it is all that the broker gives at this position: it goes on where the head says.
    assert read(bytes(damaged), 10, log_end=100) == [("damaged", 10, 26)]
    assert read(bytes(damaged), 10, log_end=15) == [("damaged", 10, 15)]


def test_nothing_is_read_behind_a_length_that_cannot_be() -> None:
    damaged = bytearray(batch(5))
    damaged[8:12] = (3).to_bytes(4, "big")
    assert read(batch(0) + bytes(damaged) + batch(10), 0) == [(0, 5), ("damaged", 5, 6)]


def test_payload_is_the_whole_batch_as_received() -> None:
    damaged = bytearray(batch(5))
    FAULTS["value"](damaged)
    batches = FetchedBatches(batch(0) + bytes(damaged) + batch(10))
    assert not isinstance(batches.next_checked(0, LOG_END), DamagedBatch)
    taken = batches.next_checked(5, LOG_END)
    assert isinstance(taken, DamagedBatch)
    assert taken.payload == bytes(damaged)


def test_other_consumers_of_the_process_read_the_same_records() -> None:
    data = batch(0) + batch(5) + batch(10)[:-1]
    ours, theirs = FetchedBatches(data), MemoryRecords(data)
    found: list[list[tuple[int, bytes, bytes]]] = []
    for batches in (ours, theirs):
        records = []
        while batches.has_next():
            for record in batches.next_batch():
                records.append((record.offset, record.key, record.value))
        assert batches.next_batch() is None
        found.append(records)
    assert found[0] == found[1]
    assert [offset for offset, _, _ in found[0]] == list(range(10))
