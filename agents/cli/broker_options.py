"""The option --broker and the connection of verbs that use a broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from driftline.agents.cli.output import WrongInput

if TYPE_CHECKING:
    from driftline.agents.kafka.broker.connection import Connection
    from driftline.schemas.settings import Config

F = TypeVar("F", bound=Callable[..., Any])


def broker_option(command: F) -> F:
    """`--broker HOST:PORT`."""
    return click.option(
        "--broker",
        metavar="HOST:PORT",
        envvar="DRIFTLINE_BROKER",
        show_envvar=True,
        help="Broker to use instead of kafka.bootstrap_servers in the configuration.",
    )(command)


@contextmanager
def open_connection(config: Config, broker: str | None) -> Iterator[Connection]:
    """Connect to a broker and wait for its answer.

    Raises
    ------
    WrongInput
        If the Kafka libraries are not installed, the broker does not answer or denies access, or a
        later request fails.
    """
    try:
        from confluent_kafka import KafkaException

        from driftline.agents.kafka.broker.connection import BrokerError, Connection
    except ImportError as error:
        raise WrongInput(
            f'this command needs the extra "kafka" ({error}): pip install "driftline[kafka]"'
        ) from error

    try:
        connection = Connection(config, broker)
        connection.reach()
        try:
            yield connection
        except KafkaException as error:
            raise connection.error(error) from error
    except BrokerError as error:
        raise WrongInput(str(error)) from error
