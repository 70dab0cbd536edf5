"""What verbs that talk to a broker share: which one, and what is said when it cannot be used."""

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
        help="Broker to use, instead of kafka.bootstrap_servers of the configuration.",
    )(command)


@contextmanager
def open_connection(config: Config, broker: str | None) -> Iterator[Connection]:
    """A broker that has answered.

    Raises
    ------
    WrongInput
        If the Kafka libraries are not installed, the broker does not answer or refuses, or a later
        request to it fails.
    """
    try:
        from confluent_kafka import KafkaException

        from driftline.agents.kafka.broker.connection import BrokerError, Connection
    except ImportError as error:
        raise WrongInput(
            f'this needs the extra "kafka" ({error}); install driftline[kafka]'
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
