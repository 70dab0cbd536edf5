"""The thread in which aiokafka fetches. `transport.py` lists what it overrides of Faust's."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

import aiokafka
from aiokafka.consumer.fetcher import FetchError, FetchResult
from aiokafka.errors import (
    ConsumerStoppedError,
    InconsistentGroupProtocolError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Transport
from faust.types import TP

from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.worker.delivery import unpack_deliveries
from driftline.agents.worker.fetch_wait import FetchWait
from driftline.agents.worker.rights import REFUSALS
from driftline.agents.worker.seek_positions import LogEnd, LostPosition

# Records of one event: enough that Faust's cost per event does not matter, few enough that
# partitions take turns.
DELIVERY_RECORDS = 2_000
PAUSE_SECONDS = 0.05
# Bounds what is in flight between the broker and the tasks: about 40,000 records.
FETCH_BYTES = 8 << 20
# aiokafka fetches as soon as partitions are assigned, from the published offsets, while tasks are
# still being restored. The broker answers the requests of a connection one after the other, so a
# fetch that waits there delays the request for the log ends: by a second, once observed.
UNSOUGHT_WAIT_MS = 20
PUBLISH_SECONDS = 2.0
RETRY_SECONDS = 1.0
# On top of the session timeout: the broker answers a request to join only once all members have
# joined.
REQUEST_SECONDS = 30.0


class FetchSettings(NamedTuple):
    """How the thread fetches.

    Attributes
    ----------
    connection
        Settings of aiokafka that say how to reach the broker.
    bare
        Removes the prefix from a topic name.
    linger_ms
        Longest time that a record waits at the broker for others, at first.
    clock
        The broker's time, in ms since the epoch.
    on_refusal
        Called if the login lacks a right, or the group has a member of another program; it ends
        the process.
    """

    connection: Mapping[str, Any]
    bare: Callable[[str], str]
    linger_ms: int
    clock: Callable[[], int]
    on_refusal: Callable[[KafkaError], Any]


class FetchThread(AIOKafkaConsumerThread):
    """Fetches, and keeps the worker in its consumer group."""

    logger = logging.getLogger("faust.worker")

    def __init__(self, consumer: Any, settings: FetchSettings, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._settings = settings
        self._wait = FetchWait(settings.linger_ms)
        # First offset that was not delivered, where the fetch position has moved past markers only.
        self._undelivered: dict[TopicPartition, int] = {}

    async def on_start(self) -> None:
        while not self.should_stop:
            try:
                await super().on_start()
                return
            except KafkaConnectionError as error:
                self.log.warning("the broker cannot be reached, retrying: %s", error)
                await self._ensure_consumer().stop()
                await asyncio.sleep(RETRY_SECONDS)

    def _create_worker_consumer(self, transport: Transport) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = self.app.assignor
        self._undelivered.clear()
        return aiokafka.AIOKafkaConsumer(
            **self._settings.connection,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            # Never jump silently: `perform_seek` checks every position against the log.
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_bytes=FETCH_BYTES,
            fetch_max_wait_ms=UNSOUGHT_WAIT_MS,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            request_timeout_ms=int((conf.broker_session_timeout + REQUEST_SECONDS) * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
        )

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> dict[TP, list[ReceivedRecords]]:
        """Fetched records of the active partitions; waits at most `timeout` seconds for the first
        of them.
        """
        try:
            return await self._fetch(consumer, active_partitions, timeout)
        except (*REFUSALS, InconsistentGroupProtocolError) as error:
            self._settings.on_refusal(error)
            raise

    async def _fetch(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None,
    ) -> dict[TP, list[ReceivedRecords]]:
        fetcher = consumer._fetcher
        subscriptions = fetcher._subscriptions
        deadline = time.monotonic() + (timeout or 0.0)
        with subscriptions.fetch_context():
            while self.consumer.flow_active:
                if consumer._closed or fetcher._closed:
                    raise ConsumerStoppedError
                if subscriptions.reassignment_in_progress:
                    await asyncio.sleep(PAUSE_SECONDS)
                    return {}
                now = time.monotonic()
                fetched = self._drain(fetcher, active_partitions)
                if fetched:
                    self._wait.received(now)
                fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms = self._wait.next_fetch(now)
                if fetched or now >= deadline:
                    return fetched
                waiter = fetcher._create_fetch_waiter()
                done, _ = await asyncio.wait([waiter], timeout=deadline - now)
                if done:
                    # Raises the coordinator's error about the group or the authorization.
                    waiter.result()
                else:
                    waiter.cancel()
        return {}

    def _drain(self, fetcher: Any, active_partitions: set[TP]) -> dict[TP, list[ReceivedRecords]]:
        fetched: dict[TP, list[ReceivedRecords]] = {}
        for tp in list(fetcher._records):
            if tp not in active_partitions:
                if not fetcher._subscriptions.is_assigned(tp):
                    del fetcher._records[tp]
                continue
            result = fetcher._records.pop(tp)
            fetcher._notify(fetcher._wait_consume_future)
            if type(result) is not FetchResult:
                _raise(result)
            if not (result.check_assignment(tp) and result.has_more()):
                continue
            start = self._undelivered.pop(tp, result._partition_records.next_fetch_offset)
            topic = self._settings.bare(tp.topic)
            deliveries = unpack_deliveries(result, topic, start, DELIVERY_RECORDS)
            if deliveries:
                fetched[TP(tp.topic, tp.partition)] = deliveries
            else:
                self._undelivered[tp] = start
        return fetched

    async def log_ends(self, partitions: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """First offset in the log, and the offset after the last committed record, of each
        partition; waits for the broker.
        """
        try:
            return await ask_log_ends(
                self._ensure_consumer(), partitions, call=self.call_thread, log=self.log
            )
        except REFUSALS as error:
            self._settings.on_refusal(error)
            raise

    def known_ends(self) -> dict[TP, LogEnd]:
        """What the last fetches reported about each assigned partition that has been fetched."""
        subscription = None if self._consumer is None else self._consumer._subscription.subscription
        assignment = None if subscription is None else subscription.assignment
        if assignment is None:
            return {}
        ends: dict[TP, LogEnd] = {}
        for tp in assignment.tps:
            state = assignment.state_value(tp)
            if state.lso is not None and state.has_valid_position:
                ends[TP(tp.topic, tp.partition)] = LogEnd(
                    offset=state.lso,
                    at_ms=state.timestamp,
                    position=state.position,
                    delivered=self._undelivered.get(tp, state.position),
                )
        return ends

    @property
    def fetch_wait_ms(self) -> int:
        """Longest wait of the next fetch at the broker."""
        wait_ms: int = self._ensure_consumer()._fetcher._fetch_max_wait_ms
        return wait_ms

    def shorten_wait(self) -> None:
        """Let fetches hardly wait at the broker until records flow again."""
        if self._consumer is not None:
            self._consumer._fetcher._fetch_max_wait_ms = UNSOUGHT_WAIT_MS

    def set_linger(self, linger_ms: int) -> None:
        """See `MicroBatchConsumer.set_linger`."""
        self._wait.linger_ms = linger_ms

    async def seek_to(self, positions: Mapping[TP, int]) -> None:
        """Fetch from these positions on."""
        consumer = self._ensure_consumer()

        async def seek() -> None:
            for tp, position in positions.items():
                self._undelivered.pop(TopicPartition(*tp), None)
                consumer.seek(TopicPartition(*tp), position)

        await self.call_thread(seek)

    async def publish(self, offsets: Mapping[TP, int]) -> bool:
        """Write the group's committed offsets; False if the group or the broker cannot take them
        now.
        """
        consumer = self._ensure_consumer()
        committed = {
            TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()
        }

        async def commit() -> None:
            await asyncio.wait_for(consumer.commit(committed), PUBLISH_SECONDS)

        try:
            await self.call_thread(commit)
        except (TimeoutError, KafkaError) as error:
            # Only monitors read them: the next round publishes again, and a partition that has
            # moved is published by its new owner.
            self.log.info("committed offsets were not published this time: %r", error)
            return False
        return True


async def ask_log_ends(
    consumer: Any,
    partitions: Iterable[TP],
    *,
    call: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]],
    log: Any,
    retry_seconds: float = RETRY_SECONDS,
) -> dict[TP, tuple[int, int]]:
    """First offset in the log, and the offset after the last committed record, of each partition.

    Retries until the broker answers: if the error reached Faust, it would silently end the task
    that carries out assignments.

    Parameters
    ----------
    consumer
        Answers `beginning_offsets` and `end_offsets`.
    call
        Runs a coroutine function in the consumer's thread.
    """
    asked = [TopicPartition(*tp) for tp in partitions]

    async def ask() -> tuple[dict, dict]:
        return await consumer.beginning_offsets(asked), await consumer.end_offsets(asked)

    while True:
        try:
            first, end = await call(ask)
            return {TP(*tp): (first[tp], end[tp]) for tp in asked}
        except KafkaError as error:
            if not (error.retriable or isinstance(error, KafkaTimeoutError)):
                raise
            log.warning("the broker did not report the log ends, retrying: %r", error)
        await asyncio.sleep(retry_seconds)


def _raise(error: FetchError) -> NoReturn:
    try:
        error.check_raise()
    except OffsetOutOfRangeError as fault:
        partitions = ", ".join(
            f"{tp.topic}-{tp.partition} at offset {offset}" for tp, offset in fault.args[0].items()
        )
        raise LostPosition(
            f"{partitions}: the log does not hold the next record to read"
        ) from fault
    raise AssertionError("a fetch error without an error")
