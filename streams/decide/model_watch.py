"""What one batch means for one model: which rules judge which record, and what becomes of their
alerts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from driftline.schemas import topics
from driftline.schemas.results import Drift, Histogram, RegistryEntry, WindowFigures
from driftline.schemas.times import DAY_MS
from driftline.streams.decide.alert_lifecycle import Life, ended, step
from driftline.streams.decide.alert_records import alert_of
from driftline.streams.decide.daily_variance import Days
from driftline.streams.decide.judged_rung import Maturity, ladder_of
from driftline.streams.decide.judgement import (
    Activity,
    DriftWindow,
    Judgement,
    Measurement,
    Shift,
    Situation,
    Standing,
)
from driftline.streams.decide.rule import MetricRule, Rule
from driftline.streams.decide.rule_index import Plan
from driftline.streams.decide.stored_state import Memories, ModelMemory, SeriesMemory, VersionMemory
from driftline.streams.decide.tuner.recommendation_lifecycle import (
    Tuning,
    forget,
    threshold_changed,
)
from driftline.streams.decide.wording import subject
from driftline.streams.lanes import ALL
from driftline.streams.registry.command_params import Baseline
from driftline.streams.stage import Record


class Watch:
    """One model during one batch. Every method takes one record and gives what follows from it."""

    def __init__(self, model_name: str, plan: Plan, memories: Memories) -> None:
        self._name, self._plan, self._memories = model_name, plan, memories
        self._model = memories.recall(ModelMemory, model_name)
        self._versions: dict[str, VersionMemory] = {}

    def registry(self, entry: RegistryEntry) -> Iterator[Record]:
        """Take a version's standing in; archiving it resolves its alerts."""
        version = self._version(entry.model_version)
        baselines = {
            maturity: msgspec.convert(baseline, Baseline)
            for maturity, baseline in entry.baselines.items()
        }
        if self._plan.tuner.enabled and entry.threshold != version.standing.threshold:
            for said in threshold_changed(
                self._memories,
                self._name,
                entry.model_version,
                self._plan.tuner,
                threshold=entry.threshold,
                now_ms=self._model.now_ms,
            ):
                yield Record(topics.RECOMMENDATIONS, said)
        version.standing = Standing(
            stage=entry.stage, threshold=entry.threshold, baselines=baselines
        )
        in_production = self._model.in_production
        if entry.model_version in in_production:
            in_production.remove(entry.model_version)
        if entry.stage == "production":
            in_production.append(entry.model_version)
        if entry.stage == "archived":
            for segment in version.segments:
                series = self._memories.recall(
                    SeriesMemory, self._name, entry.model_version, segment
                )
                gone = f"{subject(self._name, entry.model_version, segment)} was archived"
                yield from self._dropped(
                    series, entry.model_version, segment, list(series.lives), gone
                )
                self._memories.forget(SeriesMemory, self._name, entry.model_version, segment)
            version.segments = []
            forget(self._memories, self._name, entry.model_version)

    def metric(self, seen: WindowFigures) -> Iterator[Record]:
        """Judge the figures of one window by every rule that reads them."""
        at_ms = seen.complete_at_ms
        self._model.now_ms = max(self._model.now_ms, at_ms)
        # Decisions and arrivals come after traffic for the same time: then features, scores and
        # labels of the windows before are all in.
        if seen.lane != "traffic":
            yield from self._drift_before(at_ms)
        version = self._version(seen.model_version)
        pulse = seen.lane == "traffic" and seen.window == self._plan.pulse
        if seen.segment == ALL:
            if seen.lane == "decisions" and seen.maturity is not None:
                self._learn_maturity(seen.window, seen.maturity, seen.completeness)
            elif pulse and seen.n_predictions:
                version.last_ms = max(version.last_ms, seen.window_end_ms)
                self._model.last_ms = max(self._model.last_ms, version.last_ms)
        if version.standing.stage == "archived":
            return
        reading = [
            rule
            for rule in self._plan.metric_rules.get((seen.lane, seen.window), ())
            if self._reads(rule, seen)
        ]
        daily = self._daily_metrics(seen)
        if reading or daily:
            series = self._series(seen.model_version, seen.segment)
            yield from self._without_rules_that_are_gone(series, seen.model_version, seen.segment)
            if daily:
                days = series.days.get(seen.maturity or "", Days())
                series.days[seen.maturity or ""] = days.with_day(
                    seen.window_end_ms, seen.metrics, daily
                )
            for rule in reading:
                yield from self._judged(rule, seen, series, seen.maturity)
            if pulse and seen.n_predictions:
                series.activity = _busy(series.activity, seen.window_start_ms, seen.window_end_ms)

    def drift(self, seen: Drift) -> Iterator[Record]:
        """Keep a verdict until all of its window are in; they are judged together when time has
        gone on.
        """
        if not any(rule.applies_to(seen.segment) for rule in self._plan.drift_rules):
            return
        yield from self._drift_before(seen.window_end_ms)
        whose = (seen.model_version, seen.segment, seen.window, seen.window_end_ms)
        shift = Shift(seen.target, seen.method, seen.level, seen.statistic, seen.p_value)
        for number, held in enumerate(self._model.drift):
            if (held.model_version, held.segment, held.window, held.window_end_ms) == whose:
                self._model.drift[number] = msgspec.structs.replace(
                    held, shifts=(*held.shifts, shift)
                )
                return
        self._model.drift.append(
            DriftWindow(
                model_name=self._name,
                model_version=seen.model_version,
                segment=seen.segment,
                window=seen.window,
                window_start_ms=seen.window_start_ms,
                window_end_ms=seen.window_end_ms,
                shifts=(shift,),
            )
        )

    def histogram(self, seen: Histogram) -> Iterator[Record]:
        """Look for a better threshold, and at what earlier recommendations came to."""
        tuner, standing = self._plan.tuner, self._version(seen.model_version).standing
        if not tuner.enabled or standing.stage == "archived" or not tuner.reads(seen):
            return
        rung = tuner.maturity or self._maturity(seen.window).chosen
        if seen.maturity != rung and not seen.final:
            return
        in_force = self._plan.config.threshold if standing.threshold is None else standing.threshold
        tuning = Tuning(
            self._memories, self._name, seen.model_version, tuner, self._plan.config, in_force
        )
        for said in tuning.after(seen, mature=seen.maturity == rung):
            yield Record(topics.RECOMMENDATIONS, said)

    def _judged(
        self, rule: Rule, seen: Measurement, series: SeriesMemory, maturity: str | None
    ) -> Iterator[Record]:
        situation = Situation(
            config=self._plan.config,
            standing=self._version(seen.model_version).standing,
            live=self._live(seen.model_version),
            days=series.days.get(maturity or "", Days()),
            activity=series.activity,
            performance_moved=rule.reads == "drift" and self._performance_moved(seen.model_version),
        )
        judged = rule.judge(seen, situation)
        life, change = step(
            series.lives.get(rule.name, _NEW),
            judged,
            held=rule.held,
            cool_down_ms=rule.cool_down_ms,
            step_ms=self._plan.step_ms.get(seen.window),
        )
        series.lives[rule.name] = life
        if change is not None:
            alert = alert_of(
                (self._name, seen.model_version, seen.segment), rule, life, judged, change
            )
            yield Record(topics.ALERTS, alert)

    def _drift_before(self, now_ms: int) -> Iterator[Record]:
        """Judge the windows that ended before this time: their verdicts are all in."""
        if not self._model.drift:
            return
        ready = [window for window in self._model.drift if window.window_end_ms < now_ms]
        self._model.drift = [
            window for window in self._model.drift if window.window_end_ms >= now_ms
        ]
        for window in ready:
            if self._version(window.model_version).standing.stage == "archived":
                continue
            series = self._series(window.model_version, window.segment)
            for rule in self._plan.drift_rules:
                if rule.applies_to(window.segment):
                    yield from self._judged(rule, window, series, None)

    def _without_rules_that_are_gone(
        self, series: SeriesMemory, version: str, segment: str
    ) -> Iterator[Record]:
        gone = [name for name in series.lives if name not in self._plan.rules]
        if gone:
            yield from self._dropped(
                series, version, segment, gone, "The rule was taken out of the configuration"
            )

    def _dropped(
        self, series: SeriesMemory, version: str, segment: str, rules: Sequence[str], why: str
    ) -> Iterator[Record]:
        """Forget lives; one with an open episode is resolved first."""
        now_ms = self._model.now_ms
        for name in rules:
            life = series.lives.pop(name)
            if life.firing:
                judged = Judgement(
                    verdict="clear",
                    window_start_ms=now_ms,
                    window_end_ms=now_ms,
                    at_ms=now_ms,
                    said=why,
                )
                rule = self._plan.rules.get(name, Rule(name=name))
                alert = alert_of(
                    (self._name, version, segment), rule, ended(life, now_ms), judged, "resolved"
                )
                yield Record(topics.ALERTS, alert)

    def _reads(self, rule: MetricRule, seen: WindowFigures) -> bool:
        if not rule.applies_to(seen.segment):
            return False
        return seen.lane != "decisions" or seen.maturity == self._rung(rule)

    def _daily_metrics(self, seen: WindowFigures) -> tuple[str, ...]:
        """Metrics of this record that rules want as daily values."""
        if seen.lane != "decisions" or seen.window != self._plan.day:
            return ()
        wanted = [
            rule
            for rule in self._plan.daily_rules
            if rule.applies_to(seen.segment) and seen.maturity == self._rung(rule)
        ]
        return tuple(dict.fromkeys(metric for rule in wanted for metric in rule.daily()))

    def _rung(self, rule: MetricRule) -> str | None:
        return rule.maturity or self._maturity(rule.window or "").chosen

    def _maturity(self, window: str) -> Maturity:
        return self._model.maturity.get(window, _UNKNOWN)

    def _learn_maturity(self, window: str, rung: str, completeness: float | None) -> None:
        known = self._maturity(window)
        learnt = known.after(rung, completeness, ladder_of(self._plan.config, window))
        if learnt is not known:
            self._model.maturity[window] = learnt

    def _live(self, version: str) -> bool:
        """Whether predictions of this version are expected."""
        if self._model.in_production:
            return version in self._model.in_production
        return self._version(version).last_ms == self._model.last_ms

    def _performance_moved(self, version: str) -> bool:
        lives = self._series(version, ALL).lives
        judging = [
            lives[name]
            for name, rule in self._plan.rules.items()
            if rule.judges_performance and name in lives
        ]
        return any(life.firing or life.runs for life in judging)

    def _version(self, version: str) -> VersionMemory:
        memory = self._versions.get(version)
        if memory is None:
            memory = self._memories.recall(VersionMemory, self._name, version)
            self._versions[version] = memory
        return memory

    def _series(self, version: str, segment: str) -> SeriesMemory:
        known = self._version(version)
        if segment not in known.segments:
            known.segments.append(segment)
        return self._memories.recall(SeriesMemory, self._name, version, segment)


def _busy(activity: Activity | None, start_ms: int, end_ms: int) -> Activity:
    """With one more window of traffic.

    A silence beyond twice the longest one (and a day) was an outage, not a habit.
    """
    if activity is None:
        return Activity(start_ms, end_ms)
    silent_ms, longest_ms = start_ms - activity.last_ms, activity.longest_silence_ms
    if longest_ms < silent_ms <= max(2 * longest_ms, DAY_MS):
        longest_ms = silent_ms
    return Activity(activity.first_ms, max(activity.last_ms, end_ms), longest_ms)


_NEW = Life()
_UNKNOWN = Maturity()
