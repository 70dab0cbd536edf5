"""A steady load of predictions and truths, matched with the figures emitted about them.

10 models of 2 versions. Truths are identified without an extra field: the partition of the id
determines predicted and actual label, so a cell of a confusion matrix counts the truths of one
partition only, in the order of sending, and the k-th truth is in the first record that counts k. In
every other minute of a version, truths come after the first rung, so that the coverage at that rung
falls and a rule on the complete window fires; in the next minute it resolves.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from random import Random
from typing import Any, Final

import msgspec
from confluent_kafka import Producer

from driftline.agents.kafka.broker.wire import partition_of
from driftline.schemas.times import format_time, parse_time
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS
from tests.bench.kafka.topics import Bench

GRACE_S: Final = 2
RUNG: Final = "1m"  # whole panes: figures of a rung are emitted at the first pane edge after it
SOON_S: Final = (1.0, 10.0)
LATE_S: Final = (62.0, 70.0)
# Actual and predicted label, by partition.
CELLS: Final = (("no", "no"), ("no", "yes"), ("yes", "no"), ("yes", "yes"))

PLAIN: Final = f"""[run]
lanes = ["decisions"]
prediction_grace = "{GRACE_S}s"
truth_grace = "{GRACE_S}s"
park = "10m"
[defaults]
windows = ["1m"]
maturity = ["{RUNG}", "5m"]
label_horizon = "5m"
correction_horizon = "2m"
positive_label = "yes"
last_n = []
since_deployment = false
default_rules = false
metrics = ["label_coverage"]
"""
RULE: Final = f"""
[[defaults.rules]]
type = "threshold"
name = "coverage_low"
metric = "label_coverage"
below = 0.5
min_samples = 0
window = "1m"
maturity = "{RUNG}"
"""
ALL_LANES: Final = '["traffic", "decisions", "arrivals"]'
FULL: Final = PLAIN.replace('["decisions"]', ALL_LANES).replace(
    'metrics = ["label_coverage"]\n', 'segments = ["plan", "country", "device"]\n'
)
SETTINGS: Final = {"plain": PLAIN + RULE, "full": FULL + RULE}


_Key = tuple[str, str, int, str, str]
"""Model, version, start of the window, actual and predicted label."""


class _Truth(msgspec.Struct, gc=False):
    sent: float
    seen: float | None = None


class Load:
    """A thread that sends predictions at a steady rate, and their truths.

    Parameters
    ----------
    full
        Whether rows have 10 features, 3 segment dimensions, scores and latencies.
    """

    def __init__(self, bench: Bench, rate: int, *, full: bool, seed: int = 7) -> None:
        self._producer = Producer(
            {"bootstrap.servers": bench.servers, "partitioner": "murmur2_random", "linger.ms": 0}
        )
        self._bench = bench
        self._rate = rate
        self._full = full
        self._random = Random(seed)
        self._waiting: list[tuple[float, str, _Key, bool]] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        # By cell, in the order of sending: truths within the first rung, and all truths.
        self._soon: dict[_Key, deque[_Truth]] = {}
        self._all: dict[_Key, deque[_Truth]] = {}
        self._counted: dict[tuple[_Key, str], int] = {}
        self.truths: list[_Truth] = []
        self.late_s = 0.0
        self.predictions = 0

    def start(self) -> None:
        """Start to send."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; pending truths are not sent."""
        self._stopping.set()
        self._thread.join()
        self._producer.flush()

    def record_figures(self, metric: dict[str, Any], now: float) -> None:
        """Note the time for all truths that a record of the decisions lane shows first."""
        if metric["segment"] != "all" or metric["lane"] != "decisions":
            return
        start, maturity, labels = (
            parse_time(metric["window_start"]),
            metric["maturity"],
            metric.get("labels", ()),
        )
        with self._lock:
            queues = self._soon if maturity == RUNG else self._all
            for actual, row in zip(labels, metric.get("matrix", ()), strict=True):
                for predicted, count in zip(labels, row, strict=True):
                    key = (metric["model_name"], metric["model_version"], start, actual, predicted)
                    counted = self._counted.get((key, maturity), 0)
                    for _ in range(count - counted):
                        truth = queues[key].popleft()
                        truth.seen = now if truth.seen is None else truth.seen
                    self._counted[key, maturity] = max(counted, count)

    def _run(self) -> None:
        begun = time.time()
        number = 0
        while not self._stopping.is_set():
            now = time.time()
            while begun + number / self._rate <= now:
                self.late_s = max(self.late_s, now - begun - number / self._rate)
                self._send_prediction(now)
                number += 1
            while self._waiting and self._waiting[0][0] <= now:
                self._send_truth(now)
            self._producer.poll(0)
            time.sleep(0.001)
        self.predictions = number

    def _send_prediction(self, now: float) -> None:
        random = self._random
        identity = f"{random.getrandbits(128):032x}"
        model, version = random.randrange(10), random.randrange(2)
        actual, predicted = CELLS[partition_of(identity, self._bench.partitions) % 4]
        ms = round(now * 1000)
        row = {
            "prediction_id": identity,
            "model_name": f"model-{model}",
            "model_version": f"1.{version}.0",
            "timestamp": format_time(ms),
            "prediction": predicted,
        }
        self._producer.produce(
            self._bench.name(PREDICTIONS),
            msgspec.json.encode(row | (self._full_fields() if self._full else {})),
            identity,
        )
        slow = (ms // 60_000 + model + version) % 2
        # No delay is close to the rung, so that it is clear on which side of it a truth is.
        delay_s = random.uniform(*LATE_S if slow else SOON_S)
        key = (row["model_name"], row["model_version"], ms // 60_000 * 60_000, actual, predicted)
        heapq.heappush(self._waiting, (now + delay_s, identity, key, not slow))

    def _send_truth(self, now: float) -> None:
        _, identity, key, soon = heapq.heappop(self._waiting)
        value = msgspec.json.encode(
            {
                "prediction_id": identity,
                "label": key[3],
                "timestamp": format_time(round(now * 1000)),
            }
        )
        truth = _Truth(time.time())
        with self._lock:
            self.truths.append(truth)
            self._all.setdefault(key, deque()).append(truth)
            if soon:
                self._soon.setdefault(key, deque()).append(truth)
        self._producer.produce(self._bench.name(GROUND_TRUTH), value, identity)

    def _full_fields(self) -> dict[str, Any]:
        random = self._random
        features: dict[str, float | str] = {
            f"f{i}": round(random.gauss(0, 1 + i), 6) for i in range(7)
        }
        features |= {
            "age": random.randrange(18, 90),
            "color": random.choice(("red", "green")),
            "shop": f"shop-{random.randrange(40)}",
        }
        segment = {
            "plan": random.choice(("free", "pro", "team")),
            "country": random.choice(("de", "fr", "us", "in", "br")),
            "device": random.choice(("phone", "web")),
        }
        score, latency_ms = round(random.random(), 6), round(random.lognormvariate(3, 0.5), 3)
        return {"score": score, "latency_ms": latency_ms, "features": features, "segment": segment}
