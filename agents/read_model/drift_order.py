"""The order of drift results by size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from driftline.schemas.results import Drift

LEVELS: Final = ("insufficient_data", "none", "mild", "moderate", "severe")
"""The smallest shift first."""


def by_size(result: Drift) -> tuple[object, ...]:
    """Sort key: model version, then the largest shift first."""
    return (
        result.model_name,
        result.model_version,
        -LEVELS.index(result.level),
        -abs(result.effect or 0.0),
        result.target,
        result.method,
        result.window,
    )
