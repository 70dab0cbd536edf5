"""How truths arrive, and how far the pipeline has come."""

from __future__ import annotations

from typing import Final

import numpy as np

from driftline.agents.read_model.figure_reads import Series, SeriesFilter
from driftline.agents.serve.answers.pipeline import (
    Delays,
    DelayStep,
    ModelProgress,
    Pipeline,
    TopicProgress,
)
from driftline.agents.serve.columns import numbers, times
from driftline.agents.serve.route import Query, Route, Table
from driftline.agents.serve.series_choice import (
    known_versions,
    name_of,
    no_ladder,
    rungs_of,
)
from driftline.agents.serve.spans import SeriesSpanQuery, chosen_span
from driftline.agents.serve.view import View
from driftline.schemas.times import SECOND_MS, EpochMs
from driftline.streams.intervals import wilson
from driftline.streams.lanes import ALL


class DelaysQuery(SeriesSpanQuery, kw_only=True, frozen=True):
    """Parameters of `/delays`.

    Attributes
    ----------
    maturity
        Leave it out: the answer has all rungs.
    """


def delays(view: View, query: DelaysQuery) -> Delays:
    """How truths arrive: the share of the predictions that have one by each rung, over the final
    windows of a span, and the delay of the truths over time.
    """
    rungs = rungs_of(view, query)
    last = rungs[-1]
    if last.maturity is None:
        raise no_ladder(query.lane)
    known = view.reads.figures.span(last)
    span = chosen_span(query, None if known is None else known[1])
    final = view.reads.figures.curve(last, ["delay_p50", "delay_p95"], span)
    starts = set(final.start_ms[final.final].tolist())
    of_rungs = [view.reads.figures.curve(each, [], span) for each in rungs]
    counted = [
        (int(each.n[chosen].sum()), int(each.n_predictions[chosen].sum()))
        for each in of_rungs
        for chosen in [np.isin(each.start_ms, list(starts))]
    ]
    in_the_end, predictions = counted[-1]
    steps = [_step(series, *each, in_the_end) for series, each in zip(rungs, counted, strict=True)]
    p50, p95 = (
        numbers((final.value[name] / SECOND_MS).round(3)) for name in ("delay_p50", "delay_p95")
    )
    return Delays(
        series=name_of(last),
        n_windows=len(starts),
        steps=steps,
        never_share=1.0 - in_the_end / predictions if predictions else None,
        window_end_ms=times(final.end_ms),
        p50_seconds=p50,
        p95_seconds=p95,
    )


def _step(series: Series, n: int, n_predictions: int, in_the_end: int) -> DelayStep:
    low, high = (float(limit[0]) for limit in wilson(np.array([n]), np.array([n_predictions])))
    return DelayStep(
        rung=str(series.maturity),
        coverage=n / n_predictions if n_predictions else None,
        low=low if n_predictions else None,
        high=high if n_predictions else None,
        completeness=n / in_the_end if in_the_end else None,
        n=n,
        n_predictions=n_predictions,
    )


def pipeline(view: View, query: Query) -> Pipeline:
    """How far the figures of each version have come, how far this server has read the results, and
    the lag of the inputs on a broker.
    """
    frontiers = {
        (name, version): reached
        for name, version in known_versions(view.reads, None)
        if (
            reached := view.reads.figures.frontier(
                SeriesFilter(model_name=name, model_version=version, segment=ALL)
            )
        )
        is not None
    }
    furthest = max(frontiers.values(), default=None)
    follower = view.server.follower
    partitions, looked_ms = follower.partitions()
    with follower.model() as model:
        index = model.index_path
    return Pipeline(
        source=follower.source(),
        frontier_ms=None if furthest is None else EpochMs(furthest),
        models=[
            ModelProgress(
                model_name=name,
                model_version=version,
                frontier_ms=EpochMs(reached),
                lag_seconds=((furthest or reached) - reached) / SECOND_MS,
            )
            for (name, version), reached in sorted(
                frontiers.items(), key=lambda each: (each[1], each[0])
            )
        ],
        topics=[
            TopicProgress(topic=topic, partition=partition, position=position)
            for topic, partition, position in view.reads.positions
        ],
        partitions=partitions,
        partitions_at_ms=looked_ms,
        broker_note=_note(view, looked_ms),
        index_bytes=index.stat().st_size if index.exists() else 0,
    )


def _note(view: View, looked_ms: EpochMs | None) -> str | None:
    if view.server.folder is not None:
        return "the results are those of a folder: inputs are read by the run that writes it"
    return "the broker has not been asked yet" if looked_ms is None else None


def _delays_table(answer: Delays) -> Table:
    names = list(DelayStep.__struct_fields__)
    return names, [[getattr(each, name) for name in names] for each in answer.steps]


def _pipeline_table(answer: Pipeline) -> Table:
    return (
        ["model_name", "model_version", "frontier", "lag_seconds"],
        [
            [each.model_name, each.model_version, each.frontier_ms, each.lag_seconds]
            for each in answer.models
        ],
    )


ROUTES: Final = (
    Route(path="/delays", query=DelaysQuery, answer=Delays, read=delays, table=_delays_table),
    Route(
        path="/pipeline",
        query=Query,
        answer=Pipeline,
        read=pipeline,
        table=_pipeline_table,
        is_timeless=False,
    ),
)
