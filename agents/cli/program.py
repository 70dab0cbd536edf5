"""The group of all verbs, and what is the same for each: version, help, exit codes, interruption."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

from agents.cli.alerts import alerts
from agents.cli.demo import demo
from agents.cli.doctor import doctor
from agents.cli.init import init
from agents.cli.models import models
from agents.cli.performance import performance
from agents.cli.registry import registry
from agents.cli.replay import replay
from agents.cli.schema import schema

INTERRUPTED = 130


class Program(click.Group):
    """A group that ends an interrupted run with one line and code 130, and a closed pipe without a word."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run a command line to its end, arguments as click's; always leaves by `SystemExit`."""
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
            # The reader has what it wanted (`driftline alerts list | head`); closing stdout again would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        sys.exit(code if isinstance(code, int) else 0)


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from agents.inprocess.identity import program_version

        click.echo(f"driftline {program_version()}")
        context.exit()


@click.group(
    cls=Program,
    name="driftline",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 1 done and problems found; 2 wrong call, configuration or input; 130 interrupted. "
    "NO_COLOR switches colours off.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version and exit.")
def driftline() -> None:
    """Watch deployed models while their ground truth is still arriving.

    \b
    Start here:
      driftline demo            a model through a year of real flights
      driftline init trial      a configuration and a sample log of your own
    """


for command in (init, demo, replay, schema, models, performance, alerts, registry, doctor):
    driftline.add_command(command)
