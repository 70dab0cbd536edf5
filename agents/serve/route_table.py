"""All routes of the API."""

from __future__ import annotations

from typing import Final

from driftline.agents.serve.route import Route
from driftline.agents.serve.routes import (
    alerts,
    drift,
    health,
    maturity,
    metrics,
    models,
    overview,
    pipeline,
    quality,
    registry,
    scores,
    windows,
)

ROUTES: Final[tuple[Route, ...]] = (
    *overview.ROUTES,
    *models.ROUTES,
    *metrics.ROUTES,
    *windows.ROUTES,
    *maturity.ROUTES,
    *scores.ROUTES,
    *drift.ROUTES,
    *alerts.ROUTES,
    *registry.ROUTES,
    *quality.ROUTES,
    *pipeline.ROUTES,
    *health.ROUTES,
)
"""In the order of the reference."""
