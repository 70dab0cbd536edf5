"""What stands before every address: who may ask, how much, and what a browser may do with answers.

Without tokens everybody who reaches the server may read, so it answers only on a loopback address,
and only requests that name it: a page of another site cannot reach it by a name of its own that
leads to this machine (DNS rebinding), nor by a request from its own origin.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from driftline.agents.serve.answers.answer import Problem
from driftline.agents.terminal import inert
from driftline.schemas.results import encode

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application."""

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
METHODS: Final = ("GET", "HEAD")
LONGEST_ADDRESS: Final = 32_768
"""Bytes of a path with its parameters."""
MOST_PER_SECOND: Final = 200.0
"""Requests of one client: a page asks for about twenty at once, and all who look at it through one
tunnel are one client.
"""
BURST: Final = 1_000.0
STALLED_S: Final = 30.0
"""How long a reader may take nothing."""
_CLIENTS: Final = 1_024

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


class ReaderStalled(ConnectionError):
    """A reader takes nothing, and what is sent to it would fill the memory."""


class Guard:
    """An application behind the guard.

    Parameters
    ----------
    app
        What answers.
    hosts
        Names by which the server may be called, without a port.
    port
        Its port.
    clock
        Seconds that only grow.
    styles
        Further sources of styles for the policy, such as the hash of a text.
    """

    def __init__(
        self,
        app: Application,
        *,
        hosts: Iterable[str],
        port: int,
        clock: Callable[[], float] = time.monotonic,
        styles: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._names = {f"{_in_address(host)}:{port}" for host in hosts}
        if port == 80:
            self._names |= {_in_address(host) for host in hosts}
        self._clock = clock
        self._budgets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        policy = POLICY.replace("style-src 'self'", " ".join(["style-src 'self'", *styles]))
        self._headers = [*HEADERS, (b"content-security-policy", policy.encode())]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        send = self._guarded(send)
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(refusal, send, with_body=scope["method"] != "HEAD")
        elif scope["method"] == "HEAD":
            await _answer_head(self._app, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _guarded(self, send: Send) -> Send:
        """Sends with the headers of the guard, and to a reader that takes what is sent."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            try:
                await asyncio.wait_for(send(message), STALLED_S)
            except TimeoutError as error:
                raise ReaderStalled(f"nothing was taken for {STALLED_S:.0f} s") from error

        return guarded

    def _refusal(self, scope: Message) -> Problem | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if host not in self._names:
            return _problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                needed=f"the name of this server: {', '.join(sorted(self._names))}",
                got=host,
                remedy="call it by one of these names",
            )
        origin = headers.get(b"origin")
        site = headers.get(b"sec-fetch-site")
        same = {f"http://{name}".encode() for name in self._names}
        # A link elsewhere, such as one in a notification, opens the page; the site that has it sees
        # nothing of the answer.
        is_link = (headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")) == (
            b"navigate",
            b"document",
        )
        is_foreign = site == b"cross-site" and not is_link
        if (origin is not None and origin.lower() not in same) or is_foreign:
            return _problem(
                HTTPStatus.FORBIDDEN,
                needed="a request of this server's own page, or of no page",
                got=(origin or site or b"").decode("latin-1"),
                remedy="ask from a program, or from the page of this server",
            )
        if scope["method"] not in METHODS:
            return _problem(
                HTTPStatus.METHOD_NOT_ALLOWED,
                needed=" or ".join(METHODS),
                got=scope["method"],
                remedy="read with GET",
            )
        length = len(scope.get("raw_path", b"")) + len(scope.get("query_string", b""))
        if length > LONGEST_ADDRESS:
            return _problem(
                HTTPStatus.REQUEST_URI_TOO_LONG,
                needed=f"an address of at most {LONGEST_ADDRESS:,} bytes",
                got=f"{length:,} bytes",
                remedy="ask for less at once",
            )
        if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
            return _problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                needed="a request without a body",
                got="a body",
                remedy="put parameters into the address",
            )
        if not self._has_budget(scope):
            return _problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                needed=f"at most {MOST_PER_SECOND:.0f} requests a second",
                got="more of them",
                remedy="wait a second; ask for what /api/events names",
            )
        return None

    def _has_budget(self, scope: Message) -> bool:
        """Whether a client may ask once more: a bucket that fills with time."""
        client = (scope.get("client") or ("",))[0]
        now = self._clock()
        left, since = self._budgets.pop(client, (BURST, now))
        left = min(BURST, left + (now - since) * MOST_PER_SECOND)
        is_enough = left >= 1.0
        self._budgets[client] = (left - 1.0 if is_enough else left, now)
        if len(self._budgets) > _CLIENTS:
            self._budgets.popitem(last=False)
        return is_enough


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone.

    Examples
    --------
    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "0.0.0.0")]
    [True, True, False]
    """
    return host in LOOPBACK or (host.startswith("127.") and host.replace(".", "").isdigit())


def _in_address(host: str) -> str:
    """A host as it stands in an address."""
    return f"[{host}]" if ":" in host else host


def _problem(status: HTTPStatus, *, needed: str, got: str, remedy: str) -> Problem:
    shown = inert(got[:200])
    return Problem(status=status, parameter=None, needed=needed, got=shown, remedy=remedy)


async def _refuse(found: Problem, send: Send, *, with_body: bool) -> None:
    body = encode(found)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", f"{len(body)}".encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    if found.status == HTTPStatus.TOO_MANY_REQUESTS:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": found.status, "headers": headers})
    await send(
        {"type": "http.response.body", "body": body if with_body else b"", "more_body": False}
    )


async def _answer_head(app: Application, scope: Message, receive: Receive, send: Send) -> None:
    """The answer of GET without its body; a stream ends at once."""
    is_started = False

    async def without_body(message: Message) -> None:
        nonlocal is_started
        if message["type"] == "http.response.start":
            is_started = True
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive_until_started() -> Message:
        if is_started:
            return {"type": "http.disconnect"}
        return await receive()

    inner = dict(scope) | {"method": "GET"}
    await app(inner, receive_until_started, without_body)
