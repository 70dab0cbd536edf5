"""Facts that stage 2 reports to the registry: a version's first sight, its reference profile, and
its baselines.

A reference is made of a span of the stream, by default the first 30 days of a version, as soon as
that is complete; baselines are the figures of the same span at each rung. They come into force when
the registry hands them back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

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
from driftline.streams.measure.figures.records import chosen
from driftline.streams.measure.figures.series_figures import compute_figures
from driftline.streams.measure.timing.windows import DueWindow
from driftline.streams.metrics.metric import Metric
from driftline.streams.stage import Record, State

BY: Final = "driftline"
NO_MATURITY: Final = "-"


class RegistryReporter:
    """Makes the facts of all models of a task."""

    def __init__(
        self,
        metrics: Sequence[Metric],
        panes: Panes,
        targets: TargetReader,
        evaluator: WindowGatherer,
    ) -> None:
        self._metrics = metrics
        self._panes = panes
        self._targets = targets
        self._evaluator = evaluator

    def first_sights(
        self, model: MeasuredModel, versions: Sequence[str], now_ms: int
    ) -> Iterator[Record]:
        """A `register` command for each version that is new to the stream and to the registry."""
        for name in versions:
            version = model.facts.versions[name]
            if version.announced:
                continue
            version.announced = True
            if name not in model.facts.registry:
                yield _command(
                    model, name, "register", "first", now_ms, {}, "first seen in the stream"
                )

    def of_traffic(
        self,
        model: MeasuredModel,
        versions: Sequence[str],
        grain_ms: int,
        now_ms: int,
        state: State,
    ) -> Iterator[Record]:
        """`record_reference`, and the baseline of the traffic lane, for versions whose span is
        complete.
        """
        for name in versions:
            version = model.facts.versions[name]
            span = span_of(model, name, version)
            if version.reference_made or now_ms < span[1]:
                continue
            version.reference_made = True
            start_ms, end_ms = (edge // grain_ms * grain_ms for edge in span)
            found = self._targets.read(model, name, start_ms, end_ms, grain_ms, state)
            rows = found[ALL][0] if ALL in found else 0
            if not rows:
                continue
            edges = [format_time(start_ms), format_time(end_ms)]
            registered = model.facts.registry.get(name)
            if registered is None or registered.reference_id is None:
                reference_id = f"{name}@{edges[0]}/{edges[1]}"
                params = {
                    "reference_id": reference_id,
                    "span": edges,
                    "profile": profile_to_plain(rows, found, grains_per_day(grain_ms)),
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
                model, name, TRAFFIC, 0, NO_MATURITY, (start_ms, end_ms), now_ms, state
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
            span = span_of(model, name, version)
            while (
                version.baselines < len(ladder) and span[1] + ladder[version.baselines].ms <= now_ms
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
        span: tuple[int, int],
        now_ms: int,
        state: State,
    ) -> Iterator[Record]:
        start_ms, end_ms = span
        first_day, last_day = -(-start_ms // DAY_MS) * DAY_MS, end_ms // DAY_MS * DAY_MS
        spans = [span, *((day, day + DAY_MS) for day in range(first_day, last_day, DAY_MS))]
        jobs = [
            WindowJob(
                DueWindow(
                    "baseline",
                    "tumbling",
                    end - start,
                    end,
                    rung,
                    maturity,
                    False,
                    1,
                    now_ms,
                    start,
                ),
                self._panes.span(model.number, lane, start, end, state),
                start,
                frozenset((version,)),
            )
            for start, end in spans
        ]
        (evaluated,) = self._evaluator.evaluate(
            lane, [(model, [job for job in jobs if job.chunks])]
        )
        rows = [
            (window, window.series.index((version, ALL)))
            for window in evaluated
            if (version, ALL) in window.series
        ]
        if not rows or rows[0][0].job is not jobs[0]:
            return
        layout = rows[0][0].block.layout
        dense = np.stack([window.dense[row] for window, row in rows])
        counts = layout.counts(
            dense, np.array([window.job.due.size_ms for window, _ in rows], np.int64)
        )
        metrics = chosen(self._metrics, lane, model)
        drawn = compute_figures(metrics, counts, problem=layout.problem, bounded=False)
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
            "metrics": drawn.values[0],
            "ci": {name: list(pair) for name, pair in drawn.intervals[0].items()},
            "daily_variance": _variance(drawn.values[1:]),
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


def span_of(model: MeasuredModel, name: str, version: StreamVersion) -> tuple[int, int]:
    """Start and end of the reference span of a version."""
    registered = model.facts.registry.get(name)
    if registered is not None and registered.span is not None:
        return registered.span
    reference = model.config.reference
    if reference.from_ms is not None and reference.to_ms is not None:
        return reference.from_ms, reference.to_ms
    return version.first_ms, version.first_ms + (reference.span_ms or 30 * DAY_MS)


def _variance(days: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Sample variance between days of each metric that at least two days have."""
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
        requested_by=BY,
        reason=reason,
    )
    return Record(topics.REGISTRY_COMMANDS, value)
