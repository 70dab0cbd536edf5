"""`driftline redis`: the mirror of what is in force."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.broker_options import broker_option, open_connection
from driftline.agents.cli.inputs import config_option, read_config
from driftline.agents.cli.output import WrongInput, example, json_option
from driftline.agents.cli.tables import print_table
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.agents.kafka.broker.connection import Connection
    from driftline.agents.mirror.mirror import Mirror

_LONGEST_VALUE = 60


@click.group()
def redis() -> None:
    """Make the mirror in Redis anew, or compare it with the topics.

    Redis is configured under [redis]; a worker keeps the mirror: docs/redis.md.
    """


@redis.command(
    epilog=example("driftline redis rebuild --broker broker:9092 --config driftline.toml")
)
@config_option
@broker_option
@json_option
def rebuild(config: Path | None, broker: str | None, as_json: bool) -> None:
    """Put what the topics hold in place of what Redis holds, in one step.

    A reader sees the old content or the new one, never a part. A worker makes an emptied mirror
    anew by itself.
    """
    with _opened(config, broker) as (connection, mirror):
        from driftline.agents.kafka.mirror.rebuild import rebuild as run
        from driftline.agents.mirror.mirror import NotAccepted

        try:
            rebuilt = run(connection, mirror)
        except NotAccepted as error:
            raise WrongInput(f"{error}; try again") from error
        rebuilt.topics.close()
        keys = sum(1 for _ in rebuilt.documents.hashes(mirror.now_ms()))
        place = mirror.server.place
    if as_json:
        print_json({"redis": place, "prefix": mirror.keys.prefix, "keys": keys})
        return
    click.echo(f"{keys:,} keys below {mirror.keys.prefix}: at Redis {place} are as on the topics")


@redis.command(epilog=example("driftline redis check --broker broker:9092 --config driftline.toml"))
@config_option
@broker_option
@json_option
def check(config: Path | None, broker: str | None, as_json: bool) -> int:
    """Compare the mirror with the topics and list each difference.

    Ends with code 1 if there is any, or if the mirror is behind.
    """
    with _opened(config, broker) as (connection, mirror):
        from driftline.agents.kafka.mirror.rebuild import check as run

        checked = run(connection, mirror)
        place = mirror.server.place
    is_equal = not checked.differences and not checked.behind
    if as_json:
        print_json(
            {
                "redis": place,
                "prefix": mirror.keys.prefix,
                "equal": is_equal,
                "keys": checked.keys,
                "behind": checked.behind,
                "differences": checked.differences,
            }
        )
        return int(not is_equal)
    if checked.differences:
        print_table(
            ["Key", "Field", "Topics", "Redis"],
            [
                (each.key, each.field or "-", _short(each.expected), _short(each.found))
                for each in checked.differences
            ],
            empty="",
        )
    if checked.behind:
        click.echo(
            f"the mirror is {checked.behind:,} records behind the topics: is a worker running "
            "that has [redis] in its configuration?"
        )
    if is_equal:
        click.echo(f"{checked.keys:,} keys at Redis {place} are as on the topics")
    elif checked.differences:
        count = len(checked.differences)
        click.echo(f"{count:,} difference{'' if count == 1 else 's'}; driftline redis rebuild")
    return int(not is_equal)


@contextmanager
def _opened(config: Path | None, broker: str | None) -> Iterator[tuple[Connection, Mirror]]:
    from driftline.agents.mirror.mirror import mirror_of
    from driftline.agents.mirror.server import MirrorFault
    from driftline.agents.results import MissingExtra
    from driftline.schemas.config import ConfigError

    settings = read_config(config)
    try:
        mirror = mirror_of(settings)
        mirror.now_ms()
        with open_connection(settings, broker) as connection:
            yield connection, mirror
        mirror.server.close()
    except (ConfigError, MissingExtra, MirrorFault) as error:
        raise WrongInput(str(error)) from error


def _short(value: str | None) -> str:
    if value is None:
        return "-"
    return value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}..."
