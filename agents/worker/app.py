"""A Faust app for one kind of task: which group it belongs to, and the agent that feeds the tasks.

There are two kinds (stage 1; stages 2 to 4), each with its own consumer group, since Faust assigns
all topics of an app to all its members. Both apps run in one process and event loop. What a task
does with its records is `agents/kafka`.
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

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.worker.assignor import EvenAssignor
from driftline.agents.worker.task_router import Feed
from driftline.agents.worker.transport import MicroBatchConsumer, MicroBatchTransport, Untouched

FAUST_VERSION = "0.15.3"
# Events that wait for the agent, each with up to 2,000 records of one partition.
WAITING_EVENTS = 16
# A fetch is answered after a second at the latest (`pace.py`).
FRESH_MS = 3_000

log = logging.getLogger(__name__)


class WrongFaust(RuntimeError):
    """Another version of Faust than the one whose inner parts this package builds on."""


def check_faust() -> None:
    """Raise `WrongFaust` unless the installed Faust is the one that was built on."""
    if faust.__version__ != FAUST_VERSION:
        raise WrongFaust(
            f"the worker needs faust-streaming {FAUST_VERSION} exactly, {faust.__version__} is installed: its delivery is replaced inside; "
            f'install "faust-streaming=={FAUST_VERSION}"'
        )


class ConsumerOnly(BootStrategy):
    """No producer and no web server of Faust's: results leave in the tasks' transactions, health is
    `health.py`.
    """

    enable_kafka_producer = False
    enable_web = False


class NoTables(TableManager):
    """Faust's table manager, which carries out assignments; there are no tables of Faust's to wait
    a second for.
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
        Its name, which ends the name of the consumer group.
    feed
        Its tasks.
    connection
        The way to the broker, and the settings under [kafka].
    failed
        Called with what failed, and why. Faust would start the agent again and go on behind the
        failure.
    """

    BootStrategy = ConsumerOnly
    logger = logging.getLogger("faust.worker")

    def __init__(
        self, kind: str, feed: Feed, connection: Connection, failed: Callable[[str, Exception], Any]
    ) -> None:
        settings = connection.settings
        session_seconds = settings.session_timeout_ms / 1000
        super().__init__(
            connection.group(kind),
            broker="kafka://unused",  # the way to the broker is in `connection`
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
            # Faust gives a seek this long, and up for good afterwards; what a request may take is
            # said in `reader.py`.
            broker_request_timeout=3600.0,
            # A restore takes its time, and no fetch happens meanwhile.
            broker_max_poll_interval=3600.0,
            stream_recovery_delay=0.0,
            stream_buffer_maxsize=WAITING_EVENTS,
            TableManager=NoTables,
            PartitionAssignor=EvenAssignor,
        )
        self.kind = kind
        self._dealt = False
        self.feed = feed
        self._connection = connection
        self._failed = failed
        inputs = self.topic(*map(connection.name, feed.inputs), schema=Untouched())
        self.agent(inputs, name=kind)(self._feed)
        self.on_rebalance_complete.connect(self._assign)

    def _new_transport(self) -> MicroBatchTransport:
        options = self._connection.aiokafka()
        linger_ms = self._connection.settings.commit_interval_ms
        return MicroBatchTransport(
            self,
            positions=self.feed,
            connection=options,
            bare=self._connection.bare,
            linger_ms=linger_ms,
        )

    def _create_directories(self) -> None:
        """Make none: Faust keeps no state here."""

    async def reopened(self, partition: int, positions: Mapping[str, int]) -> None:
        """Deliver to a task from its positions on again: it was opened anew because a transaction
        was aborted.
        """
        wanted = {
            TP(self._connection.name(topic), partition): positions.get(topic)
            for topic in self.feed.inputs
        }
        with self._ending("seeking for a task that was opened anew"):
            self.feed.sought(await self._own_consumer.seek_again(wanted))

    async def _feed(self, stream: Any) -> None:
        with self._ending("the agent"):
            await self.feed.run(stream)

    async def _assign(self, *_: Any, **__: Any) -> None:
        """Restore what was assigned.

        Faust waits for it, without a time limit, before records flow.
        """
        assigned = self.consumer.assignment()
        began = time.monotonic()
        with self._ending("an assignment"):
            await self.feed.assign(assigned)
        self._dealt = True
        partitions = sorted(self.feed.assigned)
        log.info(
            "%s: partitions %s restored in %.1f s", self.kind, partitions, time.monotonic() - began
        )

    @contextmanager
    def _ending(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._failed(f"{self.kind}: {what} failed", error)
            raise

    def rebalances(self) -> bool:
        """Whether partitions are being dealt out, or have never been."""
        return self.rebalancing or not self._dealt

    def ends(self) -> dict[tuple[str, int], int]:
        """Last known end of each assigned log, by topic without prefix and partition."""
        bare = self._connection.bare
        return {
            (bare(tp.topic), tp.partition): end.offset
            for tp, end in self._own_consumer.ends_known().items()
        }

    def tell_caught_up(self, now_ms: int) -> None:
        """Tell each processor whether everything that its inputs hold has been taken, as far as
        fetches of the last seconds say.

        While the broker is away nothing is caught up: what waits there is not known.
        """
        if self.rebalances():
            for held in self.feed.tasks.tasks():
                held.processor.caught_up = False
            return
        consumer = self._own_consumer
        ends = consumer.ends_known()
        behind = set()
        for tp in consumer.assignment():
            end, task = ends.get(tp), self.feed.tasks.get(tp.partition)
            if end is None or task is None or end.at_ms < now_ms - FRESH_MS:
                behind.add(tp.partition)
                continue
            taken = task.positions.get(self._connection.bare(tp.topic), consumer.sought.get(tp, 0))
            if end.position < end.offset or taken < end.delivered:
                behind.add(tp.partition)
        for held in self.feed.tasks.tasks():
            held.processor.caught_up = held.partition not in behind

    def adapt(self) -> None:
        """Fetch as often as the tasks commit: more often costs, and less often is late."""
        intervals = [task.interval_s for task in self.feed.tasks.tasks()]
        if intervals and not self.rebalances():
            self._own_consumer.linger(round(1000 * fmean(intervals)))

    @property
    def _own_consumer(self) -> MicroBatchConsumer:
        return cast(MicroBatchConsumer, self.consumer)
