"""Runs the application until a signal ends it."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import uvicorn

from driftline.agents.garbage_collection import rarely_collecting
from driftline.agents.read_model.read_model import ReadModel
from driftline.agents.serve.answers.pipeline import PartitionLag
from driftline.agents.serve.app import build_app
from driftline.agents.serve.dead_letters import FolderLetters
from driftline.agents.serve.events import EventStreams
from driftline.agents.serve.follower import Follower
from driftline.agents.serve.guard import LOOPBACK, Guard, is_loopback
from driftline.agents.serve.kept_rows import OverviewRows
from driftline.agents.serve.page_files import PageFiles
from driftline.agents.serve.view import Server
from driftline.schemas.errors import DriftlineError
from driftline.schemas.times import EpochMs

MOST_CONNECTIONS: Final = 500
END_S: Final = 1
"""How long open answers may take after a signal."""


class CannotServe(DriftlineError):
    """The server cannot start; the message says what to do."""


class _Uvicorn(uvicorn.Server):
    """A server whose signals are those of `serve`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(
    open_model: Callable[[], ReadModel],
    *,
    folder: Path | None,
    errors: tuple[type[Exception], ...] = (),
    look: Callable[[], list[PartitionLag]] | None = None,
    host: str,
    port: int,
    ready: Callable[[str], None],
) -> None:
    """Serve the results of a source until SIGINT or SIGTERM.

    Parameters
    ----------
    open_model
        Opens the read model of the source, not refreshed.
    folder
        The output folder; None for a broker.
    errors, look
        As in `Follower`.
    host, port
        Where to listen; port 0 takes a free one.
    ready
        Called with the address once it answers.

    Raises
    ------
    CannotServe
        If the address is not one of this machine alone, or is taken.
    DriftlineError
        If the source cannot be opened.
    """
    with closing(_listen(host, port)) as listening:
        _serve(listening, Follower(open_model, errors, look), folder, host, ready)
    # The last collection of an interpreter looks at all objects again: 0.3 s instead of 3 s on a
    # busy machine (measured) until the process has ended.
    gc.freeze()


def _serve(
    listening: socket.socket,
    follower: Follower,
    folder: Path | None,
    host: str,
    ready: Callable[[str], None],
) -> None:
    port = listening.getsockname()[1]
    streams = EventStreams()
    rows = OverviewRows()
    # Rows are forgotten before anybody hears of the change and asks for them.
    follower.listen(rows.forget)
    follower.listen(streams.tell)
    server = Server(
        follower=follower,
        folder=folder,
        rows=rows,
        letters=None if folder is None else FolderLetters(folder),
        started_at_ms=EpochMs(time.time_ns() // 1_000_000),
        listeners=streams.__len__,
    )
    app = build_app(
        server, streams, partial(Guard, hosts={host, *LOOPBACK}, port=port), PageFiles()
    )
    running = _Uvicorn(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=END_S,
            limit_concurrency=MOST_CONNECTIONS,
        )
    )
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    with rarely_collecting():
        asyncio.run(_run(running, listening, streams, partial(ready, url)))


async def _run(
    running: _Uvicorn, listening: socket.socket, streams: EventStreams, ready: Callable[[], None]
) -> None:
    def end() -> None:
        streams.close()
        running.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    serving = asyncio.create_task(running.serve(sockets=[listening]))
    while not running.started and not serving.done():
        await asyncio.sleep(0.01)
    if running.started:
        ready()
    await serving


def _listen(host: str, port: int) -> socket.socket:
    if not is_loopback(host):
        raise CannotServe(
            f"--host {host} can be reached from other machines, and everybody there could read all"
            " results: access by token does not exist yet. Serve on 127.0.0.1, and reach it from"
            f" elsewhere through an SSH tunnel: ssh -L {port}:127.0.0.1:{port} THIS-MACHINE"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Only where the protocol is named does asyncio send head and body at once (TCP_NODELAY); else
    # an answer takes 40 ms more (measured).
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise CannotServe(
            f"--port {port} on {host} cannot be used: {error.strerror}; name another one with"
            " --port, or 0 for a free one"
        ) from error
    return listening
