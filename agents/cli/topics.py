"""`driftline topics`: the topics on the broker, from the one table in `schemas`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from driftline.agents.cli.broker_options import broker_option, open_connection
from driftline.agents.cli.inputs import config_option, read_config
from driftline.agents.cli.output import example, json_option, number, print_json, print_table

if TYPE_CHECKING:
    from driftline.schemas.settings import Config

F = TypeVar("F", bound=Callable[..., Any])


def _partition_options(command: F) -> F:
    counts = click.IntRange(1, 1024)
    later = "Partitions of all other topics, instead of kafka.partitions."
    command = click.option("--result-partitions", type=counts, metavar="N", help=later)(command)
    inputs = "Partitions of predictions, ground-truth and ticks, instead of kafka.input_partitions."
    return click.option("--partitions", type=counts, metavar="N", help=inputs)(command)


@click.group(
    short_help="Create, list and check the topics on a broker.",
    epilog=example("driftline topics create", "driftline topics list"),
)
def topics() -> None:
    """Create, list and check the topics on a broker."""


@topics.command(
    short_help="Make the topics that are missing.",
    epilog=example(
        "driftline topics create",
        "driftline topics create --config driftline.toml --broker broker:9092",
    ),
)
@config_option
@broker_option
@_partition_options
def create(
    config: Path | None, broker: str | None, partitions: int | None, result_partitions: int | None
) -> int:
    """Make the topics that are missing, then check all; a topic that is there is never changed.

    Replication comes from kafka.replication_factor and kafka.min_insync_replicas. A worker has to
    be told the same numbers of partitions by its configuration.
    """
    from driftline.agents.kafka.broker import topics as table

    with open_connection(
        _config_with_partitions(config, partitions, result_partitions), broker
    ) as connection:
        made = table.create(connection)
        for name in made:
            click.echo(f"made {name}")
        if not made:
            click.echo("all topics are there")
        return _said(table.check(connection))


@topics.command(
    "list",
    short_help="Show the topics.",
    epilog=example("driftline topics list", "driftline topics list --json"),
)
@config_option
@broker_option
@json_option
def list_topics(config: Path | None, broker: str | None, as_json: bool) -> None:
    """Show the program's topics that are on the broker."""
    from driftline.agents.kafka.broker import topics as table

    with open_connection(read_config(config), broker) as connection:
        found = table.describe(connection)
        if as_json:
            print_json(
                {
                    "cluster_id": table.cluster_id(connection),
                    "prefix": connection.prefix,
                    "topics": list(found.values()),
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
                for topic in found.values()
            ],
            empty=f"no topics on {connection.servers}; create them: driftline topics create",
            optional=("Id", "Replicas"),
        )


@topics.command(
    short_help="Say whether the topics can be used.",
    epilog=example("driftline topics check", "driftline topics check --config driftline.toml"),
)
@config_option
@broker_option
@_partition_options
def check(
    config: Path | None, broker: str | None, partitions: int | None, result_partitions: int | None
) -> int:
    """Compare the topics with what a worker needs; ends with 1 if it would refuse to start."""
    from driftline.agents.kafka.broker import topics as table

    with open_connection(
        _config_with_partitions(config, partitions, result_partitions), broker
    ) as connection:
        return _said(table.check(connection), fine="all topics are as they have to be")


def _config_with_partitions(
    path: Path | None, partitions: int | None, result_partitions: int | None
) -> Config:
    from msgspec.structs import replace

    config = read_config(path)
    asked = {"input_partitions": partitions, "partitions": result_partitions}
    return replace(
        config,
        kafka=replace(
            config.kafka, **{key: count for key, count in asked.items() if count is not None}
        ),
    )


def _said(mismatches: list[Any], fine: str = "") -> int:
    for mismatch in mismatches:
        click.echo(f"driftline: {mismatch}", err=True)
    if not mismatches and fine:
        click.echo(fine)
    return 1 if mismatches else 0


def _retention(ms: str) -> str:
    from driftline.schemas.times import format_duration

    return "for ever" if ms == "-1" else format_duration(int(ms))
