"""Prometheus metrics of the mirror."""

from __future__ import annotations

import math
import time
from typing import Final, get_args

from prometheus_client import Counter, Gauge

from driftline.agents.mirror.server import FaultReason

UP = Gauge(
    "driftline_redis_up",
    "1 while this worker mirrors to Redis, 0 while it tries to, NaN in a worker that does not.",
)
AGE = Gauge(
    "driftline_redis_confirmed_age_seconds",
    "Time since the mirror was last known to hold all that the topics hold; NaN in a worker that "
    "does not mirror.",
)
WRITES = Counter("driftline_redis_writes", "Changes that were new in the mirror.")
FAULTS = Counter("driftline_redis_faults", "What Redis did not do, by reason.", ("reason",))
REBUILDS = Counter(
    "driftline_redis_rebuilds",
    "How often the mirror was made anew: it was missing, its topics were made anew, or its content "
    "was not what this worker had written.",
    ("why",),
)
MISSING: Final = "missing"
CHANGED: Final = "changed"


class MirrorMeters:
    """Metrics of the step that mirrors."""

    def __init__(self) -> None:
        self._is_owner = False
        self._confirmed_s = time.monotonic()
        for reason in get_args(FaultReason):
            FAULTS.labels(reason)
        for why in (MISSING, CHANGED):
            REBUILDS.labels(why)
        AGE.set_function(self._age_s)
        self.end()

    def begin(self) -> None:
        """This worker begins to mirror."""
        self._is_owner = True
        self._confirmed_s = time.monotonic()
        UP.set(0)

    def end(self) -> None:
        """This worker mirrors no longer."""
        self._is_owner = False
        UP.set(math.nan)

    def confirmed(self) -> None:
        """The mirror holds all that the topics hold."""
        self._confirmed_s = time.monotonic()
        UP.set(1)

    def failed(self, reason: FaultReason) -> None:
        """Redis did not do what it was asked."""
        FAULTS.labels(reason).inc()
        UP.set(0)

    def _age_s(self) -> float:
        return time.monotonic() - self._confirmed_s if self._is_owner else math.nan
