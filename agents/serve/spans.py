"""The span of event time that a question is about."""

from __future__ import annotations

from driftline.agents.read_model.figure_reads import ALWAYS, Span
from driftline.agents.serve.route import AtQuery, Edge, Unanswerable
from driftline.agents.serve.series_choice import SeriesQuery, known_at
from driftline.schemas.times import format_time


class SpanQuery(AtQuery, kw_only=True, frozen=True):
    """Parameters that choose a span of time.

    Attributes
    ----------
    since
        Only what ends after this time.
    until
        Only what ends at this time or before.
    """

    since: Edge | None = None
    until: Edge | None = None


class SeriesSpanQuery(SeriesQuery, kw_only=True, frozen=True):
    """Parameters that choose a span of a series.

    Attributes
    ----------
    since
        Only windows that end after this time.
    until
        Only windows that end at this time or before.
    """

    since: Edge | None = None
    until: Edge | None = None


def chosen_span(
    query: SpanQuery | SeriesSpanQuery, newest_ms: int | None, *, provisional: bool = False
) -> Span:
    """The span of a question.

    Parameters
    ----------
    newest_ms
        End of the newest data, from which durations count back; None without any.

    Raises
    ------
    Unanswerable
        If it ends before it begins.
    """
    newest = 0 if newest_ms is None else newest_ms
    since_ms = -ALWAYS if query.since is None else query.since.before(newest)
    until_ms = ALWAYS if query.until is None else query.until.before(newest)
    if since_ms > until_ms:
        raise Unanswerable(
            parameter="since",
            needed="a time before that of `until`",
            got=f"{format_time(max(since_ms, 0))}, after {format_time(max(until_ms, 0))}",
            remedy="exchange them",
        )
    return Span(
        since_ms=since_ms,
        until_ms=until_ms,
        known_at_ms=known_at(query.at),
        provisional=provisional,
    )
