"""A worker with millions of entries: memory, restart time, and time from kill -9 to new output."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from driftline.schemas.times import DAY_MS, format_time
from driftline.schemas.topics import METRICS, PREDICTIONS
from tests.bench.kafka.topics import Bench, value_of
from tests.bench.kafka.usage import Meter
from tests.bench.kafka.waiting import wait_until_answered
from tests.bench.kafka.worker import Worker

Result = dict[str, Any]
PARTITIONS: Final = 4
TRICKLE_S: Final = 0.05
OUTPUT_S: Final = 60.0
SETTINGS: Final = """[run]
lanes = ["decisions"]
prediction_grace = "1m"
truth_grace = "1m"
[defaults]
windows = ["1h"]
maturity = ["1d"]
label_horizon = "30d"
positive_label = "yes"
last_n = []
since_deployment = false
default_rules = false
metrics = []
"""


def restore(folder: Path, servers: str, broker: int, *, entries: int, kills: int) -> Result:
    """Fill a worker with predictions without labels, then restart it in several ways.

    Parameters
    ----------
    entries
        Predictions without a label.
    kills
        Number of kills with SIGKILL at a low rate of predictions, with static membership and a kept
        local copy.
    """
    bench = Bench(servers, f"bench-restore-{entries}.", PARTITIONS)
    config = bench.configuration(
        folder / "driftline.toml",
        SETTINGS,
        f"restore-{entries}",
        clock="wall",
        kafka='static_member = "bench"\n',
    )
    bench.make_inputs()
    bench.fresh(config)
    state, log = folder / "state", folder / "worker.log"
    first_ms = round(time.time() * 1000) - DAY_MS
    last_ms = _fill(bench, entries, first_ms)
    bench.ask(last_ms)

    worker = Worker(config, state, log)
    try:
        worker.ready()
        meter, began = Meter(worker=worker.pid, broker=broker), time.monotonic()
        wait_until_answered(bench, worker, last_ms)
        filled_s, used = time.monotonic() - began, meter.read()
        result: Result = {
            "entries": entries,
            "fill_s": filled_s,
            "fill_us_per_entry": {name: 1e6 * use.cpu_s / entries for name, use in used.items()},
            "fill_peak_mib": used["worker"].peak_mib,
            "stop_s": worker.stop(),
            "cache_mib": _size_mib(state),
        }
        worker = Worker(config, state, log)
        result["kept_cache_ready_s"] = worker.ready()
        result["kept_cache_peak_mib"] = Meter(worker=worker.pid).read()["worker"].peak_mib
        worker.stop()
        shutil.rmtree(state)
        worker = Worker(config, state, log)
        result["empty_cache_ready_s"] = worker.ready()
        result["empty_cache_peak_mib"] = Meter(worker=worker.pid).read()["worker"].peak_mib
        back = []
        with _Trickle(bench):
            _first_output(bench, time.time())
            for _ in range(kills):
                time.sleep(2.0)
                worker.kill()
                killed = time.time()
                worker = Worker(config, state, log)
                back.append(_first_output(bench, killed))
        result["kill_to_output_s"] = back
        worker.stop()
    finally:
        worker.kill()
    bench.delete(bench.names())
    return result


def _fill(bench: Bench, entries: int, first_ms: int) -> int:
    """Send predictions with event times over half an hour; returns the last time."""
    producer, random = bench.producer(), Random(7)
    name, time_ms = bench.name(PREDICTIONS), first_ms
    for number in range(entries):
        if number % 1_000 == 0:
            time_ms = first_ms + number * 1_800_000 // entries
            stamp = format_time(time_ms)
        identity = f"{random.getrandbits(128):032x}"
        line = (
            f'{{"prediction_id":"{identity}","model_name":"model-{number % 10}",'
            f'"model_version":"1.{number % 2}.0",'
            f'"timestamp":"{stamp}","prediction":"no"}}'
        )
        while True:
            try:
                producer.produce(name, line, identity)
                break
            except BufferError:
                producer.poll(0.05)
    producer.flush()
    return time_ms


class _Trickle:
    """A few predictions a second for all partitions, within a `with` block."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        producer, random, number = self._bench.producer(), Random(8), 0
        while not self._done.wait(TRICKLE_S):
            number += 1
            row = {
                "prediction_id": f"{random.getrandbits(128):032x}",
                "model_name": f"model-{number % 10}",
                "model_version": "1.0.0",
                "timestamp": format_time(round(time.time() * 1000)),
                "prediction": "no",
            }
            producer.produce(
                self._bench.name(PREDICTIONS), msgspec.json.encode(row), row["prediction_id"]
            )
            producer.poll(0)
        producer.flush()


def _first_output(bench: Bench, after: float) -> float:
    """Seconds from a time to the first committed record of `metrics` that was written after it."""
    consumer, ends = bench.reader(METRICS), time.time() + OUTPUT_S
    while time.time() < ends:
        for message in consumer.consume(1_000, 0.02):
            value_of(message)
            written = message.timestamp()[1] / 1000
            if written > after:
                consumer.close()
                return time.time() - after
    raise TimeoutError(f"no new figure {OUTPUT_S:.0f} s after the kill")


def _size_mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / (1 << 20)
