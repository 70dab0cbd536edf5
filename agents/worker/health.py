"""What a worker says about itself over HTTP: whether it lives, whether it is ready and if not why,
and its figures.

    /health/live    200 while the event loop turns
    /health/ready   200 when all assigned tasks are restored, the broker answers, topics match and producers agree; 503 with reasons else
    /metrics        Prometheus' text format

Served on the loopback interface unless another address is asked for. Faust's own web server is not
started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from driftline.agents.worker.task_router import Feed


class Kind(msgspec.Struct, frozen=True):
    """What health knows of one kind of task.

    Attributes
    ----------
    name
        "join" or "downstream".
    feed
        Its tasks' feed.
    rebalancing
        Whether its group is dealing out partitions now.
    ends
        Last known end of the log by topic and partition, of what is assigned.
    """

    name: str
    feed: Feed
    rebalancing: Callable[[], bool]
    ends: Callable[[], Mapping[tuple[str, int], int]]


class Health:
    """The state of a worker.

    Attributes
    ----------
    kinds
        The kinds of task that have been started.
    waiting_for
        What the start waits for, or None once everything runs.
    problems
        Standing reasons not to be ready, by what they are about: a broker that does not answer,
        producers that disagree.
    """

    def __init__(self) -> None:
        self.kinds: list[Kind] = []
        self.waiting_for: str | None = "the start"
        self.problems: dict[str, str] = {}

    def reasons(self) -> list[str]:
        """Why the worker is not ready; empty when it is."""
        if self.waiting_for is not None:
            return [f"waits for {self.waiting_for}"]
        found = list(self.problems.values())
        for kind in self.kinds:
            if kind.rebalancing():
                found.append(f"{kind.name}: partitions are being dealt out")
            elif not kind.feed.tasks.ready:
                found.append(f"{kind.name}: tasks are being restored")
        return found

    def lag(self, kind: Kind) -> Iterator[tuple[str, int, int, int]]:
        """Topic, partition, committed position and records behind the end of the log, for each
        input of each task.
        """
        ends = kind.ends()
        for partition, offsets in kind.feed.tasks.offsets().items():
            for topic, position in offsets.items():
                yield (
                    topic,
                    partition,
                    position,
                    max(0, ends.get((topic, partition), position) - position),
                )


class Figures:
    """Collects what the driver knows, whenever it is asked for; what the tasks count about
    themselves is `driftline.agents.kafka.task.metering`.

    Parameters
    ----------
    health
        Where it comes from.
    """

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """The figures of this moment."""
        ready = GaugeMetricFamily(
            "driftline_ready",
            "1 when all assigned tasks are restored and nothing stands against it.",
        )
        ready.add_metric([], float(not self._health.reasons()))
        labels = ["kind", "topic", "partition"]
        position = GaugeMetricFamily(
            "driftline_committed_offset", "Next offset to apply, committed.", labels=labels
        )
        lag = GaugeMetricFamily(
            "driftline_lag_records",
            "Offsets between what is committed and the end of the log.",
            labels=labels,
        )
        for kind in self._health.kinds:
            for topic, partition, at, behind in self._health.lag(kind):
                position.add_metric([kind.name, topic, str(partition)], at)
                lag.add_metric([kind.name, topic, str(partition)], behind)
        yield from (ready, position, lag)


async def serve(health: Health, *, host: str, port: int) -> web.AppRunner:
    """Answer on `host` and `port` from now on; `cleanup()` of what is returned ends it.

    Raises
    ------
    OSError
        If the address cannot be used.
    """
    own = CollectorRegistry()
    own.register(Figures(health))

    async def live(_: web.Request) -> web.Response:
        return _json({"status": "live"})

    async def ready(_: web.Request) -> web.Response:
        reasons = health.reasons()
        tasks = {kind.name: sorted(kind.feed.assigned) for kind in health.kinds}
        return _json(
            {"status": "not ready" if reasons else "ready", "reasons": reasons, "tasks": tasks},
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
