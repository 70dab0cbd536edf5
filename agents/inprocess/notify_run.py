"""Sends the notifications of a finished run: what would have been told, and when by event time.

The planner runs on event time over `alerts`, `actions` and `registry-events` of the output folder.
Every record of `notifications.jsonl` is on the disk before what follows from it: planned, then the
attempt, then its result. A stopped call is gone through again: what the file already says is not
done twice, so that only a message whose result is missing is sent again, under its id.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from driftline.agents.inprocess.run_identity import RunRefused, locked
from driftline.agents.notify.channel import Channel, NotSent
from driftline.agents.output_folder import read_records
from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.actions import Action
from driftline.schemas.notification_settings import NotificationSettings
from driftline.schemas.notifications import Notification
from driftline.schemas.results import Alert, RegistryEvent, decoder, encode
from driftline.schemas.times import DAY_MS, parse_time
from driftline.schemas.topics import ACTIONS, ALERTS, NOTIFICATIONS, REGISTRY_EVENTS
from driftline.streams.notify.planner import Planner

AFTER_LAST_MS: Final = DAY_MS
"""How long event time goes on after the last record, for delays, escalations and digests."""
ATTEMPTS: Final = 3
LONGEST_PAUSE_S: Final = 60.0
_Input = Alert | Action | RegistryEvent


def notify_run(
    out: Path,
    settings: NotificationSettings,
    channels: Mapping[str, Channel],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Notification]:
    """Send what a finished run is to tell, or what an earlier call has left.

    A channel that does not take a message is tried three times, some seconds of real time apart,
    and once for each further message until it takes one.

    Parameters
    ----------
    channels
        By name, as in `settings`.
    sleep
        Waits for seconds.

    Returns
    -------
    list of Notification
        The last record of each, in the order of planning.

    Raises
    ------
    RunRefused
        If another process writes to `out`, or the folder has notifications of other settings.
    """
    with locked(out), _Records(out / f"{NOTIFICATIONS}.jsonl") as records:
        run = _Run(settings, channels, records, sleep)
        for at_ms, record in _inputs(out):
            run.advance(at_ms)
            run.take(record)
        run.advance(run.now_ms + AFTER_LAST_MS)
        return list(run.last.values())


def _inputs(out: Path) -> list[tuple[int, _Input]]:
    """What comes in by event time: of one time registry events first, then alerts, then actions."""
    inputs: list[tuple[int, _Input]] = [
        *(
            (parse_time(event.at), event)
            for event in read_records(out, REGISTRY_EVENTS, RegistryEvent)
        ),
        *((int(alert.at_ms), alert) for alert in read_records(out, ALERTS, Alert)),
        *((int(action.at_ms), action) for action in read_records(out, ACTIONS, Action)),
    ]
    return sorted(inputs, key=lambda each: each[0])


class _Records:
    """The file of notifications: what an earlier call wrote is compared, then it is continued.

    Attributes
    ----------
    results
        By id, the records with a result that the earlier call wrote.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()
        lines = path.read_bytes().splitlines(keepends=True)
        self._before = [line for line in lines if line.endswith(b"\n")]
        self._file = path.open("r+b")
        # A line without its end is of a call that was killed while it wrote.
        self._file.truncate(sum(map(len, self._before)))
        self._file.seek(0, os.SEEK_END)
        self._n = 0
        earlier = map(decoder(Notification).decode, self._before)
        self.results = {
            each.notification_id: each for each in earlier if each.status in ("sent", "failed")
        }

    def __enter__(self) -> _Records:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, notification: Notification) -> None:
        """Append a record, or go over the same one of the earlier call."""
        line = encode(notification) + b"\n"
        if self._n >= len(self._before):
            self._file.write(line)
        elif line != self._before[self._n]:
            raise RunRefused(
                f"{self._path}:{self._n + 1} was written with other settings or other alerts; "
                "delete the file to send all notifications anew, or choose another --out"
            )
        self._n += 1

    def sync(self) -> None:
        """Put all lines on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())


class _Run:
    def __init__(
        self,
        settings: NotificationSettings,
        channels: Mapping[str, Channel],
        records: _Records,
        sleep: Callable[[float], None],
    ) -> None:
        self._planner = Planner(settings, MemoryState())
        self._channels, self._records, self._sleep = channels, records, sleep
        self._is_failing: dict[str, bool] = {}
        self.last: dict[str, Notification] = {}
        self.now_ms = 0

    def advance(self, until_ms: int) -> None:
        """Do what is due up to a time, each at its own."""
        self._planner.start(until_ms)
        while True:
            next_ms = self._planner.next_ms()
            if next_ms is None or next_ms > until_ms:
                break
            self.now_ms = max(self.now_ms, next_ms)
            self._settle()
        self.now_ms = max(self.now_ms, until_ms)

    def take(self, record: _Input) -> None:
        """A record comes in now."""
        if isinstance(record, Alert):
            self._planner.take_alerts([record], self.now_ms)
        elif isinstance(record, Action):
            self._planner.take_actions([record], self.now_ms)
        else:
            self._planner.take_events([record], self.now_ms)
        self._settle()

    def _settle(self) -> None:
        self._write()
        while chosen := self._planner.to_send(self.now_ms):
            for notification in chosen:
                self._send(notification)

    def _write(self) -> None:
        for notification in self._planner.due(self.now_ms):
            self._records.write(notification)
            self.last[notification.notification_id] = notification
        self._planner.raised()  # a replay adds nothing to `alerts`

    def _send(self, notification: Notification) -> None:
        name = notification.notification_id
        earlier = self._records.results.get(name)
        if earlier is not None:
            error = earlier.error
        else:
            self._records.sync()
            error = self._attempt(notification)
        if error is None:
            self._planner.delivered(name, self.now_ms)
        else:
            self._planner.not_delivered(
                name, error, is_permanent=True, retry_after_ms=None, now_ms=self.now_ms
            )
        self._write()
        self._records.sync()

    def _attempt(self, notification: Notification) -> str | None:
        """Why the channel did not take it; None if it did."""
        name = notification.channel
        attempts = 1 if self._is_failing.get(name) else ATTEMPTS
        for attempt in range(1, attempts + 1):
            try:
                self._channels[name].send(notification)
            except NotSent as error:
                if error.is_permanent or attempt == attempts:
                    self._is_failing[name] = not error.is_permanent
                    return str(error)
                pause_s = max(error.retry_after_s or 0.0, 2.0**attempt)
                self._sleep(min(LONGEST_PAUSE_S, pause_s))
            else:
                break
        self._is_failing[name] = False
        return None
