"""`driftline replay`: run a recorded log through the pipeline; resumes an interrupted run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

import driftline
from driftline.agents.cli.export import export_log, range_options
from driftline.agents.cli.inputs import config_option, keep_order_option, read_config
from driftline.agents.cli.log_input import (
    column_options,
    log_progress,
    parse_mapping,
    partitions_option,
    print_columns_beside,
    print_notes,
)
from driftline.agents.cli.output import WrongInput, example, json_option, number, out_option
from driftline.agents.cli.uncounted_table import print_uncounted
from driftline.agents.input_rules import with_rules
from driftline.agents.terminal import inert, print_json

if TYPE_CHECKING:
    from driftline.agents.inprocess.run_summary import ReplaySummary
    from driftline.schemas.settings import Config


@click.command(
    short_help="Run a recorded log through the pipeline.",
    epilog=example(
        "driftline replay trial/sample-log --config trial/driftline.toml --out trial/out",
        "driftline replay --from-broker localhost:9092 --since 2026-11-01T00:00:00Z --out backtest",
        "driftline replay table.csv --map label=y_true --map score=p --map model_name==churn \\",
        "  --map model_version==1 --out out",
    ),
)
@click.argument("source", type=click.Path(path_type=Path, exists=True), required=False)
@config_option
@out_option
@click.option(
    "--from-broker",
    metavar="HOST:PORT",
    help="Read the topics of a broker instead of SOURCE; the log is kept in OUT.log.",
)
@range_options
@partitions_option
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Lines per step; affects speed and memory, not the results.",
)
@click.option(
    "--open-end",
    is_flag=True,
    help="Stop at the last record instead of advancing time until every window is final; later "
    "commands are not executed.",
)
@click.option(
    "--follow",
    is_flag=True,
    help="Apply the recorded registry events instead of executing the commands at their times; "
    "for exports of a live run, which executes commands as it reads them.",
)
@keep_order_option
@click.option(
    "--notify",
    is_flag=True,
    help="Send the notifications of [notifications] in the configuration when the run is finished; "
    "they are in OUT/notifications.jsonl. By default a replay sends nothing.",
)
@click.option(
    "--allow-loss",
    is_flag=True,
    help="End with 0 even if more than 1 % of predictions or ground truth did not count.",
)
@column_options
@click.option(
    "--verbose",
    is_flag=True,
    help="Log rows that do not count to standard error as they are read, with the numbers that "
    "decided; at most one line a minute for each topic, partition and reason.",
)
@json_option
def replay(
    source: Path | None,
    config: Path | None,
    out: Path,
    from_broker: str | None,
    since_ms: int | None,
    until_ms: int | None,
    partitions: int | None,
    batch: int,
    open_end: bool,
    follow: bool,
    keep_order: bool,
    notify: bool,
    allow_loss: bool,
    mapping: tuple[str, ...],
    features: tuple[str, ...],
    drop: tuple[str, ...],
    verbose: bool,
    as_json: bool,
) -> int:
    """Run a recorded log through the pipeline, or resume an interrupted run.

    SOURCE is a folder with predictions.jsonl and ground-truth.jsonl, or a table (.csv, .parquet)
    with one row per prediction; what becomes of each of its columns is printed first, and what the
    first rows show that is to be set or mended (see `driftline check`). The same call
    on the same output folder resumes the run; another input or configuration needs another folder.
    Ends with 1 if every row was rejected, or if more than 1 % of the predictions or of the ground
    truth did not count (see --allow-loss).
    """
    settings = read_config(config)
    if (source is None) == (from_broker is None) or (
        source and (since_ms, until_ms) != (None, None)
    ):
        raise WrongInput(
            "name either SOURCE, or --from-broker (with or without --since and --until)"
        )
    columns = parse_mapping(mapping)
    try:
        source = source or log_from_broker(
            settings, from_broker, out.with_name(f"{out.name}.log"), since_ms, until_ms
        )
        with _log_to_stderr() if verbose else log_progress() as progress:
            mapped = None if as_json else partial(print_columns_beside, progress)
            results = driftline.replay(
                source,
                config=settings,
                out=out,
                partitions=partitions,
                batch=batch,
                open_end=open_end,
                follow=follow,
                keep_order=keep_order,
                mapping=columns,
                features=features,
                drop=drop,
                notify=notify,
                progress=progress and progress.show,
                mapped=mapped,
                noted=partial(print_notes, bar=progress),
            )
    except driftline.DriftlineError as error:
        raise WrongInput(str(error)) from error
    summary = results.summary
    assert summary is not None  # a run has one
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary, out)
    if summary.nothing_accepted:
        click.echo(
            with_rules(
                f"driftline: every row was rejected; the reasons are in {out}/*.dlq.jsonl, "
                "and driftline schema validate FILE explains each",
                "Values of an event",
            ),
            err=True,
        )
        return 1
    if summary.lost_too_much and not allow_loss:
        click.echo(f"driftline: {_loss(summary)}", err=True)
        return 1
    return 0


def _loss(summary: ReplaySummary) -> str:
    """One sentence about the rows that are lost."""
    from driftline.agents.uncounted_rows import MAX_LOST_SHARE

    shares = " and ".join(
        f"{100 * share:.3g} % of {topic}"
        for topic, share in sorted(summary.uncounted_share.items())
        if share > MAX_LOST_SHARE
    )
    return with_rules(
        f"{shares} did not count, or not everywhere; the table of rows that are not counted says "
        "why and what to do, and --allow-loss accepts it",
        "Order and loss of a recorded log",
    )


def log_from_broker(
    settings: Config, broker: str | None, folder: Path, since_ms: int | None, until_ms: int | None
) -> Path:
    """Export a range of the topics, unless an earlier call has done so.

    Raises
    ------
    WrongInput
        If the folder holds another range.
    """
    from driftline.agents.recorded.export_manifest import read_manifest

    log = read_manifest(folder)
    if log is None:
        export_log(settings, broker, folder, since_ms, until_ms)
    elif (log.since_ms, log.until_ms) != (since_ms, until_ms):
        raise WrongInput(
            f"{folder} holds another range of the topics; delete it, or choose another --out"
        )
    return folder


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Write the log lines of the package, from INFO on, to standard error, where a progress bar
    would be in their way.
    """
    log, handler = logging.getLogger("driftline"), logging.StreamHandler(sys.stderr)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _print_summary(summary: ReplaySummary, out: Path) -> None:
    read = ", ".join(f"{number(count)} {topic}" for topic, count in sorted(summary.lines.items()))
    written = ", ".join(
        f"{number(count)} {topic}" for topic, count in sorted(summary.written.items()) if count
    )
    if summary.already_finished:
        click.echo(f"{out} is complete already; nothing to do")
    else:
        click.echo(f"read {read}" + (" (resumed an earlier run)" if summary.resumed else ""))
        click.echo(f"took {summary.elapsed_s:.1f} s, {summary.cpu_s:.1f} s of CPU")
    if summary.first_event and summary.last_event:
        click.echo(f"event time {summary.first_event} to {summary.last_event}")
    click.echo(f"wrote {written or 'nothing'} to {out}")
    for topic, reasons in sorted(summary.rejected.items()):
        why = ", ".join(f"{number(count)} {reason}" for reason, count in sorted(reasons.items()))
        click.echo(f"rejected {why}: see {out / f'{topic}.dlq.jsonl'}")
    if summary.uncounted:
        print_uncounted(summary.uncounted)
    for note in summary.notes:
        click.echo(inert(f"note: {note}"))
