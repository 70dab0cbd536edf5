"""Which version, window and rung a question is about, with the defaults of what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final, Literal

from driftline.agents.model_status import at_judged_rung
from driftline.agents.read_model.figure_reads import (
    ALWAYS,
    Series,
    SeriesFilter,
    only,
    window_of_a_day,
)
from driftline.agents.read_model.read_model import Reads
from driftline.agents.read_model.series_order import rung_order, window_order
from driftline.agents.serve.answers.figures import SeriesName
from driftline.agents.serve.in_force import entries_at
from driftline.agents.serve.route import AtQuery, Moment, Name, Unanswerable, shown
from driftline.agents.serve.view import View
from driftline.schemas.results import WindowFigures
from driftline.schemas.times import format_time
from driftline.streams.lanes import ALL

Lane = Literal["decisions", "arrivals", "traffic"]
JUDGED: Final = "judged"
LAST: Final = "last"
_NAMED: Final = 10


class SeriesQuery(AtQuery, kw_only=True, frozen=True):
    """Parameters that choose a series.

    Attributes
    ----------
    model
        Name of the model.
    version
        Its version; by default that in production, else the one with the newest data.
    segment
        "all", or "dimension=value".
    lane
        "decisions" has figures by time of the prediction, "arrivals" by time of the truth, and
        "traffic" those of predictions alone.
    window
        Name of the window; by default the largest one of at most a day.
    maturity
        A rung of the ladder; "judged" is the first with 95 % of the labels, "last" the final one.
    """

    model: Name
    version: Name | None = None
    segment: Name = ALL
    lane: Lane = "decisions"
    window: Name | None = None
    maturity: Name = JUDGED


class WindowQuery(SeriesQuery, kw_only=True, frozen=True):
    """Parameters that choose one window of a series.

    Attributes
    ----------
    start
        Begin of the window; by default the newest one that data cover.
    """

    start: Moment | None = None


def known_at(at: Moment | None) -> int:
    """The frontier up to which figures are shown."""
    return ALWAYS if at is None else int(at)


def known_versions(reads: Reads, at: Moment | None) -> list[tuple[str, str]]:
    """Model and version of everything that is registered, or has figures, in order."""
    named = {(each.model_name, each.model_version) for each in entries_at(reads, at)}
    if at is None:
        named |= {
            (each.model_name, each.model_version)
            for each in reads.figures.series(SeriesFilter(segment=ALL))
        }
    return sorted(version for version in named if version[0])


def chosen_version(view: View, model: str, version: str | None, at: Moment | None) -> str:
    """The version of a question: the named one, that in production, or the one with the newest
    data.

    Raises
    ------
    Unanswerable
        If there is no such model or version; the message lists what there is.
    """
    entries = entries_at(view.reads, at, model_name=model)
    series = view.reads.figures.series(SeriesFilter(model_name=model, segment=ALL))
    versions = sorted(
        {each.model_version for each in entries} | {each.model_version for each in series}
    )
    if not versions:
        known = sorted({name for name, _ in known_versions(view.reads, at)})
        raise missing("model", model, known)
    if version is not None:
        if version not in versions:
            raise missing("version", version, versions)
        return version
    champion = [each.model_version for each in entries if each.stage == "production"]
    if champion:
        return champion[0]
    predictions = view.reads.figures.predictions(model_name=model, known_at_ms=known_at(at))
    return max(versions, key=lambda each: (predictions.get((model, each), (0, 0))[1], each))


def missing(parameter: str, name: str, known: Sequence[str]) -> Unanswerable:
    """What to say of a name that is not there."""
    near = get_close_matches(name, known, n=_NAMED, cutoff=0.0) or list(known[:_NAMED])
    listed = ", ".join(map(shown, near))
    more = f" and {len(known) - len(near)} more" if len(known) > len(near) else ""
    return Unanswerable(
        status=404,
        parameter=parameter,
        needed=f"a {parameter} that is there" + (f": {listed}{more}" if known else ""),
        got=shown(name),
        remedy=f"name one of them, or ask /api/{'models' if parameter == 'model' else 'model'}"
        if known
        else "nothing is known yet: wait for the first figures",
    )


def rungs_of(view: View, query: SeriesQuery) -> list[Series]:
    """The series of a question at all rungs, the first rung first.

    Raises
    ------
    Unanswerable
        If there is none; the message lists what there is.
    """
    version = chosen_version(view, query.model, query.version, query.at)
    found = view.reads.figures.series(
        SeriesFilter(model_name=query.model, model_version=version, lane=query.lane)
    )
    found = [each for each in found if each.kind]
    segments = sorted({each.segment for each in found}, key=lambda name: (name != ALL, name))
    of_segment = [each for each in found if each.segment == query.segment]
    if not of_segment:
        raise missing("segment", query.segment, segments)
    window = window_of_a_day(of_segment) if query.window is None else query.window
    rungs = [each for each in of_segment if each.window == window]
    if not rungs:
        windows = {(window_order(each.window, each.kind), each.window) for each in of_segment}
        raise missing("window", query.window or "", [name for _, name in sorted(windows)])
    return sorted(rungs, key=lambda each: rung_order(each.maturity))


def chosen_series(view: View, query: SeriesQuery) -> Series:
    """The series of a question.

    Raises
    ------
    Unanswerable
        As `rungs_of`, or if there is no such rung.
    """
    return of_rung(view, query, rungs_of(view, query))


def of_rung(view: View, query: SeriesQuery, rungs: Sequence[Series]) -> Series:
    """The series at the rung of a question.

    Raises
    ------
    Unanswerable
        If there is no such rung.
    """
    by_name = {each.maturity: each for each in rungs}
    if None in by_name or query.maturity == LAST:
        return rungs[-1]
    if query.maturity != JUDGED:
        if query.maturity not in by_name:
            raise missing("maturity", query.maturity, [JUDGED, LAST, *map(str, by_name)])
        return by_name[query.maturity]
    records = [
        record
        for each in rungs
        for record in view.reads.figures.newest_whole(only(each), known_at_ms=known_at(query.at))
    ]
    return by_name[at_judged_rung(records).maturity] if records else rungs[-1]


def chosen_window(view: View, query: WindowQuery, series: Series) -> WindowFigures:
    """The window of a question.

    Raises
    ------
    Unanswerable
        If there is none.
    """
    figures, limit_ms = view.reads.figures, known_at(query.at)
    if query.start is None:
        record = next(figures.newest_whole(only(series), known_at_ms=limit_ms), None)
    else:
        record = figures.at(series, query.start)
        if record is not None and record.complete_at_ms > limit_ms:
            record = None
    if record is None:
        known = figures.span(series, known_at_ms=limit_ms)
        listed = (
            "" if known is None else f": from {format_time(known[0])} to {format_time(known[1])}"
        )
        raise Unanswerable(
            status=404,
            parameter="start",
            needed=f"a window of {series.window} that is complete{listed}",
            got=None if query.start is None else format_time(query.start),
            remedy="leave `start` out for the newest one"
            if known
            else "wait for the first figures",
        )
    return record


def no_ladder(lane: str) -> Unanswerable:
    """What to say where rungs are asked for, and the lane has none."""
    return Unanswerable(
        parameter="lane",
        needed="a lane with a maturity ladder: decisions",
        got=lane,
        remedy="leave `lane` out",
    )


def name_of(series: Series) -> SeriesName:
    """The series in an answer."""
    return SeriesName(
        model_name=series.model_name,
        model_version=series.model_version,
        segment=series.segment,
        lane=series.lane,
        window=series.window,
        kind=series.kind,
        maturity=series.maturity,
    )
