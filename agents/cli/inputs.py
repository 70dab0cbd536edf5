"""What verbs are handed to work on, the configuration and the output of a run: where they lie, and
what is said when they are wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from driftline.agents.cli.output import WrongInput

if TYPE_CHECKING:
    from driftline.schemas.config import Config

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """`--config FILE`."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="DRIFTLINE_CONFIG",
        show_envvar=True,
        help="Configuration; without it the defaults apply.",
    )(command)


def read_config(path: Path | None) -> Config:
    """The configuration, rules and tuners included.

    Raises
    ------
    WrongInput
        With the place in the file.
    """
    from driftline.agents.configuration import checked_config
    from driftline.schemas.config import ConfigError

    try:
        return checked_config(path)
    except ConfigError as error:
        raise WrongInput(str(error)) from error


@contextmanager
def report_read_errors() -> Iterator[None]:
    """Turn what is wrong with an output folder into a message and exit code 2."""
    from driftline.agents.output_folder import ReadError

    try:
        yield
    except ReadError as error:
        raise WrongInput(str(error)) from error
