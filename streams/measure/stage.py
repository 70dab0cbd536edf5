"""Stage 2: partials of all partitions add up to windows; windows become figures, drift and facts.

A call with records adds them and emits no figures; a call without records processes one step of
time. So the emitted records depend on event time alone, not on how the input was cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import groupby
from typing import Any, Final, NamedTuple

from driftline.schemas import topics
from driftline.schemas.results import ModelLabels, ModelRules, RegistryEffect, RegistryEntry
from driftline.schemas.settings import Config
from driftline.schemas.times import DAY_MS, HOUR_MS, format_time
from driftline.streams.catalogue import drift_plugins, metric_plugins
from driftline.streams.lanes import (
    ARRIVALS,
    COUNTER_CODES,
    DECISIONS,
    LANE_NAMES,
    NO_MODEL,
    TRAFFIC,
)
from driftline.streams.measure.counts.count_table import FORMAT as COUNT_TABLE_FORMAT
from driftline.streams.measure.counts.gather import WindowCounts, WindowGatherer, WindowJob
from driftline.streams.measure.counts.intake import ReceivedPartials, add_counts
from driftline.streams.measure.counts.label_evidence import note_scores, settle_labels
from driftline.streams.measure.counts.labels import NO_LABELS, LabelReport, LabelSet
from driftline.streams.measure.counts.last_n import FORMAT as LAST_N_FORMAT
from driftline.streams.measure.counts.last_n import (
    NewestOutcomes,
    OutcomeRows,
    cut,
    ordered_outcomes,
)
from driftline.streams.measure.counts.model import FORMAT as MODEL_FORMAT
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.measure.counts.panes import Panes
from driftline.streams.measure.counts.since_deployment import SinceDeployment
from driftline.streams.measure.drift.drift_windows import DriftWindows
from driftline.streams.measure.drift.feature_panes import FeaturePanes
from driftline.streams.measure.drift.targets import TargetReader
from driftline.streams.measure.drift.unwatched_features import UNWATCHED_FEATURES
from driftline.streams.measure.facts.from_registry import apply_entries, store_profile
from driftline.streams.measure.facts.quiet_models import (
    WorkTimes,
    decisions_kept_ms,
    pending_spans_ms,
    quiet_arrivals_until,
    quiet_decisions_until,
    quiet_traffic_until,
)
from driftline.streams.measure.facts.to_registry import RegistryReporter, TimeSpan
from driftline.streams.measure.figures.completeness import Completeness
from driftline.streams.measure.figures.losses import FORMAT as LOSSES_FORMAT
from driftline.streams.measure.figures.losses import Losses
from driftline.streams.measure.figures.provisional import OpenWindows
from driftline.streams.measure.figures.records import RecordBuilder
from driftline.streams.measure.state_keys import MODEL_NAMES
from driftline.streams.measure.timing.frontier import FORMAT as FRONTIER_FORMAT
from driftline.streams.measure.timing.frontier import (
    EdgeSpan,
    Frontier,
    LaneGroups,
    TimeStep,
)
from driftline.streams.measure.timing.silence import is_announced, next_announced_ms
from driftline.streams.measure.timing.windows import NEVER_MS, DueWindow, Schedule, WindowPlan
from driftline.streams.numbering import Numbering, decode_texts
from driftline.streams.ordered_outcomes import ORDERED_OUTCOMES
from driftline.streams.partial import LostSpan, Partial, Watermarks
from driftline.streams.stage import Batch, Record, State
from driftline.streams.summaries.feature_table import FORMAT as FEATURE_TABLE_FORMAT
from driftline.streams.work_slices import WorkSlices, in_slices, run_slices

SILENCE_WATCHED_MS: Final = 30 * DAY_MS
MODELS_IN_ORDER: Final = 16
"""Of so many models, the records of the traffic lane come before those of the decisions lane, and
these before those of the arrivals lane.
"""
SERIES_AT_ONCE: Final = 256
"""Models are gathered together up to so many series: their windows share the cost of a metric, and
a slice of work stays short.
"""
STATE_FORMAT: Final = (
    MODEL_FORMAT,
    LAST_N_FORMAT,
    COUNT_TABLE_FORMAT,
    FRONTIER_FORMAT,
    FEATURE_TABLE_FORMAT,
    LOSSES_FORMAT,
)
"""Format numbers of all layouts in the state; a state with other numbers cannot be read."""


_LANES: Final = range(len(LANE_NAMES))

RecordsByModel = dict[int, list[Record]]
"""By number of the model."""


class _TrafficWork(NamedTuple):
    """The windows of a model in one step of the traffic lane."""

    model: MeasuredModel
    versions: list[str]
    watched: list[str]
    dues: Sequence[DueWindow]
    jobs: list[WindowJob]


class Measure:
    """All models of one task.

    Parameters
    ----------
    config
        The settings of the run.
    provisional
        Whether figures of open windows can be requested.
    reads_outcomes
        Whether a rule reads the single outcomes of a model; those of other models are not emitted.
        Without it, those of all models are.

    Raises
    ------
    ValueError
        If the configuration names an unknown metric.

    Notes
    -----
    What an object keeps between calls is a cache of `State`: a new object on the same state goes on
    with the same results. One object serves one state.
    """

    name = "measure"
    inputs: tuple[str, ...] = (
        topics.WINDOW_PARTIALS,
        topics.REFERENCE_PROFILES,
        topics.REGISTRY,
        topics.MODEL_LABELS,
        topics.MODEL_RULES,
    )
    state_format: tuple[int, ...] = STATE_FORMAT

    def __init__(
        self,
        config: Config,
        *,
        provisional: bool = False,
        reads_outcomes: Callable[[str], bool] | None = None,
    ) -> None:
        self._config = config
        self._reads_outcomes = reads_outcomes or (lambda model_name: True)
        self._schedule = Schedule(config)
        self._lanes = frozenset(
            lane for lane, name in enumerate(LANE_NAMES) if name in config.lanes
        )
        metrics = metric_plugins()
        check_metrics(config, [metric.name for metric in metrics])
        self._panes = Panes(config.pane_ms)
        self._features = FeaturePanes()
        self._since_deployment = SinceDeployment(self._panes)
        settings = (config.defaults, *config.models.values())
        self._newest = NewestOutcomes(
            max((n for model in settings for n in model.last_n), default=1)
        )
        self._completeness = Completeness()
        self._losses = Losses(config.park_ms)
        self._gatherer = WindowGatherer()
        self._builder = RecordBuilder(metrics, self._completeness, self._losses, config.pane_ms)
        self._open_windows = (
            OpenWindows(
                self._schedule,
                self._panes,
                metrics,
                self._completeness,
                self._losses,
                config.pane_ms,
            )
            if provisional
            else None
        )
        targets = TargetReader(self._panes, self._features)
        self._drift = DriftWindows(drift_plugins(), targets, self._losses)
        self._reporter = RegistryReporter(
            metrics, self._panes, targets, self._gatherer, self._losses
        )
        self._model_names: Numbering[str] | None = None
        self._models: dict[str, MeasuredModel] = {}
        self._sorted: list[MeasuredModel] = []
        self._place: dict[int, int] = {}
        self._numbered: list[MeasuredModel] = []
        self._work_times = [WorkTimes() for _ in _LANES]
        self._first_pane_ms: int | None = None
        self._ended_ms: int | None = None
        self._frontier: Frontier | None = None
        self._reported_labels: dict[str, LabelSet] = {}

    def process(self, batch: Batch, state: State) -> list[Record]:
        """Add the records of a batch; without records, process the step that is due.

        Raises
        ------
        ValueError
            If a call without records comes although no step is due, or if another release wrote the
            state or a partial.
        """
        return run_slices(self.work(batch, state))

    def work(self, batch: Batch, state: State) -> WorkSlices[list[Record]]:
        """As `process`, in slices of some models each."""
        frontier = self.frontier(state)
        if batch.records:
            return (yield from self._add(batch, frontier, state))
        step = frontier.next_step()
        if step is None:
            raise ValueError("measure: no step is due; ask due() before a call without records")
        self._look_around(frontier)
        busy = self._busy_models(step)
        yield
        places = sorted({place for of_lane in busy.values() for place in of_lane})
        records: list[Record] = []
        for group in _groups(places, self._sorted):
            by_lane = [
                [self._sorted[place] for place in group if place in busy[lane]] for lane in _LANES
            ]
            records += yield from self._group_records(step, by_lane, state)
        if step.main is not None:
            self._close_empty_days(busy[DECISIONS], step.main, state)
        frontier.finish_step(step)
        frontier.write(state)
        return records

    def pass_quiet_steps(self, command_ms: int | None, state: State) -> None:
        """Let time pass the steps that are due and have no work, up to the first one with work or
        one that is released after `command_ms`, the time of the next command.

        Records and state are those of one step after the other.
        """
        frontier = self.frontier(state)
        if frontier.next_step() is None:
            return
        self._look_around(frontier)
        traffic, main = frontier.next_edges()
        work_ms = [
            NEVER_MS
            if edges is None or lane not in self._lanes
            else self._work_times[lane].next_ms(partial(self._quiet_until, lane, edges))
            for lane, edges in ((TRAFFIC, traffic), (DECISIONS, main), (ARRIVALS, main))
        ]
        groups = LaneGroups(work_ms[TRAFFIC], min(work_ms[DECISIONS], work_ms[ARRIVALS]))
        passed = frontier.pass_steps(groups, command_ms)
        if passed is not None:
            self._close_empty_days(set(), passed, state)
            frontier.write(state)

    def _look_around(self, frontier: Frontier) -> None:
        """Take in new models, and the end of a recorded log."""
        if len(self._sorted) != len(self._models):
            self._sorted = [self._models[name] for name in sorted(self._models)]
            self._place = {model.number: place for place, model in enumerate(self._sorted)}
        if frontier.predictions_ended_ms != self._ended_ms:
            self._ended_ms = frontier.predictions_ended_ms
            self._work_times[TRAFFIC].ask_all_again()

    def _busy_models(self, step: TimeStep) -> dict[int, set[int]]:
        """By lane, the places in order of the models with work in a step."""
        busy: dict[int, set[int]] = {lane: set() for lane in _LANES}
        for lane in sorted(self._lanes):
            edges = step.traffic if lane == TRAFFIC else step.main
            if edges is not None:
                quiet_until = partial(self._quiet_until, lane, edges)
                due = self._work_times[lane].due(quiet_until, edges.now_ms)
                busy[lane] = {self._place[number] for number in due}
        return busy

    def _quiet_until(self, lane: int, edges: EdgeSpan, number: int) -> int:
        """Time of the next work of a model in a lane, after the edge before this step."""
        model, after_ms = self._numbered[number], edges.after_ms
        plan, seen = self._schedule.plan(model.config), _seen_versions(model, after_ms)
        if lane == DECISIONS:
            return quiet_decisions_until(model, plan, seen, after_ms)
        if lane == ARRIVALS:
            return quiet_arrivals_until(model, plan, seen, after_ms)
        told_ms = [
            next_announced_ms(
                model.facts.versions[name].last_ms or after_ms, window.step_ms, after_ms
            )
            for name in self._watched_for_silence(model, seen, edges.now_ms)
            for window in plan.windows
        ]
        return min([quiet_traffic_until(model, plan, seen, after_ms), *told_ms])

    def _group_records(
        self, step: TimeStep, by_lane: Sequence[Sequence[MeasuredModel]], state: State
    ) -> WorkSlices[list[Record]]:
        """The records of some models, with the models that have work in each lane."""
        traffic: RecordsByModel = {}
        decisions: RecordsByModel = {}
        arrivals: RecordsByModel = {}
        models = {model.number: model for of_lane in by_lane for model in of_lane}
        before = {number: _settled_labels(model) for number, model in models.items()}
        if step.traffic is not None:
            traffic = yield from self._traffic_records(by_lane[TRAFFIC], step.traffic, state)
            yield
        if step.main is not None:
            decisions = yield from self._decision_records(by_lane[DECISIONS], step.main, state)
            yield
            arrivals = self._arrival_records(by_lane[ARRIVALS], step.main, state)
            yield
        edges = step.traffic if step.main is None else step.main
        for model in models.values():
            if edges is not None and _settled_labels(model) != before[model.number]:
                command = self._reporter.labels(model, edges.now_ms)
                arrivals.setdefault(model.number, []).append(command)
            model.write(state)
        in_order = sorted(models.values(), key=lambda model: self._place[model.number])
        return _in_order(in_order, self._place, (traffic, decisions, arrivals))

    def label_reports(self, state: State) -> list[LabelReport]:
        """What is known about the labels of each model with truths or predicted labels, by name."""
        self.frontier(state)
        return [
            model.facts.label_set.report(name, model.configured_labels)
            for name, model in sorted(self._models.items())
            if name != NO_MODEL and model.facts.label_set != NO_LABELS
        ]

    def new_label_reports(self, state: State) -> list[LabelReport]:
        """Those of models whose labels changed since the last call; at first, all."""
        self.frontier(state)
        reports = []
        for name, model in sorted(self._models.items()):
            label_set = model.facts.label_set
            if label_set is not self._reported_labels.get(name, NO_LABELS):
                self._reported_labels[name] = label_set
                reports.append(label_set.report(name, model.configured_labels))
        return reports

    def due(self, state: State) -> int | None:
        """Stream time of the next step (edge of a pane plus grace); None while nothing is due.

        It grows from step to step.
        """
        step = self.frontier(state).next_step()
        return None if step is None else step.released_ms

    def provisional(self, state: State) -> list[Record]:
        """`provisional_in_slices` in one call."""
        return run_slices(self.provisional_in_slices(state))

    def provisional_in_slices(self, state: State) -> WorkSlices[list[Record]]:
        """Figures of the open windows that changed since the last call.

        State is only read, and `process` emits the same records as without this call.

        Raises
        ------
        ValueError
            If the stage was created without `provisional`.
        """
        if self._open_windows is None:
            raise ValueError(
                "measure: open windows are not kept; create the stage with provisional=True"
            )
        return self._open_windows.records(self.frontier(state).edges_ms, state)

    def frontier(self, state: State) -> Frontier:
        """Watermarks of stage 1 and edges processed; read only."""
        if self._frontier is None:
            self._frontier = Frontier(self._config, self._schedule, state)
            self._losses.load(state)
            self._model_names = Numbering(MODEL_NAMES, decode_texts, state)
            for number, name in enumerate(self._model_names.names):
                self._note_first_pane(self._created(number, name, state))
        return self._frontier

    def reached_ms(self, model_name: str, state: State) -> int:
        """Event time that a model has reached, in ms: that of its last step; 0 before one."""
        frontier, model = self.frontier(state), self._models.get(model_name)
        return 0 if model is None else frontier.reached_since(model.first_pane_ms)

    def settings_effect(
        self, model_name: str, before: dict[str, Any], settings: dict[str, Any], state: State
    ) -> Record:
        """The record of changed settings of a model, in force after the model's last step.

        Parameters
        ----------
        before, settings
            The settings until then and from then on, by key.
        """
        frontier, model = self.frontier(state), self._model(model_name, state)
        return Record(
            topics.REGISTRY_EFFECTS,
            RegistryEffect(
                model_name=model_name,
                revision=model.registry.revision,
                frontier=format_time(frontier.reached_since(model.first_pane_ms)),
                settings=settings,
                settings_before=before,
            ),
        )

    def _model(self, name: str, state: State) -> MeasuredModel:
        model = self._models.get(name)
        if model is None:
            assert self._model_names is not None
            (number,) = self._model_names.numbers([name], state)
            model = self._created(number, name, state)
        return model

    def _created(self, number: int, name: str, state: State) -> MeasuredModel:
        config = self._config
        model = MeasuredModel(number, name, config.for_model(name), config.pane_ms, state)
        self._models[name] = model
        self._numbered.append(model)
        self._wake(model)
        return model

    def _note_first_pane(self, model: MeasuredModel) -> None:
        pane_ms, first_ms = model.first_pane_ms, self._first_pane_ms
        if pane_ms is not None and (first_ms is None or pane_ms < first_ms):
            self._first_pane_ms = pane_ms

    def _add(self, batch: Batch, frontier: Frontier, state: State) -> WorkSlices[list[Record]]:
        """Add partials, watermarks, losses and registry entries; the records are registry
        effects.
        """
        partials: list[Partial] = []
        lost: list[LostSpan] = []
        for value in batch.records.get(topics.WINDOW_PARTIALS, ()):
            if isinstance(value, Partial):
                partials.append(value)
            elif isinstance(value, Watermarks):
                frontier.note(value)
            else:
                lost.append(value)
        self._losses.add(lost, state)
        received = ReceivedPartials(partials, lambda name: self._model(name, state), state)
        yield
        increments = yield from add_counts(received, self._panes, min(self._lanes), state)
        if self._open_windows is not None and increments is not None:
            self._open_windows.note(increments)
            if self._open_windows.is_crowded():
                yield from self._open_windows.count(frontier.edges_ms, state)
        yield
        plans = [self._schedule.plan(part.model.config) for part in received.parts]
        self._features.add(received, [self._grain_ms(plan) for plan in plans], state)
        yield from self._newest.add(received, [plan.last_n_step_ms for plan in plans], state)
        for models in in_slices(received.models):
            for model in models:
                model.write(state)
                self._wake(model)
                self._note_first_pane(model)
            yield
        for profile in batch.records.get(topics.REFERENCE_PROFILES, ()):
            model = self._model(profile.model_name, state)
            store_profile(model, profile, state)
            self._wake(model)
        records = yield from self._apply_entries(
            batch.records.get(topics.REGISTRY, ()),
            batch.records.get(topics.MODEL_LABELS, ()),
            batch.records.get(topics.MODEL_RULES, ()),
            frontier,
            state,
        )
        if self._first_pane_ms is not None:
            # A whole hour before the first row, so that time begins at the same moment whichever
            # batch has the first row.
            frontier.begin(self._first_pane_ms // HOUR_MS * HOUR_MS)
        frontier.write(state)
        return records

    def _apply_entries(
        self,
        entries: Sequence[RegistryEntry],
        labels: Sequence[ModelLabels],
        rules: Sequence[ModelRules],
        frontier: Frontier,
        state: State,
    ) -> WorkSlices[list[Record]]:
        by_model: dict[str, tuple[list[RegistryEntry], list[ModelLabels], list[ModelRules]]] = {}
        for entry in entries:
            by_model.setdefault(entry.model_name, ([], [], []))[0].append(entry)
        for each in labels:
            by_model.setdefault(each.model_name, ([], [], []))[1].append(each)
        for of_rules in rules:
            by_model.setdefault(of_rules.model_name, ([], [], []))[2].append(of_rules)
        records: list[Record] = []
        for names in in_slices(list(by_model)):
            for name in names:
                model = self._model(name, state)
                self._wake(model)
                records += apply_entries(
                    model,
                    *by_model[name],
                    self._since_deployment,
                    frontier.reached_since(model.first_pane_ms),
                    self._config.pane_ms,
                    state,
                )
            yield
        return records

    def _traffic_records(
        self,
        models: Sequence[MeasuredModel],
        edges: EdgeSpan,
        state: State,
    ) -> WorkSlices[RecordsByModel]:
        now_ms = edges.now_ms
        work: list[_TrafficWork] = []
        for model in models:
            if versions := _seen_versions(model, now_ms):
                dues = self._schedule.plan(model.config).due(TRAFFIC, *edges)
                watched = self._watched_for_silence(model, versions, now_ms)
                jobs = self._jobs(model, TRAFFIC, dues, watched, state)
                work.append(_TrafficWork(model, versions, watched, dues, jobs))
                note_scores(model, self._new_parts(model, TRAFFIC, jobs, state))
        by_model: RecordsByModel = {}
        gathered = self._gatherer.gather(TRAFFIC, [(each.model, each.jobs) for each in work])
        yield
        for (model, versions, watched, dues, _), windows in zip(work, gathered, strict=True):
            records = by_model[model.number] = []
            plan = self._schedule.plan(model.config)
            smallest = [window for window in windows if window.job.due.window == plan.smallest.name]
            if self._note_traffic(model, smallest, plan.smallest.step_ms, state):
                self._wake(model)
            records += self._builder.metric_records(model, windows, state, ended_ms=self._ended_ms)
            grain_ms = self._grain_ms(plan)
            left_out = yield from self._features.settle(model, now_ms, grain_ms, state)
            records += [Record(UNWATCHED_FEATURES, features) for features in left_out]
            for due in dues:
                if due.window == plan.detection.name:
                    judged = _with_news(model, versions, watched, due)
                    records += yield from self._drift.records(
                        model, due, judged, grain_ms, self._ended_ms, state
                    )
            records += self._reporter.new_versions(model, versions, now_ms)
        yield
        references = yield from self._reporter.references(
            [
                (each.model, each.versions, self._grain_ms(self._schedule.plan(each.model.config)))
                for each in work
            ],
            now_ms,
            state,
        )
        for each, commands in zip(work, references, strict=True):
            by_model[each.model.number] += commands
            longest_ms = self._schedule.plan(each.model.config).longest_ms
            self._drop_panes(each.model, TRAFFIC, now_ms - longest_ms, state)
        return by_model

    def _decision_records(
        self, models: Sequence[MeasuredModel], edges: EdgeSpan, state: State
    ) -> WorkSlices[RecordsByModel]:
        now_ms = edges.now_ms
        work: list[tuple[MeasuredModel, list[WindowJob]]] = []
        for model in models:
            if model.facts.first_pane_ms[DECISIONS] is not None:
                plan = self._schedule.plan(model.config)
                jobs = self._jobs(model, DECISIONS, plan.due(DECISIONS, *edges), (), state)
                jobs += self._since_deployment.jobs(
                    model, plan, plan.since_deployment_due(*edges), state
                )
                if ARRIVALS not in self._lanes:
                    settle_labels(DECISIONS, model, self._new_parts(model, DECISIONS, jobs, state))
                work.append((model, jobs))
        by_model: RecordsByModel = {}
        gathered = self._gatherer.gather(DECISIONS, work)
        yield
        for (model, _), windows in zip(work, gathered, strict=True):
            records = by_model[model.number] = []
            plan = self._schedule.plan(model.config)
            for window in windows:
                if window.by_rung is not None:
                    due, segments = window.job.due, [segment for _, segment in window.series]
                    self._completeness.add(
                        model, due.window, due.start_ms, segments, window.by_rung, state
                    )
            records += self._builder.metric_records(model, windows, state, ended_ms=self._ended_ms)
            records += self._builder.histogram_records(model, plan.histogram_window, windows)
        seen = [(model, _seen_versions(model, now_ms)) for model, _ in work]
        if TRAFFIC not in self._lanes:
            for model, versions in seen:
                by_model[model.number] += self._reporter.new_versions(model, versions, now_ms)
        yield
        baselines = self._reporter.baselines(seen, now_ms, state)
        for (model, _), commands in zip(seen, baselines, strict=True):
            by_model[model.number] += commands
            plan = self._schedule.plan(model.config)
            self._drop_panes(model, DECISIONS, now_ms - decisions_kept_ms(model, plan), state)
        return by_model

    def _arrival_records(
        self, models: Sequence[MeasuredModel], edges: EdgeSpan, state: State
    ) -> RecordsByModel:
        now_ms = edges.now_ms
        work: list[tuple[MeasuredModel, list[WindowJob]]] = []
        new: dict[int, OutcomeRows] = {}
        for model in models:
            if model.facts.first_pane_ms[ARRIVALS] is not None:
                plan = self._schedule.plan(model.config)
                jobs = self._jobs(model, ARRIVALS, plan.due(ARRIVALS, *edges), (), state)
                if model.config.last_n and now_ms % plan.last_n_step_ms == 0:
                    step = self._newest.step(model, plan, now_ms, state)
                    jobs += step.jobs
                    if len(step.new) and self._reads_outcomes(model.name):
                        new[model.number] = cut(step.new, max(model.config.last_n))
                settle_labels(ARRIVALS, model, self._new_parts(model, ARRIVALS, jobs, state))
                work.append((model, jobs))
        by_model: RecordsByModel = {}
        gathered = self._gatherer.gather(ARRIVALS, work)
        for (model, _), windows in zip(work, gathered, strict=True):
            records = by_model[model.number] = []
            records += self._builder.metric_records(model, windows, state)
            plan = self._schedule.plan(model.config)
            if (rows := new.get(model.number)) is not None:
                wrong = self._gatherer.errors(model, ARRIVALS, rows.cell)
                start_ms = now_ms - plan.last_n_step_ms
                outcomes = ordered_outcomes(model, rows, wrong, start_ms, now_ms)
                records.append(Record(ORDERED_OUTCOMES, outcomes))
            if not self._lanes - {ARRIVALS}:
                versions = _seen_versions(model, now_ms)
                records += self._reporter.new_versions(model, versions, now_ms)
            self._drop_panes(model, ARRIVALS, now_ms - plan.longest_ms, state)
        return by_model

    def _jobs(
        self,
        model: MeasuredModel,
        lane: int,
        dues: Sequence[DueWindow],
        watched: Sequence[str],
        state: State,
    ) -> list[WindowJob]:
        """The due windows with counts, and those that are announced although they are empty,
        because a version is `watched` for silence.
        """
        first_ms, last_ms = model.facts.first_pane_ms[lane], model.facts.last_pane_ms[lane]
        jobs = []
        for due in dues:
            spans = []
            if first_ms is not None and last_ms is not None:
                start_ms = max(due.start_ms, first_ms)
                end_ms = min(due.end_ms, last_ms + self._config.pane_ms)
                if start_ms < end_ms:
                    # The whole window, not the part with counts: whole strides are cached.
                    spans = self._panes.span(model.number, lane, due.start_ms, due.end_ms, state)
            always = [name for name in watched if _is_announced(model, name, due)]
            if spans or always:
                jobs.append(WindowJob(due, spans, due.start_ms, always=always))
        return jobs

    def _new_parts(
        self, model: MeasuredModel, lane: int, jobs: Sequence[WindowJob], state: State
    ) -> Iterator[WindowJob]:
        """The smallest windows of some jobs that are complete for the first time, without the part
        that the window of the same kind before them has.
        """
        smallest = self._schedule.plan(model.config).smallest.name
        for job in jobs:
            due = job.due
            if due.window != smallest or due.revision != 1:
                continue
            if due.step_ms < due.size_ms:
                begin_ms = due.end_ms - due.step_ms
                spans = self._panes.span(model.number, lane, begin_ms, due.end_ms, state)
                job = WindowJob(due, spans, begin_ms)
            yield job

    def _drop_panes(self, model: MeasuredModel, lane: int, end_ms: int, state: State) -> None:
        """Delete panes that no window, reference or baseline needs any more; once a day."""
        facts = model.facts
        end_ms = min([end_ms, *pending_spans_ms(model, lane)]) // DAY_MS * DAY_MS
        first_ms = facts.first_pane_ms[lane]
        if first_ms is None or end_ms <= max(facts.kept_from_ms[lane], first_ms):
            return
        bucket_ms = self._panes.bucket_ms
        start_ms = max(facts.kept_from_ms[lane] - max(DAY_MS, bucket_ms), 0)
        grain_ms = self._grain_ms(self._schedule.plan(model.config))
        for first_ms, last_ms in model.occupied[lane].between(start_ms, end_ms):
            self._panes.drop(model.number, lane, first_ms, last_ms, end_ms, state)
            if lane == TRAFFIC:
                days_ms = (first_ms // DAY_MS * DAY_MS, (last_ms // DAY_MS + 1) * DAY_MS)
                self._features.drop(model, *days_ms, grain_ms, state)
        model.occupied[lane].forget_before(end_ms // bucket_ms * bucket_ms)
        facts.kept_from_ms[lane] = end_ms

    def _close_empty_days(self, busy: AbstractSet[int], edges: EdgeSpan, state: State) -> None:
        """Close the days of "since deployment" that became final for models without work: these
        days have no rows.

        `busy` are the places of the models that had work.
        """
        ends_ms: dict[int, int] = {}
        for config in (self._config.defaults, *self._config.models.values()):
            dues = self._schedule.plan(config).since_deployment_due(*edges)
            ends_ms[id(config)] = max((due.end_ms for due in dues if due.final), default=0)
        if not any(ends_ms.values()):
            return
        for place, model in enumerate(self._sorted):
            since_ms, end_ms = model.facts.since_ms, ends_ms[id(model.config)]
            if since_ms is not None and since_ms < end_ms and place not in busy:
                model.facts.since_ms = end_ms
                model.write(state)

    def _wake(self, model: MeasuredModel) -> None:
        """Look again when a model has work: what it counts or what the registry has changed."""
        for times in self._work_times:
            times.ask_again(model.number)

    def _watched_for_silence(
        self, model: MeasuredModel, versions: Sequence[str], now_ms: int
    ) -> list[str]:
        """Versions whose windows are emitted even without traffic.

        None after the end of a recorded log, where silence has no meaning.
        """
        if self._ended_ms is not None and now_ms > self._ended_ms:
            return []
        return _versions_watched_for_silence(model, versions, now_ms)

    def _grain_ms(self, plan: WindowPlan) -> int:
        """Length of time by which feature summaries are kept.

        An hour if the detection window is made of whole hours, else a pane.
        """
        pane_ms = self._config.pane_ms
        lengths_ms = (plan.detection.size_ms, plan.detection.step_ms)
        return (
            HOUR_MS
            if HOUR_MS % pane_ms == 0 and all(length % HOUR_MS == 0 for length in lengths_ms)
            else pane_ms
        )

    def _note_traffic(
        self, model: MeasuredModel, windows: Sequence[WindowCounts], step_ms: int, state: State
    ) -> bool:
        """Note the end of the last window with traffic of each version; whether one begins
        again.
        """
        begins_again = False
        for window in windows:
            end_ms = window.job.due.end_ms
            n_predictions = window.dense[:, COUNTER_CODES["predictions"]].tolist()
            for (name, _), n in zip(window.series, n_predictions, strict=True):
                version = model.facts.versions.get(name)
                if not n or version is None:
                    continue
                version.last_ms = end_ms
                step = TimeSpan(end_ms - step_ms, end_ms)
                # A window may be longer than its step, and hold the rows of the time before.
                if version.restarted_ms == NEVER_MS and self._reporter.has_rows(
                    model, name, step, state
                ):
                    version.restarted_ms = step.start_ms
                    begins_again = True
        return begins_again


def check_metrics(config: Config, known: Sequence[str]) -> None:
    """Reject names of metrics without a plug-in.

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


