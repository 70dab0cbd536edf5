"""Commands that verbs send to stages 3 and 4: to a broker, or into a recorded log.

What a command says is the business of its verb.
"""

from __future__ import annotations

import getpass
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from driftline.agents.cli.alert_source import is_broker
from driftline.agents.cli.broker_options import open_connection
from driftline.agents.cli.inputs import read_config
from driftline.agents.cli.output import WrongInput
from driftline.agents.cli.registry import format_change
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.agents.kafka.broker.connection import Connection
    from driftline.schemas.alert_commands import AlertCommand
    from driftline.schemas.results import RegistryCommand, RegistryEvent

F = TypeVar("F", bound=Callable[..., Any])


def act_options(command: F) -> F:
    """`--log`, `--by`, `--reason`, `--at` and `--wait`: where a command goes, and what it says."""
    for option in (
        click.option(
            "--wait",
            type=click.FloatRange(min=0),
            default=10.0,
            show_default=True,
            help="Seconds to wait for the answer, on a broker.",
        ),
        click.option(
            "--at",
            metavar="TIME",
            help="When you act, in RFC 3339; by default now. In a recorded log, the event time at "
            "which the command is carried out.",
        ),
        click.option("--reason", default="", help="Why, for others to read."),
        click.option(
            "--by",
            "--requested-by",
            "by",
            metavar="NAME",
            envvar="DRIFTLINE_USER",
            show_envvar=True,
            help="Who you are.",
        ),
        click.option(
            "--log",
            type=click.Path(path_type=Path, file_okay=False, exists=True),
            help="Recorded log that the command is added to, instead of a broker.",
        ),
    ):
        command = option(command)
    return command


def header(by: str | None, at: str | None) -> dict[str, Any]:
    """What every command has: an id of its own, its time, and who sends it."""
    import time

    from driftline.schemas.times import format_time, parse_time

    try:
        at_ms = time.time_ns() // 1_000_000 if at is None else parse_time(at)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from error
    return {
        "command_id": uuid.uuid4().hex,
        "timestamp": format_time(at_ms),
        "requested_by": by or getpass.getuser(),
    }


def send_to(
    command: AlertCommand | RegistryCommand,
    broker: str | None,
    config: Path | None,
    log: Path | None,
    wait: float,
    *,
    describe: Callable[[Any], str],
    as_json: bool,
) -> int:
    """As `send`, with one command and a broker that is not connected yet."""
    if not is_broker(broker):
        return send([command], None, log, wait, describe=describe, as_json=as_json)
    with open_connection(read_config(config), broker) as connection:
        return send([command], connection, log, wait, describe=describe, as_json=as_json)


def send(
    commands: Sequence[AlertCommand | RegistryCommand],
    connection: Connection | None,
    log: Path | None,
    wait: float,
    *,
    describe: Callable[[Any], str],
    as_json: bool,
) -> int:
    """Send commands of one kind to a broker, or add them to a log; 1 if one was rejected.

    Parameters
    ----------
    describe
        What is printed of an answer that is no rejection.
    """
    if connection is None:
        if log is None:
            raise WrongInput("where to? name a broker (--broker) or a recorded log (--log)")
        return _append(commands, log, as_json=as_json)
    from driftline.agents.kafka.broker.topics import UnusableTopics
    from driftline.agents.kafka.tools.commands import answers_topic, send_commands, wait_for_answers

    topic = _topic(commands[0])
    try:
        send_commands(connection, topic, commands)
    except UnusableTopics as error:
        raise WrongInput(str(error)) from error
    ids = {command.command_id for command in commands}
    answers = wait_for_answers(connection, topic, ids, seconds=wait)
    if as_json:
        print_json({"sent": list(commands), "answers": answers})
    else:
        for answer in answers:
            click.echo(f"rejected: {answer.error}" if answer.error else describe(answer))
        if missing := len(commands) - len(answers):
            click.echo(
                f"sent, and not answered within {wait:g} s: {missing} of {len(commands)}; without "
                'a worker, or under run.clock = "data", a command is carried out later, and '
                f"answered on {answers_topic(topic)}"
            )
    return 1 if any(answer.error for answer in answers) else 0


def change_text(event: RegistryEvent) -> str:
    """What an accepted command to the registry changed, or a dry run would."""
    begin = "would change" if event.dry_run else "changed"
    return f"{begin}, revision {event.revision}:\n{format_change(event)}"


def _append(commands: Sequence[AlertCommand | RegistryCommand], log: Path, *, as_json: bool) -> int:
    from driftline.agents.recorded.topic_log import is_exported
    from driftline.schemas.results import encode

    path = log / f"{_topic(commands[0])}.jsonl"
    if path.is_file() and is_exported(path):
        raise WrongInput(f"{path} is an export of a broker; send the command there (--broker)")
    with path.open("ab") as file:
        file.write(b"".join(encode(command) + b"\n" for command in commands))
        file.flush()
        os.fsync(file.fileno())
    if as_json:
        print_json({"sent": list(commands), "answers": []})
    else:
        click.echo(
            f"added {len(commands)} to {path}; replay the log into a new folder: driftline replay "
            f"{log} --out NEW"
        )
    return 0


def _topic(command: AlertCommand | RegistryCommand) -> str:
    from driftline.schemas.results import RegistryCommand
    from driftline.schemas.topics import ALERT_COMMANDS, REGISTRY_COMMANDS

    return REGISTRY_COMMANDS if isinstance(command, RegistryCommand) else ALERT_COMMANDS
