"""Dead letters of a broker: reading them, and sending them again, each once.

A letter that was sent again has a marker: an empty record in the same partition of the dead-letter
topic whose header names the letter's offset. The record that is sent and its marker are one
transaction. All calls of a program use one transactional id: the newest one fences an older one
that still runs, and reads its markers before it sends anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from msgspec import Struct

from driftline.agents.kafka.broker.connection import LARGEST_RECORD, BrokerError, Connection
from driftline.agents.kafka.broker.ranges import (
    FetchedRecord,
    may_be_of,
    offset_ranges,
    read_records,
)
from driftline.agents.kafka.broker.wire import (
    DLQ_KEY_SIZE,
    DLQ_LAST_OFFSET,
    DLQ_LOG,
    DLQ_SHA256,
    DLQ_SIZE,
)
from driftline.agents.recorded.export_manifest import Range
from driftline.schemas.rejects import Reject
from driftline.schemas.topics import TOPICS, WINDOW_PARTIALS, dlq_name

MARKER: Final = "dlq_sent_again"
"""Header of a marker: the offset of the letter in the same partition."""
ORIGIN: Final = "dlq_sent_from"
"""Header of a record that was sent again: the place of its letter, as the verbs name it."""
INPUTS: Final = tuple(topic.name for topic in TOPICS.values() if topic.stage == "input")
LETTER_TOPICS: Final = (*INPUTS, WINDOW_PARTIALS)
"""Topics whose rejected records are dead letters."""
RETRY: Final = "dlq"
"""Name of the transactional id of `send_again`, as of a group."""
TRANSACTION_RECORDS: Final = 500
_ANSWER_S: Final = 30.0


class BrokerLetter(Struct, frozen=True, kw_only=True):
    """A dead letter on a broker.

    Attributes
    ----------
    topic, partition
        Topic and partition of the rejected record, without the prefix.
    reject
        Its offset there, the reason, and its bytes.
    time
        When it was rejected, in RFC 3339.
    key
        Key of the record.
    has_value
        Whether the record had a value, which may be empty.
    size, sha256
        Of a value that did not fit into the dead-letter topic.
    key_was_removed
        Whether the key did not fit.
    is_batch
        Whether it stands for a batch that could not be read.
    log
        Name of the log that partition and offset belong to, if it is not that of the producers.
    at
        Partition and offset of the letter.
    sent_at_ms
        The broker's timestamp of the letter, in ms since the epoch.
    """

    topic: str
    partition: int
    reject: Reject
    time: str
    key: bytes | None
    has_value: bool
    size: int | None
    sha256: str | None
    key_was_removed: bool
    is_batch: bool
    log: str | None
    at: tuple[int, int]
    sent_at_ms: int

    @property
    def place(self) -> str:
        """Topic, partition and offset of the letter, as the verbs take it."""
        partition, offset = self.at
        return f"{dlq_name(self.topic)}:{partition}:{offset}"

    @property
    def is_complete(self) -> bool:
        """Whether the letter has the bytes of the record."""
        is_whole = self.size is None and not self.key_was_removed and not self.is_batch
        return is_whole and self.reject.reason != "lost"


def read_dead_letter(record: FetchedRecord) -> BrokerLetter | None:
    """The dead letter in a record of a dead-letter topic; None for a marker, and for a record that
    Driftline did not write.
    """
    try:
        headers = {name: (value or b"").decode() for name, value in record.headers.items()}
        size = headers.get(DLQ_SIZE)
        return BrokerLetter(
            topic=headers["dlq_topic"],
            partition=int(headers["dlq_partition"]),
            reject=Reject(
                int(headers["dlq_offset"]),
                headers["dlq_reason"],  # type: ignore[arg-type]
                headers["dlq_error"],
                record.value,
            ),
            time=headers.get("dlq_time", ""),
            key=record.key,
            has_value=record.has_value,
            size=None if size is None else int(size),
            sha256=headers.get(DLQ_SHA256),
            key_was_removed=DLQ_KEY_SIZE in headers,
            is_batch=DLQ_LAST_OFFSET in headers,
            log=headers.get(DLQ_LOG),
            at=(record.partition, record.offset),
            sent_at_ms=record.timestamp_ms,
        )
    except (KeyError, ValueError):
        return None


class Selection(Struct, frozen=True, kw_only=True):
    """Which dead letters are meant.

    Attributes
    ----------
    topics
        Topics of the rejected records.
    partition
        Partition of the letters; None for all.
    first, last
        Range of the letters' offsets, both included; None for no bound.
    reason
        Code of the reason; None for all.
    since_ms, until_ms
        Range of the broker's timestamps of the letters, in ms since the epoch: from the first,
        before the second.
    """

    topics: Sequence[str] = LETTER_TOPICS
    partition: int | None = None
    first: int | None = None
    last: int | None = None
    reason: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def includes(self, letter: BrokerLetter) -> bool:
        """Whether a letter is meant."""
        partition, offset = letter.at
        return (
            (self.partition is None or self.partition == partition)
            and (self.first is None or self.first <= offset)
            and (self.last is None or offset <= self.last)
            and (self.reason is None or self.reason == letter.reject.reason)
            and (self.since_ms is None or self.since_ms <= letter.sent_at_ms)
            and (self.until_ms is None or letter.sent_at_ms < self.until_ms)
        )


def letters(
    connection: Connection, selection: Selection, ranges: Iterable[Range] | None = None
) -> Iterator[BrokerLetter]:
    """The dead letters of this program that are meant, by topic, partition and offset.

    Parameters
    ----------
    ranges
        What to read of the dead-letter topics; by default all of it.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    for part in _ranges(connection, selection) if ranges is None else ranges:
        if selection.partition in (None, part.partition):
            for records in read_records(connection, part):
                for record in records:
                    letter = read_dead_letter(record)
                    if (
                        letter is not None
                        and dlq_name(letter.topic) == part.topic
                        and may_be_of(connection.settings.app, record.headers)
                        and selection.includes(letter)
                    ):
                        yield letter


