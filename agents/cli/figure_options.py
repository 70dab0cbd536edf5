"""Options of verbs that choose figures: segment, lane and metrics.

Those that choose one window are `chosen_window.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from driftline.agents.read_model.series_order import LANES, USUAL, USUAL_OF_TRAFFIC

F = TypeVar("F", bound=Callable[..., Any])


def segment_option(command: F) -> F:
    """`--segment`."""
    return click.option(
        "--segment", default="all", show_default=True, help='"all", or "dimension=value".'
    )(command)


def lane_option(command: F) -> F:
    """`--lane`."""
    return click.option("--lane", type=click.Choice(LANES), default="decisions", show_default=True)(
        command
    )


def window_option(command: F) -> F:
    """`--window`, which selects one of those that are shown."""
    return click.option("--window", help="Only this window, for example 1d or 7d/1d.")(command)


def metric_option(command: F) -> F:
    """`--metric`, which may be given several times."""
    return click.option(
        "--metric",
        "metrics",
        multiple=True,
        help=f"Metric to show; repeatable. By default: {', '.join(USUAL)}; of traffic "
        f"{', '.join(USUAL_OF_TRAFFIC)}.",
    )(command)
