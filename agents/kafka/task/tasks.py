"""Tasks of one kind that a worker runs: opened when partitions are assigned, finished when they are
revoked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.failures import Abandoned
from driftline.agents.kafka.task import metering
from driftline.agents.kafka.task.processor import ProcessorFactory
from driftline.agents.kafka.task.runtime import Runtime
from driftline.agents.kafka.task.task import Task
from driftline.agents.kafka.task.transaction import TransactionAborted

log = logging.getLogger(__name__)

# A transaction that fails every time would be retried for ever.
_MAX_ABORTS: Final = 3
_ABANDON_WAIT_S: Final = 3.0

Reopened = Callable[[int, Mapping[str, int]], Awaitable[None]]


class Tasks:
    """Tasks of one kind. All calls come from one event loop.

    Parameters
    ----------
    runtime
        Shared by the tasks of the worker.
    kind
        "join" or "downstream".
    factory
        Makes the processor of a task.
    reopened
        Awaited with the positions of a task that was opened again, before `get` returns it: the
        driver seeks its inputs there. Meanwhile `get` returns None, and deliveries must be dropped.
    """

    def __init__(
        self,
        runtime: Runtime,
        kind: str,
        factory: ProcessorFactory,
        *,
        reopened: Reopened | None = None,
    ) -> None:
        self.kind = kind
        self._runtime = runtime
        self._factory = factory
        self._reopened = reopened
        self._wanted: frozenset[int] = frozenset()
        self._live: dict[int, Task] = {}
        self._opening: dict[int, tuple[Task, asyncio.Task[None]]] = {}
        self._closing: dict[int, asyncio.Task[None]] = {}
        self._aborts: dict[int, int] = {}
        self._held = False

    async def assign(self, partitions: set[int] | frozenset[int]) -> None:
        """Run a task for each of these partitions and for no other; returns when all are restored.

        Can be called again with the same or another set, and be cancelled: opening continues, and
        the next call waits for it. Tasks of revoked partitions commit their buffered records first.
        """
        self._wanted = frozenset(partitions)
        self._resume()
        for partition in sorted(self._live.keys() - self._wanted):
            self._close(self._live.pop(partition), commit=True)
        await self._all(self._closing.values())
        while missing := self._wanted - self._live.keys():
            for partition in sorted(missing - self._opening.keys()):
                self._open(partition)
            await self._all([opening for _, opening in self._opening.values()])

    def hold(self) -> None:
        """Begin no transaction until `narrow` or `assign` names the partitions that remain.

        Partitions are being reassigned: a new owner fences the task at once, which ends a process
        that is writing for it.
        """
        self._held = True
        for task in self.tasks():
            task.hold()

    def narrow(self, partitions: set[int] | frozenset[int]) -> None:
        """Drop partitions that a newer assignment, whose `assign` follows, no longer has.

        `assign` of the older one may still be running. A task that it opened now would fence the
        new owner.
        """
        self._wanted &= partitions
        self._resume()

    def _resume(self) -> None:
        self._held = False
        for partition, (task, _) in self._opening.items():
            if partition not in self._wanted:
                task.abandon()
        for partition, task in self._live.items():
            if partition in self._wanted:
                task.release()

    def get(self, partition: int) -> Task | None:
        """The task of a partition; None if it does not exist or is not open yet."""
        return self._live.get(partition)

    def tasks(self) -> list[Task]:
        """All tasks that can take deliveries."""
        return list(self._live.values())

    @property
    def ready(self) -> bool:
        """Whether every assigned partition has an open task."""
        return self._wanted <= self._live.keys()

    async def finish(self) -> None:
        """Commit all buffered records before partitions are reassigned.

        Tasks that are being opened are abandoned until the next `assign`: opening late would fence
        the next owner.
        """
        self._wanted = frozenset(self._live)
        for task, _ in self._opening.values():
            task.abandon()
        begun = [opening for _, opening in self._opening.values()]
        await self._all([asyncio.ensure_future(self._commit(task)) for task in self.tasks()])
        # A task that is fencing right now ends soon, except while the broker is away.
        if begun:
            await asyncio.wait(begun, timeout=_ABANDON_WAIT_S)

    async def close(self) -> None:
        """Finish and close all tasks."""
        await self.assign(frozenset())
        await self._all([opening for _, opening in self._opening.values()])
        await self._all(self._closing.values())

    def offsets(self) -> dict[int, dict[str, int]]:
        """Committed positions by partition: next offset by topic without prefix."""
        return {partition: dict(task.committed) for partition, task in self._live.items()}

    async def _commit(self, task: Task) -> None:
        try:
            await task.commit()
        except TransactionAborted as error:
            self._drop(task)
            log.warning(
                "%s: a transaction was aborted, the task is opened again: %s", task.name, error
            )

    def _open(self, partition: int, *, again: bool = False) -> None:
        task = Task(self._runtime, self.kind, partition, self._factory)
        self._opening[partition] = (
            task,
            asyncio.get_running_loop().create_task(self._opened(task, again=again)),
        )

    async def _opened(self, task: Task, *, again: bool) -> None:
        partition = task.partition
        loop = asyncio.get_running_loop()
        with metering.RESTORING.labels(self.kind).track_inprogress():
            try:
                if partition in self._closing:
                    await asyncio.shield(self._closing[partition])
                await loop.run_in_executor(self._runtime.opening, task.open)
                if again and self._reopened is not None and partition in self._wanted:
                    await self._reopened(partition, dict(task.positions))
            except Abandoned:
                del self._opening[partition]
                return
            except Exception as error:
                failures.stop_process(
                    failures.DEFECT, f"{task.name}: cannot be opened again: {error!r}"
                )
        del self._opening[partition]
        self._count(1)
        # An abandoned task takes no records, even if its partition is assigned again: it is opened
        # again instead.
        if partition in self._wanted and not task.abandoned:
            self._live[partition] = task
            if self._held:
                task.hold()
            task.start(self._drop)
        else:
            self._close(task, commit=False)

    def _drop(self, task: Task) -> None:
        """Open a task again after its transaction was aborted."""
        partition = task.partition
        if self._live.get(partition) is not task:
            return
        aborts = self._aborts[partition] = 1 if task.commits else self._aborts.get(partition, 0) + 1
        if aborts >= _MAX_ABORTS:
            failures.stop_process(
                failures.CONFIGURATION,
                f"{task.name}: {aborts} transactions in a row were aborted; see the log lines "
                "above",
            )
        del self._live[partition]
        task.abandon()
        self._close(task, commit=False)
        self._open(partition, again=True)

    def _close(self, task: Task, *, commit: bool) -> None:
        closing = asyncio.get_running_loop().create_task(self._closed(task, commit=commit))
        self._closing[task.partition] = closing
        closing.add_done_callback(lambda _: self._closing.pop(task.partition, None))

    async def _closed(self, task: Task, *, commit: bool) -> None:
        if commit:
            failures.fault_point("revoking")
            try:
                await task.finish()
            except TransactionAborted as error:
                log.warning(
                    "%s: its last transaction was aborted, the next owner repeats it: %s",
                    task.name,
                    error,
                )
        # Not on the threads of restores, which may take minutes.
        await asyncio.get_running_loop().run_in_executor(self._runtime.writing, task.close)
        self._count(-1)

    def _count(self, more: int) -> None:
        self._runtime.tasks += more
        metering.TASKS.labels(self.kind).inc(more)

    async def _all(self, begun: Iterable[asyncio.Future[None]]) -> None:
        """Wait for tasks that are running; a cancelled wait does not cancel them."""
        await asyncio.shield(asyncio.gather(*begun))
