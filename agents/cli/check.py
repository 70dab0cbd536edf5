"""`driftline check`: what a log, a table or the topics of a broker will be understood as."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

import driftline
from driftline.agents.cli.broker_options import open_connection
from driftline.agents.cli.inputs import config_option, keep_order_option, read_config
from driftline.agents.cli.log_input import (
    column_options,
    log_progress,
    parse_mapping,
    partitions_option,
    print_columns_beside,
)
from driftline.agents.cli.output import WrongInput, example, json_option
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.input_check import InputCheck
    from driftline.schemas.settings import Config


@click.command(
    short_help="Say what a log, a table or a broker's topics will be understood as.",
    epilog=example(
        "driftline check trial/sample-log --config trial/driftline.toml",
        "driftline check table.csv --map label=y_true --map model_name==churn \\",
        "  --map model_version==1",
        "driftline check --broker localhost:9092 --rows 5000",
    ),
)
@click.argument(
    "source", metavar="[LOG]", type=click.Path(path_type=Path, exists=True), required=False
)
@config_option
@click.option(
    "--broker",
    metavar="HOST:PORT",
    help="Look at the newest records of a broker's topics instead of LOG; no group is joined.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --broker: most records of each topic, an equal share from each partition; "
    "by default 20,000.",
)
@partitions_option
@keep_order_option
@column_options
@json_option
def check(
    source: Path | None,
    config: Path | None,
    broker: str | None,
    rows: int | None,
    partitions: int | None,
    keep_order: bool,
    mapping: tuple[str, ...],
    features: tuple[str, ...],
    drop: tuple[str, ...],
    as_json: bool,
) -> int:
    """Say what a replay will understand, before it: fields, labels, times, order, delays, ids that
    meet, features, and what will be rejected or left out.

    LOG is a folder with predictions.jsonl and ground-truth.jsonl, or a table (.csv, .parquet), as
    for `driftline replay`. All rows go through the same decoding, join and label rules in a
    temporary folder, without figures, which takes about three quarters of the time of a replay.
    Ends with 1 if something is to be set or mended.
    """
    settings = read_config(config)
    if (source is None) == (broker is None):
        raise WrongInput("name either LOG, or --broker")
    if source is None:
        if partitions is not None or keep_order or mapping or features or drop:
            raise WrongInput(
                "--partitions, --keep-order, --map, --features and --drop are about a LOG"
            )
        found = _check_broker(settings, broker, rows)
    else:
        if rows is not None:
            raise WrongInput("--rows is about a broker; all rows of a LOG are looked at")
        try:
            with log_progress() as bar:
                found = driftline.check(
                    source,
                    config=settings,
                    partitions=partitions,
                    keep_order=keep_order,
                    mapping=parse_mapping(mapping),
                    features=features,
                    drop=drop,
                    progress=bar and bar.show,
                    mapped=None if as_json else partial(print_columns_beside, bar),
                )
        except driftline.DriftlineError as error:
            raise WrongInput(str(error)) from error
    if as_json:
        print_json(found)
    else:
        from driftline.agents.cli.check_text import print_check

        print_check(found)
    return 0 if found.is_understood else 1


def _check_broker(settings: Config, broker: str | None, rows: int | None) -> InputCheck:
    with open_connection(settings, broker) as connection:
        from driftline.agents.input_check.broker import NEWEST_ROWS, check_newest
        from driftline.agents.kafka.tools.export import ExportError

        try:
            return check_newest(connection, settings, rows=rows or NEWEST_ROWS)
        except ExportError as error:
            raise WrongInput(str(error)) from error
