"""A worker from its start to its end: checks, apps, health, and a stop in time."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from driftline.agents.kafka.broker import failures, topics
from driftline.agents.kafka.broker.connection import BrokerAway, BrokerError, Connection
from driftline.agents.kafka.broker.received import Received
from driftline.agents.kafka.task.processor import ProcessorFactory
from driftline.agents.kafka.task.runtime import Runtime
from driftline.agents.kafka.task.tasks import Tasks
from driftline.agents.kafka.tools.partitioners import KeySamples
from driftline.agents.worker.app import App
from driftline.agents.worker.health import Health, Kind, serve
from driftline.agents.worker.seek_positions import LostPosition
from driftline.agents.worker.task_router import Feed
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

# All is over 10 s after SIGTERM. What is cut off then is aborted by the broker, and done again by
# whoever goes on.
STOP_SECONDS = 8.0
RETRY_SECONDS = 3.0
LOOK_SECONDS = 0.5
LOOKS_PER_JUDGEMENT = 20
ASK_SECONDS = 10.0
CUT_OFF = 71

log = logging.getLogger(__name__)


class Work(msgspec.Struct, frozen=True):
    """One kind of task to run.

    Attributes
    ----------
    kind
        "join" or "downstream".
    inputs
        Topics without prefix; a task has the same partition of each.
    processors
        Makes the processor of a task.
    """

    kind: str
    inputs: tuple[str, ...]
    processors: ProcessorFactory


def run(
    connection: Connection, works: Sequence[Work], *, state: Any, host: str, port: int
) -> NoReturn:
    """Work until SIGTERM or SIGINT; ends the process.

    Parameters
    ----------
    state
        Folder for the local copies.
    host, port
        Where health is served.

    Raises
    ------
    BrokerError, TopicsRefused
        If the broker refuses, or its topics are not what is needed.
    OSError
        If health cannot be served there.
    """
    code = asyncio.run(Worker(connection, works, state).until_stopped(host=host, port=port))
    logging.shutdown()
    # Threads that still restore or wait for the broker are not waited for.
    os._exit(code)


class Worker:
    """The apps of one process.

    Attributes
    ----------
    health
        What is said about it.
    apps
        One for each kind of task.
    """

    def __init__(self, connection: Connection, works: Sequence[Work], state: Any) -> None:
        self.health = Health()
        self.apps: list[App] = []
        self._connection = connection
        self._works = works
        self._state = state
        self._stop = asyncio.Event()
        self._samples = KeySamples(connection.settings.input_partitions)
        self._background: list[asyncio.Future[None]] = []

    async def until_stopped(self, *, host: str, port: int) -> int:
        """Run until a signal says stop; gives the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        server = await serve(self.health, host=host, port=port)
        log.info(
            "health at http://%s:%d/health/ready; broker %s", host, port, self._connection.servers
        )
        try:
            await self._unless_stopped(self._fit())
            if not self._stop.is_set():
                self._start()
                await self._stop.wait()
            return await self._end()
        finally:
            await server.cleanup()

    def _asked_to_stop(self, number: int) -> None:
        log.info("%s: finishing what has been taken", signal.Signals(number).name)
        self.health.waiting_for = "the end"
        self._stop.set()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        doing = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((doing, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if doing.done():
            doing.result()
        else:
            doing.cancel()

    async def _fit(self) -> None:
        """Wait for the broker; refuse topics that do not fit."""
        while True:
            try:
                await asyncio.to_thread(_check, self._connection)
                return
            except BrokerAway as error:
                self.health.waiting_for = f"the broker: {error}"
                log.warning("%s. Trying again every %.0f s", error, RETRY_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)

    def _start(self) -> None:
        runtime = Runtime(self._connection, self._state)
        for work in self._works:
            feed = Feed(work.inputs, self._connection, self._sampled)
            app = App(work.kind, feed, self._connection, self._failed)
            feed.tasks = Tasks(runtime, work.kind, work.processors, reopened=app.reopened)
            self.apps.append(app)
            self.health.kinds.append(Kind(work.kind, feed, app.rebalances, app.ends))
            self._background.append(asyncio.ensure_future(self._watched(app)))
        self._background.append(asyncio.ensure_future(self._look()))
        self._background.append(asyncio.ensure_future(self._ask_broker()))
        self.health.waiting_for = None

    async def _watched(self, app: App) -> None:
        """Run one app. Where Faust gives up the process ends, and its supervisor starts it anew."""
        try:
            await app.start()
            await app.wait_until_stopped()
        except Exception as error:
            self._failed(f"{app.kind}: the start failed", error)
        if app.crash_reason is not None:
            self._failed(f"{app.kind}: Faust gave up", app.crash_reason)

    def _failed(self, what: str, error: BaseException) -> None:
        code = failures.REFUSED if isinstance(error, LostPosition) else failures.DEFECT
        failures.stop_process(
            code, f"{what}: {error}" if isinstance(error, LostPosition) else f"{what}: {error!r}"
        )

    async def _look(self) -> None:
        """Look now and then at what nobody reports."""
        looks = 0
        while not self._stop.is_set():
            try:
                for app in self.apps:
                    app.tell_caught_up(time.time_ns() // 1_000_000)
                    app.adapt()
                if looks % LOOKS_PER_JUDGEMENT == 0:
                    self._judge_partitioners()
            except Exception as error:
                self._failed("looking after the tasks", error)
            looks += 1
            await asyncio.sleep(LOOK_SECONDS)

    async def _ask_broker(self) -> None:
        """Ask now and then whether the broker answers: a worker that has nothing to do would not
        notice.
        """
        while not self._stop.is_set():
            await asyncio.sleep(ASK_SECONDS)
            try:
                await asyncio.to_thread(self._connection.reach)
                self.health.problems.pop("broker", None)
            except BrokerError as error:
                self.health.problems["broker"] = str(error)
            except Exception as error:
                self._failed("asking the broker", error)

    def _sampled(self, received: Received) -> None:
        if received.topic in (PREDICTIONS, GROUND_TRUTH):
            self._samples.take(received.topic, received.partition, received.keys)

    def _judge_partitioners(self) -> None:
        complaints = "; ".join(self._samples.complaints((PREDICTIONS, GROUND_TRUTH)))
        if complaints and complaints != self.health.problems.get("partitioners"):
            log.error("%s", complaints)
        if complaints:
            self.health.problems["partitioners"] = complaints
        else:
            self.health.problems.pop("partitioners", None)

    async def _end(self) -> int:
        began = time.monotonic()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.gather(*(app.stop() for app in self.apps))
                await asyncio.gather(*(app.feed.tasks.close() for app in self.apps))
        except TimeoutError:
            log.warning(
                "not finished within %.0f s; the broker aborts what is open, and it is done again",
                STOP_SECONDS,
            )
            return CUT_OFF
        log.info("stopped in %.1f s", time.monotonic() - began)
        return 0


def _check(connection: Connection) -> Mapping[str, topics.Found]:
    connection.reach()
    return topics.require(connection)
