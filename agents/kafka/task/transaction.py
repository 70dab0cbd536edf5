"""Transactions of one task: outputs and journal records are written together or not at all.

Errors of the client are of three kinds. A transient error (the broker is away) is retried, with a
log line, without limit: only the broker knows the outcome. An error that spoils the transaction (a
record was rejected) aborts it; the task is dropped and opened again from the last commit. All other
errors (fenced by a newer owner, a missing right, fatal, unknown) end the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NoReturn, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.broker_retry import BrokerRetry
from driftline.agents.kafka.broker.connection import FORBIDDEN, LARGEST_RECORD, Connection
from driftline.agents.kafka.broker.failures import Forbidden, MustStop
from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.topics import largest_records
from driftline.agents.kafka.broker.wire import fit_dead_letter, size_of
from driftline.schemas.topics import is_dlq_name

log = logging.getLogger(__name__)

# The broker aborts a transaction of a lost worker after this time; a worker that takes the task
# over aborts it at once.
TRANSACTION_TIMEOUT_MS: Final = 60_000
_ATTEMPT_S: Final = 10.0
_OPEN_ATTEMPT_S: Final = 3.0
# No topic is expected to take less: the limits are not read for smaller dead letters.
_SMALL_BYTES: Final = 64 << 10
_FENCED: Final = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)
_ANY_PARTITION: Final = -1

_T = TypeVar("_T")


def _may_be_too_large(out: Outgoing) -> bool:
    return is_dlq_name(out.topic) and size_of(out) > _SMALL_BYTES


class TransactionAborted(Exception):
    """A transaction failed. Opening its task again aborts it on the broker.

    Attributes
    ----------
    undelivered
        Whether the broker refused records; the client does not say why.
    """

    def __init__(self, what: str, *, undelivered: bool = False) -> None:
        super().__init__(what)
        self.undelivered = undelivered


class Transactions:
    """Transactional producer of one task.

    Parameters
    ----------
    connection
        The broker.
    transactional_id
        Identity under which one producer may write; the newest fences all others.
    is_abandoned
        Checked while `open` waits for the broker; True ends the wait.
    """

    def __init__(
        self, connection: Connection, transactional_id: str, is_abandoned: Callable[[], bool]
    ) -> None:
        self._connection = connection
        self._id = transactional_id
        self._unwanted = is_abandoned
        self._spoiled = False
        self._producer: Producer = connection.producer(
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            compression_type="lz4",
            linger_ms=20,  # a commit sends what is left at once
            batch_size=1_000_000,
            batch_num_messages=100_000,
            queue_buffering_max_messages=1_000_000,
            queue_buffering_max_kbytes=256 << 10,
            enable_metrics_push=False,
        )

    def open(self) -> None:
        """Fence the former owner and abort its open transaction.

        Raises
        ------
        MustStop
            If the broker rejects the producer.
        Abandoned
            If the broker is away and `is_abandoned` returns True.
        """
        self._until_done("take over", self._producer.init_transactions, can_be_abandoned=True)

    def run(
        self,
        outgoing: Sequence[Outgoing],
        journal: str,
        partition: int,
        records: Sequence[tuple[bytes, bytes]],
    ) -> int:
        """Write outputs and journal records in one transaction.

        Parameters
        ----------
        outgoing
            Output records.
        journal, partition
            Topic and partition of the journal.
        records
            Keys and values of the journal records.

        Returns
        -------
        int
            Offset after the last of `records`; 0 without records.

        Raises
        ------
        TransactionAborted, MustStop
            See the module; the transaction is visible as a whole or not at all.
        """
        offsets: list[int] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                offsets.append(message.offset() or 0)

        try:
            self._producer.begin_transaction()
            name = self._connection.name
            topics = {topic: name(topic) for topic in {out.topic for out in outgoing}}
            for out in self._fit_dead_letters(outgoing):
                to = _ANY_PARTITION if out.partition is None else out.partition
                self._produce(topics[out.topic], out.value, out.key, to, out.headers)
            for key, value in records:
                self._produce(journal, value, key, partition, [], on_delivery=delivered)
        except KafkaException as error:
            self._abort(error)
        failures.fault_point("produced")
        self._until_done("commit", self._producer.commit_transaction)
        failures.fault_point("committed")
        self._producer.poll(0)
        if len(offsets) != len(records):
            raise MustStop(
                failures.DEFECT,
                f"{self._id}: committed, but the broker did not report the offset",
            )
        return max(offsets, default=-1) + 1

    def _fit_dead_letters(self, outgoing: Sequence[Outgoing]) -> Iterable[Outgoing]:
        """Replace the bytes of dead letters that are larger than their topic takes.

        The limits are read when they are needed, because an operator may change them meanwhile.
        """
        if not any(_may_be_too_large(out) for out in outgoing):
            return outgoing
        topics = {out.topic for out in outgoing if _may_be_too_large(out)}
        limits = largest_records(self._connection, topics)
        fitted = [fit_dead_letter(out, limits.get(out.topic, LARGEST_RECORD)) for out in outgoing]
        shortened = [
            after for before, after in zip(outgoing, fitted, strict=True) if after is not before
        ]
        if shortened:
            error = dict(shortened[0].headers)["dlq_error"].decode(errors="replace")
            log.warning(
                "%s: %d dead letters without their bytes, the first: %s",
                self._id,
                len(shortened),
                error,
            )
        return fitted

    def close(self) -> None:
        """Close the producer; an open transaction is dropped."""
        self._producer.purge()
        try:
            self._producer.close()
        except KafkaException as error:
            if not self._spoiled:
                raise
            # The error belongs to the failed transaction, which the next `open` aborts.
            log.info("%s: closed with %s", self._id, error.args[0].str())

    def _produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        headers: list[tuple[str, bytes]],
        **more: Any,
    ) -> None:
        while True:
            try:
                # The library's types ask for headers that may be text or None as well, and lists
                # are invariant.
                self._producer.produce(topic, value, key, partition, headers=headers, **more)  # type: ignore[arg-type]
                return
            except BufferError:
                # The client's queue is full: wait until it has sent some records.
                self._producer.poll(0.05)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    size = len(value or b"")
                    why = (
                        f"{self._id}: a record of {size} bytes for {topic} is larger than the "
                        f"limit of {LARGEST_RECORD} bytes"
                    )
                    raise MustStop(
                        failures.CONFIGURATION,
                        f"{why}; shorten kafka.commit_interval, or name fewer segments",
                    ) from error
                raise

    def _until_done(
        self, doing: str, call: Callable[[float], _T], *, can_be_abandoned: bool = False
    ) -> _T:
        retry = BrokerRetry(
            self._connection, self._id, doing, self._unwanted if can_be_abandoned else lambda: False
        )
        attempt_s = _OPEN_ATTEMPT_S if can_be_abandoned else _ATTEMPT_S
        while True:
            try:
                return call(attempt_s)
            except KafkaException as error:
                fault: KafkaError = error.args[0]
                if fault.txn_requires_abort():
                    self._abort(error)
                if not fault.retriable() or fault.fatal():
                    raise self._lost(fault, doing) from error
                retry.wait(fault)

    def _abort(self, error: KafkaException) -> NoReturn:
        """Raise for a transaction that an error spoiled.

        The next `open` of the task aborts it on the broker and restores from the journal. Aborting
        it here may fail fatally after a minute without a broker.
        """
        fault: KafkaError = error.args[0]
        if fault.fatal() or fault.code() in FORBIDDEN:
            raise self._lost(fault, "continue") from error
        self._spoiled = True
        raise TransactionAborted(
            f"{self._id}: {fault.str()} ({fault.name()})",
            undelivered=fault.code() == KafkaError._INCONSISTENT,
        ) from error

    def _lost(self, fault: KafkaError, doing: str) -> MustStop:
        if fault.code() in _FENCED:
            return MustStop(
                failures.FENCED,
                f"{self._id}: another worker has taken over the task, or this one paused for more "
                "than "
                f"{TRANSACTION_TIMEOUT_MS // 1000} s ({fault.name()}); the open commit is not "
                "visible",
            )
        if fault.code() in FORBIDDEN:
            return Forbidden(f"{self._id}: cannot {doing}: {fault.str()}")
        error = self._connection.error(fault, f"{self._id} cannot {doing}")
        return MustStop(
            failures.CONFIGURATION,
            f"{error}; the restart finds out whether the open commit succeeded",
        )
