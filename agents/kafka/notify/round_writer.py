"""Writes what a round of the notifier has changed, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.task_kinds import NOTIFY
from driftline.agents.kafka.broker.wire import WireEncoder
from driftline.agents.kafka.notify.changelog import ChangelogState, records_of
from driftline.agents.kafka.notify.metering import NotifyMeters
from driftline.agents.kafka.notify.positions import InputOffsets
from driftline.agents.kafka.task.metering import Meters
from driftline.agents.kafka.task.transaction import Transactions
from driftline.schemas.notifications import Notification
from driftline.schemas.results import Alert
from driftline.schemas.topics import ALERTS, NOTIFICATIONS
from driftline.streams.notify.planner import Planner
from driftline.streams.stage import Record


class RoundWriter:
    """Commits the rounds of one owner.

    Parameters
    ----------
    connection
        The broker.
    transactions
        The producer of the notifier.
    state, offsets
        What its commits keep.
    planner
        On this state.
    meters
        Told what was committed.
    """

    def __init__(
        self,
        connection: Connection,
        transactions: Transactions,
        state: ChangelogState,
        offsets: InputOffsets,
        planner: Planner,
        meters: NotifyMeters,
    ) -> None:
        settings = connection.settings
        self._connection = connection
        self._transactions = transactions
        self._state = state
        self._offsets = offsets
        self._planner = planner
        self._meters = meters
        self._commits = Meters(NOTIFY, 0)
        self._encoder = WireEncoder(settings.app, settings.partitions)

    def commit(
        self, notifications: Sequence[Notification] = (), alerts: Sequence[Alert] = ()
    ) -> None:
        """Commit records with the changes of state and positions; nothing if there are none.

        Raises
        ------
        TransactionAborted, MustStop
            As `Transactions.run`; state and planner must not be used any more.
        """
        records = [Record(NOTIFICATIONS, each) for each in notifications]
        records += [Record(ALERTS, each) for each in alerts]
        outgoing = self._encoder.events(records)
        outgoing += records_of(self._connection, self._state.take_changes(), self._offsets.moved())
        if outgoing:
            self._transactions.run(outgoing, "", 0, [])
            self._offsets.note_committed()
            self._commits.written(len(outgoing))
        self._meters.written(notifications)
        self._meters.show(self._planner.pending())
