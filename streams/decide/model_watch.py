"""One model during one batch: which rules judge which record, and the changes of their alerts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from driftline.schemas import topics
from driftline.schemas.reports import JobRun, WorkerMetrics
from driftline.schemas.results import (
    WHOLE_SHARE,
    Drift,
    Histogram,
    RegistryEntry,
    WindowFigures,
    from_plain,
)
from driftline.schemas.times import DAY_MS, parse_time
from driftline.streams.baseline import Baseline
from driftline.streams.decide.activity import Activity, silence_limit_ms
from driftline.streams.decide.against_baseline import level_of
from driftline.streams.decide.alert_acts import AlertActs, ReceivedCommand
from driftline.streams.decide.alert_lifecycle import (
    AlertState,
    joined_parts,
    next_state,
    resolved,
)
from driftline.streams.decide.daily_variance import Days
from driftline.streams.decide.detectors.level_evidence import LevelEvidence
from driftline.streams.decide.detectors.outcome_history import OutcomeHistory
from driftline.streams.decide.detectors.rate_history import RateHistory
from driftline.streams.decide.fitting_window import FittingWindow
from driftline.streams.decide.joint_alerts import JointAlerts
from driftline.streams.decide.judged_rung import JudgedRung, ladder_of
from driftline.streams.decide.judgement import (
    DriftWindow,
    Judgement,
    SeriesOutcomes,
    Situation,
    Standing,
    TunerEvaluation,
    shift_of,
)
from driftline.streams.decide.label_feed import LabelFeed
from driftline.streams.decide.level_rule import LevelRule
from driftline.streams.decide.open_alerts import OpenAlerts
from driftline.streams.decide.outcome_rule import KeptDetectors, OutcomeRule
from driftline.streams.decide.report_alerts import ReportAlerts
from driftline.streams.decide.rule import MetricRule, Rule, SequentialRule
from driftline.streams.decide.rule_index import RuleIndex
from driftline.streams.decide.rule_windows import rule_windows_of
from driftline.streams.decide.share_rule import ShareRule
from driftline.streams.decide.stored_state import (
    StateCache,
    WatchedHistories,
    WatchedModel,
    WatchedOutcomes,
    WatchedSeries,
    WatchedTraffic,
    WatchedVersion,
)
from driftline.streams.decide.tuner.recommendation_lifecycle import (
    VersionTuner,
    delete_state,
    threshold_changed,
)
from driftline.streams.decide.wording import subject
from driftline.streams.lanes import ALL
from driftline.streams.ordered_outcomes import OrderedOutcomes
from driftline.streams.stage import Record


class ModelWatch:
    """One model during one batch. Each public method takes one record and gives the records that it
    leads to.
    """

    def __init__(
        self, model_name: str, index: RuleIndex, cache: StateCache, detectors: KeptDetectors
    ) -> None:
        self._name, self._index, self._cache = model_name, index, cache
        self._detectors = detectors
        self._model = cache.load(WatchedModel, model_name)
        self._versions: dict[str, WatchedVersion] = {}
        self._alerts = OpenAlerts(model_name, index.rules, cache)
        self._acts = AlertActs(model_name, index, cache, self._alerts)
        self._joint = JointAlerts(model_name, index, cache, self._alerts, self._series)
        self._reports = ReportAlerts(
            model_name, index, cache, self._alerts, self._series, self._drop_alerts
        )

    def command(self, received: ReceivedCommand) -> Iterator[Record]:
        """Carry out and answer what a person does about the alerts of the model."""
        if self._index.config.subject != "model":
            # Nothing of it is counted: its time is that of its reports.
            reached_ms = max(received.frontier_ms, self._model.now_ms)
            received = msgspec.structs.replace(received, frontier_ms=reached_ms)
        yield from self._acts.answer(received)

    def worker(self, metrics: WorkerMetrics) -> Iterator[Record]:
        """Judge what a worker reports about itself and its machine."""
        yield from self._reach(parse_time(metrics.timestamp))
        yield from self._reports.worker(metrics)
        # Reports have no common steps of time, so rules that read alerts are judged after each.
        yield from self._joint.judge()

    def job(self, run: JobRun) -> Iterator[Record]:
        """Judge what is reported of a scheduled job."""
        yield from self._reach(parse_time(run.timestamp))
        yield from self._reports.job(run)
        yield from self._joint.judge()

    def registry(self, entry: RegistryEntry) -> Iterator[Record]:
        """Take over a version's registry state; archiving the version resolves its alerts."""
        version = self._version(entry.model_version)
        baselines = {
            maturity: from_plain(Baseline, baseline)
            for maturity, baseline in entry.baselines.items()
        }
        self._model.registry_revision = max(self._model.registry_revision, entry.revision)
        self._drop_accepted(entry.model_version, version, baselines)
        if self._index.tuner.enabled and entry.threshold != version.standing.threshold:
            yield from self._threshold_changed(entry)
        version.standing = Standing(
            stage=entry.stage, threshold=entry.threshold, baselines=baselines
        )
        in_production = self._model.in_production
        if entry.model_version in in_production:
            in_production.remove(entry.model_version)
        if entry.stage == "production":
            in_production.append(entry.model_version)
        if entry.stage == "archived":
            yield from self._archived(entry.model_version, version)

    def metric(self, figures: WindowFigures) -> Iterator[Record]:
        """Judge the figures of one window by each rule that reads them."""
        at_ms = figures.complete_at_ms
        yield from self._reach(at_ms)
        # Decisions and arrivals follow traffic of the same time: by then, all drift results of the
        # windows before have come.
        if figures.lane != "traffic":
            self._model.labels_upto_ms = max(self._model.labels_upto_ms, at_ms)
            yield from self._judge_drift_before(at_ms)
        version = self._version(figures.model_version)
        is_pulse = figures.lane == "traffic" and figures.window == self._index.pulse
        if figures.segment == ALL:
            if figures.lane == "decisions" and figures.maturity is not None:
                self._note_completeness(figures.window, figures.maturity, figures.completeness)
            elif is_pulse and figures.n_predictions:
                version.last_ms = max(version.last_ms, figures.window_end_ms)
                self._model.last_ms = max(self._model.last_ms, version.last_ms)
        if version.standing.stage == "archived":
            return
        self._note_labels(figures)
        self._note_hours(figures)
        rules = [
            rule
            for rule in self._index.metric_rules.get((figures.lane, figures.window), ())
            if self._reads(rule, figures)
        ]
        daily = self._daily_metrics(figures)
        if rules or daily:
            series = self._series(figures.model_version, figures.segment)
            yield from self._drop_removed_rules(series, figures.model_version, figures.segment)
            if is_pulse and figures.n_predictions:
                series.activity = _with_traffic(
                    series.activity, int(figures.window_start_ms), int(figures.window_end_ms)
                )
            if daily:
                days = series.days.get(figures.maturity or "", Days())
                series.days[figures.maturity or ""] = days.with_day(
                    figures.window_end_ms, figures.metrics, daily
                )
            yield from self._fit_windows(rules, figures, series)
            for rule in rules:
                if self._window(rule, series) == figures.window:
                    yield from self._judge(rule, figures, series, figures.maturity)

    def finish(self) -> Iterator[Record]:
        """Judge the rules that read alerts, once all records of the batch have been read."""
        yield from self._joint.judge()

    def drift(self, result: Drift) -> Iterator[Record]:
        """Collect a drift result; the results of a window are judged together once time has passed
        its end.
        """
        if not any(rule.applies_to(result.segment) for rule in self._index.drift_rules):
            return
        yield from self._judge_drift_before(result.window_end_ms)
        shift = shift_of(result)
        place = (result.model_version, result.segment, result.window, result.window_end_ms)
        for number, window in enumerate(self._model.drift):
            if (
                window.model_version,
                window.segment,
                window.window,
                window.window_end_ms,
            ) == place:
                self._model.drift[number] = msgspec.structs.replace(
                    window, shifts=(*window.shifts, shift)
                )
                return
        self._model.drift.append(
            DriftWindow(
                model_name=self._name,
                model_version=result.model_version,
                segment=result.segment,
                window=result.window,
                window_start_ms=result.window_start_ms,
                window_end_ms=result.window_end_ms,
                shifts=(shift,),
                losses=result.losses,
                reference_losses=result.reference_losses,
            )
        )

    def histogram(self, histogram: Histogram) -> Iterator[Record]:
        """Search a better threshold, and compute outcomes of earlier recommendations."""
        tuner, standing = self._index.tuner, self._version(histogram.model_version).standing
        if not tuner.enabled or standing.stage == "archived" or not tuner.reads(histogram):
            return
        rung = tuner.maturity or self._judged_rung(histogram.window).chosen
        if histogram.maturity != rung and not histogram.final:
            return
        config = self._index.config
        version_tuner = VersionTuner(
            self._cache,
            self._name,
            histogram.model_version,
            tuner,
            config,
            config.threshold if standing.threshold is None else standing.threshold,
        )
        is_mature = histogram.maturity == rung
        for recommendation in version_tuner.process(histogram, is_mature=is_mature):
            yield Record(topics.RECOMMENDATIONS, recommendation)
        found = version_tuner.evaluation
        if found is not None:
            for rule in self._index.tuning_rules:
                series = self._series(found.model_version, ALL)
                # A week without figures moves an evaluation by days.
                step_ms = 2 * found.every_ms
                yield from self._judge(rule, found, series, found.maturity, step_ms=step_ms)

    def outcomes(self, step: OrderedOutcomes) -> Iterator[Record]:
        """Judge single outcomes by each rule that reads them."""
        rules = self._index.outcome_rules
        if not rules:
            return
        yield from self._reach(step.end_ms)
        for (version, segment), errors in step.errors:
            reading = [rule for rule in rules if rule.applies_to(segment)]
            if not reading or self._version(version).standing.stage == "archived":
                continue
            series = self._series(version, segment)
            measured = SeriesOutcomes(
                model_name=self._name,
                model_version=version,
                segment=segment,
                start_ms=step.start_ms,
                end_ms=step.end_ms,
                errors=errors,
            )
            for rule in reading:
                yield from self._judge(rule, measured, series, None)

    def _reach(self, at_ms: int) -> Iterator[Record]:
        """Let time pass up to the time of a record."""
        if at_ms > self._model.now_ms:
            yield from self._joint.judge()
            self._model.now_ms = at_ms
            if self._model.silences:
                yield from self._alerts.refresh_silences()

    def _threshold_changed(self, entry: RegistryEntry) -> Iterator[Record]:
        for recommendation in threshold_changed(
            self._cache,
            self._name,
            entry.model_version,
            self._index.tuner,
            threshold=entry.threshold,
            now_ms=self._model.now_ms,
        ):
            yield Record(topics.RECOMMENDATIONS, recommendation)

    def _archived(self, name: str, version: WatchedVersion) -> Iterator[Record]:
        for segment in version.segments:
            series = self._cache.load(WatchedSeries, self._name, name, segment)
            why = f"{subject(self._name, name, segment)} was archived"
            yield from self._drop_alerts(series, name, segment, list(series.alerts), why)
            self._cache.delete(WatchedSeries, self._name, name, segment)
            self._cache.delete(WatchedHistories, self._name, name, segment)
            self._cache.delete(WatchedTraffic, self._name, name, segment)
            self._cache.delete(WatchedOutcomes, self._name, name, segment)
        version.segments = []
        delete_state(self._cache, self._name, name)

    def _judge(
        self,
        rule: Rule,
        measurement: WindowFigures | DriftWindow | TunerEvaluation | SeriesOutcomes,
        series: WatchedSeries,
        maturity: str | None,
        *,
        step_ms: int | None = None,
    ) -> Iterator[Record]:
        version = measurement.model_version
        standing = self._version(version).standing
        if accepted := series.accepted.get(rule.name):
            standing = msgspec.structs.replace(standing, baselines=standing.baselines | accepted)
        situation = Situation(
            config=self._index.config,
            standing=standing,
            live=self._is_live(version),
            days=series.days.get(maturity or "", Days()),
            activity=series.activity,
            label_feed=series.label_feed,
            hours=self._hours(version, measurement.segment).hours if rule.reads_hours else None,
            labels_upto_ms=self._model.labels_upto_ms,
            segments=self._judged_segments(rule, version),
            performance_moved=self._performance_moved(version)
            if rule.reads in ("drift", "tuning")
            else None,
        )
        judged: Judgement | None
        if isinstance(rule, SequentialRule) and isinstance(measurement, WindowFigures):
            histories = self._histories(version, measurement.segment)
            history = histories.get(rule.name, RateHistory())
            histories[rule.name], judged = rule.judge_next(measurement, situation, history)
        elif isinstance(rule, LevelRule) and isinstance(measurement, WindowFigures):
            evidence = series.levels.get(rule.name, LevelEvidence())
            series.levels[rule.name], judged = rule.judge_next(measurement, situation, evidence)
        elif isinstance(rule, ShareRule) and isinstance(measurement, DriftWindow):
            tracks = series.shares.get(rule.name, {})
            series.shares[rule.name], judged = rule.judge_next(measurement, situation, tracks)
        elif isinstance(rule, OutcomeRule) and isinstance(measurement, SeriesOutcomes):
            judged = self._judge_outcomes(rule, measurement)
        else:
            judged = rule.judge(measurement, situation)
        if judged is None or (judged.verdict == "unclear" and rule.name not in series.alerts):
            return
        before = series.alerts.get(rule.name, _NO_ALERT)
        state, change = next_state(
            before,
            judged,
            is_long_enough=rule.is_long_enough,
            cool_down_ms=rule.cool_down_ms,
            step_ms=step_ms or self._index.step_ms.get(measurement.window),
        )
        if change is not None:
            state, record = self._alerts.announce(
                version,
                measurement.segment,
                rule,
                state,
                judged,
                change,
                joined=list(joined_parts(before.announced, state.announced))
                if before.firing
                else (),
                losses=measurement.losses,
            )
            yield record
        series.alerts[rule.name] = state
        if state.firing and rule.accepts and isinstance(measurement, WindowFigures):
            level = level_of(measurement, situation, judged)
            if level is not None:
                self._alerts.note_level(
                    version, measurement.segment, rule, level, measurement.maturity or "-"
                )

    def _judge_outcomes(self, rule: OutcomeRule, measured: SeriesOutcomes) -> Judgement:
        series = (self._name, measured.model_version, measured.segment)
        by_rule = self._cache.load(WatchedOutcomes, *series).by_rule
        place, history = (*series, rule.name), by_rule.get(rule.name, OutcomeHistory())
        detector = self._detectors.take(place, rule, history)
        by_rule[rule.name], judged, detector = rule.judge_next(measured, history, detector)
        self._detectors.keep(place, rule, by_rule[rule.name], detector)
        return judged

    def _judge_drift_before(self, now_ms: int) -> Iterator[Record]:
        """Judge the windows that ended before this time: all their results have come."""
        if not self._model.drift:
            return
        complete = [window for window in self._model.drift if window.window_end_ms < now_ms]
        self._model.drift = [
            window for window in self._model.drift if window.window_end_ms >= now_ms
        ]
        for window in complete:
            if self._version(window.model_version).standing.stage == "archived":
                continue
            series = self._series(window.model_version, window.segment)
            for rule in self._index.drift_rules:
                if rule.applies_to(window.segment):
                    yield from self._judge(rule, window, series, None)

    def _drop_removed_rules(
        self, series: WatchedSeries, version: str, segment: str
    ) -> Iterator[Record]:
        """Resolve the alerts of rules that are no longer in force, and forget their histories."""
        removed = [name for name in series.alerts if name not in self._index.rules]
        if removed:
            histories = self._histories(version, segment)
            place = (self._name, version, segment)
            outcomes = (
                self._cache.load(WatchedOutcomes, *place).by_rule
                if self._cache.has(WatchedOutcomes, *place)
                else {}
            )
            for name in removed:
                histories.pop(name, None)
                outcomes.pop(name, None)
                series.accepted.pop(name, None)
            yield from self._drop_alerts(
                series, version, segment, removed, "The rule is no longer in force"
            )
        by_rule: dict[str, Any]
        for by_rule in (series.fits, series.levels, series.shares):
            for name in [name for name in by_rule if name not in self._index.rules]:
                del by_rule[name]

    def _fit_windows(
        self, rules: Sequence[MetricRule], figures: WindowFigures, series: WatchedSeries
    ) -> Iterator[Record]:
        """Count the rows that rules need, and choose the windows anew with the first window of a
        day; the windows of all rules are announced if one has changed.

        A rule stays with its window while its alert is open.
        """
        has_rows = figures.n_predictions > 0 and figures.covered_share >= WHOLE_SHARE
        end_ms, has_changed = int(figures.window_end_ms), False
        for rule in rules:
            if not rule.min_samples:
                continue
            windows, before = rule.windows(self._index.config), series.fits.get(rule.name)
            fit = before or FittingWindow(windows[0])
            state = series.alerts.get(rule.name, _NO_ALERT)
            is_new_day = fit.day >= 0 and end_ms // DAY_MS > fit.day
            if fit.window not in windows or (is_new_day and not state.firing):
                fit = fit.chosen(windows)
                if before is not None and fit.window != before.window:
                    series.alerts[rule.name] = msgspec.structs.replace(state, runs={})
            if has_rows:
                is_enough = rule.rows(figures) >= rule.min_samples
                fit = fit.with_rows(figures.window, end_ms, is_enough=is_enough)
            series.fits[rule.name] = fit
            has_changed |= before is not None and (fit.window, fit.judges) != (
                before.window,
                before.judges,
            )
        if has_changed:
            yield Record(
                topics.RULE_WINDOWS,
                rule_windows_of(figures, self._index.rules, series.fits),
            )

    def _daily_window(self, rule: MetricRule, figures: WindowFigures) -> str:
        """Name of the window for whose rung a rule reads daily values."""
        series = self._series(figures.model_version, figures.segment)
        return self._window(rule, series) or figures.window

    def _window(self, rule: MetricRule, series: WatchedSeries) -> str | None:
        """Name of the window that a rule reads."""
        fit = series.fits.get(rule.name)
        return rule.window if fit is None else fit.window

    def _drop_alerts(
        self, series: WatchedSeries, version: str, segment: str, rules: Sequence[str], why: str
    ) -> Iterator[Record]:
        """Delete the states of rules; an open episode is resolved."""
        now_ms = self._model.now_ms
        for name in rules:
            state = series.alerts.pop(name)
            if state.firing:
                judged = Judgement(
                    verdict="clear",
                    window_start_ms=now_ms,
                    window_end_ms=now_ms,
                    at_ms=now_ms,
                    finding=why,
                )
                rule = self._index.rules.get(name, Rule(name=name))
                _, record = self._alerts.announce(
                    version, segment, rule, resolved(state, now_ms), judged, "resolved"
                )
                yield record

    def _drop_accepted(
        self, name: str, version: WatchedVersion, baselines: Mapping[str, Baseline]
    ) -> None:
        """Forget the accepted levels of the maturities at which another baseline was recorded."""
        before = version.standing.baselines
        anew = [at for at, baseline in baselines.items() if before.get(at) != baseline]
        for segment in version.segments if anew else ():
            for levels in self._series(name, segment).accepted.values():
                for at in anew:
                    levels.pop(at, None)

    def _reads(self, rule: MetricRule, figures: WindowFigures) -> bool:
        if not rule.applies_to(figures.segment):
            return False
        return figures.lane != "decisions" or figures.maturity == self._rung(rule, figures.window)

    def _daily_metrics(self, figures: WindowFigures) -> tuple[str, ...]:
        """Metrics of this record that rules read as daily values."""
        if figures.lane != "decisions" or figures.window != self._index.day:
            return ()
        rules = [
            rule
            for rule in self._index.daily_rules
            if rule.applies_to(figures.segment)
            and figures.maturity == self._rung(rule, self._daily_window(rule, figures))
        ]
        return tuple(dict.fromkeys(metric for rule in rules for metric in rule.daily()))

    def _rung(self, rule: MetricRule, window: str) -> str | None:
        return rule.maturity or self._judged_rung(window).chosen

    def _judged_rung(self, window: str) -> JudgedRung:
        return self._model.maturity.get(window, _NO_RUNG)

    def _note_completeness(self, window: str, rung: str, completeness: float | None) -> None:
        before = self._judged_rung(window)
        after = before.after(rung, completeness, ladder_of(self._index.config, window))
        if after is not before:
            self._model.maturity[window] = after

    def _note_labels(self, figures: WindowFigures) -> None:
        """Note when labels became known and how long they take, where a rule reads it."""
        index = self._index
        is_pulse = figures.lane == "arrivals" and figures.window == index.pulse
        is_delay = figures.lane == "decisions" and figures.window == index.broadest
        if not (is_pulse or is_delay) or not any(
            rule.applies_to(figures.segment) for rule in index.label_rules
        ):
            return
        series = self._series(figures.model_version, figures.segment)
        feed = series.label_feed or LabelFeed()
        series.label_feed = (
            feed.with_labels(figures, index.config.label_horizon_ms)
            if is_pulse
            else feed.with_delay(figures, index.rungs.get(figures.maturity or "", 0))
        )

    def _note_hours(self, figures: WindowFigures) -> None:
        """Note traffic by hour, where a rule reads it."""
        index = self._index
        if (
            figures.lane == "traffic"
            and figures.window == index.hours
            and any(rule.applies_to(figures.segment) for rule in index.hour_rules)
        ):
            self._series(figures.model_version, figures.segment)  # is deleted with the version
            traffic = self._hours(figures.model_version, figures.segment)
            start_ms, end_ms = int(figures.window_start_ms), int(figures.window_end_ms)
            traffic.hours = traffic.hours.with_window(start_ms, end_ms, figures.n_predictions)

    def _is_live(self, version: str) -> bool:
        """Whether predictions of this version are expected."""
        if self._model.in_production:
            return version in self._model.in_production
        return self._version(version).last_ms == self._model.last_ms

    def _judged_segments(self, rule: Rule, version: str) -> int:
        if rule.budget is None or not rule.segment.endswith("=*"):
            return 1
        return sum(rule.applies_to(segment) for segment in self._version(version).segments)

    def _performance_moved(self, version: str) -> bool | None:
        alerts = self._series(version, ALL).alerts
        judged = [
            alerts[name].firing or bool(alerts[name].runs)
            for name, rule in self._index.rules.items()
            if rule.judges_performance and name in alerts
        ]
        return any(judged) if judged else None

    def _version(self, name: str) -> WatchedVersion:
        version = self._versions.get(name)
        if version is None:
            version = self._cache.load(WatchedVersion, self._name, name)
            self._versions[name] = version
        return version

    def _series(self, version: str, segment: str) -> WatchedSeries:
        segments = self._version(version).segments
        if segment not in segments:
            segments.append(segment)
        return self._cache.load(WatchedSeries, self._name, version, segment)

    def _hours(self, version: str, segment: str) -> WatchedTraffic:
        return self._cache.load(WatchedTraffic, self._name, version, segment)

    def _histories(self, version: str, segment: str) -> dict[str, RateHistory]:
        return self._cache.load(WatchedHistories, self._name, version, segment).by_rule


def _with_traffic(activity: Activity | None, start_ms: int, end_ms: int) -> Activity:
    """Add a window with predictions."""
    if activity is None:
        return Activity(start_ms, end_ms)
    limit_ms = silence_limit_ms(activity, end_ms - start_ms)
    return activity.with_window(start_ms, end_ms, limit_ms)


_NO_ALERT = AlertState()
_NO_RUNG = JudgedRung()
