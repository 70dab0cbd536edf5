"""`driftline performance degradation`: figures beside the baseline, and what was alerted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.agents.cli.alert_source import source_options, why_fired
from driftline.agents.cli.figure_cells import check_metrics, metric_cell, value_cell
from driftline.agents.cli.figure_options import lane_option, metric_option
from driftline.agents.cli.output import (
    WrongInput,
    duration_option,
    example,
    json_option,
    minute,
    model_options,
    number,
    share,
)
from driftline.agents.cli.performance_trends import one_rung
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.tables import print_table, print_wrapped
from driftline.agents.figure_difference import Difference, difference, direction
from driftline.agents.read_model.series_order import usual_metrics
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.agents.read_model.figure_reads import Series
    from driftline.agents.read_model.read_model import Reads
    from driftline.schemas.results import Alert, WindowFigures


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """A window of a model version beside the baseline at its rung.

    Attributes
    ----------
    figures
        The newest complete window.
    baseline
        As in the registry; null without one at this rung.
    differences
        Per metric, `a` of the baseline and `b` of the window.
    alerts
        The records of each episode about these metrics that was open in the span.
    """

    figures: WindowFigures
    baseline: dict[str, Any] | None
    differences: list[Difference]
    alerts: list[list[Alert]]


@click.command(
    "degradation",
    epilog=example(
        "driftline performance degradation --last 7d",
        "driftline performance degradation --model churn --maturity 6h --metric recall --json",
        "driftline performance degradation --lane traffic --broker broker:9092",
    ),
)
@model_options
@lane_option
@click.option(
    "--last",
    default="7d",
    show_default=True,
    help="The largest window of at most this size is shown, and alerts that were open in it.",
)
@click.option(
    "--maturity",
    default="judged",
    show_default=True,
    help='A rung of the maturity ladder, or "judged": the first with 95 % of the labels.',
)
@metric_option
@source_options
@json_option
def degradation(
    out: Path,
    broker: str | None,
    config: Path | None,
    model_name: str | None,
    model_version: str | None,
    lane: str,
    last: str,
    maturity: str,
    metrics: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show the newest figures of each version against its recorded baseline at the same maturity,
    and what was alerted.

    The difference has a 95 % interval as of independent rows. Alert rules widen theirs by the
    variance between days, so a clear difference here need not be an alert.
    """
    from driftline.agents.read_model.figure_reads import SeriesFilter

    span_ms = duration_option("--last", last)
    wanted = SeriesFilter(
        model_name=model_name, model_version=model_version, segment="all", lane=lane
    )
    with read_results(out, broker, config) as reads:
        series = _largest_windows(reads.figures.series(wanted), span_ms, last)
        if maturity != "judged" and series:
            series = one_rung(series, maturity)
        records = _newest(reads, series)
        check_metrics(metrics, records)
        found = [
            _degradation(reads, record, metrics or usual_metrics(lane), span_ms)
            for record in records
        ]
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo(f"no complete window in {place_of(out, broker)} of the {lane} lane")
    for each in found:
        _print(each, last)


def _largest_windows(series: Sequence[Series], span_ms: int, last: str) -> list[Series]:
    """The series of the largest window of each version that is no longer than the span.

    Raises
    ------
    WrongInput
        If all windows are longer.
    """
    from driftline.agents.read_model.figure_reads import regular_windows

    versions: dict[tuple[str, str], list[Series]] = {}
    for each in series:
        versions.setdefault((each.model_name, each.model_version), []).append(each)
    chosen: list[Series] = []
    sizes: list[tuple[int, bool]] = []
    for of_version in versions.values():
        windows = regular_windows(of_version)
        sizes += windows.values()
        fitting = {name: size for name, size in windows.items() if size[0] <= span_ms}
        if fitting:
            window = max(fitting, key=lambda name: (*fitting[name], name))
            chosen += [each for each in of_version if each.window == window]
    if sizes and not chosen:
        from driftline.agents.recorded.row_order import duration

        raise WrongInput(
            f"--last {last}: the smallest window has {duration(min(sizes)[0])}; name at least that"
        )
    return chosen


def _newest(reads: Reads, series: Sequence[Series]) -> list[WindowFigures]:
    """The newest complete window of each version, at the rung that is judged of several."""
    from driftline.agents.model_status import at_judged_rung
    from driftline.agents.read_model.figure_reads import only

    records: dict[tuple[str, str], list[WindowFigures]] = {}
    for each in series:
        records.setdefault((each.model_name, each.model_version), []).extend(
            reads.figures.newest_whole(only(each))
        )
    return [at_judged_rung(rungs) for rungs in records.values() if rungs]


