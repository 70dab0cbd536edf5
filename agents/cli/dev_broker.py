"""`driftline dev-broker`: an Apache Kafka broker on this machine, for development."""

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
    help="Data directory of the broker; by default a folder in the user's data directory.",
)


@click.group(
    "dev-broker",
    short_help="Start and stop a Kafka broker for development.",
    epilog=example(
        "driftline dev-broker up", "driftline topics create", "driftline dev-broker down"
    ),
)
def dev_broker() -> None:
    """Run Apache Kafka on this machine: one process on the loopback interface.

    Needs Java 17 or newer, and Maven, which downloads Kafka once. Not for production.
    """


@dev_broker.command(
    short_help="Start the broker.",
    epilog=example("driftline dev-broker up --port 9093 --data kafka-data"),
)
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=9092,
    show_default=True,
    help="Port on which it listens.",
)
@_data_option
def up(port: int, data: Path | None) -> None:
    """Start the broker and wait until it answers; no effect if it is running already."""
    from driftline.agents.devbroker import DevBrokerError

    broker = _broker(data)
    try:
        before = broker.running()
        running = broker.up(port)
    except DevBrokerError as error:
        raise WrongInput(str(error)) from error
    click.echo(
        f"Kafka {'is already running' if before else 'is up'} at {running.servers} "
        f"(process {running.pid}, data in {broker.folder})"
    )
    click.echo(f"console tools: {broker.tools}")


@dev_broker.command(
    short_help="Stop the broker; topics stay.",
    epilog=example("driftline dev-broker down --data kafka-data"),
)
@_data_option
def down(data: Path | None) -> None:
    """Stop the broker that `up` started.

    Its topics stay in the data directory.
    """
    from driftline.agents.devbroker import DevBrokerError

    broker = _broker(data)
    try:
        was_running = broker.down()
    except DevBrokerError as error:
        raise WrongInput(str(error)) from error
    click.echo("Kafka is down" if was_running else f"no broker of {broker.folder} is running")


@dev_broker.command(
    short_help="Say whether the broker is running.", epilog=example("driftline dev-broker status")
)
@_data_option
def status(data: Path | None) -> int:
    """Say whether the broker is running and answers; ends with 1 if not."""
    from driftline.agents.devbroker import DevBrokerError
    from driftline.agents.kafka.broker.connection import BrokerError, Connection
    from driftline.schemas.settings import Config

    broker = _broker(data)
    try:
        running = broker.running()
        if running is None:
            click.echo(
                f"no broker of {broker.folder} is running; start it: driftline dev-broker up"
            )
            return 1
        metadata = Connection(Config(), running.servers, environment={}).reach()
    except (BrokerError, DevBrokerError) as error:
        click.echo(str(error), err=True)
        return 1
    click.echo(
        f"Kafka answers at {running.servers} (process {running.pid}, "
        f"{len(metadata.topics)} topics, data in {broker.folder})"
    )
    click.echo(f"console tools: {broker.tools}")
    return 0


@dev_broker.command(
    short_help="Print the folder of Kafka's console tools.",
    epilog=example('export PATH="$(driftline dev-broker tools):$PATH"'),
)
@_data_option
def tools(data: Path | None) -> None:
    """Print the folder of Kafka's console tools, such as kafka-console-consumer."""
    folder = _broker(data).tools
    if not folder.is_dir():
        raise WrongInput(
            f"{folder} does not exist yet; start the broker first: driftline dev-broker up"
        )
    click.echo(folder)


def _broker(data: Path | None) -> DevBroker:
    try:
        from driftline.agents.devbroker import DevBroker
        from driftline.agents.devbroker.broker import default_folder
    except ImportError as error:
        raise WrongInput(
            f'{error.name} is missing; install the extra "kafka": pip install "driftline[kafka]"'
        ) from error
    return DevBroker(data or default_folder())
