"""Drift: the newest test of each target, and levels over time."""

from __future__ import annotations

from typing import Final

from driftline.agents.read_model.drift_order import by_size
from driftline.agents.read_model.drift_reads import DriftFilter, DriftPoint
from driftline.agents.serve.answers.drift import DriftHistory, DriftLine, DriftNow
from driftline.agents.serve.pages import one_page
from driftline.agents.serve.route import AtQuery, Limit, Moment, Name, Route, Table
from driftline.agents.serve.series_choice import chosen_version, known_at, missing
from driftline.agents.serve.spans import SpanQuery, chosen_span
from driftline.agents.serve.view import View
from driftline.schemas.times import EpochMs
from driftline.streams.lanes import ALL

DRIFTED: Final = ("moderate", "severe")


class DriftQuery(AtQuery, kw_only=True, frozen=True):
    """Parameters of `/drift`.

    Attributes
    ----------
    model
        Name of the model.
    version
        Its version; by default that in production, else the one with the newest data.
    segment
        "all", or "dimension=value".
    target
        Only this one: "feature:NAME", "score", "prediction" or "label".
    window
        Only this detection window.
    start
        The tests of the window that begins then, instead of the newest ones.
    limit
        Number of entries of one answer, at most.
    after
        `page.next` of the answer before.
    """

    model: Name
    version: Name | None = None
    segment: Name = ALL
    target: Name | None = None
    window: Name | None = None
    start: Moment | None = None
    limit: Limit = 1_000
    after: Name | None = None


class DriftHistoryQuery(SpanQuery, kw_only=True, frozen=True):
    """Parameters of `/drift/history`.

    Attributes
    ----------
    model
        Name of the model.
    version
        Its version; by default that in production, else the one with the newest data.
    segment
        "all", or "dimension=value".
    target
        Only this one: "feature:NAME", "score", "prediction" or "label".
    window
        The detection window; by default the first one by name.
    limit
        Number of targets of one answer, at most.
    after
        `page.next` of the answer before.
    """

    model: Name
    version: Name | None = None
    segment: Name = ALL
    target: Name | None = None
    window: Name | None = None
    limit: Limit = 1_000
    after: Name | None = None


def drift(view: View, query: DriftQuery) -> DriftNow:
    """The newest test of each target against the reference in force, the largest shift first."""
    version = chosen_version(view, query.model, query.version, query.at)
    wanted = DriftFilter(
        model_name=query.model,
        model_version=version,
        segment=query.segment,
        target=query.target,
        window=query.window,
    )
    found = sorted(view.reads.drift.newest(wanted, known_at_ms=known_at(query.at)), key=by_size)
    shown, page = one_page(found, query, lambda each: each.key())
    return DriftNow(tests=shown, page=page)


def history(view: View, query: DriftHistoryQuery) -> DriftHistory:
    """The level of each target over time, for a heat map, those that drifted most first."""
    version = chosen_version(view, query.model, query.version, query.at)
    names = {"model_name": query.model, "model_version": version, "segment": query.segment}
    windows = sorted({each[2] for each in view.reads.drift.targets(DriftFilter(**names))})
    window = query.window or (windows[0] if windows else "")
    if query.window is not None and query.window not in windows:
        raise missing("window", query.window, windows)
    wanted = DriftFilter(**names, target=query.target, window=window)
    span = chosen_span(query, view.reads.drift.newest_end(wanted) or None)
    tests: dict[tuple[str, str], dict[int, DriftPoint]] = {}
    ends: dict[int, int] = {}
    for each in view.reads.drift.points(wanted, span):
        tests.setdefault((each.target, each.method), {})[each.window_start_ms] = each
        ends[each.window_start_ms] = each.window_end_ms
    starts = sorted(ends)
    lines = [
        _line(target, method, [found.get(start) for start in starts])
        for (target, method), found in tests.items()
    ]
    lines.sort(key=lambda each: (-each.n_drifted, each.target, each.method))
    shown, page = one_page(lines, query, lambda each: f"{each.target}\n{each.method}")
    return DriftHistory(
        model_name=query.model,
        model_version=version,
        segment=query.segment,
        window=window,
        window_start_ms=list(map(EpochMs, starts)),
        window_end_ms=[EpochMs(ends[start]) for start in starts],
        lines=shown,
        page=page,
    )


def _line(target: str, method: str, tests: list[DriftPoint | None]) -> DriftLine:
    return DriftLine(
        target=target,
        method=method,
        level=[None if each is None else each.level for each in tests],
        effect=[None if each is None else each.effect for each in tests],
        p_adjusted=[None if each is None else _probability(each) for each in tests],
        n_current=[None if each is None else each.n_current for each in tests],
        n_drifted=sum(each is not None and each.level in DRIFTED for each in tests),
    )


def _probability(test: DriftPoint) -> float | None:
    return test.p_value if test.p_adjusted is None else test.p_adjusted


def _now_table(answer: DriftNow) -> Table:
    columns = (
        "target method window window_start window_end level effect statistic p_value p_adjusted"
        " n_reference n_current n_effective reason"
    ).split()
    rows: list[list[object]] = [
        [
            each.target,
            each.method,
            each.window,
            each.window_start_ms,
            each.window_end_ms,
            each.level,
            each.effect,
            each.statistic,
            each.p_value,
            each.p_adjusted,
            each.n_reference,
            each.n_current,
            each.n_effective,
            each.reason,
        ]
        for each in answer.tests
    ]
    return columns, rows


def _history_table(answer: DriftHistory) -> Table:
    columns = "target method window_start window_end level effect p_adjusted n_current".split()
    rows: list[list[object]] = [
        [
            line.target,
            line.method,
            start,
            answer.window_end_ms[at],
            line.level[at],
            line.effect[at],
            line.p_adjusted[at],
            line.n_current[at],
        ]
        for line in answer.lines
        for at, start in enumerate(answer.window_start_ms)
        if line.level[at] is not None
    ]
    return columns, rows


ROUTES: Final = (
    Route(path="/drift", query=DriftQuery, answer=DriftNow, read=drift, table=_now_table),
    Route(
        path="/drift/history",
        query=DriftHistoryQuery,
        answer=DriftHistory,
        read=history,
        table=_history_table,
    ),
)
