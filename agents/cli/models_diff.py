"""`driftline models diff`: what differs between two versions, or in one version since a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.agents.cli.alert_source import source_options
from driftline.agents.cli.figure_cells import check_metrics
from driftline.agents.cli.figure_options import lane_option, metric_option, segment_option
from driftline.agents.cli.models_show import field_text
from driftline.agents.cli.output import WrongInput, example, json_option, minute, time_option
from driftline.agents.cli.performance_compare import (
    Comparison,
    compared,
    newest_of_both,
    side_by_side,
)
from driftline.agents.cli.performance_degradation import origin_of
from driftline.agents.cli.result_source import place_of, read_results
from driftline.agents.cli.tables import print_table, print_wrapped
from driftline.agents.read_model.series_order import rung_order, usual_metrics
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.agents.read_model.figure_reads import FigureReads, Series
    from driftline.agents.read_model.read_model import Reads
    from driftline.schemas.results import ModelLabels, ModelRules, RegistryEntry, WindowFigures
    from driftline.streams.registry.entry_difference import FieldDifference


@dataclass(kw_only=True)
class State:
    """What the registry had of a version and of its model, at a time."""

    entry: RegistryEntry
    labels: ModelLabels | None
    rules: ModelRules | None


@dataclass(kw_only=True)
class VersionDifference:
    """Two states of the registry and the figures that belong to them.

    Attributes
    ----------
    since
        The time of `a`; null if both are in force now.
    version_fields, model_fields
        What differs in the entries, and in labels and rules of the model.
    figures
        Null without a window of both.
    """

    since: str | None
    a: RegistryEntry
    b: RegistryEntry
    version_fields: list[FieldDifference]
    model_fields: list[FieldDifference]
    figures: Comparison | None


@click.command(
    "diff",
    epilog=example(
        "driftline models diff churn 1.4.2 1.5.0",
        "driftline models diff churn 1.4.2 --since 2025-06-05T00:00:00Z",
        "driftline models diff churn 1.4.2 1.5.0 --metric f1 --json --broker broker:9092",
    ),
)
@click.argument("name", metavar="NAME")
@click.argument("a", metavar="VERSION_A")
@click.argument("b", metavar="[VERSION_B]", required=False)
@click.option(
    "--since",
    metavar="TIME",
    help="Take VERSION_A as it was at this time, in RFC 3339; VERSION_B is by default VERSION_A as "
    "it is now.",
)
@segment_option
@lane_option
@click.option("--window", help="Of which window; by default that of a day, or the nearest to one.")
@metric_option
@source_options
@json_option
def diff(
    name: str,
    a: str,
    b: str | None,
    since: str | None,
    out: Path,
    broker: str | None,
    config: Path | None,
    segment: str,
    lane: str,
    window: str | None,
    metrics: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what differs between two versions of a model: fields of the registry, and figures with
    their difference.

    Figures are those of the newest window with rows of both, else of the newest window of each.
    With --since, those of VERSION_A are the newest that were complete at that time. The difference
    has a 95 % interval as of independent rows.
    """
    from driftline.streams.registry.entry_difference import entry_differences, model_differences

    if b is None and since is None:
        raise WrongInput(
            "name two versions, or one and --since TIME, to compare it with itself at that time"
        )
    since_ms = None if since is None else time_option("--since", since)
    with read_results(out, broker, config) as reads:
        place = place_of(out, broker)
        before = _state(reads, place, name, a, since_ms)
        after = _state(reads, place, name, b or a, None)
        pair = _figures(reads.figures, name, (a, b or a), segment, lane, window, since_ms)
    found = VersionDifference(
        since=since,
        a=before.entry,
        b=after.entry,
        version_fields=entry_differences(before.entry, after.entry),
        model_fields=model_differences((before.labels, before.rules), (after.labels, after.rules)),
        figures=None if pair is None else compared(*pair, metrics or usual_metrics(lane)),
    )
    check_metrics(metrics, pair or ())
    if as_json:
        print_json(found)
    else:
        _print(found, segment, lane, window)


