"""`driftline finish`: time runs on until every window of a recorded history is final."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from driftline.agents.cli.broker_options import broker_option, open_connection
from driftline.agents.cli.inputs import config_option, read_config
from driftline.agents.cli.output import WrongInput, console, example


@click.command(
    short_help="Let time run on after recorded history was fed.",
    epilog=example(
        "driftline feed trial/sample-log --config driftline.toml",
        "driftline finish --config driftline.toml",
    ),
)
@config_option
@broker_option
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="Longest wait without an answer.",
)
def finish(config: Path | None, broker: str | None, timeout: float) -> None:
    """Ask the workers to let time run on until every window of what was fed is final, and wait
    until they have.

    For recorded history: clock = "data" under [run]. What is sent afterwards is late.
    """
    from driftline.agents.kafka.tools.finish import FinishError
    from driftline.agents.kafka.tools.finish import finish as run
    from driftline.schemas.times import format_time

    settings, target = read_config(config), console(stderr=True)
    with (
        open_connection(settings, broker) as connection,
        target.status("asking") if target.is_terminal else nullcontext() as status,
    ):

        def told(left: int, total: int) -> None:
            if status is not None:
                status.update(f"{total - left} of {total} tasks have answered")

        try:
            done = run(
                connection,
                settings,
                timeout_s=timeout,
                told=told,
                slow=lambda why: click.echo(why, err=True),
            )
        except FinishError as error:
            raise WrongInput(str(error)) from error
    click.echo(
        f"the history ends at {format_time(done.ended_ms or 0)}; every window is final, up to {format_time(done.end_ms or 0)}"
    )
