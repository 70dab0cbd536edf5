"""The settings under [redis]: the server of the mirror, the login, and what is kept there how long.

They have no effect on results. The password is a reference only; `driftline.agents.mirror.server`
reads it when it connects.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from driftline.schemas.config_values import (
    InvalidValue,
    describe,
    integer_between,
    read_duration,
    read_string,
)
from driftline.schemas.secrets import Secret, read_secret
from driftline.schemas.times import DAY_MS, MINUTE_MS

__all__ = ["REDIS_KEYS", "RedisSettings", "check_redis"]

_SCHEMES = ("redis", "rediss", "unix")
_LONGEST_TIMEOUT_MS = 30_000
MOST_CHANGES = 10_000_000


class RedisSettings(Struct, frozen=True, kw_only=True):
    """Where the mirror is, and how it is used.

    Attributes
    ----------
    url
        "redis://host:port/database", "rediss://" for TLS, "unix:///path" for a socket; None where
        there is no mirror.
    username, password
        The login; None for none.
    ca
        File with the certificates by which the server's is judged; None for those of the system.
    prefix
        Beginning of all keys; None for `topic_prefix` and `kafka.app`.
    figures_ttl_ms
        How long the figures of a series are kept after its last record.
    timeout_ms
        How long a reader waits for the server, for a connection and for an answer.
    changes
        About how many of the newest changes the stream keeps.
    """

    url: str | None = None
    username: str | None = None
    password: Secret | None = None
    ca: str | None = None
    prefix: str | None = None
    figures_ttl_ms: int = 7 * DAY_MS
    timeout_ms: int = 200
    changes: int = 10_000


def _read_url(value: Any) -> str:
    text = read_string(value)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is {describe(value)}, which is no URL: {error}") from error
    if parts.scheme not in _SCHEMES:
        raise ValueError(
            f'is {describe(_without_login(text))}, not such as "redis://localhost:6379/0"; '
            f"schemes: {', '.join(_SCHEMES)}"
        )
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "holds a login, which must not be in this file; set username and password beside it"
        )
    if parts.query or parts.fragment:
        raise ValueError("has a query; options are keys of this table")
    if parts.scheme == "unix":
        if not parts.path or parts.netloc:
            raise ValueError(f'is {describe(value)}, not such as "unix:///run/redis.sock"')
        return text
    if not parts.hostname or port == 0:
        raise ValueError(f'is {describe(value)}, not such as "redis://localhost:6379/0"')
    if not re.fullmatch(r"/?|/\d{1,4}", unquote(parts.path)):
        raise ValueError(f"is {describe(value)}; after the host stands the number of a database")
    return text


def _without_login(text: str) -> str:
    return text.rpartition("@")[2]


def _read_text(value: Any) -> str:
    if not read_string(value):
        raise ValueError("must not be empty")
    return str(value)


def _read_prefix(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", read_string(value)):
        raise ValueError(
            f"is {describe(value)}; use letters, digits, '.', '_' and '-', 1 to 200 of them"
        )
    return str(value)


def _read_ttl(value: Any) -> int:
    ms = read_duration(value)
    if ms < MINUTE_MS:
        raise ValueError(f"is {describe(value)}, less than one minute")
    return ms


def _read_timeout(value: Any) -> int:
    ms = read_duration(value)
    if not 1 <= ms <= _LONGEST_TIMEOUT_MS:
        raise ValueError(f"is {describe(value)}, outside 1ms to 30s")
    return ms


REDIS_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "url": ("url", _read_url),
    "username": ("username", _read_text),
    "password": ("password", read_secret),
    "ca": ("ca", _read_text),
    "prefix": ("prefix", _read_prefix),
    "figures_ttl": ("figures_ttl_ms", _read_ttl),
    "timeout": ("timeout_ms", _read_timeout),
    "changes": ("changes", integer_between(1, MOST_CHANGES)),
}
"""Keys of [redis]: key -> attribute of `RedisSettings`, reader."""


def check_redis(settings: RedisSettings) -> RedisSettings:
    """The settings, if their keys fit each other.

    Raises
    ------
    InvalidValue
        If a key has no effect, or needs another one.

    Examples
    --------
    >>> check_redis(RedisSettings(url="redis://localhost")).figures_ttl_ms // DAY_MS
    7
    """
    if settings.username is not None and settings.password is None:
        raise InvalidValue("redis.username", 'needs "password" beside it')
    if settings.ca is not None and not (settings.url or "").startswith("rediss:"):
        raise InvalidValue("redis.ca", 'has an effect with a url that begins with "rediss:" only')
    return settings
