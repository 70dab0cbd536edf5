"""Synthetic flights of a few days, for tests without the real ones."""

from __future__ import annotations

import numpy as np

from driftline.agents.demo.flights import NEVER, Flights
from driftline.agents.demo.model import PRODUCTION_MS
from driftline.schemas.times import HOUR_MS, MINUTE_MS


def small_year(seed: int, n: int = 400) -> Flights:
    """Flights of a few days with two carriers, three origins and four destinations."""
    rng = np.random.default_rng(seed)
    departure = np.sort(PRODUCTION_MS - rng.integers(0, 20 * 24 * 60, n) * MINUTE_MS)
    delay = rng.integers(-5, 60, n)
    cancelled = rng.random(n) < 0.05
    return Flights(
        departure_ms=departure,
        left_ms=np.where(cancelled, NEVER, departure + delay * MINUTE_MS),
        departure_delay=np.where(cancelled, 0, delay),
        truth_ms=np.where(cancelled, NEVER, departure + (delay + 90) * MINUTE_MS),
        late=~cancelled & (delay > 15),
        cancelled=cancelled,
        hour=departure // HOUR_MS % 24,
        weekday=departure // (24 * HOUR_MS) % 7,
        carrier=rng.integers(0, 2, n),
        carrier_names=("AA", "UA"),
        origin=rng.integers(0, 3, n),
        origin_names=("EWR", "JFK", "LGA"),
        dest=rng.integers(0, 4, n),
        dest_names=("BOS", "DEN", "IAH", "LAX"),
        number=np.arange(n),
        date=np.full(n, 20130301),
        distance=rng.integers(100, 2_000, n),
    )
