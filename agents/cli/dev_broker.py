"""`driftline dev-broker`: a real Apache Kafka on this machine, for development."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.output import WrongInput, example

if TYPE_CHECKING:
    from driftline.agents.devbroker import DevBroker

_data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="DRIFTLINE_BROKER_DATA",
    show_envvar=True,
    help="Its data directory; without it a folder of the user's.",
)


@click.group(
    "dev-broker",
    short_help="Start and stop a real Kafka broker for development.",
    epilog=example(
        "driftline dev-broker up", "driftline topics create", "driftline dev-broker down"
    ),
)
def dev_broker() -> None:
    """Run Apache Kafka on this machine: one process, the loopback interface only, its own data
    directory.

    Needs Java 17 or newer, and Maven, which fetches Kafka once. Not for production.
    """


@dev_broker.command(
    short_help="Start it; does nothing if it runs.",
    epilog=example("driftline dev-broker up --port 9093 --data kafka-data"),
)
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=9092,
    show_default=True,
    help="Where it listens.",
)
@_data_option
def up(port: int, data: Path | None) -> None:
    """Start the broker and wait until it answers; does nothing if it runs already."""
    from driftline.agents.devbroker import DevBrokerError

    broker = _broker(data)
    try:
        before = broker.running()
        running = broker.up(port)
    except DevBrokerError as error:
        raise WrongInput(str(error)) from error
    click.echo(
        f"Kafka {'runs already' if before else 'is up'} at {running.servers} (process {running.pid}, data in {broker.folder})"
    )
    click.echo(f"console tools: {broker.tools}")


@dev_broker.command(
    short_help="End it; topics stay.", epilog=example("driftline dev-broker down --data kafka-data")
)
@_data_option
def down(data: Path | None) -> None:
    """End the broker that `up` started, and no other process.

    Its topics stay in the data directory.
    """
    from driftline.agents.devbroker import DevBrokerError

    broker = _broker(data)
    try:
        ended = broker.down()
    except DevBrokerError as error:
        raise WrongInput(str(error)) from error
    click.echo("Kafka is down" if ended else f"no broker of {broker.folder} is running")


@dev_broker.command(
    short_help="Say whether it runs.", epilog=example("driftline dev-broker status")
)
@_data_option
def status(data: Path | None) -> int:
    """Say whether the broker runs and answers; ends with 1 if it does not."""
    from driftline.agents.devbroker import DevBrokerError
    from driftline.agents.kafka.broker.connection import BrokerError, Connection
    from driftline.schemas.settings import Config

    broker = _broker(data)
    try:
        running = broker.running()
        if running is None:
            click.echo(
                f"no broker of {broker.folder} is running; start it with driftline dev-broker up"
            )
            return 1
        metadata = Connection(Config(), running.servers, environment={}).reach()
    except (BrokerError, DevBrokerError) as error:
        click.echo(str(error), err=True)
        return 1
    click.echo(
        f"Kafka answers at {running.servers} (process {running.pid}, {len(metadata.topics)} topics, data in {broker.folder})"
    )
    click.echo(f"console tools: {broker.tools}")
    return 0


@dev_broker.command(
    short_help="Print the folder of Kafka's console tools.",
    epilog=example('export PATH="$(driftline dev-broker tools):$PATH"'),
)
@_data_option
def tools(data: Path | None) -> None:
    """Print the folder with Kafka's console tools: kafka-console-consumer, kafka-consumer-groups
    and others.
    """
    folder = _broker(data).tools
    if not folder.is_dir():
        raise WrongInput(
            f"{folder} is not there yet; start the broker first: driftline dev-broker up"
        )
    click.echo(folder)


def _broker(data: Path | None) -> DevBroker:
    try:
        from driftline.agents.devbroker import DevBroker
        from driftline.agents.devbroker.broker import default_folder
    except ImportError as error:
        raise WrongInput(
            f'{error.name} is missing; the broker needs the extra "kafka": pip install "driftline[kafka]"'
        ) from error
    return DevBroker(data or default_folder())
