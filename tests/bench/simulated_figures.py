"""What stage 2 says of a simulated model, day by day: the input of stage 3.

A model has predictions around the clock, three times as many by day as by night. Of the predictions
1 % end in an error, and 95 % of the others get a truth, more or less from day to day. Latency is
log-normal with day effects; its 95 % quantile, 570 ms on the average day, is below the level of the
default rule, 1 s. Outcomes are those of `simulated_outcomes.py`, features those of
`feature_faults.py`. Intervals and shares of features are computed by the functions of stage 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftline.schemas.results import Drift, RegistryEntry, WindowFigures
from driftline.schemas.times import DAY_MS, HOUR_MS, EpochMs, format_time
from driftline.streams.drift.false_discovery import adjusted
from driftline.streams.intervals import quantile_ranks, wilson
from driftline.streams.measure.drift.feature_shares import share_results
from tests.bench import feature_faults
from tests.bench.feature_faults import REFERENCE, WINDOW, Feature
from tests.bench.simulated_outcomes import Case, Counts, simulated

COVERAGE_SD, LATENCY_SIGMA = 0.3, 0.5
MATURITY, MATURITY_DAYS, KNOWN = "7d", 7, 0.955
"""The rung at which coverage is judged, and the share of the labels that are known by then."""
BY_HOUR = np.where((np.arange(24) >= 8) & (np.arange(24) < 20), 1.5, 0.5) / 24.0
_QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}


class Service(NamedTuple):
    """How a model is served.

    Parameters
    ----------
    event_errors, coverage
        Share of predictions that end in an error, and that get a truth.
    latency_ms, latency_day_sd
        Median latency, and standard deviation of the logarithm of its day effects.
    """

    event_errors: float = 0.01
    coverage: float = 0.95
    latency_ms: float = 250.0
    latency_day_sd: float = 0.15


USUAL = Service()


class Records(NamedTuple):
    """Of one day."""

    metrics: list[WindowFigures]
    drift: list[Drift]
    registry: list[RegistryEntry]


def days_of(
    case: Case,
    days: int,
    rng: np.random.Generator,
    *,
    service: Service = USUAL,
    after: tuple[int, Service] | None = None,
    drifts: bool = False,
) -> Iterator[Records]:
    """The records of a model, by the day on which they are announced.

    Parameters
    ----------
    after
        Day of a change, and the service from then on; None of a model that does not change.
    drifts
        Whether the values of a feature differ from the reference in each window, as those of an
        AR(1) process may.
    """
    served = _Served(case, days, rng, service, after or (days, service))
    known, wrong = simulated(case, days, rng)
    seed = int(rng.integers(2**31))
    (features,) = feature_faults.models(case.labels, days, 1, seed)
    references = [(feature.summary(0, REFERENCE), feature.sizes()) for feature in features]
    for day in range(days):
        registry = []
        if day == REFERENCE + MATURITY_DAYS:
            registry.append(served.baseline())
        metrics = [
            *served.traffic_by_hour(day),
            *_arrivals_by_hour(day, known[day], rng),
            served.traffic(day, 1),
            *([served.traffic(day, WINDOW)] if day >= WINDOW - 1 else []),
            _arrivals(day, known[day], wrong[day]),
            *served.decisions(day),
        ]
        metrics.sort(key=lambda figures: figures.complete_at_ms)
        drift = [] if day < REFERENCE else _drift(day + 1, features, references, drifts=drifts)
        yield Records(metrics, drift, registry)


class _Served:
    """Predictions, errors, latencies and labels of the predictions of each day."""

    def __init__(
        self,
        case: Case,
        days: int,
        rng: np.random.Generator,
        before: Service,
        change: tuple[int, Service],
    ) -> None:
        begin, after = change
        changed = np.arange(days) >= begin
        self.rows = rng.poisson(case.labels * BY_HOUR, (days, 24))
        share = np.where(changed, after.event_errors, before.event_errors)
        self.errors = rng.binomial(self.rows, share[:, None])
        median = np.where(changed, after.latency_ms, before.latency_ms) * np.exp(
            rng.normal(0.0, before.latency_day_sd, days)
        )
        self.latencies = [
            [np.sort(median[day] * rng.lognormal(0.0, LATENCY_SIGMA, n)) for n in self.rows[day]]
            for day in range(days)
        ]
        coverage = np.where(changed, after.coverage, before.coverage)
        logit = np.log(coverage / (1.0 - coverage)) + rng.normal(0.0, COVERAGE_SD, days)
        self.labelled = rng.binomial(self.rows.sum(axis=1), KNOWN / (1.0 + np.exp(-logit)))

    def traffic_by_hour(self, day: int) -> Iterator[WindowFigures]:
        """The hours of a day."""
        for hour in range(24):
            end_ms = day * DAY_MS + (hour + 1) * HOUR_MS
            yield _traffic(
                "1h",
                end_ms - HOUR_MS,
                end_ms,
                int(self.rows[day, hour]),
                int(self.errors[day, hour]),
                self.latencies[day][hour],
            )

    def traffic(self, day: int, length: int) -> WindowFigures:
        """The window of some days that ends with this one."""
        first, end = day + 1 - length, day + 1
        hours = [each for of_day in self.latencies[first:end] for each in of_day]
        return _traffic(
            "1d" if length == 1 else "7d/1d",
            first * DAY_MS,
            end * DAY_MS,
            int(self.rows[first:end].sum()),
            int(self.errors[first:end].sum()),
            np.sort(np.concatenate(hours)),
        )

    def decisions(self, day: int) -> Iterator[WindowFigures]:
        """The windows that are complete at their rung at the end of the day."""
        end = day + 1 - MATURITY_DAYS
        for length in (1, WINDOW):
            if end >= length:
                n = int(self.labelled[end - length : end].sum())
                rows = int(self.rows[end - length : end].sum())
                yield _figures(
                    "decisions",
                    "1d" if length == 1 else "7d/1d",
                    (end - length) * DAY_MS,
                    end * DAY_MS,
                    complete_at_ms=EpochMs((day + 1) * DAY_MS),
                    maturity=MATURITY,
                    n_predictions=rows,
                    n=n,
                    completeness=KNOWN,
                    label_coverage=n / rows if rows else None,
                    **_share("label_coverage", n, rows),
                )

    def baseline(self) -> RegistryEntry:
        """The registry entry with the coverage of the reference."""
        rows, labelled = self.rows[:REFERENCE].sum(axis=1), self.labelled[:REFERENCE]
        share = _share("label_coverage", int(labelled.sum()), int(rows.sum()))
        by_day = (labelled / np.maximum(rows, 1))[rows > 0]
        return RegistryEntry(
            model_name="simulated",
            model_version="1",
            stage="production",
            revision=1,
            threshold=None,
            baselines={
                MATURITY: share
                | {
                    "span": [format_time(0), format_time(REFERENCE * DAY_MS)],
                    "daily_variance": {"label_coverage": float(by_day.var(ddof=1))},
                    "days": len(by_day),
                }
            },
        )


def _traffic(
    window: str, start_ms: int, end_ms: int, rows: int, errors: int, sorted_ms: NDArray[np.float64]
) -> WindowFigures:
    fields: dict[str, Any] = {}
    if rows:
        fields = _share("error_rate", errors, rows)
        for name, q in _QUANTILES.items():
            low, high = quantile_ranks(q, np.array([rows]))
            values = [
                float(sorted_ms[max(int(np.ceil(each * rows)) - 1, 0)])
                for each in (float(low[0]), q, float(high[0]))
            ]
            fields["metrics"][name] = values[1]
            fields["ci"][name] = (values[0], values[2])
    return _figures(
        "traffic", window, start_ms, end_ms, n_predictions=rows, n=0, final=True, **fields
    )


def _arrivals(day: int, known: Counts, wrong: Counts) -> WindowFigures:
    rows, errors = known.tolist(), wrong.tolist()
    return _figures(
        "arrivals",
        "1d",
        day * DAY_MS,
        (day + 1) * DAY_MS,
        n=sum(rows),
        n_predictions=sum(rows),
        labels=["no", "yes"],
        positive_label="yes",
        matrix=[[rows[0] - errors[0], errors[0]], [errors[1], rows[1] - errors[1]]],
    )


def _arrivals_by_hour(day: int, known: Counts, rng: np.random.Generator) -> Iterator[WindowFigures]:
    """The hours in which labels became known, without their outcomes, which no rule reads."""
    for hour, n in enumerate(rng.multinomial(int(known.sum()), BY_HOUR).tolist()):
        start_ms = day * DAY_MS + hour * HOUR_MS
        yield _figures("arrivals", "1h", start_ms, start_ms + HOUR_MS, n=n, n_predictions=n)


def _drift(
    end: int,
    features: Sequence[Feature],
    references: Sequence[tuple[Any, Any]],
    *,
    drifts: bool,
) -> list[Drift]:
    results = [
        (number, result)
        for number, (feature, (reference, sizes)) in enumerate(
            zip(features, references, strict=True)
        )
        for result in share_results(
            reference, sizes, feature.summary(max(end - WINDOW, 0), end), None
        )
    ]
    after = adjusted([result for _, result in results])
    found = [
        _drift_record(
            end,
            f"feature:f{number}",
            result.method,
            now.level,
            p_value=result.p_value,
            statistic=result.statistic,
        )
        for (number, result), now in zip(results, after, strict=True)
    ]
    level = "moderate" if drifts else "none"
    return [*found, _drift_record(end, "feature:values", "ks", level)]


def _drift_record(end: int, target: str, method: str, level: Any, **more: Any) -> Drift:
    fields: dict[str, Any] = {"statistic": 0.3, "p_value": 0.001, "effect": 0.3} | more
    return Drift(
        model_name="simulated",
        model_version="1",
        segment="all",
        target=target,
        method=method,
        window="7d/1d",
        window_start_ms=EpochMs((end - WINDOW) * DAY_MS),
        window_end_ms=EpochMs(end * DAY_MS),
        covered_share=1.0,
        level=level,
        n_reference=1000,
        n_current=1000,
        n_effective=500.0,
        reference_id="r",
        registry_revision=0,
        **fields,
    )


def _share(name: str, count: int, rows: int) -> dict[str, Any]:
    """Value and interval of a share, as fields of a record."""
    if not rows:
        return {"metrics": {name: None}, "ci": {}}
    low, high = wilson(np.array([count]), np.array([rows]))
    return {"metrics": {name: count / rows}, "ci": {name: (float(low[0]), float(high[0]))}}


def _figures(lane: str, window: str, start_ms: int, end_ms: int, **more: Any) -> WindowFigures:
    fields: dict[str, Any] = {
        "maturity": None,
        "final": False,
        "label_coverage": None,
        "completeness": None,
        "metrics": {},
        "complete_at_ms": EpochMs(end_ms),
    }
    return WindowFigures(
        model_name="simulated",
        model_version="1",
        segment="all",
        lane=lane,
        window=window,
        kind="sliding" if "/" in window else "tumbling",
        window_start_ms=EpochMs(start_ms),
        window_end_ms=EpochMs(end_ms),
        provisional=False,
        revision=1,
        registry_revision=0,
        **(fields | more),
    )
