"""Rules that read the alerts of their model (`rules/composite.py`): when they are judged, and the
changes of their own alerts.

    step of time     T1              T2              T3
    alerts           drift opens     loss opens      drift ends, no_data opens
    judged           once, then      once, then      once, then

They are judged once for each time that the model has reached, after all other rules: so the order
of rules and of records of one time plays no role. A batch holds whole steps; within a batch of
several, each one is judged before the next one begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from driftline.streams.decide.alert_lifecycle import AlertState, Run, joined_parts, next_state
from driftline.streams.decide.judgement import (
    SEVERITIES,
    OpenEpisode,
    OpenEpisodes,
    Situation,
)
from driftline.streams.decide.open_alerts import OpenAlerts
from driftline.streams.decide.rule_index import RuleIndex
from driftline.streams.decide.rules.composite import CompositeRule
from driftline.streams.decide.stored_state import (
    OpenAlert,
    StateCache,
    WatchedModel,
    WatchedSeries,
    WatchedVersion,
)
from driftline.streams.lanes import ALL
from driftline.streams.stage import Record


class JointAlerts:
    """The composites of one model during one batch.

    Parameters
    ----------
    series
        Gives the state of a version in a segment, and remembers that there is one.
    """

    def __init__(
        self,
        model_name: str,
        index: RuleIndex,
        cache: StateCache,
        alerts: OpenAlerts,
        series: Callable[[str, str], WatchedSeries],
    ) -> None:
        self._name, self._index, self._cache = model_name, index, cache
        self._alerts, self._series = alerts, series
        self._model = cache.load(WatchedModel, model_name)
        self._before = list(self._model.open.values())

    def judge(self) -> Iterator[Record]:
        """Judge the open alerts at the time that the model has reached."""
        for rule in self._index.composites:
            places = dict.fromkeys([*self._before, *self._model.open.values()])
            for version, segment in _series_of(rule, list(places)):
                yield from self._judge(rule, version, segment)
        self._before = list(self._model.open.values())

    def _judge(self, rule: CompositeRule, version: str, segment: str) -> Iterator[Record]:
        judged = rule.judge(
            self._episodes(rule, version, segment), Situation(config=self._index.config)
        )
        known = self._cache.load(WatchedVersion, self._name, version).segments
        if judged.verdict != "breach" and segment not in known:
            return
        series = self._series(version, segment)
        before = series.alerts.get(rule.name, _NO_ALERT)
        state, change = next_state(
            _timeless(before),
            judged,
            is_long_enough=rule.is_long_enough,
            cool_down_ms=rule.cool_down_ms,
        )
        if change is not None:
            joined = joined_parts(before.announced, state.announced) if before.firing else ()
            state, record = self._alerts.announce(
                version, segment, rule, state, judged, change, joined=list(joined)
            )
            yield record
        state = msgspec.structs.replace(state, window_end_ms=-1)
        if state != before:
            series.alerts[rule.name] = state

    def _episodes(self, rule: CompositeRule, version: str, segment: str) -> OpenEpisodes:
        by_rule: dict[str, list[OpenEpisode]] = {}
        for place in self._model.open.values():
            is_seen = place.model_version == version and segment in (ALL, place.segment)
            if is_seen and place.rule in rule.named:
                state = self._alerts.state(place)
                episode = OpenEpisode(place.segment, state.severity, state.starts_at_ms)
                by_rule.setdefault(place.rule, []).append(episode)
        return OpenEpisodes(
            model_name=self._name,
            model_version=version,
            segment=segment,
            at_ms=self._model.now_ms,
            by_rule={name: tuple(sorted(each, key=_worst)) for name, each in by_rule.items()},
        )


def _series_of(rule: CompositeRule, places: list[OpenAlert]) -> list[tuple[str, str]]:
    """Versions and segments that a composite judges, given the alerts that are or were open."""
    series: dict[tuple[str, str], None] = {}
    for place in places:
        segment = ALL if rule.segment == ALL else place.segment
        if rule.applies_to(segment) and place.rule in (*rule.named, rule.name):
            series[place.model_version, segment] = None
    return list(series)


def _worst(episode: OpenEpisode) -> tuple[int, int, str]:
    return -SEVERITIES.index(episode.severity), episode.starts_at_ms, episode.segment


def _timeless(state: AlertState) -> AlertState:
    """The state without the number of judgements, which may be several at one time."""
    return msgspec.structs.replace(
        state,
        window_end_ms=-1,
        runs={severity: Run(0, run.since_ms) for severity, run in state.runs.items()},
        joining={
            name: {rank: Run(0, run.since_ms) for rank, run in by_rank.items()}
            for name, by_rank in state.joining.items()
        },
    )


_NO_ALERT = AlertState()
