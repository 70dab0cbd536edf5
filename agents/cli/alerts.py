"""`driftline alerts`: list and show alerts, act on them, show the rules and set
their levels, and test channels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.actions import print_actions
from driftline.agents.cli.alert_acts import (
    accept,
    acknowledge,
    list_silences,
    silence,
    unacknowledge,
    unsilence,
)
from driftline.agents.cli.alert_channels import test_channel
from driftline.agents.cli.alert_levels import set_level
from driftline.agents.cli.alert_rules import show_rules
from driftline.agents.cli.alert_source import open_source, source_options, why_fired
from driftline.agents.cli.output import (
    WrongInput,
    example,
    json_option,
    minute,
    model_options,
    number,
)
from driftline.agents.cli.tables import print_table, print_wrapped
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.results import Alert

SEVERITIES = ("info", "warning", "error", "critical")


@click.group()
def alerts() -> None:
    """List alerts, act on them (acknowledge, silence, accept), and set levels of their rules."""


@alerts.command(
    "list",
    epilog=example(
        "driftline alerts list",
        "driftline alerts list --all --severity warning --json",
        "driftline alerts list --broker broker:9092",
    ),
)
@model_options
@click.option("--all", "everything", is_flag=True, help="Resolved episodes too.")
@click.option(
    "--severity",
    type=click.Choice(SEVERITIES),
    default="info",
    show_default=True,
    help="Only this severity and higher ones.",
)
@source_options
@json_option
def list_alerts(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    everything: bool,
    severity: str,
    as_json: bool,
) -> None:
    """List open alerts, oldest first: why each fired, and who has taken it on.

    With --json, each episode is its latest record on the topic, and "why_fired" is the summary of
    the latest record before it was resolved.
    """
    from driftline.schemas.results import to_plain

    least = SEVERITIES.index(severity)
    with open_source(out, broker, config) as source:
        listed = [
            (records[-1], why_fired(records))
            for records in source.episodes().values()
            if SEVERITIES.index(records[-1].severity) >= least
            and model_name in (None, records[-1].model_name)
            and model_version in (None, records[-1].model_version)
            and (everything or records[-1].status != "resolved")
        ]
        place = source.place
    listed.sort(key=lambda episode: (episode[0].starts_at_ms, episode[0].alert_id))
    if as_json:
        print_json([to_plain(alert) | {"why_fired": why} for alert, why in listed])
        return
    ended = ("Until", "Resolution") if everything else ()
    print_table(
        [
            *("Severity", "Status", "Since", *ended[:1], "Model", "Version", "Segment", "Rule"),
            *("Why", *ended[1:], "ID"),
        ],
        [
            (
                alert.severity,
                _status(alert),
                minute(alert.starts_at_ms),
                *([minute(alert.ends_at_ms)] if ended else []),
                alert.model_name,
                alert.model_version,
                alert.segment,
                alert.rule,
                why or "-",
                *([alert.summary if alert.status == "resolved" else "-"] if ended else []),
                alert.alert_id,
            )
            for alert, why in listed
        ],
        empty=f"no alert in {place}" if everything else f"no alert is open in {place}",
    )


@alerts.command(
    "show",
    epilog=example("driftline alerts show ac49ad7f3ffe32d7 --out driftline-out"),
)
@click.argument("name", metavar="ID")
@source_options
@json_option
def show_alert(
    name: str, out: Path, broker: str | None, config: Path | None, as_json: bool
) -> None:
    """Show every record of an episode. ID is its id, the fingerprint of its alert, or the beginning
    of either; of several episodes of one alert, the latest is shown.

    An episode has a record for each change: it fired, its severity or its evidence changed, a
    person acted on it, it was resolved. Below stand the actions that it led to. With --json, the
    records as on the topics: those of the alert, then the actions.
    """
    with open_source(out, broker, config) as source:
        episodes = source.episodes()
        records = _episode(name, episodes, source.place)
        led_to = [each for each in source.actions if each.alert_id == records[0].alert_id]
    if as_json:
        print_json([*records, *led_to])
        return
    latest = records[-1]
    print_wrapped(
        f"{latest.rule} of {latest.model_name} {latest.model_version}, segment {latest.segment}"
    )
    if latest.runbook_url:
        print_wrapped(f"runbook: {latest.runbook_url}")
    budget = next(
        (b for each in reversed(records) if (b := each.details.get("false_alarms_per_year"))), None
    )
    if budget is not None:
        print_wrapped(f"budget of the rule: at most {budget:g} false alarms a year")
    earlier = [
        each
        for each, of_episode in episodes.items()
        if of_episode[0].fingerprint == latest.fingerprint and each != latest.alert_id
    ]
    if earlier:
        print_wrapped(f"other episodes: {', '.join(earlier)}")
    related = [
        f"{of_episode[-1].rule} {each} ({of_episode[-1].status})"
        for each, of_episode in episodes.items()
        if of_episode[-1].group_id == latest.group_id and each != latest.alert_id
    ]
    if related:
        print_wrapped(f"probably of one cause with: {', '.join(related)}")
    print_table(
        [
            *("At", "Change", "Status", "Severity", "Metric", ">Value", "Interval", ">Threshold"),
            *(">Baseline", ">n", "Window", "Maturity", "What"),
        ],
        [
            (
                minute(record.at_ms),
                record.change,
                _status(record),
                record.severity,
                record.metric or "-",
                number(record.value),
                "-" if record.ci is None else f"[{number(record.ci[0])}, {number(record.ci[1])}]",
                f"{record.comparator or ''} {number(record.threshold)}".strip(),
                number(record.baseline),
                number(record.n),
                record.window or "-",
                record.maturity or "-",
                record.summary,
            )
            for record in records
        ],
        empty="",
    )
    if led_to:
        print_wrapped("It led to:")
        print_actions(led_to, empty="", of_one_alert=True)


def _status(alert: Alert) -> str:
    """The status, and who or what led to it."""
    if alert.status == "silenced":
        return f"silenced ({', '.join(alert.silenced_by)})"
    if alert.status == "acknowledged" and alert.acknowledged is not None:
        return f"acknowledged ({alert.acknowledged.by})"
    return alert.status


def _episode(name: str, episodes: dict[str, list[Alert]], place: str) -> list[Alert]:
    """The records of the episode that `name` stands for."""
    from difflib import get_close_matches

    found = [records for each, records in episodes.items() if each.startswith(name)]
    fingerprints = sorted({records[0].fingerprint for records in found})
    if len(fingerprints) == 1:
        return max(found, key=lambda records: records[0].starts_at_ms)
    if fingerprints:
        raise WrongInput(
            f"{name} is the beginning of {len(fingerprints)} alerts: {', '.join(fingerprints)}; "
            "name more of it"
        )
    if not episodes:
        raise WrongInput(f"no alert {name} in {place}: it has no alerts")
    nearest = get_close_matches(name, episodes, n=3, cutoff=0.0)
    raise WrongInput(
        f"no alert {name} in {place}; the nearest of {len(episodes)} IDs: {', '.join(nearest)} "
        "(driftline alerts list --all shows all)"
    )


for command in (
    acknowledge,
    unacknowledge,
    accept,
    silence,
    unsilence,
    list_silences,
    show_rules,
    set_level,
    test_channel,
):
    alerts.add_command(command)
