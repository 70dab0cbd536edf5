"""The open alerts of a model: their records, and the silences that match them.

Every record of `alerts` is made here, so that each names the silences in force. Which change an
alert makes is decided in `alert_lifecycle.py` and `alert_acts.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from driftline.schemas import topics
from driftline.schemas.alert_commands import Silence
from driftline.schemas.results import AlertChange, LostRows
from driftline.streams.baseline import Baseline
from driftline.streams.decide.alert_groups import group_of
from driftline.streams.decide.alert_lifecycle import AlertState, silenced
from driftline.streams.decide.alert_records import alert_id, alert_of, alert_of_act, fingerprint
from driftline.streams.decide.judgement import Judgement
from driftline.streams.decide.rule import Rule
from driftline.streams.decide.silences import matching
from driftline.streams.decide.stored_state import (
    OpenAlert,
    OpenAlertRecord,
    StateCache,
    WatchedModel,
    WatchedSeries,
)
from driftline.streams.decide.wording import listed
from driftline.streams.stage import Record


class OpenAlerts:
    """The open alerts of one model during one batch; `rules` are those of the model by name."""

    def __init__(self, model_name: str, rules: Mapping[str, Rule], cache: StateCache) -> None:
        self._name, self._rules, self._cache = model_name, rules, cache
        self._model = cache.load(WatchedModel, model_name)

    def announce(
        self,
        version: str,
        segment: str,
        rule: Rule,
        state: AlertState,
        judged: Judgement,
        change: AlertChange,
        *,
        joined: Sequence[str] = (),
        losses: Sequence[LostRows] = (),
    ) -> tuple[AlertState, Record]:
        """The state after a judgement led to a change, with its group and the silences in force,
        and the record; the parameters are those of `alert_of`.
        """
        place = OpenAlert(version, segment, rule.name)
        series = (self._name, version, segment)
        first: tuple[str, AlertState] | None = None
        if change == "firing":
            first = group_of(state, self._related(version, rule))
            own_id = alert_id(fingerprint(*series, rule.name), state)
            state = msgspec.structs.replace(state, group_id=first[1].group_id if first else own_id)
        state = msgspec.structs.replace(state, silenced_by=self._silences_on(place, state))
        if rule.reads == "alerts":
            first = None  # its summary names the alerts whose group it joins
        alert = alert_of(
            series, rule, state, judged, change, joined=joined, losses=losses, first=first
        )
        if state.firing:
            self._model.open[alert.fingerprint] = place
            self._record(place).alert = alert
        else:
            self._close(place)
        return state, Record(topics.ALERTS, alert)

    def announce_act(
        self,
        place: OpenAlert,
        state: AlertState,
        change: AlertChange,
        what: str,
        details: dict[str, Any] | None = None,
    ) -> Record:
        """Keep the state of an open alert after a change without a judgement; gives its record."""
        last = self._record(place).alert
        if last is None:
            raise ValueError(f"decide: the record of an open alert of {self._name} is missing")
        self._series(place).alerts[place.rule] = state
        if not state.firing:
            self._close(place)
        now_ms = self._model.now_ms
        return Record(topics.ALERTS, alert_of_act(last, state, change, now_ms, what, details or {}))

    def refresh_silences(self) -> Iterator[Record]:
        """Forget the silences that are over; gives a record of each open alert that others match
        now than its newest record names.
        """
        model = self._model
        for over in [each for each in model.silences.values() if each.ends_at_ms <= model.now_ms]:
            del model.silences[over.id]
        for place in model.open.values():
            before = self.state(place)
            state, change = silenced(before, self._silences_on(place, before))
            if change is not None:
                yield self.announce_act(
                    place, state, change, _silence_text(state, before, model.silences)
                )

    def note_level(self, version: str, segment: str, rule: Rule, level: Baseline, at: str) -> None:
        """Note the level of an open alert at a maturity, which a person may accept."""
        self._record(OpenAlert(version, segment, rule.name)).levels[at] = level

    def levels(self, place: OpenAlert) -> dict[str, Baseline]:
        """The newest level of an open alert, by maturity."""
        return self._record(place).levels

    def state(self, place: OpenAlert) -> AlertState:
        """The state of an open alert."""
        return self._series(place).alerts[place.rule]

    def _related(self, version: str, rule: Rule) -> Iterator[tuple[str, AlertState]]:
        """Rules and states of the open alerts of a version whose group one of a rule may join."""
        for place in self._model.open.values():
            other = self._rules.get(place.rule)
            if place.model_version == version and other is not None and rule.may_share_cause(other):
                yield place.rule, self.state(place)

    def _silences_on(self, place: OpenAlert, state: AlertState) -> tuple[str, ...]:
        if not self._model.silences:
            return ()
        return matching(
            self._model.silences.values(),
            self._model.now_ms,
            model_version=place.model_version,
            segment=place.segment,
            rule=place.rule,
            severity=state.severity,
        )

    def _close(self, place: OpenAlert) -> None:
        name = fingerprint(self._name, place.model_version, place.segment, place.rule)
        self._model.open.pop(name, None)
        self._cache.delete(OpenAlertRecord, self._name, *msgspec.structs.astuple(place))

    def _series(self, place: OpenAlert) -> WatchedSeries:
        return self._cache.load(WatchedSeries, self._name, place.model_version, place.segment)

    def _record(self, place: OpenAlert) -> OpenAlertRecord:
        return self._cache.load(OpenAlertRecord, self._name, *msgspec.structs.astuple(place))


def _silence_text(state: AlertState, before: AlertState, silences: Mapping[str, Silence]) -> str:
    """What began or ended, as part of a sentence."""
    if not state.silenced_by:
        return f"no longer silenced by {listed(before.silenced_by)}, and still firing"
    texts = [
        f"{each} of {silences[each].created_by}"
        + (f" ({silences[each].reason})" if silences[each].reason else "")
        for each in state.silenced_by
    ]
    return f"silenced by {listed(texts)}"
