"""Where the verbs that read results find them: the output folder of a run, or a live broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.alert_source import is_broker
from driftline.agents.cli.broker_options import open_connection
from driftline.agents.cli.inputs import read_config, report_read_errors
from driftline.agents.cli.output import WrongInput
from driftline.agents.terminal import inert

if TYPE_CHECKING:
    from driftline.agents.read_model.read_model import ReadModel, Reads
    from driftline.schemas.settings import Config


@contextmanager
def read_results(out: Path, broker: str | None, config: Path | None) -> Iterator[Reads]:
    """Answers about the results of a broker if one is named and no output folder, else of the
    folder, as they are now. Records that cannot be read are named on standard error.

    Raises
    ------
    WrongInput
        If they cannot be read.
    """
    from driftline.agents.read_model.index import UnusableIndex
    from driftline.agents.read_model.read_model import open_broker, open_folder

    try:
        if not is_broker(broker):
            with report_read_errors():
                model = open_folder(out)
            with _reading(model) as reads:
                yield reads
            return
        with (
            open_connection(read_config(config), broker) as connection,
            _reading(open_broker(connection)) as reads,
        ):
            yield reads
    except UnusableIndex as error:
        raise WrongInput(str(error)) from error


def place_of(out: Path, broker: str | None) -> str:
    """Where the results of `read_results` are from, for messages."""
    return f"{broker}" if is_broker(broker) else f"{out}"


def settings_of(reads: Reads, out: Path, broker: str | None) -> Config:
    """The settings that results were counted with: as the workers recorded them last, or as the run
    of a folder has them; the built-in defaults where neither is known.

    Raises
    ------
    WrongInput
        If they cannot be read.
    """
    from driftline.agents.settings_in_force import settings_in_force

    with report_read_errors():
        return settings_in_force(reads, None if is_broker(broker) else out, place_of(out, broker))


@contextmanager
def _reading(model: ReadModel) -> Iterator[Reads]:
    try:
        with model.reading() as reads:
            for topic, (count, example) in sorted(reads.unreadable.items()):
                records = "1 record" if count == 1 else f"{count:,} records"
                click.echo(
                    f"driftline: {records} of {topic} in {model.place} cannot be read and are left "
                    f"out: {inert(example)}",
                    err=True,
                )
            yield reads
    finally:
        model.close()
