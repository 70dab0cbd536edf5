"""The settings under [kafka]: which broker, how to log in, and how a worker uses it.

Secrets stay references here; `driftline.agents.kafka.broker.connection` reads them when it
connects.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from driftline.schemas.config_values import (
    InvalidValue,
    choice,
    duration,
    integer,
    only_known,
    quoted,
    shown,
    string,
)
from driftline.schemas.topics import INPUT_PARTITIONS, RESULT_PARTITIONS

__all__ = ["CLIENT_KEYS", "KAFKA_KEYS", "Kafka", "Secret"]

MAX_PARTITIONS = 1024
LEAST_MEMORY = 10**6
_SIZE = re.compile(r"(\d{1,9})(KB|MB|GB|KiB|MiB|GiB)", re.ASCII)
_SIZE_UNITS = {
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})", re.ASCII)
_SECRET_KEYS = ("env", "file")

SECRETS = ("sasl.password", "ssl.key.password")
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class Secret(Struct, frozen=True, kw_only=True):
    """Where a secret stands: the name of an environment variable, or a file that holds nothing
    else.
    """

    env: str | None = None
    file: str | None = None


class Kafka(Struct, frozen=True, kw_only=True):
    """How a worker reaches its broker and what it asks of it.

    Attributes
    ----------
    bootstrap_servers
        "host:port", several separated by commas.
    app
        Begins the names of consumer groups, transactional ids and changelog topics: two programs on
        one broker need two.
    input_partitions, partitions
        Partitions of the input topics, and of those after stage 1.
    replication_factor, min_insync_replicas
        Of topics that are created; -1 and None leave them to the broker.
    commit_interval_ms
        How long results are gathered before they are committed.
    provisional_ms
        How often changed windows that are still open are announced, at most with every commit; None
        for never.
    memory_bytes
        What the cached state of a worker may take, over all its tasks.
    session_timeout_ms
        After which silence the broker gives a worker's partitions to another.
    static_member
        Name under which a worker comes back to its own partitions after a restart without the
        others being disturbed; every worker needs its own. None: partitions are dealt out anew
        whenever a worker comes or goes.
    client
        Properties of all Kafka clients, by librdkafka's names.
    """

    bootstrap_servers: str = "localhost:9092"
    app: str = "driftline"
    input_partitions: int = INPUT_PARTITIONS
    partitions: int = RESULT_PARTITIONS
    replication_factor: int = -1
    min_insync_replicas: int | None = None
    commit_interval_ms: int = 100
    provisional_ms: int | None = 100
    memory_bytes: int = 512 * 10**6
    session_timeout_ms: int = 10_000
    static_member: str | None = None
    client: dict[str, str | Secret] = {}


def _servers(value: Any) -> str:
    servers = [server.strip() for server in string(value).split(",")]
    for server in servers:
        match = _SERVER.fullmatch(server)
        if match is None or not 1 <= int(match[2]) <= 65_535:
            raise ValueError(f'holds "{server}", which is not host:port, such as "localhost:9092"')
    return ",".join(servers)


def _identifier(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", string(value)):
        raise ValueError(
            f"is {shown(value)}; letters, digits, '.', '_' and '-' are taken, 1 to 100 of them"
        )
    return str(value)


def _replication(value: Any) -> int:
    if value == -1 and not isinstance(value, bool):
        return -1
    try:
        return integer(1, 100)(value)
    except ValueError as error:
        raise ValueError(f"{error}, nor -1 for what the broker is set to") from error


def _interval(value: Any) -> int:
    ms = duration(value)
    if not 10 <= ms <= 60_000:
        raise ValueError(f"is {shown(value)}, outside 10ms to 1m")
    return ms


def _provisional(value: Any) -> int | None:
    return None if value == "off" else _interval(value)


def _session(value: Any) -> int:
    ms = duration(value)
    if not 6_000 <= ms <= 300_000:
        raise ValueError(f"is {shown(value)}, outside 6s to 5m, which brokers take")
    return ms


def _size(value: Any) -> int:
    match = _SIZE.fullmatch(string(value))
    if match is None:
        raise ValueError(
            f'is {shown(value)}, not a size such as "512MB" (units: {", ".join(_SIZE_UNITS)})'
        )
    size = int(match[1]) * _SIZE_UNITS[match[2]]
    if size < LEAST_MEMORY:
        raise ValueError(f"is {shown(value)}, less than 1MB")
    return size


def _secret(value: Any) -> Secret:
    if isinstance(value, str):
        raise ValueError(
            'is a secret in plain text, which does not belong into this file; write { env = "NAME" } or { file = "/path" }'
        )
    if not isinstance(value, dict):
        raise ValueError(
            'is no reference to a secret; write { env = "NAME" } or { file = "/path" }'
        )
    only_known(value, _SECRET_KEYS, ".")
    if len(value) != 1:
        raise ValueError('needs one of "env" and "file"')
    ((key, name),) = value.items()
    if not isinstance(name, str) or not name:
        raise InvalidValue(f".{key}", f"is {shown(name)}, not a name")
    return Secret(**value)


CLIENT_KEYS: dict[str, Callable[[Any], str | Secret]] = {
    "security.protocol": choice(*PROTOCOLS),
    "sasl.mechanism": choice(*MECHANISMS),
    "sasl.username": string,
    "sasl.password": _secret,
    "ssl.ca.location": string,
    "ssl.certificate.location": string,
    "ssl.key.location": string,
    "ssl.key.password": _secret,
    "ssl.endpoint.identification.algorithm": choice("https", "none"),
    "client.id": _identifier,
}
"""What every client understands, aiokafka included, which does not know librdkafka's other
properties.
"""


def _client(value: Any) -> dict[str, str | Secret]:
    if not isinstance(value, dict):
        raise ValueError(f"is {shown(value)}, not a table")
    properties = dict(_flat(value, ""))
    for key in properties:
        only_known({key: None}, tuple(CLIENT_KEYS), ".")
    read: dict[str, str | Secret] = {}
    for key, found in properties.items():
        try:
            read[key] = CLIENT_KEYS[key](found)
        except InvalidValue as refused:
            raise InvalidValue(f".{quoted(key)}{refused.where}", refused.message) from refused
        except ValueError as error:
            raise InvalidValue(f".{quoted(key)}", str(error)) from error
    _belong_together(read)
    return read


def _flat(table: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Properties by their full names:

    TOML reads `sasl.username` without quotes as a table in a table.
    """
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in SECRETS:
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _belong_together(properties: dict[str, str | Secret]) -> None:
    """Refuse half a login: clients would say so late, or connect without it."""
    protocol = str(properties.get("security.protocol", "PLAINTEXT"))
    for key in properties:
        kind = key.partition(".")[0]
        if kind in ("sasl", "ssl") and kind.upper() not in protocol.replace("_", " ").split():
            raise InvalidValue(
                f".{quoted(key)}", f'has no effect with "security.protocol" = "{protocol}"'
            )
    if protocol.startswith("SASL"):
        for key in ("sasl.mechanism", "sasl.username", "sasl.password"):
            if key not in properties:
                raise InvalidValue("", f'needs "{key}" with "security.protocol" = "{protocol}"')
    if "ssl.key.location" in properties and "ssl.certificate.location" not in properties:
        raise InvalidValue(
            f".{quoted('ssl.key.location')}", 'needs "ssl.certificate.location" beside it'
        )


KAFKA_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "bootstrap_servers": ("bootstrap_servers", _servers),
    "app": ("app", _identifier),
    "input_partitions": ("input_partitions", integer(1, MAX_PARTITIONS)),
    "partitions": ("partitions", integer(1, MAX_PARTITIONS)),
    "replication_factor": ("replication_factor", _replication),
    "min_insync_replicas": ("min_insync_replicas", integer(1, 100)),
    "commit_interval": ("commit_interval_ms", _interval),
    "provisional": ("provisional_ms", _provisional),
    "memory": ("memory_bytes", _size),
    "session_timeout": ("session_timeout_ms", _session),
    "static_member": ("static_member", _identifier),
    "client": ("client", _client),
}
"""What may stand in [kafka]: key, attribute of `Kafka`, reader."""
