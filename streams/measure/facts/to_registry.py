"""Facts that stage 2 reports to the registry: new versions, reference profiles and baselines.

A reference is computed from a span of the stream, by default the first 30 days of a version, as
soon as that is complete; baselines are the figures of the same span at each rung. They are in force
once the registry returns them in an entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from driftline.schemas import topics
from driftline.schemas.results import RegistryCommand
from driftline.schemas.times import DAY_MS, format_time
from driftline.streams import lanes
from driftline.streams.lanes import ALL, DECISIONS, TRAFFIC
from driftline.streams.measure.counts.gather import WindowGatherer, WindowJob
from driftline.streams.measure.counts.model import MeasuredModel, StreamVersion
from driftline.streams.measure.counts.panes import Panes
from driftline.streams.measure.drift.profiles import profile_to_plain
from driftline.streams.measure.drift.targets import TargetReader, grains_per_day
from driftline.streams.measure.figures.records import metrics_of_lane
from driftline.streams.measure.figures.series_figures import compute_figures
from driftline.streams.measure.timing.windows import DueWindow
from driftline.streams.metrics.metric import Metric
from driftline.streams.metrics.score_cells import ScoreCells
from driftline.streams.registry.command_params import SYSTEM
from driftline.streams.stage import Record, State

NO_MATURITY: Final = "-"
DEFAULT_REFERENCE_MS: Final = 30 * DAY_MS


class TimeSpan(NamedTuple):
    """Start (included) and end (excluded) of a span of event time."""

    start_ms: int
    end_ms: int


class RegistryReporter:
    """Builds registry commands for all models of a task."""

    def __init__(
        self,
        metrics: Sequence[Metric],
        panes: Panes,
        targets: TargetReader,
        gatherer: WindowGatherer,
    ) -> None:
        self._metrics = metrics
        self._panes = panes
        self._targets = targets
        self._gatherer = gatherer

    def new_versions(
        self, model: MeasuredModel, versions: Sequence[str], now_ms: int
    ) -> Iterator[Record]:
        """A `register` command for each version new to both the stream and the registry."""
        for name in versions:
            version = model.facts.versions[name]
            if version.reported:
                continue
            version.reported = True
            if name not in model.registry.versions:
                yield _command(
                    model, name, "register", "first", now_ms, {}, "first seen in the stream"
                )

    def references(
        self,
        model: MeasuredModel,
        versions: Sequence[str],
        grain_ms: int,
        now_ms: int,
        state: State,
    ) -> Iterator[Record]:
        """`record_reference` and the traffic baseline, for versions whose span became complete."""
        for name in versions:
            version = model.facts.versions[name]
            span = reference_span(model, name, version)
            if version.reference_made or now_ms < span.end_ms:
                continue
            version.reference_made = True
            start_ms, end_ms = (edge // grain_ms * grain_ms for edge in span)
            by_segment = self._targets.read(model, name, start_ms, end_ms, grain_ms, state)
            n = by_segment[ALL].n if ALL in by_segment else 0
            if not n:
                continue
            edges = [format_time(start_ms), format_time(end_ms)]
            registered = model.registry.versions.get(name)
            if registered is None or registered.reference_id is None:
                reference_id = f"{name}@{edges[0]}/{edges[1]}"
                params = {
                    "reference_id": reference_id,
                    "span": edges,
                    "profile": profile_to_plain(n, by_segment, grains_per_day(grain_ms)),
                }
                yield _command(
                    model,
                    name,
                    "record_reference",
                    reference_id,
                    now_ms,
                    params,
                    "the reference span is complete",
                )
            yield from self._baseline(
                model, name, TRAFFIC, 0, NO_MATURITY, TimeSpan(start_ms, end_ms), now_ms, state
            )

    def baselines(
        self, model: MeasuredModel, versions: Sequence[str], now_ms: int, state: State
    ) -> Iterator[Record]:
        """`record_baseline` for each rung at which a version's span has become complete."""
        ladder = model.config.maturity
        for name in versions:
            version = model.facts.versions[name]
            if version.baselines == len(ladder):
                continue
            span = reference_span(model, name, version)
            while (
                version.baselines < len(ladder)
                and span.end_ms + ladder[version.baselines].ms <= now_ms
            ):
                rung = version.baselines
                version.baselines += 1
                yield from self._baseline(
                    model, name, DECISIONS, rung, ladder[rung].name, span, now_ms, state
                )

    def _baseline(
        self,
        model: MeasuredModel,
        version: str,
        lane: int,
        rung: int,
        maturity: str,
        span: TimeSpan,
        now_ms: int,
        state: State,
    ) -> Iterator[Record]:
        start_ms, end_ms = span
        days_ms = range(-(-start_ms // DAY_MS) * DAY_MS, end_ms // DAY_MS * DAY_MS, DAY_MS)
        spans = [span, *(TimeSpan(day_ms, day_ms + DAY_MS) for day_ms in days_ms)]
        jobs = [
            WindowJob(
                DueWindow(
                    window="baseline",
                    kind="tumbling",
                    size_ms=each.end_ms - each.start_ms,
                    end_ms=each.end_ms,
                    rung=rung,
                    maturity=maturity,
                    final=False,
                    complete_at_ms=now_ms,
                    last_final_ms=each.start_ms,
                ),
                self._panes.span(model.number, lane, each.start_ms, each.end_ms, state),
                each.start_ms,
                frozenset((version,)),
            )
            for each in spans
        ]
        (windows,) = self._gatherer.gather(lane, [(model, [job for job in jobs if job.spans])])
        rows = [
            (window, window.series.index((version, ALL)))
            for window in windows
            if (version, ALL) in window.series
        ]
        # The first row is the whole span, then one row for each day.
        if not rows or rows[0][0].job is not jobs[0]:
            return
        layout = rows[0][0].block.layout
        dense = np.stack([window.dense[row] for window, row in rows])
        scores = ScoreCells.joined(
            [(window.block.counts.scores, window.first + row) for window, row in rows]
        )
        counts = layout.counts(
            dense, np.array([window.job.due.size_ms for window, _ in rows], np.int64), scores
        )
        metrics = metrics_of_lane(self._metrics, lane, model)
        figures = compute_figures(metrics, counts, problem=layout.problem, bounded=False)
        n, n_predictions = int(counts.n[0]), int(counts.n_predictions[0])
        edges = [format_time(start_ms), format_time(end_ms)]
        params = {
            "maturity": maturity,
            "span": edges,
            "n": n,
            "n_predictions": n_predictions,
            "label_coverage": round(n / n_predictions, 6)
            if n_predictions and lane != TRAFFIC
            else None,
            "metrics": figures.values[0],
            "ci": {name: list(pair) for name, pair in figures.intervals[0].items()},
            "daily_variance": _daily_variance(figures.values[1:]),
            "days": len(rows) - 1,
        }
        name = f"{lanes.LANE_NAMES[lane]}/{maturity}/{edges[0]}/{edges[1]}"
        yield _command(
            model,
            version,
            "record_baseline",
            name,
            now_ms,
            params,
            f"the reference span is complete at {maturity}",
        )


def reference_span(model: MeasuredModel, name: str, version: StreamVersion) -> TimeSpan:
    """The reference span of a version: from the registry, the configuration, or its first days."""
    registered = model.registry.versions.get(name)
    if registered is not None and registered.span is not None:
        return TimeSpan(*registered.span)
    reference = model.config.reference
    if reference.from_ms is not None and reference.to_ms is not None:
        return TimeSpan(reference.from_ms, reference.to_ms)
    return TimeSpan(
        version.first_ms, version.first_ms + (reference.span_ms or DEFAULT_REFERENCE_MS)
    )


def _daily_variance(days: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Sample variance over the days, of each metric that at least two days have."""
    variances = {}
    for name in days[0] if days else ():
        values = [value for day in days if (value := day[name]) is not None]
        if len(values) > 1:
            variances[name] = float(f"{np.var(values, ddof=1):.6g}")
    return variances


def _command(
    model: MeasuredModel,
    version: str,
    command: str,
    name: str,
    now_ms: int,
    params: dict[str, Any],
    reason: str,
) -> Record:
    value = RegistryCommand(
        command_id=f"{command}/{model.name}/{version}/{name}",
        command=command,
        model_name=model.name,
        model_version=version,
        timestamp=format_time(now_ms),
        params=params,
        requested_by=SYSTEM,
        reason=reason,
    )
    return Record(topics.REGISTRY_COMMANDS, value)
