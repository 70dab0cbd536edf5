"""What verbs share: options, the error of wrong input, and the format of values.

Tables are `tables.py`; the console and JSON are `driftline.agents.terminal`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from driftline.agents.terminal import inert

F = TypeVar("F", bound=Callable[..., Any])


def out_option(command: F) -> F:
    """`--out DIR`: the output folder of a run."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("driftline-out"),
        envvar="DRIFTLINE_OUT",
        show_default=True,
        show_envvar=True,
        help="Output folder of the run.",
    )(command)


def json_option(command: F) -> F:
    """`--json`: one JSON document on standard output instead of a table."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document, for machines."
    )(command)


def model_options(command: F) -> F:
    """`--model` and `--version`."""
    command = click.option(
        "--version", "model_version", metavar="VERSION", help="Only this version."
    )(command)
    return click.option("--model", "model_name", metavar="MODEL", help="Only this model.")(command)


def duration_option(option: str, text: str) -> int:
    """The value of an option that is a duration such as "7d", in milliseconds.

    Raises
    ------
    WrongInput
        If it is none; the message names the option.
    """
    from driftline.schemas.times import parse_duration

    return _parsed(option, text, parse_duration)


def time_option(option: str, text: str) -> int:
    """The value of an option that is a time in RFC 3339, in milliseconds since the epoch.

    Raises
    ------
    WrongInput
        If it is none; the message names the option.
    """
    from driftline.schemas.times import parse_time

    return _parsed(option, text, parse_time)


def _parsed(option: str, text: str, parse: Callable[[str], int]) -> int:
    try:
        return parse(text)
    except ValueError as error:
        raise WrongInput(f"{option} {text}: {error}") from error


def example(*lines: str) -> str:
    """The examples of a help text, one command per line."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


class WrongInput(click.ClickException):
    """Arguments, configuration or input that cannot be used; the command ends with code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(inert(f"driftline: {self.format_message()}"), file=file or sys.stderr)


def number(value: float | int | None) -> str:
    """A number for a table cell: integers with separators, small floats to three decimals, "-" for
    None.

    Examples
    --------
    >>> number(12345), number(0.83291), number(6543.2), number(None)
    ('12,345', '0.833', '6,543', '-')
    """
    if value is None:
        return "-"
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:.3f}"
        if abs(value) < 100
        else f"{value:,.0f}"
    )


def milliseconds(value: float) -> str:
    """Milliseconds for a table cell: in the largest unit from a minute on.

    Examples
    --------
    >>> milliseconds(12.53), milliseconds(6_543.2), milliseconds(5_400_000.0)
    ('12.53 ms', '6,543 ms', '1.5 hours')
    """
    from driftline.agents.recorded.row_order import duration
    from driftline.schemas.times import MINUTE_MS

    return f"{value:,.4g} ms" if value < MINUTE_MS else duration(round(value))


def share(value: float | None) -> str:
    """A share in percent, "-" for None.

    Examples
    --------
    >>> share(0.8743)
    '87.4 %'
    """
    return "-" if value is None else f"{100 * value:.1f} %"


def minute(time: str | int | None) -> str:
    """A time, RFC 3339 or milliseconds, for a table cell, to the minute; "-" for None.

    Examples
    --------
    >>> minute("2026-11-21T10:00:00Z")
    '2026-11-21 10:00'
    """
    from driftline.schemas.times import format_time

    if time is None:
        return "-"
    return (time if isinstance(time, str) else format_time(time))[:16].replace("T", " ")
