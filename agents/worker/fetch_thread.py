"""The thread in which aiokafka fetches: what it replaces of Faust's is told in `transport.py`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, cast

import aiokafka
from aiokafka.consumer.fetcher import FetchError, FetchResult
from aiokafka.errors import (
    ConsumerStoppedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Transport
from faust.types import TP

from driftline.agents.kafka.broker.received import Received
from driftline.agents.worker.delivery import deliveries
from driftline.agents.worker.fetch_wait import Pace
from driftline.agents.worker.seek_positions import End, LostPosition

if TYPE_CHECKING:
    from driftline.agents.worker.transport import MicroBatchConsumer, MicroBatchTransport

# Records of one event: enough that what Faust does per event does not count, few enough that
# partitions take turns.
DELIVERY_RECORDS = 2_000
PAUSE_SECONDS = 0.05
# Bounds what lies between the broker and the tasks; about 40,000 records.
FETCH_BYTES = 8 << 20
# aiokafka fetches as soon as partitions are assigned, from the positions that were published, while
# tasks are restored. The broker answers one request of a connection after the other, so a fetch
# that waits there holds up the question where logs end: by a second, once seen.
UNSOUGHT_WAIT_MS = 20
PUBLISH_SECONDS = 2.0
RETRY_SECONDS = 1.0
# Beside the session timeout: the broker answers a request to join only when all members have.
REQUEST_SECONDS = 30.0


class Reader(AIOKafkaConsumerThread):
    """The thread in which aiokafka fetches, and keeps the worker in its group."""

    logger = logging.getLogger("faust.worker")

    consumer: MicroBatchConsumer

    async def on_start(self) -> None:
        while not self.should_stop:
            try:
                await super().on_start()
                return
            except KafkaConnectionError as error:
                self.log.warning("the broker cannot be reached, trying again: %s", error)
                await self._ensure_consumer().stop()
                await asyncio.sleep(RETRY_SECONDS)

    def _create_worker_consumer(self, transport: Transport) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        settings = cast("MicroBatchTransport", transport)
        self._assignor = self.app.assignor
        self._pace = Pace(settings.linger_ms)
        # First offset that was not delivered, where the fetch position has gone on over markers
        # only.
        self._undelivered: dict[TopicPartition, int] = {}
        return aiokafka.AIOKafkaConsumer(
            **settings.connection,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            # Never jump silently: positions that the log no longer or not yet has are found in
            # `perform_seek`.
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
    ) -> dict[TP, list[Received]]:
        """What has been fetched of the active partitions; waits at most `timeout` seconds for the
        first of it.
        """
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
                    self._pace.received(now)
                fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms = self._pace.next_fetch(now)
                if fetched or now >= deadline:
                    return fetched
                waiter = fetcher._create_fetch_waiter()
                done, _ = await asyncio.wait([waiter], timeout=deadline - now)
                if done:
                    waiter.result()  # raises what the coordinator says about the group or the right to read
                else:
                    waiter.cancel()
        return {}

    def _drain(self, fetcher: Any, active_partitions: set[TP]) -> dict[TP, list[Received]]:
        fetched: dict[TP, list[Received]] = {}
        bare = self.consumer.bare
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
            found = deliveries(result, bare(tp.topic), start, DELIVERY_RECORDS)
            if found:
                fetched[TP(tp.topic, tp.partition)] = found
            else:
                self._undelivered[tp] = start
        return fetched

    async def ends(self, partitions: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """First offset in the log, and the offset behind the last committed record, of each
        partition; waits for the broker.
        """
        consumer = self._ensure_consumer()
        asked = [TopicPartition(*tp) for tp in partitions]

        async def ask() -> tuple[dict, dict]:
            return await consumer.beginning_offsets(asked), await consumer.end_offsets(asked)

        while True:
            try:
                first, last = await self.call_thread(ask)
                break
            except KafkaError as error:
                # Left to Faust, it would end what looks after assignments, without a word.
                if not (error.retriable or isinstance(error, KafkaTimeoutError)):
                    raise
                self.log.warning("where the logs end cannot be asked, trying again: %r", error)
            await asyncio.sleep(RETRY_SECONDS)
        return {TP(*tp): (first[tp], last[tp]) for tp in asked}

    def ends_known(self) -> dict[TP, End]:
        """What the last fetches said of each assigned partition that has been fetched."""
        subscription = None if self._consumer is None else self._consumer._subscription.subscription
        assignment = None if subscription is None else subscription.assignment
        if assignment is None:
            return {}
        found: dict[TP, End] = {}
        for tp in assignment.tps:
            state = assignment.state_value(tp)
            if state.lso is not None and state.has_valid_position:
                delivered = self._undelivered.get(tp, state.position)
                found[TP(tp.topic, tp.partition)] = End(
                    state.lso, state.timestamp, state.position, delivered
                )
        return found

    def hurry(self) -> None:
        """Let fetches wait at the broker for next to nothing, until records flow again."""
        if self._consumer is not None:
            self._consumer._fetcher._fetch_max_wait_ms = UNSOUGHT_WAIT_MS

    def linger(self, linger_ms: int) -> None:
        """See `MicroBatchConsumer.linger`."""
        self._pace.linger_ms = linger_ms

    async def seek_to(self, positions: Mapping[TP, int]) -> None:
        """Fetch from these positions on."""
        consumer = self._ensure_consumer()

        async def seek() -> None:
            for tp, position in positions.items():
                self._undelivered.pop(TopicPartition(*tp), None)
                consumer.seek(TopicPartition(*tp), position)

        await self.call_thread(seek)

    async def publish(self, offsets: Mapping[TP, int]) -> bool:
        """Write the group's committed offsets; gives False where the group or the broker cannot
        take them now.
        """
        consumer = self._ensure_consumer()
        taken = {
            TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()
        }

        async def commit() -> None:
            await asyncio.wait_for(consumer.commit(taken), PUBLISH_SECONDS)

        try:
            await self.call_thread(commit)
        except (TimeoutError, KafkaError) as error:
            # For monitors only: the next round publishes again, and where the partition is gone its
            # new owner does.
            self.log.info("committed offsets not published this time: %r", error)
            return False
        return True


def _raise(error: FetchError) -> NoReturn:
    try:
        error.check_raise()
    except OffsetOutOfRangeError as fault:
        where = ", ".join(
            f"{tp.topic}-{tp.partition} from {offset} on" for tp, offset in fault.args[0].items()
        )
        raise LostPosition(
            f"{where}: the log does not have what is to be read next; a restart says why and what to do"
        ) from fault
    raise AssertionError("a fetch error without an error")
