"""`driftline actions`: what alerts led to by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.alert_source import open_source, source_options
from driftline.agents.cli.output import example, json_option, minute, model_options
from driftline.agents.cli.tables import print_table
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from driftline.schemas.actions import Action


@click.group()
def actions() -> None:
    """List what alerts led to by themselves."""


@actions.command(
    "list",
    epilog=example(
        "driftline actions list",
        "driftline actions list --taken --model churn --broker broker:9092",
    ),
)
@model_options
@click.option("--taken", is_flag=True, help="Only actions that were taken.")
@source_options
@json_option
def list_actions(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    taken: bool,
    as_json: bool,
) -> None:
    """List actions, oldest first: what was done because of which alert, and what was not done and
    why.
    """
    with open_source(out, broker, config) as source:
        listed = [
            action
            for action in source.actions
            if model_name in (None, action.model_name)
            and model_version in (None, action.model_version)
            and (not taken or action.outcome == "taken")
        ]
        place = source.place
    listed.sort(key=lambda action: action.at_ms)
    if as_json:
        print_json(listed)
        return
    print_actions(listed, empty=f"no action in {place}")


def print_actions(listed: Sequence[Action], *, empty: str, of_one_alert: bool = False) -> None:
    """A table of actions; `of_one_alert` leaves out what they share."""
    series = () if of_one_alert else ("Model", "Version", "Segment", "Rule")
    print_table(
        ["At", *series, "Severity", "Action", "Outcome", "Why", *([] if of_one_alert else ["ID"])],
        [
            (
                minute(action.at_ms),
                *(
                    ()
                    if of_one_alert
                    else (action.model_name, action.model_version, action.segment, action.rule)
                ),
                action.severity,
                action.action,
                outcome_text(action),
                action.reason,
                *(() if of_one_alert else (action.alert_id,)),
            )
            for action in listed
        ],
        empty=empty,
    )


def outcome_text(action: Action) -> str:
    """The outcome in words; of a dry run, that it is one.

    Examples
    --------
    >>> from driftline.schemas.actions import Action
    >>> from driftline.schemas.times import EpochMs
    >>> kept = Action(
    ...     action_id="a", action="clear_cache", response="r", model_name="churn",
    ...     model_version="1.4.2", segment="all", rule="drift", alert_id="d", severity="critical",
    ...     outcome="cool_down", dry_run=True, at_ms=EpochMs(0), reason="",
    ... )
    >>> outcome_text(kept)
    'cool down (dry run)'
    """
    text = action.outcome.replace("_", " ")
    return f"{text} (dry run)" if action.dry_run and action.outcome != "dry_run" else text
