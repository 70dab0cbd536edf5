"""Facts about metrics for the rules: names, lanes, units, direction."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from driftline.streams.catalogue import metric_plugins
from driftline.streams.lanes import LANE_NAMES
from driftline.streams.metrics.metric import Metric as MetricPlugin

Lane = Literal["traffic", "decisions", "arrivals"]


@lru_cache(maxsize=1)
def known_metrics() -> dict[str, MetricPlugin]:
    """Every metric by name."""
    return {metric.name: metric for metric in metric_plugins()}


def lanes_of(metric: str) -> tuple[Lane, ...]:
    """Lanes in which a known metric is computed, the principal one first.

    Examples
    --------
    >>> lanes_of("f1"), lanes_of("error_rate")
    (('decisions', 'arrivals'), ('traffic',))
    """
    return tuple(LANE_NAMES[lane] for lane in known_metrics()[metric].lanes)


def unit_of(metric: str) -> str:
    """Unit of a metric; "share" for an unknown metric."""
    plugin = known_metrics().get(metric)
    return plugin.unit if plugin else "share"


def higher_is_better(metric: str) -> bool:
    """Whether a higher value is better; True for a metric that is unknown or has no direction."""
    plugin = known_metrics().get(metric)
    return plugin is None or plugin.higher_is_better is not False
