"""The worker's health over HTTP: liveness, readiness with reasons, and its Prometheus metrics.

    /health/live    200 while the event loop runs
    /health/ready   200 when all assigned tasks are restored, the broker answers and gives the
                    records of the inputs, topics fit the configuration and producers agree on the
                    partitioner; else 503 with reasons.
                    `not_counted` lists the rows that do not count, since the start, and `warnings`
                    says if they are many, or if the mirror in Redis is not kept
    /metrics        Prometheus text format

Served on the loopback interface unless another address is configured. Faust's own web server is not
started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from driftline.agents.kafka.broker.broker_clock import BrokerClock
from driftline.agents.kafka.task.uncounted import WorkerTally
from driftline.agents.worker.rekeying import Rekeying
from driftline.agents.worker.task_router import TaskRouter


class KindStatus(msgspec.Struct, frozen=True):
    """Where health reads the state of one kind of task.

    Attributes
    ----------
    name
        Name of the kind.
    router
        Router of its tasks.
    is_rebalancing
        Whether its consumer group is assigning partitions now.
    log_ends
        Last known end of each assigned log, by topic and partition.
    """

    name: str
    router: TaskRouter
    is_rebalancing: Callable[[], bool]
    log_ends: Callable[[], Mapping[tuple[str, int], int]]


class InputLag(NamedTuple):
    """How far a task is behind on one input.

    Attributes
    ----------
    position
        Next offset after the last commit.
    records
        Offsets between the last commit and the end of the log.
    """

    topic: str
    partition: int
    position: int
    records: int


class Health:
    """The state of a worker.

    Attributes
    ----------
    kinds
        The kinds of task that have been started.
    waiting_for
        What the start waits for; None once everything runs.
    problems
        Reasons not to be ready that last until they are removed, by subject: "broker" if it does
        not answer, "topics" if they do not fit the configuration, "inputs" if the broker does not
        give their records, "partitioners" if producers disagree, "rights" if the login lacks some,
        "clock" if the machine's clock differs from the broker's, "rekey" and "notify" while
        re-keying and the notifier are being started.
    tally
        What the tasks have read and not counted; None before the start.
    clock
        The broker's time; None before the start.
    rekeying
        The re-keying step; None where there is none.
    notes
        Each says what is wrong although the worker is ready, such as that Redis is away, or None.
    """

    def __init__(self) -> None:
        self.kinds: list[KindStatus] = []
        self.waiting_for: str | None = "the start"
        self.problems: dict[str, str] = {}
        self.tally: WorkerTally | None = None
        self.clock: BrokerClock | None = None
        self.rekeying: Rekeying | None = None
        self.notes: list[Callable[[], str | None]] = []

    def reasons(self) -> list[str]:
        """Why the worker is not ready; empty when it is."""
        if self.waiting_for is not None:
            return [f"waiting for {self.waiting_for}"]
        reasons = list(self.problems.values())
        for kind in self.kinds:
            if kind.is_rebalancing():
                reasons.append(f"{kind.name}: partitions are being assigned")
            elif not kind.router.tasks.ready:
                reasons.append(f"{kind.name}: tasks are being restored")
        return reasons

    def warnings(self) -> list[str]:
        """What is wrong although the worker may be ready."""
        found = [] if self.tally is None else self.tally.warnings()
        return [*found, *(text for note in self.notes if (text := note()) is not None)]

    def lags(self, kind: KindStatus) -> Iterator[InputLag]:
        """The lag of each input of each task."""
        ends = kind.log_ends()
        for partition, offsets in kind.router.tasks.offsets().items():
            for topic, position in offsets.items():
                end = ends.get((topic, partition), position)
                yield InputLag(topic, partition, position, max(0, end - position))


class HealthCollector:
    """Collects the driver's metrics from the worker's health; those of the tasks are
    `driftline.agents.kafka.task.metering`.
    """

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """The present values."""
        ready = GaugeMetricFamily(
            "driftline_ready",
            "1 when all assigned tasks are restored and no problem is known.",
        )
        ready.add_metric([], float(not self._health.reasons()))
        labels = ["kind", "topic", "partition"]
        position = GaugeMetricFamily(
            "driftline_committed_offset", "Next offset after the last commit.", labels=labels
        )
        lag = GaugeMetricFamily(
            "driftline_lag_records",
            "Offsets between the last commit and the end of the log.",
            labels=labels,
        )
        for kind in self._health.kinds:
            for input_lag in self._health.lags(kind):
                names = [kind.name, input_lag.topic, str(input_lag.partition)]
                position.add_metric(names, input_lag.position)
                lag.add_metric(names, input_lag.records)
        yield from (ready, position, lag)
        if (rekeying := self._health.rekeying) is not None:
            unread = GaugeMetricFamily(
                "driftline_rekey_lag_records", "Offsets of the inputs that are not re-keyed yet."
            )
            unread.add_metric([], rekeying.lag_records)
            yield unread
        if (clock := self._health.clock) is not None:
            ahead = GaugeMetricFamily(
                "driftline_clock_ahead_seconds",
                "By how much the machine's clock is ahead of the broker's; negative if behind.",
            )
            ahead.add_metric([], clock.ahead_ms() / 1000)
            yield ahead


async def serve(health: Health, *, host: str, port: int) -> web.AppRunner:
    """Serve health on `host` and `port` until `cleanup()` of the returned runner.

    Raises
    ------
    OSError
        If the address cannot be used.
    """
    own = CollectorRegistry()
    own.register(HealthCollector(health))

    async def live(_: web.Request) -> web.Response:
        return _json({"status": "live"})

    async def ready(_: web.Request) -> web.Response:
        reasons = health.reasons()
        tasks = {kind.name: sorted(kind.router.assigned) for kind in health.kinds}
        tally = health.tally
        return _json(
            {
                "status": "not ready" if reasons else "ready",
                "reasons": reasons,
                "warnings": health.warnings(),
                "not_counted": tally.listed() if tally else [],
                "tasks": tasks,
                "clock_ahead_s": None if health.clock is None else health.clock.ahead_ms() / 1000,
            },
            status=503 if reasons else 200,
        )

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(REGISTRY) + generate_latest(own),
            headers={"Content-Type": _PROMETHEUS},
        )

    app = web.Application()
    app.add_routes(
        [
            web.get("/health/live", live),
            web.get("/health/ready", ready),
            web.get("/metrics", metrics),
        ]
    )
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def _json(document: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(document) + b"\n", status=status, content_type="application/json"
    )