def sent_again(connection: Connection, ranges: Iterable[Range]) -> set[tuple[str, int, int]]:
    """Topic, partition and offset of the letters in these ranges that have markers."""
    found = set()
    for part in ranges:
        for records in read_records(connection, part):
            for record in records:
                offset = (record.headers.get(MARKER) or b"").decode(errors="replace")
                if offset.isdecimal():
                    found.add((part.topic, part.partition, int(offset)))
    return found


class LetterCount(Struct, kw_only=True):
    """Dead letters of a topic and reason.

    Attributes
    ----------
    count, sent_again
        Number of letters, and of those that were sent again.
    first_time, last_time
        Times of the first and of the last one, in RFC 3339.
    example
        Place of the newest letter that was not sent again, or of the newest one.
    error
        Its reason in a sentence.
    """

    topic: str
    reason: str
    count: int
    sent_again: int
    first_time: str
    last_time: str
    example: str
    error: str


def count_letters(connection: Connection, selection: Selection) -> list[LetterCount]:
    """Number of dead letters by topic and reason, most first in each topic."""
    ranges = _ranges(connection, selection)
    done = sent_again(connection, ranges)
    counts: dict[tuple[str, str], LetterCount] = {}
    open_examples: set[tuple[str, str]] = set()
    for letter in letters(connection, selection, ranges):
        key = letter.topic, letter.reject.reason
        is_done = (dlq_name(letter.topic), *letter.at) in done
        entry = counts.get(key)
        if entry is None:
            entry = counts[key] = LetterCount(
                topic=letter.topic,
                reason=letter.reject.reason,
                count=0,
                sent_again=0,
                first_time=letter.time,
                last_time=letter.time,
                example=letter.place,
                error=letter.reject.error,
            )
        entry.count += 1
        entry.sent_again += is_done
        entry.first_time = min(entry.first_time, letter.time)
        entry.last_time = max(entry.last_time, letter.time)
        if not is_done or key not in open_examples:
            entry.example, entry.error = letter.place, letter.reject.error
        if not is_done:
            open_examples.add(key)
    return sorted(
        counts.values(),
        key=lambda entry: (LETTER_TOPICS.index(entry.topic), -entry.count, entry.reason),
    )


