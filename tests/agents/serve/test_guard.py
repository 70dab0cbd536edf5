"""Who may ask, how much, and what a browser may do with answers."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from driftline.agents.serve.answers.answer import Problem
from driftline.agents.serve.guard import BURST, LONGEST_ADDRESS, MOST_PER_SECOND, Guard
from tests.agents.serve.serving import Api

HERE = "127.0.0.1:8321"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine", "more_body": False})


def asked(
    guard: Guard,
    *headers: tuple[str, str],
    host: str = HERE,
    method: str = "GET",
    query: bytes = b"",
    client: str = "127.0.0.1",
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to a request."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": method,
        "path": "/api/models",
        "raw_path": b"/api/models",
        "query_string": query,
        "client": (client, 1),
        "headers": [
            (name.lower().encode(), value.encode()) for name, value in (("Host", host), *headers)
        ],
    }
    asyncio.run(guard(scope, receive, send))  # type: ignore[arg-type]
    start, *parts = sent
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], found, b"".join(part.get("body", b"") for part in parts)


@pytest.fixture
def guard() -> Guard:
    return Guard(application, hosts=("127.0.0.1", "localhost", "::1"), port=8321)


@pytest.mark.parametrize("host", [HERE, "localhost:8321", "LocalHost:8321", "[::1]:8321"])
def test_a_request_that_names_the_server_is_answered(guard: Guard, host: str) -> None:
    assert asked(guard, host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8321",
        "127.0.0.1",
        "127.0.0.1:80",
        "localhost.evil.example:8321",
        "127.0.0.1:8321@evil.example",
        "",
        "0.0.0.0:8321",
        "127.0.0.1:8321, evil.example",
    ],
)
def test_another_name_is_refused_so_that_no_page_reaches_it_by_one(guard: Guard, host: str) -> None:
    status, _, body = asked(guard, host=host)
    assert status == 421
    assert HERE in msgspec.json.decode(body, type=Problem).needed


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Origin", f"http://{HERE}", 200),
        ("Origin", "http://localhost:8321", 200),
        ("Origin", f"https://{HERE}", 403),
        ("Origin", "http://evil.example", 403),
        ("Origin", "null", 403),
        ("Origin", "http://127.0.0.1:9999", 403),
        ("Sec-Fetch-Site", "same-origin", 200),
        ("Sec-Fetch-Site", "none", 200),
        ("Sec-Fetch-Site", "cross-site", 403),
    ],
)
def test_only_its_own_page_may_ask(guard: Guard, name: str, value: str, status: int) -> None:
    assert asked(guard, (name, value))[0] == status


@pytest.mark.parametrize(
    ("mode", "place", "status"),
    [
        ("navigate", "document", 200),  # a link in a notification
        ("navigate", "iframe", 403),
        ("no-cors", "script", 403),
        ("cors", "empty", 403),
    ],
)
def test_another_site_may_lead_to_the_page_and_nothing_else(
    guard: Guard, mode: str, place: str, status: int
) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": place}
    assert asked(guard, *headers.items())[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Content-Length", "5")], 413),
        ([("Transfer-Encoding", "chunked")], 413),
        ([("Content-Length", "0")], 200),
    ],
)
def test_a_body_is_refused(guard: Guard, headers: list[tuple[str, str]], status: int) -> None:
    assert asked(guard, *headers)[0] == status


def test_an_endless_address_is_refused(guard: Guard) -> None:
    longest = LONGEST_ADDRESS - len("/api/models")
    assert asked(guard, query=b"x" * longest)[0] == 200
    assert asked(guard, query=b"x" * (longest + 1))[0] == 414


def test_a_client_has_a_budget_that_time_fills_again() -> None:
    clock = Clock()
    guard = Guard(application, hosts=("127.0.0.1",), port=8321, clock=clock)
    statuses = [asked(guard)[0] for _ in range(int(BURST) + 5)]
    assert statuses == [200] * int(BURST) + [429] * 5
    assert asked(guard, client="127.0.0.2")[0] == 200
    status, headers, _ = asked(guard)
    assert (status, headers["retry-after"]) == (429, "1")
    clock.now_s += 1.0
    statuses = [asked(guard)[0] for _ in range(int(MOST_PER_SECOND) + 1)]
    assert statuses == [200] * int(MOST_PER_SECOND) + [429]


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("POST", 405), ("OPTIONS", 405), ("TRACE", 405)]
)
def test_only_reading_methods_pass(guard: Guard, method: str, status: int) -> None:
    found, _, body = asked(guard, method=method)
    assert found == status
    assert (method == "HEAD") == (body == b"")


def test_every_answer_has_a_strict_policy(api: Api) -> None:
    answers = [
        api.ask("/api/models"),
        api.ask("/nowhere"),
        api.ask("/api/model"),
        api.ask("/api/models", headers={"Host": "evil.example"}),
        api.ask("/api/models", method="POST"),
        api.ask("/schema/openapi.json"),
        api.ask("/schema"),
    ]
    assert [found.status for found in answers] == [200, 404, 400, 421, 405, 200, 200]
    for found in answers:
        policy = found.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["referrer-policy"] == "no-referrer"
        assert "server" not in found.headers
        assert "access-control-allow-origin" not in found.headers


def test_a_reader_that_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftline.agents.serve.guard.STALLED_S", 0.05)
    guard = Guard(application, hosts=("127.0.0.1",), port=8321)

    async def never(_: Any) -> None:
        await asyncio.Event().wait()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "client": None,
        "headers": [(b"host", HERE.encode())],
    }
    with pytest.raises(ConnectionError, match="nothing was taken"):
        asyncio.run(guard(scope, never, never))
