"""Writes a record of `worker-metrics` at each interval, and one of `job-runs` that time has passed,
so that a job that reports nothing is noticed. What cannot be written is left out: the next record
says what holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException, Producer

from driftline.agents.kafka.broker.connection import BrokerError, Connection
from driftline.agents.kafka.broker.wire import partition_of
from driftline.agents.worker.system_metrics import SystemReader, count_start, worker_name
from driftline.schemas.reports import TIME, JobRun, WorkerMetrics
from driftline.schemas.results import encode
from driftline.schemas.times import SECOND_MS
from driftline.schemas.topics import JOB_RUNS, WORKER_METRICS

log = logging.getLogger(__name__)

_WRITE_S: Final = 10.0


class MetricsPublisher:
    """Publishes the figures of one worker.

    Parameters
    ----------
    folder
        Folder of the worker's state.
    clock
        The time in ms since the epoch: the broker's.
    lag
        Records of the worker's inputs that it has not taken.
    """

    def __init__(
        self,
        connection: Connection,
        folder: Path,
        *,
        interval_ms: int,
        clock: Callable[[], int],
        lag: Callable[[], int],
    ) -> None:
        self._connection, self._interval_ms = connection, interval_ms
        self._clock, self._lag = clock, lag
        name = worker_name(connection.settings.static_member, folder)
        self._reader = SystemReader(name, folder, count_start(folder))
        self._producer: Producer | None = None

    async def run(self) -> None:
        """Publish for ever, the first record after an interval of at most a second."""
        await asyncio.sleep(min(1.0, self._interval_ms / SECOND_MS))
        while True:
            metrics = self._reader.read(
                now_ms=self._clock(), interval_ms=self._interval_ms, lag_records=self._lag()
            )
            try:
                await asyncio.to_thread(self._write, metrics)
            except (BrokerError, KafkaException) as error:
                log.warning("worker-metrics: a record is left out: %s", error)
            await asyncio.sleep(self._interval_ms / SECOND_MS)

    def _write(self, metrics: WorkerMetrics) -> None:
        failed: list[KafkaException] = []
        if self._producer is None:
            self._producer = self._connection.producer(
                **{"message.timeout.ms": round(_WRITE_S * SECOND_MS)}
            )
        time_passed = JobRun(job=metrics.worker, timestamp=metrics.timestamp, status=TIME)
        for topic, report in ((WORKER_METRICS, metrics), (JOB_RUNS, time_passed)):
            self._producer.produce(
                self._connection.name(topic),
                encode(report),
                report.key().encode(),
                partition_of(report.model_name, self._connection.settings.partitions),
                on_delivery=lambda error, _: (
                    failed.append(KafkaException(error)) if error else None
                ),
            )
        self._producer.flush(_WRITE_S)
        if failed:
            raise failed[0]
