"""`driftline serve`: the HTTP API of an output folder or a live broker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from driftline.agents.cli.alert_source import is_broker, source_options
from driftline.agents.cli.broker_options import open_connection
from driftline.agents.cli.inputs import read_config, report_read_errors
from driftline.agents.cli.output import WrongInput, example

PORT: Final = 8321


@click.command(
    "serve",
    short_help="Serve results over HTTP.",
    epilog=example(
        "driftline serve --out driftline-out",
        "driftline serve --broker broker:9092 --port 9000",
    ),
)
@source_options
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; one of this machine alone.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=PORT,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
def serve(out: Path, broker: str | None, config: Path | None, host: str, port: int) -> None:
    """Serve the page and the results of an output folder, or of a live broker, until Ctrl-C.

    Open the address in a browser. The API is below /api, its reference at /schema/openapi.json and
    in docs/api.md. Results that come while it runs are served within seconds. It goes on while the
    broker is away.
    """
    place = f"{out}"

    def ready(url: str) -> None:
        click.echo(f"serving {place} at {url} (Ctrl-C ends it)")

    if not is_broker(broker):
        serve_folder(out, host=host, port=port, ready=ready)
        return
    with open_connection(read_config(config), broker) as connection:
        from confluent_kafka import KafkaException

        from driftline.agents.read_model.read_model import open_broker
        from driftline.agents.serve.broker_lag import partition_lags

        place = connection.servers
        _run(
            partial(open_broker, connection, is_refreshed=False),
            folder=None,
            errors=(KafkaException,),
            look=partial(partition_lags, connection),
            host=host,
            port=port,
            ready=ready,
        )


def serve_folder(folder: Path, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve an output folder until Ctrl-C; `ready` is called with the address.

    Raises
    ------
    WrongInput
        If the extra is not installed, the folder is no output folder, or the port is taken.
    """
    from driftline.agents.read_model.read_model import open_folder

    with report_read_errors():
        _run(
            partial(open_folder, folder, is_refreshed=False),
            folder=folder,
            host=host,
            port=port,
            ready=ready,
        )


def _run(open_model: Callable[[], Any], **settings: Any) -> None:
    from driftline.agents.read_model.index import UnusableIndex

    try:
        from driftline.agents.serve.server import CannotServe
        from driftline.agents.serve.server import serve as run
    except ImportError as error:
        raise WrongInput(
            f'this command needs the extra "serve" ({error}): pip install "driftline[serve]"'
        ) from error
    try:
        run(open_model, **settings)
    except (CannotServe, UnusableIndex) as error:
        raise WrongInput(str(error)) from error
