"""The table [redis] is read as written, or refused with its path and a reason."""

from __future__ import annotations

from typing import Any

import pytest

from driftline.schemas.config import ConfigError, build_config
from driftline.schemas.times import DAY_MS


def test_the_table_is_read_as_written() -> None:
    settings = build_config(
        {
            "redis": {
                "url": "rediss://cache.example:6380/2",
                "username": "reader",
                "password": {"env": "REDIS_PASSWORD"},
                "ca": "/etc/ca.pem",
                "prefix": "prod.churn",
                "figures_ttl": "2d",
                "timeout": "50ms",
                "changes": 5,
            }
        }
    ).redis
    assert (settings.url, settings.username) == ("rediss://cache.example:6380/2", "reader")
    assert settings.password is not None
    assert settings.password.env == "REDIS_PASSWORD"
    assert (settings.figures_ttl_ms, settings.timeout_ms) == (2 * DAY_MS, 50)
    assert (settings.ca, settings.prefix, settings.changes) == ("/etc/ca.pem", "prod.churn", 5)


@pytest.mark.parametrize("url", ["redis://h", "redis://[::1]:7000/", "unix:///run/redis.sock"])
def test_urls_of_servers_are_accepted(url: str) -> None:
    assert build_config({"redis": {"url": url}}).redis.url == url


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"url": "http://h"}, 'redis.url: is "http://h", not such as "redis://localhost:6379/0"'),
        ({"url": "redis://:hunter2@h"}, "redis.url: holds a login"),
        ({"url": "redis://ann@h"}, "redis.url: holds a login"),
        ({"url": "redis://h?ssl=1"}, "redis.url: has a query"),
        ({"url": "redis://h/x"}, "the number of a database"),
        ({"url": "redis://h:99999"}, "which is no URL"),
        ({"url": "redis://"}, "redis.url: is "),
        ({"url": "unix://host/x"}, "unix:///run/redis.sock"),
        ({"url": 3}, "redis.url: is 3, not a string"),
        ({"password": "hunter2"}, "redis.password: is a secret in plain text"),
        ({"username": "ann"}, 'redis.username: needs "password" beside it'),
        ({"url": "redis://h", "ca": "x"}, "redis.ca: has an effect with a url that begins with"),
        ({"prefix": "a:b"}, 'redis.prefix: is "a:b"; use letters'),
        ({"prefix": ""}, "redis.prefix"),
        ({"figures_ttl": "30s"}, "redis.figures_ttl: is "),
        ({"timeout": "0s"}, "redis.timeout: is "),
        ({"timeout": "1m"}, "outside 1ms to 30s"),
        ({"changes": 0}, "redis.changes"),
        ({"host": "h"}, "redis.host: is not known"),
        ("x", "redis: is "),
    ],
)
def test_wrong_values_are_refused(table: Any, message: str) -> None:
    with pytest.raises(ConfigError) as at:
        build_config({"redis": table})
    assert message in str(at.value)
    assert "hunter2" not in str(at.value)
