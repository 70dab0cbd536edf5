"""State of the planner: MessagePack with a format number.

One key per group of alerts, per notification without result, per channel and per alert that is
escalated before it is known, one for the day, and one that names the others. All of it is in
memory; what a call changed is written at its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeVar

import msgspec

from driftline.schemas.notifications import Notification
from driftline.schemas.results import Alert, RegistryEvent
from driftline.schemas.times import EpochMs
from driftline.streams.stage import State

STATE_FORMAT = 2
"""Raise it with every change of a stored struct."""

_T = TypeVar("_T", bound=msgspec.Struct)
_encode = msgspec.msgpack.Encoder(enc_hook=int).encode


class Raised(msgspec.Struct):
    """An escalation of an alert by a response.

    Attributes
    ----------
    level
        The level to which it led; 0 if all levels knew the alert.
    response
        Name of the response.
    """

    level: int
    at_ms: int
    response: str


class Entry(msgspec.Struct):
    """An alert of a group.

    Attributes
    ----------
    record
        Its newest record.
    ready_ms
        When the delay of its severity has passed.
    due_ms
        When its newest news are told.
    since_ms
        Since when it has been open and not silenced without a break.
    news
        Number of its changes that are worth telling.
    escalates_ms
        Since when level 1 has known it as an alert that is told to further levels; None if it is
        not.
    raised
        Escalations by responses, by the id of the action.
    """

    record: Alert
    ready_ms: int
    due_ms: int
    since_ms: int
    news: int = 1
    escalates_ms: int | None = None
    raised: dict[str, Raised] = {}


class Early(msgspec.Struct):
    """Escalations of an alert whose record has not been read yet.

    Attributes
    ----------
    since_ms
        When the first one was read.
    responses
        Name of the response by the id of the action.
    """

    since_ms: int
    responses: dict[str, str] = {}


class View(msgspec.Struct, omit_defaults=True):
    """What a channel knows of a group.

    Attributes
    ----------
    told
        Whether the channel takes the group as firing: "maybe" if it cannot be known.
    known
        By alert, how many of its news were told or are planned to be.
    pending
        Id of the notification without result that tells of the group.
    is_closing
        Whether that one tells that the group is resolved.
    is_held
        Whether news wait because of quiet hours or the rate limit.
    last_ms
        When the last message was planned.
    """

    told: Literal["no", "maybe", "yes"] = "no"
    known: dict[str, int] = {}
    pending: str = ""
    is_closing: bool = False
    is_held: bool = False
    last_ms: int = 0


class Group(msgspec.Struct):
    """Alerts that are told together.

    Attributes
    ----------
    opened_ms, changed_ms
        When its first and its newest record were taken.
    entries
        By alert: those that are open, and those resolved of which a channel does not know it yet.
    views
        By channel.
    """

    key: str
    opened_ms: int
    changed_ms: int
    entries: dict[str, Entry] = {}
    views: dict[str, View] = {}


class Planned(msgspec.Struct):
    """A notification without result.

    Attributes
    ----------
    groups
        Keys of the groups that it tells of.
    may_have_been_sent
        Whether an attempt may have begun.
    """

    notification: Notification
    groups: list[str]
    may_have_been_sent: bool = False


class ChannelState(msgspec.Struct, omit_defaults=True):
    """State of a channel.

    Attributes
    ----------
    full_ms
        See `rate.py`.
    not_before_ms
        The channel asked to be left alone until then.
    failing_since_ms
        First failure since the last success; None without one.
    alert
        The alert that the channel fails, while it is open.
    events, n_events
        Changes of the registry that are not told yet: the first ones, and the number of all.
    events_ms
        When they are told.
    over, n_over
        Alerts that fired and were resolved while they were held back: the first, and the number.
    """

    full_ms: int = 0
    not_before_ms: int = 0
    failing_since_ms: int | None = None
    alert: Alert | None = None
    events: list[RegistryEvent] = []
    n_events: int = 0
    events_ms: int = 0
    over: list[Alert] = []
    n_over: int = 0


class Day(msgspec.Struct, omit_defaults=True):
    """What the next daily digest tells besides open alerts.

    Attributes
    ----------
    last_ms
        When the last one was planned; before the first, when the planner was started.
    resolved, n_resolved
        Alerts that were resolved since: the first ones, and the number of all.
    tuned, n_tuned
        Changes that were applied automatically since.
    """

    last_ms: int = 0
    resolved: list[Alert] = []
    n_resolved: int = 0
    tuned: list[RegistryEvent] = []
    n_tuned: int = 0


class _Index(msgspec.Struct, omit_defaults=True):
    started_ms: int | None = None
    n_planned: int = 0
    groups: list[str] = []
    planned: list[str] = []
    channels: list[str] = []
    early: list[str] = []


class Memory:
    """All state of a planner.

    Attributes
    ----------
    groups, planned, channels, early
        By group key, by notification id, by name, by alert id.
    started_ms
        When the planner was started; None before.
    n_planned
        Number of notifications that were ever planned.

    Raises
    ------
    ValueError
        If it was written in another format.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        index = self._load(_Index, "") or _Index()
        self.started_ms, self.n_planned = index.started_ms, index.n_planned
        self.day = self._load(Day, "") or Day()
        self.groups = self._load_all(Group, index.groups)
        self.planned = self._load_all(Planned, index.planned)
        self.channels = self._load_all(ChannelState, index.channels)
        self.early = self._load_all(Early, index.early)
        self._changed: dict[tuple[type[msgspec.Struct], str], None] = {}

    def change(self, kind: type[msgspec.Struct], name: str = "") -> None:
        """Note that the value of that kind and name was changed, added or removed."""
        self._changed[kind, name] = None

    def is_changed(self, kind: type[msgspec.Struct], name: str) -> bool:
        """Whether `change` was called for it since it was last written."""
        return (kind, name) in self._changed

    def channel(self, name: str) -> ChannelState:
        """State of a channel, to be changed."""
        self.change(ChannelState, name)
        return self.channels.setdefault(name, ChannelState())

    def save(self) -> None:
        """Write what was changed since the last call."""
        tables: dict[type[msgspec.Struct], dict[str, Any]] = {
            Group: self.groups,
            Planned: self.planned,
            ChannelState: self.channels,
            Early: self.early,
            Day: {"": self.day},
        }
        for kind, name in self._changed:
            value = tables[kind].get(name)
            self._write(kind, name, value)
        self._changed = {}
        index = _Index(
            started_ms=self.started_ms,
            n_planned=self.n_planned,
            groups=list(self.groups),
            planned=list(self.planned),
            channels=list(self.channels),
            early=list(self.early),
        )
        self._write(_Index, "", index)

    def _write(self, kind: type[msgspec.Struct], name: str, value: msgspec.Struct | None) -> None:
        key = _key(kind, name)
        if value is None:
            self._state.delete(key)
            return
        encoded = _encode((STATE_FORMAT, value))
        if self._state.get(key) != encoded:
            self._state.put(key, encoded)

    def _load_all(self, kind: type[_T], names: Iterable[str]) -> dict[str, _T]:
        loaded = {name: self._load(kind, name) for name in names}
        return {name: value for name, value in loaded.items() if value is not None}

    def _load(self, kind: type[_T], name: str) -> _T | None:
        stored = self._state.get(_key(kind, name))
        if stored is None:
            return None
        format_, value = msgspec.msgpack.decode(stored, type=tuple[int, msgspec.Raw])
        if format_ != STATE_FORMAT:
            raise ValueError(
                f"notify: state has format {format_}, needed {STATE_FORMAT}; delete it, and alerts "
                "that are open are told once more"
            )
        return msgspec.msgpack.decode(value, type=kind, dec_hook=_time_of)


def _key(kind: type[msgspec.Struct], name: str) -> bytes:
    return _encode((kind.__name__, name))


def _time_of(type_: type, value: Any) -> EpochMs:
    if type_ is EpochMs:
        return EpochMs(value)
    raise NotImplementedError(f"{type_.__name__} is not a type of this state")
