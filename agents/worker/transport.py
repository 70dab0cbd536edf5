"""Faust's consumer, delivering micro-batches from positions that the tasks know.

Faust's own consumer makes an event of every record and keeps a list of acknowledged offsets to know where to go on. Here an event carries
a `Received` (many records of one partition), positions come from the tasks' changelogs, and the group's committed offsets are
published for lag tools only. What is overridden, of faust-streaming 0.15.3, and why:

`perform_seek`                      seek to the positions of the tasks, with no fetch in flight
`on_partitions_assigned`, `resume_flow`
                                    nothing flows between an assignment and the seek: Faust lets a worker that had no partitions go on, and
                                    resumes for an assignment that has been overtaken by the next one
`getmany`, `_drain_messages`        deliver micro-batches; never go back to committed offsets
`force_commit`                      publish what the tasks have committed
`commit_and_end_transactions`       at a revocation and at the end: finish the last transaction first
`on_buffer_full`, `on_buffer_drop`  nothing: a full stream stops the one delivery loop, which stops fetching
`verify_all_partitions_active`      nothing: it judges by acknowledgements, of which there are none
`_create_worker_consumer`           read committed records only, from our broker; Faust's co-partitioned assignor always
`on_start` of the thread            wait for a broker that went away in the middle of the start
`_fetch_records`                    whole batches instead of single records

`tests/kafka/test_worker_upstream.py` fails when any of these changes upstream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any, NamedTuple, NoReturn, Protocol, cast

import aiokafka
import faust
from aiokafka.consumer.fetcher import FetchError, FetchResult
from aiokafka.errors import ConsumerStoppedError, KafkaConnectionError, KafkaError, KafkaTimeoutError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.events import Event
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP, AppT, ConsumerMessage

from agents.kafka.received import Received
from agents.worker.deliver import deliveries
from agents.worker.pace import Pace

# Records of one event: enough that what Faust does per event does not count, few enough that partitions take turns.
DELIVERY_RECORDS = 2_000
POLL_SECONDS = 0.25
PAUSE_SECONDS = 0.05
# Bounds what lies between the broker and the tasks; about 40,000 records.
FETCH_BYTES = 8 << 20
PUBLISH_SECONDS = 2.0
RETRY_SECONDS = 1.0
# Beside the session timeout: the broker answers a request to join only when all members have.
REQUEST_SECONDS = 30.0


class Positions(Protocol):
    """What the transport asks of the tasks. Topics are named as they are on the broker."""

    def wanted(self, assigned: Iterable[TP]) -> Mapping[TP, int | None]:
        """Where to read on, for each assigned partition that has a task; None for the beginning of the log."""

    def held_back(self, unread: Collection[TP]) -> set[TP]:
        """Inputs that nothing is to be delivered of while others, of which there is something unread, are behind them."""

    def published(self) -> Mapping[TP, int]:
        """What is committed, for lag tools."""

    def comes_first(self, tp: TP) -> bool:
        """Whether what a fetch brought of a partition is delivered before all that it brought of others."""

    async def finish(self) -> None:
        """Commit whatever has been taken."""


class End(NamedTuple):
    """What is known of the end of a log.

    Attributes
    ----------
    offset
        Behind the last committed record.
    at_ms
        When a fetch said so, by the clock.
    position
        Where the next fetch begins.
    delivered
        Where the next delivery begins: `position`, or less where only markers came.
    """

    offset: int
    at_ms: int
    position: int
    delivered: int


class Nothing:
    """Stands in for the acknowledged offsets of a partition: nobody needs them, the truth is in the changelog."""

    def append(self, offset: int) -> None: ...

    def add(self, offset: int) -> None: ...

    def __contains__(self, offset: int) -> bool:
        return False


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
        settings = cast(MicroBatchTransport, transport)
        self._assignor = self.app.assignor
        self._pace = Pace(settings.linger_ms)
        # First offset that was not delivered, where the fetch position has gone on over markers only.
        self._undelivered: dict[TopicPartition, int] = {}
        return aiokafka.AIOKafkaConsumer(
            **settings.connection,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            # Never jump silently: positions that the log no longer or not yet has are found in `perform_seek`.
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_bytes=FETCH_BYTES,
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
        """What has been fetched of the active partitions; waits at most `timeout` seconds for the first of it."""
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
        """First offset in the log, and the offset behind the last committed record, of each partition; waits for the broker."""
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
                found[TP(tp.topic, tp.partition)] = End(state.lso, state.timestamp, state.position, delivered)
        return found

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
        """Write the group's committed offsets; gives False where the group or the broker cannot take them now."""
        consumer = self._ensure_consumer()
        taken = {TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}

        async def commit() -> None:
            await asyncio.wait_for(consumer.commit(taken), PUBLISH_SECONDS)

        try:
            await self.call_thread(commit)
        except (TimeoutError, KafkaError) as error:
            # For monitors only: the next round publishes again, and where the partition is gone its new owner does.
            self.log.info("committed offsets not published this time: %r", error)
            return False
        return True


