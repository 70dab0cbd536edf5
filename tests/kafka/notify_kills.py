"""The worker that notifies is killed again and again in the middle of sending.

Alerts are written straight to their topic and resolved once all receivers have their firing: the
notifier reads nothing else. A receiver honours the idempotency key, so it takes each notification
once; it must have one firing and one resolved of every alert in the end.

    python -m tests.kafka.notify_kills --kills 50 --seed 1
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random

from msgspec import Struct

from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import Connection
from driftline.schemas.results import Alert
from tests.kafka.brokers import Names, any_broker
from tests.kafka.notify_live import (
    KAFKA,
    Inbox,
    channels,
    firing,
    inbox,
    notifications,
    resolved,
    write,
)
from tests.kafka.worker_process import WorkerProcess

CHANNELS = ("one", "two", "three")
OPEN_AT_ONCE = 8
LONGEST_WAIT_S = 1.5
LONGEST_ANSWER_S = 0.2
END_S = 120.0


class Report(Struct, frozen=True):
    """What a campaign found.

    Attributes
    ----------
    kills, during_send
        Number of kills, and of those while a receiver had a request that it had not answered.
    alerts
        Number of alerts that fired and were resolved.
    messages
        Notifications that the receivers took, each key once.
    repeated
        Requests whose key had come before: by the key they count once.
    doubled, lost
        Notifications that a receiver took under more than one key, and those that it never took.
    faults
        What is wrong; empty if nothing is.
    """

    kills: int
    during_send: int
    alerts: int
    messages: int
    repeated: int
    doubled: int
    lost: int
    faults: list[str]


class Feed:
    """Writes alerts, and resolves those whose firing all channels have, until it is stopped."""

    def __init__(self, connection: Connection, own: Inbox) -> None:
        self.alerts: list[Alert] = []
        self._connection, self._inbox = connection, own
        self._open: list[Alert] = []
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Write no new alert, and resolve those that are open as they are received."""
        self._is_ending.set()
        self._thread.join(END_S)

    def _run(self) -> None:
        ends_s = None
        while not self._is_ending.is_set() or self._open:
            if self._is_ending.is_set():
                ends_s = ends_s or time.monotonic() + END_S
                if time.monotonic() > ends_s:
                    return
            known = [
                alert
                for alert in self._open
                if all(
                    "firing" in self._inbox.kinds(f"/{name}", alert.alert_id) for name in CHANNELS
                )
            ]
            self._open = [alert for alert in self._open if alert not in known]
            new = []
            if len(self._open) < OPEN_AT_ONCE and not self._is_ending.is_set():
                number = len(self.alerts)
                new = [firing(f"alert-{number}", model=f"model-{number % 5}")]
            self.alerts += new
            self._open += new
            write(self._connection, [*map(resolved, known), *new])
            time.sleep(0.1)


def campaign(
    names: Names, folder: Path, *, seed: int, kills: int | None, seconds: float = 0.0
) -> Report:
    """Kill a worker at drawn moments.

    Parameters
    ----------
    kills
        How often; None for as often as `seconds` allow.
    """
    random = Random(seed)
    answer = Random(seed + 1)
    with inbox() as own:
        own.before_answer = lambda _: time.sleep(answer.uniform(0.0, LONGEST_ANSWER_S))
        text = channels({name: own.url(f"/{name}") for name in CHANNELS})
        connection = names.connection(text, kafka=KAFKA)
        topics.create(connection)
        worker = WorkerProcess(folder, names.toml(text, kafka=KAFKA)).start()
        feed = Feed(connection, own)
        done = during_send = 0
        began_s = time.monotonic()
        try:
            while done < kills if kills is not None else time.monotonic() < began_s + seconds:
                _wait_for_request(worker, own)
                time.sleep(random.uniform(0.0, LONGEST_WAIT_S))
                if random.random() < 0.5:
                    _wait_for_request(worker, own, is_under_way=True)
                during_send += own.under_way > 0
                worker.kill()
                worker.start()
                done += 1
            feed.stop()
            _wait_for_all(own, feed.alerts)
            worker.until_ready()
            worker.terminate()
        finally:
            feed.stop()
            worker.kill()
        found = [*faults_of(own, feed.alerts), *_unsettled(connection, own)]
        messages = sum(len(taken) for taken in own.taken.values())
        doubled, lost = miscounts(own, feed.alerts)
    return Report(
        kills=done,
        during_send=during_send,
        alerts=len(feed.alerts),
        messages=messages,
        repeated=own.total() - sum(map(len, own.requests.values())),
        doubled=doubled,
        lost=lost,
        faults=found,
    )


def _wait_for_request(worker: WorkerProcess, own: Inbox, *, is_under_way: bool = False) -> None:
    """Wait until the running worker has begun a send, or until one is under way."""
    before = own.total()
    worker.until(
        lambda: own.under_way > 0 if is_under_way else own.total() > before, "sends nothing"
    )


def _wait_for_all(own: Inbox, alerts: list[Alert]) -> None:
    ends_s = time.monotonic() + END_S
    while faults_of(own, alerts) and time.monotonic() < ends_s:
        time.sleep(0.5)


def miscounts(own: Inbox, alerts: list[Alert]) -> tuple[int, int]:
    """How many notifications were taken too often and how many never; an alert has one of each
    kind on each channel.
    """
    doubled = lost = 0
    for name in CHANNELS:
        for alert in alerts:
            taken = Counter(own.kinds(f"/{name}", alert.alert_id))
            due = Counter({"firing": 1, "resolved": 1})
            doubled += (taken - due).total()
            lost += (due - taken).total()
    return doubled, lost


def faults_of(own: Inbox, alerts: list[Alert]) -> list[str]:
    """Alerts of which a receiver has not one firing and one resolved, and keys with two bodies."""
    found = [f"key {key} came with another body" for key in own.changed]
    for name in CHANNELS:
        for alert in alerts:
            kinds = own.kinds(f"/{name}", alert.alert_id)
            if kinds != ["firing", "resolved"]:
                found.append(f"{alert.alert_id} on {name}: {kinds}")
        others = Counter(own.all_kinds(f"/{name}")) - Counter(
            {"firing": len(alerts), "resolved": len(alerts)}
        )
        found += [f"{count} of kind {kind} on {name}" for kind, count in others.items()]
    return found


def _unsettled(connection: Connection, own: Inbox) -> list[str]:
    """Notifications whose last record is not "sent"; a firing that a receiver took before a kill
    may be "dropped", if its alert was resolved before it was sent again.
    """
    last = {each.notification_id: each for each in notifications(connection)}
    return [
        f"{each.notification_id} to {each.channel}: {each.kind} is {each.status}"
        for each in last.values()
        if each.status != "sent"
        and not (each.status == "dropped" and each.notification_id in own.taken[f"/{each.channel}"])
    ]


def main() -> int:
    """Run a campaign and print its report; returns 0 if it found no fault."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.kafka.notify_kills",
        description="Kill the worker that notifies again and again, then count what was received.",
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        any_broker(Path(folder) / "broker") as servers,
    ):
        names = Names(servers, "kills")
        report = campaign(names, Path(folder), seed=options.seed, kills=options.kills)
    print(
        f"{report.kills} kills, {report.during_send} of them during a send; {report.alerts} alerts "
        f"on {len(CHANNELS)} channels, {report.messages} notifications taken, {report.doubled} of "
        f"them twice, {report.lost} lost; {report.repeated} requests came again with their key"
    )
    for fault in report.faults:
        print(f"fault: {fault}")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
