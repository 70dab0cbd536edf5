"""Expiry of entries at the rate of new ones, with millions in state: whether it keeps up, and its
cost.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from driftline.schemas.times import HOUR_MS, format_time, parse_time
from driftline.schemas.topics import GROUND_TRUTH, METRICS, PREDICTIONS
from tests.bench.kafka.topics import Bench
from tests.bench.kafka.usage import Meter
from tests.bench.kafka.waiting import wait_until_answered, wait_until_settled
from tests.bench.kafka.worker import Worker

Result = dict[str, Any]
PARTITIONS: Final = 4
LABELLED: Final = 20  # one in this many predictions gets its truth
LABEL_AFTER: Final = 1_000
MOST_MORE: Final = 5_000_000
BEGIN_MS: Final = parse_time("2024-03-01T00:00:00Z")
SETTINGS: Final = """[run]
lanes = ["decisions", "arrivals"]
prediction_grace = "1m"
truth_grace = "1m"
[defaults]
windows = ["10m"]
maturity = ["1h"]
label_horizon = "1h"
correction_horizon = "1m"
positive_label = "yes"
last_n = []
since_deployment = false
default_rules = false
metrics = []
"""


def expiry(folder: Path, servers: str, broker: int, *, entries: int) -> Result:
    """Send predictions of one label horizon, then more: first entries only accumulate, then as many
    expire as arrive.

    Parameters
    ----------
    entries
        Predictions of one label horizon; all but one in 20 expire without a label.
    """
    bench = Bench(servers, f"bench-expiry-{entries}.", PARTITIONS)
    config = bench.configuration(folder / "driftline.toml", SETTINGS, f"expiry-{entries}")
    bench.make_inputs()
    bench.fresh(config)
    worker = Worker(config, folder / "state", folder / "worker.log")
    result: Result = {"entries": entries, "phases": {}}
    source = _Source(bench, entries)
    try:
        worker.ready()
        more = min(entries, MOST_MORE)
        for phase, count in (("accumulating", entries), ("accumulating and expiring", more)):
            with _Phase(result, phase, worker, broker, count):
                source.send(count)
                bench.ask(source.last_ms)
                wait_until_answered(bench, worker, source.last_ms)
        with _Phase(result, "expiring the rest", worker, broker, entries):
            wait_until_settled(
                bench, worker, bench.finish(format_time(source.last_ms), 2 * HOUR_MS)
            )
        result["stop_s"] = worker.stop()
    finally:
        worker.kill()
    result |= {"sent": entries + more, "labelled": source.labelled} | _sum_figures(bench)
    bench.delete(bench.names())
    return result


class _Phase:
    """Records processor time and memory of a phase in the result."""

    def __init__(
        self, result: Result, name: str, worker: Worker, broker: int, entries: int
    ) -> None:
        self._phase: Result = result["phases"].setdefault(name, {})
        self._pids = {"worker": worker.pid, "broker": broker}
        self._entries = entries

    def __enter__(self) -> None:
        self._meter, self._began = Meter(**self._pids), time.monotonic()

    def __exit__(self, *_: object) -> None:
        used = self._meter.read()
        self._phase["elapsed_s"] = time.monotonic() - self._began
        self._phase["us_per_entry"] = {
            name: 1e6 * use.cpu_s / self._entries for name, use in used.items()
        }
        self._phase["peak_mib"] = used["worker"].peak_mib


class _Source:
    """Predictions with evenly ascending times, and truths of a few."""

    def __init__(self, bench: Bench, entries: int) -> None:
        self._bench = bench
        self._producer = bench.producer()
        self._random = Random(7)
        self._per_hour = entries
        self._number = 0
        self._waiting: list[str] = []
        self.labelled = 0
        self.last_ms = BEGIN_MS

    def send(self, count: int) -> None:
        """Send `count` more predictions."""
        for number in range(self._number, self._number + count):
            if number % LABEL_AFTER == 0:
                self.last_ms = BEGIN_MS + number * HOUR_MS // self._per_hour
                stamp = format_time(self.last_ms)
                for identity in self._waiting:
                    self._send(
                        GROUND_TRUTH,
                        identity,
                        f'{{"prediction_id":"{identity}","label":"yes","timestamp":"{stamp}"}}',
                    )
                self.labelled += len(self._waiting)
                self._waiting = []
            identity = f"{self._random.getrandbits(128):032x}"
            model = f'"model_name":"model-{number % 10}","model_version":"1.{number % 2}.0"'
            self._send(
                PREDICTIONS,
                identity,
                f'{{"prediction_id":"{identity}",{model},"timestamp":"{stamp}","prediction":"no"}}',
            )
            if number % LABELLED == 0:
                self._waiting.append(identity)
        self._number += count
        self._producer.flush()

    def _send(self, topic: str, identity: str, line: str) -> None:
        while True:
            try:
                self._producer.produce(self._bench.name(topic), line, identity)
                return
            except BufferError:
                self._producer.poll(0.05)


def _sum_figures(bench: Bench) -> Result:
    """Sums of the final figures of all windows."""
    total = {"predictions": 0, "joined": 0, "expired": 0}
    for value in bench.whole(METRICS):
        figure = msgspec.json.decode(value)
        if (figure["segment"], figure["kind"], figure["final"]) != ("all", "tumbling", True):
            continue
        if figure["lane"] == "decisions":
            total["predictions"] += figure["n_predictions"]
            total["joined"] += figure["n"]
        else:
            total["expired"] += figure.get("counts", {}).get("expired", 0)
    return total
