"""`driftline daily-summary`: what happened on a day, to read in the morning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.figure_cells import value_cell
from driftline.agents.cli.output import (
    WrongInput,
    example,
    json_option,
    minute,
    number,
    share,
)
from driftline.agents.cli.performance_degradation import change, from_baseline
from driftline.agents.cli.registry import format_change
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.tables import print_wrapped
from driftline.agents.read_model.series_order import usual_metrics
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.agents.daily_summary import DailySummary, VersionDay
    from driftline.schemas.results import Alert

_MOST_LINES: Final = 12


@click.command(
    "daily-summary",
    epilog=example(
        "driftline daily-summary",
        "driftline daily-summary --date 2025-06-03 --model churn --json",
        "driftline daily-summary --broker broker:9092",
    ),
)
@click.option(
    "--date", metavar="DATE", help="Day in UTC, such as 2025-06-03; by default the last whole one."
)
@click.option("--model", "model_name", metavar="MODEL", help="Only this model.")
@source_options
@json_option
def daily_summary(
    date: str | None,
    model_name: str | None,
    out: Path,
    broker: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Show what happened on a day of event time: figures of each version beside their baseline,
    alerts, drift, changes of the registry, recommendations, and rows that did not count.
    """
    from driftline.agents.daily_summary import daily_summary as summary_of
    from driftline.agents.daily_summary import newest_day

    day_ms = None if date is None else _begin(date)
    with read_results(out, broker, config) as reads:
        start_ms = newest_day(reads) if day_ms is None else day_ms
        found = None if start_ms is None else summary_of(reads, start_ms, model_name=model_name)
    if as_json:
        print_json(found)
    elif found is None:
        click.echo(f"no traffic in {place_of(out, broker)}; name a day with --date")
    else:
        _print(found)


def _begin(date: str) -> int:
    """Begin of a day, in ms since the epoch."""
    from driftline.schemas.times import parse_time

    try:
        return parse_time(f"{date}T00:00:00Z")
    except ValueError as error:
        raise WrongInput(f"--date {date}: this is no day; write it as 2025-06-03") from error


def _print(found: DailySummary) -> None:
    print_wrapped(f"{minute(found.start_ms)[:10]} (UTC)")
    _section("Models", [line for each in found.versions for line in _version_lines(each)])
    _section("Alerts that fired", _alert_lines(found.fired))
    _section("Alerts that were resolved", _alert_lines(found.resolved))
    fired = {alert.alert_id for alert in found.fired}
    _section(
        "Alerts still open from before",
        _alert_lines([each for each in found.still_open if each.alert_id not in fired]),
    )
    _section(
        "Drift",
        [
            f"{each.model_name} {each.model_version}: {each.target} by {each.method}, "
            f"{each.level} ({each.window} to {minute(each.window_end_ms)})"
            for each in found.drift
        ],
    )
    _section(
        "Changes of the registry",
        [
            f"{minute(each.at)} {each.model_name}, revision {each.revision}: {each.event} by "
            f"{each.requested_by}: {'; '.join(format_change(each).splitlines())}"
            + (f" ({each.reason})" if each.reason else "")
            for each in found.changes
        ],
    )
    _section(
        "Recommendations",
        [
            f"{each.model_name} {each.model_version}, {each.status}: {each.reason}"
            for each in found.recommendations
        ],
    )
    _section(
        "Rows that did not count, or not everywhere",
        [f"{name.replace('_', ' ')}: {number(rows)}" for name, rows in found.uncounted.items()],
    )


def _section(title: str, lines: Sequence[str]) -> None:
    """A title and its lines; one line for nothing."""
    if not lines:
        print_wrapped(f"{title}: none")
        return
    print_wrapped(f"{title}:")
    for line in lines[:_MOST_LINES]:
        print_wrapped(f"- {line}")
    if (more := len(lines) - _MOST_LINES) > 0:
        print_wrapped(f"- and {more:,} more")


def _version_lines(found: VersionDay) -> Iterator[str]:
    from driftline.schemas.results import WHOLE_SHARE

    name = f"{found.model_name} {found.model_version}, {found.stage}"
    record = found.figures
    if record is None:
        yield f"{name}: {number(found.n_predictions)} predictions; no window was completed"
        return
    rung = f" at maturity {record.maturity}" if record.maturity else ""
    if record.covered_share < WHOLE_SHARE:
        rung += f", of which data cover {share(record.covered_share)}"
    texts = []
    for each in from_baseline(record, found.baseline, usual_metrics(record.lane)):
        if each.b is None:
            continue
        text = f"{each.metric} {value_cell(each.metric, each.b, record.ci.get(each.metric), ' ')}"
        if each.a is not None:
            text += f", baseline {value_cell(each.metric, each.a, None, '')}: {change(each)}"
        texts.append(text)
    yield (
        f"{name}: {number(found.n_predictions)} predictions; {record.window} from "
        f"{minute(record.window_start_ms)}{rung}, {number(record.n)} labelled: "
        + ("; ".join(texts) or "no metric has a value")
    )


def _alert_lines(alerts: Sequence[Alert]) -> list[str]:
    return [f"{alert.severity}: {alert.summary} [{alert.alert_id}]" for alert in alerts]
