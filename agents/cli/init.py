"""`driftline init`: write a configuration and a sample log."""

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
@click.option("--force", is_flag=True, help="Overwrite existing files.")
def init(folder: Path, force: bool) -> None:
    """Write a commented driftline.toml and a small sample log.

    The sample is a churn model over two days that degrades at noon of the second day. FOLDER is
    the current folder by default.
    """
    from driftline.agents.sample_log import CONFIG_NAME, LOG_NAME, write_sample

    existing = [path for path in (folder / CONFIG_NAME, folder / LOG_NAME) if path.exists()]
    if existing and not force:
        raise WrongInput(f"{existing[0]} exists; name another folder, or overwrite it with --force")
    config, log = write_sample(folder)
    click.echo(f"wrote {config} and {log}\nnow run:")
    out = shlex.quote(str(folder / "driftline-out"))
    arguments = f"{shlex.quote(str(log))} --config {shlex.quote(str(config))}"
    click.echo(f"  driftline replay {arguments} --out {out}")
    click.echo(f"  driftline performance summary --out {out}")
