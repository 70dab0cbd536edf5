"""Faust's consumer, delivering micro-batches from positions that the tasks know.

Faust's own consumer makes an event of every record and keeps a list of acknowledged offsets to know
where to go on. Here an event carries a `Received` (many records of one partition), positions come
from the tasks' changelogs, and the group's committed offsets are published for lag tools only. What
is overridden, of faust-streaming 0.15.3, and why:

`perform_seek`                      seek to the positions of the tasks, with no fetch in flight
`on_partitions_assigned`, `resume_flow`
                                    nothing flows between an assignment and the seek: Faust lets a
                                    worker that had no partitions go on, and resumes for an
                                    assignment that has been overtaken by the next one; and it
                                    carries out assignments one after the other, so tasks that went
                                    to others meanwhile are told apart at once
`getmany`, `_drain_messages`        deliver micro-batches; never go back to committed offsets
`force_commit`                      publish what the tasks have committed
`commit_and_end_transactions`       at a revocation and at the end: finish the last transaction first
`on_buffer_full`, `on_buffer_drop`  nothing: a full stream stops the one delivery loop, which stops
fetching
`verify_all_partitions_active`      nothing: it judges by acknowledgements, of which there are none
In the thread, `reader.py`:

`_create_worker_consumer`           read committed records only, from our broker; the app's assignor always
`on_start`                          wait for a broker that went away in the middle of the start
`_fetch_records`                    whole batches instead of single records

`tests/kafka/test_worker_upstream.py` fails when any of these changes upstream.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import faust
from aiokafka.errors import ConsumerStoppedError
from faust.events import Event
from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import TP, AppT, ConsumerMessage

from driftline.agents.kafka.broker.received import Received
from driftline.agents.worker.fetch_thread import PAUSE_SECONDS, Reader
from driftline.agents.worker.seek_positions import End, Positions, place_in_log

POLL_SECONDS = 0.25


class Nothing:
    """Stands in for the acknowledged offsets of a partition: nobody needs them, the truth is in the
    changelog.
    """

    def append(self, offset: int) -> None: ...

    def add(self, offset: int) -> None: ...

    def __contains__(self, offset: int) -> bool:
        return False


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
        self._thread.hurry()
        self.positions.narrow(assigned)
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
            sought = await self._seek_to(
                {tp: position for tp, position in positions.items() if tp in self.assignment()}
            )
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
            unread = {
                tp
                for tp in self.assignment()
                if tp not in ends or ends[tp].position < ends[tp].offset
            }
            active = set(self._get_active_partitions()) - self.positions.held_back(unread)
            if not (self.flow_active and active):
                await asyncio.sleep(PAUSE_SECONDS)
                return
            fetched = await self._getmany(active, timeout)
        first = {tp: found for tp, found in fetched.items() if self.positions.comes_first(tp)}
        for tp, received in _in_turn(first) + _in_turn(
            {tp: found for tp, found in fetched.items() if tp not in first}
        ):
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
        fresh = {
            tp: offset
            for tp, offset in self.positions.published().items()
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


def _in_turn(fetched: Mapping[TP, list[Received]]) -> list[tuple[TP, Received]]:
    """All deliveries, so that partitions take turns."""
    rounds = max(map(len, fetched.values()), default=0)
    return [
        (tp, found[turn])
        for turn in range(rounds)
        for tp, found in fetched.items()
        if turn < len(found)
    ]


def _message(tp: TP, received: Received, generation: int) -> ConsumerMessage:
    value = cast(Any, received)
    appended = received.timestamps_ms[-1] / 1000
    return ConsumerMessage(
        tp.topic, tp.partition, received.next - 1, appended, 0, [], None, value, None, 0, 0, tp, generation_id=generation
    )  # fmt: skip
