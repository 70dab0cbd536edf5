"""A worker from start to end: checks, apps, health, and a stop within a time limit."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from aiokafka.errors import InconsistentGroupProtocolError
from confluent_kafka import KafkaException

from driftline.agents.kafka.broker import failures, topics
from driftline.agents.kafka.broker.broker_clock import BrokerClock, ClockProbe, clock_complaint
from driftline.agents.kafka.broker.connection import BrokerAway, BrokerError, Connection
from driftline.agents.kafka.broker.failures import MustStop
from driftline.agents.kafka.broker.input_logs import NO_RESUME, Resume
from driftline.agents.kafka.broker.ownership import OwnedByAnother, OwnerMayRun, Ownership
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.broker.task_kinds import DOWNSTREAM, JOIN
from driftline.agents.kafka.mirror.mirroring import Mirroring
from driftline.agents.kafka.notify.notifier import Notifier
from driftline.agents.kafka.rekey.rekeyer import Rekeyer
from driftline.agents.kafka.task.processor import ProcessorFactory
from driftline.agents.kafka.task.runtime import Runtime
from driftline.agents.kafka.task.task import Task
from driftline.agents.kafka.task.tasks import Tasks
from driftline.agents.kafka.tools.partitioners import KeySamples
from driftline.agents.mirror.mirror import Mirror
from driftline.agents.notify.channel import Channel
from driftline.agents.uncounted_rows import BatchTally
from driftline.agents.worker import rights
from driftline.agents.worker.app import App
from driftline.agents.worker.health import Health, KindStatus, serve
from driftline.agents.worker.input_watch import InputWatch
from driftline.agents.worker.metrics_publisher import MetricsPublisher
from driftline.agents.worker.owned_step import OwnedStep
from driftline.agents.worker.rekeying import Rekeying
from driftline.agents.worker.seek_positions import LostPosition
from driftline.agents.worker.stalled_inputs import StalledInputs
from driftline.agents.worker.task_router import TaskRouter, UnevenAssignment
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

# The process has ended 10 s after SIGTERM. The broker aborts transactions that are cut off then,
# and the next owner of the partitions repeats them.
STOP_SECONDS = 8.0
RETRY_SECONDS = 3.0
POLL_SECONDS = 0.5
POLLS_PER_PARTITIONER_CHECK = 20
BROKER_CHECK_SECONDS = 10.0
BROKER_CHECKS_PER_RIGHTS_CHECK = 6
INPUT_CHECK_SECONDS = 3.0
EXIT_CUT_OFF = 71

log = logging.getLogger(__name__)


class TaskKind(msgspec.Struct, frozen=True):
    """One kind of task to run.

    Attributes
    ----------
    name
        Name of the kind, see `agents.kafka.broker.task_kinds`.
    inputs
        Topics without prefix; a task has the same partition of each.
    processors
        Makes the processor of a task.
    """

    name: str
    inputs: tuple[str, ...]
    processors: ProcessorFactory


def run(
    connection: Connection,
    kinds: Sequence[TaskKind],
    *,
    clock: BrokerClock,
    state: Any,
    host: str,
    port: int,
    resume: Resume = NO_RESUME,
    channels: Mapping[str, Channel] | None = None,
    mirror: Mirror | None = None,
) -> NoReturn:
    """Work until SIGTERM or SIGINT, then end the process.

    Parameters
    ----------
    clock
        The clock of the processors, which is set by the broker's.
    state
        Folder for the local state.
    host, port
        Where health is served.
    resume
        Where tasks go on whose positions in their inputs cannot be used.
    channels
        Where notifications go, by name; without any there is no notifier.
    mirror
        The mirror in Redis; None for none.

    Raises
    ------
    BrokerError, UnusableTopics
        If the broker refuses the connection, or its topics do not fit the configuration.
    OSError
        If health cannot be served at this address.
    """
    worker = Worker(connection, kinds, state, clock, resume, channels, mirror)
    code = asyncio.run(worker.run_until_stopped(host=host, port=port))
    logging.shutdown()
    # Do not wait for threads that still restore or wait for the broker.
    os._exit(code)


class Worker:
    """The apps of one process.

    Attributes
    ----------
    health
        What its health pages show.
    apps
        One for each kind of task.
    """

    def __init__(
        self,
        connection: Connection,
        kinds: Sequence[TaskKind],
        state: Any,
        clock: BrokerClock,
        resume: Resume = NO_RESUME,
        channels: Mapping[str, Channel] | None = None,
        mirror: Mirror | None = None,
    ) -> None:
        self.health = Health()
        self._clock = clock
        self._clock_probe = ClockProbe(connection)
        self.apps: list[App] = []
        self._connection = connection
        self._kinds = kinds
        self._state = state
        self._resume = resume
        self._channels = channels or {}
        self._mirror = mirror
        self._inputs = InputWatch(connection)
        self._stalled = StalledInputs(connection)
        self._stop = asyncio.Event()
        self._ownership = Ownership(connection)
        self._samples = KeySamples(connection.settings.input_partitions)
        self._rekeying: Rekeying | None = None
        self._notifying: OwnedStep | None = None
        self._mirroring: OwnedStep | None = None
        self._background: list[asyncio.Future[None]] = []
        self._kind_names = [kind.name for kind in kinds]
        self._inputs_by_kind = {kind.name: kind.inputs for kind in kinds}

    async def run_until_stopped(self, *, host: str, port: int) -> int:
        """Run until a signal asks for the end; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._request_stop, number)
        server = await serve(self.health, host=host, port=port)
        log.info(
            "health at http://%s:%d/health/ready; broker %s", host, port, self._connection.servers
        )
        try:
            await self._unless_stopped(self._wait_for_broker())
            if not self._stop.is_set():
                self._start()
                await self._stop.wait()
            return await self._shut_down()
        finally:
            await server.cleanup()

    def _request_stop(self, number: int) -> None:
        log.info("%s: committing what the tasks have taken", signal.Signals(number).name)
        self.health.waiting_for = "the end of the process"
        self._stop.set()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            working.result()
        else:
            working.cancel()

    async def _wait_for_broker(self) -> None:
        """Wait until the broker answers and the results may be written; raise if its topics do not
        fit the configuration, and end the process if they belong to another program.
        """
        while True:
            try:
                await asyncio.to_thread(self._check_topics)
                # Before any task reads, so that no later topic passes for the first one.
                await asyncio.to_thread(self._inputs.look)
                # Before the first record, which the clock may reject for good.
                self._clock.note(await asyncio.to_thread(self._clock_probe.measure))
                return
            except BrokerAway as error:
                self.health.waiting_for = f"the broker: {error}"
                log.warning("%s. Retrying every %.0f s", error, RETRY_SECONDS)
            except OwnerMayRun as error:
                self.health.waiting_for = f"the results: {error}"
                log.warning("%s", error)
            except OwnedByAnother as error:
                failures.stop_process(failures.CONFIGURATION, str(error))
            await asyncio.sleep(RETRY_SECONDS)

    def _check_topics(self) -> None:
        """Check the topics, the consumer groups and who writes the results; blocks."""
        self._connection.reach()
        # First, because a topic that this login must not describe looks as if it were missing.
        rights.require(self._connection, self._kind_names)
        try:
            topics.require(self._connection)
        except KafkaException as error:
            raise self._connection.error(error, "checking the topics") from error
        try:
            foreign = self._ownership.foreign_members(self._inputs_by_kind)
            if foreign:
                raise OwnedByAnother("; ".join(foreign))
            self._ownership.take()
        except KafkaException as error:
            fault = self._connection.error(error, "the check of the owner of the results")
            if error.args[0].retriable():
                raise BrokerAway(str(fault)) from error
            raise fault from error

    def _start(self) -> None:
        runtime = Runtime(
            self._connection,
            self._state,
            missing_rights=lambda kind: rights.sentence(self._connection, [kind]),
            resume=self._resume,
        )
        self.health.tally = runtime.tally
        if self._connection.settings.rekey and JOIN in self._kind_names:
            self._rekeying = self.health.rekeying = self._rekeying_step(runtime)
        if self._channels and DOWNSTREAM in self._kind_names:
            self._notifying = self._notifying_step()
        if self._mirror is not None and DOWNSTREAM in self._kind_names:
            self._mirroring = self._mirroring_step(self._mirror)
        for kind in self._kinds:
            router = TaskRouter(kind.inputs, self._connection, self._sample_keys)
            app = App(kind.name, router, self._connection, self._fail, clock=self._clock)
            router.tasks = Tasks(runtime, kind.name, kind.processors, reopened=app.reopened)
            self.apps.append(app)
            self.health.kinds.append(
                KindStatus(kind.name, router, app.is_rebalancing, app.log_ends)
            )
            self._background.append(asyncio.ensure_future(self._run_app(app)))
        self._background.append(asyncio.ensure_future(self._poll_tasks()))
        self._background.append(asyncio.ensure_future(self._poll_broker()))
        self._background.append(asyncio.ensure_future(self._poll_inputs()))
        if (interval_ms := self._connection.settings.worker_metrics_ms) is not None:
            self._background.append(asyncio.ensure_future(self._report(interval_ms)))
        self._check_clock()
        self.health.clock = self._clock
        self.health.waiting_for = None

    async def _report(self, interval_ms: int) -> None:
        """Report about this worker and its machine."""
        publisher = MetricsPublisher(
            self._connection,
            Path(self._state),
            interval_ms=interval_ms,
            clock=self._clock,
            lag=lambda: sum(
                lag.records for kind in self.health.kinds for lag in self.health.lags(kind)
            ),
        )
        try:
            await publisher.run()
        except Exception as error:
            self._fail("reporting about the worker failed", error)

    def _rekeying_step(self, runtime: Runtime) -> Rekeying:
        loop = asyncio.get_running_loop()

        def report(partition: int, tally: BatchTally) -> None:
            loop.call_soon_threadsafe(runtime.tally.add, partition, tally)

        rekeyer = Rekeyer(
            self._connection,
            clock=self._clock,
            ahead=self._clock.ahead_ms,
            report=report,
            resume=self._resume,
            missing_rights=lambda: rights.sentence(self._connection, [JOIN]),
        )
        return Rekeying(self._connection, rekeyer, self._fail)

    def _notifying_step(self) -> OwnedStep:
        notifier = Notifier(
            self._connection,
            self._channels,
            clock=self._clock,
            resume=self._resume,
            missing_rights=lambda: rights.sentence(self._connection, [DOWNSTREAM]),
        )
        return OwnedStep("the notifier", notifier, self._fail)

    def _mirroring_step(self, mirror: Mirror) -> OwnedStep:
        mirroring = Mirroring(self._connection, mirror)
        self.health.notes.append(lambda: mirroring.problem)
        return OwnedStep("the mirror", mirroring, self._fail)

    def _follow_steps(self) -> None:
        """Re-key in the worker that has the first partition of stage 1; notify and mirror in the
        one that has the first partition of the later stages.
        """
        self._follow(self._rekeying, "rekey", JOIN)
        self._follow(self._notifying, "notify", DOWNSTREAM)
        self._follow(self._mirroring, "mirror", DOWNSTREAM)

    def _follow(self, step: OwnedStep | None, subject: str, kind: str) -> None:
        if step is None or self._stop.is_set():
            return
        (app,) = (app for app in self.apps if app.kind == kind)
        step.follow(is_owner=not app.is_rebalancing() and 0 in app.task_router.assigned)
        if (problem := step.problem()) is None:
            self.health.problems.pop(subject, None)
        else:
            self.health.problems[subject] = problem

    async def _run_app(self, app: App) -> None:
        """Run one app. If Faust gives up, end the process; its supervisor starts a new one."""
        try:
            await app.start()
            await app.wait_until_stopped()
        except Exception as error:
            self._fail(f"{app.kind}: the start failed", error)
        if app.crash_reason is not None:
            self._fail(f"{app.kind}: Faust gave up", app.crash_reason)

    def _fail(self, what: str, error: BaseException) -> None:
        if isinstance(error, MustStop):
            failures.stop_process(error.code, f"{what}: {error}")
        if isinstance(error, rights.REFUSALS):
            lacking = rights.sentence(self._connection, self._kind_names)
            what = f"{what}: {lacking or repr(error)}"
            failures.stop_process(failures.CONFIGURATION, what)
        if isinstance(error, InconsistentGroupProtocolError):
            failures.stop_process(failures.CONFIGURATION, f"{what}: {self._foreign_member()}")
        if isinstance(error, LostPosition | UnevenAssignment):
            # Topics that were deleted, made anew or given more partitions show up as either.
            if cause := self._inputs.diagnose(self._tasks()):
                failures.stop_process(failures.CONFIGURATION, cause)
            if isinstance(error, LostPosition):
                failures.stop_process(failures.CONFIGURATION, f"{what}: {error}")
        failures.stop_process(failures.DEFECT, f"{what}: {error!r}")

    def _foreign_member(self) -> str:
        """Which member keeps this worker out of its consumer groups."""
        try:
            foreign = self._ownership.foreign_members(self._inputs_by_kind)
        except (BrokerError, KafkaException):
            foreign = []
        return "; ".join(foreign) or (
            "a consumer group of this program has, or had a moment ago, a member of another one "
            "that shares out partitions in another way. Give one of them another name (kafka.app), "
            "or stop the other"
        )

    def _tasks(self) -> list[Task]:
        return [task for app in self.apps for task in app.task_router.tasks.tasks()]

    async def _poll_inputs(self) -> None:
        """Look periodically whether the topics are still those that the tasks read."""
        while not self._stop.is_set():
            await asyncio.sleep(INPUT_CHECK_SECONDS)
            try:
                report = await asyncio.to_thread(self._inputs.look)
            except BrokerError:
                continue  # `_poll_broker` reports it
            except Exception as error:
                self._fail("the periodic check of the topics failed", error)
            if report.ended is not None:
                failures.stop_process(failures.CONFIGURATION, report.ended)
            self._note_problem("topics", report.problem)
            try:
                stalled = await asyncio.to_thread(self._stalled.look, self._positions())
            except KafkaException:
                continue  # `_poll_broker` reports it
            except Exception as error:
                self._fail("the periodic check of the positions failed", error)
            self._note_problem("inputs", stalled)
            if self._rekeying is not None:
                try:
                    await asyncio.to_thread(self._rekeying.look)
                except (BrokerError, KafkaException):
                    continue  # `_poll_broker` reports it
                except Exception as error:
                    self._fail("the periodic look at the sources failed", error)

    def _positions(self) -> dict[tuple[str, int], int | None]:
        """The next offset of each input of each task; None for the beginning of its log."""
        return {
            (topic, task.partition): task.positions.get(topic)
            for app in self.apps
            for task in app.task_router.tasks.tasks()
            for topic in self._inputs_by_kind[app.kind]
        }

    def _note_problem(self, subject: str, problem: str | None) -> None:
        if problem is None:
            self.health.problems.pop(subject, None)
        elif self.health.problems.get(subject) != problem:
            log.error("not ready: %s", problem)
            self.health.problems[subject] = problem

    async def _poll_tasks(self) -> None:
        """Update periodically what depends on the state of the tasks and on the keys seen."""
        polls = 0
        while not self._stop.is_set():
            try:
                self._follow_steps()
                for app in self.apps:
                    is_fed = (
                        app.kind == JOIN
                        and self._rekeying is not None
                        and not self._rekeying.is_caught_up
                    )
                    app.update_caught_up(time.time_ns() // 1_000_000, is_fed=is_fed)
                    app.follow_commit_interval()
                self._check_clock()
                if polls % POLLS_PER_PARTITIONER_CHECK == 0:
                    self._check_partitioners()
            except Exception as error:
                self._fail("the periodic look at the tasks failed", error)
            polls += 1
            await asyncio.sleep(POLL_SECONDS)

    async def _poll_broker(self) -> None:
        """Check periodically that the broker answers and that no other program has taken the
        results over or joined a consumer group of this one, and now and then that the login has its
        rights: an idle worker would not notice otherwise.
        """
        checks = 0
        while not self._stop.is_set():
            await asyncio.sleep(BROKER_CHECK_SECONDS)
            checks += 1
            conflict = None
            try:
                await asyncio.to_thread(self._connection.reach)
                self.health.problems.pop("broker", None)
                if checks % BROKER_CHECKS_PER_RIGHTS_CHECK == 0:
                    await asyncio.to_thread(rights.require, self._connection, self._kind_names)
                    self.health.problems.pop("rights", None)
                conflict = await asyncio.to_thread(self._ownership.conflict)
                foreign = await asyncio.to_thread(
                    self._ownership.foreign_members, self._inputs_by_kind
                )
                conflict = conflict or "; ".join(foreign) or None
                self._clock.note(await asyncio.to_thread(self._clock_probe.measure))
            except rights.MissingRights as error:
                self.health.problems["rights"] = str(error)
                log.error("%s", error)
            except BrokerError as error:
                self.health.problems["broker"] = str(error)
            except KafkaException as error:
                self.health.problems["broker"] = str(self._connection.error(error))
            except Exception as error:
                self._fail("the periodic check of the broker failed", error)
            if conflict is not None:
                failures.stop_process(failures.CONFIGURATION, conflict)

    def _check_clock(self) -> None:
        """Compare the machine's clock with the broker's, as measured last."""
        found = clock_complaint(self._connection, self._clock.ahead_ms())
        # Under the data clock the records define the time: nothing waits for the machine's clock.
        if found is None or self._connection.config.clock == "data":
            if self.health.problems.pop("clock", None):
                log.warning("the clock of this machine agrees with the broker's again")
            return
        if "clock" not in self.health.problems:
            log.warning(
                "%s. Meanwhile rows are rejected as too far ahead by the later clock, and idle "
                "partitions advance by the earlier one",
                found,
            )
        self.health.problems["clock"] = found

    def _sample_keys(self, received: ReceivedRecords) -> None:
        if received.topic in (PREDICTIONS, GROUND_TRUTH):
            self._samples.take(received.topic, received.partition, received.keys)

    def _check_partitioners(self) -> None:
        complaints = "; ".join(self._samples.warnings((PREDICTIONS, GROUND_TRUTH)))
        if complaints and complaints != self.health.problems.get("partitioners"):
            log.error("%s", complaints)
        if complaints:
            self.health.problems["partitioners"] = complaints
        else:
            self.health.problems.pop("partitioners", None)

    async def _stop_step(self, step: OwnedStep | None) -> None:
        if step is not None:
            await asyncio.to_thread(step.stop)

    async def _shut_down(self) -> int:
        began = time.monotonic()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                # It may wait for sends, while the tasks commit.
                notified = asyncio.ensure_future(self._stop_step(self._notifying))
                mirrored = asyncio.ensure_future(self._stop_step(self._mirroring))
                await self._stop_step(self._rekeying)
                await asyncio.gather(*(app.stop() for app in self.apps))
                await asyncio.gather(*(app.task_router.tasks.close() for app in self.apps))
                await notified
                await mirrored
        except TimeoutError:
            log.warning(
                "not finished within %.0f s; the broker aborts the open transactions, "
                "and the next worker repeats them",
                STOP_SECONDS,
            )
            return EXIT_CUT_OFF
        log.info("stopped in %.1f s", time.monotonic() - began)
        return 0
