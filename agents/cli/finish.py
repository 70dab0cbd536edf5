"""`driftline finish`: advance time until every window of a recorded history is final."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from driftline.agents.cli.broker_options import broker_option, open_connection
from driftline.agents.cli.inputs import config_option, read_config
from driftline.agents.cli.output import WrongInput, example
from driftline.agents.cli.uncounted_table import print_uncounted
from driftline.agents.terminal import console, inert


@click.command(
    short_help="Advance time after a log until all windows are final.",
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
    help="Give up after this time without an answer from any task.",
)
def finish(config: Path | None, broker: str | None, timeout: float) -> None:
    """Ask the workers to advance time until every window is final, and wait for them.

    For recorded history, with clock = "data" under [run]. Records that are sent afterwards are
    late. At the end, a table shows what was not counted, by topic and reason: dead letters, and
    the counters of the windows. Notes name records whose keys keep them from their counterparts.
    """
    from confluent_kafka import KafkaException

    from driftline.agents.kafka.tools.finish import FinishError
    from driftline.agents.kafka.tools.finish import finish as run
    from driftline.agents.kafka.tools.newest_keys import newest_keys
    from driftline.agents.kafka.tools.uncounted import UnreadableTopics, uncounted_on_topics
    from driftline.schemas.times import format_time

    settings, target = read_config(config), console(stderr=True)
    with (
        open_connection(settings, broker) as connection,
        target.status("asking") if target.is_terminal else nullcontext() as status,
    ):

        def show(left: int, total: int) -> None:
            if status is not None:
                status.update(f"{total - left} of {total} tasks have answered")

        try:
            done = run(
                connection,
                settings,
                timeout_s=timeout,
                on_progress=show,
                on_delay=lambda why: click.echo(why, err=True),
            )
        except FinishError as error:
            raise WrongInput(str(error)) from error
        click.echo(
            f"the history ends at {format_time(done.ended_ms or 0)}; "
            f"every window is final, up to {format_time(done.end_ms or 0)}"
        )
        try:
            uncounted = uncounted_on_topics(connection)
        except UnreadableTopics as error:
            click.echo(f"note: {error}")
            return
        notes = uncounted.notes
        try:
            keys = newest_keys(connection)
            notes = [*notes, *(f"{finding}; {keys.remedy}" for finding in keys.findings())]
        except KafkaException as error:
            notes = [*notes, f"the keys of the inputs are not known: {connection.error(error)}"]
    print_uncounted(uncounted.totals)
    for note in notes:
        click.echo(inert(f"note: {note}"))
