"""Prometheus metrics of the tasks of a worker. Lag and delivery belong to the driver."""

from __future__ import annotations

from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram

_TASK: Final = ("kind", "partition")
_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60)

COMMITS = Counter("driftline_commits", "Transactions committed.", _TASK)
ABORTS = Counter("driftline_aborts", "Transactions aborted; the task was opened again.", _TASK)
LOST_RECORDS = Counter(
    "driftline_lost_records",
    "Input records that were deleted before they were read and passed over with --resume.",
    (*_TASK, "topic"),
)
RESUMED = Counter(
    "driftline_resumed_inputs",
    "Inputs that were resumed elsewhere (--resume), by reason: deleted, made_anew, truncated.",
    (*_TASK, "topic", "reason"),
)
RECEIVED = Counter(
    "driftline_received_records",
    "Input records taken, except those that were applied before.",
    (*_TASK, "topic"),
)
SKIPPED = Counter(
    "driftline_skipped_records", "Input records delivered again after they were applied.", _TASK
)
WRITTEN = Counter("driftline_written_records", "Output records committed.", _TASK)
JOURNAL_BYTES = Counter(
    "driftline_journal_bytes", "Bytes written to the changelog, before compression.", _TASK
)
JOURNAL_HELD_BYTES = Gauge(
    "driftline_journal_held_bytes",
    "Bytes of the changelog that a restore without a local copy reads.",
    _TASK,
)
STATE_LIVE_BYTES = Gauge(
    "driftline_state_live_bytes",
    "Bytes of the state at the end of the last compaction sweep.",
    _TASK,
)
STATE_MEMORY_BYTES = Gauge("driftline_state_memory_bytes", "Estimated memory of the state.", _TASK)
PROCESS_SECONDS = Histogram(
    "driftline_process_seconds", "Time to apply a batch to the state.", ("kind",), buckets=_SECONDS
)
TRANSACTION_SECONDS = Histogram(
    "driftline_transaction_seconds",
    "Time from the first record to the end of a commit.",
    ("kind",),
    buckets=_SECONDS,
)
CACHE_SECONDS = Histogram(
    "driftline_cache_seconds",
    "Time to write a commit to the local copy.",
    ("kind",),
    buckets=_SECONDS,
)
RESTORE_SECONDS = Gauge(
    "driftline_restore_seconds", "Duration of the last restore of a task.", _TASK
)
RESTORED_BYTES = Gauge(
    "driftline_restored_bytes", "Bytes of the changelog that the last restore read.", _TASK
)
RESTORED_COMMITS = Gauge(
    "driftline_restored_commits", "Commits of the changelog that the last restore read.", _TASK
)
RESTORING = Gauge("driftline_restoring_tasks", "Tasks that are being restored.", ("kind",))
TASKS = Gauge("driftline_tasks", "Tasks that this worker runs.", ("kind",))
COMMIT_INTERVAL = Gauge(
    "driftline_commit_interval_seconds",
    "Time for which results are gathered before they are committed.",
    _TASK,
)


class Meters:
    """Metrics of one task, looked up once: a look-up costs as much as the counting."""

    def __init__(self, kind: str, partition: int) -> None:
        def of(meter: Counter | Gauge) -> Any:
            return meter.labels(kind, str(partition))

        self._task = kind, str(partition)
        self._received = lambda topic: RECEIVED.labels(kind, str(partition), topic)
        self._commits, self._written, self._journal_bytes = (
            of(COMMITS),
            of(WRITTEN),
            of(JOURNAL_BYTES),
        )
        self._held_bytes, self._live_bytes, self._memory_bytes = (
            of(JOURNAL_HELD_BYTES),
            of(STATE_LIVE_BYTES),
            of(STATE_MEMORY_BYTES),
        )
        self._restore_seconds, self._restored_bytes, self._restored_commits = (
            of(RESTORE_SECONDS),
            of(RESTORED_BYTES),
            of(RESTORED_COMMITS),
        )
        self._interval = of(COMMIT_INTERVAL)
        self.aborts, self.skipped = of(ABORTS), of(SKIPPED)
        self.process_seconds = PROCESS_SECONDS.labels(kind)
        self.transaction_seconds = TRANSACTION_SECONDS.labels(kind)
        self.cache_seconds = CACHE_SECONDS.labels(kind)

    def received(self, topic: str, records: int) -> None:
        """Count records taken from an input."""
        self._received(topic).inc(records)

    def resumed(self, topic: str, reason: str, lost_records: int | None) -> None:
        """Count an input that was resumed elsewhere, and the records passed over if known."""
        RESUMED.labels(*self._task, topic, reason).inc()
        LOST_RECORDS.labels(*self._task, topic).inc(lost_records or 0)

    def restored(self, *, seconds: float, bytes: int, commits: int) -> None:
        """Report a restore."""
        self._restore_seconds.set(seconds)
        self._restored_bytes.set(bytes)
        self._restored_commits.set(commits)

    def written(self, records: int) -> None:
        """Report a commit of a step without state."""
        self._commits.inc()
        self._written.inc(records)

    def committed(
        self,
        *,
        records: int,
        journal_bytes: int,
        held_bytes: int,
        live_bytes: int,
        memory_bytes: int,
        interval_s: float,
    ) -> None:
        """Report a commit: what it wrote, and sizes after it."""
        self._commits.inc()
        self._written.inc(records)
        self._journal_bytes.inc(journal_bytes)
        self._held_bytes.set(held_bytes)
        self._live_bytes.set(live_bytes)
        self._memory_bytes.set(memory_bytes)
        self._interval.set(interval_s)
