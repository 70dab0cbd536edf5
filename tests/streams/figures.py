"""Records of stage 2 for the tests of stage 3."""

from __future__ import annotations

from typing import Any

from driftline.schemas.results import Drift, Histogram, RegistryEntry, WindowFigures
from driftline.schemas.times import DAY_MS, HOUR_MS, EpochMs

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""


def metric(
    end_ms: int,
    values: dict[str, float | None],
    *,
    size_ms: int = DAY_MS,
    delay_ms: int = DAY_MS,
    **more: Any,
) -> WindowFigures:
    """Figures of a window of churn 1.0.0 at maturity 1d, with 1,000 rows, all labelled."""
    fields: dict[str, Any] = {
        "model_name": "churn",
        "model_version": "1.0.0",
        "segment": "all",
        "lane": "decisions",
        "window": "1d",
        "kind": "tumbling",
        "window_start_ms": EpochMs(end_ms - size_ms),
        "window_end_ms": EpochMs(end_ms),
        "maturity": "1d",
        "final": False,
        "provisional": False,
        "revision": 1,
        "registry_revision": 1,
        "n_predictions": 1000,
        "n": 1000,
        "label_coverage": 1.0,
        "completeness": 1.0,
        "metrics": values,
        "complete_at_ms": EpochMs(end_ms + delay_ms),
    }
    return WindowFigures(**(fields | more))


def traffic(
    end_ms: int, values: dict[str, float | None], *, size_ms: int = HOUR_MS, **more: Any
) -> WindowFigures:
    """Figures of an hour of traffic."""
    lane: dict[str, Any] = {
        "lane": "traffic",
        "window": "1h",
        "maturity": None,
        "completeness": None,
        "final": True,
    }
    return metric(end_ms, values, size_ms=size_ms, delay_ms=0, **(lane | more))


def drift(end_ms: int, target: str, level: str, *, method: str = "psi", **more: Any) -> Drift:
    """Drift result of the week that ends at `end_ms`."""
    fields: dict[str, Any] = {
        "model_name": "churn",
        "model_version": "1.0.0",
        "segment": "all",
        "target": target,
        "method": method,
        "window": "7d/1d",
        "window_start_ms": EpochMs(end_ms - 7 * DAY_MS),
        "window_end_ms": EpochMs(end_ms),
        "covered_share": 1.0,
        "statistic": 0.3,
        "p_value": 0.001,
        "level": level,
        "effect": 0.3,
        "n_reference": 1000,
        "n_current": 1000,
        "n_effective": 500.0,
        "reference_id": "r",
        "registry_revision": 1,
    }
    return Drift(**(fields | more))


def histogram(
    end_ms: int, fit: dict[str, dict[int, int]], holdout: dict[str, dict[int, int]], **more: Any
) -> Histogram:
    """Score histograms of the day that ends at `end_ms`, at maturity 1d, from counts by the score
    in thousandths.
    """
    fields: dict[str, Any] = {
        "model_name": "churn",
        "model_version": "1.0.0",
        "segment": "all",
        "lane": "decisions",
        "window": "1d",
        "window_start_ms": EpochMs(end_ms - DAY_MS),
        "window_end_ms": EpochMs(end_ms),
        "maturity": "1d",
        "final": False,
        "registry_revision": 1,
        "labels": ["no", "yes"],
        "positive_label": "yes",
        "fit": _by_text(fit),
        "holdout": _by_text(holdout),
    }
    return Histogram(**(fields | more))


def _by_text(half: dict[str, dict[int, int]]) -> dict[str, dict[str, int]]:
    return {
        label: {f"{score / 1000!r}": n for score, n in counts.items()}
        for label, counts in half.items()
    }


def entry(
    stage: str = "production",
    *,
    threshold: float | None = None,
    baseline: dict[str, Any] | None = None,
    **more: Any,
) -> RegistryEntry:
    """churn 1.0.0 in the registry, with a baseline at maturity 1d."""
    fields: dict[str, Any] = {
        "model_name": "churn",
        "model_version": "1.0.0",
        "stage": stage,
        "revision": 1,
        "threshold": threshold,
    }
    return RegistryEntry(**(fields | {"baselines": {"1d": baseline} if baseline else {}} | more))
