"""A task: one kind of work on one partition, with its state and its transactions.

State, outputs and input positions of a task change together or not at all. A commit takes three
steps:

1. On the event loop, the processor applies the buffered records to the state, and the changes are
   cut off. Long work is done in slices, between which the loop serves others.
2. On another thread, one Kafka transaction writes the outputs and the commit's journal records.
   Only after it, the local copy is written, with the journal offset that it corresponds to.
3. Back on the event loop, the commit is accounted for.

At most one transaction is in flight. Meanwhile the next batch is taken and, once it is full,
processed. Positions come from the journal alone: after `open`, deliveries begin at `positions`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NoReturn

import msgspec
from msgspec import Struct

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.failures import Abandoned, Forbidden, MustStop
from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.changelog.journal import records_of
from driftline.agents.kafka.changelog.ledger import Ledger, PendingCommit
from driftline.agents.kafka.changelog.restore import Restore
from driftline.agents.kafka.changelog.state_format import StateFormatError
from driftline.agents.kafka.task.commit_timer import CommitTimer
from driftline.agents.kafka.task.input_positions import Loss
from driftline.agents.kafka.task.metering import Meters
from driftline.agents.kafka.task.processor import (
    Processor,
    ProcessorFactory,
    SlicedProcessor,
)
from driftline.agents.kafka.task.runtime import Runtime
from driftline.agents.kafka.task.transaction import TransactionAborted, Transactions
from driftline.agents.state.errors import StateError
from driftline.agents.uncounted_rows import BatchTally
from driftline.streams.work_slices import WorkSlices, run_some

log = logging.getLogger(__name__)

_DELETE_AGAIN_S: Final = 60.0
_TURN_S: Final = 0.03
"""Seconds of work after which the event loop serves others; the last slice may take longer."""
_OTHER_TURNS: Final = 4


class _Prepared(Struct):
    """A processed batch that is not committed yet."""

    outgoing: list[Outgoing]
    commit: PendingCommit
    tally: BatchTally


def _slices_of(processor: Processor, positions: dict[str, int]) -> WorkSlices[list[Outgoing]]:
    if isinstance(processor, SlicedProcessor):
        return (yield from processor.work(positions))
    return processor.process(positions)


def _is_over(until_s: float) -> bool:
    return time.monotonic() >= until_s


class Task:
    """One task.

    Parameters
    ----------
    runtime
        Shared by the tasks of the worker.
    kind, partition
        Identity of the task.
    factory
        Makes the processor once the state is restored.

    Attributes
    ----------
    processor
        Computes the task; set by `open`.
    positions
        Next offset to take, by input topic without prefix. A topic without any record yet is
        missing: it is read from its beginning.
    committed
        `positions` as of the last commit.
    topic_ids
        Id of each input topic in which `positions` count.
    commits
        Number of commits since `open`.
    """

    processor: Processor

    def __init__(
        self, runtime: Runtime, kind: str, partition: int, factory: ProcessorFactory
    ) -> None:
        self.kind = kind
        self.partition = partition
        self.name = f"{runtime.connection.group(kind)}-{partition}"
        self.positions: dict[str, int] = {}
        self.committed: dict[str, int] = {}
        self.topic_ids: dict[str, str] = {}
        self.commits = 0
        self._runtime = runtime
        self._factory = factory
        self._abandoned = False
        self._held = False
        self._ledger: Ledger
        self._journal_from = 0
        self._delete_again_s = 0.0
        self._buffered = 0
        self._losses: list[Loss] = []
        self._commit_timer = CommitTimer(runtime.interval_s)
        self._is_more_due = False
        self._wake = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._step_lock = asyncio.Lock()
        self._in_flight: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None
        self._meters = Meters(kind, partition)

    # Opening

    def open(self) -> None:
        """Fence the former owner, restore the state and make the processor.

        Blocks, so call it on another thread. Ends the process if the task cannot be opened.

        Raises
        ------
        Abandoned
            If `abandon` was called meanwhile.
        """
        cache = self._runtime.cache
        try:
            self._journal = self._runtime.journal(
                self.kind, self.partition, lambda: self._abandoned
            )
            if self._abandoned:
                # Opening the producer would fence the worker that owns the task by now.
                raise Abandoned(self.name)
            self._transactions = Transactions(
                self._runtime.connection, self.name, lambda: self._abandoned
            )
            self._transactions.open()
            restored = Restore(
                self._runtime.connection, cache, self.kind, self._journal, lambda: self._abandoned
            ).run()
            states = cache.states(self.kind, self.partition)
            try:
                inputs = self._runtime.input_positions(
                    self.kind, self.partition, restored.checkpoint, lambda: self._abandoned
                )
            except MustStop:
                # Another setting may be the cause, as rekey is; then the processor names it.
                self._factory(self.partition, lambda stage: states[stage].overlay, {})
                raise
            self._journal_from = restored.low
            checkpoint = msgspec.structs.replace(restored.checkpoint, topic_ids=inputs.topic_ids)
            self._ledger = Ledger(states, checkpoint, restored.low)
            self.positions = dict(inputs.positions)
            self.committed = dict(restored.checkpoint.positions)
            self.topic_ids = inputs.topic_ids
            self._losses = inputs.losses
            self.processor = self._factory(
                self.partition, lambda stage: states[stage].overlay, dict(self.positions)
            )
            for loss in self._losses:
                self.processor.note_loss(loss)
        except Abandoned:
            cache.release(self.kind, self.partition)
            raise
        except Forbidden as error:
            self._stop_without_right(error)
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
        for loss in self._losses:
            log.warning("%s: %s", self.name, loss.message)
            self._meters.resumed(loss.topic, loss.fault.fault, loss.records)
        log.info(
            "%s: restored in %.2f s, %s, %d commits and %.1f MB of the changelog read; resumes "
            "at %s",
            self.name,
            restored.seconds,
            "from the local copy" if restored.copied else "without a local copy",
            restored.commits,
            restored.bytes / 1e6,
            self.positions,
        )

    def abandon(self) -> None:
        """Give the task up: an `open` on another thread ends, and nothing more is committed."""
        self._abandoned = True
        self._wake.set()
        # A driver that waits for room would wait for ever.
        self._has_room.set()

    @property
    def abandoned(self) -> bool:
        """Whether `abandon` was called."""
        return self._abandoned

    def start(self, aborted: Callable[[Task], None]) -> None:
        """Begin to commit, on the running event loop.

        `aborted` is called if a transaction was aborted, so that the task must be opened again.
        """
        self._loop = asyncio.get_running_loop().create_task(self._run(aborted), name=self.name)

    # Taking

    def take(self, received: ReceivedRecords) -> int:
        """Take a delivery of one input; returns how many records are buffered.

        Records that were applied already are skipped, and all records once the task is abandoned.
        A delivery that begins after the position ends the process: records are missing.
        """
        if self._abandoned:
            return self._buffered
        position = self.positions.get(received.topic)
        if position is not None:
            if received.start > position:
                failures.stop_process(
                    failures.CONFIGURATION,
                    f"{self.name}: {received.topic}[{self.partition}] was delivered from offset "
                    f"{received.start} on, but {position} is next; "
                    "records are missing. If retention deleted them before they were read, "
                    "the next start says how to go on (--resume)",
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
                self._commit_timer.note_first_record()
            if not before or self._buffered >= self._runtime.max_records:
                self._wake.set()
            if self._buffered >= self._runtime.max_records:
                self._has_room.clear()
        return self._buffered

    async def room(self) -> None:
        """Wait until there is room for the next delivery."""
        await self._has_room.wait()

    @property
    def interval_s(self) -> float:
        """Seconds for which results are gathered now before they are committed."""
        return self._commit_timer.interval_s

    # Committing

    async def commit(self) -> None:
        """Process and commit the buffered records; on return they are committed.

        Records that the processor defers stay uncommitted; the next owner reads them again.

        Raises
        ------
        TransactionAborted
            If the task must be opened again.
        """
        async with self._step_lock:
            if not self.processor.defers():
                await self._step(with_positions=True)
            await self._wait_for_transaction()

    def hold(self) -> None:
        """Begin no transaction: ownership is being reassigned, and a new owner would abort it."""
        self._held = True

    def release(self) -> None:
        """Continue after `hold`: the task still belongs to this worker."""
        self._held = False
        self._wake.set()

    async def finish(self) -> None:
        """Stop the loop of `start` and commit the rest, as `commit` does.

        A held task commits nothing: it may have a new owner already.
        """
        if self._loop is not None:
            self._abandoned = True
            self._wake.set()
            await asyncio.shield(self._loop)
        if not self._held:
            await self.commit()

    def close(self) -> None:
        """Release the producer and the memory. Blocks, so call it on another thread."""
        failures.fault_point("closing")
        self._transactions.close()
        self._runtime.cache.release(self.kind, self.partition)

    async def _run(self, aborted: Callable[[Task], None]) -> None:
        try:
            while await self._due():
                async with self._step_lock:
                    if self._abandoned:
                        return
                    await self._step(with_positions=self._commit_timer.are_positions_old)
        except TransactionAborted as error:
            log.warning(
                "%s: a transaction was aborted, the task is opened again: %s", self.name, error
            )
            self._meters.aborts.inc()
            aborted(self)
        except Exception as error:
            failures.stop_process(failures.DEFECT, f"{self.name}: {error!r}")

    async def _due(self) -> bool:
        """Wait until a commit is due.

        False once the task is abandoned.
        """
        loop = asyncio.get_running_loop()
        while not self._abandoned:
            if self._in_flight is not None and self._in_flight.done():
                await self._wait_for_transaction()
            if self._held:
                await self._wake.wait()
                self._wake.clear()
                continue
            if self._buffered >= self._runtime.max_records:
                return True
            timer = None
            if self._in_flight is None:
                if self._is_more_due and not self.processor.defers():
                    return True
                if self._commit_timer.remaining_s <= 0:
                    wanted = (
                        self._buffered
                        or self._losses
                        or self.processor.pending()
                        or self._are_positions_due()
                    )
                    if wanted and not self.processor.defers():
                        return True
                    self._commit_timer.postpone()
                timer = loop.call_later(max(self._commit_timer.remaining_s, 0.001), self._wake.set)
            await self._wake.wait()
            self._wake.clear()
            if timer is not None:
                timer.cancel()
        return False

    def _are_positions_due(self) -> bool:
        return self._commit_timer.are_positions_old and self.positions != self.committed

    async def _step(self, *, with_positions: bool) -> None:
        prepared = await self._prepare(with_positions=with_positions)
        await self._wait_for_transaction()
        if prepared is not None:
            self._in_flight = asyncio.get_running_loop().create_task(self._commit(prepared))
            self._in_flight.add_done_callback(lambda _: self._wake.set())

    async def _wait_for_transaction(self) -> None:
        """Wait for the transaction in flight, if there is one."""
        flight = self._in_flight
        if flight is None:
            return
        try:
            await asyncio.shield(flight)
        finally:
            if flight.done() and self._in_flight is flight:
                self._in_flight = None

    async def _prepare(self, *, with_positions: bool) -> _Prepared | None:
        """Process the buffered records and cut off the changes; None if nothing changed."""
        self._commit_timer.begin()
        # Records that are taken between the slices belong to the next commit.
        positions = dict(self.positions)
        outgoing = await self._process(positions)
        # In the transaction that moves the positions, so that each loss is on record once.
        app = self._runtime.connection.settings.app
        losses, self._losses = self._losses, []
        outgoing = [*(loss.dead_letter(app) for loss in losses), *outgoing]
        changed = bool(outgoing) or self._ledger.changed
        self._is_more_due = changed and self.processor.pending()
        if not changed and not (with_positions and positions != self.committed):
            return None
        tally = self.processor.tally()
        tally.uncounted += [loss.uncounted for loss in losses]
        return _Prepared(outgoing, self._ledger.cut(positions), tally)

    async def _process(self, positions: dict[str, int]) -> list[Outgoing]:
        """Run the processor; between its slices the event loop serves others."""
        slices = _slices_of(self.processor, positions)
        spent_s, done, are_records_taken = 0.0, None, False
        while done is None:
            if spent_s:
                # An answer of the worker takes several turns of the loop.
                for _ in range(_OTHER_TURNS):
                    await asyncio.sleep(0)
            begun_s = time.monotonic()
            try:
                done = run_some(slices, partial(_is_over, begun_s + _TURN_S))
            except StateError as error:
                failures.stop_process(failures.STORAGE, self._runtime.cache.failure_message(error))
            except Exception as error:
                failures.stop_process(failures.DEFECT, f"{self.name}: cannot process: {error!r}")
            spent_s += time.monotonic() - begun_s
            if not are_records_taken:
                are_records_taken = True
                self._buffered = 0
                self._has_room.set()
        self._meters.process_seconds.observe(spent_s)
        return done.result

    async def _commit(self, prepared: _Prepared) -> None:
        loop = asyncio.get_running_loop()
        next_offset = await loop.run_in_executor(self._runtime.writing, self._write, prepared)
        commit = prepared.commit
        self._ledger.settle(commit, next_offset)
        self.committed = commit.closing.positions
        self.commits += 1
        self._runtime.tally.add(self.partition, prepared.tally)
        self._meters.committed(
            records=len(prepared.outgoing),
            journal_bytes=commit.size,
            held_bytes=commit.closing.log_bytes,
            live_bytes=commit.closing.live_bytes,
            memory_bytes=self._ledger.memory_bytes,
            interval_s=self.interval_s,
        )

    def _write(self, prepared: _Prepared) -> int:
        """Run the transaction, then write the local copy; on another thread.

        Returns the journal offset after the commit.
        """
        cache, commit = self._runtime.cache, prepared.commit
        try:
            with self._meters.transaction_seconds.time():
                started = time.monotonic()
                records = records_of(commit.closing, commit.changes)
                next_offset = self._transactions.run(
                    prepared.outgoing, self._journal.topic, self.partition, records
                )
                self._commit_timer.note_transaction(time.monotonic() - started)
            with self._meters.cache_seconds.time():
                cache.write(
                    self.kind,
                    self.partition,
                    commit.cuts,
                    msgspec.structs.replace(commit.checkpoint, next=next_offset),
                )
            failures.fault_point("cached")
            self._delete_before(commit.closing.restorable_from)
            return next_offset
        except TransactionAborted as error:
            if error.undelivered and (lacking := self._runtime.missing_rights(self.kind)):
                failures.stop_process(failures.CONFIGURATION, f"{self.name}: {lacking}")
            raise
        except Forbidden as error:
            self._stop_without_right(error)
        except MustStop as error:
            failures.stop_process(error.code, str(error))
        except StateError as error:
            failures.stop_process(failures.STORAGE, cache.failure_message(error))
        except Exception as error:
            failures.stop_process(failures.DEFECT, f"{self.name}: cannot commit: {error!r}")

    def _stop_without_right(self, error: Forbidden) -> NoReturn:
        """End the process; names the missing rights, for which it asks the broker."""
        lacking = self._runtime.missing_rights(self.kind)
        failures.stop_process(error.code, f"{error}; {lacking}" if lacking else str(error))

    def _delete_before(self, offset: int) -> None:
        """Delete journal records that no restore needs; retry later if the broker fails."""
        now = time.monotonic()
        if offset > self._journal_from and now >= self._delete_again_s:
            if self._runtime.delete_before(self._journal, offset):
                self._journal_from = offset
            else:
                self._delete_again_s = now + _DELETE_AGAIN_S
