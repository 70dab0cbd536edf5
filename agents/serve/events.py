"""The event stream: server-sent events that name what changed, so that a page asks for just that.

An event has a number as id. A reader that comes back with the last id that it has seen gets what it
missed, or `reset` if that is too long ago or of another start of the server. News are gathered for
each reader: two events about the same thing are one. A reader that takes nothing for a while is
dropped, and comes back by itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.response import ServerSentEvent, ServerSentEventMessage

from driftline.agents.read_model.intake import Changed
from driftline.agents.serve.follower import EVERYTHING
from driftline.agents.serve.route import Unanswerable

HEARTBEAT_S: Final = 15.0
KEPT: Final = 1_000
"""Changes that a reader can catch up with."""
MOST_PENDING: Final = 2_000
"""Different changes that wait for one reader; with more it gets `reset`."""
MOST_READERS: Final = 200
RETRY_MS: Final = 2_000
GATHER_S: Final = 0.2


class Event(msgspec.Struct, frozen=True):
    """One event.

    Attributes
    ----------
    event
        "changed" with the topic and the version of new records; "reset": anything may have changed;
        "source": the state of the source changed.
    """

    number: int
    event: str
    topic: str
    model_name: str
    model_version: str


class Reader:
    """One open stream."""

    def __init__(self) -> None:
        self.pending: dict[tuple[str, str, str, str], Event] = {}
        self.wake = asyncio.Event()
        self.is_dropped = False


class EventStreams:
    """All open streams, and what they can catch up with."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)
        self._number = 0
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._readers: set[Reader] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._readers)

    @property
    def is_full(self) -> bool:
        """Whether no further stream may be opened."""
        return len(self._readers) >= MOST_READERS

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; `tell` is heard from now on."""
        self._loop = loop

    def close(self) -> None:
        """End all streams, from the loop's thread."""
        self._loop = None
        for reader in self._readers:
            self._drop(reader)

    def tell(self, changed: set[Changed]) -> None:
        """Hand on what changed, from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._publish, changed)

    def _publish(self, changed: set[Changed]) -> None:
        news = [
            ("reset", "", "", "") if each == EVERYTHING else ("changed", *each)
            for each in sorted(changed)
        ]
        for event, *names in news or [("source", "", "", "")]:
            self._number += 1
            self._hand_on(Event(self._number, event, *names))

    def _hand_on(self, event: Event) -> None:
        self._kept.append(event)
        for reader in self._readers:
            _add(reader, event)

    async def stream(self, last_id: str | None) -> AsyncIterator[ServerSentEventMessage]:
        """The messages of one stream, until the reader goes or the server ends."""
        reader = Reader()
        self._readers.add(reader)
        try:
            yield ServerSentEventMessage(
                event="hello", id=self._id(self._number), data=self.epoch, retry=RETRY_MS
            )
            self._catch_up(reader, last_id)
            while not reader.is_dropped:
                try:
                    await asyncio.wait_for(reader.wake.wait(), HEARTBEAT_S)
                except TimeoutError:
                    # Where a reader takes nothing, sending waits, and the guard ends the stream.
                    yield ServerSentEventMessage(data=None, comment="still there")
                    continue
                # What comes close together goes out together, once for each thing.
                await asyncio.sleep(GATHER_S)
                reader.wake.clear()
                taken, reader.pending = list(reader.pending.values()), {}
                for event in sorted(taken, key=lambda each: each.number):
                    yield ServerSentEventMessage(
                        event=event.event, id=self._id(event.number), data=_data(event)
                    )
        finally:
            self._readers.discard(reader)

    def _id(self, number: int) -> str:
        return f"{self.epoch}-{number}"

    def _catch_up(self, reader: Reader, last_id: str | None) -> None:
        if last_id is None:
            return
        epoch, _, number = last_id.partition("-")
        is_ours = epoch == self.epoch and number.isascii() and number.isdigit()
        seen = int(number) if is_ours and len(number) < 19 else -1
        oldest = self._kept[0].number if self._kept else self._number + 1
        if seen > self._number or seen < oldest - 1:
            _add(reader, Event(self._number, "reset", "", "", ""))
            return
        for event in self._kept:
            if event.number > seen:
                _add(reader, event)

    def _drop(self, reader: Reader) -> None:
        reader.is_dropped = True
        reader.wake.set()


def _add(reader: Reader, event: Event) -> None:
    """Add an event to what waits for a reader; a later one takes the place of an equal one."""
    key = event.event, event.topic, event.model_name, event.model_version
    if event.event == "reset" or len(reader.pending) >= MOST_PENDING:
        reader.pending.clear()
        event = Event(event.number, "reset", "", "", "")
        key = event.event, "", "", ""
    reader.pending.pop(key, None)
    reader.pending[key] = event
    reader.wake.set()


def _data(event: Event) -> str:
    fields = {
        "topic": event.topic,
        "model_name": event.model_name,
        "model_version": event.model_version,
    }
    return msgspec.json.encode(fields if event.event == "changed" else {}).decode()


def events_handler(path: str, streams: EventStreams) -> HTTPRouteHandler:
    """The route of the event stream."""

    @get(
        path,
        operation_id="events",
        summary="What changed, as it changes",
        description="Server-sent events. `changed` names topic, model and version of new records, "
        "`source` says that the state of the source changed, `reset` that anything may have "
        "changed. The header Last-Event-ID goes on after an event.",
        tags=["read"],
    )
    async def events(request: Request[Any, Any, Any]) -> ServerSentEvent:
        if request.scope["query_string"]:
            raise Unanswerable(
                needed="no parameters", got="some", remedy="ask for /api/events alone"
            )
        if streams.is_full:
            raise Unanswerable(
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                needed=f"fewer than {MOST_READERS} open event streams",
                remedy="close others, or ask again later",
            )
        return ServerSentEvent(streams.stream(request.headers.get("last-event-id")))

    return events
