"""State of stage 3: MessagePack with a format number.

One key per model for what its series share, one per version for its standing and one for its tuner,
one per series for its alerts, one for the histories of its sequential rules, one for those of
detectors on single outcomes and one for its traffic by hour, one per open alert for its newest
record, one per command that was answered, one per name that reports come under. A value is read
when it is first needed in a batch and written at the end of the batch if it has changed.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from driftline.schemas.alert_commands import Silence
from driftline.schemas.results import Alert, RuleLevel
from driftline.schemas.times import EpochMs
from driftline.streams.baseline import Baseline
from driftline.streams.decide.activity import Activity
from driftline.streams.decide.alert_lifecycle import AlertState
from driftline.streams.decide.daily_variance import Days
from driftline.streams.decide.detectors.level_evidence import LevelEvidence
from driftline.streams.decide.detectors.outcome_history import OutcomeHistory
from driftline.streams.decide.detectors.rate_history import RateHistory
from driftline.streams.decide.detectors.share_evidence import Tracks
from driftline.streams.decide.fitting_window import FittingWindow
from driftline.streams.decide.hourly_traffic import HourlyTraffic
from driftline.streams.decide.judged_rung import JudgedRung
from driftline.streams.decide.judgement import DriftWindow, Standing
from driftline.streams.decide.label_feed import LabelFeed
from driftline.streams.stage import State

FORMAT = 17
"""Raise it with every change of a stored struct; its class name is part of the keys."""

_T = TypeVar("_T", bound=msgspec.Struct)
# Times stay integers in state.
_encode = msgspec.msgpack.Encoder(enc_hook=int).encode


class WatchedVersion(msgspec.Struct, omit_defaults=True):
    """State of a version.

    Parameters
    ----------
    standing
        Its state in the registry.
    last_ms
        End of the newest window of traffic with predictions; -1 before the first.
    segments
        Segments with a `WatchedSeries`.
    """

    standing: Standing = Standing()
    last_ms: int = -1
    segments: list[str] = []


class OpenAlert(msgspec.Struct, frozen=True, array_like=True):
    """Which alert is open."""

    model_version: str
    segment: str
    rule: str


class WatchedModel(msgspec.Struct, omit_defaults=True):
    """State that the series of a model share.

    Parameters
    ----------
    now_ms
        Largest event time at which a figure was complete.
    labels_upto_ms
        Largest event time at which a figure of the decisions or the arrivals lane was complete.
    maturity
        The judged rung by window.
    in_production
        Versions in production by their entries; two for a moment when one replaces another.
    last_ms
        End of the newest window of traffic with predictions, of all versions; -1 before the first.
    drift
        Detection windows that still gain results.
    registry_revision
        Newest revision of its versions' registry entries and of the levels of its rules.
    open
        Open alerts by fingerprint, in the order in which they fired.
    silences
        Those that are not over, by id.
    settings
        Rules, default_rules, false_alarms_per_year, tuner, policy and responses in force, by key,
        once they were changed while the model was counted; None for those of the configuration.
    levels
        What commands have set of rules, by name of the rule.
    """

    now_ms: int = 0
    labels_upto_ms: int = -1
    maturity: dict[str, JudgedRung] = {}
    in_production: list[str] = []
    last_ms: int = -1
    drift: list[DriftWindow] = []
    registry_revision: int = 0
    open: dict[str, OpenAlert] = {}
    silences: dict[str, Silence] = {}
    settings: dict[str, Any] | None = None
    levels: dict[str, RuleLevel] = {}


class WatchedSeries(msgspec.Struct, omit_defaults=True):
    """State of one version in one segment.

    Parameters
    ----------
    alerts
        By name of the rule.
    days
        Daily values by maturity.
    activity
        None before the first prediction.
    accepted
        By name of a rule and maturity, the level that a person accepted as the new baseline.
    label_feed
        None before the first label, and where no rule reads it.
    fits
        By name of a rule with least numbers of rows, the window that it reads.
    levels
        By name of a rule on a share above a level.
    shares
        By name of a rule on shares of features, those that lean.
    """

    alerts: dict[str, AlertState] = {}
    days: dict[str, Days] = {}
    activity: Activity | None = None
    accepted: dict[str, dict[str, Baseline]] = {}
    label_feed: LabelFeed | None = None
    fits: dict[str, FittingWindow] = {}
    levels: dict[str, LevelEvidence] = {}
    shares: dict[str, Tracks] = {}


class WatchedHistories(msgspec.Struct, omit_defaults=True):
    """Histories of one version in one segment; apart from its alerts, since they are read once a
    day.

    Parameters
    ----------
    by_rule
        By name of a sequential rule.
    """

    by_rule: dict[str, RateHistory] = {}


class WatchedOutcomes(msgspec.Struct, omit_defaults=True):
    """What the detectors on single outcomes have read, of one version in one segment.

    Parameters
    ----------
    by_rule
        By name of the rule.
    """

    by_rule: dict[str, OutcomeHistory] = {}


class WatchedTraffic(msgspec.Struct, omit_defaults=True):
    """Traffic of one version in one segment by hour, where a rule reads it."""

    hours: HourlyTraffic = HourlyTraffic()


class JobState(msgspec.Struct, omit_defaults=True):
    """State of a scheduled job.

    Parameters
    ----------
    first_ms, success_ms
        When it was first reported, and when it succeeded last; None if it never did.
    failures
        Runs that have failed since.
    interval_ms
        How often it is to succeed.
    last_end
        Status and id of the newest run that has ended.
    message
        Of the last run that failed.
    """

    first_ms: int
    success_ms: int | None = None
    failures: int = 0
    interval_ms: int | None = None
    last_end: tuple[str, str] | None = None
    message: str = ""


class WatchedReports(msgspec.Struct, omit_defaults=True):
    """What has reported about itself under a name.

    Parameters
    ----------
    last_ms
        Time of the newest record, by worker.
    jobs
        By name.
    """

    last_ms: dict[str, int] = {}
    jobs: dict[str, JobState] = {}


class OpenAlertRecord(msgspec.Struct, omit_defaults=True):
    """What is kept of an open alert for the records of later changes.

    Parameters
    ----------
    alert
        The record of the newest change that a judgement led to.
    levels
        By maturity, the level in the newest window judged, of a rule that compares with a
        baseline.
    """

    alert: Alert | None = None
    levels: dict[str, Baseline] = {}


class AnsweredCommand(msgspec.Struct, omit_defaults=True):
    """Digest of an answered command."""

    digest: bytes = b""


class StateCache:
    """The values of one batch over the state of the stage."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._values: dict[bytes, tuple[msgspec.Struct, bytes | None]] = {}

    def load(self, kind: type[_T], *name: str) -> _T:
        """The value of that kind and name, a default one if there is none; the same object in each
        call.

        Raises
        ------
        ValueError
            If it was written in another format.
        """
        key = _key(kind, name)
        if key not in self._values:
            stored = self._state.get(key)
            self._values[key] = (kind() if stored is None else _decode(stored, kind, name), stored)
        value = self._values[key][0]
        if not isinstance(value, kind):
            raise TypeError(
                f"decide: state of {name} is a {type(value).__name__}, needed {kind.__name__}"
            )
        return value

    def has(self, kind: type[msgspec.Struct], *name: str) -> bool:
        """Whether there is a value of that kind and name."""
        key = _key(kind, name)
        return key in self._values or self._state.get(key) is not None

    def delete(self, kind: type[msgspec.Struct], *name: str) -> None:
        """Delete the value of that kind and name."""
        self._values.pop(_key(kind, name), None)
        self._state.delete(_key(kind, name))

    def write(self) -> None:
        """Put the values that have changed into the state."""
        for key, (value, stored) in self._values.items():
            encoded = _encode((FORMAT, value))
            if encoded != stored:
                self._state.put(key, encoded)


def _key(kind: type[msgspec.Struct], name: tuple[str, ...]) -> bytes:
    return _encode((kind.__name__, *name))


def _time_of(type_: type, value: Any) -> EpochMs:
    if type_ is EpochMs:
        return EpochMs(value)
    raise NotImplementedError(f"{type_.__name__} is not a type of this state")


def _decode(stored: bytes, kind: type[_T], name: tuple[str, ...]) -> _T:
    format_, value = msgspec.msgpack.decode(stored, type=tuple[int, msgspec.Raw])
    if format_ != FORMAT:
        raise ValueError(
            f"decide: state of {'/'.join(name)} has format {format_}, needed {FORMAT}; "
            "replay the log into new state"
        )
    return msgspec.msgpack.decode(value, type=kind, dec_hook=_time_of)
