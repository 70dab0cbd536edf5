"""Alerts written straight to their topic, as stage 3 writes them, and receivers of notifications
that honour the idempotency key.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import offset_ranges, read_records
from driftline.agents.kafka.broker.wire import WireEncoder
from driftline.schemas.actions import Action
from driftline.schemas.notifications import Notification
from driftline.schemas.results import Alert, decoder
from driftline.schemas.times import EpochMs
from driftline.schemas.topics import ACTIONS, ALERTS, NOTIFICATIONS
from driftline.streams.stage import Record

KAFKA = 'input_partitions = 2\npartitions = 2\nsession_timeout = "6s"\nstatic_member = "one"'
AT_ONCE = 'group_wait = "0s"\ndelay = { warning = "0s" }\nrate_limit = "100000/1s"'
PATIENCE_S = 90.0


def channels(urls: Mapping[str, str], *, more: str = "", settings: str = AT_ONCE) -> str:
    """Tables of webhooks by name, which may be on loopback; `more` stands in each."""
    tables = (
        f'[notifications.channels.{name}]\ntype = "webhook"\nurl = "{url}"\nallow_private = true\n'
        f"{more}\n"
        for name, url in urls.items()
    )
    return f"[notifications]\n{settings}\n" + "\n".join(tables)


def firing(name: str, *, model: str = "churn", **changed: Any) -> Alert:
    """The first record of an alert."""
    now_ms = EpochMs(time.time_ns() // 1_000_000)
    alert = Alert(
        fingerprint=name,
        alert_id=name,
        group_id=name,
        model_name=model,
        model_version="1",
        segment="all",
        rule=name,
        status="firing",
        change="firing",
        severity="error",
        summary=f"{name} fires",
        starts_at_ms=now_ms,
        at_ms=now_ms,
    )
    return msgspec.structs.replace(alert, **changed)


def resolved(alert: Alert) -> Alert:
    """Its last record."""
    now_ms = EpochMs(time.time_ns() // 1_000_000)
    return msgspec.structs.replace(
        alert, status="resolved", change="resolved", at_ms=now_ms, ends_at_ms=now_ms
    )


def escalation(alert: Alert, response: str = "call") -> Action:
    """A response that escalates it."""
    return Action(
        action_id=f"{alert.alert_id}/{response}",
        action="escalate",
        response=response,
        model_name=alert.model_name,
        model_version=alert.model_version,
        segment=alert.segment,
        rule=alert.rule,
        alert_id=alert.alert_id,
        severity=alert.severity,
        outcome="taken",
        dry_run=False,
        at_ms=alert.at_ms,
        reason=alert.summary,
    )


def write(connection: Connection, records: Sequence[Alert | Action]) -> None:
    """Write records to `alerts` and `actions`, to the partitions of their models."""
    settings = connection.settings
    encoder = WireEncoder(settings.app, settings.partitions)
    producer = connection.producer()
    for out in encoder.events(
        [Record(ALERTS if isinstance(each, Alert) else ACTIONS, each) for each in records]
    ):
        assert out.partition is not None
        name, headers = connection.name(out.topic), list(out.headers)
        producer.produce(name, out.value, out.key, out.partition, headers=headers)  # type: ignore[arg-type]
    assert producer.flush(30) == 0


def notifications(connection: Connection) -> list[Notification]:
    """All records of `notifications`; those of one id in their order."""
    decode = decoder(Notification).decode
    return [
        decode(record.value)
        for part in offset_ranges(connection, [NOTIFICATIONS])[NOTIFICATIONS]
        for records in read_records(connection, part)
        for record in records
    ]


class Inbox:
    """What a receiver of webhooks took, each key once.

    Attributes
    ----------
    taken
        Notifications by path and key.
    requests
        How often each key came, by path.
    changed
        Keys that came again with another body.
    before_answer
        Called with the path before each answer, when the notification is taken.
    status
        What it answers, by path; 200 by default. Only what is answered with 200 is taken.
    """

    def __init__(self) -> None:
        self.port = 0
        self.taken: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.requests: dict[str, Counter[str]] = defaultdict(Counter)
        self.changed: list[str] = []
        self.under_way = 0
        self.before_answer: Callable[[str], None] = lambda path: None
        self.status: dict[str, int] = {}
        self._lock = threading.Lock()

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        """Take a request and answer it."""
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        path, key = handler.path, handler.headers["Idempotency-Key"]
        status = self.status.get(path, 200)
        with self._lock:
            self.under_way += 1
            self.requests[path][key] += 1
            if status == 200 and self.taken[path].setdefault(key, body) != body:
                self.changed.append(key)
        try:
            self.before_answer(path)
            handler.send_response(status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        finally:
            with self._lock:
                self.under_way -= 1

    def total(self) -> int:
        """Number of requests so far."""
        with self._lock:
            return sum(counts.total() for counts in self.requests.values())

    def kinds(self, path: str, group: str) -> list[str]:
        """Kinds of the notifications about a group that a path took, sorted."""
        with self._lock:
            return sorted(
                each["kind"] for each in self.taken[path].values() if each.get("group_key") == group
            )

    def all_kinds(self, path: str) -> list[str]:
        """Kinds of all notifications that a path took, in the order in which they came."""
        with self._lock:
            return [each["kind"] for each in self.taken[path].values()]


@contextmanager
def inbox() -> Iterator[Inbox]:
    """A receiver for as long as the block lasts."""
    own = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            own.take(self)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A worker that was killed does not take the answer."""

    server = Server(("127.0.0.1", 0), Handler)
    own.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield own
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def eventually(condition: Callable[[], bool], otherwise: Callable[[], object]) -> None:
    """Wait for a condition; fail with what `otherwise` says."""
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, otherwise()
        time.sleep(0.05)
