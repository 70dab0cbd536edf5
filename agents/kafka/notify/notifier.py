"""Tells people about alerts and about changes of the registry (`[notifications]`).

One worker reads all partitions of `alerts`, `actions` and `registry-events`.
`driftline.streams.notify` decides what is sent; this is its driver. A transaction holds positions,
changed state (`changelog.py`) and a record of `notifications` for each notification whose status
changed. A notification is sent after the commit of its plan, on another thread (`sender.py`), and
the result is part of the next transaction. So after a crash, what was planned and has no result is
sent again, under the same id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Final

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.failures import MustStop
from driftline.agents.kafka.broker.input_logs import Resume
from driftline.agents.kafka.broker.task_kinds import NOTIFY
from driftline.agents.kafka.broker.topics import changelog
from driftline.agents.kafka.notify.changelog import ANEW, ChangelogState, restored
from driftline.agents.kafka.notify.inputs import NotifyInputs
from driftline.agents.kafka.notify.metering import NotifyMeters
from driftline.agents.kafka.notify.positions import InputOffsets
from driftline.agents.kafka.notify.round_writer import RoundWriter
from driftline.agents.kafka.notify.sender import Sender, Sent
from driftline.agents.kafka.task.sole_owner import SoleOwner
from driftline.agents.kafka.task.transaction import Transactions
from driftline.agents.notify.channel import Channel
from driftline.streams.notify.planner import Planner

log = logging.getLogger(__name__)

LONGEST_READ_S: Final = 0.2
END_S: Final = 3.0
"""How long a worker that ends waits for sends under way."""


class Notifier:
    """The notifier of one program.

    Parameters
    ----------
    connection
        The broker.
    channels
        The configured channels by name.
    clock
        The time in ms since the epoch: the broker's.
    resume
        Where to go on in partitions whose positions cannot be used.
    missing_rights
        Asks the broker for the rights that the login lacks; returns a sentence that names them,
        None if it lacks none.

    Attributes
    ----------
    is_ready
        Whether positions are known and records are being read.
    """

    def __init__(
        self,
        connection: Connection,
        channels: Mapping[str, Channel],
        *,
        clock: Callable[[], int],
        resume: Resume,
        missing_rights: Callable[[], str | None],
    ) -> None:
        self.is_ready = False
        self._connection = connection
        self._clock = clock
        self._resume = resume
        self._owner = SoleOwner(connection, NOTIFY, "notifier", missing_rights)
        self._sender = Sender(channels)
        self._ended: list[Sent] = []
        self._meters = NotifyMeters(channels, clock)

    def run(self, is_abandoned: Callable[[], bool]) -> None:
        """Notify until `is_abandoned`, or until another worker has taken over. Blocks.

        Raises
        ------
        MustStop
            If the process must end.
        """

        def work(transactions: Transactions) -> None:
            try:
                self._run_as_owner(transactions, is_abandoned)
            finally:
                self.is_ready = False
                self._meters.clear()

        self._owner.run(work, is_abandoned)

    def _run_as_owner(self, transactions: Transactions, is_abandoned: Callable[[], bool]) -> None:
        connection = self._connection
        state, known = restored(connection)
        offsets = InputOffsets.checked(connection, known, self._resume, is_abandoned)
        for loss in offsets.losses:
            log.warning("notifier: %s", loss.message)
        planner = _planner_on(connection, state)
        self._sender.begin()
        writer = RoundWriter(connection, transactions, state, offsets, planner, self._meters)
        with closing(NotifyInputs(connection, offsets)) as inputs:
            log.info("notifier: resume at %s", offsets.named(connection))
            self.is_ready = True
            # A round costs as much as there are open alerts.
            next_ms: int | None = 0
            seconds = min(connection.settings.commit_interval_ms / 1000, LONGEST_READ_S)
            while not is_abandoned():
                taken = inputs.read(seconds)
                now_ms = self._clock()
                if taken.alerts:
                    planner.take_alerts(taken.alerts, now_ms)
                if taken.actions:
                    planner.take_actions(taken.actions, now_ms)
                if taken.events:
                    planner.take_events(taken.events, now_ms)
                is_due = next_ms is not None and next_ms <= now_ms
                if offsets.is_read and (any(taken) or is_due or self._sender.has_ended):
                    planner.start(now_ms)
                    self._round(planner, writer)
                    next_ms = planner.next_ms()
                else:
                    writer.commit()
            self._sender.wait(END_S)
            if offsets.is_read:
                self._settle(planner, writer)

    def _round(self, planner: Planner, writer: RoundWriter) -> None:
        self._settle(planner, writer)
        if self._sender.is_held:
            return
        sending = planner.to_send(self._clock())
        # Before they are sent, it is committed that they may have been.
        writer.commit()
        for notification in sending:
            self._sender.start(notification)

    def _settle(self, planner: Planner, writer: RoundWriter) -> None:
        """Commit the results of the sends that have ended, and what is due."""
        now_ms = self._clock()
        self._ended += self._sender.take_ended()
        for sent in self._ended:
            _tell(planner, sent, now_ms)
        planned = planner.due(now_ms)
        writer.commit(planned, planner.raised())
        self._ended.clear()


def _planner_on(connection: Connection, state: ChangelogState) -> Planner:
    try:
        return Planner(connection.config.notifications, state)
    except ValueError as error:
        name = connection.name(changelog(connection.settings, NOTIFY))
        raise MustStop(failures.CONFIGURATION, f"{name}: {error}; {ANEW}") from error


def _tell(planner: Planner, sent: Sent, now_ms: int) -> None:
    id_, error = sent.notification.notification_id, sent.error
    # Another worker may have sent it meanwhile.
    with suppress(KeyError):
        if error is None:
            planner.delivered(id_, now_ms)
        else:
            seconds = error.retry_after_s
            planner.not_delivered(
                id_,
                str(error),
                is_permanent=error.is_permanent,
                retry_after_ms=None if seconds is None else round(1000 * seconds),
                now_ms=now_ms,
            )
