"""The transactions of one task: outputs and the journal's records together, or nothing.

Errors of the client are of three kinds, and each has one answer. What may pass (the broker is away)
is tried again, with a line in the log, as long as it takes: only the broker knows the outcome. What
spoils a transaction (a record was refused) aborts it; the task is dropped and opened anew from what
is committed. All else (fenced by a newer owner, fatal, unknown) ends the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.broker_retry import BrokerRetry
from driftline.agents.kafka.broker.connection import LARGEST_RECORD, Connection
from driftline.agents.kafka.broker.failures import MustStop
from driftline.agents.kafka.broker.outgoing import Outgoing

log = logging.getLogger(__name__)

# After this time the broker aborts a transaction of a worker that is gone; a worker that takes over
# aborts it at once.
TRANSACTION_TIMEOUT_MS: Final = 60_000
_ATTEMPT_S: Final = 10.0
_OPEN_ATTEMPT_S: Final = 3.0
_FENCED: Final = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)
_ANY_PARTITION: Final = -1

_T = TypeVar("_T")


class TransactionAborted(Exception):
    """A transaction was given up; its task has to be opened anew, which aborts it at the broker."""


class Transactions:
    """A transactional producer.

    Parameters
    ----------
    connection
        The broker.
    transactional_id
        Name under which at most one producer may write; the newest fences all others.
    is_abandoned
        Asked while `open` waits for the broker; True ends the wait.
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
        """Fence whoever held the name before, and abort what it left open.

        Raises
        ------
        MustStop
            If the broker refuses.
        Abandoned
            If it is away and `is_abandoned` says so.
        """
        self._until_done("take over", self._producer.init_transactions, may_leave=True)

    def run(
        self,
        outgoing: Sequence[Outgoing],
        journal: str,
        partition: int,
        records: Sequence[tuple[bytes, bytes]],
    ) -> int:
        """Write everything in one transaction.

        Parameters
        ----------
        outgoing
            Outputs.
        journal, partition
            Where the records of the commit go.
        records
            Their keys and values.

        Returns
        -------
        int
            Offset after the last of `records`.

        Raises
        ------
        TransactionAborted, MustStop
            As said above; nothing or everything of it can be seen.
        """
        offsets: list[int] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                offsets.append(message.offset() or 0)

        try:
            self._producer.begin_transaction()
            name = self._connection.name
            topics = {topic: name(topic) for topic in {out.topic for out in outgoing}}
            for out in outgoing:
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
                f"{self._id}: committed, but the broker did not say at which offset",
            )
        return max(offsets) + 1

    def close(self) -> None:
        """Let go of the broker; what is in an open transaction is dropped."""
        self._producer.purge()
        try:
            self._producer.close()
        except KafkaException as error:
            if not self._spoiled:
                raise
            # Of the transaction that was given up already; whoever opens the task next aborts it.
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
                # The client's queue is full: let it send.
                self._producer.poll(0.05)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    size = len(value or b"")
                    why = f"{self._id}: a record of {size} bytes for {topic} is larger than any should be ({LARGEST_RECORD} bytes)"
                    raise MustStop(
                        failures.CONFIGURATION,
                        f"{why}; shorten kafka.commit_interval, or name fewer segments",
                    ) from error
                raise

    def _until_done(
        self, doing: str, call: Callable[[float], _T], *, may_leave: bool = False
    ) -> _T:
        retry = BrokerRetry(
            self._connection, self._id, doing, self._unwanted if may_leave else lambda: False
        )
        attempt_s = _OPEN_ATTEMPT_S if may_leave else _ATTEMPT_S
        while True:
            try:
                return call(attempt_s)
            except KafkaException as error:
                fault: KafkaError = error.args[0]
                if fault.txn_requires_abort():
                    self._abort(error)
                if not fault.retriable() or fault.fatal():
                    raise self._lost(fault, doing) from error
                retry.again(fault)

    def _abort(self, error: KafkaException) -> NoReturn:
        """Give up the transaction that an error spoiled.

        Whoever opens the task next aborts it at the broker, and reads from the journal what is
        committed; asking for that from here may end fatally after a minute without a broker.
        """
        fault: KafkaError = error.args[0]
        if fault.fatal():
            raise self._lost(fault, "go on") from error
        self._spoiled = True
        raise TransactionAborted(f"{self._id}: {fault.str()} ({fault.name()})") from error

    def _lost(self, fault: KafkaError, doing: str) -> MustStop:
        if fault.code() in _FENCED:
            return MustStop(
                failures.FENCED,
                f"{self._id}: another worker has taken over the task, or this one stood still for more than "
                f"{TRANSACTION_TIMEOUT_MS // 1000} s ({fault.name()}); nothing of the open commit can be seen",
            )
        error = self._connection.error(fault, f"{self._id} cannot {doing}")
        return MustStop(
            failures.CONFIGURATION,
            f"{error}; what became of the open commit is for the restart to find out",
        )
