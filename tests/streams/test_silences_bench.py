"""Simulated years of models without and with a stop: `no_data` and `no_labels`."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.silences import (
    BATCHES,
    label_bound,
    labels_stop,
    predictions_stop,
    simulated_hours,
    stop_hour,
)
from tests.seeds import quick_and_slow

SEED = 2026
BATCH_HOURS = dict(BATCHES)
MODELS = 2


@pytest.mark.parametrize("batch", list(BATCH_HOURS))
@pytest.mark.parametrize("per_day", quick_and_slow([20, 200, 5000], 1))
def test_labels_of_quiet_models_raise_no_alert_in_a_year_and_their_stop_one_within_the_bound(
    per_day: int, batch: str
) -> None:
    rng = np.random.default_rng(SEED)
    for _ in range(MODELS):
        hours = simulated_hours(per_day, 0.1, 0.2, BATCH_HOURS[batch], rng)
        assert labels_stop(hours).fired == [], f"seed {SEED}"
        stop = stop_hour(rng)
        stopped = labels_stop(hours, stop)
        assert 0 < stopped.delay(stop) <= label_bound(stopped, hours), f"seed {SEED}"


@pytest.mark.parametrize("weekend", [1.0, 0.2, 0.0])
@pytest.mark.parametrize("per_day", quick_and_slow([20, 40, 200, 5000], 2))
def test_predictions_of_quiet_models_raise_few_alerts_and_their_stop_one_in_time(
    per_day: int, weekend: float
) -> None:
    rng = np.random.default_rng(SEED)
    false_alarms = 0
    for _ in range(MODELS):
        hours = simulated_hours(per_day, 0.1, weekend, 0, rng)
        false_alarms += len(predictions_stop(hours.predictions).fired)
        stop = stop_hour(rng)
        stopped = predictions_stop(hours.predictions, stop)
        # Twice the longest silence and an hour, told to 4 hours in a silence of more than 4 days.
        assert 0 < stopped.delay(stop) <= 2 * (stopped.longest + 1) + 4, f"seed {SEED}"
    # At most 0.06 a year are expected; the old limit raised one every weekend without predictions.
    assert false_alarms <= 1, f"seed {SEED}"


def test_the_simulated_traffic_has_its_mean_and_its_pauses() -> None:
    hours = simulated_hours(200, 0.0, 0.0, 168, np.random.default_rng(SEED))
    assert hours.predictions.sum() == pytest.approx(200 * 365, rel=0.02)
    busy = np.flatnonzero(hours.predictions)
    assert len(np.unique(busy % 24)) == 14
    known = np.flatnonzero(hours.labels)
    assert set(np.diff(known)) == {168}
    # A label waits for 0 to 7 days after its delay, 3 days in the median, for the next batch.
    assert 7 < hours.p95_ms / 86_400_000 < 14
