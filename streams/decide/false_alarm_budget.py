"""The budget of false alarms of a model, and which part of it each default rule spends.

A false alarm is an episode at warning or above without a change. The parts of all default rules add
up to the setting `false_alarms_per_year`. A part is spent over all that a rule judges in a year:
its windows, the classes, features or severities of a window, and the segments of a version. The
parameter `false_alarms` of a rule takes the place of its part.
"""

from __future__ import annotations

from typing import Final

from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import DAY_MS

YEAR_DAYS: Final = 365.25

SHARES: Final[dict[str, float]] = {
    # Where a smaller part costs most days of delay: evidence comes with the labels.
    "performance_drop": 0.25,
    # Where many results are judged at once: three shares of each feature.
    "data_quality": 0.25,
    # Levels: a change is large, or of little interest.
    "error_rate": 0.10,
    "latency": 0.10,
    "coverage": 0.10,
    # Their limits are twice the longest silence, which no budget enters; simulated years have 0.006
    # and 0 false alarms.
    "no_data": 0.10,
    "no_labels": 0.05,
    # A warning only while a rule on performance is in breach; by itself it is info.
    "drift": 0.05,
}
"""By type of the rule, its share of the budget."""


def part_of(kind: str, config: ModelConfig, own: float | None = None) -> float:
    """Mean number of false alarms a year that a default rule of this type may have; `own` if the
    rule has a budget of its own.

    Examples
    --------
    >>> part_of("performance_drop", ModelConfig(false_alarms_per_year=2.0))
    0.5
    """
    return SHARES[kind] * config.false_alarms_per_year if own is None else own


def windows_a_year(step_ms: int, segments: int) -> float:
    """Number of windows with this step that are judged in a year, over all segments.

    Examples
    --------
    >>> windows_a_year(DAY_MS, 2)
    730.5
    """
    return YEAR_DAYS * DAY_MS / step_ms * segments
