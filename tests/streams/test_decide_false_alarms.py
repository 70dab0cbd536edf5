"""False alarms of the windowed rule `degradation` on a stable model, and its delay on a model that
degrades.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from driftline.agents.state.dict_state import MemoryState
from driftline.schemas import topics
from driftline.schemas.results import Alert
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import DAY_MS, format_time
from driftline.streams.decide import Decide
from driftline.streams.stage import Batch
from tests.streams.figures import START_MS, entry, metric

SEED, RUNS, DAYS = 2013, 50, 180
REFERENCE = 30
BASE = 0.75
ROWS_SD = 0.012
"""Standard deviation of a day's AUC by its number of rows, about 900."""


def series(
    rng: np.random.Generator, *, day_sd: float, memory: float, drop_at: int | None, drop: float
) -> NDArray[np.float64]:
    """Daily values: a constant, an autoregressive effect of the day, the noise of the rows, and a
    relative `drop` from one day on.
    """
    effect = np.zeros(REFERENCE + DAYS)
    shocks = rng.normal(0, day_sd * np.sqrt(1 - memory**2), len(effect))
    for day in range(1, len(effect)):
        effect[day] = memory * effect[day - 1] + shocks[day]
    values = BASE + effect + rng.normal(0, ROWS_SD, len(effect))
    if drop_at is not None:
        values[REFERENCE + drop_at :] -= BASE * drop
    return values


def alerts_of(
    values: NDArray[np.float64], *, daily_variance: bool, widen: bool = True
) -> list[Alert]:
    """Run stage 3 on the days after the reference: for each day its figures, then the week's."""
    reference = values[:REFERENCE]
    half = 1.96 * ROWS_SD
    baseline: dict[str, Any] = {
        "metrics": {"roc_auc": float(reference.mean())},
        "ci": {
            "roc_auc": [
                float(reference.mean() - half / REFERENCE**0.5),
                float(reference.mean() + half / REFERENCE**0.5),
            ]
        },
        "span": [format_time(START_MS - REFERENCE * DAY_MS), format_time(START_MS)],
    }
    if daily_variance:
        baseline |= {"daily_variance": {"roc_auc": float(reference.var(ddof=1))}, "days": REFERENCE}
    stage = Decide(
        Config(
            defaults=ModelConfig(
                default_rules=False, rules=({"type": "degradation", "maturity": "1d"},)
            )
        )
    )
    records = []
    for day in range(REFERENCE, len(values)):
        end_ms = START_MS + (day - REFERENCE + 1) * DAY_MS
        day_half, week_half, week = (
            half,
            half / 7**0.5,
            float(values[max(day - 6, 0) : day + 1].mean()),
        )
        if widen:
            records.append(
                metric(
                    end_ms,
                    {"roc_auc": float(values[day])},
                    ci={"roc_auc": (values[day] - day_half, values[day] + day_half)},
                )
            )
        sliding: dict[str, Any] = {"size_ms": 7 * DAY_MS, "window": "7d/1d", "kind": "sliding"}
        records.append(
            metric(
                end_ms,
                {"roc_auc": week},
                ci={"roc_auc": (week - week_half, week + week_half)},
                **sliding,
            )
        )
    batch = Batch(records={"registry": [entry(baseline=baseline)], "metrics": records})
    found = stage.process(batch, MemoryState())
    return [record.value for record in found if record.topic == topics.ALERTS]


@pytest.mark.parametrize(("day_sd", "memory"), [(0.0, 0.0), (0.05, 0.0), (0.05, 0.5)])
def test_a_stable_model_raises_few_alerts_whatever_the_variance_between_its_days(
    day_sd: float, memory: float, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(SEED)
    runs = [series(rng, day_sd=day_sd, memory=memory, drop_at=None, drop=0.0) for _ in range(RUNS)]
    rates = {}
    for source in ("baseline", "recent days", "counts alone"):
        alerts = [
            alerts_of(values, daily_variance=source == "baseline", widen=source != "counts alone")
            for values in runs
        ]
        firing = sum(alert.status == "firing" for of_run in alerts for alert in of_run)
        rates[source] = firing / (RUNS * DAYS / 30)
    with capsys.disabled():
        text = ", ".join(
            f"{rate:.3f} by the variance of {source}" for source, rate in rates.items()
        )
        print(
            f"\nstable, sd between days {day_sd}, autocorrelation {memory}: alerts a month {text}; "
            f"{RUNS} runs of {DAYS} days, seed {SEED}"
        )
    # The interval assumes independent days; for autocorrelated ones the bound is looser.
    assert max(rates["baseline"], rates["recent days"]) <= (0.1 if memory else 0.02)
    assert max(rates["baseline"], rates["recent days"]) <= max(rates["counts alone"], 0.02)


@pytest.mark.parametrize(
    ("drop", "severities"), [(0.10, ("warning", "critical")), (0.20, ("critical",))]
)
def test_a_real_drop_fires_within_two_weeks(
    drop: float, severities: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(SEED)
    delays = []
    reached = []
    for _ in range(RUNS):
        values = series(rng, day_sd=0.015, memory=0.3, drop_at=60, drop=drop)
        firing = [
            alert for alert in alerts_of(values, daily_variance=True) if alert.status == "firing"
        ]
        after = [alert for alert in firing if alert.at_ms > START_MS + 60 * DAY_MS]
        assert len(firing) == len(after), f"seed {SEED}"
        delays.append((after[0].at_ms - START_MS) / DAY_MS - 60)
        reached.append(after[-1].severity)
    with capsys.disabled():
        text = f"{np.median(delays):.0f} days (median; longest {max(delays):.0f})"
        print(f"\na drop of {drop:.0%} fires after {text}, {RUNS} runs, seed {SEED}")
    assert max(delays) <= 14
    assert sum(severity in severities for severity in reached) >= 0.95 * RUNS
