"""Throughput with a backlog: processor time per joined pair of the worker and of the broker,
compared with the hand-written consumer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from driftline.schemas.config import load_config
from tests.bench import jobs
from tests.bench.kafka.topics import Bench, sum_figures
from tests.bench.kafka.usage import Meter
from tests.bench.kafka.waiting import wait_until_settled
from tests.bench.kafka.worker import ROOT, Worker

Result = dict[str, Any]
KEPT: Final = (
    "driftline_commits_total",
    "driftline_journal_bytes_total",
    "driftline_process_seconds_sum",
    "driftline_transaction_seconds_sum",
)


class Job:
    """One job of one size, with its log and its input topics, which are written once.

    Parameters
    ----------
    kind
        "plain" or "full".
    """

    def __init__(self, folder: Path, servers: str, kind: str, pairs: int) -> None:
        self.name = f"{kind}-{pairs}"
        self.pairs = pairs
        self._kind = kind
        self._folder = folder / self.name
        self.bench = Bench(servers, f"bench-{self.name}.", jobs.PARTITIONS)
        self._rounds = 0
        jobs.write(self._folder / "log", kind, pairs)
        self.bench.make_inputs()
        self._last = self.bench.send_log(self._folder / "log")
        self._horizon_ms = load_config(
            self._folder / "log" / "driftline.toml"
        ).defaults.label_horizon_ms

    def ideal(self, broker: int) -> Result:
        """Measure the hand-written consumer, in a new process."""
        command = [
            sys.executable,
            "-m",
            "tests.bench.kafka.ideal",
            self.bench.servers,
            self.bench.prefix,
            str(jobs.PARTITIONS),
        ]
        process = subprocess.Popen(
            [*command, str(self._horizon_ms)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            process.stdout.readline()
            meter = Meter(broker=broker)
            line = process.stdout.readline()
            used = meter.read()
            if process.wait():
                raise SystemExit(f"the ideal ended with {process.returncode}")
        finally:
            process.kill()
        return json.loads(line) | {"broker_cpu_s": used["broker"].cpu_s}

    def pipeline(self, broker: int, *, profile: Path | None = None) -> Result:
        """Measure the product, from ready until all results of the log are emitted."""
        self._rounds += 1
        folder = self._folder / f"round-{self._rounds}"
        app = f"{self.name}-{self._rounds}"
        config = self.bench.configuration(
            folder / "driftline.toml", jobs.CONFIGURATIONS[self._kind], app
        )
        self.bench.fresh(config)
        end_ms = self.bench.finish(self._last, self._horizon_ms)
        worker = Worker(config, folder / "state", folder / "worker.log", profile=profile)
        try:
            ready_s = worker.ready()
            meter, began = Meter(worker=worker.pid, broker=broker), time.monotonic()
            wait_until_settled(self.bench, worker, end_ms)
            elapsed_s, used = time.monotonic() - began, meter.read()
            figures = {
                name: value for name, value in worker.metrics().items() if name.startswith(KEPT)
            }
            stop_s = worker.stop()
        finally:
            worker.kill()
        return {
            "cpu_s": used["worker"].cpu_s,
            "broker_cpu_s": used["broker"].cpu_s,
            "elapsed_s": elapsed_s,
            "peak_mib": used["worker"].peak_mib,
            "broker_peak_mib": used["broker"].peak_mib,
            "ready_s": ready_s,
            "stop_s": stop_s,
            "figures": figures,
        } | sum_figures(self.bench)
