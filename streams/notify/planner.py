"""Plans notifications: what is sent to which channel, and when.

Time is handed in: wall clock live, event time in a replay. All of a planner's memory is in its
`State`, so that a planner on the same state goes on where another one ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from driftline.schemas.notification_settings import NotificationSettings
from driftline.schemas.notifications import Notification
from driftline.schemas.results import Alert, RegistryEvent
from driftline.streams.stage import State


class Planner:
    """Decides what is sent.

    A driver works in rounds: it calls `take_alerts`, `take_events`, `delivered` and `not_delivered`
    for what came in, then `due`, commits the changes of the state with what `due` and `raised` have
    returned, and only then sends what `to_send` returns. After a failed commit it makes a new
    planner on the committed state.

    Parameters
    ----------
    settings
        The settings in force; they may differ from those with which the state was written.
    state
        Empty, or as an earlier planner left it. No one else may change it while the planner lives.

    Raises
    ------
    ValueError
        If the state was written in another format.
    """

    def __init__(self, settings: NotificationSettings, state: State) -> None:
        raise NotImplementedError

    @property
    def is_started(self) -> bool:
        """Whether `start` was called, by this planner or an earlier one on the same state."""
        raise NotImplementedError

    def start(self, now_ms: int) -> None:
        """Begin to send; nothing is planned before. Does nothing if it was called before.

        What is taken before it is history: of alerts, only those that are still open are told, and
        events of the registry are not. A live driver calls it once it has read what was on the
        topics when it began.
        """
        raise NotImplementedError

    def take_alerts(self, alerts: Sequence[Alert], now_ms: int) -> None:
        """Take records of `alerts`, in their order. Records about channels, which `raised` has
        returned, are passed over.
        """
        raise NotImplementedError

    def take_events(self, events: Sequence[RegistryEvent], now_ms: int) -> None:
        """Take records of `registry-events`, in their order."""
        raise NotImplementedError

    def due(self, now_ms: int) -> list[Notification]:
        """Plan what is due, and return the records that `notifications` has not got yet: every
        change of a notification's status or content since the last call, in order.
        """
        raise NotImplementedError

    def raised(self) -> list[Alert]:
        """Alerts about channels that fired or resolved since the last call, to be written on
        `alerts`.
        """
        raise NotImplementedError

    def to_send(self, now_ms: int) -> list[Notification]:
        """What is to be sent now, at most one for each channel. A notification is in flight from
        here until its result is told by `delivered` or `not_delivered`; as long, nothing else is
        returned for its channel.

        To be called when the last results of `due` are committed.
        """
        raise NotImplementedError

    def delivered(self, notification_id: str, now_ms: int) -> Notification:
        """The channel took a notification. Returns its record, which `due` returns too.

        Raises
        ------
        KeyError
            If no notification of that id is open.
        """
        raise NotImplementedError

    def not_delivered(
        self,
        notification_id: str,
        error: str,
        *,
        is_permanent: bool,
        retry_after_ms: int | None,
        now_ms: int,
    ) -> Notification:
        """The channel did not take a notification, or it is not known whether it did. Returns its
        record, which `due` returns too: "planned" with the time of the next attempt, or "failed".

        Parameters
        ----------
        error
            Why, without secrets.
        is_permanent
            Whether trying the same again is no use.
        retry_after_ms
            How long the channel asks to wait, if it does.

        Raises
        ------
        KeyError
            If no notification of that id is open.
        """
        raise NotImplementedError

    def next_ms(self) -> int | None:
        """Earliest time at which `due` or `to_send` has something to do if nothing comes in before;
        None if never. Not in the past once both were called.
        """
        raise NotImplementedError

    def pending(self) -> dict[str, int]:
        """Number of notifications that are planned and without result, by channel."""
        raise NotImplementedError
