"""The event stream names what changed, once for each thing; a reader that was away catches up."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from driftline.agents.read_model.intake import Changed
from driftline.agents.serve import events
from driftline.agents.serve.events import EventStreams
from driftline.agents.serve.follower import EVERYTHING
from tests.agents.serve.serving import Api, served

NEWS = Changed("metrics", "churn", "1.4.2")


class Stream:
    """A reader of the stream of a running server."""

    def __init__(self, api: Api, last_id: str | None = None) -> None:
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        self._response = api.pool.request(
            "GET",
            f"{api.url}/api/events",
            headers=headers,
            preload_content=False,
            timeout=urllib3.Timeout(connect=10, read=60),
        )
        self._parts = self._read()

    def _read(self) -> Iterator[dict[str, str]]:
        fields: dict[str, str] = {}
        for line in self._lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                yield fields
                fields = {}

    def _lines(self) -> Iterator[str]:
        rest = b""
        for part in self._response.stream(1):
            rest += part
            while b"\r\n" in rest:
                line, rest = rest.split(b"\r\n", 1)
                yield line.decode()

    def next(self) -> dict[str, str]:
        return next(self._parts)

    def close(self) -> None:
        self._response.close()


def grow(folder: Path, alert_id: str) -> None:
    """Add an episode to the alerts of a folder."""
    path = folder / "alerts.jsonl"
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record | {"alert_id": alert_id}) + "\n")


def test_a_folder_that_grows_wakes_the_reader_and_the_next_answer_has_it(folder: Path) -> None:
    with served("--out", str(folder)) as api:
        while api.get("/health")["status"] != "ok":
            time.sleep(0.05)
        tag = api.ask("/api/alerts").headers["etag"]
        before = api.get("/overview")["n_alerts"]
        stream = Stream(api)
        hello = stream.next()
        assert hello["event"] == "hello"
        grow(folder, "another")
        event = stream.next()
        while event["event"] == "source":
            event = stream.next()
        assert event["event"] == "changed"
        assert json.loads(event["data"]) == {
            "topic": "alerts",
            "model_name": "churn",
            "model_version": "1.4.2",
        }
        again = api.ask("/api/alerts", headers={"If-None-Match": tag})
        assert again.status == 200
        assert "another" in [each["alert_id"] for each in again.json["alerts"]]
        assert api.get("/overview")["n_alerts"] == before + 1
        stream.close()

        grow(folder, "third")
        while len(api.get("/alerts")["alerts"]) < 3:
            time.sleep(0.05)
        caught_up = Stream(api, event["id"])
        assert caught_up.next()["event"] == "hello"
        missed = caught_up.next()
        assert (missed["event"], json.loads(missed["data"])["topic"]) == ("changed", "alerts")
        caught_up.close()
        stranger = Stream(api, "another-1")
        assert [stranger.next()["event"], stranger.next()["event"]] == ["hello", "reset"]
        stranger.close()


def test_an_open_stream_ends_with_the_server(folder: Path) -> None:
    with served("--out", str(folder)) as api:
        stream = Stream(api)
        stream.next()
        api.process.terminate()
        with pytest.raises((StopIteration, urllib3.exceptions.HTTPError)):
            while True:
                stream.next()
        assert api.process.wait(timeout=30) == 0
        stream.close()


async def taken(streams: EventStreams, last_id: str | None, count: int) -> list[str]:
    """Event and data of the next messages of a new stream."""
    stream = streams.stream(last_id)
    found = []
    async for message in stream:
        found.append(f"{message.event} {message.data}")
        if len(found) == count:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    return found


def opened() -> EventStreams:
    streams = EventStreams()
    streams.open(asyncio.get_running_loop())
    return streams


def test_equal_news_that_come_together_are_one_event() -> None:
    async def run() -> None:
        streams = opened()
        reading = asyncio.create_task(taken(streams, None, 3))
        await asyncio.sleep(0)
        for _ in range(5):
            streams.tell({NEWS})
        streams.tell(set())
        found = await asyncio.wait_for(reading, 30)
        assert [each.split()[0] for each in found] == ["hello", "changed", "source"]
        assert len(streams) == 0

    asyncio.run(run())


def test_a_reader_with_too_much_to_catch_up_with_is_told_to_begin_anew() -> None:
    async def run() -> None:
        streams = opened()
        for number in range(events.KEPT + 1):
            streams.tell({Changed("metrics", "churn", f"{number}")})
        await asyncio.sleep(0)
        oldest = await taken(streams, f"{streams.epoch}-0", 2)
        assert oldest[1].startswith("reset")
        newest = await taken(streams, f"{streams.epoch}-{events.KEPT}", 2)
        assert newest[1].startswith("changed")
        for unknown in ("", "x", "-1", f"{streams.epoch}-x", f"{streams.epoch}-99999", "9" * 400):
            assert (await taken(streams, unknown, 2))[1].startswith("reset")

    asyncio.run(run())


def test_what_waits_for_a_slow_reader_is_bounded() -> None:
    async def run() -> None:
        streams = opened()
        stream = streams.stream(None)
        await anext(stream)
        for number in range(events.MOST_PENDING + 10):
            streams.tell({Changed("metrics", "churn", f"{number}")})
        streams.tell({EVERYTHING})
        await asyncio.sleep(0)
        message = await asyncio.wait_for(anext(stream), 30)
        assert message.event == "reset"
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_more_streams_than_allowed_are_refused() -> None:
    async def run() -> None:
        streams = opened()
        held = [streams.stream(None) for _ in range(events.MOST_READERS)]
        for stream in held:
            await anext(stream)
        assert streams.is_full
        streams.close()
        assert [message async for message in held[0]] == []

    asyncio.run(run())