def _degradation(
    reads: Reads, record: WindowFigures, metrics: Sequence[str], span_ms: int
) -> Degradation:
    from driftline.schemas.results import NO_MATURITY, Alert, RegistryEntry
    from driftline.schemas.topics import ALERTS, REGISTRY

    version = {"model_name": record.model_name, "model_version": record.model_version}
    entry = next(reads.records.latest(REGISTRY, RegistryEntry, **version), None)
    baselines = {} if entry is None else entry.baselines
    baseline = baselines.get(record.maturity or NO_MATURITY)
    since_ms = record.window_end_ms - span_ms
    about = {*record.metrics, "standardized_accuracy"}
    episodes: dict[str, list[Alert]] = {}
    for alert in reads.records.all(ALERTS, Alert, **version):
        if alert.metric in about:
            episodes.setdefault(alert.alert_id, []).append(alert)
    return Degradation(
        figures=record,
        baseline=baseline,
        differences=from_baseline(record, baseline, metrics),
        alerts=[
            records
            for records in episodes.values()
            if (ended := records[-1].ends_at_ms) is None or ended > since_ms
        ],
    )


def _print(found: Degradation, last: str) -> None:
    record, baseline = found.figures, found.baseline
    rung = f", maturity {record.maturity}" if record.maturity else ""
    print_wrapped(
        f"{record.model_name} {record.model_version}, {record.window} from "
        f"{minute(record.window_start_ms)}{rung}{'' if record.final else ', not final'}; "
        + origin_of(baseline)
    )
    print_differences(record, baseline, found.differences)
    print_table(
        ["Severity", "Status", "Since", "Until", "Segment", "Rule", "Why", "ID"],
        [
            (
                records[-1].severity,
                records[-1].status,
                minute(records[-1].starts_at_ms),
                minute(records[-1].ends_at_ms),
                records[-1].segment,
                records[-1].rule,
                why_fired(records) or "-",
                records[-1].alert_id,
            )
            for records in found.alerts
        ],
        empty=f"no alert about these figures was open in the last {last}",
        optional=("Segment", "Until"),
    )


def origin_of(baseline: dict[str, Any] | None) -> str:
    """Of which rows a baseline is."""
    if baseline is None:
        return "no baseline is recorded at this maturity"
    rows = baseline.get("n") or baseline.get("n_predictions") or 0
    span = baseline.get("span")
    return "baseline" + (
        f" of {minute(span[0])} to {minute(span[1])}, {number(rows)} rows"
        if span
        else f" recorded by {baseline.get('recorded_by') or 'a person'}"
    )


def from_baseline(
    record: WindowFigures, baseline: dict[str, Any] | None, metrics: Sequence[str]
) -> list[Difference]:
    """Per metric of a window, the difference to the baseline; without one, only the value."""
    usual = baseline or {"metrics": {}}
    return [
        difference(name, (usual["metrics"], usual.get("ci", {})), (record.metrics, record.ci))
        for name in metrics
        if name in record.metrics
    ]


def print_differences(
    record: WindowFigures, baseline: dict[str, Any] | None, differences: Sequence[Difference]
) -> None:
    """A table of metrics with baseline, value, difference, and what it says."""
    print_table(
        ["Metric", ">Baseline", ">Now", ">Difference", "Change"],
        [_row(record, baseline, each) for each in differences],
        empty="none of the metrics is computed",
    )


def _row(
    record: WindowFigures, baseline: dict[str, Any] | None, each: Difference
) -> tuple[str, ...]:
    name = each.metric
    limits = (baseline or {}).get("ci", {}).get(name)
    now = metric_cell(name, record.metrics, record.ci, record.null_reasons, between=" ")
    usual = "-" if each.a is None else value_cell(name, each.a, limits, " ")
    if each.difference is None:
        return name, usual, now, "-", "-"
    interval = None if each.low is None or each.high is None else (each.low, each.high)
    return name, usual, now, value_cell(name, each.difference, interval, " "), change(each)


def change(found: Difference) -> str:
    """What a difference says, in words: only one whose whole interval is on one side is clear.

    Examples
    --------
    >>> fell = Difference(metric="f1", a=0.8, b=0.6, difference=-0.2, low=-0.3, high=-0.1)
    >>> change(fell)
    'worse by 25.0 %'
    """
    words = {"no_value": "-", "not_clear": "not clear"}
    word = direction(found)
    if word in words or not found.a or found.difference is None:
        return words.get(word, word)
    return f"{word} by {share(abs(found.difference / found.a))}"
