"""The group of all verbs, with --version, help, exit codes and the handling of interruption."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click

from driftline.agents.cli.actions import actions
from driftline.agents.cli.alerts import alerts
from driftline.agents.cli.check import check
from driftline.agents.cli.completion import completion
from driftline.agents.cli.daily_summary import daily_summary
from driftline.agents.cli.demo import demo
from driftline.agents.cli.dev_broker import dev_broker
from driftline.agents.cli.dlq import dlq
from driftline.agents.cli.doctor import doctor
from driftline.agents.cli.drift import drift
from driftline.agents.cli.export import export
from driftline.agents.cli.feed import feed
from driftline.agents.cli.finish import finish
from driftline.agents.cli.init import init
from driftline.agents.cli.labels import labels
from driftline.agents.cli.models import models
from driftline.agents.cli.output import WrongInput
from driftline.agents.cli.performance import performance
from driftline.agents.cli.quality import quality
from driftline.agents.cli.redis import redis
from driftline.agents.cli.registry import registry
from driftline.agents.cli.replay import replay
from driftline.agents.cli.schema import schema
from driftline.agents.cli.send import send
from driftline.agents.cli.serve import serve
from driftline.agents.cli.status import status
from driftline.agents.cli.tail import tail
from driftline.agents.cli.topics import topics
from driftline.agents.cli.worker import worker

INTERRUPTED = 130


class Program(click.Group):
    """A group that turns expected failures into one line on standard error and an exit code.

    An interrupted run ends with 130, an error of the operating system with 2, and a closed pipe
    with 0 and no message.
    """

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run a command line, with click's arguments; always raises `SystemExit`."""
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
            sys.stdout.flush()
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            click.echo("driftline: interrupted", err=True)
            code = INTERRUPTED
        except BrokenPipeError:
            # The reader has ended (`driftline alerts list | head`).
            _discard_output()
            code = 0
        except OSError as error:
            # A full disk or a missing permission is no fault of the program: no traceback.
            click.echo(f"driftline: {os_error_message(error)}", err=True)
            _discard_output()
            code = WrongInput.exit_code
        sys.exit(code if isinstance(code, int) else 0)


def os_error_message(error: OSError) -> str:
    """The file, the reason and the remedy of an error of the operating system.

    Examples
    --------
    >>> os_error_message(OSError(28, "No space left on device", "out/metrics.jsonl"))
    'out/metrics.jsonl: No space left on device; free some space and run again: a replay resumes'
    >>> os_error_message(PermissionError(13, "Permission denied", "/out"))
    '/out: Permission denied'
    """
    place = f"{error.filename}: " if error.filename else ""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return f"{place}{error.strerror or error}" + (
        "; free some space and run again: a replay resumes" if full else ""
    )


def _discard_output() -> None:
    """Discard the buffer of standard output; flushing it at exit would raise again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from driftline.agents.inprocess.run_identity import program_version

        click.echo(f"driftline {program_version()}")
        context.exit()


@click.group(
    cls=Program,
    name="driftline",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 success; 1 success with problems found; 2 wrong call, configuration or "
    "input; 130 interrupted. NO_COLOR switches colours off, COLUMNS sets the width of tables.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def driftline() -> None:
    """Monitor deployed models while their ground truth is still arriving.

    \b
    Start here:
      driftline demo            replay a year of flights with a model of delays
      driftline init trial      write a configuration and a sample log
      driftline check LOG       say what a log of yours will be understood as
    """


for command in (
    init,
    demo,
    check,
    replay,
    export,
    schema,
    serve,
    status,
    daily_summary,
    models,
    performance,
    drift,
    labels,
    quality,
    alerts,
    actions,
    registry,
    redis,
    tail,
    doctor,
    topics,
    worker,
    feed,
    send,
    finish,
    dlq,
    dev_broker,
    completion,
):
    driftline.add_command(command)
