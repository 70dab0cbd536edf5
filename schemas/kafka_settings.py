"""The settings under [kafka]: the broker, the login, and how a worker uses the broker.

Secrets are references only; `driftline.agents.kafka.broker.connection` reads them when it connects.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from driftline.schemas.config_values import (
    InvalidValue,
    check_keys,
    describe,
    integer_between,
    one_of,
    read_duration,
    read_flag,
    read_string,
    toml_key,
)
from driftline.schemas.reports import LONGEST_INTERVAL_S
from driftline.schemas.secrets import Secret, read_secret
from driftline.schemas.times import MINUTE_MS, SECOND_MS
from driftline.schemas.topics import INPUT_PARTITIONS, RESULT_PARTITIONS

__all__ = ["CLIENT_KEYS", "KAFKA_KEYS", "KafkaSettings"]

MAX_PARTITIONS = 1024
MIN_MEMORY_BYTES = 10**6
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

SECRETS = ("sasl.password", "ssl.key.password")
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class KafkaSettings(Struct, frozen=True, kw_only=True):
    """How a worker reaches and uses its broker.

    Attributes
    ----------
    bootstrap_servers
        "host:port", several separated by commas.
    app
        Name of the program. Its consumer groups, transactional ids, changelogs, `ticks` and
        `window-partials` are named by `topic_prefix` and this name.
    input_partitions, partitions
        Number of partitions of the input topics, and of the topics after stage 1.
    replication_factor, min_insync_replicas
        Settings of topics that Driftline creates; -1 and None leave them to the broker.
    commit_interval_ms
        How long results are collected before they are committed.
    provisional_ms
        How often windows that are still open are announced after a change, at most with every
        commit; None for never.
    memory_bytes
        Memory for the state of all tasks of a worker.
    session_timeout_ms
        How long a worker may be silent before the broker assigns its partitions to another.
    max_clock_error_ms
        How far the machine's clock may differ from the broker's before a worker is not ready.
    static_member
        Name under which a restarted worker gets its own partitions back without a rebalance of the
        others; each worker needs a different one. None: partitions are assigned anew whenever a
        worker joins or leaves.
    worker_metrics_ms
        How often a worker reports about itself and its machine; None for never.
    rekey
        Whether records are given their prediction id as key before stage 1.
    client
        Properties of all Kafka clients, under librdkafka's names.
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
    max_clock_error_ms: int = 60_000
    static_member: str | None = None
    worker_metrics_ms: int | None = MINUTE_MS
    rekey: bool = False
    client: dict[str, str | Secret] = {}


def _read_servers(value: Any) -> str:
    servers = [server.strip() for server in read_string(value).split(",")]
    for server in servers:
        match = _SERVER.fullmatch(server)
        if match is None or not 1 <= int(match[2]) <= 65_535:
            raise ValueError(f'holds "{server}", which is not host:port, such as "localhost:9092"')
    return ",".join(servers)


