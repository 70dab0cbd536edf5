"""The Faust app of one kind of task: its consumer group, and the agent that passes deliveries on.

There are two kinds (stage 1; stages 2 to 4), each with a consumer group of its own, because Faust
assigns all topics of an app to all its members. Both apps run in one process and event loop. What a
task does with its records is `agents/kafka`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import fmean
from typing import Any, cast

import faust
from faust.app.base import BootStrategy
from faust.tables.manager import TableManager
from faust.types import TP

from driftline.agents.kafka.broker.broker_clock import BrokerClock
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.worker.assignor import EvenAssignor
from driftline.agents.worker.fetch_thread import FetchSettings
from driftline.agents.worker.task_router import TaskRouter
from driftline.agents.worker.transport import (
    MicroBatchConsumer,
    MicroBatchTransport,
    PassThroughSchema,
)
from driftline.schemas.errors import DriftlineError

FAUST_VERSION = "0.15.3"
# Events that wait for the agent, each with up to 2,000 records of one partition.
WAITING_EVENTS = 16
# A fetch returns after a second at the latest (`fetch_wait.py`).
FRESH_MS = 3_000

log = logging.getLogger(__name__)


class UnsupportedFaust(DriftlineError):
    """The installed Faust is not the version whose internals this package overrides."""


def check_faust() -> None:
    """Raise `UnsupportedFaust` unless the installed Faust is the required version."""
    if faust.__version__ != FAUST_VERSION:
        raise UnsupportedFaust(
            f"the worker needs faust-streaming {FAUST_VERSION} exactly, because it overrides "
            f"internals of its delivery; {faust.__version__} is installed: "
            f'install "faust-streaming=={FAUST_VERSION}"'
        )


class ConsumerOnly(BootStrategy):
    """Starts neither Faust's producer nor its web server: results leave in the tasks'
    transactions, health is `health.py`.
    """

    enable_kafka_producer = False
    enable_web = False


class NoTables(TableManager):
    """Faust's table manager, which carries out assignments, without the wait of one second for
    tables: there are none.
    """

    logger = logging.getLogger("faust.worker")

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class App(faust.App):
    """The app of one kind of task.

    Parameters
    ----------
    kind
        Name of the kind; the last part of the consumer group's name.
    router
        Passes deliveries to the tasks.
    connection
        The way to the broker, and the settings under [kafka].
    on_failure
        Called with what failed and the exception. It must end the process: Faust would restart the
        agent and skip the records that failed.
    clock
        The time of the processors, in ms since the epoch: the broker's; by default the machine's.
    """

    BootStrategy = ConsumerOnly
    logger = logging.getLogger("faust.worker")

    def __init__(
        self,
        kind: str,
        router: TaskRouter,
        connection: Connection,
        on_failure: Callable[[str, Exception], Any],
        *,
        clock: Callable[[], int] | None = None,
    ) -> None:
        settings = connection.settings
        session_seconds = settings.session_timeout_ms / 1000
        super().__init__(
            connection.group(kind),
            broker="kafka://unused",  # `connection` knows the broker
            store="memory://",
            autodiscover=False,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            consumer_group_instance_id=settings.static_member,
            broker_commit_interval=1.0,
            broker_session_timeout=session_seconds,
            broker_heartbeat_interval=session_seconds / 6,
            broker_rebalance_timeout=30.0,
            # Faust gives up on a seek after this time, for good. The timeout of a request is set in
            # `fetch_thread.py`.
            broker_request_timeout=3600.0,
            # No fetch happens during a restore, which may take long.
            broker_max_poll_interval=3600.0,
            stream_recovery_delay=0.0,
            stream_buffer_maxsize=WAITING_EVENTS,
            TableManager=NoTables,
            PartitionAssignor=EvenAssignor,
        )
        self.kind = kind
        self.task_router = router
        self._assigned_once = False
        self._connection = connection
        self._on_failure = on_failure
        self._clock_of_broker = clock or BrokerClock()
        inputs = self.topic(*map(connection.name, router.inputs), schema=PassThroughSchema())
        self.agent(inputs, name=kind)(self._route)
        self.on_rebalance_complete.connect(self._assign)

    def _new_transport(self) -> MicroBatchTransport:
        connection = self._connection
        return MicroBatchTransport(
            self,
            positions=self.task_router,
            fetch_settings=FetchSettings(
                connection=connection.aiokafka(),
                bare=connection.bare,
                linger_ms=connection.settings.commit_interval_ms,
                clock=self._clock_of_broker,
                on_refusal=lambda error: self._on_failure(f"{self.kind}: cannot read", error),
            ),
            on_lost=lambda error: self._on_failure(f"{self.kind}: an input", error),
        )

    def _create_directories(self) -> None:
        """Create none: Faust keeps no state here."""

    async def reopened(self, partition: int, positions: Mapping[str, int]) -> None:
        """Deliver again from the positions of a task that was reopened after an aborted
        transaction.
        """
        start = {
            TP(self._connection.name(topic), partition): positions.get(topic)
            for topic in self.task_router.inputs
        }
        with self._report_failure("the seek for a reopened task"):
            self.task_router.drop_until(await self._own_consumer.seek_again(start))

    async def _route(self, stream: Any) -> None:
        with self._report_failure("the agent"):
            await self.task_router.run(stream)

    async def _assign(self, *_: Any, **__: Any) -> None:
        """Restore the assigned tasks.

        Faust waits for it, without a time limit, before records flow.
        """
        assigned = self.consumer.assignment()
        began = time.monotonic()
        with self._report_failure("an assignment"):
            await self.task_router.assign(assigned)
        self._assigned_once = True
        partitions = sorted(self.task_router.assigned)
        log.info(
            "%s: partitions %s restored in %.1f s", self.kind, partitions, time.monotonic() - began
        )

    @contextmanager
    def _report_failure(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._on_failure(f"{self.kind}: {what} failed", error)
            raise

    def is_rebalancing(self) -> bool:
        """Whether partitions are being assigned, or never have been."""
        return self.rebalancing or not self._assigned_once

    def log_ends(self) -> dict[tuple[str, int], int]:
        """Last known end of each assigned log, by topic without prefix and partition."""
        bare = self._connection.bare
        return {
            (bare(tp.topic), tp.partition): end.offset
            for tp, end in self._own_consumer.known_ends().items()
        }

    def update_caught_up(self, local_ms: int, *, is_fed: bool = False) -> None:
        """Set for each processor whether its task has taken all records of its inputs, as far as
        the fetches of the last seconds show.

        While the broker is away no task is caught up, because new records may wait there.

        Parameters
        ----------
        local_ms
            The machine's time, by which fetches are timed, in milliseconds since the epoch.
        is_fed
            Whether an earlier step has records that the inputs do not hold yet.
        """
        now_ms = self._clock_of_broker()
        if is_fed or self.is_rebalancing():
            for held in self.task_router.tasks.tasks():
                held.processor.note_caught_up(False, now_ms=now_ms)
            return
        consumer = self._own_consumer
        ends = consumer.known_ends()
        behind = set()
        for tp in consumer.assignment():
            end, task = ends.get(tp), self.task_router.tasks.get(tp.partition)
            if end is None or task is None or abs(local_ms - end.at_ms) > FRESH_MS:
                behind.add(tp.partition)
                continue
            position = task.positions.get(
                self._connection.bare(tp.topic), consumer.start_offsets.get(tp, 0)
            )
            if end.position < end.offset or position < end.delivered:
                behind.add(tp.partition)
        for held in self.task_router.tasks.tasks():
            held.processor.note_caught_up(held.partition not in behind, now_ms=now_ms)

    def follow_commit_interval(self) -> None:
        """Fetch as often as the tasks commit: more often costs processor time, less often adds
        delay.
        """
        intervals = [task.interval_s for task in self.task_router.tasks.tasks()]
        if intervals and not self.is_rebalancing():
            self._own_consumer.set_linger(round(1000 * fmean(intervals)))

    @property
    def _own_consumer(self) -> MicroBatchConsumer:
        return cast(MicroBatchConsumer, self.consumer)
