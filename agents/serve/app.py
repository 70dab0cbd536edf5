"""The program behind the addresses: each route of the table as a handler, errors in one form, and
the OpenAPI document at `/schema/openapi.json`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from litestar import Litestar, Request, Response, get
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from driftline.agents.inprocess.run_identity import program_version
from driftline.agents.read_model.index import UnusableIndex
from driftline.agents.serve.answers.answer import Problem
from driftline.agents.serve.events import EventStreams, events_handler
from driftline.agents.serve.follower import READERS
from driftline.agents.serve.guard import Application, Guard
from driftline.agents.serve.openapi import EpochMsSchema, operation_of
from driftline.agents.serve.page_files import PageFiles
from driftline.agents.serve.question import read_question
from driftline.agents.serve.route import Query, Route, Unanswerable, shown
from driftline.agents.serve.route_table import ROUTES
from driftline.agents.serve.tables import to_csv
from driftline.agents.serve.view import Server, View
from driftline.agents.terminal import inert
from driftline.schemas.results import encode

log = logging.getLogger(__name__)

JSON: Final = "application/json"
CSV: Final = "text/csv"
API: Final = "/api"


def build_app(
    server: Server,
    streams: EventStreams,
    guard: Callable[[Application], Guard],
    page: PageFiles,
) -> Application:
    """The application, behind its guard.

    Parameters
    ----------
    server
        What all questions share.
    streams
        The open event streams.
    guard
        Puts the guard in front of an application.
    page
        Files of the page.
    """
    readers = ThreadPoolExecutor(READERS, thread_name_prefix="driftline-reader")

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        streams.open(asyncio.get_running_loop())
        server.follower.start()
        try:
            yield
        finally:
            streams.close()
            await asyncio.to_thread(server.follower.stop)
            readers.shutdown(wait=False, cancel_futures=True)

    app = Litestar(
        route_handlers=[
            *(_handler(route, server, readers) for route in ROUTES),
            events_handler(f"{API}/events", streams),
            *page.handlers(),
        ],
        exception_handlers={
            Unanswerable: _unanswerable,
            HTTPException: _http_problem,
            sqlite3.Error: _unreadable,
            UnusableIndex: _unreadable,
            Exception: _fault,
        },
        lifespan=[lifespan],
        openapi_config=OpenAPIConfig(
            title="Driftline",
            version=program_version(),
            path="/schema",
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        ),
        plugins=[EpochMsSchema()],
        logging_config=None,
        debug=False,
    )
    return guard(app)


def _handler(route: Route, server: Server, readers: ThreadPoolExecutor) -> HTTPRouteHandler:
    async def answer(request: Request[Any, Any, Any]) -> Response[Any]:
        query = read_question(route.query, request.scope["query_string"])
        kind = _format(request, query)
        ask = partial(_answer, route, query, server, kind, request.headers.get("if-none-match"))
        return await asyncio.get_running_loop().run_in_executor(readers, ask)

    answer.__annotations__["return"] = Response[route.answer]  # type: ignore[name-defined]
    name = route.path.strip("/").replace("/", "_")
    answer.__name__ = name
    return get(
        f"{API}{route.path}",
        operation_class=operation_of(route),
        operation_id=name,
        summary=route.description.split(".")[0],
        description=route.description,
        tags=["read"],
    )(answer)


def _answer(
    route: Route, query: Query, server: Server, kind: str, known_tag: str | None
) -> Response[Any]:
    """The response to a question, in a thread that reads."""
    epoch = server.rows.epoch
    with server.follower.reading() as reads:
        tag = _tag(reads.state, route.path, query, kind) if route.is_timeless else None
        if tag is not None and _is_known(tag, known_tag):
            return _not_modified(tag, kind)
        found = route.read(View(reads=reads, server=server, epoch=epoch), query)
    content = to_csv(route.table(found)) if kind == CSV else encode(found)
    tag = tag or _tag(content)
    if _is_known(tag, known_tag):
        return _not_modified(tag, kind)
    return Response(content, headers=_headers(tag), media_type=kind)


def _not_modified(tag: str, kind: str) -> Response[Any]:
    return Response(b"", status_code=304, headers=_headers(tag), media_type=kind)


def _headers(tag: str) -> dict[str, str]:
    return {"Vary": "Accept", "Cache-Control": "no-cache", "ETag": tag}


def _is_known(tag: str, known: str | None) -> bool:
    return known is not None and tag in (each.strip() for each in known.split(","))


def _tag(*facts: object) -> str:
    """The mark of an answer: of what it depends on, or of its content."""
    content = f"{program_version()} {facts}"
    return f'W/"{hashlib.blake2b(content.encode(), digest_size=12).hexdigest()}"'


def _format(request: Request[Any, Any, Any], query: Query) -> str:
    if query.format is not None:
        return CSV if query.format == "csv" else JSON
    accepted = [each.split(";")[0].strip() for each in request.headers.get("accept", "").split(",")]
    wanted = [each for each in accepted if each in ("text/csv", JSON, "*/*")]
    return CSV if wanted[:1] == ["text/csv"] else JSON


def problem(
    status: int, *, needed: str, got: str | None, remedy: str, parameter: str | None = None
) -> Response[Any]:
    """The answer to what has none."""
    found = Problem(status=status, parameter=parameter, needed=needed, got=got, remedy=remedy)
    return Response(
        encode(found), status_code=status, media_type=JSON, headers={"Cache-Control": "no-store"}
    )


def _unanswerable(_: Request[Any, Any, Any], error: Unanswerable) -> Response[Any]:
    return problem(
        error.status,
        needed=error.needed,
        got=error.got,
        remedy=error.remedy,
        parameter=error.parameter,
    )


def _http_problem(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    status = error.status_code
    path = shown(inert(request.scope["path"]))
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return problem(
            status, needed="GET or HEAD", got=request.scope["method"], remedy="read with GET"
        )
    if status == HTTPStatus.NOT_FOUND:
        return problem(
            status,
            needed="an address of this server",
            got=path,
            remedy="/schema/openapi.json lists those of the API",
        )
    return problem(status, needed="a request that can be read", got=path, remedy="correct it")


def _unreadable(_: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    log.warning("the index cannot be read: %s", error)
    return problem(
        503,
        needed="an index that can be read",
        got=inert(str(error)),
        remedy="ask again in some seconds: it is opened anew once the source is there",
    )


def _fault(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """A fault of the program: the log has the details, the answer has none."""
    log.error("%s failed", inert(request.scope["path"]), exc_info=error)
    return problem(
        500, needed="an answer", got=None, remedy="read the log of the server, and report the fault"
    )
