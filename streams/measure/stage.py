"""Stage 2: increments of all partitions add up to windows, and windows become figures, drift and
facts.

A call with records takes them in and announces nothing; a call without records works off one step
of time. So what is announced depends on event time alone, not on how the input was cut into
batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from driftline.schemas import topics
from driftline.schemas.results import RegistryEntry
from driftline.schemas.settings import Config
from driftline.schemas.times import DAY_MS, HOUR_MS
from driftline.streams.catalogue import drift_plugins, metric_plugins
from driftline.streams.lanes import (
    ARRIVALS,
    COUNTER_CODES,
    DECISIONS,
    LANE_NAMES,
    NO_MODEL,
    TRAFFIC,
)
from driftline.streams.measure.counts.gather import WindowGatherer, WindowJob
from driftline.streams.measure.counts.intake import ReceivedPartials, add_counts
from driftline.streams.measure.counts.last_n import NewestOutcomes
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.counts.panes import Panes
from driftline.streams.measure.counts.since_deployment import SinceDeployment
from driftline.streams.measure.drift.drift_windows import DriftWindows
from driftline.streams.measure.drift.feature_panes import FeaturePanes
from driftline.streams.measure.drift.targets import TargetReader
from driftline.streams.measure.facts.from_registry import apply_entries
from driftline.streams.measure.facts.to_registry import RegistryReporter, span_of
from driftline.streams.measure.figures.completeness import Completeness
from driftline.streams.measure.figures.provisional import OpenWindows
from driftline.streams.measure.figures.records import RecordBuilder
from driftline.streams.measure.state_keys import MODEL_NAMES
from driftline.streams.measure.timing.frontier import Frontier
from driftline.streams.measure.timing.windows import DueWindow, Schedule, WindowPlan
from driftline.streams.numbering import Numbering, decode_texts
from driftline.streams.partial import Partial, Watermarks
from driftline.streams.stage import Batch, Record, State

ACTIVE_MS: Final = 30 * DAY_MS
MODELS_AT_ONCE: Final = 16


class Measure:
    """All models of one task.

    Parameters
    ----------
    config
        The settings of the run.
    provisional
        Whether open windows may be asked for.

    Notes
    -----
    What is kept between calls is a cache of `State`: a new object on the same state goes on with
    the same results. One object serves one state.
    """

    name = "measure"
    inputs: tuple[str, ...] = (topics.WINDOW_PARTIALS, topics.REGISTRY)

    def __init__(self, config: Config, *, provisional: bool = False) -> None:
        self._config = config
        self._schedule = Schedule(config)
        self._lanes = frozenset(
            lane for lane, name in enumerate(LANE_NAMES) if name in config.lanes
        )
        metrics = metric_plugins()
        check_metrics(config, [metric.name for metric in metrics])
        self._panes = Panes(config.pane_ms)
        self._features = FeaturePanes()
        self._since = SinceDeployment(self._panes)
        every = (config.defaults, *config.models.values())
        self._recent = NewestOutcomes(max((n for model in every for n in model.last_n), default=1))
        self._completeness = Completeness()
        self._evaluator = WindowGatherer()
        self._announcer = RecordBuilder(metrics, self._completeness)
        self._shown = (
            OpenWindows(self._schedule, self._panes, metrics, self._completeness)
            if provisional
            else None
        )
        targets = TargetReader(self._panes, self._features)
        self._drift = DriftWindows(drift_plugins(), targets)
        self._references = RegistryReporter(metrics, self._panes, targets, self._evaluator)
        self._names: Numbering[str] | None = None
        self._models: dict[str, MeasuredModel] = {}
        self._frontier: Frontier | None = None

    def process(self, batch: Batch, state: State) -> list[Record]:
        """Take in the records of a batch; without any, work off the step that is due.

        Raises
        ------
        ValueError
            If a call without records comes although no step is due, or the state was written by
            another release.
        """
        frontier = self._opened(state)
        if batch.records:
            return self._taken_in(batch, frontier, state)
        step = frontier.next_step()
        if step is None:
            raise ValueError("measure: no step is due; ask due() before a call without records")
        records: list[Record] = []
        models = [self._models[name] for name in sorted(self._models)]
        # Some models at a time: their windows share the cost of a metric, and what is in memory at
        # once stays bounded.
        for begin in range(0, len(models), MODELS_AT_ONCE):
            some = models[begin : begin + MODELS_AT_ONCE]
            if step.traffic is not None:
                records += self._traffic(some, *step.traffic, frontier.ended_ms, state)
            if step.main is not None:
                records += self._decisions(some, *step.main, state)
                records += self._arrivals(some, *step.main, state)
            for model in some:
                model.write(state)
        frontier.done(step)
        frontier.write(state)
        return records

    def due(self, state: State) -> int | None:
        """Stream time of the next step (edge of a pane plus grace), which grows from step to step;

        None while nothing is due.
        """
        step = self._opened(state).next_step()
        return None if step is None else step.released_ms

    def provisional(self, state: State) -> list[Record]:
        """Figures of the open windows that changed since the last call. State is only read, and
        what `process` says stays the same.

        Raises
        ------
        ValueError
            If the stage was not made for it.
        """
        if self._shown is None:
            raise ValueError(
                "measure: open windows are not kept; make the stage with provisional=True"
            )
        return self._shown.records(self._opened(state).edges_ms, state)

    def frontier(self, state: State) -> Frontier:
        """How far stage 1 has come; to be read."""
        return self._opened(state)

    def _opened(self, state: State) -> Frontier:
        if self._frontier is None:
            self._frontier = Frontier(self._config, self._schedule, state)
            self._names = Numbering(MODEL_NAMES, decode_texts, state)
            for number, name in enumerate(self._names.names):
                self._models[name] = MeasuredModel(
                    number, name, self._config.for_model(name), state
                )
        return self._frontier

    def _model(self, name: str, state: State) -> MeasuredModel:
        model = self._models.get(name)
        if model is None:
            assert self._names is not None
            (number,) = self._names.numbers([name], state)
            model = self._models[name] = MeasuredModel(
                number, name, self._config.for_model(name), state
            )
        return model

    def _taken_in(self, batch: Batch, frontier: Frontier, state: State) -> list[Record]:
        partials: list[Partial] = []
        for value in batch.records.get(topics.WINDOW_PARTIALS, ()):
            if isinstance(value, Watermarks):
                frontier.note(value)
            else:
                partials.append(value)
        received = ReceivedPartials(partials, lambda name: self._model(name, state), state)
        increments = add_counts(received, self._panes, min(self._lanes), state)
        if self._shown is not None and increments is not None:
            self._shown.note(increments)
            if self._shown.crowded():
                self._shown.count(frontier.edges_ms, state)
        plans = [self._schedule.plan(part.model.config) for part in received.parts]
        self._features.add(received, [self._grain_ms(plan) for plan in plans], state)
        self._recent.add(received, [plan.recent_step_ms for plan in plans], state)
        for model in received.models:
            model.write(state)
        entries: dict[str, list[RegistryEntry]] = {}
        for entry in batch.records.get(topics.REGISTRY, ()):
            entries.setdefault(entry.model_name, []).append(entry)
        records: list[Record] = []
        for name, of_model in entries.items():
            model = self._model(name, state)
            records += apply_entries(
                model,
                of_model,
                self._since,
                frontier.reached_since(model.first_pane_ms),
                self._config.pane_ms,
                state,
            )
            model.write(state)
        first = [
            pane
            for model in self._models.values()
            for pane in model.facts.first_pane_ms
            if pane is not None
        ]
        if first:
            # Well before the first row, so that time begins at the same moment whichever batch
            # showed it.
            frontier.begin(min(first) // HOUR_MS * HOUR_MS)
        frontier.write(state)
        return records

    def _traffic(
        self,
        models: Sequence[MeasuredModel],
        after_ms: int,
        now_ms: int,
        ended_ms: int | None,
        state: State,
    ) -> Iterator[Record]:
        wanted = []
        for model in models:
            if versions := _known(model, now_ms):
                dues = self._schedule.plan(model.config).due(TRAFFIC, after_ms, now_ms)
                # Silence after the end of a recorded log says nothing.
                always = (
                    _active(model, versions, now_ms)
                    if ended_ms is None or now_ms <= ended_ms
                    else []
                )
                wanted.append(
                    (model, versions, dues, self._jobs(model, TRAFFIC, dues, always, state))
                )
        evaluated = self._evaluator.evaluate(
            TRAFFIC, [(model, jobs) for model, _, _, jobs in wanted]
        )
        for (model, versions, dues, _), windows in zip(wanted, evaluated, strict=True):
            plan = self._schedule.plan(model.config)
            for window in windows:
                if window.job.due.window == plan.smallest.name:
                    n_predictions = window.dense[:, COUNTER_CODES["predictions"]].tolist()
                    for (name, _), n in zip(window.series, n_predictions, strict=True):
                        if n and name in model.facts.versions:
                            model.facts.versions[name].last_ms = window.job.due.end_ms
            yield from self._announcer.metrics(model, windows, state)
            for due in dues:
                if due.window == plan.detection.name:
                    yield from self._drift.records(
                        model, due, versions, self._grain_ms(plan), state
                    )
            yield from self._references.first_sights(model, versions, now_ms)
            yield from self._references.of_traffic(
                model, versions, self._grain_ms(plan), now_ms, state
            )
            self._drop(model, TRAFFIC, now_ms - plan.longest_ms, state)

    def _decisions(
        self, models: Sequence[MeasuredModel], after_ms: int, now_ms: int, state: State
    ) -> Iterator[Record]:
        if DECISIONS not in self._lanes:
            return
        wanted = []
        for model in models:
            if model.facts.first_pane_ms[DECISIONS] is not None:
                plan = self._schedule.plan(model.config)
                jobs = self._jobs(
                    model, DECISIONS, plan.due(DECISIONS, after_ms, now_ms), (), state
                )
                wanted.append(
                    (
                        model,
                        jobs
                        + self._since.jobs(model, plan, plan.since_due(after_ms, now_ms), state),
                    )
                )
        for (model, _), windows in zip(
            wanted, self._evaluator.evaluate(DECISIONS, wanted), strict=True
        ):
            plan = self._schedule.plan(model.config)
            for window in windows:
                if window.by_rung is not None:
                    due, segments = window.job.due, [segment for _, segment in window.series]
                    self._completeness.add(
                        model, due.window, due.start_ms, segments, window.by_rung, state
                    )
            yield from self._announcer.metrics(model, windows, state)
            yield from self._announcer.histograms(model, plan.histogram_window, windows)
            versions = _known(model, now_ms)
            if TRAFFIC not in self._lanes:
                yield from self._references.first_sights(model, versions, now_ms)
            yield from self._references.baselines(model, versions, now_ms, state)
            self._drop(
                model,
                DECISIONS,
                now_ms - plan.longest_ms - model.config.maturity[-1].ms - DAY_MS,
                state,
            )

    def _arrivals(
        self, models: Sequence[MeasuredModel], after_ms: int, now_ms: int, state: State
    ) -> Iterator[Record]:
        if ARRIVALS not in self._lanes:
            return
        wanted = []
        for model in models:
            if model.facts.first_pane_ms[ARRIVALS] is not None:
                plan = self._schedule.plan(model.config)
                jobs = self._jobs(model, ARRIVALS, plan.due(ARRIVALS, after_ms, now_ms), (), state)
                if model.config.last_n and now_ms % plan.recent_step_ms == 0:
                    jobs += self._recent.jobs(model, plan, now_ms, state)
                wanted.append((model, jobs))
        for (model, _), windows in zip(
            wanted, self._evaluator.evaluate(ARRIVALS, wanted), strict=True
        ):
            yield from self._announcer.metrics(model, windows, state)
            if not self._lanes - {ARRIVALS}:
                yield from self._references.first_sights(model, _known(model, now_ms), now_ms)
            self._drop(
                model, ARRIVALS, now_ms - self._schedule.plan(model.config).longest_ms, state
            )

    def _jobs(
        self,
        model: MeasuredModel,
        lane: int,
        dues: Sequence[DueWindow],
        always: Sequence[str],
        state: State,
    ) -> list[WindowJob]:
        """The windows that hold anything, or that are announced anyway."""
        first_ms, last_ms = model.facts.first_pane_ms[lane], model.facts.last_pane_ms[lane]
        jobs = []
        for due in dues:
            chunks = []
            if first_ms is not None and last_ms is not None:
                start_ms, end_ms = (
                    max(due.start_ms, first_ms),
                    min(due.end_ms, last_ms + self._config.pane_ms),
                )
                # Whole strides where the window has them: those are what is kept in memory.
                if start_ms < end_ms:
                    chunks = self._panes.span(model.number, lane, due.start_ms, due.end_ms, state)
            if chunks or always:
                jobs.append(WindowJob(due, chunks, due.start_ms, always=always))
        return jobs

    def _drop(self, model: MeasuredModel, lane: int, end_ms: int, state: State) -> None:
        """Forget panes that no window, reference or baseline can need any more; once a day."""
        facts = model.facts
        end_ms = min([end_ms, *self._wanted_from(model, lane)]) // DAY_MS * DAY_MS
        first_ms = facts.first_pane_ms[lane]
        if first_ms is None or end_ms <= max(facts.kept_from_ms[lane], first_ms):
            return
        self._panes.drop(
            model.number, lane, max(facts.kept_from_ms[lane] - DAY_MS, 0), end_ms, state
        )
        if lane == TRAFFIC:
            self._features.drop(model, end_ms, state)
        facts.kept_from_ms[lane] = end_ms

    def _wanted_from(self, model: MeasuredModel, lane: int) -> list[int]:
        """Where the reference spans begin that are not worked off yet."""
        wanted = []
        for name, version in model.facts.versions.items():
            done = (
                version.reference_made
                if lane == TRAFFIC
                else version.baselines == len(model.config.maturity)
            )
            if not done and lane != ARRIVALS:
                wanted.append(span_of(model, name, version)[0])
        return wanted

    def _grain_ms(self, plan: WindowPlan) -> int:
        """Length of time by which features are kept: an hour where the detection window is made of
        hours, else a pane.
        """
        pane_ms = self._config.pane_ms
        lengths_ms = (plan.detection.size_ms, plan.detection.step_ms)
        return (
            HOUR_MS
            if HOUR_MS % pane_ms == 0 and all(length % HOUR_MS == 0 for length in lengths_ms)
            else pane_ms
        )


def check_metrics(config: Config, known: Sequence[str]) -> None:
    """Refuse names of metrics that no plug-in has.

    Raises
    ------
    ValueError
        With the place in the configuration, then ": ".
    """
    for where, model in (
        ("defaults", config.defaults),
        *((f"models.{name}", model) for name, model in config.models.items()),
    ):
        for name in model.metrics or ():
            if name not in known:
                raise ValueError(
                    f'{where}.metrics: "{name}" is no metric; known are {", ".join(known)}'
                )


def _known(model: MeasuredModel, now_ms: int) -> list[str]:
    """Versions that showed themselves before `now_ms`, sorted."""
    versions = model.facts.versions
    return (
        [name for name in sorted(versions) if versions[name].first_ms < now_ms]
        if model.name != NO_MODEL
        else []
    )


def _active(model: MeasuredModel, versions: Sequence[str], now_ms: int) -> list[str]:
    """Versions of which silence is news: in production, or with traffic in the last 30 days, and
    not archived.
    """
    active = []
    for name in versions:
        registered, last_ms = model.facts.registry.get(name), model.facts.versions[name].last_ms
        stage = registered.stage if registered is not None else ""
        if stage == "production" or (
            stage != "archived" and last_ms is not None and now_ms - last_ms < ACTIVE_MS
        ):
            active.append(name)
    return active