class MicroBatchConsumer(Consumer):
    """Delivers `Received` to the streams of its app.

    Attributes
    ----------
    sought
        Where reading began in the present assignment.
    """

    logger = logging.getLogger("faust.worker")
    _thread: Reader

    def __init__(self, transport: MicroBatchTransport, *args: Any, **kwargs: Any) -> None:
        super().__init__(transport, *args, **kwargs)
        self.positions = transport.positions
        self.bare = transport.bare
        self._acked = cast(Any, defaultdict(Nothing))
        self._acked_index = cast(Any, defaultdict(Nothing))
        self._fetching = asyncio.Lock()
        self._published: dict[TP, int] = {}
        self.sought: dict[TP, int] = {}
        self._sought_generation: int | None = None

    def _new_consumer_thread(self) -> Reader:
        return Reader(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.stop_flow()
        await super().on_partitions_assigned(assigned, generation_id)

    def resume_flow(self) -> None:
        if self._sought_generation == self.app.consumer_generation_id:
            super().resume_flow()

    async def perform_seek(self) -> None:
        self.stop_flow()
        self._sought_generation = self.app.consumer_generation_id
        async with self._fetching:
            self.sought = await self._seek_to(self.positions.wanted(self.assignment()))
        self._published.clear()

    async def seek_again(self, positions: Mapping[TP, int | None]) -> dict[TP, int]:
        """Go on elsewhere with some partitions, while records flow; gives where."""
        async with self._fetching:
            sought = await self._seek_to({tp: position for tp, position in positions.items() if tp in self.assignment()})
        self.sought.update(sought)
        return sought

    async def _seek_to(self, wanted: Mapping[TP, int | None]) -> dict[TP, int]:
        ends = await self._thread.ends(wanted)
        found = {tp: place_in_log(tp, position, *ends[tp]) for tp, position in wanted.items()}
        await self._thread.seek_to(found)
        return found

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        if not self.flow_active:
            await self.wait(cast(Any, self.can_resume_flow))
        async with self._fetching:
            generation = self.app.consumer_generation_id
            # Of a log that has not been fetched yet nobody knows.
            ends = self.ends_known()
            unread = {tp for tp in self.assignment() if tp not in ends or ends[tp].position < ends[tp].offset}
            active = set(self._get_active_partitions()) - self.positions.held_back(unread)
            if not (self.flow_active and active):
                await asyncio.sleep(PAUSE_SECONDS)
                return
            fetched = await self._getmany(active, timeout)
        first = {tp: found for tp, found in fetched.items() if self.positions.comes_first(tp)}
        for tp, received in _in_turn(first) + _in_turn({tp: found for tp, found in fetched.items() if tp not in first}):
            if self.should_stop or not self.flow_active or self.app.consumer_generation_id != generation:
                return
            yield tp, _message(tp, received, generation)

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                await asyncio.sleep(0)
                async for _, message in self.getmany(POLL_SECONDS):
                    await self.wait_first(self.callback(message), self.suspend_flow.wait())
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.transport.app.should_stop:
                raise

    def ends_known(self) -> dict[TP, End]:
        """See `Reader.ends_known`."""
        return self._thread.ends_known()

    def linger(self, linger_ms: int) -> None:
        """Let records wait so long for others at the broker from now on."""
        self._thread.linger(linger_ms)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        assigned = self.assignment()
        fresh = {tp: offset for tp, offset in self.positions.published().items() if tp in assigned and self._published.get(tp) != offset}
        if not fresh or not await self._thread.publish(fresh):
            return False
        self._published.update(fresh)
        return True

    async def commit_and_end_transactions(self) -> None:
        await self.positions.finish()
        await self.force_commit()

    def on_buffer_full(self, tp: TP) -> None: ...

    def on_buffer_drop(self, tp: TP) -> None: ...

    async def verify_all_partitions_active(self) -> None: ...


class MicroBatchTransport(Transport):
    """The transport of one app.

    Parameters
    ----------
    positions
        The tasks behind the app.
    connection
        Settings of aiokafka that say how to reach the broker.
    bare
        Gives the name of a topic without its prefix.
    linger_ms
        Longest time that a record waits at the broker for others, at first.
    """

    Consumer = MicroBatchConsumer

    def __init__(
        self,
        app: AppT,
        *,
        positions: Positions,
        connection: Mapping[str, Any],
        bare: Any,
        linger_ms: int,
    ) -> None:
        super().__init__(app.conf.broker_consumer, app)
        self.positions = positions
        self.connection = dict(connection)
        self.bare = bare
        self.linger_ms = linger_ms


class Untouched(faust.Schema):
    """Leaves the event's value as it is: a `Received`."""

    def compile(self, app: AppT, **_: Any) -> Any:
        async def decode(message: Any, *, propagate: bool = False) -> Event:
            return Event(app, None, message.value, message.headers, message)

        return decode


class LostPosition(RuntimeError):
    """The log does not hold what a task has to read next."""


def place_in_log(tp: TP, position: int | None, first: int, end: int) -> int:
    """Where to read on: at the position of the task, or at the beginning of the log if it has none.

    Raises
    ------
    LostPosition
        If the log does not have it: reading on elsewhere would leave records out, or apply others twice.
    """
    if position is None:
        return first
    if position < first:
        raise LostPosition(
            f"{tp.topic}-{tp.partition}: records {position} to {first - 1} were deleted before they were read: the log starts at {first}. "
            "Give the topic a longer retention than the longest stop of the workers."
        )
    if position > end:
        raise LostPosition(
            f"{tp.topic}-{tp.partition}: records up to {position} have been applied, but the log ends at {end}: the topic was made anew "
            "or has lost records. Bring it back, or start a new application (another kafka.app)."
        )
    return position


def _raise(error: FetchError) -> NoReturn:
    try:
        error.check_raise()
    except OffsetOutOfRangeError as fault:
        where = ", ".join(f"{tp.topic}-{tp.partition} from {offset} on" for tp, offset in fault.args[0].items())
        raise LostPosition(f"{where}: the log does not have what is to be read next; a restart says why and what to do") from fault
    raise AssertionError("a fetch error without an error")


def _in_turn(fetched: Mapping[TP, list[Received]]) -> list[tuple[TP, Received]]:
    """All deliveries, so that partitions take turns."""
    rounds = max(map(len, fetched.values()), default=0)
    return [(tp, found[turn]) for turn in range(rounds) for tp, found in fetched.items() if turn < len(found)]


def _message(tp: TP, received: Received, generation: int) -> ConsumerMessage:
    value = cast(Any, received)
    appended = received.timestamps_ms[-1] / 1000
    return ConsumerMessage(
        tp.topic, tp.partition, received.next - 1, appended, 0, [], None, value, None, 0, 0, tp, generation_id=generation
    )  # fmt: skip
