"""`driftline init`: write a configuration, with a sample log or for known models."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from driftline.agents.cli.output import WrongInput, example

PRESETS = ("security",)


@click.command(
    epilog=example(
        "driftline init trial",
        "driftline replay trial/sample-log --config trial/driftline.toml --out trial/out",
        "driftline init trial --preset security",
    )
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("."))
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    help="Write the configuration of known models and no log. security: n1-detector, "
    "waf-behavioral and queue-anomaly.",
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
def init(folder: Path, preset: str | None, force: bool) -> None:
    """Write a commented driftline.toml and a small sample log.

    The sample is a churn model over two days that degrades at noon of the second day. FOLDER is
    the current folder by default.
    """
    from driftline.agents.sample_log import CONFIG_NAME, LOG_NAME, write_sample

    names = [CONFIG_NAME, LOG_NAME] if preset is None else [CONFIG_NAME]
    existing = [path for path in (folder / name for name in names) if path.exists()]
    if existing and not force:
        raise WrongInput(f"{existing[0]} exists; name another folder, or overwrite it with --force")
    if preset is not None:
        _write_preset(folder / CONFIG_NAME)
        return
    config, log = write_sample(folder)
    click.echo(f"wrote {config} and {log}\nnow run:")
    out = shlex.quote(str(folder / "driftline-out"))
    arguments = f"{shlex.quote(str(log))} --config {shlex.quote(str(config))}"
    click.echo(f"  driftline replay {arguments} --out {out}")
    click.echo(f"  driftline performance summary --out {out}")


def _write_preset(path: Path) -> None:
    from driftline.agents.security_preset import CONFIG

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CONFIG, encoding="utf-8")
    click.echo(f"wrote {path}\nnow run:")
    click.echo(f"  driftline alerts rules --config {shlex.quote(str(path))}")
