"""The table of open alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from driftline.agents.cli.output import minute
from driftline.agents.cli.tables import print_table

if TYPE_CHECKING:
    from driftline.schemas.results import Alert

_MOST_ALERTS: Final = 10


def print_open_alerts(alerts: Sequence[Alert]) -> None:
    """Print the first alerts and how many more there are; nothing without any."""
    if not alerts:
        return
    print_table(
        ["Severity", "Status", "Since", "Model", "Version", "Segment", "Rule", "Why", "ID"],
        [
            (
                alert.severity,
                alert.status,
                minute(alert.starts_at_ms),
                alert.model_name,
                alert.model_version,
                alert.segment,
                alert.rule,
                alert.summary,
                alert.alert_id,
            )
            for alert in alerts[:_MOST_ALERTS]
        ],
        empty="",
        optional=("Status", "Segment"),
    )
    if (more := len(alerts) - _MOST_ALERTS) > 0:
        click.echo(f"and {more:,} more: driftline alerts list")
