"""`driftline quality`: how good the data are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from driftline.agents.cli.alert_source import is_broker, source_options
from driftline.agents.cli.broker_options import open_connection
from driftline.agents.cli.inputs import read_config, report_read_errors
from driftline.agents.cli.output import (
    WrongInput,
    duration_option,
    example,
    json_option,
    minute,
    model_options,
    number,
)
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.tables import print_table, print_wrapped
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.agents.data_quality import DataQuality

_FOUND: Final = 1
_ORDER: Final = ("failed", "not possible", "passed")


@click.group()
def quality() -> None:
    """Show how good the data are."""


@quality.command(
    "report",
    epilog=example(
        "driftline quality report",
        "driftline quality report --model churn --all --json",
        "driftline quality report --last 24h --broker broker:9092",
    )
    + "\n\nExit code: 1 if a check failed.",
)
@model_options
@click.option(
    "--last",
    default="7d",
    show_default=True,
    help="How far back rows are counted from the end of the newest window.",
)
@click.option("--all", "everything", is_flag=True, help="Checks that were passed too.")
@source_options
@json_option
def report(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    last: str,
    everything: bool,
    as_json: bool,
) -> int:
    """Show which checks of the data of each version failed or were not possible, and why: rows that
    were late, dropped or in conflict, features that are missing, of another kind or with new texts;
    and how many rows were rejected.

    Rows fail at more than 1 % of the predictions. Features are those of the newest detection window
    against the reference; `driftline drift report` has the tests.
    """
    from driftline.agents.data_quality import data_quality

    span_ms = duration_option("--last", last)
    with read_results(out, broker, config) as reads:
        found = data_quality(
            reads, model_name=model_name, model_version=model_version, span_ms=span_ms
        )
    rejected = _rejected(out, broker, config)
    if as_json:
        print_json({"rejected": rejected, "models": found})
    else:
        for each in found:
            _print(each, everything=everything)
        if not found:
            click.echo(f"no window of traffic in {place_of(out, broker)}")
        listed = ", ".join(f"{number(rows)} of {topic}" for topic, rows in rejected.items())
        print_wrapped(
            f"rejected rows, of any model: {listed or 'none'}"
            + (" (driftline dlq list; or FOLDER/TOPIC.dlq.jsonl)" if rejected else "")
        )
    failed = any(check.outcome == "failed" for each in found for check in each.checks)
    return _FOUND if failed else 0


def _rejected(out: Path, broker: str | None, config: Path | None) -> dict[str, int]:
    """The rejected rows by input topic; those on a broker that were sent again are left out."""
    from driftline.agents.output_folder import count_dead_letters

    if not is_broker(broker):
        with report_read_errors():
            return count_dead_letters(out)
    with open_connection(read_config(config), broker) as connection:
        from driftline.agents.kafka.tools.uncounted import UnreadableTopics, uncounted_on_topics

        try:
            totals = uncounted_on_topics(connection).totals
        except UnreadableTopics as error:
            raise WrongInput(str(error)) from error
    rejected: Counter[str] = Counter()
    for each in totals:
        if each.is_rejected:
            rejected[each.topic] += each.rows
    return dict(rejected)


def _print(found: DataQuality, *, everything: bool) -> None:
    outcomes = Counter(check.outcome for check in found.checks)
    print_wrapped(
        f"{found.model_name} {found.model_version}, {minute(found.since_ms)} to "
        f"{minute(found.until_ms)}, {number(found.n_predictions)} predictions: "
        f"{outcomes['passed']} checks passed, {outcomes['failed']} failed, "
        f"{outcomes['not possible']} not possible"
    )
    print_table(
        ["Outcome", "Subject", "Check", "What"],
        [
            (check.outcome, check.subject, check.check.replace("_", " "), check.what)
            for check in sorted(found.checks, key=lambda each: _ORDER.index(each.outcome))
            if everything or check.outcome != "passed"
        ],
        empty="every check was passed",
    )
    if repeated := found.counts["duplicate_predictions"]:
        print_wrapped(f"repeated predictions, which count once: {number(repeated)}")
