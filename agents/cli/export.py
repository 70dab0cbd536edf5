"""`driftline export`: write the topics of a broker to a recorded log."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from driftline.agents.cli.broker_options import broker_option, open_connection
from driftline.agents.cli.inputs import config_option, read_config
from driftline.agents.cli.output import WrongInput, example, json_option, number
from driftline.agents.terminal import console, print_json

if TYPE_CHECKING:
    from driftline.agents.recorded.export_manifest import ExportManifest

F = TypeVar("F", bound=Callable[..., Any])


class Moment(click.ParamType):
    """A time in RFC 3339, converted to milliseconds since the epoch."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse the text of an option."""
        from driftline.schemas.times import parse_time

        try:
            return parse_time(value)
        except ValueError as error:
            self.fail(
                f"{value!r} is not a time ({error}); an example is 2026-11-21T10:00:00Z", param, ctx
            )


def range_options(command: F) -> F:
    """`--since` and `--until`."""
    until = "Only records before this time."
    command = click.option("--until", "until_ms", type=Moment(), help=until)(command)
    since = "Only records at or after this time, by the broker's timestamp (not the event time)."
    return click.option("--since", "since_ms", type=Moment(), help=since)(command)


@click.command(
    short_help="Write the topics of a broker to a recorded log.",
    epilog=example(
        "driftline export --out log",
        "driftline replay log --config log/driftline.toml --out backtest",
    ),
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="New or empty folder.",
)
@config_option
@broker_option
@range_options
@json_option
def export(
    out: Path,
    config: Path | None,
    broker: str | None,
    since_ms: int | None,
    until_ms: int | None,
    as_json: bool,
) -> None:
    """Write all input and output topics of a broker to a folder, one file per topic.

    A replay of the folder reads exactly what the live run read. Provisional results are left out,
    since a replay emits none. The settings that the workers recorded are in driftline.toml.
    """
    from driftline.agents.recorded.export_manifest import SETTINGS_FILE

    log = export_log(read_config(config), broker, out, since_ms, until_ms)
    if as_json:
        print_json(log)
        return
    counts = [f"{number(count)} {topic}" for topic, count in log.records.items() if count]
    click.echo(f"wrote {', '.join(counts) or 'nothing'} to {out}")
    recorded = out / SETTINGS_FILE
    used = recorded if recorded.exists() else config
    click.echo(
        f"replay it: driftline replay {out}"
        + (f" --config {used}" if used else "")
        + " --out NEW_FOLDER"
    )


def export_log(
    settings: Any, broker: str | None, out: Path, since_ms: int | None, until_ms: int | None
) -> ExportManifest:
    """Export a range of the topics, with progress on standard error if it is a terminal.

    Raises
    ------
    WrongInput
        If the broker does not answer or the folder is not empty.
    """
    from driftline.agents.kafka.tools.export import ExportError
    from driftline.agents.kafka.tools.export import export as run

    target = console(stderr=True)
    with (
        open_connection(settings, broker) as connection,
        target.status("reading") if target.is_terminal else nullcontext() as status,
    ):

        def show(topic: str, lines: int) -> None:
            if status is not None:
                status.update(f"{topic}: {number(lines)}")

        try:
            return run(connection, out, since_ms=since_ms, until_ms=until_ms, on_progress=show)
        except ExportError as error:
            raise WrongInput(str(error)) from error