def _print(found: VersionDifference, segment: str, lane: str, window: str | None) -> None:
    a, b = found.a.model_version, found.b.model_version
    if found.since is not None:
        a, b = f"{a} at {minute(found.since)}", f"{b} now"
    print_wrapped(f"{found.a.model_name}: {a} and {b}")
    print_table(
        ["Field", a, b],
        [
            (each.field, *(_cell(each.field, value) for value in (each.a, each.b)))
            for each in [*found.version_fields, *found.model_fields]
        ],
        empty="no field of the registry differs",
    )
    if found.figures is None:
        named = f" {window}" if window else ""
        print_wrapped(
            f"there is no window{named} of segment {segment} in the {lane} lane to compare"
        )
        return
    of_a, of_b = found.figures.a, found.figures.b
    starts = list(dict.fromkeys(minute(each.window_start_ms) for each in (of_a, of_b)))
    rung = f", maturity {of_a.maturity}" if of_a.maturity else ""
    print_wrapped(
        f"{of_a.window} from {' and from '.join(starts)}{rung}"
        + ("" if len(starts) == 1 else ": the difference is one of times as well")
    )
    print_table(["Metric", f">{a}", f">{b}", ">Difference"], side_by_side(found.figures), empty="")


def _cell(field: str, value: Any) -> str:
    is_baseline = field.startswith("baselines.") and value is not None
    return origin_of(value) if is_baseline else field_text(value)


def _state(reads: Reads, place: str, name: str, version: str, at_ms: int | None) -> State:
    """What the registry has of a version now, or had at a time.

    Raises
    ------
    WrongInput
        If the version is not registered, or was not then.
    """
    from driftline.agents.model_facts import UnknownVersion, find_entry
    from driftline.schemas.results import ModelLabels, ModelRules, RegistryEvent
    from driftline.schemas.times import format_time
    from driftline.schemas.topics import MODEL_LABELS, MODEL_RULES, REGISTRY_EVENTS
    from driftline.streams.registry.history import as_of
    from driftline.streams.registry.model_state import MODEL

    try:
        entry, _ = find_entry(reads, f"{name}@{version}")
    except UnknownVersion as error:
        raise WrongInput(f"{place}: {error}") from error
    if at_ms is None:
        return State(
            entry=entry,
            labels=next(reads.records.latest(MODEL_LABELS, ModelLabels, model_name=name), None),
            rules=next(reads.records.latest(MODEL_RULES, ModelRules, model_name=name), None),
        )
    try:
        models = as_of(
            reads.records.all(REGISTRY_EVENTS, RegistryEvent, model_name=name), at_ms=at_ms
        )
    except ValueError as error:
        raise WrongInput(f"{place}: {error}") from error
    model = models.get(name)
    if model is None or model.version(version) is None:
        raise WrongInput(
            f"{name} {version} was not registered at {format_time(at_ms)}, but at "
            f"{entry.registered_at or 'an unknown time'}; name a later time with --since"
        )
    is_set = model.version(MODEL) is not None
    return State(
        entry=model.entry(version),
        labels=model.labels() if is_set else None,
        rules=model.rules() if is_set else None,
    )


def _figures(
    figures: FigureReads,
    name: str,
    versions: tuple[str, str],
    segment: str,
    lane: str,
    window: str | None,
    since_ms: int | None,
) -> tuple[WindowFigures, WindowFigures] | None:
    """The records to compare; None without any."""
    from driftline.agents.read_model.figure_reads import SeriesFilter, only, window_of_a_day

    of_a, of_b = (
        figures.series(
            SeriesFilter(model_name=name, model_version=version, segment=segment, lane=lane)
        )
        for version in versions
    )
    if window is None:
        window = window_of_a_day(of_a)
    elif window not in (known := sorted({each.window for each in [*of_a, *of_b]})):
        raise WrongInput(f'there is no window "{window}"; there are {", ".join(known) or "none"}')
    a, b = (
        {each.maturity: each for each in series if each.window == window} for series in (of_a, of_b)
    )
    if since_ms is None:
        return newest_of_both(figures, a, b)
    rungs = sorted(a.keys() & b.keys(), key=rung_order)
    if not rungs:
        return None
    then = _newest_complete(figures, a[rungs[-1]], since_ms)
    now = next(figures.newest_whole(only(b[rungs[-1]])), None)
    return None if then is None or now is None else (then, now)


def _newest_complete(figures: FigureReads, series: Series, at_ms: int) -> WindowFigures | None:
    """The newest window with rows that data cover as a whole and whose figures were complete at a
    time.
    """
    from driftline.schemas.results import WHOLE_SHARE

    for start in reversed([start for start in figures.starts(series) if start < at_ms]):
        record = figures.at(series, start)
        if (
            record is not None
            and record.complete_at_ms <= at_ms
            and record.covered_share >= WHOLE_SHARE
        ):
            return record
    return None
