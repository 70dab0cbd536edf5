"""What the rules need to know about metrics: which there are, where they are computed, which way is
better.
"""

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
    """The lanes in which a known metric is computed, the principal one first.

    Examples
    --------
    >>> lanes_of("f1"), lanes_of("error_rate")
    (('decisions', 'arrivals'), ('traffic',))
    """
    return tuple(LANE_NAMES[lane] for lane in known_metrics()[metric].lanes)


def unit_of(metric: str) -> str:
    """The unit of a metric's values; that of a share for one that is not known."""
    plugin = known_metrics().get(metric)
    return plugin.unit if plugin else "share"


def higher_is_better(metric: str) -> bool:
    """Whether more of it is good; assumed of a metric that is not known or has no better side."""
    plugin = known_metrics().get(metric)
    return plugin is None or plugin.higher_is_better is not False
