"""Faust's consumer, delivering micro-batches from positions that the tasks know.

Faust's own consumer makes an event of every record and keeps lists of acknowledged offsets to
know where to resume. Here an event carries a `ReceivedRecords` (many records of one partition),
positions come from the tasks' changelogs, and the group's committed offsets are published for lag
tools only.
Overrides of faust-streaming 0.15.3, and their reasons:

`perform_seek`                      seek to the positions of the tasks, with no fetch in flight
`on_partitions_assigned`, `resume_flow`
                                    no record flows between an assignment and its seek. Faust lets
                                    a worker that had no partitions go on, and resumes for an
                                    assignment that a later one has already replaced. It also
                                    carries out assignments one after the other, so tasks whose
                                    partitions have moved are held as soon as that is known
`getmany`, `_drain_messages`        deliver micro-batches; never return to committed offsets
`force_commit`                      publish what the tasks have committed
`commit_and_end_transactions`       at a revocation and at the end: finish the last transaction
                                    first
`on_buffer_full`, `on_buffer_drop`  do nothing: a full stream blocks the one delivery loop, which
                                    stops fetching
`verify_all_partitions_active`      does nothing: it judges by acknowledgements, which are not kept

In the thread, `fetch_thread.py`:

`_create_worker_consumer`           read committed records only, from our broker, always with the
                                    app's assignor
`on_start`                          wait for a broker that goes away in the middle of the start
`_fetch_records`                    whole batches instead of single records

`tests/kafka/test_worker_upstream.py` fails when any of these changes upstream.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import faust
from aiokafka.errors import ConsumerStoppedError
from faust.events import Event
from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import TP, AppT, ConsumerMessage

from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.worker.fetch_thread import PAUSE_SECONDS, FetchSettings, FetchThread
from driftline.agents.worker.seek_positions import LogEnd, LostPosition, TaskPositions, start_in_log

POLL_SECONDS = 0.25


class DiscardedAcks:
    """Replaces the acknowledged offsets of a partition, which are not needed: a task's changelog
    holds its position.
    """

    def append(self, offset: int) -> None: ...

    def add(self, offset: int) -> None: ...

    def __contains__(self, offset: int) -> bool:
        return False


class MicroBatchConsumer(Consumer):
    """Delivers `ReceivedRecords` to the streams of its app.

    Attributes
    ----------
    start_offsets
        Where reading started in the present assignment.
    """

    logger = logging.getLogger("faust.worker")
    transport: MicroBatchTransport
    _thread: FetchThread

    def __init__(self, transport: MicroBatchTransport, *args: Any, **kwargs: Any) -> None:
        super().__init__(transport, *args, **kwargs)
        self.positions = transport.positions
        self._acked = cast(Any, defaultdict(DiscardedAcks))
        self._acked_index = cast(Any, defaultdict(DiscardedAcks))
        self._fetching = asyncio.Lock()
        self._published: dict[TP, int] = {}
        self.start_offsets: dict[TP, int] = {}
        self._sought_generation: int | None = None

    def _new_consumer_thread(self) -> FetchThread:
        return FetchThread(self, self.transport.fetch_settings, loop=self.loop, beacon=self.beacon)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.stop_flow()
        self._thread.shorten_wait()
        self.positions.narrow(assigned)
        await super().on_partitions_assigned(assigned, generation_id)

    def resume_flow(self) -> None:
        if self._sought_generation == self.app.consumer_generation_id:
            super().resume_flow()

    async def perform_seek(self) -> None:
        self.stop_flow()
        self._sought_generation = self.app.consumer_generation_id
        async with self._fetching:
            self.start_offsets = await self._seek_to(
                self.positions.start_positions(self.assignment())
            )
        self._published.clear()

    async def seek_again(self, positions: Mapping[TP, int | None]) -> dict[TP, int]:
        """Move some partitions to other positions while records flow; returns the new offsets."""
        async with self._fetching:
            offsets = await self._seek_to(
                {tp: position for tp, position in positions.items() if tp in self.assignment()}
            )
        self.start_offsets.update(offsets)
        return offsets

    async def _seek_to(self, positions: Mapping[TP, int | None]) -> dict[TP, int]:
        ends = await self._thread.log_ends(positions)
        offsets = {tp: start_in_log(tp, position, *ends[tp]) for tp, position in positions.items()}
        await self._thread.seek_to(offsets)
        return offsets

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        if not self.flow_active:
            await self.wait(cast(Any, self.can_resume_flow))
        async with self._fetching:
            generation = self.app.consumer_generation_id
            ends = self.known_ends()
            # A log that has not been fetched yet counts as unread.
            unread = {
                tp
                for tp in self.assignment()
                if tp not in ends or ends[tp].position < ends[tp].offset
            }
            held_back = self.positions.held_back(unread, self.transport.fetch_settings.clock())
            active = set(self._get_active_partitions()) - held_back
            if not (self.flow_active and active):
                await asyncio.sleep(PAUSE_SECONDS)
                return
            fetched = await self._getmany(active, timeout)
        first = {tp: fetched[tp] for tp in fetched if self.positions.is_delivered_first(tp)}
        rest = {tp: fetched[tp] for tp in fetched if tp not in first}
        for tp, received in _in_turn(first) + _in_turn(rest):
            if (
                self.should_stop
                or not self.flow_active
                or self.app.consumer_generation_id != generation
            ):
                return
            yield tp, _message(tp, received, generation)

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                await asyncio.sleep(0)
                async for _, message in self.getmany(POLL_SECONDS):
                    await self.wait_first(self.callback(message), self.suspend_flow.wait())
        except LostPosition as error:
            # Faust would log a traceback before the reason.
            self.transport.on_lost(error)
            raise
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.transport.app.should_stop:
                raise

    def known_ends(self) -> dict[TP, LogEnd]:
        """See `FetchThread.known_ends`."""
        return self._thread.known_ends()

    @property
    def fetch_wait_ms(self) -> int:
        """See `FetchThread.fetch_wait_ms`."""
        return self._thread.fetch_wait_ms

    def set_linger(self, linger_ms: int) -> None:
        """Set how long a record waits for others at the broker while records arrive."""
        self._thread.set_linger(linger_ms)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        assigned = self.assignment()
        fresh = {
            tp: offset
            for tp, offset in self.positions.committed_offsets().items()
            if tp in assigned and self._published.get(tp) != offset
        }
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
    fetch_settings
        How its consumer fetches.
    on_lost
        Called if a log does not hold the next record; must end the process.
    """

    Consumer = MicroBatchConsumer

    def __init__(
        self,
        app: AppT,
        *,
        positions: TaskPositions,
        fetch_settings: FetchSettings,
        on_lost: Callable[[LostPosition], Any],
    ) -> None:
        super().__init__(app.conf.broker_consumer, app)
        self.positions = positions
        self.fetch_settings = fetch_settings
        self.on_lost = on_lost


class PassThroughSchema(faust.Schema):
    """Leaves the event's value, a `ReceivedRecords`, as it is."""

    def compile(self, app: AppT, **_: Any) -> Any:
        async def decode(message: Any, *, propagate: bool = False) -> Event:
            return Event(app, None, message.value, message.headers, message)

        return decode


def _in_turn(fetched: Mapping[TP, list[ReceivedRecords]]) -> list[tuple[TP, ReceivedRecords]]:
    """All deliveries, with the partitions taking turns."""
    rounds = max(map(len, fetched.values()), default=0)
    return [
        (tp, deliveries[turn])
        for turn in range(rounds)
        for tp, deliveries in fetched.items()
        if turn < len(deliveries)
    ]


def _message(tp: TP, received: ReceivedRecords, generation: int) -> ConsumerMessage:
    return ConsumerMessage(
        tp.topic,
        tp.partition,
        offset=received.next - 1,
        timestamp=received.timestamps_ms[-1] / 1000,
        timestamp_type=0,
        headers=[],
        key=None,
        value=cast(Any, received),
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        tp=tp,
        generation_id=generation,
    )
