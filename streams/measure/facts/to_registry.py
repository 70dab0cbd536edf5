"""Facts that stage 2 reports to the registry: new versions, settled classes, reference profiles and
baselines.

A reference is computed from a span of the stream, by default the first 30 days of a version, as
soon as that is complete; baselines are the figures of the same span at each rung. They are in force
once the registry returns them in an entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from driftline.schemas import topics
from driftline.schemas.results import RegistryCommand, to_plain
from driftline.schemas.settings import parse_window
from driftline.schemas.times import DAY_MS, format_time
from driftline.streams import lanes
from driftline.streams.lanes import ALL, COUNT, COUNTER_CODES, DECISIONS, TRAFFIC
from driftline.streams.measure.counts.gather import (
    WindowCounts,
    WindowGatherer,
    WindowJob,
    block_shape,
)
from driftline.streams.measure.counts.model import MeasuredModel, StreamVersion
from driftline.streams.measure.counts.packed_key import counter_key
from driftline.streams.measure.counts.panes import PaneRows, Panes
from driftline.streams.measure.drift.profiles import (
    profile_to_plain,
    unwatched_of_reference,
    watched,
)
from driftline.streams.measure.drift.targets import TargetReader, cycle_of
from driftline.streams.measure.drift.unwatched_features import UNWATCHED_FEATURES
from driftline.streams.measure.figures.losses import Losses
from driftline.streams.measure.figures.records import metrics_of_lane
from driftline.streams.measure.figures.series_figures import compute_figures
from driftline.streams.measure.timing.windows import NEVER_MS, DueWindow
from driftline.streams.metrics.metric import Metric
from driftline.streams.metrics.score_cells import ScoreCells
from driftline.streams.registry.command_params import SYSTEM
from driftline.streams.stage import Record, State
from driftline.streams.work_slices import WorkSlices

NO_MATURITY: Final = "-"
DEFAULT_REFERENCE_MS: Final = 30 * DAY_MS
FEW_ROWS: Final = 20
BURST_SHARE: Final = 1 / 30
"""At most so many rows, within this share of a reference span that holds no others, are taken for
misdated: a day of the default span.
"""


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
        losses: Losses,
    ) -> None:
        self._metrics = metrics
        self._panes = panes
        self._targets = targets
        self._gatherer = gatherer
        self._losses = losses

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

    def labels(self, model: MeasuredModel, now_ms: int) -> Record:
        """`record_labels`: the settled classes, the positive one, and how it is known."""
        facts, configured = model.facts, model.configured_labels
        positive, basis = facts.label_set.positive_class(configured)
        facts.label_records += 1
        params = {
            "labels": list(facts.label_set.judged(configured).names),
            "positive_label": positive,
            "positive_basis": basis,
        }
        return _command(
            model,
            "",
            "record_labels",
            str(facts.label_records),
            now_ms,
            params,
            "the classes are settled",
        )

    def references(
        self,
        models: Sequence[tuple[MeasuredModel, Sequence[str], int]],
        now_ms: int,
        state: State,
    ) -> WorkSlices[list[list[Record]]]:
        """`record_reference` and the traffic baseline, for versions whose span became complete, and
        which features are not watched.

        Parameters
        ----------
        models
            Models with their versions, and the length of their grains in ms.

        Returns
        -------
        list
            The commands of each model.
        """
        planned: list[list[Record | _Baseline]] = []
        for model, versions, grain_ms in models:
            of_model: list[Record | _Baseline] = []
            planned.append(of_model)
            for name in versions:
                version = model.facts.versions[name]
                span = reference_span(model, name, version)
                if version.reference_made or now_ms < span.end_ms:
                    continue
                if self._begins_later(model, name, span, state):
                    version.restarted_ms = NEVER_MS
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
                    of_features = {
                        segment: watched(targets) for segment, targets in by_segment.items()
                    }
                    unwatched = unwatched_of_reference(
                        model, name, (start_ms, end_ms), by_segment, of_features
                    )
                    if unwatched is not None:
                        of_model.append(Record(UNWATCHED_FEATURES, unwatched))
                    window_ms = parse_window(model.config.detection_window).size_ms
                    cycle = cycle_of(grain_ms, end_ms - start_ms, window_ms)
                    profile = yield from profile_to_plain(n, of_features, cycle)
                    reference_id = f"{name}@{edges[0]}/{edges[1]}"
                    params = {
                        "reference_id": reference_id,
                        "span": edges,
                        "profile": profile,
                        **self._lost(TRAFFIC, model, TimeSpan(start_ms, end_ms)),
                    }
                    of_model.append(
                        _command(
                            model,
                            name,
                            "record_reference",
                            reference_id,
                            now_ms,
                            params,
                            "the reference span is complete",
                        )
                    )
                of_model.append(_Baseline(model, name, 0, NO_MATURITY, TimeSpan(start_ms, end_ms)))
        return self._with_baselines(TRAFFIC, planned, now_ms, state)

    def _begins_later(self, model: MeasuredModel, name: str, span: TimeSpan, state: State) -> bool:
        """Whether a span that begins with the first row holds nothing but a few misdated rows."""
        if _given_span(model, name) is not None or (name, ALL) not in model.series.names:
            return False
        rows = self._prediction_rows(model, name, span, state)
        pane_ms, n = rows.pane, int(rows.counts.sum())
        burst_ms = (span.end_ms - span.start_ms) * BURST_SHARE
        return not n or (n <= FEW_ROWS and int(pane_ms.max() - pane_ms.min()) < burst_ms)

    def has_rows(self, model: MeasuredModel, name: str, span: TimeSpan, state: State) -> bool:
        """Whether a version has predictions in a span."""
        if (name, ALL) not in model.series.names:
            return False
        pane_ms = self._prediction_rows(model, name, span, state).pane
        return bool(((pane_ms >= span.start_ms) & (pane_ms < span.end_ms)).any())

    def _prediction_rows(
        self, model: MeasuredModel, name: str, span: TimeSpan, state: State
    ) -> PaneRows:
        """The predictions of a version by pane, in the days of a span."""
        days_ms = model.days_with_counts(TRAFFIC, *span)
        rows = self._panes.rows(model.number, TRAFFIC, *days_ms, state)
        number = model.series.names.index((name, ALL))
        mine = rows.keys == counter_key(number, COUNT, COUNTER_CODES["predictions"])
        return PaneRows(rows.pane[mine], rows.keys[mine], rows.counts[mine])

    def baselines(
        self, models: Sequence[tuple[MeasuredModel, Sequence[str]]], now_ms: int, state: State
    ) -> list[list[Record]]:
        """`record_baseline` for each rung at which a version's span has become complete.

        Parameters
        ----------
        models
            Models with their versions.

        Returns
        -------
        list
            The commands of each model.
        """
        planned: list[list[Record | _Baseline]] = []
        for model, versions in models:
            of_model: list[Record | _Baseline] = []
            planned.append(of_model)
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
                    of_model.append(_Baseline(model, name, rung, ladder[rung].name, span))
        return self._with_baselines(DECISIONS, planned, now_ms, state)

    def _with_baselines(
        self,
        lane: int,
        planned: Sequence[Sequence[Record | _Baseline]],
        now_ms: int,
        state: State,
    ) -> list[list[Record]]:
        """The commands, with a command in place of each baseline that has rows."""
        made: dict[int, Record] = {}
        queues = [
            [each for each in of_model if isinstance(each, _Baseline)] for of_model in planned
        ]
        # One baseline of each model at a time: the labels of a later one are not known before.
        while together := [queue.pop(0) for queue in queues if queue]:
            made |= self._baselines_of_models(lane, together, now_ms, state)
        return [
            [
                made[id(each)] if isinstance(each, _Baseline) else each
                for each in of_model
                if not isinstance(each, _Baseline) or id(each) in made
            ]
            for of_model in planned
        ]

    def _baselines_of_models(
        self, lane: int, baselines: Sequence[_Baseline], now_ms: int, state: State
    ) -> dict[int, Record]:
        """The command of each baseline with rows, by `id`; each model has one baseline."""
        jobs = [self._baseline_jobs(lane, baseline, now_ms, state) for baseline in baselines]
        gathered = self._gatherer.gather(
            lane,
            [
                (baseline.model, [job for job in of_baseline if job.spans])
                for baseline, of_baseline in zip(baselines, jobs, strict=True)
            ],
        )
        groups: dict[tuple[object, ...], list[_BaselineRows]] = {}
        for baseline, of_baseline, windows in zip(baselines, jobs, gathered, strict=True):
            name = (baseline.version, ALL)
            rows = [
                (window, window.series.index(name)) for window in windows if name in window.series
            ]
            # The first row is the whole span, then one row for each day.
            if rows and rows[0][0].job is of_baseline[0]:
                shape = block_shape(baseline.model, rows[0][0].block.layout)
                groups.setdefault(shape, []).append(_BaselineRows(baseline, rows))
        made: dict[int, Record] = {}
        for group in groups.values():
            for baseline, command in self._baseline_commands(lane, group, now_ms):
                made[id(baseline)] = command
        return made

    def _baseline_jobs(
        self, lane: int, baseline: _Baseline, now_ms: int, state: State
    ) -> list[WindowJob]:
        """The whole span and each whole day in it."""
        span = baseline.span
        start_ms, end_ms = span
        days_ms = range(-(-start_ms // DAY_MS) * DAY_MS, end_ms // DAY_MS * DAY_MS, DAY_MS)
        facts = baseline.model.facts
        first_ms, last_ms = facts.first_pane_ms[lane] or 0, facts.last_pane_ms[lane] or 0
        return [
            WindowJob(
                DueWindow(
                    window="baseline",
                    kind="tumbling",
                    size_ms=each.end_ms - each.start_ms,
                    end_ms=each.end_ms,
                    rung=baseline.rung,
                    maturity=baseline.maturity,
                    final=False,
                    complete_at_ms=now_ms,
                    last_final_ms=each.start_ms,
                ),
                self._panes.span(
                    baseline.model.number,
                    lane,
                    *baseline.model.days_with_counts(lane, each.start_ms, each.end_ms),
                    state,
                ),
                each.start_ms,
                frozenset((baseline.version,)),
            )
            for each in (span, *(TimeSpan(day_ms, day_ms + DAY_MS) for day_ms in days_ms))
            if each is span or (first_ms < each.end_ms and each.start_ms <= last_ms)
        ]

    def _baseline_commands(
        self, lane: int, group: Sequence[_BaselineRows], now_ms: int
    ) -> Iterator[tuple[_Baseline, Record]]:
        """`record_baseline` for baselines with the same labels and metrics."""
        rows = [row for each in group for row in each.rows]
        layout = rows[0][0].block.layout
        scores = ScoreCells.joined(
            [(window.block.counts.scores, window.first + row) for window, row in rows]
        )
        counts = layout.counts(
            np.stack([window.dense[row] for window, row in rows]),
            np.array([window.job.due.size_ms for window, _ in rows], np.int64),
            scores,
        )
        metrics = metrics_of_lane(self._metrics, lane, group[0].baseline.model)
        figures = compute_figures(metrics, counts, problem=layout.problem, bounded=False)
        all_n, all_predictions = counts.n.tolist(), counts.n_predictions.tolist()
        first = 0
        for baseline, of_baseline in group:
            n, n_predictions = all_n[first], all_predictions[first]
            after = first + len(of_baseline)
            edges = [format_time(edge) for edge in baseline.span]
            params = {
                "maturity": baseline.maturity,
                "span": edges,
                "n": n,
                "n_predictions": n_predictions,
                "label_coverage": round(n / n_predictions, 6)
                if n_predictions and lane != TRAFFIC
                else None,
                "metrics": figures.values[first],
                "ci": {name: list(pair) for name, pair in figures.intervals[first].items()},
                "daily_variance": _daily_variance(figures.values[first + 1 : after]),
                "days": len(of_baseline) - 1,
                **self._lost(
                    lane,
                    baseline.model,
                    baseline.span,
                    delay_ms=baseline.model.config.maturity[baseline.rung].ms
                    if lane == DECISIONS
                    else 0,
                ),
            }
            first = after
            name = f"{lanes.LANE_NAMES[lane]}/{baseline.maturity}/{edges[0]}/{edges[1]}"
            command = _command(
                baseline.model,
                baseline.version,
                "record_baseline",
                name,
                now_ms,
                params,
                f"the reference span is complete at {baseline.maturity}",
            )
            yield baseline, command

    def _lost(
        self, lane: int, model: MeasuredModel, span: TimeSpan, *, delay_ms: int = 0
    ) -> dict[str, Any]:
        """The field `losses` of a fact about a span, if rows of it may be lost."""
        losses = self._losses.of_window(
            lane,
            span.start_ms,
            span.end_ms,
            complete_at_ms=span.end_ms + delay_ms,
            horizon_ms=self._losses.horizon_ms(model.name, model.config.label_horizon_ms),
        )
        return {"losses": [to_plain(loss) for loss in losses]} if losses else {}


class _Baseline(NamedTuple):
    """The baseline of one version at one rung, before it is computed."""

    model: MeasuredModel
    version: str
    rung: int
    maturity: str
    span: TimeSpan


class _BaselineRows(NamedTuple):
    """A baseline with its windows, each with the row of the version."""

    baseline: _Baseline
    rows: Sequence[tuple[WindowCounts, int]]


def reference_span(model: MeasuredModel, name: str, version: StreamVersion) -> TimeSpan:
    """The reference span of a version: from the registry, the configuration, or its first days."""
    given = _given_span(model, name)
    if given is not None:
        return given
    length_ms = model.config.reference.span_ms or DEFAULT_REFERENCE_MS
    return TimeSpan(version.begin_ms, version.begin_ms + length_ms)


def _given_span(model: MeasuredModel, name: str) -> TimeSpan | None:
    registered = model.registry.versions.get(name)
    if registered is not None and registered.span is not None:
        return TimeSpan(*registered.span)
    reference = model.config.reference
    if reference.from_ms is not None and reference.to_ms is not None:
        return TimeSpan(reference.from_ms, reference.to_ms)
    return None


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
