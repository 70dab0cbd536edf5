"""Many models of few predictions: cost, memory, the longest call of the event loop, and how long a
probe of the worker's health waits.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from driftline.schemas.times import DAY_MS
from driftline.schemas.topics import METRICS
from tests.bench.kafka.topics import Bench
from tests.bench.kafka.usage import Meter
from tests.bench.kafka.waiting import wait_until_settled
from tests.bench.kafka.worker import Worker
from tests.bench.many_models import CONFIG, PREDICTIONS, write_log

Result = dict[str, Any]
PARTITIONS: Final = 2
PROBE_S: Final = 0.1


def many_models(folder: Path, servers: str, broker: int, *, models: int) -> Result:
    """Send five predictions for each model, with the truths of most, then ask for the end.

    The worker runs with every call of its loop timed.
    """
    log = folder / "log"
    log.mkdir(parents=True)
    write_log(log, models)
    bench = Bench(servers, f"bench-many-{models}.", PARTITIONS)
    config = bench.configuration(folder / "driftline.toml", f"[run]\n{CONFIG}", f"many-{models}")
    bench.make_inputs()
    bench.fresh(config)
    calls = folder / "calls.json"
    worker = Worker(config, folder / "state", folder / "worker.log", watched=calls)
    try:
        worker.ready()
        meter, began = Meter(worker=worker.pid, broker=broker), time.monotonic()
        with _Probe(worker.port) as probe:
            last = bench.send_log(log)
            sent_s = time.monotonic() - began
            wait_until_settled(bench, worker, bench.finish(last, DAY_MS))
        used = meter.read()
        elapsed_s = time.monotonic() - began
        time.sleep(2.0)  # until the longest calls are written
        longest = json.loads(calls.read_text())
        stop_s = worker.stop()
    finally:
        worker.kill()
    rows = bytes_ = predictions = 0
    for value in bench.whole(METRICS):
        rows, bytes_ = rows + 1, bytes_ + len(value)
        figure = msgspec.json.decode(value)
        if (figure["lane"], figure["window"], figure["final"], figure["provisional"]) == (
            "decisions",
            "1h",
            True,
            False,
        ):
            predictions += figure["n_predictions"]
    bench.delete(bench.names())
    return {
        "models": models,
        "sent": models * PREDICTIONS,
        "counted": predictions,
        "ms_per_prediction": 1e3 * used["worker"].cpu_s / (models * PREDICTIONS),
        "broker_ms_per_prediction": 1e3 * used["broker"].cpu_s / (models * PREDICTIONS),
        "peak_mib": used["worker"].peak_mib,
        "metrics": rows,
        "metrics_mb": bytes_ / 1e6,
        "sent_s": sent_s,
        "finish_s": elapsed_s - sent_s,
        "stop_s": stop_s,
        "longest_calls": longest,
        "probes": len(probe.seconds),
        "failed_probes": probe.failed,
        "worst_probe_s": max(probe.seconds, default=0.0),
    }


class _Probe:
    """Asks a worker whether it lives, again and again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seconds: list[float] = []
        self.failed = 0

    def __enter__(self) -> _Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(PROBE_S):
            begun = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30.0)
            try:
                connection.request("GET", "/health/live")
                self.failed += connection.getresponse().status != 200
            except OSError:
                self.failed += 1
            finally:
                connection.close()
            self.seconds.append(time.monotonic() - begun)
