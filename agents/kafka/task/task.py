"""A task: one kind of work on one partition, with its state and its transactions.

The state of a task, what it writes and how far it has read change together or not at all. A commit
takes three steps:

1. on the thread of the event loop, the processor applies everything taken to the state, and what
changed is cut off; 2. on another thread, one Kafka transaction writes the outputs and the commit's
journal records, and after that, never before it, the local
   copy learns of it, together with the offset of the journal that it stands for;
3. back on the loop, the commit is noted.

At most one transaction is under way, while the next batch is taken and, once it is full, processed
already. Positions come from the journal alone: after an open, deliveries begin at `positions`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.failures import Abandoned, MustStop
from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.changelog.journal import records_of
from driftline.agents.kafka.changelog.ledger import Ledger, PendingCommit
from driftline.agents.kafka.changelog.restore import Restore
from driftline.agents.kafka.changelog.state_format import StateFormatError, check_shape
from driftline.agents.kafka.task.commit_timer import CommitTimer
from driftline.agents.kafka.task.metering import Meters
from driftline.agents.kafka.task.processor import Processor, ProcessorFactory
from driftline.agents.kafka.task.runtime import Runtime
from driftline.agents.kafka.task.transaction import TransactionAborted, Transactions
from driftline.agents.state.errors import StateError

log = logging.getLogger(__name__)

_DELETE_AGAIN_S: Final = 60.0


class _Prepared(Struct):
    """A commit on its way."""

    outgoing: list[Outgoing]
    entry: PendingCommit


class Task:
    """One task.

    Parameters
    ----------
    runtime
        What the tasks of the worker share.
    kind, partition
        Which task it is.
    factory
        Makes the processor once the state is there.

    Attributes
    ----------
    processor
        What the task computes; there after `open`.
    positions
        Next offset of every input topic, without prefix, after what has been taken. Topics of which
        nothing came yet are missing: they are read from their beginning.
    committed
        The same as of the last commit.
    """

    processor: Processor

    def __init__(
        self, runtime: Runtime, kind: str, partition: int, factory: ProcessorFactory
    ) -> None:
        self.kind = kind
        self.partition = partition
        self.name = f"{runtime.connection.settings.app}-{kind}-{partition}"
        self.positions: dict[str, int] = {}
        self.committed: dict[str, int] = {}
        self.commits = 0
        self._runtime = runtime
        self._factory = factory
        self._unwanted = False
        self._held = False
        self._ledger: Ledger
        self._journal_from = 0
        self._delete_again_s = 0.0
        self._buffered = 0
        self._commit_timer = CommitTimer(runtime.interval_s)
        self._again = False
        self._wake = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._step_lock = asyncio.Lock()
        self._flight: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None
        self._meters = Meters(kind, partition)

    # Opening

    def open(self) -> None:
        """Take the task over from whoever had it, restore its state, and make its processor.
        Blocks; for another thread.

        Ends the process if that is impossible.

        Raises
        ------
        Abandoned
            If `abandon` was called meanwhile.
        """
        cache = self._runtime.cache
        try:
            self._journal = self._runtime.journal(self.kind, self.partition, lambda: self._unwanted)
            if self._unwanted:
                # Opening it would fence the worker that has the task by now.
                raise Abandoned(self.name)
            self._transactions = Transactions(
                self._runtime.connection, self.name, lambda: self._unwanted
            )
            self._transactions.open()
            restored = Restore(
                self._runtime.connection, cache, self.kind, self._journal, lambda: self._unwanted
            ).run()
            check_shape(restored.checkpoint.shape, self._runtime.shape, self._journal.name)
            states = cache.states(self.kind, self.partition)
            self._journal_from = restored.low
            self._ledger = Ledger(states, restored.checkpoint, restored.low, self._runtime.shape)
            self.positions, self.committed = (
                dict(restored.checkpoint.positions),
                dict(restored.checkpoint.positions),
            )
            self.processor = self._factory(
                self.partition, lambda stage: states[stage].overlay, dict(self.positions)
            )
        except Abandoned:
            cache.release(self.kind, self.partition)
            raise
        except (MustStop, StateFormatError) as error:
            failures.stop_process(
                getattr(error, "code", failures.CONFIGURATION), f"{self.name}: {error}"
            )
        except StateError as error:
            failures.stop_process(failures.STORAGE, cache.failure_message(error))
        except Exception as error:
            failures.stop_process(failures.DEFECT, f"{self.name}: cannot be opened: {error!r}")
        self._meters.restored(
            seconds=restored.seconds, bytes=restored.bytes, commits=restored.commits
        )
        log.info(
            "%s: restored in %.2f s, %s, %d commits and %.1f MB of the changelog read; goes on at %s",
            self.name,
            restored.seconds,
            "from the local copy" if restored.copied else "without a local copy",
            restored.commits,
            restored.bytes / 1e6,
            self.positions,
        )

    def abandon(self) -> None:
        """Tell the task that it is no longer wanted: an `open` on another thread ends, and no more
        is committed.
        """
        self._unwanted = True
        self._wake.set()
        # Nobody waits for room in a task that will never have any.
        self._has_room.set()

    @property
    def abandoned(self) -> bool:
        """Whether it was told so."""
        return self._unwanted

    def start(self, aborted: Callable[[Task], None]) -> None:
        """Begin to commit, on the running event loop;

        `aborted` is called if the task has to be dropped and opened anew.
        """
        self._loop = asyncio.get_running_loop().create_task(self._run(aborted), name=self.name)

    # Taking

    def take(self, received: ReceivedRecords) -> int:
        """Take a delivery of one input; gives how many records wait to be processed.

        What was applied already is skipped, and everything once the task is not wanted any more. A
        delivery that begins after the position ends the process: records are missing.
        """
        if self._unwanted:
            return self._buffered
        position = self.positions.get(received.topic)
        if position is not None:
            if received.start > position:
                failures.stop_process(
                    failures.CONFIGURATION,
                    f"{self.name}: {received.topic}[{self.partition}] was delivered from {received.start} on, but {position} is next; "
                    "records are missing. If retention deleted them before they were read, use another kafka.app to start anew",
                )
            if received.next <= position:
                self._meters.skipped.inc(len(received.offsets))
                return self._buffered
            if received.start < position:
                count = len(received.offsets)
                received = received.since(position)
                self._meters.skipped.inc(count - len(received.offsets))
        self.positions[received.topic] = received.next
        if received.offsets:
            before = self._buffered
            try:
                self._buffered = self.processor.take(received)
            except Exception as error:
                failures.stop_process(
                    failures.DEFECT,
                    f"{self.name}: cannot take records of {received.topic}: {error!r}",
                )
            self._meters.received(received.topic, len(received.offsets))
            if not before:
                self._commit_timer.first()
            if not before or self._buffered >= self._runtime.max_records:
                self._wake.set()
            if self._buffered >= self._runtime.max_records:
                self._has_room.clear()
        return self._buffered

    async def room(self) -> None:
        """Wait until the next delivery may be taken."""
        await self._has_room.wait()

    @property
    def interval_s(self) -> float:
        """How long results are gathered now before they are committed."""
        return self._commit_timer.interval_s

    # Committing

    async def commit(self) -> None:
        """Process and commit everything taken; on return it is committed. What should wait for more
        is left to whoever reads on.

        Raises
        ------
        TransactionAborted
            If the task has to be opened anew.
        """
        async with self._step_lock:
            if not self.processor.defers():
                await self._step(with_positions=True)
            await self._landed()

    def hold(self) -> None:
        """Begin no transaction by itself: whose the task is, is being decided, and a new owner
        would break it off.
        """
        self._held = True

    def release(self) -> None:
        """Go on after `hold`: the task is still this worker's."""
        self._held = False
        self._wake.set()

    async def finish(self) -> None:
        """Stop the commits of `start`, and commit the rest, as `commit`; of a held task nothing: it
        may have a new owner already.
        """
        if self._loop is not None:
            self._unwanted = True
            self._wake.set()
            await asyncio.shield(self._loop)
        if not self._held:
            await self.commit()

    def close(self) -> None:
        """Let go of the broker and of the memory. Blocks; for another thread."""
        failures.fault_point("closing")
        self._transactions.close()
        self._runtime.cache.release(self.kind, self.partition)

    async def _run(self, aborted: Callable[[Task], None]) -> None:
        try:
            while await self._due():
                async with self._step_lock:
                    if self._unwanted:
                        return
                    await self._step(with_positions=self._commit_timer.positions_are_old)
        except TransactionAborted as error:
            log.warning(
                "%s: a transaction was aborted, the task is opened anew: %s", self.name, error
            )
            self._meters.aborts.inc()
            aborted(self)
        except Exception as error:
            failures.stop_process(failures.DEFECT, f"{self.name}: {error!r}")

    async def _due(self) -> bool:
        """Wait until there is something to process and time to do it;

        False once the task is not wanted any more.
        """
        loop = asyncio.get_running_loop()
        while not self._unwanted:
            if self._flight is not None and self._flight.done():
                await self._landed()
            if self._held:
                await self._wake.wait()
                self._wake.clear()
                continue
            if self._buffered >= self._runtime.max_records:
                return True
            timer = None
            if self._flight is None:
                if self._again and not self.processor.defers():
                    return True
                if self._commit_timer.left_s <= 0:
                    wanted = (
                        self._buffered or self.processor.pending() or self._must_tell_positions()
                    )
                    if wanted and not self.processor.defers():
                        return True
                    self._commit_timer.put_off()
                timer = loop.call_later(max(self._commit_timer.left_s, 0.001), self._wake.set)
            await self._wake.wait()
            self._wake.clear()
            if timer is not None:
                timer.cancel()
        return False

    def _must_tell_positions(self) -> bool:
        return self._commit_timer.positions_are_old and self.positions != self.committed

    async def _step(self, *, with_positions: bool) -> None:
        prepared = self._prepare(with_positions=with_positions)
        await self._landed()
        if prepared is not None:
            self._flight = asyncio.get_running_loop().create_task(self._fly(prepared))
            self._flight.add_done_callback(lambda _: self._wake.set())

    async def _landed(self) -> None:
        """Wait for the transaction that is under way, if there is one."""
        flight = self._flight
        if flight is None:
            return
        try:
            await asyncio.shield(flight)
        finally:
            if flight.done() and self._flight is flight:
                self._flight = None

    def _prepare(self, *, with_positions: bool) -> _Prepared | None:
        """Process what was taken, and cut off what changed; None if nothing did."""
        self._commit_timer.begin()
        try:
            with self._meters.process_seconds.time():
                outgoing = self.processor.process(self.positions)
        except StateError as error:
            failures.stop_process(failures.STORAGE, self._runtime.cache.failure_message(error))
        except Exception as error:
            failures.stop_process(failures.DEFECT, f"{self.name}: cannot process: {error!r}")
        self._buffered = 0
        self._has_room.set()
        changed = bool(outgoing) or self._ledger.changed
        self._again = changed and self.processor.pending()
        if not changed and not (with_positions and self.positions != self.committed):
            return None
        return _Prepared(outgoing, self._ledger.entry(self.positions))

    async def _fly(self, prepared: _Prepared) -> None:
        loop = asyncio.get_running_loop()
        next_offset = await loop.run_in_executor(self._runtime.writing, self._write, prepared)
        entry = prepared.entry
        self._ledger.settle(entry, next_offset)
        self.committed = entry.closing.positions
        self.commits += 1
        self._meters.committed(
            records=len(prepared.outgoing),
            journal_bytes=entry.size,
            held_bytes=entry.closing.log_bytes,
            live_bytes=entry.closing.live_bytes,
            memory_bytes=self._ledger.memory_bytes,
            interval_s=self.interval_s,
        )

    def _write(self, prepared: _Prepared) -> int:
        """The transaction, then the local copy; on a thread of its own.

        Gives the offset after the commit.
        """
        cache, entry = self._runtime.cache, prepared.entry
        try:
            with self._meters.transaction_seconds.time():
                started = time.monotonic()
                records = records_of(entry.closing, entry.changes)
                next_offset = self._transactions.run(
                    prepared.outgoing, self._journal.topic, self.partition, records
                )
                self._commit_timer.took(time.monotonic() - started)
            with self._meters.cache_seconds.time():
                cache.write(
                    self.kind,
                    self.partition,
                    entry.cuts,
                    msgspec.structs.replace(entry.checkpoint, next=next_offset),
                )
            failures.fault_point("cached")
            self._delete_before(entry.closing.restorable_from)
            return next_offset
        except TransactionAborted:
            raise
        except MustStop as error:
            failures.stop_process(error.code, str(error))
        except StateError as error:
            failures.stop_process(failures.STORAGE, cache.failure_message(error))
        except Exception as error:
            failures.stop_process(failures.DEFECT, f"{self.name}: cannot commit: {error!r}")

    def _delete_before(self, offset: int) -> None:
        """Delete what no restore needs any more; a broker that refuses is asked again after a
        while.
        """
        now = time.monotonic()
        if offset > self._journal_from and now >= self._delete_again_s:
            if self._runtime.delete_before(self._journal, offset):
                self._journal_from = offset
            else:
                self._delete_again_s = now + _DELETE_AGAIN_S
