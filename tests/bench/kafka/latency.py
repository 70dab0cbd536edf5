"""Latency at a steady rate, from truth to figure and from window to alert, and processor time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from driftline.schemas.times import parse_time
from driftline.schemas.topics import ALERTS, METRICS
from tests.bench.kafka.live import GRACE_S, SETTINGS, Load
from tests.bench.kafka.topics import Bench, value_of
from tests.bench.kafka.usage import Meter
from tests.bench.kafka.worker import Worker

Result = dict[str, Any]
WARM_UP_S: Final = 20.0
DRAIN_S: Final = 5.0
IDLE_S: Final = 75.0


def latency(
    folder: Path,
    servers: str,
    broker: int,
    kind: str,
    *,
    rate: int,
    seconds: float,
    idle_s: float,
    split: bool,
) -> Result:
    """Truth to first figure, window to alert, and processor time, with input and without.

    Parameters
    ----------
    kind
        "plain" or "full".
    split
        Whether stage 1 and the other stages run in two workers, to separate their processor time.
    """
    name = f"{kind}-{'split' if split else 'whole'}"
    bench = Bench(servers, f"bench-live-{name}.")
    config = bench.configuration(
        folder / name / "driftline.toml", SETTINGS[kind], f"live-{name}", clock="wall"
    )
    bench.make_inputs()
    bench.fresh(config)
    chosen = (
        {"join": "join", "downstream": "measure,decide,registry"} if split else {"worker": None}
    )
    load = Load(bench, rate, full=kind == "full")
    workers = {
        worker: Worker(
            config, folder / name / worker, folder / name / f"{worker}.log", stages=stages
        )
        for worker, stages in chosen.items()
    }
    try:
        for worker in workers.values():
            worker.ready()
        pids = {worker: process.pid for worker, process in workers.items()}
        load.start()
        watcher = _Watcher(bench, load)
        watcher.watch(WARM_UP_S)
        meter, began = Meter(broker=broker, **pids), time.time()
        watcher.watch(seconds)
        used, ended = meter.read(), time.time()
        load.stop()
        watcher.watch(DRAIN_S)
        idle = _idle(Meter(broker=broker, **pids), idle_s)
        for worker in workers.values():
            worker.check_alive()
    finally:
        for worker in workers.values():
            worker.kill()
    truths = [truth for truth in load.truths if began <= truth.sent < ended]
    return {
        "rate": rate,
        "seconds": seconds,
        "truth_ms": _percentiles(
            [1000 * (truth.seen - truth.sent) for truth in truths if truth.seen is not None]
        ),
        "never_shown": sum(truth.seen is None for truth in truths),
        "alert_ms": _percentiles(
            [1000 * late for at, late in watcher.alerts if began <= at < ended]
        ),
        "core_share": {worker: use.cpu_s / (ended - began) for worker, use in used.items()},
        "idle_core_share": idle,
        "peak_mib": {worker: use.peak_mib for worker, use in used.items()},
        "provisional_per_s": watcher.provisional / (time.time() - watcher.began),
        "generator_late_ms": 1000 * load.late_s,
    }


class _Watcher:
    """Reads figures and alerts when they are committed."""

    def __init__(self, bench: Bench, load: Load) -> None:
        self._consumer = bench.reader(
            METRICS, ALERTS, **{"fetch.wait.max.ms": 100, "fetch.error.backoff.ms": 10}
        )
        self._alerts = bench.name(ALERTS)
        self._load = load
        self._decode = msgspec.json.Decoder().decode
        self.alerts: list[tuple[float, float]] = []  # time of arrival, and delay after its due time
        self.provisional = 0
        self.began = time.time()

    def watch(self, seconds: float) -> None:
        """Read for `seconds`."""
        ends = time.time() + seconds
        while time.time() < ends:
            message = self._consumer.poll(0.05)
            if message is None:
                continue
            now, record = time.time(), self._decode(value_of(message))
            if message.topic() == self._alerts:
                self.alerts.append((now, now - parse_time(record["at"]) / 1000 - GRACE_S))
            else:
                self.provisional += record["provisional"]
                self._load.record_figures(record, now)


def _idle(meter: Meter, seconds: float) -> dict[str, float]:
    """Share of a core of each process without input, over more than a minute, to include a tick."""
    began = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    return {name: used.cpu_s / passed for name, used in meter.read().items()}


def _percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {"n": 0}
    p50, p90, p99 = np.percentile(values, (50, 90, 99)).tolist()
    return {"n": len(values), "p50": p50, "p90": p90, "p99": p99, "max": max(values)}
