"""`driftline topics`: create, list and check the topics on a broker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.agents.cli.broker_options import broker_option, open_connection
from driftline.agents.cli.inputs import config_option, read_config
from driftline.agents.cli.output import example, json_option, number
from driftline.agents.cli.tables import print_table
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.settings import Config


@click.group(
    short_help="Create, list and check the topics on a broker.",
    epilog=example("driftline topics create", "driftline topics list"),
)
def topics() -> None:
    """Create, list and check the topics on a broker."""


@topics.command(
    short_help="Create the missing topics.",
    epilog=example(
        "driftline topics create",
        "driftline topics create --config driftline.toml --broker broker:9092",
    ),
)
@config_option
@broker_option
# Known from kafka-topics. A number of its own would make topics that the workers refuse.
@click.option("--partitions", type=int, hidden=True)
def create(config: Path | None, broker: str | None, partitions: int | None) -> int:
    """Create the missing topics, then check all; an existing topic is never changed.

    The numbers of partitions are kafka.input_partitions (predictions, ground-truth, ticks) and
    kafka.partitions (all others) of the configuration, which the workers need too. Replication
    comes from kafka.replication_factor and kafka.min_insync_replicas.
    """
    from driftline.agents.kafka.broker import topics as table

    settings = read_config(config)
    if partitions is not None:
        raise click.UsageError(_partitions_message(partitions, settings, config))
    with open_connection(settings, broker) as connection:
        created = table.create(connection)
        for name in created:
            click.echo(f"created {name}")
        if not created:
            click.echo("all topics exist")
        return _report(table.check(connection))


@topics.command(
    "list",
    short_help="Show the topics.",
    epilog=example("driftline topics list", "driftline topics list --json"),
)
@config_option
@broker_option
@json_option
def list_topics(config: Path | None, broker: str | None, as_json: bool) -> None:
    """List the topics of Driftline on the broker."""
    from driftline.agents.kafka.broker import topics as table

    with open_connection(read_config(config), broker) as connection:
        existing = table.describe(connection)
        if as_json:
            print_json(
                {
                    "cluster_id": table.cluster_id(connection),
                    "prefix": connection.prefix,
                    "topics": list(existing.values()),
                }
            )
            return
        print_table(
            ["Topic", ">Partitions", ">Replicas", "Cleanup", "Retention", "Id"],
            [
                (
                    connection.name(topic.name),
                    number(topic.partitions),
                    number(topic.replicas),
                    topic.config["cleanup.policy"],
                    _retention(topic.config["retention.ms"]),
                    topic.topic_id,
                )
                for topic in existing.values()
            ],
            empty=f"no topics on {connection.servers}; create them: driftline topics create",
            optional=("Id", "Replicas"),
        )


@topics.command(
    short_help="Check the topics' settings.",
    epilog=example("driftline topics check", "driftline topics check --config driftline.toml"),
)
@config_option
@broker_option
def check(config: Path | None, broker: str | None) -> int:
    """Compare the topics with the settings that a worker needs; ends with 1 if they differ."""
    from driftline.agents.kafka.broker import topics as table

    with open_connection(read_config(config), broker) as connection:
        return _report(table.check(connection), success="all topics have the required settings")


def _partitions_message(partitions: int, settings: Config, path: Path | None) -> str:
    where = path or "driftline.toml (and name it with --config)"
    return (
        f"--partitions {partitions}: the configuration sets the numbers of partitions, because the "
        f"workers need the same (now kafka.input_partitions = {settings.kafka.input_partitions}, "
        f"kafka.partitions = {settings.kafka.partitions}); set input_partitions and partitions "
        f"under [kafka] in {where}"
    )


def _report(mismatches: list[Any], success: str = "") -> int:
    for mismatch in mismatches:
        click.echo(f"driftline: {mismatch}", err=True)
    if not mismatches and success:
        click.echo(success)
    return 1 if mismatches else 0


def _retention(ms: str) -> str:
    from driftline.schemas.times import format_duration

    return "for ever" if ms == "-1" else format_duration(int(ms))
