"""Inputs that verbs share: the configuration and the output folder of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from driftline.agents.cli.output import WrongInput

if TYPE_CHECKING:
    from driftline.schemas.settings import Config

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """`--config FILE`."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="DRIFTLINE_CONFIG",
        show_envvar=True,
        help="Configuration file; by default the built-in defaults.",
    )(command)


def keep_order_option(command: F) -> F:
    """`--keep-order`."""
    return click.option(
        "--keep-order",
        is_flag=True,
        help="Take the order of the lines as the order of arrival, so rows can be late; by default "
        "a file is sorted by event time if more than 1 % of its rows would be.",
    )(command)


def read_config(path: Path | None) -> Config:
    """Read and check the configuration, including the parameters of rules and tuners.

    Raises
    ------
    WrongInput
        If it is invalid; the message names the place in the file.
    """
    from driftline.agents.configuration import checked_config
    from driftline.schemas.config import ConfigError

    try:
        return checked_config(path)
    except ConfigError as error:
        raise WrongInput(str(error)) from error


@contextmanager
def report_read_errors() -> Iterator[None]:
    """Turn a `ReadError` of an output folder into a message and exit code 2."""
    from driftline.agents.output_folder import ReadError

    try:
        yield
    except ReadError as error:
        raise WrongInput(str(error)) from error
