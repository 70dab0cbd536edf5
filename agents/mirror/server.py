"""A connection to Redis, and its faults in words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from driftline.agents.secret import SecretError, secret_text
from driftline.schemas.config import ConfigError
from driftline.schemas.errors import DriftlineError
from driftline.schemas.settings import Config

if TYPE_CHECKING:
    from redis import Redis

T = TypeVar("T")

FaultReason = Literal["away", "slow", "full", "login", "loading", "read_only", "other"]

PATIENCE_S: Final = 10.0
"""How long whoever writes waits for an answer; readers have `redis.timeout`."""


class MirrorFault(DriftlineError):
    """Redis did not do what it was asked.

    Attributes
    ----------
    reason
        "away" if it cannot be reached, "slow" if it does not answer in time, "full" if it takes no
        more (maxmemory), "login" if it wants another login or denies a command, "loading" while it
        starts, "read_only" if it is a replica, else "other".
    """

    def __init__(self, reason: FaultReason, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class Server:
    """A Redis server.

    Parameters
    ----------
    config
        Names it under [redis].
    timeout_s
        How long a connection and an answer may take; there is no second attempt.
    environment
        Where the password may be.

    Raises
    ------
    ConfigError
        If no server is named, or the password or the certificates cannot be read.
    MissingExtra
        If redis-py is not installed.
    """

    def __init__(
        self, config: Config, timeout_s: float = PATIENCE_S, environment: Any = os.environ
    ) -> None:
        settings = config.redis
        if settings.url is None:
            raise ConfigError(
                config.path,
                "redis.url",
                'is not set; name the server, such as url = "redis://localhost:6379/0"',
            )
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            from driftline.agents.results import MissingExtra

            raise MissingExtra(
                f'the mirror in Redis needs the extra "redis" ({error}): '
                'pip install "driftline[redis]"'
            ) from error
        options: dict[str, Any] = {}
        if settings.password is not None:
            try:
                options["password"] = secret_text(settings.password, environment)
            except SecretError as error:
                raise ConfigError(config.path, "redis.password", str(error)) from error
        if settings.username is not None:
            options["username"] = settings.username
        if settings.ca is not None:
            try:
                Path(settings.ca).open("rb").close()
            except OSError as error:
                raise ConfigError(
                    config.path, "redis.ca", f"{settings.ca} cannot be read: {error.strerror}"
                ) from error
            options["ssl_ca_certs"] = settings.ca
        self.place = _place(settings.url)
        self._errors = redis.exceptions
        self.client: Redis = redis.Redis.from_url(
            settings.url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            decode_responses=True,
            # Others may write anything below the prefix.
            encoding_errors="surrogateescape",
            **options,
        )

    def ask(self, question: Callable[[Redis], T]) -> T:
        """What Redis answers.

        Raises
        ------
        MirrorFault
            If it does not.
        """
        try:
            return question(self.client)
        except (self._errors.RedisError, OSError) as error:
            raise self.fault(error) from error

    def is_wrong_type(self, error: BaseException) -> bool:
        """Whether a key holds another kind of value than the command is for."""
        return str(error).startswith("WRONGTYPE")

    def fault(self, error: BaseException) -> MirrorFault:
        """An exception of the client as a fault."""
        reason, what = self._reason(error)
        return MirrorFault(reason, f"Redis at {self.place} {what}")

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _reason(self, error: BaseException) -> tuple[FaultReason, str]:
        errors, text = self._errors, str(error)
        if isinstance(error, errors.AuthenticationError | errors.NoPermissionError) or (
            text.startswith(("NOAUTH", "WRONGPASS", "NOPERM"))
        ):
            return "login", f"denies the login: {text}; set redis.username and redis.password"
        if isinstance(error, errors.OutOfMemoryError) or "OOM " in text:
            return "full", "has no memory left (maxmemory); give it more, or delete something else"
        if isinstance(error, errors.BusyLoadingError):
            return "loading", "is loading its data"
        if isinstance(error, errors.ReadOnlyError):
            return "read_only", "is a read-only replica; name the primary in redis.url"
        if isinstance(error, errors.TimeoutError | TimeoutError):
            return "slow", "does not answer in time"
        if isinstance(error, errors.ConnectionError | OSError):
            return "away", f"cannot be reached: {text}"
        return "other", f"refused a command: {text}"


def _place(url: str) -> str:
    """Where a server is, for messages.

    Examples
    --------
    >>> _place("rediss://cache:6380/2"), _place("unix:///run/redis.sock")
    ('cache:6380', '/run/redis.sock')
    """
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