class Resent(Struct, kw_only=True):
    """What a call of `send_again` did.

    Attributes
    ----------
    sent
        Number of records that were sent, by topic.
    already
        Number of letters that had been sent again before.
    incomplete
        Places of letters without the bytes of their record.
    """

    sent: dict[str, int]
    already: int
    incomplete: list[str]


def send_again(connection: Connection, selection: Selection, *, dry_run: bool = False) -> Resent:
    """Send the records of dead letters again, each once: with its key, to its partition.

    Parameters
    ----------
    dry_run
        Whether only to count what would be sent.

    Raises
    ------
    BrokerError
        If the broker refuses a record or the transaction, or another call has taken over. What was
        sent before stays sent, with its markers.
    KafkaException
        If the broker does not answer.
    """
    producer = None if dry_run else _transactional_producer(connection)
    ranges = _ranges(connection, selection)
    done = sent_again(connection, ranges)
    resent = Resent(sent={}, already=0, incomplete=[])
    batch: list[BrokerLetter] = []
    size = 0
    for letter in letters(connection, selection, ranges):
        if (dlq_name(letter.topic), *letter.at) in done:
            resent.already += 1
            continue
        if not letter.is_complete:
            resent.incomplete.append(letter.place)
            continue
        batch.append(letter)
        size += len(letter.reject.raw) + len(letter.key or b"")
        if len(batch) >= TRANSACTION_RECORDS or size >= LARGEST_RECORD:
            _send_batch(connection, producer, batch)
            _add(resent, batch)
            batch, size = [], 0
    if batch:
        _send_batch(connection, producer, batch)
        _add(resent, batch)
    return resent


def _add(resent: Resent, batch: Sequence[BrokerLetter]) -> None:
    for letter in batch:
        resent.sent[letter.topic] = resent.sent.get(letter.topic, 0) + 1


def _ranges(connection: Connection, selection: Selection) -> list[Range]:
    by_topic = offset_ranges(connection, [dlq_name(topic) for topic in selection.topics])
    return [part for parts in by_topic.values() for part in parts]


def _transactional_producer(connection: Connection) -> Producer:
    name = connection.group(RETRY)
    producer = connection.producer(
        transactional_id=name, compression_type="lz4", enable_metrics_push=False
    )
    try:
        # Returns when a transaction of a former call has ended, with its markers.
        producer.init_transactions(_ANSWER_S)
    except KafkaException as error:
        raise connection.error(error, f"transactional id {name}") from error
    return producer


def _send_batch(
    connection: Connection, producer: Producer | None, batch: Sequence[BrokerLetter]
) -> None:
    """Send records and markers in one transaction; nothing without a producer."""
    if producer is None:
        return
    faults: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            faults.append(error)

    try:
        producer.begin_transaction()
        for letter in batch:
            producer.produce(
                connection.name(connection.source(letter.topic)),
                letter.reject.raw if letter.has_value else None,
                letter.key,
                letter.partition,
                headers=[(ORIGIN, letter.place.encode())],
                on_delivery=delivered,
            )
            producer.produce(
                connection.name(dlq_name(letter.topic)),
                b"",
                None,
                letter.at[0],
                headers=[(MARKER, str(letter.at[1]).encode())],
                on_delivery=delivered,
            )
            producer.poll(0)
        producer.commit_transaction(_ANSWER_S)
    except KafkaException as error:
        fault = faults[0] if faults else error.args[0]
        if fault.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED):
            raise BrokerError(
                "another `driftline dlq retry` of this program has begun; the records of the last "
                "transaction were not sent, that call sends them"
            ) from error
        raise connection.error(
            fault, f"dead letters {batch[0].place} to {batch[-1].place} were not sent again"
        ) from error
