"""`driftline feed`: send a recorded log to the input topics of a broker."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from driftline.agents.cli.broker_options import broker_option, open_connection
from driftline.agents.cli.inputs import config_option, keep_order_option, read_config
from driftline.agents.cli.output import WrongInput, example, json_option, number
from driftline.agents.terminal import console, print_json


@click.command(
    short_help="Send a recorded log to a broker.",
    epilog=example(
        "driftline feed trial/sample-log --config driftline.toml", "driftline feed log --rate 500"
    ),
)
@click.argument("log", type=click.Path(path_type=Path, exists=True, file_okay=False))
@config_option
@broker_option
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="At most this many records per second; by default no limit.",
)
@keep_order_option
@json_option
def feed(
    log: Path,
    config: Path | None,
    broker: str | None,
    rate: float | None,
    keep_order: bool,
    as_json: bool,
) -> None:
    """Send predictions, truths and commands of the folder LOG in event-time order.

    For recorded history, run the workers with clock = "data" under [run]. When the log has been
    sent, `driftline finish` advances time until every window is final.
    """
    from driftline.agents.kafka.broker.topics import UnusableTopics
    from driftline.agents.kafka.tools.send_log import send_log
    from driftline.agents.recorded.lines import LogError
    from driftline.schemas.times import format_time

    target = console(stderr=True)
    with (
        open_connection(read_config(config), broker) as connection,
        target.status("sending") if target.is_terminal else nullcontext() as status,
    ):

        def show(sent: int, at_ms: int) -> None:
            if status is not None:
                status.update(f"sent {number(sent)} records, up to {format_time(at_ms)}")

        try:
            counts = send_log(
                connection,
                log,
                per_second=rate,
                keep_order=keep_order,
                on_progress=show,
                on_sorted=lambda topic, order: click.echo(
                    f"note: {order.sentence(topic)}", err=True
                ),
            )
        except (LogError, UnusableTopics) as error:
            raise WrongInput(str(error)) from error
    if as_json:
        print_json(counts)
    else:
        click.echo(
            f"sent {', '.join(f'{number(count)} {topic}' for topic, count in counts.items())}"
        )
