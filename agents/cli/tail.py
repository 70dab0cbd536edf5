"""`driftline tail`: the newest records of a topic, and those to come."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import click

import driftline
from driftline.agents.cli.alert_source import is_broker, source_options
from driftline.agents.cli.broker_options import open_connection
from driftline.agents.cli.inputs import read_config, report_read_errors
from driftline.agents.cli.output import WrongInput, example, model_options
from driftline.agents.terminal import inert

RESULTS = (
    "alerts",
    "metrics",
    "drift",
    "recommendations",
    "alert-events",
    "registry-events",
    "actions",
    "notifications",
    "rule-windows",
)
"""Topics of which a folder has a table; records are shown in a line each."""
INPUTS = (
    "predictions",
    "ground-truth",
    "registry-commands",
    "alert-commands",
    "worker-metrics",
    "job-runs",
)
"""Topics that others write: of these the values are shown as they came."""


@click.command(
    epilog=example(
        "driftline tail alerts",
        "driftline tail metrics --model churn --broker broker:9092",
        "driftline tail alerts --last 0 --json --broker broker:9092 | jq .summary",
    )
)
@click.argument("topic", type=click.Choice([*RESULTS, *INPUTS]))
@click.option(
    "-n",
    "--last",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many of the records that are there.",
)
@click.option("--no-follow", is_flag=True, help="End with the records that are there.")
@model_options
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print each record as a line of JSON.")
def tail(
    topic: str,
    last: int,
    no_follow: bool,
    model_name: str | None,
    model_version: str | None,
    out: Path,
    broker: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Show the newest records of a topic. With a broker it goes on with each new one until Ctrl-C.

    Records of several models come in the order of the broker's time, those of one model in the
    order of the topic.
    """
    given = {"model_name": model_name, "model_version": model_version}
    wanted = {name: value for name, value in given.items() if value is not None}
    if topic in INPUTS and wanted:
        raise WrongInput(f"--model and --version select results, not records of {topic}")
    show = _line_printer(topic, as_json=as_json)
    if not is_broker(broker):
        if topic in INPUTS:
            raise WrongInput(f"a folder has no table {topic}; --broker reads it from its topic")
        from driftline.schemas.results import encode

        with report_read_errors():
            table = getattr(driftline.open(out), topic.replace("-", "_"))
            newest = deque(table.where(**wanted).structs(), maxlen=last)
        for record in newest:
            show(encode(record))
        if not newest and last:
            click.echo(f"driftline: no record of {topic} in {out}", err=True)
        return
    with open_connection(read_config(config), broker) as connection:
        from driftline.agents.kafka.broker.topics import UnusableTopics
        from driftline.agents.kafka.tools.tail_topic import TopicTail

        try:
            records = TopicTail(connection, topic, _selector(wanted))
        except UnusableTopics as error:
            raise WrongInput(str(error)) from error
        for record in records.newest(last):
            show(record.value)
        if not no_follow:
            click.echo(f"driftline: waiting for records of {topic}; Ctrl-C ends", err=True)
            for record in records.following():
                show(record.value)


def _selector(wanted: Mapping[str, str]) -> Callable[[bytes], bool]:
    """Whether a value has the wanted fields."""
    import msgspec

    if not wanted:
        return lambda value: True
    decode = msgspec.json.Decoder().decode

    def accepts(value: bytes) -> bool:
        try:
            record = decode(value)
        except msgspec.DecodeError:
            return False
        return isinstance(record, dict) and wanted.items() <= record.items()

    return accepts


def _line_printer(topic: str, *, as_json: bool) -> Callable[[bytes], None]:
    """Prints a value in a line."""
    import msgspec

    from driftline.agents.cli.tail_lines import line_of
    from driftline.schemas.results import decoder
    from driftline.schemas.topics import TOPICS

    kind = TOPICS[topic].type
    decode = None if as_json or topic in INPUTS or kind is None else decoder(kind).decode

    def show(value: bytes) -> None:
        text = value.decode("utf-8", "backslashreplace")
        if decode is not None:
            # A record of another release is shown as it is.
            with suppress(msgspec.DecodeError):
                text = line_of(decode(value))
        click.echo(" ".join(inert(text).split("\n")))
        sys.stdout.flush()

    return show