def _read_identifier(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", read_string(value)):
        raise ValueError(
            f"is {describe(value)}; use letters, digits, '.', '_' and '-', 1 to 100 of them"
        )
    return str(value)


def _read_replication(value: Any) -> int:
    if value == -1 and not isinstance(value, bool):
        return -1
    try:
        return integer_between(1, 100)(value)
    except ValueError as error:
        raise ValueError(f"{error}, nor -1 for the broker's default") from error


def _read_interval(value: Any) -> int:
    ms = read_duration(value)
    if not 10 <= ms <= 60_000:
        raise ValueError(f"is {describe(value)}, outside 10ms to 1m")
    return ms


def _read_provisional(value: Any) -> int | None:
    return None if value == "off" else _read_interval(value)


def _read_metrics_interval(value: Any) -> int | None:
    if value == "off":
        return None
    ms = read_duration(value)
    if not SECOND_MS <= ms <= round(LONGEST_INTERVAL_S * SECOND_MS):
        raise ValueError(f'is {describe(value)}, neither "off" nor within 1s to 10m')
    return ms


def _read_session(value: Any) -> int:
    ms = read_duration(value)
    if not 6_000 <= ms <= 300_000:
        raise ValueError(f"is {describe(value)}, outside 6s to 5m, the range that brokers accept")
    return ms


def _read_clock_error(value: Any) -> int:
    ms = read_duration(value)
    if not 1_000 <= ms <= 3_600_000:
        raise ValueError(f"is {describe(value)}, outside 1s to 1h")
    return ms


def _read_size(value: Any) -> int:
    match = _SIZE.fullmatch(read_string(value))
    if match is None:
        raise ValueError(
            f'is {describe(value)}, not a size such as "512MB" (units: {", ".join(_SIZE_UNITS)})'
        )
    size = int(match[1]) * _SIZE_UNITS[match[2]]
    if size < MIN_MEMORY_BYTES:
        raise ValueError(f"is {describe(value)}, less than 1MB")
    return size


CLIENT_KEYS: dict[str, Callable[[Any], str | Secret]] = {
    "security.protocol": one_of(*PROTOCOLS),
    "sasl.mechanism": one_of(*MECHANISMS),
    "sasl.username": read_string,
    "sasl.password": read_secret,
    "ssl.ca.location": read_string,
    "ssl.certificate.location": read_string,
    "ssl.key.location": read_string,
    "ssl.key.password": read_secret,
    "ssl.endpoint.identification.algorithm": one_of("https", "none"),
    "client.id": _read_identifier,
}
"""The properties that every client supports; aiokafka knows no others of librdkafka's."""


def _read_client(value: Any) -> dict[str, str | Secret]:
    if not isinstance(value, dict):
        raise ValueError(f"is {describe(value)}, not a table")
    properties = dict(_flatten(value, ""))
    for key in properties:
        check_keys({key: None}, tuple(CLIENT_KEYS), ".")
    read: dict[str, str | Secret] = {}
    for key, property_value in properties.items():
        try:
            read[key] = CLIENT_KEYS[key](property_value)
        except InvalidValue as error:
            raise InvalidValue(f".{toml_key(key)}{error.where}", error.message) from error
        except ValueError as error:
            raise InvalidValue(f".{toml_key(key)}", str(error)) from error
    _check_login(read)
    return read


def _flatten(table: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Properties by full name: TOML reads `sasl.username` without quotes as nested tables."""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in SECRETS:
            yield from _flatten(value, f"{name}.")
        else:
            yield name, value


def _check_login(properties: dict[str, str | Secret]) -> None:
    """Raise for an incomplete login: clients would report it late, or connect without it."""
    protocol = str(properties.get("security.protocol", "PLAINTEXT"))
    for key in properties:
        kind = key.partition(".")[0]
        if kind in ("sasl", "ssl") and kind.upper() not in protocol.replace("_", " ").split():
            raise InvalidValue(
                f".{toml_key(key)}", f'has no effect with "security.protocol" = "{protocol}"'
            )
    if protocol.startswith("SASL"):
        for key in ("sasl.mechanism", "sasl.username", "sasl.password"):
            if key not in properties:
                raise InvalidValue("", f'needs "{key}" with "security.protocol" = "{protocol}"')
    if "ssl.key.location" in properties and "ssl.certificate.location" not in properties:
        raise InvalidValue(
            f".{toml_key('ssl.key.location')}", 'needs "ssl.certificate.location" beside it'
        )


KAFKA_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "bootstrap_servers": ("bootstrap_servers", _read_servers),
    "app": ("app", _read_identifier),
    "input_partitions": ("input_partitions", integer_between(1, MAX_PARTITIONS)),
    "partitions": ("partitions", integer_between(1, MAX_PARTITIONS)),
    "replication_factor": ("replication_factor", _read_replication),
    "min_insync_replicas": ("min_insync_replicas", integer_between(1, 100)),
    "commit_interval": ("commit_interval_ms", _read_interval),
    "provisional": ("provisional_ms", _read_provisional),
    "memory": ("memory_bytes", _read_size),
    "session_timeout": ("session_timeout_ms", _read_session),
    "max_clock_error": ("max_clock_error_ms", _read_clock_error),
    "static_member": ("static_member", _read_identifier),
    "worker_metrics": ("worker_metrics_ms", _read_metrics_interval),
    "rekey": ("rekey", read_flag),
    "client": ("client", _read_client),
}
"""Keys of [kafka]: key -> attribute of `KafkaSettings`, reader."""
