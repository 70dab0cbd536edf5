"""Redis servers for tests: one that the test run shares, and private ones that a test may kill.

Tried in this order: the server of DRIFTLINE_REDIS, Docker if an engine answers, `redis-server`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError, ResponseError

VARIABLE = "DRIFTLINE_REDIS"
IMAGE = "redis:7.0-alpine"
_START_S = 30.0


class NoRedis(Exception):
    """No server of this kind is available; the message says why."""


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisProcess:
    """A `redis-server` that a test may kill and restart; it keeps its port.

    Parameters
    ----------
    folder
        Where it runs, and what it saves.
    options
        More options of its command line. It saves nothing unless they say so.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._options = ["--save", "", *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> RedisProcess:
        """Start it and wait until it answers."""
        program = shutil.which("redis-server")
        if program is None:
            raise NoRedis("redis-server is not installed")
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(program, "--port", str(self.port), "--bind", "127.0.0.1"),
                    *("--dir", str(self._folder), *self._options),
                ],
                stdout=log,
                stderr=log,
            )
        until_answers(self.url, self._process)
        return self

    def kill(self) -> None:
        """End it with kill -9, if it runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order, if it runs."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_START_S)
            self._process = None


def until_answers(url: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until a server answers, if only that it wants a password."""
    ends = time.monotonic() + _START_S
    with Redis.from_url(url, socket_timeout=2.0) as client:
        while True:
            try:
                client.ping()
            except ResponseError:
                return
            except NoConnection as error:
                if "uthentication" in str(error) or "NOAUTH" in str(error):
                    return
                if process is not None and process.poll() is not None:
                    raise NoRedis(f"redis-server ended with {process.returncode}") from error
                if time.monotonic() > ends:
                    raise NoRedis(f"{url} does not answer: {error}") from error
                time.sleep(0.02)
            else:
                return


@contextmanager
def any_redis(folder: Path) -> Iterator[str]:
    """The URL of a server for a whole test run.

    Raises
    ------
    NoRedis
        If no kind is available; with the reason for each.
    """
    named = os.environ.get(VARIABLE)
    if named:
        until_answers(named)
        yield named
        return
    reasons = []
    for kind in (_docker, _local):
        try:
            url, end = kind(folder)
        except NoRedis as reason:
            reasons.append(str(reason))
            continue
        try:
            yield url
        finally:
            end()
        return
    raise NoRedis(f"no Redis: {VARIABLE} is not set; " + "; ".join(reasons))


def need_redis_server() -> None:
    """Skip, or fail where redis is required, if a private server cannot be started."""
    if shutil.which("redis-server") is None:
        without_redis("redis-server is not installed")


def without_redis(reason: str) -> None:
    """Skip the test, or fail if DRIFTLINE_REQUIRE names redis."""
    if "redis" in os.environ.get("DRIFTLINE_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


def _local(folder: Path) -> tuple[str, Callable[[], None]]:
    own = RedisProcess(folder).start()
    return own.url, own.stop


def _docker(_: Path) -> tuple[str, Callable[[], None]]:
    engine = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if engine.startswith("unix://"):
        # Docker's own client would leave a socket open if no engine answers.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5.0)
            if probe.connect_ex(engine.removeprefix("unix://")):
                raise NoRedis(f"Docker does not answer at {engine}")

    from docker.errors import DockerException
    from testcontainers.core.container import DockerContainer

    port = free_port()
    container = DockerContainer(IMAGE)
    container.ports[6379] = ("127.0.0.1", port)  # type: ignore[assignment]
    try:
        container.start()
    except DockerException as error:
        raise NoRedis(f"Docker cannot start {IMAGE} ({error})") from error
    url = f"redis://127.0.0.1:{port}/0"
    until_answers(url)
    return url, container.stop


class Place:
    """A prefix of its own on a shared server, for one test.

    Attributes
    ----------
    client
        A client of the test.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = f"t{secrets.token_hex(4)}"
        self.client: Redis = Redis.from_url(url, decode_responses=True)

    def toml(self, more: str = "") -> str:
        """The table of the configuration."""
        return f'[redis]\nurl = "{self.url}"\nprefix = "{self.prefix}"\n{more}\n'

    def clean(self) -> None:
        """Delete its keys."""
        try:
            for key in self.client.scan_iter(f"{self.prefix}:*"):
                self.client.delete(key)
        except RedisError:
            pass  # its server is gone, and the keys with it
        self.client.close()