def _groups(places: Sequence[int], models: Sequence[MeasuredModel]) -> Iterator[Sequence[int]]:
    """Places of models that are gathered together: up to SERIES_AT_ONCE series, and all places of
    a run of MODELS_IN_ORDER.
    """
    begin = series = 0
    for _, of_run in groupby(range(len(places)), lambda at: places[at] // MODELS_IN_ORDER):
        ats = list(of_run)
        more = sum(len(models[places[at]].series) for at in ats)
        if ats[0] > begin and series + more > SERIES_AT_ONCE:
            yield places[begin : ats[0]]
            begin, series = ats[0], 0
        series += more
    if begin < len(places):
        yield places[begin:]


def _in_order(
    models: Sequence[MeasuredModel], place: Mapping[int, int], lanes: Sequence[RecordsByModel]
) -> list[Record]:
    """The records of some models in the order of emission; models in order of their places."""
    records: list[Record] = []
    for _, of_run in groupby(models, lambda model: place[model.number] // MODELS_IN_ORDER):
        numbers = [model.number for model in of_run]
        for lane in lanes:
            for number in numbers:
                records += lane.get(number, ())
    return records


def _settled_labels(model: MeasuredModel) -> tuple[object, ...] | None:
    """Classes and positive label of a model, once they are settled."""
    label_set = model.facts.label_set
    if label_set.settled is None:
        return None
    return (
        tuple(each.name for each in label_set.settled),
        *label_set.positive_class(model.configured_labels),
    )


def _seen_versions(model: MeasuredModel, now_ms: int) -> list[str]:
    """Versions with traffic before `now_ms`, sorted."""
    if model.name == NO_MODEL:
        return []
    versions = model.facts.versions
    return [name for name in sorted(versions) if versions[name].first_ms < now_ms]


def _is_announced(model: MeasuredModel, version: str, due: DueWindow) -> bool:
    """Whether a traffic window is announced if the version has no rows in it."""
    last_ms = model.facts.versions[version].last_ms
    return last_ms is None or is_announced(due.end_ms - last_ms, due.step_ms)


def _with_news(
    model: MeasuredModel, versions: Sequence[str], watched: Sequence[str], due: DueWindow
) -> list[str]:
    """Versions of which a traffic window is announced: those with rows in it, and those that are
    `watched` for silence, more and more seldom.
    """
    named = []
    for name in versions:
        last_ms = model.facts.versions[name].last_ms
        has_rows = last_ms is None or due.start_ms < last_ms
        if has_rows or (name in watched and _is_announced(model, name, due)):
            named.append(name)
    return named


def _versions_watched_for_silence(
    model: MeasuredModel, versions: Sequence[str], now_ms: int
) -> list[str]:
    """Versions whose windows are emitted even without traffic.

    Those in production, and those with traffic in the last 30 days that are not archived.
    """
    watched = []
    for name in versions:
        registered, last_ms = model.registry.versions.get(name), model.facts.versions[name].last_ms
        stage = registered.stage if registered is not None else ""
        if stage == "production" or (
            stage != "archived" and last_ms is not None and now_ms - last_ms < SILENCE_WATCHED_MS
        ):
            watched.append(name)
    return watched
