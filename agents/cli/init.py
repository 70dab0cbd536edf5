"""`driftline init`: a configuration and a sample log to start from."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from driftline.agents.cli.output import WrongInput, example


@click.command(
    epilog=example(
        "driftline init trial",
        "driftline replay trial/sample-log --config trial/driftline.toml --out trial/out",
    )
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("."))
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def init(folder: Path, force: bool) -> None:
    """Write a commented driftline.toml and a small sample log.

    The sample is a churn model over two days; from noon of the second day it gets worse. FOLDER is
    the present one unless you name another.
    """
    from driftline.agents.sample_log import CONFIG_NAME, LOG_NAME, write_sample

    taken = [path for path in (folder / CONFIG_NAME, folder / LOG_NAME) if path.exists()]
    if taken and not force:
        raise WrongInput(
            f"{taken[0]} is there already; name another folder, or overwrite it with --force"
        )
    config, log = write_sample(folder)
    click.echo(f"wrote {config} and {log}\nnow run:")
    click.echo(
        f"  driftline replay {_quoted(log)} --config {_quoted(config)} --out {_quoted(folder / 'driftline-out')}"
    )
    click.echo(f"  driftline performance summary --out {_quoted(folder / 'driftline-out')}")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
